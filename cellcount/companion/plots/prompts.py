"""Figures of the chapters on SAM: the types of prompt, and the masks that come of them."""

from collections.abc import Mapping

import numpy as np
from matplotlib import patheffects
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from skimage.measure import find_contours

from cellcount.companion.plots import style
from cellcount.companion.plots.outlines import LEVEL
from cellcount.data import phantom
from cellcount.methods import prompts
from cellcount.methods.masks import Masks
from cellcount.methods.prompts import UNWANTED, WANTED, Prompts
from cellcount.types import Sample

POINTS = {WANTED: ("positive point", "o", style.BLUE), UNWANTED: ("negative point", "X", style.VERMILLION)}
PART = 112  # px, the side of what the schematic shows


@style.styled
def prompt_types(
    seed: int = 7, *, radius: float = prompts.CROSS_RADIUS, half: float = prompts.HALF_SIDE, spacing: float = 32.0
) -> Figure:
    """A schematic of each type of prompt on the outlines of the same simulated cells, with its lengths.

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
    y, x = centre = sample.points[middle]
    arm = radius * np.sqrt(0.5)
    node = prompts.grid(sample.image.shape, spacing).centres
    node = node[np.linalg.norm(node - centre, axis=1).argmin()]
    drawn = {  # title: prompts, whether all cells are asked for, (y, x) of a length's ends, its text
        "automatic grid": (prompts.grid(sample.image.shape, spacing), None, (node, node + [0, -spacing]), spacing),
        "point": (prompts.point(sample.points).take([middle]), False, None, 0),
        "point and X": (prompts.cross(sample.points, radius).take([middle]), False, (centre, centre + arm), radius),
        "box": (
            prompts.box(sample.points, half).take([middle]), False,
            ((y + half + 5, x - half), (y + half + 5, x + half)), 2 * half,
        ),
        "neighbours as negatives": (prompts.neighbours(sample.points).take([middle]), False, None, 0),
        "foreground": (prompts.foreground(sample.points, background), True, None, 0),
    }  # fmt: skip
    figure, places = style.panels(len(drawn), 3, room=0.3)
    top, left = np.clip(centre - PART / 2, 0, 160 - PART)
    for axes, (title, (made, every, ends, length)) in zip(places, drawn.items(), strict=True):
        asked = [] if every is None else range(len(sample.points)) if every else [middle]
        _cells(axes, sample.labels, asked)
        axes.set(xlim=(left, left + PART), ylim=(top + PART, top), xticks=[], yticks=[], title=title, aspect="equal")
        axes.grid(False)
        axes.spines[:].set_visible(True)
        if ends:
            (y0, x0), (y1, x1) = ends
            look = {"arrowstyle": "<->" if title == "box" else "-", "color": style.BLACK, "shrinkA": 0, "shrinkB": 0}
            axes.annotate("", (x1, y1), (x0, y0), arrowprops=look)
            at = (x1 + 3, y1 + 9) if title == "point and X" else ((x0 + x1) / 2, max(y0, y1) + 7)
            edge = [patheffects.withStroke(linewidth=3, foreground="white")]
            align = {"ha": "left" if title == "point and X" else "center", "va": "center"}
            axes.text(*at, f"{length:g} px", fontsize=9, path_effects=edge, **align)
        _draw(axes, made)
    places[0].plot([], [], "s", color=style.SKY, markersize=8, label="what is asked for")
    return style.legend(figure)


def _cells(axes, labels, asked):
    """Outlines of cells, labels (H, W) int; the labels i + 1 of the indices that are asked for are filled."""
    shapes, colours = [], []
    for i in range(labels.max(initial=0)):
        for line in find_contours(np.pad(labels == i + 1, 1), LEVEL):
            shapes.append(line[:, ::-1] - 1)
            colours.append(style.SKY if i in asked else style.LIGHT)
    axes.add_collection(PolyCollection(shapes, facecolors=colours, edgecolors=style.GRAY, linewidths=0.8, alpha=0.8))


def _draw(axes, made):
    for sign, (label, marker, colour) in POINTS.items():
        at = made.points[made.signs == sign]
        look = {"markersize": 6.5 if len(at) < 40 else 4, "markeredgecolor": "white", "markeredgewidth": 0.8}
        axes.plot(
            at[:, 1], at[:, 0], marker, color=colour, label=label if len(at) else None, gid=f"sign {sign}", **look
        )
    if made.boxes is not None:
        edge = [patheffects.withStroke(linewidth=3.6, foreground="white")]
        style.boxes(axes, made.boxes, color=style.BLUE, linewidth=2, label="box", gid="box", path_effects=edge)


@style.styled
def prompt_answers(
    sample: Sample, answers: Mapping[str, tuple[Prompts, Masks]], cell: int, *, of: int = 0, window: style.Window
) -> Figure:
    """The masks of all cells in a part of an image, and the prompt and the mask of one of them, a panel for each type.

    Parameters
    ----------
    sample : Sample with points
    answers : dict of title to (Prompts, Masks)
        Mask i is that of point i; it is drawn as it came, before overlaps are resolved. Prompt i is that of point i,
        except for a grid, which is drawn as a whole.
    cell : int
        Index of the point whose prompt is drawn.
    of : int
        Label of this cell in `sample.labels`, whose outline is drawn; 0 for none.
    window : (y, x, height, width) px

    Returns
    -------
    Figure
    """
    figure, places = style.panels(len(answers), 2, window[2] / window[3], room=0.35)
    y, x, height, width = window
    for axes, (title, (asked, masks)) in zip(places, answers.items()):
        style.show(axes, sample.image, title=title, window=window)
        for i in [*(i for i in range(len(masks)) if i != cell), cell]:
            look = {"color": style.SKY, "linewidth": 1.2, "gid": "other"}
            if i == cell:
                look = {"color": style.ORANGE, "linewidth": 2.2, "path_effects": style.halo(2.2), "gid": "own"}
            y0, _, x0, _ = masks.windows[i]
            for line in find_contours(np.pad(masks.crop(i), 1), LEVEL) if masks.crop(i).size else ():
                axes.plot(line[:, 1] + x0 - 1, line[:, 0] + y0 - 1, **look)
        if of and sample.labels is not None:
            for line in find_contours(np.pad(sample.labels == of, 1), LEVEL):
                look = {"color": "white", "linewidth": 1.2, "linestyle": (0, (3, 2)), "path_effects": style.halo(1.2)}
                axes.plot(line[:, 1] - 1, line[:, 0] - 1, gid="true", **look)
        _draw(axes, asked if asked.kind == "grid" else asked.take([cell]))
        axes.set(xlim=(x - 0.5, x + width - 0.5), ylim=(y + height - 0.5, y - 0.5))
    style.scale_bar(places[0], sample.pixel_size_um)
    names = {"mask of this prompt": (style.ORANGE, "-", 2.2), "masks of other cells": (style.SKY, "-", 1.2)}
    names |= {"true outline": (style.GRAY, (0, (3, 2)), 1.2)} if of and sample.labels is not None else {}
    for label, (colour, dashes, line_width) in names.items():
        places[0].plot([], [], color=colour, linestyle=dashes, linewidth=line_width, label=label)
    return style.legend(figure)


@style.styled
def foreground_masks(
    sample: Sample, prompt: Prompts, answers: Mapping[str, np.ndarray], *, truth: np.ndarray | None = None
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
    figure, places = style.panels(len(answers) + 1, 2, height / width, room=0.35)
    style.show(places[0], sample.image, title="image and prompt")
    _draw(places[0], prompt)
    style.scale_bar(places[0], sample.pixel_size_um)
    for axes, (title, answer) in zip(places[1:], answers.items()):
        style.show(axes, sample.image, title=title)
        style.tint(axes, answer, style.ORANGE)
        if truth is not None:
            axes.contour(truth, [0.5], colors=style.BLACK, linewidths=0.8)
    return style.legend(figure)
