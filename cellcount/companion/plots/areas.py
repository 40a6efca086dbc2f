"""Figures of the chapters on classical filters and on the foreground."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from cellcount.companion.plots import style
from cellcount.types import Prediction, Sample

if TYPE_CHECKING:
    import pandas as pd


@style.styled
def answers(
    sample: Sample,
    maps: Mapping[str, np.ndarray],
    predictions: Mapping[str, Prediction],
    *,
    window: style.Window,
) -> Figure:
    """Maps that filters make of one part of a field, and the cells that are found in them.

    Parameters
    ----------
    sample : Sample with points
    maps : dict of title to (H, W) float
        Each is shown from its 1st to its 99.5th percentile.
    predictions : dict of title to Prediction
        Of those maps in which cells are sought.
    window : (y, x, height, width) px

    Returns
    -------
    Figure
        The first panel is the image with its annotated cells.
    """
    figure, places = style.panels(len(maps) + 1, 4, window[2] / window[3], room=0.3)
    style.show(places[0], sample.image, title="image", window=window)
    style.scale_bar(places[0], sample.pixel_size_um)
    _mark_inside(places[0], sample.points, "annotated", window)
    for axes, (title, answer) in zip(places[1:], maps.items()):
        _show_map(axes, answer, title, window)
        if title in predictions:
            _mark_inside(axes, predictions[title].points, "predicted", window)
    style.legend(figure)
    return figure


def _mark_inside(axes, points, kind, window):
    """Mark the points (N, 2) inside the window: marks beyond the border of a panel would be drawn on its neighbour."""
    y, x, height, width = window
    inside = ((points >= [y, x]) & (points <= [y + height - 1, x + width - 1])).all(axis=1)
    style.mark(axes, points[inside], kind, size=4, width=0.9, label=f"{kind} cell")


def _show_map(axes, values, title, window):
    low, high = np.quantile(values, [0.01, 0.995])
    style.show(axes, values, value_range=(low, max(high, low + 1e-9)), title=title, window=window)


@style.styled
def foregrounds(
    sample: Sample,
    maps: Mapping[str, np.ndarray],
    masks: Mapping[str, np.ndarray],
    truth: np.ndarray | None,
    *,
    window: style.Window,
) -> Figure:
    """Maps, and below each the right and the wrong parts of its mask.

    Parameters
    ----------
    sample : Sample
    maps : dict of title to (H, W) float
    masks : dict of the same titles to (H, W) bool
    truth : (H, W) bool or None
        None if it is not known; then the masks are only tinted.
    window : (y, x, height, width) px

    Returns
    -------
    Figure
        The first column is the image, and below it the true foreground.
    """
    figure, places = style.panels(2 * len(maps) + 2, len(maps) + 1, window[2] / window[3], room=0.3)
    upper, lower = places[: len(maps) + 1], places[len(maps) + 1 :]
    style.show(upper[0], sample.image, title="image", window=window)
    style.scale_bar(upper[0], sample.pixel_size_um)
    for axes, (title, values) in zip(upper[1:], maps.items()):
        _show_map(axes, values, title, window)
    shown = {"true foreground": truth} | {title: masks[title] for title in maps}
    for axes, (title, mask) in zip(lower, shown.items()):
        if mask is None:
            axes.set_axis_off()
            continue
        style.show(axes, sample.image, title=title if mask is truth else "mask", window=window)
        known = mask if truth is None else truth
        style.tint(axes, mask & known, style.SKY, 0.35)
        style.tint(axes, mask & ~known, style.VERMILLION, 0.75)  # errors are tinted more strongly
        style.tint(axes, ~mask & known, style.YELLOW, 0.75)
    labels = {"foreground": style.SKY}
    if truth is not None:
        labels = {"found": style.SKY, "false": style.VERMILLION, "missed": style.YELLOW}
    for label, colour in labels.items():
        upper[0].plot([], [], "s", color=colour, markersize=7, label=label)
    style.legend(figure)
    return figure


@style.styled
def area_against_device(fields: pd.DataFrame) -> Figure:
    """The share of each field that cells cover, over the counting device's count of its flask.

    Parameters
    ----------
    fields : DataFrame
        One line for each field, with columns flask, objective, covered and device (cells per size of the flask).

    Returns
    -------
    Figure
        Small marks are fields, by their objective; large ones are flasks, the mean of their fields.
    """
    figure = style.new_figure(height=3.4)
    axes = figure.add_subplot(
        xlabel="counting device: cells in the flask over its size (10⁵)", ylabel="share of the field covered"
    )
    axes.set_prop_cycle(style.MARKED)
    for objective, group in fields.groupby("objective"):
        axes.plot(group.device / 1e5, group.covered, linestyle="none", alpha=0.7, label=f"field, {objective}x")
    flasks = fields.groupby("flask").agg(
        device=("device", "first"), covered=("covered", "mean"), highest=("covered", "max")
    )
    ring = {"color": style.BLACK, "markersize": 11, "fillstyle": "none"}
    axes.plot(flasks.device / 1e5, flasks.covered, "o", label="flask, mean of its fields", **ring)
    for flask, line in flasks.iterrows():  # above all marks of the flask: full flasks are close to each other
        at = (line.device / 1e5, line.highest)
        axes.annotate(f"{flask}", at, (0, 8), textcoords="offset points", fontsize=8.5, ha="center")
    axes.set(xlim=(0, None), ylim=(0, 1.12))
    style.legend(figure, "outside right upper")
    return figure
