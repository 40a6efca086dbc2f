"""Boxes of detectors: on a field, and at the borders of tiles."""

from collections.abc import Iterable

import numpy as np
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure

from cellcount.companion.plots import style
from cellcount.methods.detection.boxes import clip, filled, squares
from cellcount.types import Prediction, Sample


@style.styled
def tiled_boxes(
    sample: Sample,
    prediction: Prediction,
    *,
    side: float,
    cuts: Iterable[tuple[int, int, int, int]] = (),
    window: style.Window | None = None,
) -> Figure:
    """A square of the learned size around each prediction, coloured by confidence, and the borders of the tiles.

    Parameters
    ----------
    sample : Sample
    prediction : Prediction
    side : float, px
    cuts : list of (y0, y1, x0, x1) px
        The parts of the image from which each tile's detections are kept.
    window : (y, x, height, width) px, optional
        The part to show.

    Returns
    -------
    Figure
    """
    figure, axes = style.micrograph(sample, window=window)
    corners = squares(prediction.points, side)[:, [[1, 0], [1, 2], [3, 2], [3, 0]]]  # x, y
    look = {"facecolor": "none", "cmap": "viridis", "clim": (0, 1), "linewidth": 0.9}
    boxes = axes.add_collection(PolyCollection(corners, array=prediction.scores, **look))
    cuts = [(y0 - 0.5, x0 - 0.5, y1 - 0.5, x1 - 0.5) for y0, y1, x0, x1 in cuts]
    style.boxes(axes, cuts, color="white", linewidth=1.2)
    figure.colorbar(boxes, location="bottom", shrink=0.5, aspect=40, label="confidence")
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
        Left, the boxes, those that the border cuts in other colours; right, the masks of clipped boxes, in orange
        those that a plain slice leaves empty.
    """
    y, x = ((length - tile) // 2 for length in sample.image.shape)
    part = sample.crop(y, x, tile, tile)
    boxes = squares(part.points, side)
    negative = (np.rint(boxes[:, :2]) < 0).any(axis=1)
    whole = ((boxes[:, :2] >= -0.5) & (boxes[:, 2:] <= tile - 0.5)).all(axis=1)
    figure, (left, right) = style.panels(2, 2, room=0.25)
    style.show(left, part.image, title="boxes of one tile")
    for label, chosen, colour in (
        ("whole", whole, style.GREEN),
        ("cut", ~whole & ~negative, style.YELLOW),
        ("cut, starts before the tile", negative, style.VERMILLION),
    ):
        style.boxes(left, boxes[chosen], color=colour, linewidth=1, label=f"{label} ({chosen.sum()})")
    left.set(xlim=(-side / 2, tile + side / 2), ylim=(tile + side / 2, -side / 2))
    style.view(right, part, title="masks: in orange, those that plain slices lose")
    for chosen, colour in ((~negative, style.GREEN), (negative, style.ORANGE)):
        clipped, _ = clip(boxes[chosen], (tile, tile))
        style.tint(right, filled(clipped, (tile, tile)).any(axis=0), colour)
    return style.legend(figure)
