"""YOLOX: training on a small scene, the borders to its package, and a machine without it."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from test_detection import scene

import cellcount
from cellcount.errors import DataError, NotAvailableError, ParameterError
from cellcount.methods import yolox
from cellcount.methods.detection.boxes import squares
from cellcount.methods.detection.tiles import Tile
from cellcount.methods.yolox import detector
from cellcount.methods.yolox.detector import tensors
from cellcount.methods.yolox.settings import Settings
from cellcount.metrics import match
from cellcount.tiling import tiled
from cellcount.types import Sample

SMALL = {
    "preset": "light", "factor": 1, "box": 14.0, "least": 7.0, "tile": 64, "batch": 4, "width": 0.125, "epochs": 1,
    "learning_rate": 5e-3, "average": 0.9,
}  # fmt: skip


def trained_for(steps, folder):
    out = folder / "small.safetensors"
    return yolox.fit([scene(0), scene(1)], out=out, device="cpu", progress=False, epoch_steps=steps, **SMALL)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Of a network that has learned."""
    return trained_for(100, tmp_path_factory.mktemp("yolox"))


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """Of a network that has hardly begun to learn."""
    return trained_for(3, tmp_path_factory.mktemp("yolox-raw"))


def test_an_answer_is_sorted_by_score_and_counts_its_points(raw):
    prediction = yolox.predict(scene(7).image, weights=raw, device="cpu", threshold=0.0)
    assert prediction.count == len(prediction.points) > 5 and prediction.labels is None
    assert (np.diff(prediction.scores) <= 0).all()


@pytest.mark.slow
def test_a_trained_network_finds_the_cells_of_a_new_scene(weights):
    new = scene(7)
    prediction = yolox.predict(new.image, weights=weights, device="cpu")
    assert match(new.points, prediction.points, 4).f1 > 0.9


@pytest.mark.slow
def test_tiled_finds_the_same_cells(weights):
    new = scene(8, shape=(200, 230), n=40)
    whole = yolox.predict(new.image, weights=weights, device="cpu")
    parts = tiled(yolox.predict, tile=128, overlap=32, context=yolox.context)(new.image, weights=weights, device="cpu")
    assert match(whole.points, parts.points, 3).f1 > 0.95


def test_the_weights_say_how_they_were_made(raw):
    about = yolox.about(raw)
    assert about["settings"]["width"] == 0.125 and about["points"] == 50
    assert len(about["curves"]["loss"]) == 3


@pytest.mark.slow
def test_the_loss_falls(weights):
    loss = yolox.about(weights)["curves"]["loss"]
    assert len(loss) == 100 and np.mean(loss[-10:]) < 0.6 * np.mean(loss[:5])


def test_the_same_command_twice_gives_the_same_weights(tmp_path):
    files = [
        yolox.fit([scene(0)], out=tmp_path / name, device="cpu", progress=False, epoch_steps=2, **SMALL).read_bytes()
        for name in ("a.safetensors", "b.safetensors")
    ]
    assert files[0] == files[1]


def test_tiles_without_cells_teach_too(tmp_path):
    lonely = Sample("lonely", np.random.default_rng(0).random((64, 192), np.float32), points=[[30, 30]])
    out = yolox.fit([lonely], out=tmp_path / "l.safetensors", device="cpu", progress=False, epoch_steps=3, **SMALL)
    assert np.isfinite(yolox.about(out)["curves"]["loss"]).all()


@pytest.mark.slow
def test_an_empty_image_has_no_cells(weights):
    prediction = yolox.predict(np.full((50, 70), 0.6, np.float32), weights=weights, device="cpu")
    assert prediction.points.shape == (0, 2) and prediction.count == 0


def test_boxes_are_handed_over_as_centre_and_size_from_the_corner():
    tile = Tile(np.zeros((40, 50), np.float32), np.float32([[9.5, 19.5, 19.5, 49.5]]), None, np.ones((40, 50), bool))
    bare = Tile(np.zeros((64, 30), np.float32), np.zeros((0, 4), np.float32), None, np.ones((64, 30), bool))
    images, boxes, trusted = tensors([tile, bare], "cpu", 16)
    assert images.shape == (2, 1, 64, 64)
    assert boxes.tolist() == [[[0, 35, 15, 30, 10]], [[0, 0, 0, 0, 0]]]  # x, y, width, height
    assert trusted.sum(dim=(1, 2)).tolist() == [40 * 50, 64 * 30]


@pytest.mark.parametrize("boxes, places", [(1, 30), (12, 30), (40, 300), (5, 4), (3, 0)])
def test_boxes_get_the_places_that_the_package_gives_them(boxes, places):
    """Some of them want the same places; the package's own loop over the boxes is the reference."""
    rng = torch.Generator().manual_seed(boxes)
    head = type(detector.build(Settings.of(SMALL)).head)
    shared = 0
    for _ in range(20):
        cost, iou = torch.rand(boxes, places, generator=rng), torch.rand(boxes, places, generator=rng) ** 3
        candidates = torch.zeros(2 * places + 3, dtype=torch.bool)
        candidates[torch.randperm(len(candidates), generator=rng)[:places]] = True
        theirs, ours = candidates.clone(), candidates.clone()
        number, *expected = head.simota_matching(None, cost, iou, torch.zeros(boxes), boxes, theirs)
        found = detector.matched(cost, iou, torch.zeros(boxes), boxes, ours)
        assert found[0] == number and torch.equal(ours, theirs)
        assert all(torch.equal(one, other) for one, other in zip(found[1:], expected, strict=True))
        shared += int(iou.topk(min(10, places)).values.sum(dim=1).int().clamp(min=1).sum()) - number
    assert shared > 0 or boxes == 1 or not places


