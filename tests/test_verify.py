"""Manifests, and `cellcount verify`: what was changed is found and named, and what was not comes out again."""

import importlib
import json
import os
import shutil
import time
from pathlib import Path

import nbformat
import numpy as np
import pytest
from PIL import Image
from safetensors import safe_open
from safetensors.numpy import save_file
from test_count_folder import draw
from test_runner import book  # noqa: F401  (a fixture)

from cellcount import cli, counting, devices, manifest
from cellcount.companion.runner import built, run_chapter
from cellcount.companion.runner.staleness import run_key
from cellcount.data import phantom
from cellcount.errors import DataError
from cellcount.results import audit
from cellcount.results.verifying import manifests, verify


def run(*arguments):
    return cli.main([*map(str, arguments)])


def found(capsys, *arguments):
    """(exit code, {(change, kind, file)}) of `cellcount verify`."""
    capsys.readouterr()
    code = run("verify", *arguments, "--json")
    answer = json.loads(capsys.readouterr().out)
    return code, {tuple(change.values()) for one in answer["results"] for change in one["changes"]}


def flip(path, place=-10):
    """Change one byte of a file; not through a link to it."""
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.unlink()
    path.write_bytes(content)


def replace(path, old, new):
    text = path.read_text("utf-8")
    assert old in text
    path.unlink()
    path.write_text(text.replace(old, new, 1), "utf-8")


@pytest.fixture
def counted(tmp_path):
    """A folder of `cellcount count`, of two images."""
    for seed, name in enumerate(("a.png", "b.png")):
        draw(tmp_path / "plate" / name, seed)
    assert run("count", tmp_path / "plate", "--method", "blobs", "--out", tmp_path / "F") == 0
    return tmp_path / "F"


@pytest.fixture(scope="module")
def training(tmp_path_factory):
    """A folder with data, and the weights of a short training on them."""
    folder, sample = tmp_path_factory.mktemp("training"), phantom.simulate(seed=1, size=(96, 96))
    (folder / "mine").mkdir()
    Image.fromarray((sample.image * 255).astype(np.uint8)).save(folder / "mine" / "a.png")
    rows = "".join(f"a.png,{y:.1f},{x:.1f}\n" for y, x in sample.points)
    (folder / "mine" / "points.csv").write_text("image,y,x\n" + rows)
    settings = {"steps": 2, "folds": 0, "batch": 1, "device": "cpu", "progress": False}
    counting.train(str(folder / "mine"), out=folder / "mine.safetensors", **settings)
    return folder


@pytest.fixture
def trained(training, tmp_path):
    """The weights of a training, in a copy of its folder."""
    shutil.copytree(training, tmp_path, dirs_exist_ok=True)
    return tmp_path / "mine.safetensors"


BUILT = []  # a folder with a book that was computed


@pytest.fixture
def built_book(book, tmp_path_factory):  # noqa: F811
    """The folders with the chapters and the site of a book of two chapters, computed and "rendered"."""
    runs, site = (book / "build" / part / "phantom" / "smoke" for part in ("runs", "site"))
    if BUILT:
        shutil.copytree(BUILT[0], book / "build")
        return runs, site
    for stem in ("00-preface", "01-toy"):
        out = runs / f"{stem}.ipynb"
        run_chapter(stem, out=out, key=run_key(stem, out, data="phantom", profile="smoke"))
    (site / "_build" / "html" / "book").mkdir(parents=True)
    (site / "_build" / "html" / "book" / "01-toy.html").write_text("<p>12 cells</p>")
    shutil.copytree(runs, site / "source" / "book")
    built.of_site(site, manifest.Clock(), built.of_chapters(runs))
    shutil.copytree(book / "build", tmp_path_factory.mktemp("built") / "build")
    BUILT.append(tmp_path_factory.getbasetemp() / "built0" / "build")
    return runs, site


