"""Sweeps: scores against the parameters of a method, or the faults of an annotation, in several panels."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator, PercentFormatter

from cellcount.companion.plots import style

SIZES = {"cross": ("point and X", "radius of the X (px)"), "box": ("box", "half side of the box (px)")}  # title, axis
FAULTS = {
    "missing": "share of cells without a click",
    "missing in crowds": "the same in the densest crowd, rising from 0",
    "off by": "standard deviation of a click (px)",
    "dead as live": "share of dead cells clicked as live",
}
REMEDIES = {  # (remedy, rule of the threshold)
    ("none", "fixed"): "nothing done",
    ("none", "relative"): "threshold follows the heights",
    ("mended", "relative"): "and clicks mended",
    ("ignored", "relative"): "and gaps ignored",
}


@style.styled
def sweep_lines(
    frame: pd.DataFrame,
    *,
    x: str,
    lines: str,
    panels: Mapping[str, str],
    xlabel: str,
    marks: Mapping[str, float] | None = None,
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
        for (label, value), dash in zip((marks or {}).items(), style.DASHES):
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
def prompt_sweep(rows: pd.DataFrame, *, defaults: Mapping[str, float] | None = None) -> Figure:
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
            if kind in (defaults or {}):
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

    Parameters
    ----------
    table : DataFrame of `studies.label_faults.table`
    value : "f1" or "count_error"

    Returns
    -------
    Figure
    """
    faults = [fault for fault in FAULTS if (table.fault == fault).any()]
    rows = (len(faults) + 1) // 2
    figure, panels = style.subplots(1.0 + 2.2 * rows, rows, 2, sharey=True, squeeze=False)
    panels = panels.ravel()
    for fault, panel in zip(faults, panels):
        # Without a fault all panels begin at the same training.
        shown = table[(table.fault == fault) | ((table.fault == "missing") & (table.level == 0))].sort_values("level")
        panel.set_prop_cycle(style.MARKED)
        for (remedy, rule), label in REMEDIES.items():
            lines = shown[(shown.remedy == remedy) & (shown.rule == rule)]
            if len(lines):
                (line,) = panel.plot(lines.level, lines[value], label=label)
            if len(lines) and value == "f1":
                band = {"color": line.get_color(), "alpha": 0.12, "linewidth": 0}
                panel.fill_between(lines.level, lines.f1_low, lines.f1_high, **band)
        panel.set(title=fault, xlabel=FAULTS[fault])
        if fault != "off by":
            panel.xaxis.set_major_formatter(PercentFormatter(1))
    if value == "count_error":
        panels[0].yaxis.set_major_formatter(PercentFormatter(1))
    for panel in panels[::2]:
        panel.set_ylabel("F1, pooled" if value == "f1" else "counted / true − 1")
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
