"""The command line as a user meets it."""

import csv
import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
import tifffile
from PIL import Image

import cellcount
from cellcount import cli, counting
from cellcount.cli.tables import print_table
from cellcount.data import phantom
from cellcount.io import large
from cellcount.methods.cellnet.inference import SHIPPED


@pytest.fixture
def image(tmp_path):
    """A PNG with dark discs."""
    pixels = np.full((120, 150), 170, np.uint8)
    yy, xx = np.indices(pixels.shape)
    for y, x in [(30, 30), (60, 90), (90, 40)]:
        pixels[(yy - y) ** 2 + (xx - x) ** 2 < 49] = 90
    path = tmp_path / "field.png"
    Image.fromarray(pixels).save(path)
    return path


def run(*arguments):
    return cli.main([str(argument) for argument in arguments])


def test_count_writes_points_overlay_and_summary(image, tmp_path, capsys):
    out = tmp_path / "out"
    assert run("count", image, "--method", "blobs", "--out", out) == 0
    assert "3  " in capsys.readouterr().out
    with open(out / "predictions" / "field.csv") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3
    assert sorted(round(float(row["y"])) for row in rows) == pytest.approx([30, 60, 90], abs=1)
    with Image.open(out / "overlays" / "field.png") as overlay:
        assert overlay.size == (150, 120) and overlay.mode == "P"
    entry = json.loads((out / "summary.json").read_text())["images"][0]
    assert entry["count"] == 3 and entry["method"] == "blobs"


def test_count_works_right_after_install_with_the_shipped_weights(image, tmp_path):
    assert SHIPPED.is_file() and SHIPPED.stat().st_size <= 8e6
    assert run("count", image, "--out", tmp_path / "out", "--device", "cpu") == 0
    entry = json.loads((tmp_path / "out" / "summary.json").read_text())["images"][0]
    assert entry["method"] == "cellnet" and len(entry["weights_sha256"]) == 64


def test_one_bad_image_does_not_stop_the_others(image, tmp_path, capsys):
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"not an image")
    out = tmp_path / "out"
    assert run("count", bad, image, "--method", "blobs", "--out", out) == 3
    summary = json.loads((out / "summary.json").read_text())
    assert len(summary["images"]) == 1 and summary["failed"][0]["image"] == str(bad)
    assert "bad.png" in capsys.readouterr().err


def test_a_folder_of_images_is_counted_and_equal_names_are_kept_apart(image, tmp_path):
    folder = tmp_path / "more"
    folder.mkdir()
    Image.open(image).save(folder / "field.png")
    out = tmp_path / "out"
    assert run("count", image, folder, "--method", "blobs", "--out", out) == 0
    assert (out / "predictions" / "field.csv").exists() and (out / "predictions" / "field-2.csv").exists()


@pytest.mark.parametrize("method", ["blobs", "cellnet"])
def test_a_tiff_larger_than_memory_is_counted_from_the_file_with_the_same_result(tmp_path, monkeypatch, method):
    image = phantom.simulate(seed=1, size=(260, 330)).image
    pixels = np.dstack([(image[::-1] * 255), (image * 255), np.zeros_like(image)]).astype(np.uint8)
    tifffile.imwrite(tmp_path / "big.tif", pixels, photometric="rgb", tile=(64, 64), compression="zlib")
    monkeypatch.setattr(counting, "TILE", 192)
    monkeypatch.setattr(counting, "OVERLAP", 64)
    monkeypatch.setattr(large, "OVERVIEW", 100)
    arguments = ["count", tmp_path / "big.tif", "--method", method, "--device", "cpu", "--out"]
    assert run(*arguments, tmp_path / "memory") == 0
    monkeypatch.setattr(large, "LARGE", 1000)
    assert run(*arguments, tmp_path / "file") == 0
    points = [(tmp_path / folder / "predictions" / "big.csv").read_text() for folder in ("memory", "file")]
    assert points[0] == points[1] and points[0].count("\n") > 20
    one, other = (json.loads((tmp_path / f / "summary.json").read_text())["images"][0] for f in ("memory", "file"))
    assert other["overlay_shrunken_by"] == 4
    differing = ("seconds", "overlay_shrunken_by", "overlay_sha256")
    assert {k: v for k, v in one.items() if k not in differing} == {k: other[k] for k in one if k not in differing}
    with Image.open(tmp_path / "file" / "overlays" / "big.png") as overlay:
        assert overlay.size == (83, 65)