def test_a_count_says_what_it_was_made_by_and_is_as_written(counted, capsys):
    assert found(capsys, counted) == (0, set())
    content = manifest.read(counted / manifest.NAME)
    (made,) = content["runs"]
    assert made["commit"] and made["dirty"] in (True, False) and made["packages"]["numpy"] == np.__version__
    assert made["parameters"]["method"] == "blobs" and made["counted"] == 2 and made["cpu"] and made["threads"] >= 1
    energy = made["energy"]
    joule = made["core_seconds"] * energy["watts"]["core"] + made["seconds"] * made["memory_gb"] * 0.3725
    assert energy["kwh"] == pytest.approx(joule / 3.6e6, rel=0.01) and "12 W" in energy["rule"]
    assert "Lannelongue" in energy["source"] and str(counted.parent) not in (counted / manifest.NAME).read_text()
    assert sorted(content["files"]) == ["data", "overlay", "points", "records", "settings", "summary", "table"]
    assert run("count", counted.parent / "plate", "--method", "blobs", "--out", counted) == 0
    assert len(manifest.read(counted / manifest.NAME)["runs"]) == 1, "a call that counted nothing is no run"
    draw(counted.parent / "plate" / "c.png", 3)
    assert run("count", counted.parent / "plate", "--method", "blobs", "--out", counted) == 0
    assert [one["counted"] for one in manifest.read(counted / manifest.NAME)["runs"]] == [2, 1]
    assert found(capsys, counted) == (0, set())


