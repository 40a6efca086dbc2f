"""The Python calls of users: count, train, and what they answer."""

import csv
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import cellcount
from cellcount import counting
from cellcount.cli import main
from cellcount.counting import Failure, Result, Results, counted, train
from cellcount.data import phantom
from cellcount.data.survey import survey
from cellcount.errors import DataError, NotAvailableError, ParameterError
from cellcount.methods import METHODS, blobs


@pytest.fixture(scope="module")
def field():
    return phantom.simulate(seed=2, size=(200, 240))


@pytest.fixture
def path(field, tmp_path):
    file = tmp_path / "field.png"
    Image.fromarray(np.rint(field.image * 255).astype(np.uint8)).save(file)
    return file


def test_a_path_and_an_array_give_the_same(path):
    image = np.asarray(Image.open(path), np.float32) / np.float32(255)
    by_path, by_array = cellcount.count(path, method="blobs"), cellcount.count(image, method="blobs")
    np.testing.assert_array_equal(by_path.points, by_array.points)
    assert by_path.count == len(by_path.points) == blobs.predict(image).count
    assert by_path.image == str(path) and by_array.image == "array" and by_path.interval is None
    assert by_path.shape == image.shape and by_path.warnings == ()


def test_a_result_is_written_as_the_command_writes_it(path, tmp_path):
    result = cellcount.count(path, method="blobs")
    with open(result.to_csv(tmp_path / "points.csv")) as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(result.to_frame()) == result.count
    assert float(rows[0]["y"]) == pytest.approx(result.points[0, 0], abs=0.006)
    assert result.save_overlay(tmp_path / "overlay.png") == 1
    with Image.open(tmp_path / "overlay.png") as overlay:
        assert overlay.size == (240, 200) and overlay.mode == "P"
    assert {"image", "count", "method", "seconds", "warnings"} <= result.summary().keys()


def test_of_a_list_with_folders_one_bad_image_is_named_and_the_others_are_counted(path, tmp_path):
    (tmp_path / "more").mkdir()
    path.rename(tmp_path / "more" / "good.png")
    (tmp_path / "more" / "torn.png").write_bytes(b"\x89PNG")
    with pytest.warns(UserWarning, match="torn.png"):
        results = cellcount.count([tmp_path / "more"], method="blobs")
    assert isinstance(results, Results) and len(results) == 1 and results[0].pixels is None
    assert [failure.image for failure in results.failed] == [str(tmp_path / "more" / "torn.png")]
    results[0].save_overlay(tmp_path / "a.jpg")  # reads the file again
    assert set(results.to_frame().image) == {str(tmp_path / "more" / "good.png")}
    lines = results.to_csv(tmp_path / "all.csv").read_text().splitlines()
    assert lines[0] == "image,y,x,label,score" and len(lines) == 1 + results[0].count


def test_where_nothing_can_be_counted_the_error_is_raised(tmp_path):
    with pytest.raises(DataError, match="nowhere.png"):
        cellcount.count([tmp_path / "nowhere.png"])
    with pytest.raises(DataError, match="folder.*list"):
        cellcount.count(tmp_path)
    with pytest.raises(DataError, match="no image"):
        cellcount.count([tmp_path])


@pytest.mark.parametrize(
    "image",
    [
        np.full((20, 20), np.nan, np.float32), np.zeros((4, 4), np.uint8), np.zeros((20, 20, 7)),
        np.zeros((20, 20), complex), np.zeros((0, 20)), np.zeros(20), None, {"a": 1}, iter([]),
    ],
    ids=["nan", "tiny", "seven channels", "complex", "empty", "one axis", "None", "dict", "iterator"],
)  # fmt: skip
def test_what_is_no_image_is_refused(image):
    with pytest.raises(DataError):
        cellcount.count(image, method="blobs")


def test_arrays_of_any_depth_give_what_the_file_gives(path):
    expected = cellcount.count(path, method="blobs").points
    with Image.open(path) as picture:
        eight = np.asarray(picture)
        for image in (eight, eight.astype(np.float64) / 255, np.dstack(3 * [eight]), picture, eight[:, ::-1][:, ::-1]):
            np.testing.assert_array_equal(cellcount.count(image, method="blobs").points, expected)