def test_a_damaged_large_tiff_does_not_stop_the_others(image, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(large, "LARGE", 1000)
    bad, out = tmp_path / "bad.tif", tmp_path / "out"
    tifffile.imwrite(bad, np.arange(30000, dtype=np.uint16).reshape(150, 200))
    bad.write_bytes(bad.read_bytes()[:-999])
    assert run("count", bad, image, "--method", "blobs", "--out", out) == 3
    assert "bad.tif: The file is cut off" in capsys.readouterr().err
    assert len(json.loads((out / "summary.json").read_text())["images"]) == 1


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["count", "nowhere.png"], 3, "nowhere.png"),
        (["count", "x.png", "--method", "magic"], 2, "no method 'magic'"),
        (["train", "nowhere"], 2, "neither a data set"),
        (["train", "phantom", "-p", "step", "3"], 2, "no parameter step"),
        (["train", "phantom", "-p", "steps", "many"], 2, "expected a value like"),
        (["data", "check", "nowhere"], 3, "nowhere"),
        (["count", "x.png", "--out", ""], 2, "A path is empty"),
        (["count", " "], 2, "A path is empty"),
        (["train", "nowhere", "--out", ""], 2, "A path is empty"),
        (["export", "--out", ""], 2, "A path is empty"),
        (["data", "convert", "a.csv", ""], 2, "A path is empty"),
        (["data", "import", "a", ""], 2, "A path is empty"),
        (["train", "nowhere", "--out", "w.onnx"], 2, "w.onnx: weights of cellnet are written to"),
        (["train", "nowhere", "-p", "steps", "0"], 2, "steps=0 must be positive"),
    ],
)
def test_bad_calls_say_what_is_wrong(arguments, code, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(*arguments) == code
    captured = capsys.readouterr()
    assert message in captured.err + captured.out
    assert "Traceback" not in captured.err


def test_a_chapter_needs_a_clone(tmp_path, monkeypatch, capsys):
    from cellcount.companion.runner import sources

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        sources, "__file__", str(tmp_path / "lib" / "cellcount" / "companion" / "runner" / "sources.py")
    )
    assert run("run", "cellnet", "--data", "phantom") == 4
    assert "clone" in capsys.readouterr().err


def test_an_unknown_chapter_is_refused_with_the_known_ones(capsys):
    assert run("run", "nochapter", "--data", "phantom") == 2
    assert "06-cellnet" in capsys.readouterr().err


def test_help_lists_the_verbs_and_exit_codes(capsys):
    with pytest.raises(SystemExit) as stop:
        run("--help")
    assert stop.value.code == 0
    text = capsys.readouterr().out
    for verb in ("count", "train", "run", "data", "methods", "doctor", "exit codes"):
        assert verb in text


def test_methods_and_data_list_show_what_is_here(capsys):
    assert run("methods") == 0 and run("data", "list") == 0
    text = capsys.readouterr().out
    assert "cellnet" in text and "blobs" in text and "ready" in text and "phantom" in text


@pytest.mark.parametrize("call", [["methods"], ["weights", "list"], ["data", "list"]], ids=" ".join)
def test_lists_are_aligned_tables_of_at_most_100_columns(capsys, call):
    assert run(*call) == 0
    header, *lines = capsys.readouterr().out.splitlines()
    assert max(map(len, [header, *lines])) <= 100
    starts = [match.end() for match in re.finditer("  +", header)]
    assert starts and all(line[start - 2 : start].strip() == "" for line in lines for start in starts)
    assert run(*call, "--verbose") == 0
    assert len(capsys.readouterr().out.splitlines()) > len(lines)


def test_long_text_is_cut_at_a_word_or_wrapped_under_its_column(capsys):
    rows = [("a", "one two three " * 10, 1), ("bb", "short", 22)]
    print_table(("name", "text", "n"), rows)
    header, first, second = capsys.readouterr().out.splitlines()
    assert re.search(r" (one|two|three) …", first) and len(first) <= 100
    assert header.index("  n") == second.index("  22") and first.endswith("   1")
    print_table(("name", "text", "n"), rows, wrap=True)
    assert capsys.readouterr().out.splitlines()[2].startswith("      ")


def test_doctor_says_what_a_build_would_do(capsys, monkeypatch):
    monkeypatch.setenv("CELLCOUNT_OFFLINE", "1")
    assert run("doctor") == 0
    text = capsys.readouterr().out
    assert "make book  computes on" in text and "Methods" in text


def test_check_and_import_of_a_folder(image, tmp_path, capsys):
    folder = tmp_path / "mine"
    folder.mkdir()
    image.rename(folder / "field.png")
    (folder / "points.csv").write_text("image,y,x\nfield.png,30,30\nfield.png,60,90\n")
    assert run("data", "check", folder) == 0
    assert "0 errors" in capsys.readouterr().out
    assert run("data", "import", folder, tmp_path / "plain") == 0
    assert run("data", "check", tmp_path / "plain") == 0
    (folder / "points.csv").write_text("image,y,x\nfield.png,30,3000\nother.png,1,1\n")
    capsys.readouterr()
    assert run("data", "check", folder) == 3
    text = capsys.readouterr().out
    assert "line 2" in text and "line 3" in text


