"""Mask R-CNN: training on a small scene, masks in bounded memory, COCO's weights, and the thesis' maskrcnn_findings."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from test_detection import scene

from cellcount import registry
from cellcount.companion import plots
from cellcount.companion.studies import maskrcnn_findings
from cellcount.errors import DataError, NotAvailableError, ParameterError
from cellcount.methods import maskrcnn
from cellcount.methods.detection.boxes import squares
from cellcount.methods.detection.tiles import Tiles
from cellcount.methods.maskrcnn import detector
from cellcount.methods.maskrcnn.settings import Settings
from cellcount.metrics import match
from cellcount.tiling import tiled
from cellcount.types import Sample

SMALL = {
    "preset": "light", "factor": 1, "box": 14.0, "least": 7.0, "tile": 64, "batch": 4, "channels": 32,
    "representation": 64, "hidden": 16, "epochs": 1, "average": 0.9,
}  # fmt: skip


def trained_for(steps, folder):
    out = folder / "small.safetensors"
    return maskrcnn.fit([scene(0), scene(1)], out=out, device="cpu", progress=False, epoch_steps=steps, **SMALL)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Of a network that has learned."""
    return trained_for(40, tmp_path_factory.mktemp("maskrcnn"))


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """Of a network that has hardly begun to learn: its answers are many and wrong."""
    return trained_for(3, tmp_path_factory.mktemp("maskrcnn-raw"))


