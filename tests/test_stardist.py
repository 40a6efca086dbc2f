"""StarDist in its own process: a small network of the real library, stand-in weights, and failures."""

import hashlib
import subprocess
import sys
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import stand_ins
from scenes import masks_scene as scene

from cellcount import registry
from cellcount.errors import DataError, NotAvailableError, ParameterError
from cellcount.methods import stardist
from cellcount.methods.stardist.process import PROCESS
from cellcount.methods.stardist.settings import UNKNOWN, Settings, training_tiles
from cellcount.metrics import match

TINY = {"filters": 8, "depth": 2, "patch": 64, "rays": 16, "tile": 96, "masks": "true"}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    out = tmp_path_factory.mktemp("stardist") / "small.zip"
    samples = [scene(seed, shape=(192, 192), n=30) for seed in (0, 1)]
    return stardist.fit(samples, out=out, progress=False, steps=150, learning_rate=3e-3, **TINY)


@pytest.mark.slow
def test_a_trained_network_finds_the_cells_of_a_new_scene(weights):
    new = scene(7)
    prediction = stardist.predict(new.image, weights=weights)
    assert match(new.points, prediction.points, 6).f1 > 0.8
    at = np.rint(prediction.points).astype(int)
    assert (prediction.labels[tuple(at.T)] == np.arange(1, len(at) + 1)).mean() > 0.9
    assert prediction.meta["weights_sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert prediction.meta["threshold"] == pytest.approx(stardist.about(weights)["thresholds"]["prob"])


@pytest.mark.slow
def test_thresholds_are_parameters(weights):
    new = scene(8)
    counts = [stardist.predict(new.image, weights=weights, threshold=t).count for t in (0.05, 0.999)]
    assert counts[0] > counts[1]


@pytest.mark.slow
def test_the_weights_say_how_they_were_made(weights):
    about = stardist.about(weights)
    assert about["samples"] == ["scene-0", "scene-1"] and about["settings"]["steps"] == 150
    assert len(about["losses"]) == 3 and about["losses"][-1] < about["losses"][0]
    with zipfile.ZipFile(weights) as file:
        assert set(file.namelist()) == {"about.json", "config.json", "thresholds.json", "weights_best.h5"}


@pytest.mark.slow
def test_a_process_that_dies_is_named_and_replaced(weights):
    new = scene(9)
    expected = stardist.predict(new.image, weights=weights).points
    PROCESS._child.kill()
    PROCESS._child.wait()
    np.testing.assert_allclose(stardist.predict(new.image, weights=weights).points, expected)
    with pytest.raises(NotAvailableError, match="StarDist.* 3"):
        PROCESS.call("predict", image=_Poison(), weights="", threshold=None, overlap=None, scale=1)
    assert stardist.predict(new.image, weights=weights).count == len(expected)


class _Poison:
    """Ends the process that unpickles it."""

    def __reduce__(self):
        import os

        return os._exit, (3,)


@pytest.mark.slow
def test_placed_weights_run(tmp_path, monkeypatch):
    """The zero-shot models, with random weights of their architecture where the registry looks for them."""
    folder = tmp_path / "weights"
    folder.mkdir()
    monkeypatch.setenv("CELLCOUNT_DATA", str(tmp_path))
    monkeypatch.setenv("CELLCOUNT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    assert stardist.status("2D_versatile_he").state == "needs weights"
    path = stand_ins.stardist(folder, tmp_path / "made", name="2D_versatile_he", channels=3, threshold=0.69)
    name = "stardist-2D_versatile_he"
    with pytest.raises(DataError, match="2D_versatile_he"):
        stardist.predict(scene(0).image, weights="2D_versatile_he")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setitem(registry.WEIGHTS, name, replace(registry.WEIGHTS[name], sha256=digest))
    assert stardist.status("2D_versatile_he") == ("ready", "weights 2D_versatile_he")
    prediction = stardist.predict(scene(0).image, weights="2D_versatile_he", scale=0.8)
    assert prediction.labels.shape == scene(0).image.shape and prediction.meta["threshold"] == pytest.approx(0.69)


def test_without_weights_nothing_is_downloaded(tmp_path, monkeypatch):
    for name in ("CELLCOUNT_CACHE", "KERAS_HOME", "HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.delenv("CELLCOUNT_DATA", raising=False)
    with pytest.raises(NotAvailableError) as error:
        stardist.predict(scene(0).image)
    for part in ("2D_versatile_he", "5.3 MB", "https://github.com/stardist/stardist-models/", "CELLCOUNT_DATA"):
        assert part in str(error.value)
    assert stardist.status().state == "needs weights"
    with pytest.raises(DataError, match="2D_nothing"):  # the library would print, and return None
        stardist.predict(scene(0).image, weights="2D_nothing")
    assert not list(tmp_path.rglob("*"))


def test_its_process_never_sees_torch():
    code = "import cellcount.methods.stardist.worker, sys; print(sorted({'torch', 'torchvision'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_ground_that_nobody_has_looked_at_takes_no_part():
    sample = scene(3, shape=(192, 192), n=30)
    valid = np.ones(sample.image.shape, bool)
    valid[:, 150:] = False
    train, validation = training_tiles([replace(sample, valid=valid)], Settings(**TINY))
    labels = train[1] + validation[1]
    assert len(labels) == 4 and len(validation[0]) == 1
    assert (validation[1][0] != UNKNOWN).all()  # the best annotated tile
    assert sum((label == UNKNOWN).sum() for label in labels) == ((sample.labels == 0) & ~valid).sum()
    assert all((label[label != UNKNOWN] >= 0).all() for label in labels)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"epochs": 5}, "epochs.*masks"),
        ({"patch": 100}, "patch=100"),
        ({"steps": 0}, "steps=0"),
        ({"validation": 1}, "validation=1"),
    ],
)
def test_bad_settings_are_refused(tmp_path, params, message):
    with pytest.raises(ParameterError, match=message):
        stardist.fit([scene(0)], out=tmp_path / "x.zip", progress=False, **params)


def test_training_needs_tiles_with_cells(tmp_path):
    with pytest.raises(DataError, match="256 px"):
        stardist.fit([scene(0)], out=tmp_path / "x.zip", progress=False)
    empty = replace(scene(0), points=np.zeros((0, 2), np.float32), labels=None)
    with pytest.raises(DataError, match="two patches"):
        stardist.fit([empty], out=tmp_path / "x.zip", progress=False, **(TINY | {"masks": "weighted"}))
    assert not list(tmp_path.iterdir())


def test_bad_calls_and_files_are_named(tmp_path):
    image = scene(0).image
    with pytest.raises(DataError, match=r"\(H, W\) float32"):
        stardist.predict(image.astype(float))
    with pytest.raises(ParameterError, match="scale=0"):
        stardist.predict(image, scale=0)
    with pytest.raises(NotAvailableError, match="device='cuda'"):
        stardist.predict(image, device="cuda")
    with pytest.raises(DataError, match="none.zip"):
        stardist.about(tmp_path / "none.zip")
