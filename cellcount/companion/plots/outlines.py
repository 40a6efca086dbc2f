"""Micrographs with the outlines of masks, or with the boxes of detectors, also at the borders of tiles."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from scipy.ndimage import find_objects
from scipy.spatial.distance import cdist
from skimage.measure import find_contours

from cellcount.companion.plots import style
from cellcount.methods.detection.boxes import clip, filled, squares
from cellcount.methods.pixels import nearest
from cellcount.metrics import Outcomes
from cellcount.tiling import Window
from cellcount.types import Prediction, Sample

# Colour and name of each outcome of a mask.
OUTCOMES = {
    "found": (style.SKY, "found"), "merged": (style.ORANGE, "merged"), "holes": (style.VERMILLION, "in a hole"),
    "unexplained": (style.PURPLE, "no click"),
}  # fmt: skip
LEVEL = 0.8  # of a mask's contour: 0.3 px inside its border, so that masks that touch have separate outlines


def outline(labels: np.ndarray, colours: Sequence[str] | np.ndarray, *places: Axes) -> None:
    """Draw the outlines of masks, labels (H, W) int, on Axes; colours[i] is that of the label i + 1."""
    lines, owners = [], []
    for i, place in enumerate(find_objects(labels)):
        for line in find_contours(np.pad(labels[place] == i + 1, 1), LEVEL) if place else ():
            lines.append(line[:, ::-1] + [place[1].start - 1, place[0].start - 1])
            owners.append(colours[i])
    for axes in places:
        axes.add_collection(LineCollection(lines, colors=owners, linewidths=1.0))


@style.styled
def mask_panels(sample: Sample, masks: Mapping[str, np.ndarray], *, window: style.Part = None) -> Figure:
    """The same part of an image once for each set of masks, with their outlines and the annotated points.

    Parameters
    ----------
    sample : Sample
    masks : dict of title to (H, W) int labels
    window : (y, x, height, width) px, optional

    Returns
    -------
    Figure
    """
    height, width = window[2:] if window else sample.image.shape
    figure, places = style.panels(len(masks), 2, height / width)
    for axes, (title, labels) in zip(places, masks.items()):
        style.view(axes, sample, title=title, window=window)
        outline(labels, [style.SKY] * labels.max(initial=0), axes)
        if sample.points is not None:
            style.mark(axes, sample.points, "predicted", size=4, width=1.0)
    return figure


@style.styled
def mask_outcome(sample: Sample, prediction: Prediction, outcomes: Outcomes, *, window: style.Part = None) -> Figure:
    """The masks of a part of an image in the colours of their outcomes, and the missed points.

    Parameters
    ----------
    sample : Sample with points
    prediction : Prediction with labels
    outcomes : `cellcount.metrics.Outcomes`
    window : (y, x, height, width) px, optional
        The part to show; the numbers in the legend are those of the whole image.

    Returns
    -------
    Figure
    """
    figure, axes = style.micrograph(sample, window=window)
    _judged([axes], sample, prediction, outcomes)
    return style.legend(figure)


def _judged(places, sample, prediction, outcomes):
    """Draw the masks in the colours of their outcomes and the missed points, with their numbers for the legend."""
    kinds = {kind: getattr(outcomes, kind) for kind in OUTCOMES}
    colours = np.full(len(prediction.points), "none", object)
    for kind, masks in kinds.items():
        colours[masks] = OUTCOMES[kind][0]
    outline(prediction.labels, colours, *places)
    for axes in places:
        for kind, (colour, name) in OUTCOMES.items():
            axes.plot([], [], color=colour, label=f"{name} ({len(kinds[kind]):,})")
        style.mark(axes, sample.points[outcomes.missed], "missed", size=6, label=f"missed ({len(outcomes.missed):,})")


@style.styled
def mask_gallery(
    sample: Sample, prediction: Prediction, outcomes: Outcomes, *, number: int = 6, side: int = 96
) -> Figure:
    """Crops of each outcome, chosen by rule, one row an outcome; outcomes that do not occur are left out.

    Found: highest score first. Merged: most points first. In a hole, and without a click: largest first. Missed:
    farthest from the centre of any mask first.

    Parameters
    ----------
    sample : Sample with points
    prediction : Prediction with labels
    outcomes : `cellcount.metrics.Outcomes`
    number : int
        Crops of each outcome.
    side : int, px

    Returns
    -------
    Figure
    """
    points, labels = prediction.points, prediction.labels
    area = np.bincount(labels.ravel(), minlength=len(points) + 1)[1:]
    held = np.bincount(labels[nearest(sample.points, labels.shape)], minlength=len(points) + 1)[1:]
    rank, rows = {"found": prediction.scores, "merged": held, "holes": area, "unexplained": area}, {}
    for kind, (_, name) in OUTCOMES.items():
        rows[name] = points[sorted(getattr(outcomes, kind), key=lambda i, kind=kind: -rank[kind][i])]
    missed = sample.points[outcomes.missed]
    away = cdist(missed, points).min(axis=1, initial=np.inf)
    rows["missed"] = missed[np.argsort(-away, kind="stable")]
    shown = {
        name: [(at, None) for at in _apart(centres, sample.image.shape, number, side)] for name, centres in rows.items()
    }
    figure, places = style.crops(sample, {name: crops for name, crops in shown.items() if crops}, number, side)
    for axes in places:
        style.mark(axes, sample.points, "predicted", size=4, width=0.9)
    _judged(places, sample, prediction, outcomes)
    return style.legend(figure)


def _apart(centres, shape, number, side):
    """The first centres (N, 2) of crops that lie inside the image and show each place once."""
    low, high = side // 2, np.maximum(np.array(shape) - (side + 1) // 2, side // 2)
    chosen: list[np.ndarray] = []
    for centre in np.clip(np.reshape(centres, (-1, 2)), low, high):
        if len(chosen) < number and all(np.abs(centre - other).max() > side / 2 for other in chosen):
            chosen.append(centre)
    return chosen


@style.styled
def tiled_boxes(
    sample: Sample,
    predictions: Mapping[str, tuple[Prediction, Iterable[Window]]],
    *,
    side: float,
    window: style.Part = None,
) -> Figure:
    """Centres of detections, coloured by confidence, and the borders of the tiles; one panel for each prediction.

    Parameters
    ----------
    sample : Sample
    predictions : dict of title to (Prediction, list of (y0, y1, x0, x1) px)
        The latter are the parts of the image from which each tile's detections are kept.
    side : float, px
        Of the learned boxes, of which one is drawn in the corner: all of them would hide the image.
    window : (y, x, height, width) px, optional
        The part to show.

    Returns
    -------
    Figure
    """
    y, x, height, width = window or (0, 0, *sample.image.shape)
    figure, places = style.panels(len(predictions), 2, height / width, room=0.6)
    for axes, (title, (prediction, cuts)) in zip(places, predictions.items()):
        style.view(axes, sample, window=window, title=title)
        look = {"cmap": "viridis", "vmin": 0, "vmax": 1, "s": 11, "edgecolors": "black", "linewidths": 0.4}
        dots = axes.scatter(prediction.points[:, 1], prediction.points[:, 0], c=prediction.scores, **look)
        corners = [(y0 - 0.5, x0 - 0.5, y1 - 0.5, x1 - 0.5) for y0, y1, x0, x1 in cuts]
        style.boxes(axes, corners, color="white", linewidth=0.9)
        corner = np.float32([y + 0.03 * height, x + 0.03 * width])
        style.boxes(axes, np.concatenate([corner, corner + side]), color=style.YELLOW, linewidth=1.6)
    figure.colorbar(dots, ax=places, location="bottom", shrink=0.5, aspect=40, label="confidence")
    return figure


@style.styled
def border_boxes(sample: Sample, *, side: float, tile: int) -> Figure:
    """The boxes of one tile, and their masks by plain slices and clipped.

    Parameters
    ----------
    sample : Sample with points
    side : float, px
        Of the boxes.
    tile : int, px
        The tile is cut from the middle of the field.

    Returns
    -------
    Figure
        Left, the centres of whole boxes, and those boxes that the border cuts; right, the masks of clipped boxes, in
        orange those that a plain slice leaves empty.
    """
    y, x = ((length - tile) // 2 for length in sample.image.shape)
    part = sample.crop(y, x, tile, tile)
    boxes = squares(part.points, side)
    negative = (np.rint(boxes[:, :2]) < 0).any(axis=1)
    whole = ((boxes[:, :2] >= -0.5) & (boxes[:, 2:] <= tile - 0.5)).all(axis=1)
    figure, (left, right) = style.panels(2, 2, room=0.25)
    style.show(left, part.image, title="boxes of one tile")
    for label, chosen, colour in (
        ("cut", ~whole & ~negative, style.YELLOW),
        ("cut, starts before the tile", negative, style.VERMILLION),
    ):
        style.boxes(left, boxes[chosen], color=colour, linewidth=1, label=f"{label} ({chosen.sum()})")
    inner = part.points[whole]
    left.plot(
        inner[:, 1], inner[:, 0], ".", color=style.GREEN, markersize=6, label=f"centre of a whole one ({len(inner)})"
    )
    left.set(xlim=(-side / 2, tile + side / 2), ylim=(tile + side / 2, -side / 2))
    style.view(right, part, title="masks: in orange, those that plain slices lose")
    for chosen, colour in ((~negative, style.GREEN), (negative, style.ORANGE)):
        clipped, _ = clip(boxes[chosen], (tile, tile))
        style.tint(right, filled(clipped, (tile, tile)).any(axis=0), colour)
    return style.legend(figure)