@pytest.fixture
def bare(monkeypatch, tmp_path):
    """A machine without weights and without a network."""
    monkeypatch.setenv("CELLCOUNT_OFFLINE", "1")
    monkeypatch.setenv("CELLCOUNT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("CELLCOUNT_DATA", raising=False)


def test_an_answer_is_sorted_by_score_and_counts_its_points(raw):
    image = scene(7).image
    prediction = maskrcnn.predict(image, weights=raw, device="cpu", threshold=0.3)
    assert prediction.count == len(prediction.points) > 5
    assert (np.diff(prediction.scores) <= 0).all() and prediction.scores.min() >= 0.3
    assert prediction.labels.shape == image.shape and prediction.labels.max() <= len(prediction.points)


@pytest.mark.slow
def test_a_trained_network_finds_the_cells_of_a_new_scene(weights):
    new = scene(7)
    prediction = maskrcnn.predict(new.image, weights=weights, device="cpu")
    assert match(new.points, prediction.points, 4).f1 > 0.9
    here = np.rint(prediction.points).astype(int)
    assert (prediction.labels[tuple(here.T)] == np.arange(1, len(here) + 1)).mean() > 0.9


@pytest.mark.slow
def test_tiled_finds_the_same_cells(weights):
    new = scene(8, shape=(200, 230), n=40)
    whole = maskrcnn.predict(new.image, weights=weights, device="cpu")
    predict = tiled(maskrcnn.predict, tile=128, overlap=32, context=maskrcnn.context)
    parts = predict(new.image, weights=weights, device="cpu")
    matching = match(whole.points, parts.points, 3)
    assert matching.f1 > 0.95
    assert parts.labels.max() == len(parts.points)


@pytest.mark.slow
def test_the_loss_falls(weights):
    loss = maskrcnn.about(weights)["curves"]["loss"]
    assert np.mean(loss[-10:]) < 0.6 * np.mean(loss[:5])


def test_the_weights_say_how_they_were_made(raw):
    about = maskrcnn.about(raw)
    assert about["settings"]["start"] == "scratch" and about["settings"]["box"] == 14
    assert about["samples"] == ["scene-0", "scene-1"] and about["points"] == 50
    curves = about["curves"]
    assert {len(values) for values in curves.values()} == {3}
    parts = sum(np.array(values) for name, values in curves.items() if name.startswith("loss_"))
    np.testing.assert_allclose(parts, curves["loss"], atol=1e-3)
    assert 0 < max(curves["positive_share"]) <= 0.5


def test_the_same_command_twice_gives_the_same_weights(tmp_path):
    files = [
        maskrcnn.fit(
            [scene(0)], out=tmp_path / name, device="cpu", progress=False, epoch_steps=2, targets="labels", **SMALL
        ).read_bytes()
        for name in ("a.safetensors", "b.safetensors")
    ]
    assert files[0] == files[1]


def test_tiles_without_cells_teach_too(tmp_path):
    lonely = Sample("lonely", np.random.default_rng(0).random((64, 192), np.float32), points=[[30, 30]])
    out = maskrcnn.fit([lonely], out=tmp_path / "l.safetensors", device="cpu", progress=False, epoch_steps=3, **SMALL)
    curves = maskrcnn.about(out)["curves"]
    assert np.isfinite(curves["loss"]).all()


@pytest.mark.slow
def test_few_detections_are_the_surest(weights):
    new = scene(7)
    every = maskrcnn.predict(new.image, weights=weights, device="cpu", masks=False)
    five = maskrcnn.predict(new.image, weights=weights, device="cpu", detections=5)
    assert len(five.points) == 5 and five.labels.max() == 5
    np.testing.assert_allclose(five.points, every.points[:5])


def test_masks_are_painted_one_on_top_of_the_other():
    masks = np.ones((3, 28, 28), np.float32)
    masks[2, :14] = 0  # only its lower half is cell
    boxes = np.float32([[9.5, 9.5, 19.5, 19.5], [14.5, 14.5, 24.5, 24.5], [-10.5, 29.5, 9.5, 49.5]])
    labels = detector.paint(boxes, masks, (40, 45))
    assert (labels[10:20, 10:20] == 1).all() and (labels == 1).sum() == 100
    assert (labels == 2).sum() == 75
    assert labels.shape == (40, 45)


def test_half_precision_leaves_anchors_and_proposals_exact(monkeypatch):
    """As on a GPU, here on the CPU: bfloat16 would put a box that is at 300 px up to 1 px beside."""
    torch.manual_seed(0)
    network, seen, losses = detector.build(Settings.of(SMALL)), [], []
    rest = network.rpn.box_coder.decode
    monkeypatch.setattr(network.rpn.box_coder, "decode", lambda *given: seen.append(given) or rest(*given))
    tiles = Tiles([scene(0)], Settings.of(SMALL | {"tile": 192, "augment": False}), masks=True)
    (tile,) = map(tiles.tile, tiles.epoch(np.random.default_rng(0)))
    for enabled in (False, True):
        torch.manual_seed(0)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            losses.append(sum(network(*detector.tensors([tile], torch.device("cpu"))).values()).item())
    assert losses[0] != losses[1] == pytest.approx(losses[0], rel=0.02)
    assert {part.dtype for deltas, anchors in seen for part in (deltas, *anchors)} == {torch.float32}


def test_untrusted_places_teach_neither_way():
    net = detector.build(Settings.of(SMALL))
    trusted = torch.ones(64, 64, dtype=torch.bool)
    trusted[:, 32:] = False
    target = {"boxes": torch.tensor([[40.0, 10.0, 54.0, 24.0]]), "trusted": trusted}
    anchors = torch.tensor([[2.0, 2, 16, 16], [40, 10, 54, 24], [45, 45, 59, 59]])
    labels, _ = net.rpn.assign_targets_to_anchors([anchors], [target])
    assert labels[0].tolist() == [0, 1, -1]
    net.roi_heads._targets = [target]
    _, labels = net.roi_heads.assign_targets_to_proposals([anchors], [target["boxes"]], [torch.ones(1).long()])
    assert labels[0].tolist() == [0, 1, -1]


@pytest.mark.parametrize(
    "params, message",
    [
        ({"preset": "heavy"}, "heavy.*thesis, light"),
        ({"colour": 3}, "colour"),
        ({"backbone": "vgg"}, "backbone='vgg'"),
        ({"preset": "light", "start": "coco"}, "start=.coco|COCO"),
    ],
)
def test_bad_settings_are_refused(params, message):
    with pytest.raises(ParameterError, match=message):
        Settings.of(params)


def test_bad_calls_are_refused(raw):
    image = scene(0).image
    with pytest.raises(DataError, match=r"\(H, W\) float32"):
        maskrcnn.predict(np.stack([image] * 3), weights=raw)
    with pytest.raises(ParameterError, match="no prompts"):
        maskrcnn.predict(image, weights=raw, prompts=[[1, 1]])
    with pytest.raises(ParameterError, match="needs weights"):
        maskrcnn.predict(image)
    with pytest.raises(ParameterError, match="threshold=2"):
        maskrcnn.predict(image, weights=raw, threshold=2, device="cpu")


def test_without_the_weights_of_coco_it_says_so(bare):
    assert maskrcnn.status().state == "ready" and "178.1 MB" in maskrcnn.status().detail
    with pytest.raises(NotAvailableError, match="maskrcnn_resnet50_fpn_coco-bf2d0c1e.pth"):
        maskrcnn.fit([scene(0)], out="unused.safetensors", start="coco")


def test_other_bytes_under_the_name_of_the_weights_are_refused(bare, monkeypatch, tmp_path):
    entry = registry.known_weights(detector.COCO_NAME)
    monkeypatch.setenv("CELLCOUNT_DATA", str(tmp_path))
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / entry.filename).write_bytes(b"other")
    with pytest.raises(DataError, match="maskrcnn_resnet50_fpn_coco-bf2d0c1e.pth"):
        maskrcnn.fit([scene(0)], out=tmp_path / "unused.safetensors")


