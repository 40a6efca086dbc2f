"""Curves: scores, losses and errors over one quantity."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from cellcount.companion.plots import style
from cellcount.metrics import f1

READINGS = {"whole": "whole image", "near": "near annotations"}
PARTS = {  # of a detector's loss
    "loss": "sum", "loss_objectness": "objectness", "loss_rpn_box_reg": "box (1st stage)", "loss_classifier": "class",
    "loss_class": "class", "loss_box_reg": "box", "loss_box": "box", "loss_mask": "mask",
}  # fmt: skip


@style.styled
def tolerance_curve(rows: pd.DataFrame, *, tolerance: float) -> Figure:
    """F1 pooled over images, over the tolerance; one line for each method and reading.

    Parameters
    ----------
    rows : DataFrame of `cellcount.results.rows`, at several tolerances
    tolerance : float, px
        Marked with a vertical line.

    Returns
    -------
    Figure
    """
    whole = rows[rows.part == "all"].replace({"reading": READINGS})
    sums = whole.groupby(["method", "reading", "tolerance_px"], sort=False)[["tp", "fp", "fn"]].sum()
    scores = sums.assign(f1=[f1(*counts) for counts in sums.to_numpy()]).reset_index()
    figure, axes = style.plot()
    colours = style.CYCLE[: scores.method.nunique()]
    sns.lineplot(scores, x="tolerance_px", y="f1", hue="method", style="reading", palette=colours, ax=axes)
    axes.set(xlabel="tolerance (px)", ylabel="F1, pooled", xlim=(0, None), ylim=(0, 1.02))
    axes.legend(loc="lower right", ncols=2)
    _mark_x(axes, tolerance, f"{tolerance:.1f} px")
    return figure


def _mark_x(axes, x, text):
    """A vertical line with a text at its upper end."""
    axes.axvline(x, color=style.GRAY, linewidth=0.8)
    axes.annotate(f" {text}", (x, axes.get_ylim()[1]), color=style.GRAY, fontsize=8.5, va="top")


@style.styled
def loss_curve(
    losses: Mapping[str, Sequence[float] | tuple[Sequence[float], Sequence[float]]],
    *,
    ylabel: str = "loss",
    xlabel: str = "training step",
) -> Figure:
    """Loss over training, on a logarithmic scale.

    Parameters
    ----------
    losses : dict of label to (steps, values), each (K,) float; or to (K,) values, counted from 1
    xlabel, ylabel : str

    Returns
    -------
    Figure
    """
    figure, axes = style.plot(cycle=style.LINES, xlabel=xlabel, ylabel=ylabel, yscale="log")
    style.lines(axes, {label: one if isinstance(one, tuple) else _counted(one) for label, one in losses.items()})
    style.log_labels(axes.yaxis)
    return style.legend(figure, "outside right upper") if len(losses) > 1 else figure


def _counted(values):
    """1, 2, ... and the values (K,)."""
    return np.arange(1, len(values) + 1), values


def training_graph(curves: Mapping[str, Sequence[float]]) -> Figure:
    """The loss of a detector and its parts over the steps of training, as running means.

    Parameters
    ----------
    curves : dict of name to list of float
        As in a weights file; "loss" and its parts (`PARTS`) are drawn.

    Returns
    -------
    Figure
    """
    labels = PARTS | ({"loss_objectness": "objectness (1st stage)"} if "loss_rpn_box_reg" in curves else {})
    window = max(1, len(curves["loss"]) // 20)
    lines = {}
    for name in (name for name in curves if name in PARTS):
        smooth = np.convolve(curves[name], np.ones(window) / window, mode="valid")
        lines[labels[name]] = np.arange(len(smooth)) + (window + 1) / 2, smooth
    return loss_curve(lines)


@style.styled
def iou_curve(scores: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Figure:
    """Average precision over the least overlap of a match; one line for each method.

    Parameters
    ----------
    scores : dict of label to (thresholds, values), each (K,) float in [0, 1]

    Returns
    -------
    Figure
    """
    xlabel = "least intersection over union of a pair"
    figure, axes = style.plot(cycle=style.MARKED, xlabel=xlabel, ylabel="average precision", ylim=(0, 1.02))
    style.lines(axes, scores)
    return style.legend(figure, "outside right upper")


@style.styled
def confidence_ranks(groups: Mapping[str, np.ndarray], *, surest: int = 100, shares: Iterable[float] = ()) -> Figure:
    """Confidence of each detection of an image in falling order; one line for each network.

    Parameters
    ----------
    groups : dict of label to (N,) float, falling
    surest : int
        Marked by a vertical line: detections to its right are never returned.
    shares : iterable of float
        One for each group: the share of cells among the boxes of the second stage, marked by a dotted line.

    Returns
    -------
    Figure
    """
    figure, axes = style.plot(cycle=style.LINES, xlabel="rank of the detection", ylabel="confidence", ylim=(0, 1.02))
    style.lines(axes, {label: _counted(values) for label, values in groups.items()})
    for share, colour in zip(shares, style.CYCLE):
        axes.axhline(share, color=colour, linestyle=":", linewidth=1)
    _mark_x(axes, surest, f"the {surest} surest")
    axes.set_xlim(0, None)
    axes.legend(loc="upper right")
    return figure


@style.styled
def error_by_density(lines: Mapping[str, Sequence[Mapping[str, float]]], *, unit: str = "relative") -> Figure:
    """Error of a count in windows from sparse to dense.

    Parameters
    ----------
    lines : dict of label to list of dict, each as `cellcount.metrics.by_density` gives
        With densities in cells per px.
    unit : "relative" or "cells"
        Relative to the true cells, or in cells per window: the relative error is huge where there are hardly any.

    Returns
    -------
    Figure
    """
    key, text, form = ("relative", unit, "+.0%") if unit == "relative" else ("error", "cells per window", "+g")
    xlabel = "cells per 10,000 px, by tenth of the windows"
    figure, axes = style.plot(cycle=style.MARKED, xlabel=xlabel, ylabel=f"error of the count, {text}")
    axes.axhline(0, color=style.GRAY, linewidth=0.9)
    for label, groups in lines.items():
        shown = [(1e4 * group["density"], group[key]) for group in groups if np.isfinite(group[key])]
        axes.plot(*np.reshape(shown, (-1, 2)).T, label=label)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:{form}}" if value else "0")
    axes.set_xlim(0, None)
    axes.legend()
    return figure


@style.styled
def crowding_curve(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """Precision and recall over the number of neighbours.

    Parameters
    ----------
    tables : dict of label to DataFrame of `metrics.by_crowding`

    Returns
    -------
    Figure
    """
    figure, panels = style.subplots(2.8, 1, 2, sharey=True)
    for panel, score in zip(panels, ("precision", "recall")):
        panel.set_prop_cycle(style.MARKED)
        style.lines(panel, {label: ((one.low + one.high) / 2, one[score]) for label, one in tables.items()})
        panel.set(title=score, xlabel="cells within 60 px", ylim=(0, 1.02))
    panels[0].legend(loc="lower left")
    return figure
