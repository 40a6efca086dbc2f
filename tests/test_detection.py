"""What both detectors share: boxes and their two coordinate systems, training tiles, the schedule, files of weights."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from cellcount.errors import DataError, ParameterError
from cellcount.methods import weights_files
from cellcount.methods.detection import boxes, loop
from cellcount.methods.detection.inference import to_points
from cellcount.methods.detection.settings import Common
from cellcount.methods.detection.tiles import Tile, Tiles, turned
from cellcount.methods.maskrcnn import detector
from cellcount.types import Sample

SMALL = Common(box=12.0, tile=64, least=4.0)


def scene(seed, shape=(160, 192), n=25, apart=18):
    """Dark discs on gray, with instances: a Sample that a small network learns in seconds."""
    rng = np.random.default_rng(seed)
    points = []
    while len(points) < n:
        point = rng.uniform(4, np.array(shape) - 5)
        if all(np.hypot(*(point - other)) > apart for other in points):
            points.append(point)
    image = rng.normal(0.6, 0.02, shape)
    yy, xx = np.indices(shape)
    labels = np.zeros(shape, np.int32)
    for i, (y, x) in enumerate(points):
        distance = (yy - y) ** 2 + (xx - x) ** 2
        image -= 0.3 * np.exp(-distance / 18)
        labels[distance < 25] = i + 1
    return Sample(f"scene-{seed}", image.astype(np.float32), np.array(points), labels=labels)


def test_a_box_of_whole_pixels_fills_them_in_both_coordinate_systems():
    box = np.float32([[2.5, 6.5, 5.5, 8.5]])  # the pixels of rows 3 to 5 and columns 7 and 8
    mask = boxes.filled(box, (10, 12))[0]
    assert [list(np.flatnonzero(mask.any(axis=axis))) for axis in (1, 0)] == [[3, 4, 5], [7, 8]]
    corner = boxes.to_corner_xy(box)
    assert corner.tolist() == [[7, 3, 9, 6]]  # x first, from the corner: as slices of an array count
    assert boxes.from_corner_xy(corner).tolist() == box.tolist()


def test_every_clipped_box_has_a_mask_of_its_area():
    rng = np.random.default_rng(0)
    points = rng.uniform(-30, 130, (400, 2))
    clipped, kept = boxes.clip(boxes.squares(points, 50), (100, 110))
    assert 0 < kept.sum() < len(points)
    areas = boxes.filled(clipped, (100, 110)).sum(axis=(1, 2))
    height, width = (clipped[:, 2:] - clipped[:, :2]).T
    assert (clipped[:, :2] >= -0.5).all() and (clipped[:, 2:] <= [99.5, 109.5]).all()
    assert min(height.min(), width.min()) >= 4
    assert (np.abs(areas - height * width) <= height + width + 1).all() and areas.min() > 0


def test_no_points_give_no_boxes():
    clipped, kept = boxes.clip(boxes.squares([], 50), (10, 10))
    assert clipped.shape == (0, 4) and kept.shape == (0,)
    assert boxes.filled(clipped, (10, 10)).shape == (0, 10, 10)


def test_instances_under_points():
    sample = scene(0)
    points = np.concatenate([sample.points, [[0, 0]]])
    assert sample.labels[0, 0] == 0
    found, masks, kept = boxes.around(sample.labels, points)
    assert kept.tolist() == [True] * len(sample.points) + [False]
    assert (masks.sum(axis=(1, 2)) == np.bincount(sample.labels.ravel())[1:]).all()
    assert (boxes.filled(found, sample.image.shape) >= masks).all()


@pytest.mark.parametrize("factor", [1, 2])
def test_points_come_back_from_their_boxes_also_where_the_border_cuts_them(factor):
    shape, settings = (80, 100), Common(box=20.0, factor=factor)
    points = np.float32([[40, 50], [0, 3], [2, 60], [79, 99], [30, 98], [75.5, 5.5]])
    small = (points + 0.5) / factor - 0.5
    cut, kept = boxes.clip(boxes.squares(small, 20 / factor), (80 // factor, 100 // factor))
    assert kept.all()
    np.testing.assert_allclose(to_points(cut, settings, shape), points, atol=1e-4)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("quarters", range(4))
def test_boxes_and_masks_turn_with_the_image(quarters, mirrored):
    box = np.float32([[3.5, 9.5, 11.5, 12.5], [-0.5, 20.5, 6.5, 29.5]])
    masks = boxes.filled(box, (20, 30))
    tile = Tile(masks.max(axis=0).astype(np.float32), box, masks, masks[0] > 0)
    after = turned(tile, quarters, mirrored)
    assert (boxes.filled(after.boxes, after.image.shape) == after.masks).all()
    assert (after.masks.max(axis=0) == after.image).all()
    assert (after.trusted == after.masks[0]).all()


def test_the_grid_shows_every_cell_once_in_full_or_twice_in_part():
    sample = scene(1)
    tiles = Tiles([sample], SMALL, masks=True)
    shown = list(map(tiles.tile, tiles.epoch(np.random.default_rng(0))))
    assert len(shown) == len(tiles) == 9
    assert sum(tile.image.size for tile in shown) == sample.image.size
    assert sum(len(tile.boxes) for tile in shown) > len(sample.points)
    for tile in shown:
        assert tile.masks.shape == (len(tile.boxes), 4)
        assert (tile.masks[:, 2:] > tile.masks[:, :2]).all()  # no mask is empty


def test_random_tiles_carry_their_boxes_along():
    tiles = Tiles([scene(2)], replace(SMALL, augment=True, least=12.0), masks=False)
    rng = np.random.default_rng(0)
    on_cells, elsewhere = [], []
    for tile in [tiles.tile(place) for _ in range(5) for place in tiles.epoch(rng)]:
        centres = np.rint((tile.boxes[:, :2] + tile.boxes[:, 2:]) / 2).astype(int)
        on_cells.append(tile.image[tuple(centres.T)] - np.median(tile.image))
        covered = boxes.filled(tile.boxes, tile.image.shape).any(axis=0)
        elsewhere.append((tile.image - np.median(tile.image))[~covered & tile.trusted])
    assert len(np.concatenate(on_cells)) > 50
    assert (np.concatenate(on_cells) < np.concatenate(elsewhere).min()).mean() > 0.97


def test_masks_of_random_tiles_are_their_boxes_filled():
    tiles = Tiles([scene(2)], replace(SMALL, augment=True), masks=True)
    for tile in map(tiles.tile, tiles.epoch(np.random.default_rng(0))):
        assert len(tile.masks)
        _, (target,) = detector.tensors([tile], torch.device("cpu"))
        assert (target["masks"].numpy() == boxes.filled(tile.boxes, tile.image.shape)).all()


def test_what_is_left_of_a_cell_at_a_border_is_neither_cell_nor_background():
    sample = Sample("one", np.full((64, 128), 0.5, np.float32), [[30, 66]])
    tiles = Tiles([sample], replace(SMALL, least=6.0), masks=False)
    left, right = sorted(map(tiles.tile, tiles.epoch(np.random.default_rng(0))), key=lambda tile: len(tile.boxes))
    assert len(left.boxes) == 0 and len(right.boxes) == 1
    assert (~left.trusted).sum() == 12 * 4 and not left.trusted[30, 60:64].any()
    assert right.trusted.all()


def test_instances_are_cut_like_boxes():
    tiles = Tiles([scene(3)], replace(SMALL, factor=2, tile=32), masks=True, targets="labels")
    for tile in map(tiles.tile, tiles.epoch(np.random.default_rng(0))):
        assert len(tile.masks) == len(tile.boxes)
        assert (boxes.filled(tile.boxes, tile.image.shape) >= tile.masks).all()


def test_samples_that_teach_nothing_are_named():
    image = np.zeros((64, 64), np.float32)
    with pytest.raises(DataError, match="bare"):
        Tiles([Sample("bare", image)], SMALL, masks=False)
    with pytest.raises(DataError, match="cell"):
        Tiles([Sample("empty", image, points=[])], SMALL, masks=False)
    with pytest.raises(DataError, match="clicked"):
        Tiles([Sample("clicked", image, points=[[1, 1]])], SMALL, masks=True, targets="labels")


def test_the_thesis_schedule_decays_before_it_has_warmed_up():
    """Linear over 5 epochs, and a tenth after every 3: the rate meant, 5e-3, is never reached."""
    rates = loop.learning_rates(Common(), steps=6)
    assert len(rates) == 60
    assert rates.argmax() == 17 and rates.max() == pytest.approx(0.6 * 5e-3)
    assert rates[18] == pytest.approx(19 / 30 * 5e-4) and rates[-1] == pytest.approx(5e-6)


def test_one_cycle_rises_and_falls():
    rates = loop.learning_rates(Common(schedule="onecycle"), steps=10)
    assert rates.argmax() == 10 and rates.max() == pytest.approx(5e-3)
    assert (np.diff(rates[:11]) > 0).all() and (np.diff(rates[10:]) < 0).all() and rates[-1] < 1e-5


@pytest.mark.parametrize(
    "change, message",
    [({"box": 0}, "box=0"), ({"optimizer": "adam"}, "adam.*sgd, adamw"), ({"average": 1.0}, "average=1.0")],
)
def test_bad_settings_are_refused(change, message):
    with pytest.raises(ParameterError, match=message):
        Common(**change)


def test_bad_weights_files_are_named(tmp_path):
    def load(path):
        return weights_files.read(path, "kind-1", "Mask R-CNN")

    with pytest.raises(DataError, match="none.safetensors"):
        load(tmp_path / "none.safetensors")
    foreign = tmp_path / "foreign.safetensors"
    save_file({"a": np.zeros(300)}, foreign)
    with pytest.raises(DataError, match="foreign.safetensors.*Mask R-CNN"):
        load(foreign)
    torn = tmp_path / "torn.safetensors"
    torn.write_bytes(foreign.read_bytes()[:1000])
    with pytest.raises(DataError, match="torn.safetensors"):
        load(torn)


def test_thinned_curves_keep_the_course_and_the_number_of_steps():
    curves = {"loss": list(range(1, 251)), "boxes": [4.0, 6.0]}
    lines = loop.thinned(curves, most=50)
    loss = [line for line in lines if line["part"] == "loss"]
    assert len(loss) == 50 and all(line["value"] == line["step"] for line in loss)
    assert [(line["step"], line["value"]) for line in lines if line["part"] == "boxes"] == [(1.0, 4.0), (2.0, 6.0)]