@pytest.mark.parametrize("method", ["cellpose", "deepsea", "sam", "foreground-area", "prompted-watershed"])
def test_a_threshold_that_a_method_does_not_have_is_refused_before_the_first_image(method, tmp_path):
    given = {"prompts": [[1, 1]]} if method == "prompted-watershed" else {}
    with pytest.raises(ParameterError, match="no parameter threshold; it has"):
        counted([tmp_path / "not-there.png"], method=method, threshold=0.3, **given)


def test_a_fault_of_the_call_that_only_the_method_sees_ends_it(path):
    with pytest.raises(ParameterError, match="threshold=-1"):
        list(counted([path, path], threshold=-1.0))
    with pytest.raises(NotAvailableError, match="device"):
        cellcount.count(path, device="cuda:7")


def test_a_file_that_cannot_be_opened_is_a_failure_of_one_image(path, monkeypatch):
    opened = counting.open_image

    def locked(image, channel):
        if "locked" in str(image):
            raise PermissionError(13, "Permission denied")
        return opened(image, channel)

    monkeypatch.setattr(counting, "open_image", locked)
    found = list(counted(["locked.png", path], method="blobs"))
    assert isinstance(found[0], Failure) and "Permission denied" in str(found[0].error)
    assert isinstance(found[1], Result)


def test_weights_of_another_method_are_refused_before_the_first_image(tmp_path):
    (tmp_path / "x.safetensors").write_bytes(b"nothing")
    with pytest.raises(DataError, match="x.safetensors"):
        counted([tmp_path / "not-there.png"], weights=tmp_path / "x.safetensors")


def test_what_is_odd_about_an_image_is_said(tmp_path):
    pixels = np.zeros((40, 40, 3), np.uint8)
    pixels[..., 2] = np.random.default_rng(0).integers(0, 255, (40, 40))
    Image.fromarray(pixels).save(tmp_path / "blue.png")
    result = cellcount.count(tmp_path / "blue.png", method="blobs")
    assert len(result.warnings) == 1 and "blue" in result.warnings[0]
    assert cellcount.count(tmp_path / "blue.png", method="blobs", channel="blue").warnings == ()


def test_prompts_belong_to_one_image(field):
    result = cellcount.count(field.image, method="prompted-watershed", prompts=field.points)
    assert len(result.points) == len(field.points)
    with pytest.raises(ParameterError, match="one image"):
        cellcount.count([field.image], method="prompted-watershed", prompts=field.points)


def test_train_writes_weights_and_an_onnx_file_that_counts_the_same(field, tmp_path):
    tiny = {"steps": 1, "crop": 64, "batch": 1}  # it starts from weights that know simulated cells
    out = cellcount.train([field], out=tmp_path / "mine.safetensors", device="cpu", progress=False, **tiny)
    assert out == tmp_path / "mine.safetensors" and out.with_suffix(".onnx").is_file()
    fast = cellcount.count(field.image, weights=out)
    out.with_suffix(".onnx").unlink()
    slow = cellcount.count(field.image, weights=out)
    assert "onnx" in fast.prediction.meta["engine"] and "torch" in slow.prediction.meta["engine"]
    assert fast.count == slow.count > 0
    np.testing.assert_allclose(fast.points, slow.points, atol=1e-3)


def test_train_refuses_what_cannot_work_before_it_loads_anything(tmp_path):
    with pytest.raises(ParameterError, match="blobs cannot be trained; these methods can: cellnet, .*yolox"):
        train("nowhere", out=tmp_path / "x", method="blobs")
    with pytest.raises(ParameterError, match="no parameter step"):
        train("nowhere", out=tmp_path / "x", step=3)
    for name in ("x", "x.onnx"):  # weights in a file of another kind would be taken for torn
        with pytest.raises(ParameterError, match=r"\.safetensors"):
            train("nowhere", out=tmp_path / name)
    with pytest.raises(DataError, match="cannot be written"):
        train("nowhere", out="/proc/nowhere/x.safetensors")
    with pytest.raises(ParameterError, match="nowhere"):
        train("nowhere", out=tmp_path / "x.safetensors")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "x.onnx").write_bytes(b"another network")
    with pytest.raises(DataError, match=r"x\.onnx would be replaced"):
        train("nowhere", out=tmp_path / "x.safetensors")


