"""Images with outlines of masks on them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from cellcount.companion.plots.style import (
    MARKS,
    ORANGE,
    PURPLE,
    SKY,
    VERMILLION,
    WIDTH,
    mark,
    new_figure,
    scale_bar,
    show,
    styled,
)  # fmt: skip
from cellcount.types import Prediction, Sample

if TYPE_CHECKING:
    from cellcount.metrics import Outcomes

# What an outline means. Where two colours could be mixed up, the figure's rows or legend tell them apart, too.
KINDS = {"found": SKY, "merged": ORANGE, "holes": VERMILLION, "unexplained": PURPLE}
NAMES = {"holes": "in a hole", "unexplained": "no click", "missed": "missed"}
INSET = 0.3  # px: the outlines of two masks that touch lie side by side


@styled
def mask_panels(
    sample: Sample,
    masks: Mapping[str, np.ndarray],
    *,
    window: tuple[int, int, int, int] | None = None,
    columns: int = 2,
    points: bool = True,
) -> Figure:
    """The same part of an image once for each set of masks, with their outlines.

    Parameters
    ----------
    sample : Sample
    masks : dict of title to (H, W) int labels
    window : (y, x, height, width) px, optional
    columns : int
    points : bool
        Mark the annotated points.

    Returns
    -------
    Figure
    """
    window = window or (0, 0, *sample.image.shape)
    rows = -(-len(masks) // columns)
    figure = new_figure(WIDTH, rows * (WIDTH / columns * window[2] / window[3] + 0.25))
    for place, (title, labels) in enumerate(masks.items()):
        axes = figure.add_subplot(rows, columns, place + 1)
        show(axes, sample.image, title=title, window=window)
        _outline(axes, labels, {SKY: np.arange(int(labels.max(initial=0)))}, window)
        if points and sample.points is not None:
            mark(axes, sample.points, "predicted", size=4, width=1.0)
        scale_bar(axes, sample.pixel_size_um)
    return figure


@styled
def mask_outcome(
    sample: Sample,
    prediction: Prediction,
    outcomes: Outcomes,
    *,
    window: tuple[int, int, int, int] | None = None,
    width: float = WIDTH,
) -> Figure:
    """Every mask of a part of an image in the colour of what became of it, and the missed points.

    Parameters
    ----------
    sample : Sample with points
    prediction : Prediction with labels
    outcomes : `cellcount.metrics.Outcomes`
    window : (y, x, height, width) px, optional
        The part to show; the numbers in the legend are those of the whole image.
    width : float, inch

    Returns
    -------
    Figure
    """
    window = window or (0, 0, *sample.image.shape)
    figure = new_figure(width, width * window[2] / window[3] + 0.5)
    axes = figure.add_subplot()
    show(axes, sample.image, window=window)
    _outline(axes, prediction.labels, {colour: getattr(outcomes, kind) for kind, colour in KINDS.items()}, window)
    mark(axes, sample.points[outcomes.missed], "missed", size=6)
    scale_bar(axes, sample.pixel_size_um)
    _legend(figure, outcomes)
    return figure


@styled
def mask_gallery(
    sample: Sample, prediction: Prediction, outcomes: Outcomes, *, number: int = 6, side: int = 96
) -> Figure:
    """Crops of each kind of outcome, chosen by rule, one row a kind; a row without any is left out.

    Found: the surest. Merged: those over most points. In a hole, and without a click: the largest. Missed: the
    farthest from any mask's centre.

    Parameters
    ----------
    sample : Sample with points
    prediction : Prediction with labels
    outcomes : `cellcount.metrics.Outcomes`
    number : int
        Crops of each kind.
    side : int, px

    Returns
    -------
    Figure
    """
    rows = [(kind, centres) for kind, centres in _examples(sample, prediction, outcomes).items() if len(centres)]
    figure = new_figure(WIDTH, max(1, len(rows)) * (WIDTH / number + 0.1) + 0.4)
    for row, (kind, centres) in enumerate(rows):
        for column, centre in enumerate(centres[:number]):
            axes = figure.add_subplot(len(rows), number, row * number + column + 1)
            axes.set_facecolor("#BBBBBB")  # beyond the image's border
            y, x = np.rint(centre).astype(int) - side // 2
            window = (int(y), int(x), side, side)
            show(axes, sample.image, window=window)
            colours = {colour: getattr(outcomes, name) for name, colour in KINDS.items()}
            _outline(axes, prediction.labels, colours, window)
            mark(axes, sample.points, "predicted", size=4, width=0.9)
            mark(axes, sample.points[outcomes.missed], "missed", size=6)
            if column == 0:
                axes.set_ylabel(NAMES.get(kind, kind))
    _legend(figure, outcomes)
    return figure


def _examples(sample, prediction, outcomes):
    """Centres (n, 2) of each kind, the most telling first."""
    points, labels = prediction.points, prediction.labels
    area = np.bincount(labels.ravel(), minlength=len(points) + 1)[1:]
    at = np.rint(sample.points).astype(int).clip(0, np.array(labels.shape) - 1)
    held = np.bincount(labels[tuple(at.T)], minlength=len(points) + 1)[1:]
    found, merged, holes, unexplained, missed = outcomes
    away = np.full(len(missed), np.inf)
    if len(points) and len(missed):
        away = np.linalg.norm(sample.points[missed][:, None] - points[None], axis=2).min(axis=1)
    return {
        "found": points[found[np.argsort(-prediction.scores[found], kind="stable")]],
        "merged": points[merged[np.argsort(-held[merged], kind="stable")]],
        "holes": points[holes[np.argsort(-area[holes], kind="stable")]],
        "unexplained": points[unexplained[np.argsort(-area[unexplained], kind="stable")]],
        "missed": sample.points[missed[np.argsort(-away, kind="stable")]],
    }


def _outline(axes, labels, colours, window, width=1.0):
    """Draw the outlines of masks, `colours` a dict of colour to indices (mask i has the label i + 1)."""
    y, x, height, width_px = window
    y0, x0 = max(0, y), max(0, x)
    part = labels[y0 : max(0, y + height), x0 : max(0, x + width_px)]
    palette = np.zeros((int(labels.max(initial=0)) + 1, 4), np.float32)
    for colour, indices in colours.items():
        palette[np.asarray(indices, int) + 1] = (*to_rgb(colour), 1.0)
    for downwards in (True, False):
        inner = part if downwards else part.T
        for step in (1, -1):  # the side of a pixel that faces the next row, and the one that faces the row before
            rows = slice(None, -1) if step == 1 else slice(1, None)
            beyond = inner[1:] if step == 1 else inner[:-1]
            at = np.argwhere((inner[rows] != beyond) & (inner[rows] > 0))
            at[:, 0] += step == -1
            owners = inner[at[:, 0], at[:, 1]]
            along = at[:, 0] + step * (0.5 - INSET)
            ends = np.stack([np.stack([along, at[:, 1] + side], axis=1) for side in (-0.5, 0.5)], axis=1)
            ends += [y0, x0] if downwards else [x0, y0]
            lines = ends[:, :, ::-1] if downwards else ends  # matplotlib wants (x, y)
            axes.add_collection(LineCollection(lines, colors=palette[owners], linewidths=width, capstyle="projecting"))


def _legend(figure, outcomes):
    handles = [
        Line2D([], [], color=colour, label=f"{NAMES.get(kind, kind)} ({len(getattr(outcomes, kind)):,})")
        for kind, colour in KINDS.items()
    ]
    look = MARKS["missed"]
    handles.append(
        Line2D(
            [],
            [],
            linestyle="none",
            marker=look["marker"],
            color=look["color"],
            fillstyle="none",
            markeredgecolor="#807000",
            label=f"missed ({len(outcomes.missed):,})",
        )  # fmt: skip
    )
    figure.legend(handles=handles, loc="outside lower left", ncols=5)
