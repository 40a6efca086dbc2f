"""Curves: scores, losses and errors over one quantity; and sweeps of a method's parameters or of faults."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator, NullLocator, PercentFormatter

from cellcount.companion.plots import style
from cellcount.metrics import f1

Curve = Sequence[float] | tuple[Sequence[float], Sequence[float]]  # values, or steps and values
READINGS = {"whole": "whole image", "near": "near annotations"}
PARTS = {  # of a detector's loss
    "loss": "sum", "loss_objectness": "objectness", "loss_rpn_box_reg": "box (1st stage)", "loss_classifier": "class",
    "loss_class": "class", "loss_box_reg": "box", "loss_box": "box", "loss_mask": "mask",
}  # fmt: skip
SIZES = {"cross": ("point and X", "radius of the X (px)"), "box": ("box", "half side of the box (px)")}  # title, axis
FAULTS = {  # title, x axis
    "missing": ("clicks missing anywhere", "share of cells without a click"),
    "missing in crowds": ("clicks missing in crowds", "the same in the densest crowd, rising from 0"),
    "off by": ("clicks beside the centre", "standard deviation of a click (px)"),
    "dead as live": ("dead cells clicked", "share of dead cells clicked as live"),
}
REMEDIES = {  # (remedy, rule of the threshold)
    ("none", "fixed"): "no remedy",
    ("none", "relative"): "threshold from the peaks' heights",
    ("mended", "relative"): "the same, and clicks corrected",
    ("ignored", "relative"): "the same, and gaps ignored",
}


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
    colours = style.of_methods(scores.method.unique())
    sns.lineplot(scores, x="tolerance_px", y="f1", hue="method", style="reading", palette=colours, ax=axes)
    axes.set(xlabel="tolerance (px)", ylabel="F1, pooled", xlim=(0, None), ylim=(0, 1.02))
    axes.legend(loc="lower right", ncols=2)
    _mark_x(axes, tolerance, f"{tolerance:g} px")
    return figure


def _mark_x(axes, x, text):
    """A vertical line with a text at its upper end."""
    axes.axvline(x, color=style.GRAY, linewidth=0.8)
    axes.annotate(f" {text}", (x, axes.get_ylim()[1]), color=style.GRAY, fontsize=8.5, va="top")


@style.styled
def loss_curve(losses: Mapping[str, Curve], *, ylabel: str = "loss", xlabel: str = "training step") -> Figure:
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
    figure, axes = style.plot(cycle=style.LINES, xlabel="rank of the detection", ylabel="confidence", ylim=(0, 1.12))
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


@style.styled
def sweep_lines(
    frame: pd.DataFrame, *, x: str, lines: str, panels: Mapping[str, str], xlabel: str, marks: Mapping[str, float] = {}
) -> Figure:
    """One panel for each quantity, one line for each value of another parameter, over a logarithmic axis.

    Parameters
    ----------
    frame : DataFrame
        One row for each pair of parameters, with columns `x`, `lines` and those of `panels`.
    x, lines : str
        In the legend, numbers in `lines` stand behind the column's name.
    panels : dict of column to title
    xlabel : str
    marks : dict of label to x, optional
        Vertical lines, named in the legend.

    Returns
    -------
    Figure
    """
    figure, places = style.panels(len(panels), 3, 0.64, room=0.5)
    frame = frame.sort_values([lines, x])
    if pd.api.types.is_numeric_dtype(frame[lines]):
        frame = frame.assign(**{lines: [f"{lines.replace('_', ' ')} {value:g}" for value in frame[lines]]})
    for axes, (column, title) in zip(places, panels.items()):
        _lines(axes, frame, x, column, lines)
        for (label, value), dash in zip(marks.items(), style.DASHES):
            axes.axvline(value, color=style.GRAY, linewidth=0.9, linestyle=dash, label=label, zorder=0)
        axes.set(title=title, xscale="log", ylim=(0, None))
        axes.yaxis.set_major_locator(MaxNLocator(4))
        style.log_labels(axes.xaxis, full=3)
    middle = (len(panels) - 1 + (len(panels) - 1) // 3 * 3) // 2  # of the last row; figure.supxlabel lies on the legend
    places[middle].set_xlabel(xlabel)
    return style.legend(figure)


def _lines(axes, frame, x, y, by):
    """One line with markers for each value of the column `by`."""
    axes.set_prop_cycle(style.MARKED)
    style.lines(axes, {label: (group[x], group[y]) for label, group in frame.groupby(by, sort=False)})


@style.styled
def prompt_sweep(rows: pd.DataFrame, *, defaults: Mapping[str, float] = {}) -> Figure:
    """Scores over the sizes of prompts: mean IoU above, masks on another cell's centre below.

    Parameters
    ----------
    rows : DataFrame
        One line for each `type`, `size` (px) and `method`, with `score` (mean IoU with the true cell, or with the
        drawn box) and `others` (share of masks that contain another centre).
    defaults : dict of type to float, px, optional
        Marked by a vertical line.

    Returns
    -------
    Figure
    """
    kinds = list(rows.type.unique())
    figure, panels = style.subplots(4.2, 2, len(kinds), sharey="row", sharex="col", squeeze=False)
    for kind, column in zip(kinds, panels.T):
        for axes, score in zip(column, ("score", "others")):
            _lines(axes, rows[rows.type == kind], "size", score, "method")
            axes.set_ylim(0, 1)
            if kind in defaults:
                axes.axvline(defaults[kind], color=style.GRAY, linewidth=0.8)
        title, xlabel = SIZES.get(kind, (kind, "px"))
        column[0].set_title(title)
        column[1].set_xlabel(xlabel)
    panels[0, 0].set_ylabel("mean IoU")
    panels[1, 0].set_ylabel("on another")
    return style.legend(figure)


@style.styled
def fault_curves(table: pd.DataFrame, *, value: str = "f1") -> Figure:
    """F1, or the relative error of the count, over the level of each fault of the annotation; one panel a fault.

    F1 is drawn on a logarithmic scale of 1 - F1, with its 95 % intervals, which a linear one would hide.

    Parameters
    ----------
    table : DataFrame of `studies.label_faults.table`
    value : "f1" or "count_error"

    Returns
    -------
    Figure
    """
    faults = [fault for fault in FAULTS if (table.fault == fault).any()]
    rows, scored = (len(faults) + 1) // 2, value == "f1"
    figure, panels = style.subplots(1.0 + 2.2 * rows, rows, 2, sharey=True, squeeze=False)
    panels = panels.ravel()
    for fault, panel in zip(faults, panels):
        # Without a fault all panels begin at the same training.
        shown = table[(table.fault == fault) | ((table.fault == "missing") & (table.level == 0))].sort_values("level")
        panel.set_prop_cycle(style.MARKED)
        for step, ((remedy, rule), label) in enumerate(REMEDIES.items()):
            lines = shown[(shown.remedy == remedy) & (shown.rule == rule)]
            if len(lines):
                x = lines.level + 0.012 * (step - 1) * shown.level.max()  # side by side, so that no bar hides another
                y = 1 - lines.f1 if scored else lines[value]
                reach = np.abs([1 - lines.f1_high - y, 1 - lines.f1_low - y]) if scored else None
                panel.errorbar(x, y, reach, label=label, capsize=2.5, elinewidth=1.2)
        title, xlabel = FAULTS[fault]
        panel.set(title=title, xlabel=xlabel)
        if fault != "off by":
            panel.xaxis.set_major_formatter(PercentFormatter(1))
    if scored:
        ticks = np.array([0.95, 0.9, 0.8, 0.6, 0.0])
        panels[0].set(yscale="log", ylim=(1.15, 0.045))
        panels[0].set_yticks(1 - ticks, [f"{tick:g}" for tick in ticks])
        panels[0].yaxis.set_minor_locator(NullLocator())
    else:
        panels[0].yaxis.set_major_formatter(PercentFormatter(1))
    for panel in panels[::2]:
        panel.set_ylabel("F1, pooled" if scored else "counted / true − 1")
    for panel in panels[len(faults) :]:
        panel.set_visible(False)
    return style.legend(figure, "outside upper left")


@style.styled
def heatmap(frame: pd.DataFrame, *, x: str, y: str, value: str, xlabel: str, ylabel: str, label: str) -> Figure:
    """A table of one score over two parameters, with its numbers; the best is framed.

    Parameters
    ----------
    frame : DataFrame
        One row for each pair, with columns `x`, `y` and `value` in [0, 1].
    x, y, value : str
    xlabel, ylabel, label : str

    Returns
    -------
    Figure
    """
    table = frame.pivot_table(index=y, columns=x, values=value)
    figure, axes = style.plot(height=0.42 * len(table) + 1.1)
    look = {"vmin": 0, "vmax": 1, "cmap": "cividis", "annot": True, "fmt": ".2f", "annot_kws": {"fontsize": 7.5}}
    sns.heatmap(table, ax=axes, cbar_kws={"label": label, "fraction": 0.05}, **look)
    if np.isfinite(table.to_numpy()).any():
        row, column = np.unravel_index(np.nanargmax(table), table.shape)
        axes.add_patch(Rectangle((column, row), 1, 1, fill=False, edgecolor=style.VERMILLION, linewidth=2))
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.tick_params(length=0)
    axes.tick_params(axis="y", rotation=0)
    return figure
