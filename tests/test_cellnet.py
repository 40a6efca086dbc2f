"""CellNet: points to heatmap and back, training on a small scene, and prediction at its edges."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import save_file
from scenes import scene
from scipy.spatial import cKDTree
from torch import nn

from cellcount.errors import DataError, NotAvailableError, ParameterError
from cellcount.methods import cellnet, pixels
from cellcount.methods.cellnet import torch_engine
from cellcount.methods.cellnet.crops import Crops
from cellcount.methods.cellnet.network import build, fused
from cellcount.methods.cellnet.settings import Settings, clicked
from cellcount.methods.cellnet.targets import heatmap, volume
from cellcount.methods.pixels import peaks
from cellcount.metrics import match
from cellcount.tiling import tiled
from cellcount.types import Prediction, Sample

SMALL = {"widths": (8, 16, 16), "crop": 64, "batch": 4, "learning_rate": 1e-2, "average": 0.9}


def settings(**params):
    return Settings(**{"widths": (8, 16, 16)} | params)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    out = tmp_path_factory.mktemp("cellnet") / "small.safetensors"
    return cellnet.fit([scene(0), scene(1)], out=out, device="cpu", progress=False, steps=80, **SMALL)


def test_points_survive_the_heatmap():
    rng = np.random.default_rng(0)
    points = np.stack(np.meshgrid(np.arange(8, 90, 12), np.arange(8, 120, 12), indexing="ij"), -1).reshape(-1, 2)
    points = points + rng.uniform(-0.5, 0.5, points.shape)
    found, scores = peaks(heatmap(points, (100, 130), 2.5), threshold=0.5, distance=4)
    matching = match(points, found, 0.1)
    assert matching.f1 == 1
    assert matching.distances.max() < 0.05
    assert scores == pytest.approx(1, abs=0.06)


def test_heatmap_sums_to_the_number_of_points():
    points = [[30.3, 40.7], [50, 50], [30, 60.5]]
    assert heatmap(points, (90, 100), 2.5).sum() / volume(2.5) == pytest.approx(3, abs=1e-4)
    assert heatmap([], (10, 10), 2.5).sum() == 0


def test_peaks_of_an_empty_map_and_of_a_plateau():
    points, scores = peaks(np.zeros((20, 20), np.float32), threshold=0.1, distance=3)
    assert points.shape == (0, 2) and scores.shape == (0,)
    plateau = np.zeros((20, 20), np.float32)
    plateau[8:11, 8:12] = 1
    assert len(peaks(plateau, threshold=0.5, distance=3)[0]) == 1


def test_a_peak_at_the_border_stays_on_the_image():
    points, _ = peaks(heatmap([[0, 0], [19.4, 10]], (20, 20), 2), threshold=0.5, distance=3)
    assert ((points > -0.5) & (points < 19.5)).all() and len(points) == 2


@pytest.mark.parametrize("factor", [1, 2, 3])
def test_shrinking_moves_points_along(factor):
    image = np.zeros((31, 44), np.float32)
    image[6:12, 18:24] = 1  # on the raster of every factor
    centre = np.array([[8.5, 20.5]])
    small = pixels.block_mean(image, factor)
    mass = np.stack(np.indices(small.shape), -1).reshape(-1, 2)
    found = np.average(mass, axis=0, weights=small.ravel())[None]
    np.testing.assert_allclose(pixels.to_full(found, factor), centre, atol=1e-4)
    np.testing.assert_allclose(pixels.to_full(pixels.to_small(centre, factor), factor), centre)


def test_crops_carry_their_points_along():
    """Whatever turn, zoom and mirror: the target peaks where the crop is darkest."""
    sample = scene(3)
    crops = Crops([sample], settings(factor=1, crop=64, sigma=2.0).filled([sample]))
    image, target, trust = crops.batch(crops.places(np.random.default_rng(0), 40))
    inner = np.s_[:, 0, 8:-8, 8:-8]
    on_cells = image[inner][(target[inner] > 0.9) & (trust[inner] > 0)]
    elsewhere = image[inner][(target[inner] < 0.01) & (trust[inner] > 0)]
    assert len(on_cells) > 100
    assert float((on_cells < elsewhere.mean() - elsewhere.std()).float().mean()) > 0.97


def test_crops_do_not_trust_what_lies_off_the_image():
    sample = scene(3, shape=(80, 80), n=5)
    crops = Crops([sample], settings(factor=1, crop=64, sigma=2.0, zoom=1.0).filled([sample]))
    _, _, trust = crops.batch(crops.places(np.random.default_rng(0), 16))
    assert 0.2 < float(trust.mean()) < 0.9


@pytest.mark.parametrize("target", ["gaussian", "repel"])
def test_a_gpu_cuts_the_crops_that_the_cpu_cuts(target):
    """The operations for a GPU, run here on the CPU, at the same places of two images."""
    samples = [scene(3, n=20), scene(4, shape=(90, 130), n=1)]
    crops = Crops(samples, settings(factor=2, detail=2, crop=32, sigma=2.0, target=target).filled(samples))
    places = sorted((crops._place(np.random.default_rng(k)) for k in range(24)), key=lambda place: place.image)
    assert {place.image for place in places} == {0, 1}
    one_by_one = [torch.cat(part) for part in zip(*map(crops._cut, places), strict=True)]
    for part, together in zip(one_by_one, crops._together(places), strict=True):
        assert part.shape == together.shape
        close = torch.isclose(part, together, atol=2e-3)
        assert close.float().mean() > 0.999  # a position between two pixels may be rounded to the other one


def test_a_point_of_some_probability_is_a_lower_peak_to_learn():
    sample = scene(3, n=12)
    doubtful = replace(sample, meta={"probability": np.linspace(0.1, 1, 12)})
    crops = [Crops([one], settings(factor=1, crop=64, sigma=2.0).filled([sample])) for one in (sample, doubtful)]
    for cut in (lambda crops, places: crops._cut(places[0]), lambda crops, places: crops._together(places)):
        places = [crops[0]._place(np.random.default_rng(1))]
        full, lower = (cut(one, places)[1] for one in crops)
        assert 0 < lower.sum() < full.sum()
    with pytest.raises(DataError, match="one number from 0 to 1 for each point"):
        Crops([replace(sample, meta={"probability": [1, 2]})], settings().filled([sample]))
    assert len(clicked(doubtful)) == 1


def test_teachers_label_what_nobody_has_clicked(weights, tmp_path):
    clicks, bare = scene(11), scene(12)
    some = replace(clicks, points=clicks.points[: len(clicks.points) // 2])
    nobody = replace(bare, points=None)
    first, second = cellnet.taught([some, nobody], [weights, weights], views=1, device="cpu")
    assert (first.points[: len(some.points)] == some.points).all() and len(clicked(first)) == len(some.points)
    assert match(clicks.points, first.points[first.meta["probability"] > 0.5], 4).f1 > 0.9
    assert match(bare.points, second.points[second.meta["probability"] > 0.5], 4).f1 > 0.9
    assert second.meta["probability"].max() < 1 and second.valid.all()
    # Another method's points, on every second cell of the second scene only, are half of each peak.
    told = {clicks.name: clicks.points, bare.name: bare.points[::2]}
    seen = {name: Prediction(points, np.full(len(points), 0.3), len(points)) for name, points in told.items()}
    shared = cellnet.taught([some, nobody], [weights], detections=seen, views=1, device="cpu")[1]
    near_seen = cKDTree(bare.points[::2]).query(shared.points)[0] < 3
    assert shared.meta["probability"][near_seen].min() > shared.meta["probability"][~near_seen].max()
    out = cellnet.fit([first, second], out=tmp_path / "w.safetensors", device="cpu", progress=False, **SMALL, steps=2)
    assert cellnet.about(out)["points"] == len(some.points)
    with pytest.raises(DataError, match="No detections of"):
        cellnet.taught([some, nobody], [weights], detections={some.name: seen[clicks.name]}, device="cpu")


def test_a_trained_network_finds_the_cells_of_a_new_scene(weights):
    new = scene(7)
    prediction = cellnet.predict(new.image, weights=weights, device="cpu")
    matching = match(new.points, prediction.points, 4)
    assert matching.f1 > 0.9
    assert prediction.count == len(prediction.points)
    assert prediction.density.shape == new.image.shape
    assert prediction.density.sum() == pytest.approx(len(new.points), rel=0.35)


def test_tiled_finds_the_same_cells(weights):
    new = scene(8, shape=(300, 330), n=70)
    whole = cellnet.predict(new.image, weights=weights, device="cpu")
    parts = tiled(cellnet.predict, tile=192, overlap=48, context=cellnet.context)(
        new.image, weights=weights, device="cpu"
    )
    matching = match(whole.points, parts.points, 0.5)
    assert (matching.fp, matching.fn) == (0, 0)
    np.testing.assert_allclose(parts.density, whole.density, atol=2e-4)


def test_a_batch_of_tiles_is_answered_as_one_by_one(weights):
    new = scene(8, shape=(300, 330), n=70)
    options = {"tile": 144, "overlap": 48, "context": cellnet.context}
    one_by_one = tiled(cellnet.predict, **options)(new.image, weights=weights, device="cpu")
    together = tiled(cellnet.predict, **options, predict_batch=cellnet.predict_batch, batch=4)
    batches = together(new.image, weights=weights, device="cpu")
    matching = match(one_by_one.points, batches.points, 0.01)
    assert (matching.fp, matching.fn) == (0, 0) and len(batches.points) > 50
    np.testing.assert_allclose(batches.density, one_by_one.density, atol=1e-4)


def test_half_precision_finds_the_same_cells(weights, monkeypatch):
    """What a GPU computes in; here on the CPU."""
    new = scene(9)
    full = cellnet.predict(new.image, weights=weights, device="cpu")
    monkeypatch.setattr(torch_engine, "half_precision", lambda device: torch.autocast("cpu", torch.float16))
    half = cellnet.predict(new.image, weights=weights, device="cpu")
    matching = match(full.points, half.points, 0.3)
    assert (matching.fp, matching.fn) == (0, 0)
    assert half.scores.dtype == np.float32 and not np.array_equal(half.scores, full.scores)


def test_the_same_command_twice_gives_the_same_weights(tmp_path):
    files = [
        cellnet.fit([scene(0)], out=tmp_path / name, device="cpu", progress=False, steps=6, **SMALL).read_bytes()
        for name in ("a.safetensors", "b.safetensors")
    ]
    assert files[0] == files[1]


def test_another_seed_gives_other_weights(tmp_path, weights):
    other = cellnet.fit(
        [scene(0)], out=tmp_path / "c.safetensors", device="cpu", progress=False, steps=6, seed=1, **SMALL
    )
    assert other.read_bytes() != weights.read_bytes()


def test_the_weights_say_how_they_were_made(weights):
    about = cellnet.about(weights)
    assert about["settings"]["steps"] == 80
    assert about["samples"] == ["scene-0", "scene-1"] and about["points"] == 50
    losses = about["losses"]
    assert len(losses) == 80 and np.mean(losses[-10:]) < 0.5 * np.mean(losses[:10])


def test_averaging_over_symmetries_keeps_the_places(weights):
    new = scene(9)
    prediction = cellnet.predict(new.image, weights=weights, device="cpu", averaging=8)
    assert match(new.points, prediction.points, 4).f1 > 0.9


def test_untrusted_pixels_teach_nothing(tmp_path):
    """Two samples that differ only far into where nobody trusts the annotation give the same weights."""
    base = scene(0)
    valid = np.ones(base.image.shape, bool)
    valid[:, 96:] = False
    left = base.points[base.points[:, 1] < 90]
    both = [
        Sample("half", base.image, points, valid=valid)
        for points in (left, np.concatenate([left, base.points[base.points[:, 1] > 130]]))
    ]
    files = [
        cellnet.fit(
            [s], out=tmp_path / f"{i}.safetensors", device="cpu", progress=False, steps=5, factor=2, sigma=2.0, **SMALL
        )
        for i, s in enumerate(both)
    ]
    tensors = []
    for path in files:
        with safe_open(path, framework="np") as file:
            tensors.append({name: file.get_tensor(name) for name in file.keys()})
    for name in tensors[0]:
        np.testing.assert_allclose(tensors[0][name], tensors[1][name], atol=1e-3)


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (17, 33)])
def test_images_of_any_shape(weights, shape):
    prediction = cellnet.predict(np.full(shape, 0.5, np.float32), weights=weights, device="cpu")
    assert prediction.density.shape == shape
    assert ((prediction.points > -0.5) & (prediction.points < np.array(shape) - 0.5)).all()


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"step": 5}, "no parameter step; it has: encoder"),
        ({"steps": 0}, "steps=0 must be positive"),
        ({"crop": 100}, "multiple of 16"),
        ({"encoder": "nosuchnet"}, "encoder='nosuchnet' is unknown"),
        ({"decoder": "unetplusplus"}, "needs an encoder"),
    ],
)
def test_bad_settings_are_refused(tmp_path, params, message):
    with pytest.raises(ParameterError, match=message):
        cellnet.fit([scene(0)], out=tmp_path / "x.safetensors", progress=False, **params)
    assert not list(tmp_path.iterdir())


def test_training_needs_points(tmp_path):
    bare = Sample("bare", np.zeros((64, 64), np.float32))
    with pytest.raises(DataError, match="bare: no annotation"):
        cellnet.fit([bare], out=tmp_path / "x.safetensors")
    empty = Sample("empty", np.zeros((64, 64), np.float32), points=[])
    with pytest.raises(DataError, match="at least one annotated cell"):
        cellnet.fit([empty], out=tmp_path / "x.safetensors")


def test_encoders_and_decoders_of_the_library_fit_in(tmp_path):
    for encoder, decoder in (("resnet18", "unetplusplus"), ("tu-resnet18", "unet")):
        out = cellnet.fit(
            [scene(0)], out=tmp_path / "e.safetensors", device="cpu", progress=False, encoder=encoder,
            decoder=decoder, widths=(8, 8, 8), crop=64, batch=2, steps=1,
        )  # fmt: skip
        prediction = cellnet.predict(scene(0).image, weights=out, device="cpu")
        assert prediction.density.shape == scene(0).image.shape


def test_our_network_keeps_the_shape():
    network = build(Settings(widths=(8, 8, 8)))
    assert network(torch.zeros(1, 1, 32, 48)).shape == (1, 1, 32, 48)


def test_a_fused_network_answers_the_same():
    for named in ({"encoder": "residual", "detail": 2}, {"encoder": "resnet18"}):
        torch.manual_seed(0)
        network = build(Settings(widths=(8, 8, 8), **named))
        x = torch.rand(2, 1, 64, 64)
        network(x)  # so that the batch statistics are not those of the start
        nn.init.normal_([layer for layer in network.modules() if isinstance(layer, nn.Conv2d)][-1].weight)
        before = network.eval()(x).detach()
        after = fused(network)(x)
        kinds = [type(layer) for layer in network.modules()]
        assert nn.BatchNorm2d not in kinds or named["encoder"] != "residual"
        torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-4)


def test_bad_weights_files_are_named(tmp_path, weights):
    image = scene(0).image
    with pytest.raises(DataError, match="No weights file"):
        cellnet.predict(image, weights=tmp_path / "none.safetensors", device="cpu")
    torn = tmp_path / "torn.safetensors"
    torn.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(DataError, match="truncated"):
        cellnet.predict(image, weights=torn, device="cpu")
    foreign = tmp_path / "foreign.safetensors"
    save_file({"a": np.zeros(3)}, foreign)
    with pytest.raises(DataError, match="not weights of CellNet"):
        cellnet.predict(image, weights=foreign, device="cpu")


def test_bad_calls_are_refused(weights):
    image = scene(0).image
    with pytest.raises(DataError, match=r"\(H, W\) float32"):
        cellnet.predict(np.stack([image] * 3), weights=weights)
    with pytest.raises(ParameterError, match="averaging=9"):
        cellnet.predict(image, weights=weights, averaging=9)
    with pytest.raises(ParameterError, match="no prompts"):
        cellnet.predict(image, weights=weights, prompts=[[1, 1]])
    with pytest.raises(ParameterError, match="threshold"):
        cellnet.predict(image, weights=weights, threshold=0)
    with pytest.raises(NotAvailableError, match="use 'auto' or 'cpu'"):
        cellnet.predict(image, weights=weights, device="cuda:77")
