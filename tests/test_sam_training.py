"""Training the small SAM: prompts that tell the truth, a loss that falls, and runs that can be cut off."""

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree

from cellcount.errors import DataError, ParameterError
from cellcount.methods import sam
from cellcount.methods.prompts import NO_POINT, UNWANTED, WANTED
from cellcount.methods.sam import examples, small
from cellcount.methods.sam.examples import Examples, mistakes, turned, turned_points
from cellcount.methods.sam.training import dense_head, dense_loss, mask_loss
from cellcount.types import Sample

TINY = {"width": 32, "depth": 1, "heads": 2, "prompt_width": 32, "stem": (8, 16, 32), "tiles": 2, "prompts": 4}


def scene(seed, shape=(200, 220), spacing=22):
    """Dark cells that touch: a Sample with labels, the regions nearest to jittered grid points within 12 px."""
    rng = np.random.default_rng(seed)
    nodes = np.stack(np.meshgrid(*(np.arange(10, side, spacing) for side in shape), indexing="ij"), -1).reshape(-1, 2)
    points = nodes + rng.uniform(-4, 4, nodes.shape)
    distance, nearest = cKDTree(points).query(np.argwhere(np.ones(shape)))
    labels = np.where(distance < 12, nearest + 1, 0).reshape(shape).astype(np.int32)
    border = np.zeros(shape, bool)
    border[:-1], border[:, :-1] = labels[:-1] != labels[1:], border[:, :-1] | (labels[:, :-1] != labels[:, 1:])
    image = 0.7 - 0.4 * (labels > 0) + 0.25 * border + rng.normal(0, 0.02, shape)
    return Sample(f"scene-{seed}", np.clip(image, 0, 1).astype(np.float32), points.astype(np.float32), labels=labels)


@pytest.fixture(scope="module")
def drawn_examples():
    rng = np.random.default_rng(0)
    source = Examples([scene(0), scene(1)], small.TILE, prompts=8)
    return [source.draw(rng) for _ in range(12)]


def test_symmetries_move_points_with_their_pixels():
    array = np.zeros((9, 9), int)
    array[2, 6] = 1
    for turns in range(4):
        for mirrored in (False, True):
            moved = turned_points(np.array([[2.0, 6.0]]), turns, mirrored, 9)
            assert turned(array, turns, mirrored)[tuple(moved[0].astype(int))] == 1


def test_points_lie_on_what_is_wanted_and_negatives_beside_it(drawn_examples):
    counts = {WANTED: 0, UNWANTED: 0}
    for example in drawn_examples:
        for points, signs, target in zip(example.points, example.signs, example.targets):  # boxes' targets come after
            for (y, x), sign in zip(np.rint(points).astype(int), signs):
                inside = 0 <= y < small.TILE and 0 <= x < small.TILE
                if sign == NO_POINT or not inside:
                    continue
                assert target[y, x] == (sign == WANTED)
                counts[int(sign)] += 1
    assert counts[WANTED] > 80 and counts[UNWANTED] > 50


def test_boxes_hold_what_is_wanted(drawn_examples):
    shares = []
    for example in drawn_examples:
        for box, target in zip(example.boxes, example.targets[len(example.points) :], strict=True):
            y0, x0, y1, x1 = np.rint(box).astype(int)
            held = target[max(y0, 0) : y1 + 1, max(x0, 0) : x1 + 1].sum() / target.sum()
            shares.append(held)
    assert len(shares) > 20 and np.median(shares) > 0.95 and min(shares) > 0.3


def test_every_kind_of_prompt_comes_up(drawn_examples):
    assert {len(example.points) + len(example.boxes) for example in drawn_examples} == {8, 9}  # 9: with a foreground
    most = [int((example.signs != NO_POINT).sum(axis=1).max()) for example in drawn_examples]
    assert max(most) > 8, "a foreground prompt has many points"
    for example in drawn_examples:
        assert example.image.dtype == np.float32 and 0 <= example.image.min() and example.image.max() <= 255
        assert example.targets.shape[1:] == example.labels.shape == (small.TILE, small.TILE)
        assert example.targets.any(axis=(1, 2)).all()


def test_a_square_is_around_its_click_and_a_box_around_its_mask():
    rng = np.random.default_rng(0)
    y0, x0, y1, x1 = examples._square(rng, np.array([40.0, 90.0]))
    assert y1 - y0 == pytest.approx(x1 - x0) and 32 <= y1 - y0 <= 60
    assert abs((y0 + y1) / 2 - 40) < 15 and abs((x0 + x1) / 2 - 90) < 15
    mask = np.zeros((128, 128), bool)
    mask[30:50, 60:110] = True  # not square, not in the middle
    np.testing.assert_allclose(examples._box(rng, mask), [30, 60, 49, 109], atol=5)


