"""The folder that `cellcount count` writes: resumed, added to, never mixed up, never lost."""

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cellcount import cli, counting
from cellcount.errors import DataError, ParameterError
from cellcount.files import TEMPORARY, as_argument
from cellcount.results import count_folder as module
from cellcount.results.count_folder import Entry, count_folder


def draw(path, seed=0, side=64):
    """An image with a few dark discs."""
    rng = np.random.default_rng(seed)
    pixels = rng.normal(170, 8, (side, side))
    yy, xx = np.indices(pixels.shape)
    for y, x in rng.uniform(8, side - 8, (3, 2)):
        pixels[(yy - y) ** 2 + (xx - x) ** 2 < 49] = 90
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)
    return path


@pytest.fixture
def plate(tmp_path):
    """A folder with three images."""
    for seed, name in enumerate(("a.png", "b.png", "c.png")):
        draw(tmp_path / "plate" / name, seed)
    return tmp_path / "plate"


@pytest.fixture
def computed(monkeypatch):
    """The images on which the method was called, in a list."""
    seen = []
    predictor = counting._predictor

    def counting_predictor(**options):
        predict = predictor(**options)

        def called(image):
            seen.append(image.shape)
            return predict(image)

        return called

    monkeypatch.setattr(counting, "_predictor", counting_predictor)
    return seen


def count(*images, out, **options):
    return count_folder([str(image) for image in images], out, method="blobs", **options)


def run(*arguments):
    return cli.main([*map(str, arguments)])


def summary(out):
    return json.loads((out / "summary.json").read_text())


def records(out):
    return [json.loads(line) for line in (out / "records.jsonl").read_text().splitlines()]


def hidden(out):
    return [path for path in out.rglob("*") if path.name.startswith(".")]


def test_the_folder_is_a_data_set_of_the_counted_images(plate, tmp_path, capsys):
    out = tmp_path / "F"
    assert run("count", plate, "--method", "blobs", "--out", out) == 0
    assert sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()) == [
        "counts.csv", "dataset.toml", "images/a.png", "images/b.png", "images/c.png", "manifest.json", "overlays/a.png",
        "overlays/b.png", "overlays/c.png", "predictions/a.csv", "predictions/b.csv", "predictions/c.csv",
        "records.jsonl", "summary.json",
    ]  # fmt: skip
    with open(out / "predictions" / "b.csv") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["image", "y", "x", "label", "score"] and {row["image"] for row in rows} == {"b.png"}
    with open(out / "counts.csv") as file:
        table = list(csv.DictReader(file))
    images = summary(out)["images"]
    assert [*table[0]] == ["image", "name", "count", "low", "high", "method", "weights", "threshold", "warnings"]
    assert [float(row["count"]) for row in table] == [one["count"] for one in images] and len(rows) == images[1][
        "count"
    ]
    assert (out / images[1]["points"]).is_file() and (out / images[1]["overlay"]).is_file()
    assert (out / images[1]["file"]).read_bytes() == (plate / "b.png").read_bytes()
    assert "predictions = true" in (out / "dataset.toml").read_text()
    text = capsys.readouterr().out
    assert f"cellcount labelstudio push {out}" in text and f"cellcount train {out}" in text
    assert run("count", plate, "--method", "blobs", "--out", tmp_path / "F 2") == 0
    assert f"cellcount train '{tmp_path / 'F 2'}'" in capsys.readouterr().out, "can be copied to a shell"
    assert as_argument("-F") == "./-F" and as_argument("F") == "F"
    assert run("count", tmp_path / "plate", "--method", "blobs", "--out", plate / "counts") == 0
    assert run("count", plate, "--method", "blobs", "--out", plate / "counts") == 0
    assert capsys.readouterr().err == "", "what count wrote is no folder that was forgotten"


