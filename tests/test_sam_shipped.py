"""Masks of the bundled small SAM, compared with the true cells of fields that it was not trained on."""

import numpy as np
import pytest

from cellcount.companion.studies.prompt_scores import prompt_scores, prompt_summary
from cellcount.data import phantom
from cellcount.methods import prompts, sam
from cellcount.methods.promptable import promptable
from cellcount.methods.sam.small import SHIPPED


def clicks_on(sample, seed):
    """Clicks of an annotator who overlooks nothing, (N, 2), and the label of the cell that each stands for, (N,)."""
    clicks = phantom.annotate(sample, seed, missed=0, missed_in_dense=0, dead_as_live=0)
    return clicks.points, clicks.meta["clicked"] + 1


@pytest.fixture(scope="module")
def field():
    return phantom.load("test", fields=1, size=(256, 256))[0]


def scored(samples):
    """Summary of each type of prompt over fields, and of the fixed square: at cells and at clicks."""
    rows = {}
    for number, sample in enumerate(samples):
        session = sam.Session(sample.image, model="small", device="cpu", progress=False)
        square = promptable("square").open(sample.image)
        boxes, labels = prompts.true_boxes(sample.labels)
        cells = np.arange(1, len(sample.points) + 1)
        clicks, clicked = clicks_on(sample, number)
        exact, at_clicks = prompts.point(sample.points), prompts.point(clicks)
        fitting = prompts.drawn(boxes[np.searchsorted(labels, cells)])
        found = {
            "point": (session.segment(exact), sample.points, cells),
            "neighbours": (session.segment(prompts.neighbours(sample.points)), sample.points, cells),
            "box": (session.segment(fitting), sample.points, cells),
            "square": (square(exact), sample.points, cells),
            "click": (session.segment(at_clicks), clicks, clicked),
            "square at click": (square(at_clicks), clicks, clicked),
        }
        for kind, (masks, points, of) in found.items():
            rows.setdefault(kind, []).append(prompt_scores(masks, points, labels=sample.labels, of=of))
    return {kind: prompt_summary(parts) for kind, parts in rows.items()}


@pytest.fixture(scope="module")
def scores():
    """Over the four test fields."""
    return scored(phantom.load("test", size=(384, 384)))


def test_it_is_small_enough_to_ship():
    assert SHIPPED.stat().st_size < 16e6


def test_prompts_beat_the_fixed_square_on_a_field(field):
    found = scored([field])
    assert found["box"]["iou"] > found["point"]["iou"] > found["square"]["iou"]
    assert found["click"]["iou"] > found["square at click"]["iou"]


@pytest.mark.slow
def test_boxes_beat_points_and_points_beat_the_fixed_square(scores):
    assert scores["box"]["iou"] > scores["point"]["iou"] > scores["square"]["iou"]


@pytest.mark.slow
def test_points_beat_the_fixed_square_at_an_annotators_clicks_too(scores):
    assert scores["point"]["iou"] > scores["click"]["iou"] > scores["square at click"]["iou"]


@pytest.mark.slow
def test_naming_the_neighbours_keeps_masks_off_them(scores):
    assert scores["neighbours"]["others"] < scores["point"]["others"]


def test_a_negative_point_and_a_box_move_the_mask_the_right_way(field):
    sample = field
    session = sam.Session(sample.image, model="small", device="cpu", progress=False)
    masks = session.segment(prompts.point(sample.points))
    held = masks.holds(sample.points)
    for mask, other in held[held[:, 0] != held[:, 1]]:
        both = np.stack([sample.points[mask], sample.points[other]])[None]
        told = prompts.Prompts("told", sample.points[[mask]], both, np.array([[1, -1]], np.int8))
        y, x = np.rint(sample.points[other]).astype(int)
        assert not session.segment(told).full(0)[y, x], "a negative point lies on the mask"
    wide = session.segment(prompts.drawn([[100, 90, 130, 170]])).windows[0]
    high = session.segment(prompts.drawn([[90, 100, 170, 130]])).windows[0]
    assert wide[3] - wide[2] > wide[1] - wide[0] and high[1] - high[0] > high[3] - high[2]
