"""Audits: where windows are drawn, and how often and how narrowly their intervals cover the total."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator, PercentFormatter
from scipy import stats

from cellcount.companion.plots import style
from cellcount.types import Sample

LABELS = {
    "good": "good model", "half": "misses half", "double": "counts double", "none": "no model",
    "spots": "finds nothing in 4 % of windows", "dim": "finds a fifth in 4 % of windows",
}  # fmt: skip
LOOKS = dict(zip(LABELS, style.MARKED, strict=False))


@style.styled
def audit_windows(
    sample: Sample, boxes: Sequence[Sequence[int]], predicted: Sequence[int], drawn: Sequence[int]
) -> Figure:
    """A field with its windows, each with its predicted cells; those that were drawn are framed.

    Parameters
    ----------
    sample : Sample
    boxes : list of (y0, x0, y1, x1), px
        All windows of the field.
    predicted : list of int
        Predicted cells of each.
    drawn : list of int
        Numbers of the drawn windows.

    Returns
    -------
    Figure
    """
    figure, axes = style.micrograph(sample, width=0.75 * style.WIDTH)
    style.boxes(axes, np.subtract(boxes, 0.5), color=style.SKY, linewidth=0.7, alpha=0.8)
    inner = np.add(boxes, [1, 1, -2, -2])[list(drawn)]
    style.boxes(axes, inner, color=style.YELLOW, linewidth=2.2, path_effects=style.halo(2.2))
    for number, ((y0, x0, _, _), cells) in enumerate(zip(boxes, predicted, strict=True)):
        look = {"color": style.YELLOW if number in drawn else "white", "path_effects": style.halo(1.0), "fontsize": 8}
        axes.annotate(str(cells), (x0, y0), (3, -3), textcoords="offset points", va="top", **look)
    return figure


@style.styled
def audit_coverage(table: pd.DataFrame, *, level: float, precision: float) -> Figure:
    """Coverage of intervals, and half of their width over the total, over the number of drawn windows.

    A band has 95 % of the shares that as many audits give if the promise is kept.

    Parameters
    ----------
    table : DataFrame of `studies.audits.table`
        With windows of one size, and fixed numbers of them.
    level : float
        Promised coverage.
    precision : float
        Of the total, drawn as a line.

    Returns
    -------
    Figure
    """
    figure = style.new_figure(height=3.4)
    left, right = figure.subplots(1, 2)
    repeats = int(table.repeats.iloc[0])
    chance = np.array(stats.binom.interval(0.95, repeats, level)) / repeats
    left.axhspan(*chance, color=style.GRAY, alpha=0.15, linewidth=0)
    left.axhline(level, color=style.GRAY, linewidth=0.9)
    right.axhline(100 * precision, color=style.GRAY, linewidth=0.9)
    for model in (model for model in LABELS if (table.model == model).any()):
        lines = table[table.model == model].sort_values("windows")
        left.plot(lines.windows, lines.coverage, label=LABELS[model], **LOOKS[model])
        right.plot(lines.windows, 100 * lines.half, label=LABELS[model], **LOOKS[model])
    left.set(ylabel="audits with the total in the interval", ylim=(min(0.8, table.coverage.min() - 0.03), 1))
    left.yaxis.set(major_formatter=PercentFormatter(1, 0), major_locator=MultipleLocator(0.05))
    right.set(ylabel="half of the interval (% of the total)", yscale="log")
    style.log_labels(right.yaxis)
    for axes in (left, right):
        axes.set(xlabel="drawn windows", xscale="log")
        style.log_labels(axes.xaxis)
    return style.legend(figure)