def test_half_precision_leaves_the_boxes_exact(monkeypatch):
    """As on a GPU, here on the CPU: bfloat16 would put a box that is at 300 px up to 1 px beside."""
    torch.manual_seed(0)
    network, seen, losses = detector.build(Settings.of(SMALL)), [], []
    rest = network.head.get_losses
    monkeypatch.setattr(network.head, "get_losses", lambda *given, **named: seen.append(given) or rest(*given, **named))
    images, boxes, _ = tensors(
        [Tile(scene(0).image, squares(scene(0).points, 14), None, np.ones((160, 192)))], "cpu", 16
    )
    for enabled in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            losses.append(network(images, boxes)["total_loss"].item())
    assert losses[0] != losses[1] == pytest.approx(losses[0], rel=0.03)
    for _, x, y, strides, labels, outputs, *_ in seen:
        assert {part.dtype for part in (*x, *y, *strides, labels, outputs)} == {torch.float32}


def test_a_gpus_memory_is_kept_for_the_next_tile(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: pytest.fail("given back"))
    yolox.fit([scene(0)], out=tmp_path / "w.safetensors", device="cpu", progress=False, epoch_steps=1, **SMALL)


def test_the_package_answers_in_the_coordinates_that_it_was_given():
    """An untrained network puts boxes of one stride's size at the places of its maps."""
    settings = Settings.of(SMALL)
    net = detector.build(settings).eval()
    for conv in net.head.reg_preds:
        torch.nn.init.zeros_(conv.weight)
        torch.nn.init.zeros_(conv.bias)
    boxes, scores = detector.detect(
        net, np.zeros((32, 48), np.float32), "cpu", detector.stride(settings), threshold=0.0, nms=1.0
    )
    assert len(boxes) == len(scores) == 8 * 12 + 4 * 6 + 2 * 3
    finest = boxes[np.isclose(boxes[:, 2] - boxes[:, 0], 4)]
    assert len(finest) == 96
    centres = (finest[:, :2] + finest[:, 2:]) / 2
    assert sorted(set(centres[:, 0].round(3))) == pytest.approx([4 * i - 0.5 for i in range(8)])
    assert sorted(set(centres[:, 1].round(3))) == pytest.approx([4 * i - 0.5 for i in range(12)])


def test_untrusted_places_teach_neither_way():
    loss = detector.TrustingLoss()
    trusted = torch.ones(1, 32, 32, dtype=torch.bool)
    trusted[:, :, 16:] = False
    loss.watch(trusted, [4, 8, 16])
    assert len(loss.trusted) == 64 + 16 + 4 and loss.trusted.sum() == 42
    logits, targets = torch.zeros(84, 1), torch.zeros(84, 1)
    targets[7] = 1  # a cell, though where the annotation is not trusted
    assert (loss(logits, targets) > 0).sum() == 43
    assert (loss(torch.zeros(5, 1), torch.zeros(5, 1)) > 0).all()  # the classes of five places


def test_maps_one_step_finer_or_as_published():
    for finest, sides in ((4, (16, 8, 4)), (8, (8, 4, 2))):
        settings = Settings.of(SMALL | {"finest": finest})
        maps = detector.build(settings).backbone(torch.zeros(1, 1, 64, 64))
        assert tuple(m.shape[-1] for m in maps) == sides
        assert detector.stride(settings) == 4 * finest


def test_bad_settings_and_calls_are_refused(raw):
    for params, message in (({"finest": 2}, "finest=2"), ({"tile": 100}, "tile=100"), ({"preset": "xl"}, "s, light")):
        with pytest.raises(ParameterError, match=message):
            Settings.of(params)
    with pytest.raises(ParameterError, match="needs weights"):
        yolox.predict(scene(0).image)
    with pytest.raises(DataError, match=r"\(H, W\) float32"):
        yolox.predict(np.zeros((3, 4, 5), np.float32), weights=raw)


def test_a_machine_without_the_package_is_told_how_to_get_it(monkeypatch, tmp_path):
    assert yolox.status().state == "ready"
    monkeypatch.setitem(sys.modules, "yolox", None)
    monkeypatch.setitem(sys.modules, "yolox.models", None)
    with pytest.raises(NotAvailableError, match="pip install --no-deps pixeltable-yolox"):
        detector.build(Settings.of(SMALL))
    monkeypatch.setattr(yolox, "find_spec", lambda name: None)
    assert yolox.status().state == "needs package"


def test_the_environment_has_the_version_that_the_message_names():
    root = Path(cellcount.__file__).parents[1]
    pins = (root / "constraints.txt").read_text().splitlines()
    assert next(pin for pin in pins if pin.startswith("pixeltable-yolox==")) in detector.INSTALL
    assert not [pin for pin in pins if pin.startswith("opencv-python==")]  # it would overwrite the headless one
