"""Dots and bars: values of single methods, variants, images or fields, with their intervals."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import ArrayLike
from scipy.spatial import cKDTree

from cellcount.companion.plots import style
from cellcount.companion.plots.curves import READINGS
from cellcount.metrics import IntervalRule
from cellcount.types import Sample


@style.styled
def score_dots(summary: pd.DataFrame) -> Figure:
    """Precision, recall, and F1 with its 95 % interval: one line for each method, one mark for each reading.

    Dots and not bars: a bar must begin at zero, and hides the lower half of the interval.

    Parameters
    ----------
    summary : DataFrame of `cellcount.results.summary`, at one tolerance

    Returns
    -------
    Figure
    """
    methods = list(dict.fromkeys(summary.method))
    figure, panels = style.subplots(1.15 + 0.42 * len(methods), 1, 3, sharey=True, width_ratios=[1, 1, 2])
    titles = {"precision": "precision", "recall": "recall", "f1": "F1, with 95 % interval"}
    for axes, (score, title) in zip(panels, titles.items()):
        for i, (reading, part) in enumerate(summary.groupby("reading", sort=False)):
            y = part.method.map(methods.index) + 0.22 * (i - (summary.reading.nunique() - 1) / 2)
            reach = [part.f1 - part.f1_low, part.f1_high - part.f1] if score == "f1" else None
            look = {"color": (style.BLACK, style.GRAY)[i % 2], "marker": style.MARKERS[i], "markersize": 4.5}
            look |= {"linestyle": "none", "capsize": 3, "elinewidth": 1.2, "label": READINGS.get(reading, reading)}
            axes.errorbar(part[score], y, xerr=reach, **look)
        axes.set(xlabel=title, xlim=(0, 1.02))
        _name_rows(axes, methods)
    return style.legend(figure)


def _name_rows(axes, names):
    """Names instead of numbers on the y axis, the first at the top, and a grid along x."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", visible=False)
    axes.grid(axis="x", visible=True)


@style.styled
def design_dots(table: pd.DataFrame, *, base: str) -> Figure:
    """F1 near annotations of each variant of a design: a dot at its own threshold, a ring at the best.

    Parameters
    ----------
    table : DataFrame of `studies.design.table`
    base : str
        Name of the variant that the others are compared with: the vertical line.

    Returns
    -------
    Figure
    """
    figure, axes = style.plot(height=0.9 + 0.24 * len(table), xlabel="F1 near annotations, pooled")
    rows = np.arange(len(table))
    axes.hlines(rows, table.f1_near, table.f1_best, color=style.LIGHT, linewidth=2)
    axes.plot(table.f1_near, rows, "o", color=style.BLUE, label="at its own threshold")
    best = "at the best threshold for these fields"
    axes.plot(table.f1_best, rows, "o", color=style.GRAY, fillstyle="none", label=best)
    for own in table.f1_near[table.variant == base]:
        axes.axvline(own, color=style.BLACK, linewidth=0.8, linestyle=style.DASHES[1])
    axes.spines.left.set_visible(False)
    _name_rows(axes, table.variant)
    return style.legend(figure, "outside upper right")


@style.styled
def seconds_bars(table: pd.DataFrame) -> Figure:
    """Seconds of each part of the benchmark on one field, as bars on a logarithmic axis, the fastest first.

    Parameters
    ----------
    table : DataFrame with `seconds`, perhaps `peak_mb`, and the parts' names as its index

    Returns
    -------
    Figure
        With `peak_mb` a second panel has the peak memory, in GB.
    """
    table = table.sort_values("seconds")
    shown = {"seconds": ("seconds for one field", 1.0, "{:.3g} s"), "peak_mb": ("peak memory (GB)", 1e3, "{:.1f} GB")}
    shown = {column: look for column, look in shown.items() if column in table}
    figure, panels = style.subplots(0.7 + 0.3 * len(table), 1, len(shown), sharey=True, squeeze=False)
    colours = [style.METHOD.get(name.split()[0].rstrip(",").lower(), style.GRAY) for name in table.index]
    for axes, (column, (label, unit, form)) in zip(panels[0], shown.items()):
        bars = axes.barh(range(len(table)), table[column] / unit, color=colours)
        axes.bar_label(bars, [form.format(value / unit) for value in table[column]], padding=3, fontsize=8.5)
        axes.set(xlabel=label, xscale="log" if column == "seconds" else "linear")
        axes.margins(x=0.25)
        _name_rows(axes, table.index)
    return figure