def test_the_weights_of_coco_fit_and_see_gray_as_three_equal_colours(tmp_path):
    """A random network of torchvision's own make stands in for the trained one, which is not here."""
    from torchvision.models.detection import maskrcnn_resnet50_fpn

    torch.manual_seed(0)
    theirs = maskrcnn_resnet50_fpn(weights=None, weights_backbone=None, num_classes=91).eval()
    for module in theirs.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eps = 0.0  # as torchvision sets it when it loads these weights
    state = theirs.state_dict()
    # Theirs have frozen statistics, which count no batches.
    state = {name: tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")}
    torch.save(state, tmp_path / "coco.pth")
    ours = detector.build(replace(Settings(), start="coco")).eval()
    detector.load_coco(ours, tmp_path / "coco.pth")
    x = torch.randn(1, 1, 64, 64)
    with torch.inference_mode():
        expected, found = theirs.backbone(x.expand(-1, 3, -1, -1)), ours.backbone(x)
        for name in expected:
            torch.testing.assert_close(found[name], expected[name], rtol=1e-3, atol=1e-3)
        logits = [part.rpn.head(list(maps.values())) for part, maps in ((theirs, expected), (ours, found))]
        torch.testing.assert_close(logits[0][0][0], logits[1][0][0], rtol=1e-3, atol=1e-3)
    frozen = {name.split(".")[1] for name, p in ours.backbone.named_parameters() if not p.requires_grad}
    assert frozen == {"conv1", "layer1"}


def test_one_argument_alone_lifts_the_limit():
    rows = maskrcnn_findings.limits(scene(0, shape=(192, 192)).image).set_index("changed")
    fixed = rows[~rows.lifted].detections
    assert set(rows[rows.lifted].index) == {
        "model.roi_heads.detections_per_img = 500, afterwards", "box_detections_per_img = 500",
    }  # fmt: skip
    assert fixed.drop("the same, and rpn_post_nms_top_n_test = 90").eq(100).all()
    assert fixed["the same, and rpn_post_nms_top_n_test = 90"] <= 90


def test_pasted_masks_grow_with_their_number_and_painted_ones_hardly():
    rows = maskrcnn_findings.memory([20, 80], tile=256)
    assert rows.pasted_mb.tolist() == pytest.approx((rows.detections * 256**2 * 4 / 1e6).tolist())
    assert rows.painted_mb.diff().iloc[1] < 0.02 * rows.pasted_mb.diff().iloc[1]


def test_a_slice_that_starts_before_the_tile_is_empty():
    masks = maskrcnn_findings.sliced(np.float32([[-10, 5, 40, 55], [5, -1, 55, 49], [80, 80, 130, 130]]), (100, 100))
    assert masks.any(axis=(1, 2)).tolist() == [False, False, True]


def test_smaller_tiles_cut_more_boxes_and_clipping_loses_none():
    rows = maskrcnn_findings.at_borders([scene(0, shape=(256, 256), n=60)], [64, 128, 256], side=14)
    assert (rows.cells == 60).all()
    assert rows.cut.is_monotonic_decreasing and rows.cut.iloc[0] > 0.2
    assert (rows.clipped == 1).all()
    assert np.allclose(rows.inside, 1 - rows.cut)
    assert (rows["empty"] < rows.cut).all() and (rows["empty"] > 0).all()


@pytest.mark.slow
def test_a_network_that_can_know_nothing_answers_with_the_share_it_was_shown(tmp_path):
    """Points in noise: nothing tells cells from background."""
    rng = np.random.default_rng(0)
    noise = Sample("noise", rng.random((160, 160), np.float32), points=rng.uniform(5, 155, (40, 2)))
    rows = maskrcnn_findings.prior(
        [noise], noise.image[:, ::-1].copy(), [0.0625, 0.25], folder=tmp_path, device="cpu",
        **SMALL | {"average": 0.0}, epoch_steps=20, learning_rate=1e-3,
    )  # fmt: skip
    assert rows.sampled.tolist() == pytest.approx([0.0625, 0.25], abs=0.03)
    assert rows["median"].tolist() == pytest.approx(rows.sampled.tolist(), abs=0.15)
    assert rows["median"].is_monotonic_increasing


@pytest.mark.slow
def test_smaller_tiles_lift_the_limit_too(weights):
    new = scene(9, shape=(256, 256), n=70)
    rows, predictions = maskrcnn_findings.tile_sizes(
        new.image, [128, 256], [10, None], overlap=16, weights=weights, device="cpu"
    )
    found = rows.set_index(["tile", "limit"], drop=False).sort_index()
    assert rows[rows.tile == 256].detections.iloc[0] == 10
    assert 20 <= rows[(rows.tile == 128) & (rows.limit == 10)].detections.iloc[0] <= 90
    assert rows[rows.limit.isna()].detections.min() > 55
    assert rows.pasted_mb.max() == rows[(rows.tile == 256) & rows.limit.isna()].pasted_mb.iloc[0]
    assert [len(prediction.points) for prediction in predictions] == rows.detections.tolist()
    assert len(found) == 4


def test_the_figure_counts_the_boxes_that_slices_lose():
    sample = scene(0, shape=(128, 128), n=30)
    boxes = squares(sample.points, 20)
    empty = ~maskrcnn_findings.sliced(boxes, (128, 128)).any(axis=(1, 2))
    figure = plots.border_boxes(sample, side=20, tile=128)
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert empty.any() and any(f"({empty.sum()})" in label for label in labels)
