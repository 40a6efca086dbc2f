"""Masks from clicks, and how masks are scored."""

import numpy as np
import pytest
from scipy.spatial import cKDTree

from cellcount.data import phantom
from cellcount.data.pseudo_masks import VARIANTS, pseudo_masks
from cellcount.errors import DataError, ParameterError
from cellcount.metrics import IOU_THRESHOLDS, box_iou, paired_iou, segmentation_counts, segmentation_scores


@pytest.fixture(scope="module")
def field():
    return phantom.load("train", fields=1, size=(256, 256))[0]


def disks(centres, radius=12, shape=(80, 120)):
    yy, xx = np.indices(shape)
    labels = np.zeros(shape, np.int32)
    for i, (y, x) in enumerate(centres):
        labels[(yy - y) ** 2 + (xx - x) ** 2 <= radius**2] = i + 1
    return labels


@pytest.mark.parametrize("variant", VARIANTS)
def test_each_point_lies_on_its_own_mask(field, variant):
    labels = pseudo_masks(field.image, field.points, variant=variant)
    at = np.rint(field.points).astype(int)
    assert labels.dtype == np.int32 and labels.shape == field.image.shape
    assert (labels[tuple(at.T)] == np.arange(1, len(field.points) + 1)).all()


def test_weighted_masks_beat_both_others_on_the_phantom():
    field = phantom.load("validation", fields=1, size=(384, 384))[0]  # the defaults were chosen on train
    mean = {
        variant: paired_iou(
            field.labels, pseudo_masks(field.image, field.points, variant=variant), len(field.points)
        ).mean()
        for variant in VARIANTS
    }
    assert mean["weighted"] > 0.6
    assert mean["weighted"] > mean["square"] + 0.02 and mean["weighted"] > mean["watershed"] + 0.05


def test_masks_end_at_the_radius(field):
    labels = pseudo_masks(field.image, field.points, radius=10)
    distance = cKDTree(np.rint(field.points)).query(np.argwhere(labels))[0]
    assert 9 < distance.max() <= 10


def test_squares_are_square_and_parted_half_way():
    alone = pseudo_masks(np.zeros((60, 60), np.float32), [[30.2, 29.8]], variant="square", side=20)
    assert alone.sum() == 21 * 21 and alone[20, 20] == 1 and alone[19, 30] == 0
    pair = pseudo_masks(np.zeros((60, 60), np.float32), [[30, 20], [30, 30]], variant="square", side=20)
    assert (pair[30, 20:25] == 1).all() and (pair[30, 26:31] == 2).all()


def test_pseudo_masks_of_nothing():
    image = np.full((40, 50), 0.5, np.float32)
    for variant in VARIANTS:
        assert not pseudo_masks(image, [], variant=variant).any()
        assert pseudo_masks(image, [[0, 0], [39.4, 49.4]], variant=variant).max() == 2
    with pytest.raises(ParameterError, match="grabcut"):
        pseudo_masks(image, [], variant="grabcut")
    with pytest.raises(ParameterError, match="radius=0"):
        pseudo_masks(image, [], radius=0)


def test_segmentation_scores_of_shifted_masks():
    """Disks shifted by 4 of 24 px overlap by .64 of their union (from the area of a lens)."""
    centres = [[20, 20], [20, 60], [60, 40]]
    true, predicted = disks(centres), disks(np.array(centres) + [0, 4])
    counts = segmentation_counts(true, predicted)
    assert [row["iou_threshold"] for row in counts] == list(IOU_THRESHOLDS)
    assert [row["tp"] for row in counts[:4]] == [3, 3, 3, 0]
    scores = segmentation_scores(counts)
    assert scores["ap50"] == 1 and scores["ap75"] == 0 and scores["msa"] == pytest.approx(0.3)
    lens = 2 * 12**2 * np.arccos(4 / 24) - 2 * np.sqrt(4 * 12**2 - 4**2)
    expected = lens / (2 * np.pi * 12**2 - lens)
    assert scores["sq"] == pytest.approx(expected, abs=0.02) and scores["pq"] == scores["sq"]


def test_segmentation_scores_are_pooled_and_punish_both_kinds_of_error():
    true = disks([[20, 20], [20, 60]])
    extra = disks([[20, 20], [20, 60], [60, 40]])
    scores = segmentation_scores(segmentation_counts(true, extra) + segmentation_counts(extra, true))
    assert scores["ap50"] == pytest.approx(4 / 6) and scores["pq"] == pytest.approx(8 / 10)
    nothing = np.zeros((20, 20), np.int32)
    assert segmentation_scores(segmentation_counts(nothing, nothing))["pq"] == 1
    assert segmentation_scores(segmentation_counts(nothing, disks([[9, 9]], 4, (20, 20))))["pq"] == 0
    with pytest.raises(DataError, match="shape"):
        segmentation_counts(nothing, true)


def test_masks_on_untrusted_ground_count_neither_way():
    true, predicted = disks([[20, 20]]), disks([[20, 20], [60, 60]])
    valid = np.ones(true.shape, bool)
    valid[50:] = False
    assert segmentation_counts(true, predicted)[0]["fp"] == 1
    assert segmentation_counts(true, predicted, valid=valid)[0]["fp"] == 0


def test_paired_iou_is_by_number():
    labels = disks([[20, 20], [20, 60]])
    assert paired_iou(labels, labels, 3).tolist() == [1, 1, 0]
    swapped = np.array([0, 2, 1])[labels]
    assert paired_iou(labels, swapped, 2).tolist() == [0, 0]


def test_box_iou_gives_each_mask_to_one_box():
    labels = np.zeros((40, 60), np.int32)
    labels[10:20, 10:20] = 1
    labels[10:20, 40:50] = 2
    boxes = [[9.5, 9.5, 19.5, 19.5], [9.5, 39.5, 19.5, 44.5], [9.5, 10.5, 19.5, 20.5]]
    np.testing.assert_allclose(box_iou(boxes, labels), [1, 0.5, 0])
    assert box_iou(boxes, np.zeros((5, 5), np.int32)).tolist() == [0, 0, 0]
    assert box_iou(np.zeros((0, 4)), labels).shape == (0,)
