"""Figures of the chapters on classical filters, on the foreground, and on prompts."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from cellcount.companion.plots import style
from cellcount.data import phantom
from cellcount.methods import prompts
from cellcount.methods.prompts import UNWANTED, WANTED
from cellcount.types import Prediction, Sample

Maps = Mapping[str, np.ndarray]  # title to (H, W)
POINTS = {WANTED: ("positive point", "o", style.BLUE), UNWANTED: ("negative point", "X", style.VERMILLION)}


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
    figure, places = style.panels(len(maps) + 1, 4, window[2] / window[3], room=0.3)
    style.view(places[0], sample, title="image", window=window)
    _mark_inside(places[0], sample.points, "annotated", window)
    for axes, (title, answer) in zip(places[1:], maps.items()):
        _show_map(axes, answer, title, window)
        if title in predictions:
            _mark_inside(axes, predictions[title].points, "predicted", window)
    return style.legend(figure)


def _mark_inside(axes, points, kind, window):
    """Mark the points (N, 2) inside the window: marks beyond the border of a panel would be drawn on its neighbour."""
    y, x, height, width = window
    inside = ((points >= [y, x]) & (points <= [y + height - 1, x + width - 1])).all(axis=1)
    style.mark(axes, points[inside], kind, size=4, width=0.9, label=f"{kind} cell")


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


@style.styled
def prompt_types(
    seed: int = 7, *, radius: float = prompts.CROSS_RADIUS, half: float = prompts.HALF_SIDE, spacing: float = 32.0
) -> Figure:
    """Each type of prompt on the same simulated cells.

    Parameters
    ----------
    seed : int
        Of the field.
    radius, half, spacing : float, px
        Of the X, the box, and the grid.

    Returns
    -------
    Figure
    """
    sample = phantom.simulate(seed, (160, 160), confluence=0.6, dead=0.0)
    middle = int(np.linalg.norm(sample.points - 80, axis=1).argmin())
    empty = np.argwhere(sample.labels == 0)
    background = empty[np.random.default_rng(seed).choice(len(empty), min(4, len(empty)), replace=False)]
    cell, cells = sample.labels == middle + 1, sample.labels > 0
    drawn = {  # title: prompts, and what they ask for
        "automatic grid": (prompts.grid(sample.image.shape, spacing), None),
        "point": (prompts.point(sample.points).take([middle]), cell),
        "point and X": (prompts.cross(sample.points, radius).take([middle]), cell),
        "box": (prompts.box(sample.points, half).take([middle]), cell),
        "neighbours as negatives": (prompts.neighbours(sample.points).take([middle]), cell),
        "foreground": (prompts.foreground(sample.points, background), cells),
    }
    figure, places = style.panels(len(drawn), 3, room=0.1)
    for axes, (title, (made, asked)) in zip(places, drawn.items(), strict=True):
        style.view(axes, sample, title=title)
        if asked is not None:
            style.tint(axes, asked, style.SKY, 0.25)
        _draw(axes, made)
    places[0].plot([], [], color=style.YELLOW, linewidth=2, label="box")
    places[0].plot([], [], "s", color=style.SKY + "88", markersize=8, label="what is asked for")
    return style.legend(figure)


def _draw(axes, made):
    for sign, (label, marker, colour) in POINTS.items():
        at = made.points[made.signs == sign]
        look = {"markersize": 5.5 if len(at) < 40 else 4, "markeredgecolor": "white", "markeredgewidth": 0.7}
        axes.plot(at[:, 1], at[:, 0], marker, color=colour, label=label, gid=f"sign {sign}", **look)
    if made.boxes is not None:
        style.boxes(axes, made.boxes, color=style.YELLOW, linewidth=1.8, path_effects=style.halo(1.8))


@style.styled
def foreground_masks(
    sample: Sample, prompt: prompts.Prompts, answers: Maps, *, truth: np.ndarray | None = None
) -> Figure:
    """A foreground prompt and the masks that come of it.

    Parameters
    ----------
    sample : Sample
    prompt : Prompts
        One, from `prompts.foreground`.
    answers : dict of title to (H, W) bool
    truth : (H, W) bool, optional
        Its outline is drawn in black.

    Returns
    -------
    Figure
    """
    height, width = sample.image.shape
    figure, places = style.panels(len(answers) + 1, 3, height / width, room=0.1)
    style.view(places[0], sample, title="image and prompt")
    _draw(places[0], prompt)
    for axes, (title, answer) in zip(places[1:], answers.items()):
        style.show(axes, sample.image, title=title)
        style.tint(axes, answer, style.ORANGE)
        if truth is not None:
            axes.contour(truth, [0.5], colors=style.BLACK, linewidths=0.8)
    return figure
