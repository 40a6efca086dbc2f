"""Plots of sweeps: scores against a method's parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter

from cellcount.companion.plots.style import CYCLE, DASHES, GRAY, LIGHT, MARKERS, WIDTH, new_figure, styled

if TYPE_CHECKING:
    import pandas as pd


@styled
def sweep_lines(
    frame: pd.DataFrame,
    *,
    x: str,
    lines: str,
    panels: Mapping[str, str],
    xlabel: str,
    marks: Mapping[str, float] | None = None,
    logarithmic: bool = True,
    columns: int = 3,
) -> Figure:
    """Small multiples: one panel a quantity, one line a value of another parameter.

    Parameters
    ----------
    frame : DataFrame
        One row for each pair of parameters, with columns `x`, `lines` and those of `panels`.
    x, lines : str
        Texts in `lines` are named in the legend as they are, numbers with the column's name.
    panels : dict of column to title
    xlabel : str
    marks : dict of label to x, optional
        Vertical lines, named in the legend.
    logarithmic : bool
        The x axis.
    columns : int

    Returns
    -------
    Figure
    """
    rows = -(-len(panels) // columns)
    figure = new_figure(WIDTH, 1.75 * rows + 0.5)
    places = figure.subplots(rows, columns, squeeze=False)
    styles = list(zip(CYCLE * 2, DASHES * 4, MARKERS * 2))
    for axes, (column, title) in zip(places.flat, panels.items()):
        for (value, group), (colour, dash, marker) in zip(frame.groupby(lines, sort=True), styles):
            group = group.sort_values(x)
            label = value if isinstance(value, str) else f"{lines.replace('_', ' ')} {value:g}"
            axes.plot(group[x], group[column], color=colour, linestyle=dash, marker=marker, markersize=3, label=label)
        for (label, value), dash in zip((marks or {}).items(), DASHES):
            axes.axvline(value, color=GRAY, linewidth=0.9, linestyle=dash, label=label, zorder=0)
        axes.set(title=title, xscale="log" if logarithmic else "linear", ylim=(0, None))
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.grid(axis="y", color=LIGHT, linewidth=0.6)
        if logarithmic:
            _few_ticks(axes, frame[x])
    for axes in places.flat[len(panels) :]:
        axes.set_axis_off()
    last = len(panels) - columns * (rows - 1)  # panels in the last row; a label of the figure would lie on the legend
    places[-1, (last - 1) // 2].set_xlabel(xlabel)
    handles, labels = places.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower left", ncols=4)
    return figure


def _few_ticks(axes, values):
    """Plain numbers at the powers of two and their halves that lie in the range."""
    low, high = float(np.min(values)), float(np.max(values))
    ticks = [factor * 2.0**power for power in range(-1, 11) for factor in (1, 1.5)]
    shown = [tick for tick in ticks if low * 0.95 <= tick <= high * 1.05]
    shown = shown[:: max(1, -(-len(shown) // 4))]
    axes.set_xticks(shown, [f"{tick:g}" for tick in shown])
    axes.xaxis.set_minor_formatter(NullFormatter())


@styled
def heatmap(
    frame: pd.DataFrame, *, x: str, y: str, value: str, xlabel: str, ylabel: str, label: str, width: float = WIDTH
) -> Figure:
    """A table of one score over two parameters, with its numbers; the best is framed.

    Parameters
    ----------
    frame : DataFrame
        One row for each pair, with columns `x`, `y` and `value` in [0, 1].
    x, y, value : str
    xlabel, ylabel, label : str
    width : float, inch

    Returns
    -------
    Figure
    """
    table = frame.pivot_table(index=y, columns=x, values=value)
    cells = table.to_numpy()
    figure = new_figure(width, 0.42 * len(table) + 1.1)
    axes = figure.add_subplot(xlabel=xlabel, ylabel=ylabel)
    image = axes.imshow(cells, cmap="cividis", vmin=0, vmax=1, aspect="auto", interpolation="nearest")
    for (row, column), number in np.ndenumerate(cells):
        if np.isfinite(number):
            colour = "black" if number > 0.55 else "white"
            axes.text(column, row, f"{number:.2f}"[1:] if number < 1 else "1", ha="center", va="center", color=colour,
                      fontsize=7.5)  # fmt: skip
    if np.isfinite(cells).any():
        row, column = np.unravel_index(np.nanargmax(cells), cells.shape)
        edges = [column - 0.5, column + 0.5], [row - 0.5, row + 0.5]
        (left, right), (top, bottom) = edges
        axes.plot([left, right, right, left, left], [top, top, bottom, bottom, top], color="#D55E00", linewidth=2)
    axes.set_xticks(range(len(table.columns)), [f"{name:g}" for name in table.columns])
    axes.set_yticks(range(len(table)), [f"{name:g}" for name in table.index])
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    figure.colorbar(image, ax=axes, label=label, fraction=0.05)
    return figure


@styled
def iou_curve(scores: Mapping[str, tuple[np.ndarray, np.ndarray]], *, ylabel: str = "average precision") -> Figure:
    """Average precision over the overlap that counts as found; one line for each method.

    Parameters
    ----------
    scores : dict of label to (thresholds, values), each (K,) float in [0, 1]
    ylabel : str

    Returns
    -------
    Figure
    """
    figure = new_figure(WIDTH, 2.8)
    axes = figure.add_subplot(xlabel="least intersection over union of a pair", ylabel=ylabel, ylim=(0, 1.02))
    for (label, (thresholds, values)), colour, dash, marker in zip(scores.items(), CYCLE * 2, DASHES * 4, MARKERS * 2):
        axes.plot(thresholds, values, color=colour, linestyle=dash, marker=marker, markersize=4, label=label)
    axes.grid(axis="y", color=LIGHT, linewidth=0.6)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper")
    return figure
