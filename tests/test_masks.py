"""Masks kept as packed crops: they come back as they went in, and overlaps are resolved as stated."""

import numpy as np

from cellcount.methods import masks


def ragged(seed=0, shape=(50, 70), n=12):
    """Random overlapping blobs, the third one empty: full masks (n, H, W) bool, and the same as Masks."""
    rng = np.random.default_rng(seed)
    yy, xx = np.indices(shape)
    full = np.zeros((n, *shape), bool)
    for i in range(n):
        y, x, h, w = rng.uniform((0, 0, 3, 3), (*shape, 12, 20))
        full[i] = ((yy - y) / h) ** 2 + ((xx - x) / w) ** 2 + rng.normal(0, 0.1, shape) < 1
    full[2] = False
    packed = masks.Masks.empty(shape, n)
    for i in rng.permutation(n):
        top, left = (0, 0) if full[i, :5].any() or full[i, :, :7].any() else (5, 7)  # cut where nothing is lost
        packed.put(i, full[i, top:, left:], score=i, corner=(top, left))
    return full, packed


def test_masks_come_back_as_they_went_in():
    full, packed = ragged()
    assert len(packed) == len(full)
    for i, mask in enumerate(full):
        np.testing.assert_array_equal(packed.full(i), mask)
    np.testing.assert_array_equal(packed.areas, full.sum(axis=(1, 2)))
    np.testing.assert_array_equal(packed.coverage(), full.sum(axis=0))
    np.testing.assert_allclose(packed.centroids()[0], np.argwhere(full[0]).mean(axis=0), rtol=1e-6)
    assert packed.scores.tolist() == list(range(len(full)))


def test_a_pixel_goes_to_the_smallest_mask_that_claims_it():
    full, packed = ragged()
    areas = full.sum(axis=(1, 2)).astype(float)
    claims = np.where(full, areas[:, None, None], np.inf)
    expected = np.where(full.any(axis=0), claims.argmin(axis=0) + 1, 0)  # argmin takes the first of equals
    np.testing.assert_array_equal(packed.labels(), expected)


def test_of_equal_masks_the_first_owns_the_pixel():
    twice = masks.from_boxes((9, 9), [[1, 1, 5, 5], [3, 3, 7, 7]])
    assert twice.labels()[4, 4] == 1 and twice.labels()[6, 6] == 2


def test_holds_finds_the_points_inside():
    full, packed = ragged(1)
    points = np.random.default_rng(2).uniform(-5, 75, (200, 2))
    pixels = np.rint(points).astype(int)
    on = ((pixels >= 0) & (pixels < full.shape[1:])).all(axis=1)
    expected = {(i, p) for p in np.flatnonzero(on) for i in np.flatnonzero(full[:, pixels[p, 0], pixels[p, 1]])}
    assert set(map(tuple, packed.holds(points))) == expected and len(expected) > 50


def test_boxes_cover_their_pixels_and_end_at_the_border():
    found = masks.from_boxes((20, 30), [[2, 3, 6, 10], [2.4, 3.4, 6.4, 10.4], [-5, 25, 3, 40], [30, 30, 40, 40]])
    assert found.areas.tolist() == [28, 28, 15, 0]
    assert found.windows[0].tolist() == [2, 6, 3, 10]  # (y0, y1, x0, x1): not square, so a swap would show
    assert found.windows[2].tolist() == [0, 3, 25, 30]


def test_iou_with_true_objects():
    labels = np.zeros((20, 30), np.int32)
    labels[2:6, 3:13], labels[10:14, 3:13] = 1, 2
    found = masks.from_boxes((20, 30), [[2, 3, 6, 13], [10, 8, 14, 18], [0, 0, 2, 2]])
    np.testing.assert_allclose(found.iou(labels, [1, 2, 0]), [1, 20 / 60, 0])
    np.testing.assert_allclose(found.iou(labels)[:2], [1, 20 / 60])
    assert found.iou(labels, [2, 1, 9]).tolist() == [0, 0, 0]


def test_take_reorders_and_fills_up_with_empty_masks():
    full, packed = ragged()
    some = packed.take([4, -1, 0])
    np.testing.assert_array_equal(some.full(0), full[4])
    assert some.areas[1] == 0 and some.scores.tolist() == [4, 0, 0]
    nothing = masks.Masks.empty((5, 5), 0)
    assert nothing.take([-1, -1]).areas.tolist() == [0, 0]


def test_many_masks_take_little_memory():
    """1755 masks of 50 x 60 px on a full field: megabytes, not the 5.5 GB of full-size masks."""
    boxes = np.random.default_rng(0).uniform((0, 0), (1480, 1980), (1755, 2))
    found = masks.from_boxes((1536, 2048), np.concatenate([boxes, boxes + [50, 60]], axis=1))
    assert sum(bits.nbytes for bits in found.bits) < 1e6
    assert found.labels().max() == 1755
