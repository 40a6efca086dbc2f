"""Prompts, and the masks that come of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from skimage.segmentation import find_boundaries

from cellcount.companion.plots.style import (
    BLACK,
    BLUE,
    DASHES,
    GRAY,
    GREEN,
    LIGHT,
    MARKERS,
    ORANGE,
    SKY,
    VERMILLION,
    WIDTH,
    YELLOW,
    halo,
    new_figure,
    scale_bar,
    show,
    styled,
)  # fmt: skip
from cellcount.data import phantom
from cellcount.methods import prompts
from cellcount.methods.masks import Masks
from cellcount.methods.prompts import UNWANTED, WANTED
from cellcount.types import Sample

if TYPE_CHECKING:
    import pandas as pd

OUTLINES = (YELLOW, SKY, ORANGE, GREEN)  # of neighbouring masks; all light enough for a dark cell
TITLES = {
    "grid": "automatic grid", "point": "point", "cross": "point and X", "box": "box",
    "neighbours": "neighbours as negatives", "foreground": "foreground",
}  # fmt: skip


@styled
def prompt_types(
    seed: int = 7, *, radius: float = prompts.CROSS_RADIUS, half: float = prompts.HALF_SIDE, spacing: float = 32.0
) -> Figure:
    """Each type of prompt drawn on the same simulated cells.

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
    drawn = {
        "grid": prompts.grid(sample.image.shape, spacing),
        "point": prompts.point(sample.points).take([middle]),
        "cross": prompts.cross(sample.points, radius).take([middle]),
        "box": prompts.box(sample.points, half).take([middle]),
        "neighbours": prompts.neighbours(sample.points).take([middle]),
        "foreground": prompts.foreground(sample.points, background),
    }
    figure = new_figure(WIDTH, WIDTH * 2 / 3 + 0.6)
    panels = figure.subplots(2, 3).ravel()
    for axes, (kind, made) in zip(panels, drawn.items(), strict=True):
        axes.set_label(kind)
        show(axes, sample.image, title=TITLES[kind])
        asked = sample.labels > 0 if kind == "foreground" else sample.labels == middle + 1
        if kind != "grid":
            _tint(axes, asked, SKY, 0.25)
        _draw(axes, made)
        scale_bar(axes, sample.pixel_size_um)
    for kind, marker, colour in (("positive point", "o", BLUE), ("negative point", "X", VERMILLION)):
        panels[-1].plot([], [], marker, color=colour, markeredgecolor="white", markersize=7, label=kind)
    panels[-1].plot([], [], color=YELLOW, linewidth=2, label="box")
    panels[-1].plot([], [], "s", color=SKY + "88", markersize=8, label="what is asked for")
    handles, labels = panels[-1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower left", ncols=len(labels))
    return figure


def _draw(axes, made):
    for sign, marker, colour in ((WANTED, "o", BLUE), (UNWANTED, "X", VERMILLION)):
        at = made.points[made.signs == sign]
        axes.plot(
            at[:, 1], at[:, 0], marker, color=colour, markeredgecolor="white", markeredgewidth=0.7,
            markersize=5.5 if len(at) < 40 else 4, gid=f"sign {sign}",
        )  # fmt: skip
    for y0, x0, y1, x1 in made.boxes if made.boxes is not None else ():
        box = Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, color=YELLOW, linewidth=1.8, path_effects=halo(1.8))
        axes.add_patch(box)


@styled
def mask_grid(
    rows: Mapping[str, Sequence[tuple[Sample, Masks | None]]],
    *,
    window: tuple[int, int, int, int] | None = None,
    note: str = "not run",
    points: bool = True,
) -> Figure:
    """Outlines of masks: rows of methods or prompts, columns of fields.

    Parameters
    ----------
    rows : dict of label to list of (Sample, Masks or None)
        Overlaps are resolved by the rule of `Masks.labels`; None shows the image and `note`.
    window : (y, x, height, width) px, optional
        The part to show of each field.
    note : str
    points : bool
        Mark the samples' points.

    Returns
    -------
    Figure
    """
    columns = max(len(cells) for cells in rows.values())
    sides = window[2:] if window else next(iter(rows.values()))[0][0].image.shape
    width = WIDTH / max(columns, 2)
    figure = new_figure(WIDTH, len(rows) * (width * sides[0] / sides[1] + 0.03) + 0.2)
    panels = figure.subplots(len(rows), columns, squeeze=False)
    for place, (label, cells) in zip(panels, rows.items(), strict=True):
        for axes, (sample, masks) in zip(place, cells, strict=True):
            show(axes, sample.image, window=window)
            if masks is None:
                axes.text(0.5, 0.5, note, transform=axes.transAxes, ha="center", va="center", color="white",
                          path_effects=halo(2), wrap=True)  # fmt: skip
            else:
                _outline(axes, masks.labels())
                if points and sample.points is not None:
                    axes.plot(sample.points[:, 1], sample.points[:, 0], ".", color="white", markersize=1.8,
                              path_effects=halo(0.4), gid="points")  # fmt: skip
        place[0].set_ylabel(label)
    for axes, (sample, _) in zip(panels[0], next(iter(rows.values()))):
        axes.set_title(sample.name, fontsize=8)
    scale_bar(panels[0, 0], next(iter(rows.values()))[0][0].pixel_size_um)
    return figure