def test_the_power_limit_of_a_gpu_is_in_the_energy_if_it_was_used(tmp_path, monkeypatch):
    program = tmp_path / "nvidia-smi"
    program.write_text('#!/bin/sh\necho "NVIDIA H100, 700.00"\necho "NVIDIA H100, 500.00"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(devices, "may_have_accelerator", lambda: True)
    devices.gpu.cache_clear()
    assert devices.gpu() == ("NVIDIA H100", 700.0)
    monkeypatch.setattr(devices, "is_cpu", lambda device: device == "cpu")
    clock = manifest.Clock(wall=time.perf_counter() - 3600)
    used, idle = clock.run("count", {}, "cuda"), clock.run("count", {}, "cpu")
    assert used["energy"]["kwh"] - idle["energy"]["kwh"] == pytest.approx(0.7, rel=0.01)
    assert used["gpu"] == idle["gpu"] == "NVIDIA H100" and idle["energy"]["watts"]["GPU"] is None
    program.write_text('#!/bin/sh\necho "NVIDIA T4, [N/A]"\n')
    devices.gpu.cache_clear()
    assert devices.gpu() == ("NVIDIA T4", None)
    program.write_text("#!/bin/sh\nexit 9\n")
    devices.gpu.cache_clear()
    assert devices.gpu() is None
    devices.gpu.cache_clear()


COUNTED = {
    "image": (lambda F: flip(F / "images" / "a.png"), ("changed", "data", "images/a.png")),
    "points": (lambda F: replace(F / "predictions" / "b.csv", ".", ","), ("changed", "points", "predictions/b.csv")),
    "overlay": (lambda F: flip(F / "overlays" / "a.png"), ("changed", "overlay", "overlays/a.png")),
    "summary": (lambda F: replace(F / "summary.json", '"count": 3', '"count": 4'),
                ("changed", "summary", "summary.json")),
    "row": (lambda F: replace(F / "counts.csv", "blobs", "globs"), ("changed", "table", "counts.csv")),
    "record": (lambda F: replace(F / "records.jsonl", "blobs", "globs"), ("changed", "records", "records.jsonl")),
    "manifest": (lambda F: replace(F / "manifest.json", '"counted": 2', '"counted": 3'),
                 ("changed", "manifest", "manifest.json")),
    "space": (lambda F: replace(F / "manifest.json", "\n ", "\n  "), ("changed", "manifest", "manifest.json")),
    "missing": (lambda F: (F / "overlays" / "b.png").unlink(), ("missing", "overlay", "overlays/b.png")),
    "added": (lambda F: draw(F / "images" / "c.png", 3), ("added", "file", "images/c.png")),
}  # fmt: skip


@pytest.mark.parametrize("tampering", COUNTED)
def test_what_was_changed_in_a_count_is_named(tampering, counted, capsys):
    change, expected = COUNTED[tampering]
    change(counted)
    assert found(capsys, counted) == (3, {expected})
    # A later call does not accept it.
    if expected[1] in ("data", "points", "overlay", "records", "file") and expected[0] != "missing":
        draw(counted.parent / "plate" / "d.png", 3)
        run("count", counted.parent / "plate" / "d.png", "--method", "blobs", "--out", counted)
        assert found(capsys, counted) == (3, {expected})


def test_corrections_of_a_count_are_no_change_of_it(counted, capsys):
    shutil.copytree(counted / "predictions", counted / "annotations")
    (counted / ".hidden").touch()
    assert found(capsys, counted) == (0, set())


def test_a_folder_that_had_other_files_keeps_them(tmp_path, capsys):
    draw(tmp_path / "plate" / "a.png")
    (tmp_path / "plate" / "notes.txt").write_text("mine")
    (tmp_path / "plate" / "dataset.toml").write_text("predictions = true\n")
    assert run("count", tmp_path / "plate" / "a.png", "--method", "blobs", "--out", tmp_path / "plate") == 0
    assert found(capsys, tmp_path / "plate") == (0, set())
    (tmp_path / "plate" / "more.txt").write_text("new")
    assert found(capsys, tmp_path / "plate") == (3, {("added", "file", "more.txt")})


def test_a_count_comes_out_again(counted, capsys):
    before = {path: path.read_bytes() for path in counted.rglob("*") if path.is_file()}
    assert run("verify", counted, "--rerun") == 0
    said = capsys.readouterr().out
    assert "none differs" in said and "tolerance 0.01: each count" in said
    assert {path: path.read_bytes() for path in counted.rglob("*") if path.is_file()} == before
    for name in ("records.jsonl", "summary.json"):
        replace(counted / name, '"count": 3', '"count": 5')
    assert run("verify", counted, "--rerun") == 3
    assert "images/a.png, count: 5, and 3 now" in capsys.readouterr().out


def test_weights_that_were_given_are_compared(trained, tmp_path, capsys):
    draw(tmp_path / "plate" / "a.png", side=96)
    assert run("count", tmp_path / "plate", "--weights", trained, "--out", tmp_path / "F", "--device", "cpu") == 0
    capsys.readouterr()
    assert run("verify", tmp_path / "F") == 0
    assert "not compared: weights mine.safetensors (name it with --weights FILE)" in capsys.readouterr().out
    assert run("verify", tmp_path / "F", "--rerun") == 3 and "--weights" in capsys.readouterr().err
    assert run("verify", tmp_path / "F", "--rerun", "--weights", trained) == 0
    flip(trained)
    expected = ("changed", "weights", "mine.safetensors")
    assert found(capsys, tmp_path / "F", "--weights", trained) == (3, {expected})
    assert run("verify", tmp_path / "F", "--rerun", "--weights", trained) == 3


TRAINED = {
    "image": (lambda d: flip(d / "mine" / "a.png"), ("changed", "data", "mine/a.png")),
    "point": (lambda d: replace(d / "mine" / "points.csv", ".", "1."), ("changed", "annotation", "mine/points.csv")),
    "weights": (lambda d: flip(d / "mine.safetensors"), ("changed", "weights", "mine.safetensors")),
    "missing": (lambda d: (d / "mine" / "points.csv").unlink(), ("missing", "annotation", "mine/points.csv")),
    "added": (lambda d: (d / "mine" / "b.csv").write_text("image,y,x\n"), ("added", "annotation", "mine/b.csv")),
    "manifest": (lambda d: replace(d / "mine.manifest.json", '"dirty": ', '"dirty": 1'),
                 ("changed", "manifest", "mine.manifest.json")),
}  # fmt: skip


@pytest.mark.parametrize("tampering", TRAINED)
def test_what_was_changed_in_a_training_is_named(tampering, trained, capsys):
    assert found(capsys, trained) == (0, set())
    change, expected = TRAINED[tampering]
    change(trained.parent)
    assert found(capsys, trained) == (3, {expected})


def test_a_training_comes_out_again_wherever_its_data_are(trained, tmp_path, capsys):
    assert run("verify", trained, "--rerun") == 0
    shutil.move(tmp_path / "mine", tmp_path / "elsewhere")
    assert found(capsys, trained)[0] == 3
    assert found(capsys, trained, "--data", tmp_path / "elsewhere") == (0, set())
    assert run("verify", trained, "--rerun", "--data", tmp_path / "elsewhere") == 0
    capsys.readouterr()


def test_a_manifest_of_other_weights_is_refused_and_kept(trained, tmp_path, capsys):
    other = tmp_path / "other.safetensors"
    other.write_bytes(b"anything")
    shutil.copy(tmp_path / "mine.manifest.json", tmp_path / "other.manifest.json")
    assert run("verify", other) == 2
    assert (
        "other.manifest.json is not of other.safetensors, but of mine.onnx, mine.safetensors" in capsys.readouterr().err
    )
    other.unlink()
    settings = ["-p", "steps", "1", "-p", "folds", "0", "--device", "cpu"]
    assert run("train", tmp_path / "mine", "--out", other, *settings) == 3
    assert "other.manifest.json, of mine." in capsys.readouterr().err and not other.exists()


def test_a_training_from_scratch_comes_out_again_with_its_threshold(trained, tmp_path, capsys):
    out = tmp_path / "scratch.safetensors"
    settings = {"steps": 2, "folds": 0, "batch": 1, "device": "cpu", "progress": False, "start": None}
    counting.train(str(tmp_path / "mine"), out=out, **settings)
    assert run("verify", out, "--rerun") == 0
    with safe_open(out, framework="np") as file:
        tensors, about = {name: file.get_tensor(name) for name in file.keys()}, json.loads(file.metadata()["cellcount"])
    about["settings"]["threshold"] *= 2
    save_file(tensors, out, metadata={"cellcount": json.dumps(about)})
    capsys.readouterr()
    assert run("verify", out, "--rerun") == 3
    assert "scratch.safetensors, settings/threshold" in capsys.readouterr().out


def test_samples_without_files_are_compared_by_running_again(tmp_path, capsys):
    sample = phantom.simulate(seed=1, size=(96, 96))
    counting.train([sample], out=tmp_path / "w.json", method="foreground-area", progress=False)
    assert run("verify", tmp_path / "w.json") == 0 and "as arrays" in capsys.readouterr().out
    assert run("verify", tmp_path / "w.json", "--rerun") == 3 and "arrays" in capsys.readouterr().err


@pytest.fixture
def estimated(tmp_path):
    """An audit of two images, with its estimate."""
    for seed, name in enumerate(("a.png", "b.png")):
        draw(tmp_path / "plate" / name, seed, side=160)
    one = audit.make([tmp_path / "plate"], tmp_path / "A", windows=4, window=64, method="blobs", progress=False)
    assert verify(one.folder / manifest.NAME).changes == []
    shutil.copytree(one.folder / "predictions", one.folder / "annotations")
    audit.estimate(one.folder, reviewed=True)
    return one.folder


def test_an_audit_is_as_written_and_comes_out_again(estimated, capsys):
    assert [one.parent.name for one in manifests(estimated)] == ["A", "counts"]
    assert found(capsys, estimated) == (0, set())
    assert run("verify", estimated, "--rerun") == 0 and "estimate" in capsys.readouterr().out
    commands = [one["command"] for one in manifest.read(estimated / manifest.NAME)["runs"]]
    assert commands == ["audit make", "audit estimate"]


AUDITED = {
    "image": (lambda A: flip(A / "images" / "window-001.png"), ("changed", "data", "images/window-001.png")),
    "point": (lambda A: replace(A / "annotations" / "window-002.csv", ".png,", ".png,1"),
              ("changed", "annotation", "annotations/window-002.csv")),
    "draw": (lambda A: replace(A / "audit.json", '"seed": 0', '"seed": 1'), ("changed", "records", "audit.json")),
    "total": (lambda A: replace(A / "audit-result.json", '"total": ', '"total": 1'),
              ("changed", "summary", "audit-result.json")),
    "row": (lambda A: replace(A / "audit-result.csv", "window-003", "window-004"),
            ("changed", "table", "audit-result.csv")),
    "added": (lambda A: (A / "annotations" / "x.csv").touch(), ("added", "file", "annotations/x.csv")),
}  # fmt: skip


@pytest.mark.parametrize("tampering", AUDITED)
def test_what_was_changed_in_an_audit_is_named(tampering, estimated, capsys):
    change, expected = AUDITED[tampering]
    change(estimated)
    assert found(capsys, estimated) == (3, {expected})


def test_a_book_is_as_written_and_comes_out_again(built_book, capsys):
    runs, site = built_book
    assert found(capsys, runs, site) == (0, set())
    content = manifest.read(runs / manifest.NAME)
    toy = content["runs"][1]
    assert toy["parameters"] == {"chapter": "01-toy", "data": "phantom", "profile": "smoke", "parameters": {}}
    assert toy["energy"]["kwh"] > 0 and len(toy["data_sha256"]) == len(toy["code_sha256"]) == 64
    assert {one["kind"] for one in content["inputs"]} == {"data", "bundled"}
    assert run("verify", runs, "--rerun") == 0
    assert "none differs" in capsys.readouterr().out
    (runs / "01-toy" / "rows.csv").write_text("3")
    built.of_chapters(runs)
    expected = ("changed", "rows", "01-toy/rows.csv")
    assert found(capsys, runs) == (3, {expected}), "another manifest has the hash that the run recorded"
    assert run("verify", runs, "--rerun") == 3 and "01-toy/rows.csv" in capsys.readouterr().out


BOOK = {
    "output": (0, lambda r: replace(r / "01-toy.ipynb", "number: 2", "number: 3"),
               ("changed", "notebook", "01-toy.ipynb")),
    "row": (0, lambda r: replace(r / "01-toy" / "rows.csv", "2", "3"), ("changed", "rows", "01-toy/rows.csv")),
    "record": (0, lambda r: replace(r / "01-toy.run.json", '"seconds"', '"minutes"'),
               ("changed", "records", "01-toy.run.json")),
    "missing notebook": (0, lambda r: (r / "01-toy.ipynb").unlink(), ("missing", "notebook", "01-toy.ipynb")),
    "added table": (0, lambda r: (r / "01-toy" / "x.csv").touch(), ("added", "file", "01-toy/x.csv")),
    "page": (1, lambda s: replace(s / "_build" / "html" / "book" / "01-toy.html", "12", "13"),
             ("changed", "page", "_build/html/book/01-toy.html")),
    "added page": (1, lambda s: (s / "_build" / "html" / "x").mkdir() or (s / "_build/html/x/y.html").touch(),
                   ("added", "file", "_build/html/x/y.html")),
    "manifest": (1, lambda s: replace(s / "manifest.json", "render", "reader"),
                 ("changed", "manifest", "manifest.json")),
}  # fmt: skip


@pytest.mark.parametrize("tampering", BOOK)
def test_what_was_changed_in_a_book_is_named(tampering, built_book, capsys):
    which, change, expected = BOOK[tampering]
    change(built_book[which])
    assert found(capsys, *built_book) == (3, {expected})


def test_an_edited_output_differs_from_that_of_a_new_run(built_book, capsys):
    runs, _ = built_book
    notebook = nbformat.read(runs / "01-toy.ipynb", as_version=4)
    (cell,) = [cell for cell in notebook.cells if "number: 2" in str(cell.get("outputs"))]
    cell.outputs[0].text = cell.outputs[0].text.replace("number: 2", "number: 3")
    nbformat.write(notebook, runs / "01-toy.ipynb")
    assert run("verify", runs, "--rerun") == 3
    assert "01-toy.ipynb, code cell 3: 3, and 2 now" in capsys.readouterr().out


def test_the_page_on_the_build_shows_what_was_recorded(built_book, monkeypatch):
    runs, _ = built_book
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "workflow")
    about = importlib.import_module("about")
    path = runs / manifest.NAME
    text, made = about.page(runs, path), manifest.read(path)["runs"][1]
    assert path.read_text().split('"checksum": "')[1][:64] in text and made["commit"][:8] in text
    assert "for 2 chapters" in text and made["cpu"] in text and f"numpy {np.__version__}" in text
    assert "Lannelongue" in text and "01-toy" in text and str(runs) not in text
    (runs / "01-toy.run.json").unlink()
    (runs / "00-preface.run.json").unlink()
    assert "before this was recorded" in about.page(runs, None)