def test_train_names_images_that_are_not_there(field, tmp_path):
    with pytest.raises(DataError, match="no annotated image other"):
        train([field], out=tmp_path / "x.json", method="foreground-area", images=["other"])
    out = train([field], out=tmp_path / "x.json", method="foreground-area", progress=False)
    assert cellcount.count(field.image, method="foreground-area", weights=out).count == pytest.approx(len(field.points))


def test_every_method_that_can_be_trained_names_its_parameters():
    from cellcount.methods import base

    for name, method in METHODS.items():
        if hasattr(method, "fit"):
            known = base.training_parameters(method, name)
            assert known, name
            assert ("preset" in known) == bool(getattr(method, "Settings", base.TrainingSettings).PRESETS)


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("3", int, 3), ("2.5", float | None, 2.5), ("none", float | None, None), ("no", bool, False),
        ("True", bool, True), ("8,16", tuple[int, ...], (8, 16)), ("a.zip", str | None, "a.zip"),
    ],
)  # fmt: skip
def test_texts_become_values(text, kind, value):
    from cellcount.methods.base import Parameter, from_text

    assert from_text("it", [("x", text)], {"x": Parameter(kind, None)}) == {"x": value}


@pytest.mark.parametrize(("text", "kind"), [("x", int), ("maybe", bool), ("1", dict)])
def test_texts_that_are_no_value_are_refused(text, kind):
    from cellcount.methods.base import Parameter, from_text

    with pytest.raises(ParameterError, match=f"-p x {text}"):
        from_text("it", [("x", text)], {"x": Parameter(kind, None)})


def test_without_pandas_a_table_says_what_to_install(field, monkeypatch):
    result = cellcount.count(field.image, method="blobs")
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(NotAvailableError, match=r"pandas.*\[data\]"):
        result.to_frame()
    with pytest.raises(NotAvailableError, match=r"pandas.*\[data\]"):
        Results([result]).to_frame()


