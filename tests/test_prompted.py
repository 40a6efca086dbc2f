"""The watershed that takes prompts, and the scores of what prompts give."""

import numpy as np
import pytest

from cellcount.companion.studies.prompt_scores import assigned, prompt_scores, prompt_summary
from cellcount.data import phantom
from cellcount.data.pseudo_masks import pseudo_masks
from cellcount.errors import DataError, ParameterError
from cellcount.methods import masks, prompted_watershed, prompts


@pytest.fixture(scope="module")
def field():
    return phantom.load("train", fields=1, size=(256, 256))[0]


def touching():
    """Two dark cells of different size side by side on a bright ground, with a bright line between them."""
    yy, xx = np.indices((60, 100))
    image = np.full((60, 100), 0.8, np.float32)
    cells = [(yy - 30) ** 2 / 1.6 + (xx - 34) ** 2 < 12**2, (yy - 30) ** 2 / 1.6 + (xx - 58) ** 2 < 11**2]
    for cell in cells:
        image[cell] = 0.3
    image += np.random.default_rng(0).normal(0, 0.01, image.shape).astype(np.float32)
    return image, cells, np.float32([[30, 34], [30, 58]])


def iou(mask, truth):
    return (mask & truth).sum() / (mask | truth).sum()


def test_negatives_hold_the_flood_back():
    image, cells, centres = touching()
    alone = prompted_watershed.segment(image, prompts.point(centres), radius=26)
    against = prompted_watershed.segment(image, prompts.neighbours(centres), radius=26)
    for i, cell in enumerate(cells):
        assert alone.full(i)[cells[1 - i]].mean() > 0.3 > 0.1 > against.full(i)[cells[1 - i]].mean()
        assert iou(against.full(i), cell) > iou(alone.full(i), cell)


def test_a_box_says_how_far_in_both_directions():
    """Asymmetric boxes: wide and low, then narrow and high."""
    image = np.full((80, 80), 0.5, np.float32) + np.random.default_rng(0).normal(0, 0.05, (80, 80)).astype(np.float32)
    found = prompted_watershed.segment(image, prompts.drawn([[30, 10, 40, 60], [10, 30, 60, 40]]))
    assert found.windows[0].tolist() == [30, 41, 10, 61] and found.windows[1].tolist() == [10, 61, 30, 41]
    assert found.areas[0] == pytest.approx(np.pi * 5 * 25, rel=0.15)


def test_masks_end_at_the_radius_and_hold_their_point(field):
    found = prompted_watershed.segment(field.image, prompts.point(field.points), radius=10)
    for i, (y, x) in enumerate(field.points):
        pixels = np.argwhere(found.full(i))
        assert np.hypot(*(pixels - [y, x]).T).max() <= 10
    held = found.holds(field.points)
    assert (held[:, 0] == held[:, 1]).sum() == len(field.points)


def test_neighbours_as_negatives_are_much_like_flooding_from_all_clicks_at_once(field):
    together = pseudo_masks(field.image, field.points)
    single = prompted_watershed.segment(field.image, prompts.neighbours(field.points))
    shared = [iou(single.full(i), together == i + 1) for i in range(len(field.points))]
    assert np.median(shared) > 0.75


def test_prompts_without_a_point_and_off_the_image_give_nothing():
    image = touching()[0]
    assert prompted_watershed.segment(image, prompts.point([[500, 500]])).areas.tolist() == [0]
    assert len(prompted_watershed.segment(image, prompts.point([]))) == 0
    nothing = prompts.point([[30, 34]]).in_window((0, 9, 0, 9))
    assert prompted_watershed.segment(image, nothing).areas.tolist() == [0]


def test_predict_resolves_overlaps():
    image, _, centres = touching()
    prediction = prompted_watershed.predict(image, prompts=centres)
    found = prompted_watershed.segment(image, prompts.point(centres))
    np.testing.assert_array_equal(prediction.labels, found.labels())
    assert prediction.count == 2 and prediction.meta["prompts"] == "point"
    with pytest.raises(ParameterError, match="prompts"):
        prompted_watershed.predict(image)
    with pytest.raises(ParameterError, match="radius=0"):
        prompted_watershed.predict(image, prompts=centres, radius=0)
    with pytest.raises(ParameterError, match="foreground"):
        prompted_watershed.predict(image, prompts=prompts.foreground(centres, []))
    with pytest.raises(DataError, match=r"\(H, W\)"):
        prompted_watershed.predict(np.stack([image] * 3), prompts=centres)


def test_scores_count_what_they_say():
    labels = np.zeros((40, 60), np.int32)
    labels[5:15, 5:15], labels[5:15, 15:25], labels[25:35, 40:50] = 1, 2, 3
    centres = np.float32([[10, 10], [10, 20], [30, 45]])
    made = masks.from_boxes(labels.shape, [[5, 5, 15, 25], [5, 15, 15, 25], [0, 0, 0, 0]])
    scores = prompt_scores(made, centres, labels=labels, boxes=[[4.5, 14.5, 14.5, 24.5]])
    assert scores["n_prompts"] == 3 and scores["n_masks"] == 2
    assert scores["n_own"] == 2 and scores["n_others"] == 1  # the first mask holds the second centre
    assert scores["covered"] == 200 and scores["contested"] == 100
    assert scores["area_median"] == 150
    assert scores["n_true"] == 3 and scores["iou_sum"] == pytest.approx(1.5) and scores["n_half"] == 2
    assert scores["n_small"] == 1 and scores["n_large"] == 0  # twice its cell is not more than twice
    assert scores["n_boxes"] == 1 and scores["box_iou_sum"] == pytest.approx(1)
    summary = prompt_summary([scores, scores])
    assert summary["masks_per_prompt"] == pytest.approx(2 / 3) and summary["others"] == 0.5
    assert summary["iou"] == pytest.approx(0.5) and summary["contested"] == 0.5
    assert summary["small"] == pytest.approx(1 / 3) and summary["large"] == 0
    assert np.isnan(prompt_summary([{k: v for k, v in scores.items() if k != "n_small"}])["small"])
    assert np.isnan(prompt_summary([prompt_scores(made, centres)])["iou"])


def test_centres_without_a_true_cell_are_left_out():
    labels = np.zeros((20, 20), np.int32)
    labels[5:15, 5:15] = 7
    made = masks.from_boxes(labels.shape, [[5, 5, 15, 15], [0, 0, 3, 3]])
    scores = prompt_scores(made, np.float32([[10, 10], [1, 1]]), labels=labels, of=[7, 0])
    assert scores["n_true"] == 1 and scores["iou_sum"] == 1


def test_no_masks_have_scores_too():
    nothing = masks.Masks.empty((9, 9), 0)
    scores = prompt_scores(nothing, np.zeros((0, 2)), labels=np.zeros((9, 9), int))
    assert scores["n_masks"] == scores["n_true"] == 0 and np.isnan(prompt_summary([scores])["iou"])


def test_a_centre_takes_the_smallest_mask_around_it():
    offered = masks.from_boxes((40, 40), [[0, 0, 30, 30], [5, 5, 15, 15], [20, 20, 28, 28]])
    centres = np.float32([[10, 10], [24, 24], [2, 29], [35, 35]])
    taken = assigned(offered, centres)
    assert taken.areas.tolist() == [100, 64, 900, 0]
    scores = prompt_scores(taken, centres, found=len(offered))
    assert scores["n_masks"] == 3 and scores["n_others"] == 1
