"""Cellpose: a small network of the real library, its traps, stand-in weights, and what happens without a network."""

import hashlib
import io
from dataclasses import replace

import numpy as np
import pytest
import stand_ins
import torch
from cellpose.train import _loss_fn_seg
from scenes import DIAMETER
from scenes import masks_scene as scene

from cellcount import registry
from cellcount.companion.studies import diameter as diameters
from cellcount.companion.studies.cellpose_failures import scale_error, silent_start
from cellcount.errors import DataError, NotAvailableError, ParameterError
from cellcount.methods import cellpose
from cellcount.methods.cellpose.inference import Flows, segment
from cellcount.methods.cellpose.settings import Settings
from cellcount.methods.cellpose.training import UNKNOWN, known_loss, training_tiles
from cellcount.methods.cellpose.weights import load
from cellcount.metrics import mask_outcomes, match, segmentation_counts, segmentation_scores
from cellcount.types import Prediction, Sample

TINY = {
    "widths": (8, 16, 32, 256),
    "crop": 64,
    "batch": 4,
    "tile": 160,
    "size_epochs": 1,
    "size_crop": 96,
    "masks": "true",
}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Weights of a network that has learned."""
    out = tmp_path_factory.mktemp("cellpose") / "small.safetensors"
    return cellpose.fit([scene(0), scene(1)], out=out, device="cpu", progress=False, epochs=50, **TINY)


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """Weights of a network that has hardly begun to learn."""
    out = tmp_path_factory.mktemp("cellpose-raw") / "raw.safetensors"
    return cellpose.fit([scene(0), scene(1)], out=out, device="cpu", progress=False, epochs=2, **TINY)


@pytest.fixture
def places(tmp_path, monkeypatch):
    """Empty folders where weights are looked for, and a library that may not download."""
    (tmp_path / "data" / "weights").mkdir(parents=True)
    monkeypatch.setenv("CELLCOUNT_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("CELLCOUNT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("CELLPOSE_LOCAL_MODELS_PATH", str(tmp_path / "library"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    import cellpose.models
    import cellpose.utils

    def refuse(*_, **__):
        raise AssertionError("it tried to download")

    monkeypatch.setattr(cellpose.utils, "download_url_to_file", refuse)
    return tmp_path / "data" / "weights"


@pytest.mark.slow
def test_a_trained_network_finds_the_cells_of_a_new_scene(weights):
    new = scene(7)
    prediction = cellpose.predict(new.image, weights=weights, device="cpu", diameter=DIAMETER)
    assert match(new.points, prediction.points, 6).f1 > 0.85
    assert segmentation_scores(segmentation_counts(new.labels, prediction.labels))["ap50"] > 0.6
    at = np.rint(prediction.points).astype(int)
    assert (prediction.labels[tuple(at.T)] == np.arange(1, len(at) + 1)).mean() > 0.95
    assert ((prediction.scores > 0.5) & (prediction.scores <= 1)).all()
    assert prediction.count == len(prediction.points) == prediction.labels.max()


@pytest.mark.slow
def test_the_size_model_comes_with_our_weights(weights):
    new = scene(8)
    diameter = cellpose.estimate_diameter(new.image, weights=weights, device="cpu")
    assert diameter == pytest.approx(DIAMETER, rel=0.25)
    prediction = cellpose.predict(new.image, weights=weights, device="cpu")
    assert prediction.meta["diameter"] == pytest.approx(diameter)
    assert match(new.points, prediction.points, 6).f1 > 0.8


@pytest.mark.slow
def test_a_sweep_says_what_predict_says(weights):
    new = scene(9)
    for diameter, threshold, swept in diameters.sweep(
        new.image, [16, 24], [0, 0.4, 1.0], weights=weights, device="cpu"
    ):
        direct = cellpose.predict(new.image, weights=weights, device="cpu", diameter=diameter, flow_threshold=threshold)
        np.testing.assert_array_equal(swept.labels, direct.labels)
        assert swept.meta == direct.meta


@pytest.mark.slow
def test_a_scale_error_nulls_the_predictions_and_the_training_mode_does_not(weights):
    new = scene(10, shape=(96, 96), n=7)
    big = Sample("big", new.image.repeat(4, 0).repeat(4, 1), new.points * 4 + 1.5)
    answers = scale_error(big.image, weights=weights, diameter=4 * DIAMETER, device="cpu")
    f1 = {name: match(big.points, prediction.points, 24).f1 for name, prediction in answers.items()}
    assert f1["as trained"] > 0.8
    np.testing.assert_array_equal(answers["training mode"].labels, answers["as trained"].labels)
    assert f1["diam_mean = diameter"] < 0.6 * f1["as trained"]
    assert f1["object just trained"] < 0.6 * f1["as trained"]
    again = cellpose.predict(big.image, weights=weights, device="cpu", diameter=4 * DIAMETER)
    np.testing.assert_array_equal(again.labels, answers["as trained"].labels)  # the model is as it was


def test_a_training_that_seems_frozen():
    sample = scene(2)
    silence = silent_start(sample.image, sample.labels, widths=TINY["widths"])
    assert silence.first_step > 0.5 * silence.first_sign  # the first sign is not before the flows are done
    assert silence.logged > 0 and "loss" not in silence.printed
    assert silence.learned == 0  # the learning rate of the first epoch
    assert silent_start(sample.image, sample.labels, widths=TINY["widths"], epochs=3).learned > 0


def test_prediction_leaves_a_network_that_can_be_trained_and_saved(raw):
    """With the library's mkldnn=True it could not: its first prediction converts the network for good."""
    import torch

    cellpose.predict(scene(3).image, weights=raw, device="cpu", diameter=DIAMETER)
    net = load(raw, torch.device("cpu")).model.net
    net(torch.zeros(1, 2, 32, 32))[0].sum().backward()
    torch.save(net.state_dict(), io.BytesIO())
    assert not net.mkldnn
    net.zero_grad()


