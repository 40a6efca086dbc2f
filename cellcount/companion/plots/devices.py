"""A counting device against counts of images: flasks with their intervals, and the agreement of pairs of counts."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from cellcount.companion.plots import style


@style.styled
def flasks_against_device(table: pd.DataFrame, factor: float) -> Figure:
    """Mean count of each flask's fields relative to the device's, with intervals by the spread between the fields.

    Parameters
    ----------
    table : DataFrame
        One line for each flask and objective, with columns flask, objective, mean and sampling (cells on the area of a
        field at 20x) and device (cells per size of the flask).
    factor : float
        Of the mean to the device's count, by which the ratio is divided.

    Returns
    -------
    Figure
        Flasks from left to right by the device's count.
    """
    names = table.groupby("flask").device.first().sort_values()
    labels = {"xlabel": "flask (device: 10⁵ cells per size of the flask)", "yscale": "log"}
    figure, axes = style.plot(height=3.4, cycle=style.MARKED, ylabel="images over device, one factor", **labels)
    axes.axhline(1, color=style.GRAY, linewidth=0.9)
    for shift, (objective, own) in zip((0.0, 0.2, -0.2), table.groupby("objective", sort=False)):
        places = np.array([names.index.get_loc(flask) for flask in own.flask]) + shift
        unit = factor * own.device
        reach = own.sampling.fillna(0).clip(upper=0.95 * own["mean"]) / unit
        look = {"linestyle": "none", "capsize": 2.5, "elinewidth": 1.1, "label": f"mean of fields at {objective}x"}
        axes.errorbar(places, own["mean"] / unit, reach, **look)
    axes.set_xticks(range(len(names)), [f"{flask}\n({device / 1e5:.1f})" for flask, device in names.items()])
    axes.tick_params(axis="x", length=0)
    style.log_labels(axes.yaxis)
    return style.legend(figure, "outside upper left")


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
