"""Figures of the chapters on classical filters and on the foreground."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from cellcount.companion.plots import style
from cellcount.types import Prediction, Sample

Maps = Mapping[str, np.ndarray]  # title to (H, W)
RING = 14.0  # px, of a ring around a cell: its inside stays visible


@style.styled
def answers(sample: Sample, maps: Maps, predictions: Mapping[str, Prediction], *, window: style.Window) -> Figure:
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
    columns = 2 if len(maps) > 2 else 3  # large enough that the cells inside of the rings are seen
    figure, places = style.panels(len(maps) + 1, columns, window[2] / window[3], room=0.3)
    size = RING * 72 * style.WIDTH / columns / window[3]
    style.view(places[0], sample, title="image", window=window)
    _mark_inside(places[0], sample.points, "annotated", window, size)
    for axes, (title, answer) in zip(places[1:], maps.items()):
        _show_map(axes, answer, title, window)
        if title in predictions:
            _mark_inside(axes, predictions[title].points, "ring", window, size)
    return style.legend(figure)


def _mark_inside(axes, points, kind, window, size):
    """Mark the points (N, 2) inside the window: marks beyond the border of a panel would be drawn on its neighbour."""
    y, x, height, width = window
    inside = ((points >= [y, x]) & (points <= [y + height - 1, x + width - 1])).all(axis=1)
    label = "annotated cell" if kind == "annotated" else "found cell"
    style.mark(axes, points[inside], kind, size=size, width=1.1, label=label)


def _show_map(axes, values, title, window):
    low, high = np.quantile(values, [0.01, 0.995])
    style.show(axes, values, value_range=(low, max(high, low + 1e-9)), title=title, window=window)


@style.styled
def foregrounds(sample: Sample, maps: Maps, masks: Maps, truth: np.ndarray | None, *, window: style.Window) -> Figure:
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
    style.view(upper[0], sample, title="image", window=window)
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
    return style.legend(figure)