def test_train_then_count(image, tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "field.png").write_bytes(image.read_bytes())
    (folder / "points.csv").write_text("image,y,x\nfield.png,30,30\nfield.png,60,90\nfield.png,90,40\n")
    weights = tmp_path / "own.safetensors"
    settings = ["-p", "steps", "2", "-p", "widths", "8,8", "-p", "crop", "64", "-p", "batch", "2"]
    assert run("train", folder, "--out", weights, "--device", "cpu", *settings) == 0
    assert run("count", image, "--weights", weights, "--out", tmp_path / "out", "--device", "cpu") == 0


def test_version(capsys):
    with pytest.raises(SystemExit) as stop:
        run("--version")
    assert stop.value.code == 0 and capsys.readouterr().out.split() == ["cellcount", cellcount.__version__]


@pytest.mark.parametrize("method", ["cellpose", "deepsea", "sam", "foreground-area"])
def test_a_threshold_that_a_method_does_not_have_is_one_line_and_costs_no_image(image, tmp_path, capsys, method):
    out = tmp_path / "out"
    assert run("count", image, image, "--method", method, "--threshold", ".3", "--out", out) == 2
    captured = capsys.readouterr().err
    assert captured.count("\n") == 1 and "no parameter threshold; it has" in captured and not out.exists()


def test_any_parameter_of_a_method_can_be_set(image, tmp_path, capsys):
    out = tmp_path / "out"
    assert run("count", image, "--method", "blobs", "-p", "sigma", "3", "-p", "threshold", "90", "--out", out) == 0
    assert json.loads((out / "summary.json").read_text())["images"][0]["count"] == 0
    assert run("count", image, "--method", "blobs", "-p", "sigam", "3", "--out", out) == 2
    assert run("count", image, "--method", "blobs", "-p", "sigma", "x", "--out", out) == 2
    assert "sigma" in capsys.readouterr().err


def test_a_closed_pipe_ends_silently(image, tmp_path):
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "cellcount", "methods"]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert done.returncode == 141 and done.stderr == ""


def test_another_method_is_trained_and_counts_with_its_weights(image, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "mine"
    folder.mkdir()
    field = phantom.simulate(seed=1, size=(120, 150))
    Image.fromarray((field.image * 255).astype(np.uint8)).save(folder / "field.png")
    lines = "".join(f"field.png,{y},{x}\n" for y, x in field.points)
    (folder / "points.csv").write_text("image,y,x\n" + lines)
    assert run("train", folder, "--method", "foreground-area") == 0
    assert "--method foreground-area --weights foreground-area.json" in capsys.readouterr().out
    assert run("count", image, "--method", "foreground-area", "--weights", "foreground-area.json") == 0
    assert run("train", folder, "--method", "blobs") == 2
    assert run("train", folder, "--method", "foreground-area", "-p", "sigma", "2") == 2


def test_export_writes_a_file_that_counts(image, tmp_path):
    assert run("export", "--out", tmp_path / "own.onnx") == 0
    assert run("count", image, "--weights", tmp_path / "own.onnx", "--out", tmp_path / "out") == 0


@pytest.mark.parametrize("where", ["field.png", "/proc/nowhere"])
def test_a_place_that_cannot_be_written_is_named_before_anything_is_counted(image, capsys, where):
    out = image if where == "field.png" else where
    assert run("count", image, "--method", "blobs", "--out", out) == 3
    captured = capsys.readouterr()
    assert "cannot be written" in captured.err and captured.out == ""


def test_a_base_install_says_what_it_lacks(tmp_path):
    """Every verb and every method's status, where nothing but the base is installed."""
    block = "import sys; sys.modules |= dict.fromkeys(['torch', 'pandas', 'skimage', 'sklearn', 'jupytext', 'yolox'])"
    calls = [["methods"], ["doctor"], ["bench", "labels", "--out", str(tmp_path / "x.csv")], ["run", "cellnet"]]
    for call in calls:
        code = f"{block}; from cellcount import cli; sys.exit(cli.main({call!r}))"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
        assert "Traceback" not in done.stderr, done.stderr
        assert done.returncode == (0 if len(call) == 1 else 4)
        assert len(call) == 1 or "pip install 'cellcount-points[" in done.stderr or "clone" in done.stderr