@style.styled
def coverage(table: pd.DataFrame) -> Figure:
    """Coverage of intervals over their level, with 95 % intervals; one mark for each group of fields.

    Parameters
    ----------
    table : DataFrame of `studies.interval_coverage.table`

    Returns
    -------
    Figure
    """
    labels = {"xlabel": "promised coverage", "ylabel": "share of fields covered", "ylim": (0, 1.02)}
    figure, axes = style.plot(0.62 * style.WIDTH, 3.2, style.MARKED, **labels)
    groups = {"test": "held-out fields of the same kind", "sheets": "closed sheets: another kind"}
    for shift, (group, lines) in zip((-0.003, 0.003), table.groupby("group", sort=False)):
        reach = np.abs(lines[["low", "high"]].to_numpy().T - lines.coverage.to_numpy())
        look = {"linestyle": "none", "capsize": 2.5, "label": groups.get(group, group)}
        axes.errorbar(lines.level + shift, lines.coverage, reach, **look)
    axes.axline((1, 1), slope=1, color=style.GRAY, linewidth=0.8)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1))
    return style.legend(figure, "outside upper left")


@style.styled
def interval_ladder(true: ArrayLike, counts: ArrayLike, rule: IntervalRule) -> Figure:
    """Intervals of single fields beside their true counts, in the order of the true count; of up to 60 fields.

    Parameters
    ----------
    true, counts : (K,) float, cells per field
    rule : IntervalRule

    Returns
    -------
    Figure
    """
    true, counts = np.asarray(true, float), np.asarray(counts, float)
    order = np.argsort(true, kind="stable")
    order = order[np.linspace(0, len(order) - 1, min(60, len(order))).astype(int)]
    true, x = true[order], np.arange(len(order))
    low, high = np.transpose([rule.interval(count) for count in counts[order]])
    hit = (true >= low) & (true <= high)
    figure, axes = style.plot(xlabel="held-out field, by its true number of cells", ylabel="cells")
    axes.vlines(x, low, high, color=style.GRAY, linewidth=2.2, alpha=0.6, label=f"{rule.level:.0%} interval")
    axes.plot(x[hit], true[hit], "o", color=style.BLUE, markersize=3.5, label="true number, covered")
    axes.plot(x[~hit], true[~hit], "X", color=style.VERMILLION, markersize=6, label="true number, not covered")
    axes.set(ylim=(0, None), xticks=[])
    axes.legend(loc="upper left")
    return figure


@style.styled
def draws(frames: Mapping[str, pd.DataFrame], published: Sequence[tuple[str, int, float]]) -> Figure:
    """Mean absolute error of each draw of a counting benchmark, below published values: one row for each line.

    Parameters
    ----------
    frames : dict of test images to DataFrame of `studies.counting_benchmarks.bench`
    published : list of (label, training images, cells)

    Returns
    -------
    Figure
        Published values from the largest to the smallest, then CellNet's draws and their mean.
    """
    named = [(f"{label}, N = {train}", [], value) for label, train, value in sorted(published, key=lambda one: -one[2])]
    for tested, frame in frames.items():
        whole = frame[frame.reading == "whole"]
        error = (whole["count"] - whole.n_true).abs().groupby([whole.train, whole.draw]).mean()
        for train, single in error.groupby(level="train"):
            named.append((f"CellNet {tested}, N = {train}", list(single), single.mean()))
    figure, axes = style.plot(height=0.8 + 0.26 * len(named), xlabel="mean absolute error (cells per image)")
    for row, (_, single, value) in enumerate(named):
        look = {"color": style.BLUE} if single else {"color": style.GRAY}
        axes.plot(single, [row] * len(single), "o", alpha=0.5, markersize=4, label="CellNet, one draw", **look)
        label = "CellNet, mean of draws" if single else "published"
        axes.plot(value, row, "D" if single else "s", markersize=6, label=label, **look)
    axes.set_xlim(0, None)
    _name_rows(axes, [name for name, *_ in named])
    handles, labels = axes.get_legend_handles_labels()
    shown = {label: handle for label, handle in zip(labels, handles) if len(handle.get_xdata())}
    axes.legend(shown.values(), shown, loc="lower left")
    return figure


