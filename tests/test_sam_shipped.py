"""What the shipped small SAM makes of prompts, against the truth of fields that it has not seen."""

import numpy as np
import pytest

from cellcount.data import phantom
from cellcount.methods import prompts, sam
from cellcount.methods.promptable import promptable
from cellcount.methods.sam.small import SHIPPED
from cellcount.metrics import prompt_scores, prompt_summary

pytestmark = pytest.mark.skipif(
    not SHIPPED.is_file(), reason="sam-small-phantom.safetensors is not trained yet: python workflow/train_sam.py"
)


@pytest.fixture(scope="module")
def scores():
    """Summary of each type of prompt over the four test fields, and of the fixed square."""
    rows = {}
    for sample in phantom.load("test", size=(384, 384)):
        session = sam.Session(sample.image, model="small", device="cpu", progress=False)
        cells = np.arange(1, len(sample.points) + 1)
        boxes, labels = prompts.true_boxes(sample.labels)
        asked = {
            "point": prompts.point(sample.points),
            "neighbours": prompts.neighbours(sample.points),
            "box": prompts.drawn(boxes[np.searchsorted(labels, cells)]),
        }
        found = {kind: session.segment(made) for kind, made in asked.items()}
        found["square"] = promptable("square").open(sample.image)(asked["point"])
        for kind, masks in found.items():
            rows.setdefault(kind, []).append(prompt_scores(masks, sample.points, labels=sample.labels))
    return {kind: prompt_summary(parts) for kind, parts in rows.items()}


def test_it_is_small_enough_to_ship():
    assert SHIPPED.stat().st_size < 16e6


def test_boxes_beat_points_and_points_beat_the_fixed_square(scores):
    assert scores["box"]["iou"] > scores["point"]["iou"] > scores["square"]["iou"]


def test_naming_the_neighbours_keeps_masks_off_them(scores):
    assert scores["neighbours"]["others"] < scores["point"]["others"]


def test_a_negative_point_and_a_box_move_the_mask_the_right_way():
    sample = phantom.load("test", fields=1, size=(256, 256))[0]
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
