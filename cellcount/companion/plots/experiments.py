"""Plots of the controlled experiments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from numpy.typing import ArrayLike

from cellcount.companion.plots.style import BLACK, BLUE, CYCLE, DASHES, GRAY, LIGHT, MARKERS, WIDTH, new_figure, styled

if TYPE_CHECKING:
    import pandas as pd

    from cellcount.metrics import IntervalRule

FAULT_AXES = {
    "missing": "share of cells without a click",
    "missing in crowds": "the same in the densest crowd, rising from 0",
    "off by": "standard deviation of a click (px)",
    "dead as live": "share of dead cells clicked as live",
}


@styled
def design_dots(table: pd.DataFrame, *, base: str) -> Figure:
    """F1 near annotations of each variant of a design, beside the base: a dot at its own threshold, a ring at the best.

    Parameters
    ----------
    table : DataFrame of `studies.design.table`
    base : str
        Name of the variant that the others are compared with: the vertical line.

    Returns
    -------
    Figure
    """
    figure = new_figure(WIDTH, 0.9 + 0.24 * len(table))
    axes = figure.add_subplot(xlabel="F1 near annotations, pooled")
    rows = np.arange(len(table))[::-1]
    axes.hlines(rows, table.f1_near, table.f1_best, color=LIGHT, linewidth=2)
    axes.plot(table.f1_near, rows, "o", color=BLUE, label="at its own threshold")
    axes.plot(table.f1_best, rows, "o", color=GRAY, fillstyle="none", label="at the best threshold for these fields")
    own = table.loc[table.variant == base, "f1_near"]
    if len(own):
        axes.axvline(own.iloc[0], color=BLACK, linewidth=0.8, linestyle=DASHES[1])
    axes.set_yticks(rows, table.variant)
    axes.tick_params(axis="y", length=0)
    axes.spines.left.set_visible(False)
    axes.set_ylim(-0.7, len(table) - 0.3)
    axes.grid(axis="x", color=LIGHT, linewidth=0.6)
    figure.legend(loc="outside upper right", ncols=2)
    return figure


@styled
def seconds_bars(table: pd.DataFrame) -> Figure:
    """Seconds of each part of the benchmark on one field, as bars on a logarithmic axis, the fastest first.

    Parameters
    ----------
    table : DataFrame with `seconds` and the parts' names as its index

    Returns
    -------
    Figure
    """
    table = table.sort_values("seconds", ascending=False)
    figure = new_figure(WIDTH, 0.7 + 0.3 * len(table))
    axes = figure.add_subplot(xlabel="seconds for one field", xscale="log")
    ours = [name.startswith("CellNet") for name in table.index]
    bars = axes.barh(table.index, table.seconds, color=[BLUE if own else GRAY for own in ours])
    axes.bar_label(bars, [f"{value:.3g} s" for value in table.seconds], padding=3)
    axes.margins(x=0.15)
    axes.tick_params(axis="y", length=0)
    return figure


@styled
def fault_curves(table: pd.DataFrame, *, value: str = "f1") -> Figure:
    """F1, or the relative error of the count, over the level of each fault of the annotation; one panel a fault.

    Parameters
    ----------
    table : DataFrame of `studies.labels.table`
    value : "f1" or "count_error"

    Returns
    -------
    Figure
    """
    faults = [fault for fault in FAULT_AXES if (table.fault == fault).any()]
    figure = new_figure(WIDTH, 1.0 + 2.2 * ((len(faults) + 1) // 2))
    panels = figure.subplots((len(faults) + 1) // 2, 2, sharey=True, squeeze=False).ravel()
    for panel in panels[len(faults) :]:
        panel.set_visible(False)
    looks = [("none", "fixed", "nothing done"), ("none", "relative", "threshold follows the heights"),
             ("mended", "relative", "and clicks mended"), ("ignored", "relative", "and gaps ignored")]  # fmt: skip
    for panel, fault in zip(panels, faults):
        for (remedy, rule, label), colour, dash, marker in zip(looks, CYCLE, DASHES, MARKERS):
            lines = table[table.fault.isin([fault, "missing"]) & (table.remedy == remedy) & (table.rule == rule)]
            # Without a fault all panels begin at the same training.
            lines = lines[(lines.fault == fault) | (lines.level == 0)].sort_values("level")
            if not len(lines):
                continue
            panel.plot(
                lines.level, lines[value], color=colour, linestyle=dash, marker=marker, markersize=4, label=label
            )
            if value == "f1":
                panel.fill_between(lines.level, lines.f1_low, lines.f1_high, color=colour, alpha=0.12, linewidth=0)
        panel.set(title=fault, xlabel=FAULT_AXES[fault])
        panel.grid(axis="y", color=LIGHT, linewidth=0.6)
        if fault != "off by":
            panel.xaxis.set_major_formatter(PercentFormatter(1))
    if value == "count_error":
        panels[0].yaxis.set_major_formatter(PercentFormatter(1))
    for panel in panels[::2]:
        panel.set_ylabel("F1, pooled" if value == "f1" else "counted / true − 1")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=len(labels))
    return figure


@styled
def coverage(table: pd.DataFrame) -> Figure:
    """Coverage of intervals over what they promise, with 95 % intervals; one mark a group of fields.

    Parameters
    ----------
    table : DataFrame of `studies.intervals.table`

    Returns
    -------
    Figure
    """
    figure = new_figure(0.62 * WIDTH, 3.2)
    axes = figure.add_subplot(xlabel="promised coverage", ylabel="share of fields covered", ylim=(0, 1.02))
    ends = [table.level.min() - 0.05, 1.0]
    axes.plot(ends, ends, color=GRAY, linewidth=0.8)
    for i, (group, lines) in enumerate(table.groupby("group", sort=False)):
        errors = np.abs(lines[["low", "high"]].to_numpy().T - lines.coverage.to_numpy())
        label = {"test": "held-out fields of the same kind", "sheets": "closed sheets: another kind"}.get(group, group)
        axes.errorbar(
            lines.level + 0.006 * (i - 0.5), lines.coverage, errors, color=CYCLE[i], marker=MARKERS[i],
            linestyle="none", capsize=2.5, label=label,
        )  # fmt: skip
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1))
    axes.grid(color=LIGHT, linewidth=0.6)
    figure.legend(loc="outside upper left")
    return figure


@styled
def interval_ladder(true: ArrayLike, counts: ArrayLike, rule: IntervalRule, *, most: int = 60) -> Figure:
    """Intervals of single fields beside their true counts, in the order of the true count.

    Parameters
    ----------
    true, counts : (K,) float, cells per field
    rule : IntervalRule
    most : int
        At most so many fields, evenly taken.

    Returns
    -------
    Figure
    """
    true, counts = np.asarray(true, float), np.asarray(counts, float)
    order = np.argsort(true, kind="stable")
    order = order[np.linspace(0, len(order) - 1, min(most, len(order))).astype(int)]
    true, counts = true[order], counts[order]
    low, high = np.transpose([rule.interval(count) for count in counts])
    hit = (true >= low) & (true <= high)
    figure = new_figure(WIDTH, 2.9)
    axes = figure.add_subplot(xlabel="held-out field, by its true number of cells", ylabel="cells")
    x = np.arange(len(true))
    axes.vlines(x, low, high, color=GRAY, linewidth=2.2, alpha=0.6, label=f"{rule.level:.0%} interval")
    axes.plot(x[hit], true[hit], "o", color=BLUE, markersize=3.5, label="true number, covered")
    axes.plot(x[~hit], true[~hit], "X", color=CYCLE[1], markersize=6, label="true number, not covered")
    axes.set(ylim=(0, None), xticks=[])
    axes.grid(axis="y", color=LIGHT, linewidth=0.6)
    axes.legend(loc="upper left")
    return figure


@styled
def crowding_curve(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """Precision and recall over the number of neighbours.

    Parameters
    ----------
    tables : dict of label to DataFrame of `metrics.by_crowding`

    Returns
    -------
    Figure
    """
    figure = new_figure(WIDTH, 2.8)
    panels = figure.subplots(1, 2, sharey=True)
    for panel, score in zip(panels, ("precision", "recall")):
        for (label, table), colour, marker, dash in zip(tables.items(), CYCLE, MARKERS, DASHES):
            middle = (table.low + table.high) / 2
            panel.plot(middle, table[score], color=colour, marker=marker, linestyle=dash, markersize=4, label=label)
        panel.set(title=score, xlabel="cells within 60 px", ylim=(0, 1.02))
        panel.grid(axis="y", color=LIGHT, linewidth=0.6)
    panels[0].legend(loc="lower left")
    return figure


@styled
def draws(frame: pd.DataFrame, published: Sequence[tuple[str, int, float]]) -> Figure:
    """Mean absolute error of each draw of a counting benchmark, with what others have published.

    Parameters
    ----------
    frame : DataFrame of `studies.vgg.bench`
    published : list of (label, training images, cells)

    Returns
    -------
    Figure
    """
    whole = frame[frame.reading == "whole"]
    error = (whole["count"] - whole.n_true).abs().groupby([whole.train, whole.draw]).mean()
    figure = new_figure(0.75 * WIDTH, 3.2)
    axes = figure.add_subplot(xlabel="training images", ylabel="mean absolute error (cells)")
    for i, (train, values) in enumerate(error.groupby(level=0)):
        axes.plot(np.full(len(values), train) - 0.7, values, "o", color=BLUE, alpha=0.5, markersize=4,
                  label=None if i else "CellNet, one draw")  # fmt: skip
        axes.plot(
            train, values.mean(), "D", color=BLUE, markersize=7, label=None if i else "CellNet, mean of the draws"
        )
    for (label, train, value), marker in zip(published, "s^vP*Xh"):
        axes.plot(train + 0.7, value, marker, color=CYCLE[1], fillstyle="none", linestyle="none", label=label)
    axes.set_ylim(0, None)
    axes.grid(axis="y", color=LIGHT, linewidth=0.6)
    figure.legend(loc="outside right center")
    return figure