def _outline(axes, labels):
    """Draw the inner borders of masks; labels (H, W) int."""
    border = find_boundaries(labels, mode="inner")
    layer = np.zeros((*labels.shape, 4), np.float32)
    colours = np.array([to_rgb(colour) for colour in OUTLINES])
    layer[border, :3], layer[border, 3] = colours[labels[border] % len(OUTLINES)], 1.0
    axes.imshow(layer, interpolation="nearest")


def _tint(axes, region, colour, alpha):
    layer = np.zeros((*region.shape, 4), np.float32)
    layer[region] = (*to_rgb(colour), alpha)
    axes.imshow(layer, interpolation="nearest")


@styled
def prompt_sweep(rows: pd.DataFrame, *, defaults: Mapping[str, float] | None = None) -> Figure:
    """Scores over the sizes of prompts: mean IoU above, masks on another cell's centre below.

    Parameters
    ----------
    rows : DataFrame
        One line for each `type`, `size` (px) and `method`, with `score` (mean IoU with the true cell, or with the
        drawn box) and `others` (share of masks that contain another centre).
    defaults : dict of type to float, px, optional
        Marked by a vertical line.

    Returns
    -------
    Figure
    """
    kinds = list(rows.type.unique())
    figure = new_figure(WIDTH, 4.2)
    panels = figure.subplots(2, len(kinds), sharey="row", sharex="col", squeeze=False)
    for column, kind in enumerate(kinds):
        for row, (name, text) in enumerate((("score", rows.attrs.get("score", "mean IoU")), ("others", "on another"))):
            axes = panels[row, column]
            for i, (method, group) in enumerate(rows[rows.type == kind].groupby("method", sort=False)):
                axes.plot(group["size"], group[name], label=method, marker=MARKERS[i % len(MARKERS)], markersize=4,
                          linestyle=DASHES[i % len(DASHES)])  # fmt: skip
            if defaults and kind in defaults:
                axes.axvline(defaults[kind], color=GRAY, linewidth=0.8)
            axes.grid(color=LIGHT, linewidth=0.6)
            axes.set_ylim(0, 1)
            if column == 0:
                axes.set_ylabel(text)
        panels[0, column].set_title(TITLES.get(kind, kind))
        panels[1, column].set_xlabel(
            {"cross": "radius of the X (px)", "box": "half side of the box (px)"}.get(kind, "px")
        )
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower left", ncols=len(labels))
    return figure


@styled
def foreground_masks(
    sample: Sample, prompt: prompts.Prompts, answers: Mapping[str, np.ndarray], *, truth: np.ndarray | None = None
) -> Figure:
    """What a foreground prompt was, and the masks that came of it.

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
    columns = min(3, len(answers) + 1)
    lines = -(-(len(answers) + 1) // columns)
    height, width = sample.image.shape
    figure = new_figure(WIDTH, lines * (WIDTH / columns * height / width + 0.25) + 0.1)
    panels = figure.subplots(lines, columns, squeeze=False).ravel()
    show(panels[0], sample.image, title="image and prompt")
    _draw(panels[0], prompt)
    scale_bar(panels[0], sample.pixel_size_um)
    for axes, (title, answer) in zip(panels[1:], answers.items()):
        show(axes, sample.image, title=title)
        _tint(axes, answer, ORANGE, 0.45)
        if truth is not None:
            axes.contour(truth, [0.5], colors=BLACK, linewidths=0.8)
    for axes in panels[len(answers) + 1 :]:
        axes.set_axis_off()
    return figure