def test_a_package_that_a_method_lacks_is_named_with_its_extra(field, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.cluster", None)
    with pytest.raises(NotAvailableError, match=r"clusters needs sklearn.*\[methods\]"):
        cellcount.count(field.image, method="clusters")


def test_counting_imports_neither_torch_nor_what_draws_and_tabulates(path):
    code = (
        "import sys, cellcount; r = cellcount.count(sys.argv[1]); r.to_csv(sys.argv[1] + '.csv');"
        "r.save_overlay(sys.argv[1] + '.png');"
        "print(sorted({'torch', 'pandas', 'matplotlib', 'skimage', 'sklearn'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_pages_of_warnings_are_not_made_of_good_images(path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cellcount.count([path, path], method="blobs")


@pytest.mark.parametrize(
    ("params", "named"),
    [
        ({"sigma": "x"}, "sigma"), ({"sigma": None}, "sigma"), ({"sigma": (1, 2)}, "sigma"), ({"sigma": True}, "sigma"),
        ({"threshold": float("nan")}, "threshold"), ({"sigma": float("inf")}, "sigma"), ({"distance": 0.5}, "distance"),
        ({"contrast": 1e-9}, "contrast"), ({"out": "x.csv"}, "out"),
    ],
    ids=str,
)  # fmt: skip
def test_values_of_another_type_and_internal_ones_are_refused(field, params, named):
    with pytest.raises(ParameterError, match=named):
        cellcount.count(field.image, method="blobs", **params)


@pytest.mark.parametrize(
    "params", [{"steps": "5"}, {"steps": 1.5}, {"learning_rate": float("inf")}, {"imagenet": "no"}]
)
def test_settings_of_another_type_are_refused(field, params, tmp_path):
    with pytest.raises(ParameterError, match=next(iter(params))):
        train([field], out=tmp_path / "x.safetensors", **params)


def test_a_constant_image_has_no_cell_whatever_its_gray():
    for gray in (0.1, 1 / 3, 0.7, 0.9):
        for name in ("blobs", "bandpass", "laplacian", "symmetry"):
            image = np.full((120, 131), gray, np.float32)
            assert METHODS[name].predict(image).count == 0, (name, gray)


@pytest.mark.parametrize("weights", ["", "folder"])
def test_weights_that_are_no_file_are_refused(field, tmp_path, weights):
    (tmp_path / "folder").mkdir()
    for method in ("cellnet", "foreground-area"):
        with pytest.raises(DataError, match="No weights file"):
            counted([field.image], method=method, weights=tmp_path / weights if weights else "")


def test_results_can_be_compared_and_kept_in_a_set(field):
    result = cellcount.count(field.image, method="blobs")
    assert result == result and len({result, result.prediction, field}) == 3
    assert "cells" in repr(result) and len(repr(result)) < 100


def test_what_is_written_to_is_not_replaced_where_it_is_no_file(field, tmp_path):
    import os
    import stat
    import threading

    result = cellcount.count(field.image, method="blobs")
    os.mkfifo(tmp_path / "pipe")
    reader = threading.Thread(target=(tmp_path / "pipe").read_text)
    reader.start()
    result.to_csv(tmp_path / "pipe")
    reader.join()
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    (tmp_path / "link.csv").symlink_to(tmp_path / "there.csv")
    result.to_csv(tmp_path / "link.csv")
    assert (tmp_path / "link.csv").is_symlink() and (tmp_path / "there.csv").read_text().startswith("image,y,x")


def test_a_folder_is_searched_as_every_command_does(tmp_path):
    """Subfolder images/, without hidden files, dot images and the overlays of an earlier count in the same folder."""
    image = Image.fromarray((np.random.default_rng(0).random((64, 64)) * 255).astype(np.uint8))
    (tmp_path / "mine" / "images").mkdir(parents=True)
    (tmp_path / "empty").mkdir()
    for name in ("a10.png", "a9.png", "images/b.png", "._a9.png", "a9_dots.png", "c-overlay.png"):
        image.save(tmp_path / "mine" / name)
    command = [
        "count",
        str(tmp_path / "mine"),
        str(tmp_path / "empty"),
        "--method",
        "blobs",
        "--out",
        str(tmp_path / "mine"),
    ]
    for _ in range(2):  # the second time with all that the first has written
        assert main(command) == DataError.exit_code
        done = json.loads((tmp_path / "mine" / "summary.json").read_text())
        assert [Path(one["image"]).name for one in done["images"]] == ["a9.png", "a10.png", "b.png", "c-overlay.png"]
        assert "no image in this folder" in done["failed"][0]["error"]
    assert len(survey(tmp_path / "mine").images) == 4


@pytest.mark.parametrize("bad", ["x" * 300 + ".png", "x" * 300, "nul\0.png", "missing/№.png"])
def test_a_name_that_cannot_be_opened_costs_only_its_own_image(path, tmp_path, bad):
    environment = os.environ | {"PYTHONIOENCODING": "cp1252"}
    if "\0" in bad:  # a shell cannot pass it on
        with pytest.warns(UserWarning, match="There is no such file"):
            found = counting.count([path, bad], method="blobs")
        assert len(found) == len(found.failed) == 1
        return
    command = [
        sys.executable,
        "-m",
        "cellcount",
        "count",
        str(path),
        bad,
        "--method",
        "blobs",
        "--out",
        str(tmp_path / "o"),
    ]
    done = subprocess.run(command, capture_output=True, env=environment, cwd=tmp_path)
    summary = json.loads((tmp_path / "o" / "summary.json").read_text())
    assert len(summary["images"]) == len(summary["failed"]) == 1 and done.returncode == DataError.exit_code
    assert b"Traceback" not in done.stderr and done.stderr.startswith(b"error: ")


@pytest.mark.skipif(
    os.name != "posix" or os.geteuid() == 0, reason="root opens locked files, and Windows has other locks"
)
def test_a_locked_image_is_one_problem(path):
    path.chmod(0)
    assert "Permission denied" in str(counting.count([path], method="blobs").failed[0].error)