@pytest.mark.slow
def test_the_loss_falls(weights):
    losses = cellpose.about(weights)["losses"]
    assert np.mean(losses[-10:]) < 0.7 * np.mean(losses[:10])


def test_the_weights_say_how_they_were_made(raw):
    about = cellpose.about(raw)
    assert about["settings"]["epochs"] == 2 and about["samples"] == ["scene-0", "scene-1"]
    assert about["masks"] == 48 and about["diameter"] == pytest.approx(DIAMETER, rel=0.1)
    assert len(about["losses"]) == 2


def test_the_same_command_twice_gives_the_same_weights_and_keeps_the_callers_dice(tmp_path):
    np.random.seed(5)
    expected = np.random.rand()
    np.random.seed(5)
    files = [
        cellpose.fit([scene(0)], out=tmp_path / name, device="cpu", progress=False, epochs=2, **TINY).read_bytes()
        for name in ("a.safetensors", "b.safetensors")
    ]
    assert files[0] == files[1]
    assert np.random.rand() == expected


def test_tiles_are_cut_where_the_annotation_can_be_trusted():
    valid = np.ones((160, 320), bool)
    valid[:, 160:] = False
    wide = scene(4, shape=(160, 320), n=40)
    images, labels = training_tiles([replace(wide, valid=valid)], Settings(**TINY))
    assert len(images) == 1 and images[0].shape == (2, 160, 160) and labels[0].shape == (4, 160, 160)
    assert not images[0][1].any() and labels[0].dtype == np.float32
    clicks = training_tiles([wide], Settings(**(TINY | {"masks": "square"})))[1]
    assert len(clicks) == 2 and len(np.unique(clicks[0][0])) > 10
    with pytest.raises(DataError, match="160 px"):
        training_tiles([replace(wide, valid=np.zeros_like(valid))], Settings(**TINY))
    with pytest.raises(DataError, match="scene-4"):
        training_tiles([replace(wide, labels=None)], Settings(**TINY))


def test_what_is_not_known_is_left_out_of_the_loss():
    valid = np.ones((160, 160), bool)
    valid[:, 120:] = False
    sample = replace(scene(4), valid=valid)
    unknown = training_tiles([sample], Settings(**TINY, ignore=True))[1][0]
    taken = training_tiles([sample], Settings(**TINY))[1][0]
    where = ~valid & (sample.labels == 0)
    assert (unknown[1][where] == UNKNOWN).all() and (taken[1][where] == 0).all()
    np.testing.assert_array_equal(unknown[:, ~where], taken[:, ~where])

    def losses(flows, output):
        return [float(f(flows[None, 1:], output, torch.device("cpu"))) for f in (known_loss, _loss_fn_seg)]

    output = torch.randn(1, 3, 160, 160, generator=torch.Generator().manual_seed(0))
    changed = output.clone()
    changed[..., torch.from_numpy(where)] = 9.0
    assert losses(taken, output)[0] == pytest.approx(losses(taken, output)[1])  # all is known: the library's
    assert losses(unknown, output)[0] == losses(unknown, changed)[0]
    assert losses(unknown, output)[1] != losses(unknown, changed)[1]
    unknown[1] = UNKNOWN
    assert losses(unknown, output)[0] == 0


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"epoch": 5}, "epoch.*start"),
        ({"epochs": 1}, "epochs=1"),
        ({"crop": 100}, "crop=100"),
        ({"widths": (8, 8, 8)}, "256"),
        ({"masks": "drawn"}, "masks='drawn'"),
        ({"start": "cyto4"}, "start='cyto4'"),
        ({"start": "cyto3", "widths": (8, 8, 8, 256)}, "cyto3"),
    ],
)
def test_bad_settings_are_refused(tmp_path, params, message):
    with pytest.raises(ParameterError, match=message):
        cellpose.fit([scene(0)], out=tmp_path / "x.safetensors", progress=False, **params)
    assert not list(tmp_path.iterdir())


