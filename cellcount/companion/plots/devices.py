"""A counting device against counts of images: single fields of flasks, and the agreement of pairs of counts."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from cellcount.companion.plots import style


@style.styled
def fields_against_device(fields: pd.DataFrame, calibration: tuple) -> Figure:
    """Counts of single fields, flask by flask, beside what the device's count of the flask lets expect.

    Parameters
    ----------
    fields : DataFrame
        One line for each field, with columns flask, objective, cells (on the area of a field at 20x), warned and
        device (cells per size of the flask).
    calibration : `studies.device.Calibration` of these fields

    Returns
    -------
    Figure
        Flasks from left to right by the device's count.
    """
    names = fields.groupby("flask").device.first().sort_values()
    labels = {"xlabel": "flask (device: 10⁵ cells per size of the flask)", "ylabel": "cells on the area of a 20x field"}
    figure, axes = style.plot(height=3.6, **labels)
    for place, expected in enumerate(calibration.factor * names):
        spread = expected * np.exp([-calibration.deviation, calibration.deviation])
        label = "expected from the device, one factor" if not place else None
        axes.fill_between([place - 0.4, place + 0.4], *spread, color=style.LIGHT, linewidth=0,
                          label="± one standard deviation of the flasks" if not place else None)  # fmt: skip
        axes.hlines(expected, place - 0.4, place + 0.4, color=style.BLACK, linewidth=1.6, label=label)
    groups = zip((-0.22, 0.0, 0.22), style.MARKED, fields.groupby("objective"), strict=False)
    for shift, look, (objective, own) in groups:
        places = own.flask.map(names.index.get_loc) + shift + 0.025 * (own.groupby("flask").cumcount() % 3 - 1)
        look = look | {"linestyle": "none", "alpha": 0.85, "markeredgewidth": 1.0}
        for warned, fill in ((False, "full"), (True, "none")):
            if (chosen := own.warned == warned).any():
                label = f"field at {objective}x" + ", with a warning" * warned
                axes.plot(places[chosen], own.cells[chosen], fillstyle=fill, label=label, **look)
    axes.set_xticks(range(len(names)), [f"{flask}\n({device / 1e5:.1f})" for flask, device in names.items()])
    axes.tick_params(axis="x", length=0)
    axes.set_ylim(0, None)
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