@pytest.mark.parametrize("name", ["/etc/hostname", "../x", "a/../../x", "\0"])
def test_a_manifest_that_names_files_elsewhere_is_refused(name, counted, capsys):
    path = counted / manifest.NAME
    content = manifest.read(path)
    for change in (
        {"files": {"data": {name: "0" * 64}}},
        {"places": [f"{name}/**"]},
        {"inputs": [{"kind": "data", "name": "x", "place": name, "files": {}}]},
        {"inputs": [{"kind": "data", "name": "x", "place": "images", "files": {"data": {name: "0" * 64}}}]},
    ):
        path.write_text(manifest.text(content | change))
        with pytest.raises(DataError, match="outside of its folder"):
            manifest.read(path)
    assert found(capsys, counted)[0] == 3


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", "[" * 100_000, '{"format": "cellcount manifest 1"}', "\xff", '{"checksum": 1}', "null"]
)
def test_what_is_no_manifest_is_refused_with_its_reason(text, counted):
    (counted / manifest.NAME).write_bytes(text.encode("latin-1"))
    assert [one.kind for one in verify(counted / manifest.NAME).changes] == ["manifest"]


@pytest.mark.parametrize("key", ["runs", "places", "inputs", "files", "beside", "what"])
def test_a_manifest_of_another_form_is_refused(key, counted):
    content = manifest.read(counted / manifest.NAME)
    for value in (None, 3, "x", [3], {"x": 3}, [{"command": "rm"}]):
        (counted / manifest.NAME).write_text(manifest.text(content | {key: value}))
        try:
            manifest.read(counted / manifest.NAME)
        except DataError:
            continue
        assert verify(counted / manifest.NAME)  # another form that can be read


