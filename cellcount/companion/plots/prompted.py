"""Prompts, and the foregrounds that come of them."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from cellcount.companion.plots import style
from cellcount.data import phantom
from cellcount.methods import prompts
from cellcount.methods.prompts import UNWANTED, WANTED
from cellcount.types import Sample

POINTS = {WANTED: ("positive point", "o", style.BLUE), UNWANTED: ("negative point", "X", style.VERMILLION)}


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
    sample: Sample, prompt: prompts.Prompts, answers: Mapping[str, np.ndarray], *, truth: np.ndarray | None = None
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
