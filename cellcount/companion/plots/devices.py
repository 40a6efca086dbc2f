"""A counting device against counts of images: flasks with their intervals, and the agreement of pairs of counts."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from cellcount.companion.plots import style


@style.styled
def flasks_against_device(table: pd.DataFrame, factor: float) -> Figure:
    """Mean count of each flask's fields over the device's count, with intervals by the spread between the fields.

    Parameters
    ----------
    table : DataFrame
        One line for each flask and objective, with columns flask, objective, mean and sampling (cells on the area of a
        field at 20x) and device (cells per size of the flask).
    factor : float
        Between both; its line is drawn.

    Returns
    -------
    Figure
    """
    labels = {"xlabel": "counting device: cells in the flask over its size (10⁵)", "xscale": "log", "yscale": "log"}
    figure, axes = style.plot(height=3.6, cycle=style.MARKED, ylabel="cells per field (area at 20x)", **labels)
    ends = np.array([table.device.min() * 0.8, table.device.max() * 1.2]) / 1e5
    axes.plot(ends, factor * 1e5 * ends, color=style.GRAY, linewidth=0.9, linestyle="-", marker="", label="one factor")
    axes.set_prop_cycle(style.MARKED)
    for shift, (objective, own) in zip((1.0, 1.02, 0.98), table.groupby("objective", sort=False)):
        reach = own.sampling.fillna(0).clip(upper=0.95 * own["mean"])
        look = {"linestyle": "none", "capsize": 2.5, "elinewidth": 1.1, "label": f"mean of fields at {objective}x"}
        axes.errorbar(own.device / 1e5 * shift, own["mean"], reach, **look)
    for flask, own in table.groupby("flask"):
        top = (own["mean"] + own.sampling.fillna(0)).max()
        place = {"xytext": (0, 4), "textcoords": "offset points", "ha": "center", "fontsize": 8.5}
        axes.annotate(f"{flask}", (own.device.iloc[0] / 1e5, top), **place)
    for axis in (axes.xaxis, axes.yaxis):
        style.log_labels(axis)
    return style.legend(figure, "outside right upper")


@style.styled
def limits_of_agreement(pairs: pd.DataFrame, found: tuple) -> Figure:
    """The ratio of two counts over their mean, with bias and 95 % limits (Bland & Altman 1986), on logarithmic axes.

    Parameters
    ----------
    pairs : DataFrame with columns ratio and mean (cells)
    found : `studies.device.Agreement` of these pairs

    Returns
    -------
    Figure
    """
    labels = {"xlabel": "geometric mean of both counts (10⁶ cells per flask)", "xscale": "log", "yscale": "log"}
    figure, axes = style.plot(height=3.4, ylabel="CellNet (published) over device", **labels)
    for name, label in (("bias", "bias"), ("low", "95 % limits of agreement"), ("high", "95 % limits of agreement")):
        value, low, high = (getattr(found, key) for key in (name, f"{name}_low", f"{name}_high"))
        look = {"color": style.VERMILLION, "linestyle": style.DASHES[0 if name == "bias" else 1], "linewidth": 1.2}
        axes.axhline(value, label=label, **look)
        axes.axhspan(low, high, color=style.VERMILLION, alpha=0.12, linewidth=0)
    axes.axhline(1, color=style.GRAY, linewidth=0.8, label="equal")
    axes.plot(pairs["mean"] / 1e6, pairs.ratio, "o", color=style.BLUE, markersize=3.5, alpha=0.7, label="one flask")
    for axis in (axes.xaxis, axes.yaxis):
        style.log_labels(axis, full=3)
    return style.legend(figure, "outside upper left")
