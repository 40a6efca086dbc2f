"""Figures of the chapters on classical filters and on the foreground."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from cellcount.companion.plots.style import (
    BLACK,
    CYCLE,
    DASHES,
    GRAY,
    LIGHT,
    MARKERS,
    SKY,
    VERMILLION,
    WIDTH,
    YELLOW,
    mark,
    new_figure,
    scale_bar,
    show,
    styled,
)
from cellcount.types import Prediction, Sample

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = 4


@styled
def answers(
    sample: Sample,
    maps: Mapping[str, np.ndarray],
    predictions: Mapping[str, Prediction],
    *,
    window: tuple[int, int, int, int],
) -> Figure:
    """What steps of a filter, or several filters, answer to one part of a field, and the cells that are made of that.

    Parameters
    ----------
    sample : Sample with points
    maps : dict of title to (H, W) float
        Each is shown from its 1st to its 99.5th percentile.
    predictions : dict of title to Prediction
        For those of the maps that cells are made of.
    window : (y, x, height, width) px

    Returns
    -------
    Figure
        The first panel is the image with its annotated cells.
    """
    _, _, height, width = window
    columns = min(COLUMNS, len(maps) + 1)
    rows = -(-(len(maps) + 1) // columns)
    figure = new_figure(WIDTH, rows * (WIDTH / columns * height / width + 0.25) + 0.3)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    show(panels[0], sample.image, title="image", window=window)
    mark(panels[0], _inside(sample.points, window), "annotated", size=4, width=0.9, label="annotated cell")
    scale_bar(panels[0], sample.pixel_size_um)
    for axes, (title, answer) in zip(panels[1:], maps.items()):
        low, high = np.quantile(answer, [0.01, 0.995])
        show(axes, answer, value_range=(low, max(high, low + 1e-9)), title=title, window=window)
        if title in predictions:
            found = _inside(predictions[title].points, window)
            mark(axes, found, "predicted", size=4, width=0.9, label="predicted cell")
    for axes in panels[len(maps) + 1 :]:
        axes.set_axis_off()
    named = dict(pair[::-1] for axes in panels for pair in zip(*axes.get_legend_handles_labels()))
    figure.legend(named.values(), named.keys(), loc="outside lower left", ncols=2)
    return figure


def _inside(points, window):
    """Those of (N, 2) points that the window shows, and no marks beyond its border."""
    y, x, height, width = window
    return points[((points >= [y, x]) & (points <= [y + height - 1, x + width - 1])).all(axis=1)]


@styled
def foregrounds(
    sample: Sample,
    maps: Mapping[str, np.ndarray],
    masks: Mapping[str, np.ndarray],
    truth: np.ndarray | None,
    *,
    window: tuple[int, int, int, int],
) -> Figure:
    """Maps above, and below what is right and wrong with the masks made of them.

    Parameters
    ----------
    sample : Sample
    maps : dict of title to (H, W) float
    masks : dict of the same titles to (H, W) bool
    truth : (H, W) bool or None
        None: nobody knows, and the masks are only tinted.
    window : (y, x, height, width) px

    Returns
    -------
    Figure
        The first column is the image, and below it the true foreground.
    """
    _, _, height, width = window
    columns = len(maps) + 1
    figure = new_figure(WIDTH, 2 * (WIDTH / columns * height / width + 0.25) + 0.3)
    panels = figure.subplots(2, columns)
    show(panels[0, 0], sample.image, title="image", window=window)
    scale_bar(panels[0, 0], sample.pixel_size_um)
    if truth is None:
        panels[1, 0].set_axis_off()
    else:
        _parts(panels[1, 0], sample.image, truth, truth, window, "true foreground")
    for (upper, lower), title in zip(panels.T[1:], maps):
        low, high = np.quantile(maps[title], [0.01, 0.995])
        show(upper, maps[title], value_range=(low, max(high, low + 1e-9)), title=title, window=window)
        _parts(lower, sample.image, masks[title], masks[title] if truth is None else truth, window, "mask")
    # Beside the colour, what is wrong is drawn stronger than what is right.
    labels = {SKY: "foreground"} if truth is None else {SKY: "found", VERMILLION: "false", YELLOW: "missed"}
    handles = [panels[0, 0].plot([], [], "s", color=colour, markersize=7)[0] for colour in labels]
    figure.legend(handles, labels.values(), loc="outside lower left", ncols=len(labels))
    return figure


def _parts(axes, image, mask, truth, window, title):
    """The image, tinted by what the mask gets right and wrong."""
    show(axes, image, title=title, window=window)
    layer = np.zeros((*image.shape, 4), np.float32)
    for part, colour, strength in (
        (mask & truth, SKY, 0.35),
        (mask & ~truth, VERMILLION, 0.75),
        (~mask & truth, YELLOW, 0.75),
    ):
        layer[part] = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)] + [strength]
    axes.imshow(layer, interpolation="nearest")


@styled
def error_by_density(
    lines: Mapping[str, Sequence[Mapping[str, float]]],
    *,
    unit: str = "relative",
    xlabel: str = "cells per 10,000 px, by tenth of the windows",
) -> Figure:
    """Error of a count in windows from sparse to dense.

    Parameters
    ----------
    lines : dict of label to list of dict, each as `cellcount.metrics.by_density` gives
        With densities in cells per px.
    unit : "relative" or "cells"
        Relative to the cells that there are, or in cells per window: where hardly any are, the first explodes.
    xlabel : str

    Returns
    -------
    Figure
    """
    relative = unit == "relative"
    label = "error of the count, relative" if relative else "error of the count, cells per window"
    figure = new_figure(WIDTH, 3.0)
    axes = figure.add_subplot(xlabel=xlabel, ylabel=label)
    axes.axhline(0, color=GRAY, linewidth=0.9)
    key = "relative" if relative else "error"
    for (name, groups), colour, dash, marker in zip(lines.items(), CYCLE, DASHES * 2, MARKERS):
        shown = [group for group in groups if np.isfinite(group[key])]
        x = [1e4 * group["density"] for group in shown]
        y = [group[key] for group in shown]
        axes.plot(x, y, color=colour, linestyle=dash, marker=marker, markersize=4.5, label=name)
    if relative:
        axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:+.0f} %" if value else "0")
    else:
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:+g}" if value else "0")
    axes.grid(axis="y", color=LIGHT, linewidth=0.6)
    axes.set_xlim(0, None)
    axes.legend()
    return figure


@styled
def area_against_device(fields: pd.DataFrame) -> Figure:
    """The share of each field that cells cover, over what the counting device says of its flask.

    Parameters
    ----------
    fields : DataFrame
        One line for each field, with columns flask, objective, covered and device (cells per size of the flask).

    Returns
    -------
    Figure
        Small marks are fields, by their objective; the large ones are the flasks, the mean of their fields.
    """
    figure = new_figure(WIDTH, 3.4)
    axes = figure.add_subplot(
        xlabel="counting device: cells in the flask over its size (10⁵)", ylabel="share of the field covered"
    )
    for (objective, group), colour, marker in zip(fields.groupby("objective"), CYCLE, MARKERS):
        axes.plot(
            group.device / 1e5, group.covered, linestyle="none", marker=marker, color=colour, markersize=4, alpha=0.7,
            label=f"field, {objective}x",
        )  # fmt: skip
    flasks = fields.groupby("flask").agg(
        device=("device", "first"), covered=("covered", "mean"), highest=("covered", "max")
    )
    axes.plot(
        flasks.device / 1e5, flasks.covered, linestyle="none", marker="o", fillstyle="none", color=BLACK,
        markersize=11, label="flask, mean of its fields",
    )  # fmt: skip
    for flask, line in flasks.iterrows():  # above all of its marks: those of full flasks stand side by side
        axes.annotate(
            f"{flask}", (line.device / 1e5, line.highest), (0, 8), textcoords="offset points", fontsize=8.5, ha="center"
        )
    axes.set(xlim=(0, None), ylim=(0, 1.12))
    axes.grid(axis="y", color=LIGHT, linewidth=0.6)
    figure.legend(loc="outside right upper")
    return figure
