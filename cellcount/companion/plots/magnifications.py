"""Counts over the size of an image, and per area at several objectives."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator, PercentFormatter, ScalarFormatter

from cellcount.companion.plots import style

FOUND = {"auto": "size found", "as it is": "image as it is"}


@style.styled
def count_by_size(tables: dict[str, pd.DataFrame]) -> Figure:
    """Count over the true number, and F1, over the size of the image; a band of 10 % around the truth.

    Parameters
    ----------
    tables : dict of "auto" and "as it is" to DataFrame of `studies.magnification.table`

    Returns
    -------
    Figure
    """
    figure, (counts, scores) = style.subplots(3.0, 1, 2, sharex=True)
    counts.axhspan(0.9, 1.1, color=style.BEYOND, alpha=0.5, linewidth=0, label="± 10 %")
    for (name, table), look in zip(tables.items(), style.MARKED, strict=False):
        counts.plot(table.factor, table.ratio, label=FOUND[name], **look)
        scores.plot(table.factor, table.f1, label=FOUND[name], **look)
    counts.set(xscale="log", ylabel="count / true number", ylim=(0, None))
    counts.yaxis.set_major_formatter(PercentFormatter(1))
    scores.set(ylabel="F1, pooled", ylim=(0, 1.02))
    ticks = sorted(next(iter(tables.values())).factor)
    for axes in (counts, scores):
        axes.set_xlabel("size of the image, relative to the training images")
        axes.xaxis.set_major_locator(FixedLocator(ticks[:: 1 + (len(ticks) > 6)]))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(ScalarFormatter())
    scores.legend(loc="lower right")
    counts.legend(loc="lower right")
    return figure


@style.styled
def density_by_objective(rows: pd.DataFrame) -> Figure:
    """Cells on the area of a field at 20x, for each field of several flasks, by objective; crosses have a warning.

    Parameters
    ----------
    rows : DataFrame of `studies.magnification.measure_thesis`

    Returns
    -------
    Figure
    """
    titles = [found for found in FOUND if found in set(rows.found)]
    figure, all_axes = style.subplots(3.2, 1, len(titles), sharey=True, squeeze=False)
    flasks, objectives = sorted(rows.flask.astype(str).unique()), sorted(rows.objective.unique())
    looks = dict(zip(objectives, style.MARKED, strict=False))
    for axes, found in zip(all_axes[0], titles, strict=True):
        part = rows[rows.found == found]
        for i, objective in enumerate(objectives):
            own = part[part.objective == objective]
            x = np.array([flasks.index(str(flask)) for flask in own.flask]) + 0.22 * (i - (len(objectives) - 1) / 2)
            warned = own.warned.astype(bool)
            look = {"color": looks[objective]["color"], "linestyle": "none"}
            axes.plot(x[~warned], own.density[~warned], marker=looks[objective]["marker"], markersize=4,
                      label=None if warned.all() else f"{objective}x", **look)  # fmt: skip
            axes.plot(x[warned], own.density[warned], marker="x", markersize=5, **look,
                      label=f"{objective}x, with a warning" if warned.any() else None)  # fmt: skip
        axes.set(title=FOUND[found], xlabel="flask", xticks=range(len(flasks)), xticklabels=flasks, ylim=(0, None))
        axes.set_ylabel("cells on the area of a field at 20x")
    handles = {label: one for axes in all_axes[0] for one, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=4)
    return figure
