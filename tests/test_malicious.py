"""Files that somebody made to harm: each is refused with its reason, and opens nothing outside.

Bombs, entities, devices and pipes among a user's images and annotations are in test_data_problems.py and
test_formats.py, pickles among weights in test_sam.py and test_stardist.py, forged manifests in test_verify.py.
"""

import ast
import csv
import json
import struct
import zipfile

import numpy as np
import pytest
import tifffile
from PIL import Image

from cellcount import cli, results
from cellcount.companion.runner.sources import root
from cellcount.files import as_cell, from_cell, write_csv
from cellcount.io import images
from cellcount.io import points as annotations
from cellcount.results.rows import COLUMNS

DEEP = "[" * 100_000 + "]" * 100_000
DIGITS = "9" * 5000  # Python reads no integer of more than 4300
FORMULAS = ("=1+1", "+A1", "-A1", "@SUM(A1)", "\uff1d1+1", "a;=1+1", "a\t=cmd|' /C calc'!A0", "'=1", "''-x")


def picture(path, value=150):
    """An image with four dark discs."""
    pixels = np.full((64, 64), value, np.uint8)
    yy, xx = np.indices(pixels.shape)
    pixels[(yy % 32 - 16) ** 2 + (xx % 32 - 16) ** 2 < 49] = value // 2
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def count(*arguments):
    return cli.main(["count", *map(str, arguments), "--method", "blobs"])


def safetensors(path, header, body=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)


def described(path, **about):
    """A safetensors file of ours whose description is `about`."""
    tensor = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
    safetensors(path, {"__metadata__": {"cellcount": json.dumps(about)}, "w": tensor}, bytes(4))


# what is asked, how the file is made, what the refusal says
WEIGHTS = {
    "no safetensors": ("cellnet", lambda path: path.write_bytes(b"\x80\x04cos\nsystem\n."), "safetensors"),
    "a header of exabytes": ("cellnet", lambda path: path.write_bytes(struct.pack("<Q", 2**62) + b"{}"), "safetensors"),
    "a deep header": ("cellnet", lambda path: safetensors(path, DEEP.encode()), "safetensors"),
    "tensors outside of the file": (
        "cellnet",
        lambda path: safetensors(path, {"w": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}),
        "safetensors",
    ),
    "another description": ("cellnet", lambda path: described(path, format="x"), "not"),
    "no settings": (
        "cellnet",
        lambda path: described(path, format="cellcount-cellnet-2"),
        "its description is damaged",
    ),
    "a foreground file too deep": ("foreground-area", lambda path: path.write_text(DEEP), "again"),
    "a foreground file of digits": ("foreground-area", lambda path: path.write_text(f'{{"x": {DIGITS}}}'), "again"),
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_weights_that_are_none_are_refused(tmp_path, capsys, name):
    method, make, reason = WEIGHTS[name]
    weights = tmp_path / ("mine.json" if method == "foreground-area" else "mine.safetensors")
    make(weights)
    code = cli.main(["count", str(picture(tmp_path / "a.png")), "--method", method, "--weights", str(weights)])
    said = capsys.readouterr().err
    assert code in (2, 3) and weights.name in said and reason in said and "Traceback" not in said


def test_an_archive_that_unpacks_to_gigabytes_is_refused(tmp_path, monkeypatch):
    from cellcount.methods.stardist import settings

    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("weights.h5", bytes(2**20))
    with zipfile.ZipFile(tmp_path / "a.zip") as file:
        settings.check_size(file)
        monkeypatch.setattr(settings, "MAX_BYTES", 2**20 - 1)
        with pytest.raises(zipfile.BadZipFile, match="1 MB"):
            settings.check_size(file)


@pytest.mark.parametrize("text", [f"x = {'[' * 5000}{']' * 5000}", f"x = {DIGITS}"], ids=["deep", "digits"])
def test_settings_that_no_parser_holds_are_refused(tmp_path, capsys, text):
    picture(tmp_path / "a.png")
    (tmp_path / "dataset.toml").write_text(text)
    assert cli.main(["data", "check", str(tmp_path)]) == 3
    assert "dataset.toml" in "".join(capsys.readouterr())


@pytest.mark.parametrize("number", ["NaN", "Infinity", "9" * 400, "-1"])
def test_a_forged_record_is_refused(tmp_path, capsys, number):
    image, out = picture(tmp_path / "a.png"), tmp_path / "counts"
    assert count(image, "--out", out) == 0
    lines = [json.loads(line) for line in (out / "records.jsonl").read_text().splitlines()]
    for line in lines:
        if "count" in line:
            line["count"] = "forged"
    text = "\n".join(json.dumps(line) for line in lines).replace('"forged"', number) + "\n"
    assert number in text
    (out / "records.jsonl").write_text(text)
    assert count(image, "--out", out) == 3
    assert "records.jsonl, line 1: not a record" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["summary.json", "counts.csv", "predictions/a.csv", "overlays/a.png"])
def test_a_link_out_of_the_results_is_not_followed(tmp_path, capsys, name):
    image, out, victim = picture(tmp_path / "a.png"), tmp_path / "counts", tmp_path / "victim"
    assert count(image, "--out", out) == 0
    victim.write_text("mine")
    (out / name).unlink()
    (out / name).symlink_to(victim)
    assert count(image, picture(tmp_path / "b.png"), "--out", out) == 3
    assert victim.read_text() == "mine" and "link to" in capsys.readouterr().err


