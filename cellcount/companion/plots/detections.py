"""Boxes of detectors: on the image, at the borders of tiles, and how sure they are."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PatchCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from cellcount.companion.plots.style import (
    CYCLE,
    DASHES,
    GRAY,
    GREEN,
    LIGHT,
    ORANGE,
    VERMILLION,
    WIDTH,
    YELLOW,
    log_labels,
    new_figure,
    scale_bar,
    show,
    styled,
)  # fmt: skip
from cellcount.methods.detection.boxes import clip, filled, squares
from cellcount.types import Prediction, Sample

PARTS = {
    "loss": "sum",
    "loss_objectness": "objectness",
    "loss_rpn_box_reg": "box (1st stage)",
    "loss_classifier": "class",
    "loss_class": "class",
    "loss_box_reg": "box",
    "loss_box": "box",
    "loss_mask": "mask",
}


@styled
def training_graph(curves: Mapping[str, Sequence[float]]) -> Figure:
    """The loss of a detector and its parts over the steps of training, as running means.

    Parameters
    ----------
    curves : dict of name to list of float
        As in a weights file; "loss" and its parts (`PARTS`) are drawn.

    Returns
    -------
    Figure
    """
    figure = new_figure(WIDTH, 3.1)
    axes = figure.add_subplot(xlabel="training step", ylabel="loss", yscale="log")
    named = {name: np.asarray(values) for name, values in curves.items() if name in PARTS}
    labels = PARTS | ({"loss_objectness": "objectness (1st stage)"} if "loss_rpn_box_reg" in named else {})
    window = max(1, len(named["loss"]) // 20)
    for i, (name, values) in enumerate(named.items()):
        smooth = np.convolve(values, np.ones(window) / window, mode="valid")
        steps = np.arange(len(smooth)) + (window + 1) / 2
        style = {"linewidth": 2.2} if name == "loss" else {"linestyle": DASHES[i % len(DASHES)]}
        axes.plot(steps, smooth, color=CYCLE[i % len(CYCLE)], label=labels[name], **style)
    log_labels(axes.yaxis)
    axes.grid(color=LIGHT, linewidth=0.6)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper")
    return figure


@styled
def confidence_ranks(groups: Mapping[str, np.ndarray], *, surest: int = 100, shares: Iterable[float] = ()) -> Figure:
    """Confidence of each detection of an image, the surest first: one line for each network.

    Parameters
    ----------
    groups : dict of label to (N,) float, falling
    surest : int
        Marked by a vertical line: what is right of it is never returned.
    shares : iterable of float
        One for each group: the share of cells in what its second stage was shown, marked by a dotted line.

    Returns
    -------
    Figure
    """
    figure = new_figure(WIDTH, 3.0)
    axes = figure.add_subplot(xlabel="rank of the detection", ylabel="confidence", ylim=(0, 1.02))
    for i, (label, values) in enumerate(groups.items()):
        look = {"color": CYCLE[i % len(CYCLE)], "linestyle": DASHES[i % len(DASHES)]}
        axes.plot(np.arange(1, len(values) + 1), values, label=label, **look)
    for i, share in enumerate(shares):
        axes.axhline(share, color=CYCLE[i % len(CYCLE)], linestyle=":", linewidth=1)
    axes.axvline(surest, color=GRAY, linewidth=0.8)
    axes.annotate(f" the {surest} surest", (surest, 1.0), color=GRAY, fontsize=8.5, va="top")
    axes.set_xlim(0, None)
    axes.grid(axis="y", color=LIGHT, linewidth=0.6)
    axes.legend(loc="upper right")
    return figure


@styled
def tiled_boxes(
    sample: Sample,
    prediction: Prediction,
    *,
    side: float,
    cuts: Iterable[tuple[int, int, int, int]] = (),
    window: tuple[int, int, int, int] | None = None,
    width: float = WIDTH,
) -> Figure:
    """A square of the size that was learned around each prediction, coloured by confidence, and the tiles' borders.

    Parameters
    ----------
    sample : Sample
    prediction : Prediction
    side : float, px
    cuts : list of (y0, y1, x0, x1) px
        The parts of the image that tiles answer for.
    window : (y, x, height, width) px, optional
        The part to show.
    width : float, inch

    Returns
    -------
    Figure
    """
    _, _, rows, columns = window or (0, 0, *sample.image.shape)
    figure = new_figure(width, width * rows / columns * 0.9)
    axes = figure.add_subplot()
    show(axes, sample.image, window=window)
    corners = squares(prediction.points, side)[:, :2]
    patches = [Rectangle((x, y), side, side) for y, x in corners]
    boxes = PatchCollection(patches, facecolor="none", cmap="viridis", norm=Normalize(0, 1), linewidth=0.9)
    boxes.set_array(prediction.scores)
    axes.add_collection(boxes)
    for y0, y1, x0, x1 in cuts:
        border = Rectangle((x0 - 0.5, y0 - 0.5), x1 - x0, y1 - y0, fill=False, color="white", linewidth=1.2)
        axes.add_patch(border)
    figure.colorbar(ScalarMappable(Normalize(0, 1), "viridis"), ax=axes, shrink=0.7, label="confidence")
    scale_bar(axes, sample.pixel_size_um)
    return figure


@styled
def border_boxes(sample: Sample, *, side: float, tile: int) -> Figure:
    """What becomes of the boxes of one tile: by plain slices, and clipped.

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
        Left, the boxes by their fate; right, the masks that remain, those that a plain slice leaves and the others.
    """
    y, x = ((length - tile) // 2 for length in sample.image.shape)
    part = sample.crop(y, x, tile, tile)
    boxes = squares(part.points, side)
    negative = (np.rint(boxes[:, :2]) < 0).any(axis=1)
    whole = ((boxes[:, :2] >= -0.5) & (boxes[:, 2:] <= tile - 0.5)).all(axis=1)
    fates = {
        "whole": (whole, GREEN),
        "cut": (~whole & ~negative, YELLOW),
        "cut, starts before the tile": (negative, VERMILLION),
    }
    figure = new_figure(WIDTH, WIDTH / 2 + 0.45)
    left, right = figure.subplots(1, 2)
    show(left, part.image, title="boxes of one tile")
    for label, (chosen, colour) in fates.items():
        for i, (y0, x0, y1, x1) in enumerate(boxes[chosen]):
            name = f"{label} ({chosen.sum()})" if i == 0 else None
            left.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, color=colour, linewidth=1, label=name))
    left.set(xlim=(-side / 2, tile + side / 2), ylim=(tile + side / 2, -side / 2))
    show(right, part.image, title="masks: in orange, those that plain slices lose")
    layer = np.zeros((tile, tile, 4), np.float32)
    for chosen, colour in ((~negative, GREEN), (negative, ORANGE)):
        clipped, _ = clip(boxes[chosen], (tile, tile))
        covered = filled(clipped, (tile, tile)).any(axis=0)
        layer[covered] = [*(int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)), 0.45]
    right.imshow(layer, extent=(-0.5, tile - 0.5, tile - 0.5, -0.5), interpolation="nearest")
    scale_bar(right, sample.pixel_size_um)
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower left", ncols=3)
    return figure