def test_bad_calls_and_files_are_named(tmp_path, raw):
    image = scene(0).image
    with pytest.raises(DataError, match=r"\(H, W\) float32"):
        cellpose.predict(np.stack([image] * 3), weights=raw)
    with pytest.raises(ParameterError, match="no prompts"):
        cellpose.predict(image, weights=raw, prompts=[[1, 1]])
    with pytest.raises(ParameterError, match="diameter=0"):
        cellpose.predict(image, weights=raw, diameter=0)
    with pytest.raises(DataError, match="none.safetensors"):
        cellpose.predict(image, weights=tmp_path / "none.safetensors", device="cpu")
    torn = tmp_path / "torn.safetensors"
    torn.write_bytes(raw.read_bytes()[:1000])
    with pytest.raises(DataError, match="torn.safetensors"):
        cellpose.predict(image, weights=torn, device="cpu")


def test_without_weights_nothing_is_downloaded_and_the_error_says_what_to_do(places):
    with pytest.raises(NotAvailableError) as error:
        cellpose.predict(scene(0).image, weights="cyto3", device="cpu")
    for part in ("cyto3", "26.6 MB", "https://www.cellpose.org/models/cyto3", "SHA256SUMS", "CELLCOUNT_DATA"):
        assert part in str(error.value)
    assert cellpose.status().state == "needs weights"
    with pytest.raises(DataError, match="cyto4"):  # the library would fetch cyto3 for it
        cellpose.predict(scene(0).image, weights="cyto4", device="cpu")
    with pytest.raises(NotAvailableError, match="cellpose-cyto3"):
        registry.fetch_weights("cellpose-cyto3")  # a file without a hash is not fetched either
    assert not list(places.iterdir())


def test_placed_weights_run_once_the_user_vouches_for_them(places):
    image = scene(0).image[:96, :96]
    files = [stand_ins.cellpose(places), stand_ins.cellpose_size(places, 20)]
    with pytest.raises(DataError, match="[0-9a-f]{64}  cyto3.*SHA256SUMS"):
        cellpose.predict(image, weights="cyto3", device="cpu")
    assert cellpose.status("cyto3").state == "needs weights"
    stand_ins.vouch(files, places)
    assert cellpose.status("cyto3") == ("ready", "weights cyto3")
    assert cellpose.status("cyto").state == "needs weights"
    prediction = cellpose.predict(image, weights="cyto3", device="cpu")
    assert isinstance(prediction, Prediction) and prediction.labels.shape == image.shape
    assert prediction.meta["weights_sha256"] == hashlib.sha256(files[0].read_bytes()).hexdigest()
    assert cellpose.estimate_diameter(image, weights="cyto3", device="cpu") > 0
    files[0].write_bytes(files[0].read_bytes() + b"x")
    with pytest.raises(DataError, match="cyto3"):
        cellpose.predict(image, weights="cyto3", device="cpu", diameter=30)


def test_weights_in_the_librarys_own_cache_are_found(places, tmp_path):
    (tmp_path / "library").mkdir()
    files = [stand_ins.cellpose(tmp_path / "library"), stand_ins.cellpose_size(tmp_path / "library", 20)]
    stand_ins.vouch(files, places)
    assert cellpose.status("cyto3").state == "ready"
    files[1].unlink()
    assert "size model" in cellpose.status("cyto3").detail
    with pytest.raises(NotAvailableError, match="diameter"):
        cellpose.predict(scene(0).image[:64, :64], weights="cyto3", device="cpu")


def test_no_masks_is_an_answer_and_no_news_for_stderr(raw, caplog):
    """Where no two pixels flow to the same place, the library warns that it found no seeds."""
    import torch

    still, cell = np.zeros((2, 64, 64), np.float32), np.full((64, 64), 9.0, np.float32)
    flows = Flows(still, cell, DIAMETER, load(raw, torch.device("cpu")))
    assert segment(flows, 0.0).count == 0 and not caplog.records


def test_a_network_with_missing_tensors_is_refused(places):
    """The library loads it, and leaves random numbers where the file has nothing."""
    import torch

    file = stand_ins.cellpose(places)
    state = torch.load(file, weights_only=True)
    state.pop("output.2.weight")
    torch.save(state, file)
    stand_ins.vouch([file], places)
    with pytest.raises(DataError, match="cyto3: .* 1 "):
        cellpose.predict(scene(0).image[:64, :64], weights="cyto3", device="cpu", diameter=30)


def test_outcomes_by_rule():
    """A found cell, two merged, one in a hole, one without a click, one missed."""
    labels = np.zeros((60, 120), np.int32)
    labels[5:15, 5:15], labels[5:15, 25:55], labels[30:40, 5:15], labels[30:40, 60:70] = 1, 2, 3, 4
    points = np.float32([[10, 10], [10, 30], [10, 50], [50, 100]])
    centres = np.float32([[9.5, 9.5], [9.5, 39.5], [34.5, 9.5], [34.5, 64.5]])
    sample = Sample("drawn", np.zeros(labels.shape, np.float32), points)
    background = np.zeros(labels.shape, bool)
    background[28:45, :40] = True
    outcomes = mask_outcomes(sample, Prediction(centres, np.ones(4), 4.0, labels=labels), background, 6)
    assert [part.tolist() for part in outcomes] == [[0], [1], [2], [3], [3]]
