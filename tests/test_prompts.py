"""Prompts: where each type puts its points, and what a window leaves of them."""

import numpy as np
import pytest

from cellcount.errors import DataError, ParameterError
from cellcount.methods import prompts
from cellcount.methods.prompts import NO_POINT, UNWANTED, WANTED

CENTRES = np.float32([[10, 40], [30, 44], [90, 100]])  # the first two are neighbours


def test_grid_covers_the_image_evenly():
    made = prompts.grid((64, 100), spacing=32)
    assert len(made) == 2 * 4 and made.kind == "grid"
    assert (made.signs == WANTED).all()
    np.testing.assert_allclose(np.unique(made.centres[:, 0]), [15.5, 47.5])
    np.testing.assert_allclose(np.unique(made.centres[:, 1]), [12, 37, 62, 87])


def test_point_is_the_centre():
    made = prompts.point(CENTRES)
    np.testing.assert_array_equal(made.points[:, 0], CENTRES)
    assert made.signs.tolist() == [[WANTED]] * 3 and made.boxes is None


def test_cross_has_four_negatives_on_the_diagonals():
    made = prompts.cross(CENTRES, radius=12)
    assert made.signs.tolist() == [[WANTED] + [UNWANTED] * 4] * 3
    arms = made.points[:, 1:] - CENTRES[:, None]
    np.testing.assert_allclose(np.linalg.norm(arms, axis=2), 12, rtol=1e-6)
    np.testing.assert_allclose(np.abs(arms[..., 0]), np.abs(arms[..., 1]), rtol=1e-5)
    assert len({tuple(np.sign(arm)) for arm in arms[0]}) == 4


def test_box_is_a_square_around_the_centre():
    made = prompts.box(CENTRES, half=25)
    assert made.boxes[0].tolist() == [-15, 15, 35, 65]
    assert made.points.shape == (3, 0, 2)


def test_drawn_boxes_keep_their_shape():
    made = prompts.drawn([[10, 20, 30, 80]])
    assert made.centres.tolist() == [[20, 50]] and made.boxes.tolist() == [[10, 20, 30, 80]]


def test_neighbours_are_the_close_centres_and_never_oneself():
    made = prompts.neighbours(CENTRES, within=60)
    assert made.signs.tolist() == [[1, -1, 0], [1, -1, 0], [1, 0, 0]]
    assert made.points[0, 1].tolist() == CENTRES[1].tolist() and made.points[1, 1].tolist() == CENTRES[0].tolist()


def test_neighbours_of_twins_and_of_a_single_cell():
    twins = prompts.neighbours(np.float32([[5, 5], [5, 5], [9, 9]]), nearest=2)
    assert (twins.signs[:, 1:] == UNWANTED).all()
    assert sorted(map(tuple, twins.points[2, 1:])) == [(5, 5), (5, 5)]
    assert prompts.neighbours(CENTRES[:1]).signs.tolist() == [[WANTED]]


def test_neighbours_are_the_nearest_ones():
    line = np.float32([[0, x] for x in (0, 10, 21, 33, 46)])
    made = prompts.neighbours(line, nearest=2, within=100)
    assert sorted(made.points[1, 1:, 1]) == [0, 21]


@pytest.mark.parametrize(("wanted", "cells", "empty"), [("cells", 1, -1), ("background", -1, 1)])
def test_foreground_is_one_prompt_with_opposite_signs(wanted, cells, empty):
    made = prompts.foreground(CENTRES, [[70, 10]], wanted=wanted)
    assert len(made) == 1
    assert made.signs.tolist() == [[cells] * 3 + [empty]]
    assert made.points[0, 3].tolist() == [70, 10]


def test_a_window_moves_points_and_forgets_those_off_it():
    made = prompts.cross(CENTRES, radius=12).take([0]).in_window((5, 25, 35, 95))
    assert made.points[0, 0].tolist() == [5, 5]
    assert made.signs.tolist() == [[WANTED, NO_POINT, NO_POINT, NO_POINT, UNWANTED]]
    boxes = prompts.box(CENTRES, half=25).in_window((5, 25, 35, 95)).boxes
    assert boxes[0].tolist() == [0, 0, 19, 30]


def test_take_keeps_rows_together():
    made = prompts.box(CENTRES, half=5).take(np.array([2, 0]))
    assert made.centres.tolist() == CENTRES[[2, 0]].tolist() and made.boxes[0].tolist() == [85, 95, 95, 105]


def test_no_centres_make_no_prompts():
    for make in prompts.MAKERS.values():
        assert len(make([])) == 0
    assert prompts.foreground([], []).signs.shape == (1, 0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: prompts.cross(CENTRES, radius=0), "radius=0"),
        (lambda: prompts.box(CENTRES, half=-1), "half=-1"),
        (lambda: prompts.grid((9, 9), spacing=0), "spacing=0"),
        (lambda: prompts.neighbours(CENTRES, nearest=0), "nearest=0"),
        (lambda: prompts.foreground(CENTRES, [], wanted="both"), "wanted='both'"),
    ],
)
def test_impossible_sizes_are_refused(call, message):
    with pytest.raises(ParameterError, match=message):
        call()


def test_points_of_another_shape_are_refused():
    with pytest.raises(DataError, match="centres"):
        prompts.point(np.zeros((3, 3)))
