"""Figures of prompts and of their masks show what they were given."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from cellcount.companion import plots
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
    box = next(line for line in panels["box"].lines if line.get_gid() == "box")
    assert np.ptp(box.get_xdata()) == pytest.approx(40) and np.ptp(box.get_ydata()) == pytest.approx(40)


def test_prompt_answers_draws_one_prompt_and_every_mask(sample):
    masks = from_boxes(sample.image.shape, [[10, 50, 31, 71], [30, 10, 51, 31]])
    labels = np.zeros(sample.image.shape, np.int32)
    labels[12:30, 52:70] = 5
    answers = {
        "grid": (prompts.grid(sample.image.shape, 30), masks),
        "X": (prompts.cross(sample.points, 8), masks),
        "box": (prompts.box(sample.points, 10), masks.take([0, -1])),
    }
    figure = plots.prompt_answers(replace(sample, labels=labels), answers, 0, of=5, window=(0, 0, 60, 90))
    assert len(figure.axes) == 4 and not figure.axes[3].axison  # two in a row

    def drawn(axes, gid):
        return [line for line in axes.lines if line.get_gid() == gid]

    for axes, others in zip(figure.axes, (1, 1, 0)):
        (own,) = drawn(axes, "own")
        assert own.get_xdata().min() == pytest.approx(50, abs=0.3) and own.get_ydata().min() == pytest.approx(
            10, abs=0.3
        )
        assert len(drawn(axes, "other")) == others and len(drawn(axes, "true")) == 1
    assert [len(drawn(axes, "sign 1")[0].get_xdata()) for axes in figure.axes[:3]] == [6, 1, 0]
    assert len(drawn(figure.axes[1], "sign -1")[0].get_xdata()) == 4
    assert [len(drawn(axes, "box")) for axes in figure.axes[:3]] == [0, 0, 1]


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
    assert [axes.get_title(loc="left") for axes in figure.axes[1:3]] == ["a", "b"]
    layer = figure.axes[1].images[1].get_array()
    assert layer[50, 10, 3] > 0 and layer[10, 50, 3] == 0