@style.styled
def counts(true: ArrayLike, predicted: Mapping[str, ArrayLike]) -> Figure:
    """Counted against annotated cells, with the line of equality and a band of 10 % around it.

    Parameters
    ----------
    true : (K,) float, cells per image
    predicted : dict of method to (K,) float

    Returns
    -------
    Figure
    """
    labels = {"xlabel": "annotated cells", "ylabel": "counted cells", "aspect": "equal"}
    figure, axes = style.plot(4.6, 3.6, style.MARKED, **labels)
    top = 1.08 * max(1.0, np.max(true, initial=1.0), *(np.max(values, initial=1.0) for values in predicted.values()))
    axes.fill_between([0, top], [0, 0.9 * top], [0, 1.1 * top], color=style.LIGHT, linewidth=0, label="within 10 %")
    axes.axline((0, 0), slope=1, color=style.GRAY, linewidth=0.9, label="equal")
    for name, colour in style.of_methods(predicted).items():
        style.lines(axes, {name: (true, predicted[name])}, color=colour, linestyle="none", markersize=6)
    axes.set(xlim=(0, top), ylim=(0, top))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(5, integer=True))
    return style.legend(figure, "outside right upper")


@style.styled
def nearest_neighbours(samples: Sequence[Sample], known: Mapping[str, Sequence[float]] = {}) -> Figure:
    """Distance of each annotated cell to the next: the median and the middle half, one line for each image.

    Parameters
    ----------
    samples : list of Sample with at least two points each
    known : dict of image to (lower quartile, median, upper quartile) px
        Images whose points are not at hand.

    Returns
    -------
    Figure
        In px, with µm above where there are only samples, of the same pixel size.
    """
    distances = {sample.name: cKDTree(sample.points).query(sample.points, k=2)[0][:, 1] for sample in samples}
    quartiles = {name: np.quantile(values, [0.25, 0.5, 0.75]) for name, values in distances.items()} | dict(known)
    figure, axes = style.plot(height=0.75 + 0.27 * len(quartiles), xlabel="distance to the nearest other cell (px)")
    for row, (name, (low, middle, high)) in enumerate(quartiles.items()):
        colour = style.VERMILLION if name in known else style.BLUE
        axes.plot([low, high], [row, row], color=colour, linewidth=5, alpha=0.35, solid_capstyle="butt")
        axes.plot(middle, row, "o", color=colour)
        axes.annotate(f"{middle:.1f}", (high, row), (5, 0), textcoords="offset points", va="center", fontsize=8.5)
    axes.set_xlim(0, 1.15 * max(high for *_, high in quartiles.values()))
    _name_rows(axes, list(quartiles))
    axes.set_ylabel("image")
    sizes = {None if known else sample.pixel_size_um for sample in samples}
    if len(sizes) == 1 and None not in sizes:
        (size,) = sizes
        upper = axes.secondary_xaxis("top", functions=(lambda px: px * size, lambda um: um / size))
        upper.set_xlabel("(µm)", loc="right")
    return figure


@style.styled
def area_against_device(fields: pd.DataFrame) -> Figure:
    """The share of each field that cells cover, and its count, over the counting device's count of its flask.

    Parameters
    ----------
    fields : DataFrame
        One line for each field, with columns flask, objective, covered, device (cells per size of the flask), and
        perhaps counted (cells on the area of a field at 20x).

    Returns
    -------
    Figure
        Small marks are fields, by their objective; large ones are flasks, the mean of their fields.
    """
    shown = {"covered": "share of the field covered", "counted": "cells counted by CellNet"}
    shown = {column: label for column, label in shown.items() if column in fields}
    figure, panels = style.subplots(3.4, 1, len(shown), squeeze=False)
    ring = {"color": style.BLACK, "markersize": 11, "fillstyle": "none"}
    for axes, (column, label) in zip(panels[0], shown.items()):
        axes.set_prop_cycle(style.MARKED)
        for objective, group in fields.groupby("objective"):
            axes.plot(group.device / 1e5, group[column], linestyle="none", alpha=0.7, label=f"field, {objective}x")
        columns = {"device": ("device", "first"), "mean": (column, "mean"), "highest": (column, "max")}
        flasks = fields.groupby("flask").agg(**columns)
        axes.plot(flasks.device / 1e5, flasks["mean"], "o", label="flask, mean of its fields", **ring)
        for flask, line in flasks.iterrows():  # above all marks of the flask: full flasks are close to each other
            place = {"xytext": (0, 8), "textcoords": "offset points", "ha": "center"}
            axes.annotate(f"{flask}", (line.device / 1e5, line.highest), fontsize=8.5, **place)
        axes.set(xlim=(0, None), ylim=(0, 1.12 * fields[column].max()))
        axes.set(xlabel="device: cells in the flask over its size (10⁵)", ylabel=label)
    return style.legend(figure)