def test_a_forged_run_calls_nothing_but_known_methods_and_parameters(counted, capsys):
    content = manifest.read(counted / manifest.NAME)
    for asked in ({"method": "os"}, {"parameters": {"out": "/tmp/x"}}, {"weights": "/etc/passwd"}, {"channel": 3}):
        forged = json.loads(json.dumps(content))
        forged["runs"][0]["parameters"] |= asked
        (counted / manifest.NAME).write_text(manifest.text(forged))
        assert run("verify", counted, "--rerun") in (2, 3), asked
        assert "Traceback" not in capsys.readouterr().err


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no pipes")
def test_pipes_and_devices_are_not_read(counted, capsys):
    (counted / "overlays" / "a.png").unlink()
    os.mkfifo(counted / "overlays" / "a.png")
    (counted / "overlays" / "b.png").unlink()
    (counted / "overlays" / "b.png").symlink_to("/dev/zero")
    expected = {("unread", "overlay", f"overlays/{name}.png") for name in "ab"}
    assert found(capsys, counted) == (3, expected)


def test_a_result_without_a_manifest_is_refused(tmp_path, capsys):
    assert run("verify", tmp_path) == run("verify", tmp_path / "nothing") == 3
    (tmp_path / "w.safetensors").touch()
    assert run("verify", tmp_path / "w.safetensors") == 3
    assert "w.manifest.json" in capsys.readouterr().err
