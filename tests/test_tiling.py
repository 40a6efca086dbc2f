"""Tiled equals untiled, above all for objects on tile borders."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from cellcount.errors import ParameterError
from cellcount.methods import blobs
from cellcount.metrics import match
from cellcount.tiling import SLACK, _Assembled, tiled, tiles
from cellcount.types import Prediction, visible


def discs(shape, centres, radius=6):
    """Dark discs on a bright, slightly noisy ground; (H, W) float32."""
    image = np.full(shape, 0.7, np.float32)
    yy, xx = np.indices(shape)
    for y, x in centres:
        image[(yy - y) ** 2 + (xx - x) ** 2 <= radius**2] = 0.3
    return image + np.random.default_rng(0).normal(0, 0.005, shape).astype(np.float32)


def components(image, *, prompts=None, device="auto", by_density=False):
    """A method with masks, density and a count: connected dark pixels."""
    labels, n = ndimage.label(ndimage.gaussian_filter(image, 1) < 0.5)
    index = np.arange(1, n + 1)
    points = np.array(ndimage.center_of_mass(labels > 0, labels, index), np.float32).reshape(-1, 2)
    area = ndimage.sum(labels > 0, labels, index)
    density = np.where(labels > 0, 1 / np.concatenate([[1], area])[labels], 0).astype(np.float32)
    count = density.sum() + 0.25 if by_density else n
    return Prediction(points, np.ones(n), float(count), labels=labels.astype(np.int32), density=density)


@pytest.fixture(scope="module")
def scene():
    """An image whose tile borders (tile 128, overlap 32) all carry discs."""
    shape = (300, 420)
    borders = sorted({core[i] for _, core in tiles(shape, 128, 32) for i in (1, 3)})
    centres = [(b + d, 20 + 40 * i) for b in borders if b < 280 for i, d in enumerate((-1, 0, 1, 0.5))]
    centres += [(20 + 40 * i, b + d) for b in borders if b < 400 for i, d in enumerate((-2, 0.25))]
    centres = np.array(centres)
    far = [i for i, c in enumerate(centres) if all(np.hypot(*(c - o)) > 18 for o in centres[:i])]
    return shape, centres[far]


def test_tiles_cover_the_image_once():
    for shape in [(300, 420), (33, 1000), (1, 1), (129, 128)]:
        covered = np.zeros(shape, int)
        for (wy0, wy1, wx0, wx1), (y0, y1, x0, x1) in tiles(shape, 128, 32):
            covered[y0:y1, x0:x1] += 1
            assert wy0 <= y0 and y1 <= wy1 and wx0 <= x0 and x1 <= wx1
            assert wy1 - wy0 <= 128 and wx1 - wx0 <= 128
        assert (covered == 1).all()


def test_points_on_borders_are_found_once(scene):
    shape, centres = scene
    image = discs(shape, centres)
    whole = blobs.predict(image, sigma=4)
    parts = tiled(blobs.predict, tile=128, overlap=32, context=blobs.context)(image, sigma=4)
    assert len(parts.points) == len(whole.points) >= len(centres)
    matching = match(whole.points, parts.points, 0.5)
    assert (matching.fp, matching.fn) == (0, 0)
    assert parts.count == whole.count


def test_masks_on_borders_come_whole(scene):
    shape, centres = scene
    image = discs(shape, centres)
    whole, parts = components(image), tiled(components, tile=128, overlap=32)(image)
    assert match(whole.points, parts.points, 0.01).f1 == 1
    assert ((whole.labels > 0) == (parts.labels > 0)).all()
    for i, (y, x) in enumerate(np.rint(parts.points).astype(int)):
        assert parts.labels[y, x] == i + 1  # the mask of point i
        assert (parts.labels == i + 1).sum() == (whole.labels == whole.labels[y, x]).sum()


def test_density_is_pasted_and_a_density_count_stays_one(scene):
    shape, centres = scene
    image = discs(shape, centres)
    parts = tiled(components, tile=128, overlap=32)(image, by_density=True)
    np.testing.assert_allclose(parts.density, components(image).density, atol=1e-6)
    assert parts.count == pytest.approx(len(centres), abs=0.01)


def test_a_method_that_jitters_at_borders_still_counts_each_cell_once(scene):
    shape, centres = scene
    image = discs(shape, centres)
    rng = np.random.default_rng(3)

    def jittering(image, *, prompts=None, device="auto"):
        exact = components(image)
        return Prediction(exact.points + rng.normal(0, 0.4, exact.points.shape), exact.scores, exact.count)

    assert len(tiled(jittering, tile=128, overlap=32)(image).points) == len(centres)


def test_prompts_reach_the_tiles_in_their_own_coordinates(scene):
    shape, centres = scene

    def echo(image, *, prompts=None, device="auto"):
        return Prediction(prompts, np.ones(len(prompts)), float(len(prompts)))

    answer = tiled(echo, tile=128, overlap=32)(np.zeros(shape, np.float32), prompts=centres)
    assert match(centres, answer.points, 0.01).f1 == 1


def test_without_maps_the_points_are_the_same_and_densities_are_summed_up(scene):
    shape, centres = scene
    image = discs(shape, centres)
    with_maps = tiled(components, tile=128, overlap=32)(image, by_density=True)
    without = tiled(components, tile=128, overlap=32, maps=False)(image, by_density=True)
    np.testing.assert_array_equal(without.points, with_maps.points)
    assert without.labels is None and without.density is None
    assert without.count == without.meta["density_sum"] == pytest.approx(with_maps.density.sum(), rel=1e-6)


def test_tiles_of_one_shape_are_computed_in_batches(scene):
    shape, centres = scene
    image = discs(shape, centres)
    sizes = []

    def predict_batch(images, *, device="auto"):
        assert len({image.shape for image in images}) == 1
        sizes.append(len(images))
        return [components(image) for image in images]

    one_by_one = tiled(components, tile=128, overlap=32)(image)
    batches = tiled(components, tile=128, overlap=32, predict_batch=predict_batch, batch=3)(image)
    np.testing.assert_array_equal(batches.points, one_by_one.points)
    np.testing.assert_array_equal(batches.labels, one_by_one.labels)
    assert max(sizes) == 3 and sum(sizes) == len(list(tiles(shape, 128, 32)))


def test_the_points_looked_through_do_not_grow_with_the_number_of_rows():
    """Else the work would grow with the square of the area."""
    shape, centres = (3000, 96), np.stack(np.meshgrid(np.arange(4, 3000, 8), np.arange(4, 96, 8)), -1).reshape(-1, 2)
    canvas, looked_through = _Assembled(shape, maps=False), []
    for window, core in tiles(shape, 64, 16):
        y0, y1, x0, x1 = window
        inside = ((centres >= [y0, x0]) & (centres < [y1, x1])).all(axis=1)
        part = centres[inside] - [y0, x0]
        canvas.add(Prediction(part, np.ones(len(part)), float(len(part))), window, core)
        looked_through.append(len(canvas.border))
    assert canvas.prediction(0).count == len(centres)
    rows = (32 + 4 * SLACK) / 8  # of points, on whose ends a row of tiles meets its neighbours
    assert max(looked_through) <= 2 * rows * 96 / 8


def test_one_tile_is_the_method_itself():
    image = discs((60, 60), [(30, 30)])
    direct, wrapped = blobs.predict(image), tiled(blobs.predict, tile=128, overlap=32)(image)
    np.testing.assert_array_equal(direct.points, wrapped.points)


def test_an_empty_image_has_no_cells():
    answer = tiled(components, tile=128, overlap=32)(np.full((300, 300), 0.7, np.float32))
    assert answer.count == 0 and answer.points.shape == (0, 2)


@pytest.mark.parametrize(("tile", "overlap"), [(64, 32), (64, -1)])
def test_impossible_tiles_are_refused(tile, overlap):
    with pytest.raises(ParameterError, match="overlap"):
        tiled(components, tile=tile, overlap=overlap)


def test_the_ends_of_an_interval_add_up(scene):
    shape, centres = scene
    image = discs(shape, centres)

    def sure(image, *, prompts=None, device="auto"):
        exact = components(image)
        return replace(exact, count_interval=(0.9 * exact.count, 1.2 * exact.count))

    whole, parts = sure(image), tiled(sure, tile=128, overlap=32)(image)
    np.testing.assert_allclose(parts.count_interval, whole.count_interval, rtol=1e-6)


def test_one_tile_without_an_interval_leaves_none(scene):
    shape, centres = scene
    given = iter([(0.0, 99.0)] + [None] * 99)

    def sometimes(image, *, prompts=None, device="auto"):
        return replace(components(image), count_interval=next(given))

    assert tiled(sometimes, tile=128, overlap=32)(discs(shape, centres)).count_interval is None


def test_a_count_of_masks_is_added_up_and_answers_keep_the_order_of_prompts(scene):
    shape, centres = scene
    image = discs(shape, centres)
    # Two prompts closer than tiles may jitter are two all the same, and one where nothing is has no mask.
    asked = np.concatenate([centres[::-1], centres[:1] + [0, 2], [[299, 419]]]).astype(np.float32)

    def masked(image, *, prompts=None, device="auto"):
        found, labels = components(image), np.zeros(image.shape, np.int32)
        for i, (y, x) in enumerate(np.rint(prompts).astype(int)):
            if found.labels[y, x]:
                labels[(found.labels == found.labels[y, x]) & (labels == 0)] = i + 1
        return Prediction(prompts, np.arange(len(prompts)), float(visible(labels, len(prompts)).sum()), labels=labels)

    whole, parts = masked(image, prompts=asked), tiled(masked, tile=128, overlap=32)(image, prompts=asked)
    np.testing.assert_allclose(parts.points, asked, atol=1e-4)
    assert parts.count == whole.count == len(centres)
    assert ((parts.labels > 0) == (whole.labels > 0)).all()
    for i, (y, x) in enumerate(np.rint(centres[::-1]).astype(int)):
        assert parts.labels[y, x] == i + 1


def test_a_count_that_cannot_be_added_up_is_refused_in_words(scene):
    shape, centres = scene

    def odd(image, *, prompts=None, device="auto"):
        return Prediction([[1, 1]], [1.0], 2.5)

    def doubled(image, *, prompts=None, device="auto"):
        exact = components(image)
        return replace(exact, count=2.0 * exact.count + 0.5)

    for predict in (odd, doubled):
        with pytest.raises(ParameterError, match="density"):
            tiled(predict, tile=128, overlap=32)(discs(shape, centres))


def test_intervals_of_tiles_without_a_cell_add_up_too():
    def unsure(image, *, prompts=None, device="auto"):
        return Prediction([], [], 0.0, (0.0, image.size / 1000))

    low, high = tiled(unsure, tile=128, overlap=0)(np.zeros((300, 420), np.float32)).count_interval
    assert low == 0 and high == pytest.approx(300 * 420 / 1000)


def test_what_a_tile_must_know_is_asked_once_with_the_arguments_of_the_call(scene):
    shape, centres = scene
    asked = []

    def context(image, **params):
        asked.append((image.shape, params))
        return {"scale": 2.0}

    def scaled(image, *, prompts=None, device="auto", scale=None, weights=None):
        assert scale == 2.0 and weights == "mine"
        return components(image)

    tiled(scaled, tile=128, overlap=32, context=context)(discs(shape, centres), weights="mine", device="cpu")
    assert asked == [(shape, {"device": "cpu", "weights": "mine"})]


def test_cellpose_asks_its_size_model_once_for_all_tiles(monkeypatch):
    from cellcount.methods.cellpose import inference

    asked = []

    def size_model(image, **params):
        asked.append(image.shape)
        return 17.0

    monkeypatch.setattr(inference, "estimate_diameter", size_model)
    image = np.random.default_rng(0).random((300, 2100), np.float32)
    assert inference.context(image, weights="mine")["diameter"] == 17.0
    assert inference.context(image, diameter=30.0)["diameter"] == 30.0
    assert asked == [(300, inference.LARGEST)]


def test_of_two_answers_that_overlap_the_smaller_is_on_top_as_in_one_piece(scene):
    from cellcount.methods import prompted_watershed, prompts

    shape, centres = scene
    image = discs(shape, centres)
    asked = prompts.box(np.float32(centres), half=60.0)  # far over their neighbours, in the next tile too
    whole = prompted_watershed.predict(image, prompts=asked)
    parts = tiled(prompted_watershed.predict, tile=240, overlap=80, context=prompted_watershed.context)(
        image, prompts=asked
    )
    assert parts.count == np.isin(np.arange(1, len(centres) + 1), parts.labels).sum()
    assert abs(parts.count - whole.count) <= 0.1 * len(centres)
    assert (parts.labels == whole.labels).mean() > 0.8