def test_the_next_click_goes_where_the_mask_is_wrong():
    target, rng = np.zeros((3, 40, 40), bool), np.random.default_rng(0)
    target[:, 10:20, 20:35] = True
    predicted = target.copy()
    predicted[0, 10:20, 30:35] = False
    predicted[1, 25:30, 5:9] = True
    points, signs = mistakes(rng, predicted, target)
    assert signs.tolist() == [WANTED, UNWANTED, NO_POINT]
    assert 10 <= points[0, 0] < 20 and 30 <= points[0, 1] < 35
    assert 25 <= points[1, 0] < 30 and 5 <= points[1, 1] < 9


def test_the_loss_is_small_where_mask_and_its_iou_are_right():
    targets = np.zeros((2, 64, 64), bool)
    targets[0, 8:24, 30:60], targets[1, 40:60, 4:20] = True, True
    right = torch.from_numpy(targets).float()[:, None, ::2, ::2] * 40 - 20
    logits = -right.expand(-1, 4, -1, -1).clone()
    logits[0, 2] = right[0, 0]  # the ambiguous prompt has one right mask among its three
    logits[1, 0] = right[1, 0]  # the other one has it where its single mask is
    iou = torch.zeros(2, 4)
    iou[0, 2] = iou[1, 0] = 1.0
    ambiguous = np.array([True, False])
    losses, best = mask_loss(logits, iou, targets, ambiguous)
    assert (losses < 0.05).all()
    torch.testing.assert_close(best, right[:, 0])
    assert (mask_loss(logits, iou, targets, ~ambiguous)[0] > 0.9).all()
    assert (mask_loss(logits, iou + 0.5, targets, ambiguous)[0] > losses + 0.2).all()


def test_the_dense_loss_falls_when_its_head_is_right():
    labels = np.zeros((1, 32, 32), np.int32)
    labels[0, :, :16], labels[0, 8:24, 16:] = 1, 2
    cell = torch.from_numpy(labels > 0).float()[:, None, ::2, ::2]
    border = torch.zeros_like(cell)
    good = torch.cat([20 * cell - 10, border - 3], dim=1)
    bad = torch.cat([10 - 20 * cell, border - 3], dim=1)
    assert dense_loss(good, labels) < dense_loss(bad, labels) - 3
    head = dense_head(small.Settings(**TINY))
    assert head(torch.zeros(1, 32, 16, 16)).shape == (1, 2, 64, 64)


def test_an_interrupted_training_gives_the_same_weights(tmp_path):
    samples, settings = [scene(0)], {"device": "cpu", "progress": False, "steps": 4, **TINY}
    whole = sam.fit(samples, out=tmp_path / "whole.safetensors", **settings)
    parts = tmp_path / "parts.safetensors"
    sam.fit(samples, out=parts, stop=2, **settings)
    assert sam.about(parts)["steps done"] == 2
    sam.fit(samples, out=parts, **settings)
    assert parts.read_bytes() == whole.read_bytes()
    assert len(sam.about(parts)["losses"]) == 4
    with pytest.raises(DataError, match="parts.state"):
        sam.fit(samples, out=parts, seed=1, **settings)


@pytest.mark.slow
def test_training_learns_and_says_how_well(tmp_path):
    """A hundred steps on easy cells: the loss falls, and a point's mask is that of the cell that was pointed at."""
    wider = TINY | {"width": 64, "heads": 4, "prompt_width": 128, "stem": (16, 32, 64), "tiles": 1, "prompts": 12}
    out = sam.fit(
        [scene(seed) for seed in range(4)], out=tmp_path / "a.safetensors", validation=[scene(9)], device="cpu",
        progress=False, steps=150, average=0.9, learning_rate=2e-3, **wider,
    )  # fmt: skip
    losses = sam.about(out)["losses"]
    assert np.mean(losses[-20:]) < 0.6 * np.mean(losses[:20])
    score = sam.about(out)["scores"][-1]
    assert score["step"] == 150 and score["point"] > 0.3


def test_bad_calls_are_refused(tmp_path):
    good, out = scene(0), tmp_path / "x.safetensors"
    with pytest.raises(ParameterError, match="step.*width"):
        sam.fit([good], out=out, step=3)
    with pytest.raises(ParameterError, match="tiles=0"):
        sam.fit([good], out=out, tiles=0)
    with pytest.raises(ParameterError, match="heads"):
        sam.fit([good], out=out, width=30, heads=4)
    with pytest.raises(DataError, match="at least one sample"):
        sam.fit([], out=out)
    with pytest.raises(DataError, match="bare"):
        sam.fit([Sample("bare", good.image, good.points)], out=out)
    with pytest.raises(DataError, match="scene-0"):
        sam.fit([scene(0, shape=(100, 300))], out=out)
    assert not list(tmp_path.iterdir())


def test_the_small_network_stays_small():
    network = small.build(small.Settings())
    millions = {part: sum(p.numel() for p in getattr(network, part).parameters()) / 1e6
                for part in ("image_encoder", "prompt_encoder", "mask_decoder")}  # fmt: skip
    assert 2 < millions["image_encoder"] < 5
    assert 2 * sum(millions.values()) < 16, "MB in half precision"