def test_metadata_of_an_image_open_no_other_file(tmp_path):
    tifffile.imwrite(tmp_path / "secret.tif", np.full((64, 64), 200, np.uint8))
    channels = "".join(
        f'<TiffData FirstC="{n}" IFD="0"><UUID FileName="../secret.tif">urn:uuid:{n:032d}</UUID></TiffData>'
        for n in range(2)
    )
    ome = (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
        'UUID="urn:uuid:00000000000000000000000000000009"><Image ID="Image:0"><Pixels ID="Pixels:0" Type="uint8" '
        f'SizeX="64" SizeY="64" SizeC="2" SizeZ="1" SizeT="1" DimensionOrder="XYCZT">{channels}</Pixels></Image></OME>'
    )
    (tmp_path / "inner").mkdir()
    tifffile.imwrite(
        tmp_path / "inner" / "a.ome.tif",
        (np.arange(4096).reshape(64, 64) % 50).astype(np.uint8),
        description=ome,
        metadata=None,
    )
    pixels, _ = images.decode(tmp_path / "inner" / "a.ome.tif")
    assert pixels is not None and pixels.max() == 49  # and not 200, as in the other file


@pytest.mark.parametrize("text", FORMULAS)
def test_no_cell_of_a_table_is_a_formula(tmp_path, text):
    cell = as_cell(text)
    assert not cell.lstrip().startswith(tuple("=+-@\uff1d")) and from_cell(cell) == text
    write_csv(tmp_path / "a.csv", ["name"], [[text]])
    with open(tmp_path / "a.csv", newline="", encoding="utf-8-sig") as file:
        assert [from_cell(one) for (one,) in list(csv.reader(file))[1:]] == [text]


@pytest.mark.parametrize("value", [-1.5, "-1.5", "+3", "1e-5", "plain", "", "a-b", "5 = 5", None])
def test_other_cells_stay(value):
    assert as_cell(value) is value


def test_a_name_that_is_a_formula_goes_through_count_and_back(tmp_path):
    image, out = picture(tmp_path / "plate" / "=1+1.png"), tmp_path / "counts"
    assert count(image, "--out", out) == 0
    for table in (out / "counts.csv", *(out / "predictions").glob("*.csv")):
        with open(table, newline="", encoding="utf-8-sig") as file:
            assert not [cell for row in csv.reader(file) for cell in row if cell.startswith("=")], table
    (record,) = json.loads((out / "summary.json").read_text())["images"]
    found = [one for table in (out / "predictions").glob("*.csv") for one in annotations.read(table)[0]]
    assert sum(len(one.points) for one in found) == record["count"] > 0
    assert {one.image for one in found} == {"=1+1.png"}


def test_a_name_writes_no_control_characters(tmp_path, capsys):
    image = picture(tmp_path / "a\x1b[2J\u202egnp\nerror: b.png")
    assert count(image) == 0
    said = "".join(capsys.readouterr())
    assert "\x1b" not in said and "\u202e" not in said
    assert "\\x1b[2J\\u202egnp\\nerror" in said  # and it is one line


@pytest.mark.parametrize(("url", "asked"), [("http://evil.example", 2), ("http://127.0.0.1:9", 4)])
def test_a_token_goes_to_no_server_that_a_folder_names(tmp_path, capsys, monkeypatch, url, asked):
    monkeypatch.delenv("LABEL_STUDIO_URL", raising=False)
    out = tmp_path / "counts"
    assert count(picture(tmp_path / "a.png"), "--out", out) == 0
    (out / "labelstudio").mkdir()
    (out / "labelstudio" / "project.json").write_text(json.dumps({"url": url, "project": 1, "title": "a plate"}))
    assert cli.main(["labelstudio", "pull", str(out), "--token", "0123456789abcdef"]) == asked
    assert url in capsys.readouterr().err


def test_result_rows_keep_their_text(tmp_path):
    import pandas as pd

    frame = pd.DataFrame({name: list(FORMULAS) for name in COLUMNS})
    results.write(frame, tmp_path / "rows.csv")
    assert list(results.read(tmp_path / "rows.csv").image) == list(FORMULAS)
    with open(tmp_path / "rows.csv", newline="") as file:
        assert not [cell for row in csv.reader(file) for cell in row if cell.startswith(tuple("=+-@"))]


FORBIDDEN = {"eval", "exec", "os.system", "os.popen", "yaml.load", "yaml.unsafe_load", "pickle.loads", "marshal.loads"}


def called(node):
    """The dotted name of what is called; empty if it is none."""
    parts, part = [], node.func
    while isinstance(part, ast.Attribute):
        parts, part = [part.attr, *parts], part.value
    return ".".join([part.id, *parts]) if isinstance(part, ast.Name) else ""


def dangerous(source):
    """The calls in a program (text) that may run what a file or a name says."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            name, given = called(node), {word.arg: getattr(word.value, "value", None) for word in node.keywords}
            unsafe = given.get("shell") is True or name == "torch.load" and given.get("weights_only") is not True
            if name in FORBIDDEN or name.endswith(".extractall") or unsafe:
                yield f"{node.lineno}: {name}"


@pytest.mark.parametrize("folder", ["cellcount", "workflow"])
def test_nothing_runs_what_a_file_says(folder):
    found = {path.name: list(dangerous(path.read_text("utf-8"))) for path in (root() / folder).rglob("*.py")}
    assert len(found) > 10 and not {name: calls for name, calls in found.items() if calls}


@pytest.mark.parametrize("line", ["eval(x)", "subprocess.run(x, shell=True)", "torch.load(x)", "yaml.load(x)"])
def test_that_the_search_finds_them(line):
    assert list(dangerous(line))