def test_a_number_without_points_is_not_written_as_no_cell(plate, tmp_path, capsys):
    """Of a method that gives points, and then of one that does not."""
    out = tmp_path / "F"
    count(plate, out=out)
    for _ in range(2):
        assert run("count", plate, "--method", "foreground-area", "--out", out) == 0
        assert "correct" not in capsys.readouterr().out
        images = summary(out)["images"]
        assert [one["points"] for one in images] == 3 * [None] and all(one["count"] > 1 for one in images)
        assert not list((out / "predictions").iterdir())
    assert count_folder([plate], out, method="foreground-area").kept == 3
    assert count(plate, out=out).counted == 3


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no named pipes")
def test_a_pipe_or_folder_with_the_name_of_an_image_is_a_failure(plate, tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    done = count(tmp_path / "pipe.png", tmp_path / "folder.png", plate / "a.png", out=tmp_path / "F")
    assert (done.counted, len(done.failed)) == (1, 2)


def test_an_image_without_a_cell_is_known_to_have_none(tmp_path):
    count(draw(tmp_path / "empty.png"), out=tmp_path / "F", threshold=99.0)
    assert (tmp_path / "F" / "predictions" / "empty.csv").read_text().splitlines()[1:] == ["empty.png,,,,"]


def test_images_with_the_same_content_and_settings_are_not_counted_again(plate, tmp_path, computed, capsys):
    out = tmp_path / "F"
    assert (count(plate, out=out).counted, len(computed)) == (3, 3)
    first = summary(out)
    done = count(plate, out=out)
    assert (done.counted, done.kept, len(computed)) == (0, 3, 3) and summary(out) == first
    draw(plate / "b.png", 9)
    draw(plate / "d.png", 8)
    assert (count(plate, out=out).counted, len(computed)) == (2, 5)
    assert count(plate, out=out, sigma=5).kept == 4, "the default value"
    assert count(plate, out=out, sigma=4.5).counted == 4
    assert count(plate, out=out, sigma=4.5, again=True).counted == 4
    (out / "predictions" / "a.csv").unlink()
    (out / "images" / "b.png").unlink()
    assert count(plate, out=out, sigma=4.5).counted == 2
    assert [one["name"] for one in summary(out)["images"]] == ["a", "b", "c", "d"]
    assert run("count", plate, "--method", "blobs", "-p", "sigma", "4.5", "--out", out) == 0
    assert "4 of them before, with these settings; --again" in capsys.readouterr().out


def test_other_weights_in_a_file_of_the_same_name_are_other_settings(tmp_path):
    from cellcount.methods.cellnet.inference import SHIPPED

    weights = tmp_path / "w.safetensors"
    weights.write_bytes(SHIPPED.read_bytes())
    first = module.run_settings("cellnet", "auto", weights, {})
    assert first == module.run_settings("cellnet", "auto", None, {}) == module.run_settings(
        "cellnet", "auto", None, {"weights": str(weights), "averaging": 1}
    )  # fmt: skip
    weights.write_bytes(b"other")
    assert module.run_settings("cellnet", "auto", weights, {}) != first
    assert module.run_settings("cellpose", "auto", None, {})["weights"] == "cyto3"


def test_results_of_other_images_stay(plate, tmp_path, capsys):
    """Also of one with the same name on disks that do not tell a.png from A.png, and of one that is unreadable now."""
    out = tmp_path / "F"
    twin = draw(tmp_path / "other" / "A.PNG", 7)
    count(plate / "a.png", out=out)
    first = summary(out)["images"]
    assert run("count", twin, "--method", "blobs", "--out", out) == 0
    assert f"{out} also has the counts of 1 other image, of earlier calls" in capsys.readouterr().out
    second = summary(out)["images"]
    assert second[0] == first[0] and [one["name"] for one in second] == ["a", "A-2"]
    assert run("count", tmp_path / "missing.png", "--method", "blobs", "--out", out) == 3
    assert summary(out)["images"] == second and len(summary(out)["failed"]) == 1
    (plate / "a.png").write_bytes(b"torn")
    done = count(plate / "a.png", out=out)
    assert len(done.failed) == 1 and summary(out)["images"] == second
    assert [row["image"] for row in csv.DictReader(open(out / "counts.csv"))][-1] == str(plate / "a.png")


def test_the_table_says_how_each_image_was_counted(plate, tmp_path, capsys):
    """Other weights and thresholds in one folder; the names are those of the overlays."""
    out = tmp_path / "F"
    twin = draw(tmp_path / "other" / "a.png", 7)
    count(plate / "a.png", twin, out=out)
    count_folder([plate / "b.png"], out, method="foreground-area")
    assert run("count", plate / "c.png", "--out", out, "--threshold", "0.25") == 0
    assert "3 other images, of earlier calls; 3 of them counted with other settings, see" in capsys.readouterr().out
    with open(out / "counts.csv") as file:
        table = list(csv.DictReader(file))
    assert [row["name"] for row in table] == ["a", "a-2", "b", "c"]
    assert all((out / "overlays" / f"{row['name']}.png").is_file() for row in table)
    assert [row["method"] for row in table] == ["blobs", "blobs", "foreground-area", "cellnet"]
    assert [row["threshold"] for row in table] == ["0.3", "0.3", "", "0.25"]
    digits = [one.get("weights_sha256", "")[:8] for one in summary(out)["images"]]
    assert [row["weights"] for row in table] == digits and len(set(digits)) == 3


def test_images_of_equal_names_are_kept_apart_and_the_same_image_is_counted_once(tmp_path, computed):
    plates = [draw(tmp_path / folder / "1.png", seed) for seed, folder in enumerate("ABC")]
    jpeg = tmp_path / "A" / "1.jpg"
    Image.open(plates[0]).save(jpeg)
    (tmp_path / "link.png").symlink_to(plates[0])
    done = count(
        *plates, jpeg, plates[0], tmp_path / "A" / ".." / "A" / "1.png", tmp_path / "link.png", out=tmp_path / "F"
    )
    assert (done.counted, done.twice, len(computed)) == (4, 3, 4)
    assert count(plates[0], tmp_path / "F", out=tmp_path / "F").twice == 1, "a link to it"
    assert {Path(one["source"]).parent.name + one["name"] for one in summary(tmp_path / "F")["images"]} == {
        "A1", "B1-2", "C1-3", "A1-4",
    }  # fmt: skip
    assert (tmp_path / "F" / "images" / "1-4.jpg").is_file()
    assert count(*plates[::-1], jpeg, out=tmp_path / "F").kept == 4


def test_names_that_differ_only_in_the_code_of_an_accent_are_kept_apart(tmp_path):
    one, other = draw(tmp_path / "A" / "zell\u00fc.png"), draw(tmp_path / "B" / "zellu\u0308.png", 1)
    count(one, other, out=tmp_path / "F")
    assert [Path(one["file"]).stem[-2:] for one in summary(tmp_path / "F")["images"]] == ["l\u00fc", "-2"]


def test_a_name_that_is_no_text_is_counted(tmp_path, capsys):
    path = os.fsencode(tmp_path) + b"/f\xe4ld.png"
    draw(tmp_path / "x.png")
    os.rename(tmp_path / "x.png", path)
    assert run("count", os.fsdecode(path), "--method", "blobs", "--out", tmp_path / "F") == 0
    assert (tmp_path / "F" / "predictions" / "f_ld.csv").is_file() and summary(tmp_path / "F")["images"][0][
        "name"
    ] == "f_ld"
    assert count(os.fsdecode(path), out=tmp_path / "F").kept == 1


def test_a_name_as_long_as_names_can_be_is_counted(tmp_path):
    image = draw(tmp_path / ("x" * 251 + ".png"))
    count(image, out=tmp_path / "F")
    assert (tmp_path / "F" / "predictions" / ("x" * 251 + ".csv")).is_file()
    twin = draw(tmp_path / "B" / image.name, 1)  # with a number, it would be too long
    done = count(twin, draw(tmp_path / "c.png"), out=tmp_path / "F")
    assert "too long" in str(done.failed[0].error) and done.counted == 1


def test_a_count_folder_is_counted_as_the_images_in_it(plate, tmp_path, computed, capsys):
    out = tmp_path / "F"
    count(plate, out=out)
    assert count(out, out=out).kept == 3, "the same folder"
    assert count(out / "images", out=out).kept == 3
    count(out, out=tmp_path / "G")
    assert sorted(one["name"] for one in summary(tmp_path / "G")["images"]) == ["a", "b", "c"]
    assert run("count", out / "overlays" / "a.png", *plate.iterdir(), "--method", "blobs", "--out", out) == 3
    assert "an overlay that `cellcount count` drew" in capsys.readouterr().err
    assert run("count", out / "*" / "*.png", "--method", "blobs", "--out", out) == 3
    assert len(summary(out)["failed"]) == 3 and len(summary(out)["images"]) == 3
    assert run("count", out / "overlays", "--method", "blobs", "--out", tmp_path / "H") == 3
    assert len(computed) == 6


def test_the_images_of_a_data_set_can_be_counted_into_it(plate, tmp_path):
    draw(plate / "images" / "d.png", 5)
    for _ in range(2):
        done = count(plate, out=plate)
        assert [one["file"] for one in summary(plate)["images"]] == ["a.png", "b.png", "c.png", "images/d.png"]
    assert done.kept == 4 and sorted(path.name for path in (plate / "images").iterdir()) == ["d.png"]
    other = draw(tmp_path / "x" / "a.png", 6)
    count(other, out=plate)
    assert summary(plate)["images"][-1]["file"] == "images/a-2.png"


@pytest.mark.parametrize("impossible", [(), ("link",), ("link", "symlink")], ids=["link", "symlink", "copy"])
def test_images_are_linked_or_copied_and_never_changed(plate, tmp_path, monkeypatch, impossible):
    def refuse(*arguments):
        raise OSError(18, "Invalid cross-device link")

    for name in impossible:
        monkeypatch.setattr(os, name, refuse)
    before, out = (plate / "a.png").read_bytes(), tmp_path / "F"
    (plate / "a.png").chmod(0o640)
    count(plate, out=out)
    assert (out / "images" / "a.png").read_bytes() == before
    assert (out / "images" / "a.png").is_symlink() == (impossible == ("link",))
    assert (out / "images" / "a.png").samefile(plate / "a.png") == (len(impossible) < 2)
    draw(tmp_path / "new.png", 11)
    os.replace(tmp_path / "new.png", plate / "a.png")  # the place has another image now
    assert count(plate, out=out).counted == 1
    assert (out / "images" / "a.png").read_bytes() == (plate / "a.png").read_bytes() != before
    assert count(out, out=out).kept == count(plate, out=out).kept == 3
    assert (plate / "a.png").stat().st_mode & 0o777 == 0o644 and hidden(out) == []


def test_a_folder_or_images_that_were_moved_are_known(plate, tmp_path):
    count(plate, out=tmp_path / "F")
    (tmp_path / "F").rename(tmp_path / "G")
    plate.rename(tmp_path / "elsewhere")
    assert count(tmp_path / "G", out=tmp_path / "G").kept == 3
    assert count(tmp_path / "elsewhere", out=tmp_path / "G").kept == 3
    assert len(summary(tmp_path / "G")["images"]) == 3


def test_a_torn_last_record_is_one_image_to_count_again(plate, tmp_path, computed):
    out = tmp_path / "F"
    count(plate, out=out)
    for cut in (1, 40, len((out / "records.jsonl").read_bytes().splitlines()[-1])):
        whole = (out / "records.jsonl").read_bytes()
        (out / "records.jsonl").write_bytes(whole[:-cut])
        computed.clear()
        assert (count(plate, out=out).counted, len(computed)) == (1, 1)
        assert [one["name"] for one in records(out)] == ["a", "b", "c"] and len(summary(out)["images"]) == 3


def test_what_a_killed_call_left_is_used_or_removed(plate, tmp_path):
    """An image, its points and temporary files without a record."""
    out = tmp_path / "F"
    count(plate, out=out)
    lines = (out / "records.jsonl").read_text().splitlines(keepends=True)
    (out / "records.jsonl").write_text(lines[0])
    for place, suffix in (("images", ".png"), ("predictions", ".csv"), ("overlays", ".png"), (".", ".json")):
        (out / place / f"{TEMPORARY}abc{suffix}").write_text("half")
    assert count(plate, out=out).counted == 2
    assert [one["name"] for one in summary(out)["images"]] == ["a", "b", "c"] and hidden(out) == []


FOREIGN = {
    "a summary": ({"summary.json": "[]"}, "a summary.json of other origin"),
    "an earlier version": (
        {"summary.json": '{"images": []}', "a-points.csv": "y,x"},
        "a-points.csv, of an earlier version",
    ),
    "records": ({"records.jsonl": '{"a": 1}\n'}, "records.jsonl, line 1: not a record"),
    "numbers": ({"records.jsonl": "1\n"}, "records.jsonl, line 1: not a record"),
    "a data set": ({"dataset.toml": 'channel = "red"\n'}, "`predictions = true` is missing"),
    "broken settings": ({"dataset.toml": "= 1"}, "cannot be read"),
    "another channel": ({"dataset.toml": 'predictions = true\nchannel = "red"\n'}, "read in the channel red"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_a_folder_of_other_origin_is_refused_and_not_touched(plate, tmp_path, computed, capsys, name):
    files, message = FOREIGN[name]
    out = tmp_path / "F"
    out.mkdir()
    for file, content in files.items():
        (out / file).write_text(content)
    assert run("count", plate, "--method", "blobs", "--out", out) == 3
    assert message in (text := capsys.readouterr().err) and text.count("\n") == 1 and computed == []
    assert {path.name: path.read_text() for path in out.iterdir() if path.is_file()} == files


WRONG = [
    {"name": "../../evil"}, {"file": "../../../x.png"}, {"file": "images/../x.png"}, {"file": "dataset.toml"},
    {"name": 5}, {"name": "a\0b"}, {"name": "\ud800"}, {"name": ""}, {"count": "twelve"}, {"count_interval": [1]},
    {"warnings": None}, {"warnings": "a"}, {"source": None}, {"overlay": 3}, {"parameters": 1}, {"threshold": "a"},
    {"method": 1}, "count_interval", "count", "overlay",
]  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_an_edited_record_is_refused(plate, tmp_path, computed, capsys, wrong):
    out = tmp_path / "deep" / "F"
    count(plate / "a.png", out=out)
    (record,) = records(out)
    changed = record | wrong if isinstance(wrong, dict) else {k: v for k, v in record.items() if k != wrong}
    (out / "records.jsonl").write_text(json.dumps(record) + "\n" + json.dumps(changed) + "\n")
    before = sorted(tmp_path.rglob("*"))
    assert run("count", plate, "--method", "blobs", "--out", out) == 3
    assert "records.jsonl, line 2: not a record" in capsys.readouterr().err and len(computed) == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_records_without_image_and_predictions_are_left_out(plate, tmp_path, capsys):
    out = tmp_path / "G"
    count(plate, out=tmp_path / "F")
    out.mkdir()
    (out / "records.jsonl").write_bytes((tmp_path / "F" / "records.jsonl").read_bytes())
    assert run("count", plate / "a.png", "--method", "blobs", "--out", out) == 0
    assert "predictions are in the folder: the records of 3 (a, b, c)" in capsys.readouterr().err
    assert [one["name"] for one in summary(out)["images"]] == ["a"]
    assert len((out / "counts.csv").read_text().splitlines()) == 2


@pytest.mark.parametrize("lacking", ["images/a.png", "predictions/a.csv", "overlays/a.png"])
def test_what_was_deleted_is_written_again(plate, tmp_path, computed, lacking):
    out = tmp_path / "F"
    count(plate, out=out)
    (out / lacking).unlink()
    assert count(plate, out=out).counted == 1 and (out / lacking).is_file() and len(computed) == 4
    assert count(plate, out=out).kept == 3


ANNOTATIONS = {
    "points.csv": "image,y,x\nb.png,30,30\n",
    "b-points.csv": "index,axis-0,axis-1\n0,30,30\n",
    "zip": None,
}


@pytest.mark.parametrize("name", ANNOTATIONS)
def test_images_with_corrections_are_not_predicted_again(plate, tmp_path, computed, capsys, name):
    out = tmp_path / "F"
    count(plate, out=out)
    (out / "annotations").mkdir()
    if name == "zip":
        assert run("data", "convert", out / "predictions" / "b.csv", out / "annotations" / "b.zip") == 0
    else:
        (out / "annotations" / name).write_text(ANNOTATIONS[name])
    held = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    computed.clear()
    capsys.readouterr()
    for more in (["-p", "sigma", "4"], ["--again"]):
        assert run("count", plate, "--method", "blobs", "--out", out, *more) == 3
        text = capsys.readouterr().err
        assert "would be counted again" in text and "--out" in text and computed == []
        assert (
            ("nobody corrected" in text and "1 (annotations/b.zip)" in text)
            if name == "zip"
            else (f"{out} has corrections of images" in text and "1 (b)" in text)
        )
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == held
    assert count(plate, out=out).kept == 3
    assert count(plate / "a.png", out=out, sigma=4.0).counted == 1
    assert count(plate, draw(plate / "new.png"), out=tmp_path / "G", sigma=4.0).counted == 4
    assert (out / "annotations").exists() and len(list((out / "annotations").iterdir())) == 1


def test_images_listed_as_reviewed_are_not_predicted_again(plate, tmp_path, computed, capsys):
    """What a person looked at are the predictions of that call."""
    out = tmp_path / "F"
    count(plate, out=out)
    with open(out / "dataset.toml", "a") as file:
        file.write('reviewed = ["a.png", "c"]\n')
    computed.clear()
    assert count(plate, out=out).kept == 3
    for more in (["-p", "sigma", "4"], ["--again"]):
        assert run("count", plate, "--method", "blobs", "--out", out, *more) == 3
        text = capsys.readouterr().err
        assert "`reviewed`" in text and "2 (a, c)" in text and "take them from that list" in text and computed == []
    other = draw(tmp_path / "other" / "a.png", 7)
    assert count(plate / "b.png", other, out=out, sigma=4.0).counted == 2, "they are not listed"


def test_corrections_that_cannot_be_read_are_not_outdated_unseen(plate, tmp_path, capsys):
    out = tmp_path / "F"
    count(plate, out=out)
    (out / "annotations").mkdir()
    (out / "annotations" / "x.json").write_text("{")
    assert count(plate, draw(tmp_path / "new.png"), out=out).kept == 3
    assert run("count", plate, "--method", "blobs", "--again", "--out", out) == 3
    assert "may have corrections" in (text := capsys.readouterr().err) and "x.json" in text


def test_edited_predictions_are_not_overwritten(plate, tmp_path):
    out = tmp_path / "F"
    count(plate, out=out)
    (out / "predictions" / "b.csv").write_text("image,y,x,label,score\nb.png,1,1,,\n")
    seen = []
    count(plate, out=out, each=lambda one, total: seen.append(one))
    assert all(isinstance(one, Entry) and one.kept for one in seen)
    assert [bool(one.warnings) for one in seen] == [False, True, False] and "annotations" in seen[1].warnings[0]
    done = count(plate, out=out, again=True)
    assert done.counted == 2 and "was edited" in str(done.failed[0].error)
    assert (out / "predictions" / "b.csv").read_text().endswith("b.png,1,1,,\n")


def test_two_calls_do_not_write_one_folder_at_once(plate, tmp_path):
    pytest.importorskip("fcntl")
    inside = []

    def second(one, total):
        with pytest.raises(DataError, match="another call is writing"):
            count(plate, out=tmp_path / "F")
        inside.append(one)

    count(plate, out=tmp_path / "F", each=second)
    assert len(inside) == 3 and count(plate, out=tmp_path / "F").kept == 3


def test_settings_of_a_folder_are_taken_over_and_never_overwritten(plate, tmp_path):
    pixels = np.dstack([np.asarray(Image.open(plate / "a.png"))] + 2 * [np.full((64, 64), 9, np.uint8)])
    Image.fromarray(pixels).save(plate / "a.png")
    (plate / "dataset.toml").write_text('channel = "red"\npixel_size_um = 0.65\n')
    count(plate, out=tmp_path / "F")
    text = (tmp_path / "F" / "dataset.toml").read_text()
    assert text == 'channel = "red"\npredictions = true\npixel_size_um = 0.65\n'
    assert summary(tmp_path / "F")["images"][0]["count"] > 0
    (tmp_path / "F" / "dataset.toml").write_text(text + 'reviewed = ["a"]\n')
    assert count(tmp_path / "F", out=tmp_path / "F").kept == 3
    assert 'reviewed = ["a"]' in (tmp_path / "F" / "dataset.toml").read_text()
    draw(tmp_path / "other" / "x.png")
    with pytest.raises(DataError, match="red, auto"):
        count(plate, tmp_path / "other", out=tmp_path / "G")
    assert count(plate, tmp_path / "other", out=tmp_path / "G", channel="mean").counted == 4


def test_only_images_in_files_have_a_folder(tmp_path):
    with pytest.raises(ParameterError, match="paths"):
        count_folder([np.zeros((64, 64), np.float32)], tmp_path / "F", method="blobs")
    assert not (tmp_path / "F").exists()


def test_the_points_survive_an_overlay_that_cannot_be_drawn(plate, tmp_path, monkeypatch):
    def fail(*arguments, **options):
        raise MemoryError

    monkeypatch.setattr("cellcount.io.overlays.overlay", fail)
    done = count(plate, out=tmp_path / "F")
    assert done.counted == 3 and not list((tmp_path / "F" / "overlays").iterdir())
    assert "no overlay (MemoryError" in summary(tmp_path / "F")["images"][0]["warnings"][0]


def test_patterns_that_no_shell_has_expanded(plate, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(plate)
    draw(plate / "x[1].png", 4)
    draw(plate / "x1.png", 5)
    draw(plate / "deep" / "er" / "y.png", 6)
    out = tmp_path / "F"
    assert run("count", "*.png", "--method", "blobs", "--out", out) == 0
    assert [one["image"] for one in summary(out)["images"]] == ["a.png", "b.png", "c.png", "x1.png", "x[1].png"]
    assert run("count", "x[1].png", "**/y.png", "--method", "blobs", "--out", tmp_path / "G") == 0
    assert [one["image"] for one in summary(tmp_path / "G")["images"]] == ["x[1].png", "deep/er/y.png"]
    assert run("count", "*.tif", "a.png", "d*", "--method", "blobs", "--out", tmp_path / "H") == 3
    assert "*.tif: no file matches" in capsys.readouterr().err
    assert [one["image"] for one in summary(tmp_path / "H")["images"]] == ["a.png"]
