"""Correcting against clicking: what it takes, what it gives, and what overlooked errors do."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from cellcount.companion.plots import style

LABELS = {
    "click": "clicked from nothing", "correct": "first network corrected", "loop": "retrained, then corrected",
    "scattered": "as many errors at random places",
}  # fmt: skip
LOOKS = dict(zip(LABELS, style.MARKED, strict=False))


@style.styled
def effort_curves(table: pd.DataFrame, *, kinds: Mapping[str, str], speeds: Mapping[str, str]) -> Figure:
    """F1 of the trained network over the annotator's actions, and over minutes; one row of panels for each kind.

    Parameters
    ----------
    table : DataFrame of `studies.correcting.curve`
    kinds : dict of kind to title
    speeds : dict of the column of seconds to its name in the legend; the first is drawn filled, others hollow

    Returns
    -------
    Figure
    """
    shown = [kind for kind in kinds if (table.kind == kind).any()]
    figure = style.new_figure(height=0.9 + 2.4 * len(shown))
    panels = figure.subplots(len(shown), 2, sharey="row", squeeze=False)
    for kind, (left, right) in zip(shown, panels):
        lines = table[table.kind == kind].sort_values("k")
        start = lines[lines.strategy == "none"].f1
        for strategy, group in lines[lines.strategy != "none"].groupby("strategy", sort=False):
            look = dict(LOOKS[strategy])
            colour = look["color"]
            left.plot(group.actions, group.f1, label=LABELS[strategy], **look)
            left.fill_between(group.actions, group.f1_low, group.f1_high, color=colour, alpha=0.12, linewidth=0)
            for n, (speed, name) in enumerate(speeds.items()):
                if n and strategy == "click":
                    continue
                hollow = {"markerfacecolor": "white", "alpha": 0.75, "linewidth": 1} if n else {}
                label = f"{LABELS[strategy]}, {name}" if n else None
                right.plot(group[speed] / 60, group.f1, label=label, **look | hollow)
        low = lines[lines.strategy != "none"].f1_low.min()
        for axes in (left, right):
            if start.iloc[0] > low - 0.2:  # farther down, it would press the curves together
                axes.axhline(start.iloc[0], color=style.GRAY, linewidth=0.9, label="first network")
            else:
                text = f"first network: {start.iloc[0]:.2f}"
                axes.annotate(text, (0.98, 0.04), xycoords="axes fraction", ha="right", fontsize=8.5, color=style.GRAY)
            axes.set_xlim(0, None)
        left.set(title=kinds[kind], ylabel="F1 on other fields", xlabel="clicks, additions, deletions and moves")
        right.set_xlabel("minutes")
    return style.legend(figure)


@style.styled
def correction_cost(table: pd.DataFrame, *, speeds: Mapping[str, str], even: Mapping[str, float]) -> Figure:
    """Time of correcting over that of clicking, against the F1 of what is corrected.

    Parameters
    ----------
    table : DataFrame of `studies.correcting.rounds`
    speeds : dict of column to label
    even : dict of column to the F1 at which both take the same time, in the simplest case

    Returns
    -------
    Figure
    """
    xlabel = "F1 of the prediction that is corrected"
    figure, axes = style.plot(xlabel=xlabel, ylabel="time of correcting / of clicking", yscale="log")
    for (speed, label), colour, marker in zip(speeds.items(), style.CYCLE, style.MARKERS):
        axes.plot(table.before_f1, table[speed], marker, color=colour, markersize=4.5, alpha=0.8, label=label)
        axes.axvline(even[speed], color=colour, linewidth=0.9, linestyle=style.DASHES[1])
    axes.axhline(1, color=style.GRAY, linewidth=0.9)
    style.log_labels(axes.yaxis, full=3)
    axes.legend()
    return figure


@style.styled
def overlooked_errors(table: pd.DataFrame) -> Figure:
    """F1, and error of the count, of networks trained on corrections in which errors were overlooked.

    Parameters
    ----------
    table : DataFrame of `studies.correcting.left_over`

    Returns
    -------
    Figure
    """
    figure = style.new_figure(height=2.9)
    panels = figure.subplots(1, 2)
    names = {"correct": "the network's own errors, overlooked", "scattered": LABELS["scattered"]}
    for axes, column in zip(panels, ("f1", "count_error")):
        for strategy, group in table.sort_values("overlooked").groupby("strategy", sort=False):
            look = LOOKS[strategy]
            axes.plot(group.overlooked, group[column], label=names[strategy], **look)
            if column == "f1":
                band = {"color": look["color"], "alpha": 0.12, "linewidth": 0}
                axes.fill_between(group.overlooked, group.f1_low, group.f1_high, **band)
        axes.set_xlabel("share of errors that is overlooked")
        axes.xaxis.set_major_formatter(PercentFormatter(1, 0))
    panels[0].set_ylabel("F1 on other fields")
    panels[1].set_ylabel("counted / true − 1")
    panels[1].axhline(0, color=style.GRAY, linewidth=0.9)
    panels[1].yaxis.set_major_formatter(PercentFormatter(1, 0))
    panels[1].set_ylim(*np.array([-0.05, 0.05]) + [min(0, table.count_error.min()), max(0, table.count_error.max())])
    return style.legend(figure)
