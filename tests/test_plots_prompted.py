"""Figures of prompts and of their masks show what they were given."""

import numpy as np
import pandas as pd
import pytest

from cellcount.companion import plots
from cellcount.companion.plots import style
from cellcount.methods import prompts
from cellcount.methods.masks import from_boxes
from cellcount.types import Sample


@pytest.fixture
def sample():
    points = np.float32([[20, 60], [40, 20]])
    return Sample("field", np.random.default_rng(0).uniform(0, 1, (60, 90)).astype(np.float32), points)


def test_prompt_types_draws_each_type_with_its_signs():
    figure = plots.prompt_types(radius=12, half=20)
    panels = {axes.get_title(loc="left").split()[-1]: axes for axes in figure.axes}
    assert list(panels) == ["grid", "point", "X", "box", "negatives", "foreground"]

    def drawn(kind, sign):
        return sum(len(line.get_xdata()) for line in panels[kind].lines if line.get_gid() == f"sign {sign}")

    assert drawn("point", 1) == 1 and drawn("point", -1) == 0
    assert drawn("X", 1) == 1 and drawn("X", -1) == 4
    assert drawn("grid", 1) == 25 and drawn("foreground", 1) > 5 and drawn("foreground", -1) == 4
    box = next(line for line in panels["box"].lines if line.get_color() == style.YELLOW)
    assert np.ptp(box.get_xdata()) == pytest.approx(40) and np.ptp(box.get_ydata()) == pytest.approx(40)


def test_mask_grid_outlines_masks_and_says_what_was_not_run(sample):
    masks = from_boxes(sample.image.shape, [[10, 50, 31, 71], [30, 10, 51, 31]])
    figure = plots.mask_grid(
        {"a": [(sample, masks)], "b": [(sample, None)]}, note="not run: weights", window=(0, 0, 60, 90)
    )
    above, below = figure.axes
    outlines = above.collections[0].get_segments()
    assert len(outlines) == 2 and outlines[0].min(axis=0) == pytest.approx([50, 10], abs=0.3)  # x, y
    assert [text.get_text() for text in below.texts] == ["not run: weights"] and not below.collections
    assert (above.get_ylabel(), below.get_ylabel()) == ("a", "b")
    dots = next(line for line in above.lines if line.get_gid() == "points")
    assert dots.get_xdata().tolist() == [60, 20] and dots.get_ydata().tolist() == [20, 40]


def test_prompt_sweep_has_a_curve_for_each_method_and_type():
    rows = pd.DataFrame(
        [
            {"type": kind, "size": size, "method": method, "score": 0.5, "others": 0.1}
            for kind in ("cross", "box") for size in (8, 12) for method in ("watershed", "sam small")
        ]
    )  # fmt: skip
    figure = plots.prompt_sweep(rows, defaults={"cross": 12.0})
    assert all(axes.get_title(loc="left") for axes in figure.axes[:2])
    assert [len(axes.lines) for axes in figure.axes] == [3, 2, 3, 2]


def test_foreground_masks_tints_each_answer(sample):
    made = prompts.foreground(sample.points, [[5, 5]])
    answer = np.zeros(sample.image.shape, bool)
    answer[30:, :45] = True
    figure = plots.foreground_masks(sample, made, {"a": answer, "b": ~answer}, truth=answer)
    assert [axes.get_title(loc="left") for axes in figure.axes[1:]] == ["a", "b"]
    layer = figure.axes[1].images[1].get_array()
    assert layer[50, 10, 3] > 0 and layer[10, 50, 3] == 0
