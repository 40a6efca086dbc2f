"""Boxes around centre points, for training a detector, and the coordinate system of its library.

In this package a pixel's centre has integer coordinates, and y comes first. torchvision and YOLOX have the origin at
the corner of the top-left pixel, half a pixel up and to the left, and x comes first. Only this module converts.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from cellcount.methods.pixels import nearest
from cellcount.types import as_points

SMALLEST = 4.0  # px: a box of which a tile's border leaves less shows too little of its cell


def squares(points: ArrayLike, side: float) -> np.ndarray:
    """A square around each point.

    Parameters
    ----------
    points : (N, 2) float, (y, x) px
    side : float, px

    Returns
    -------
    (N, 4) float32, (y0, x0, y1, x1) px
    """
    points = as_points(points)
    return np.concatenate([points - side / 2, points + side / 2], axis=1).astype(np.float32)


def clip(boxes: np.ndarray, shape: Sequence[int], smallest: float = SMALLEST) -> tuple[np.ndarray, np.ndarray]:
    """The part of each box that is on the image; boxes of which less than `smallest` px is left are dropped.

    Parameters
    ----------
    boxes : (N, 4) float32, (y0, x0, y1, x1) px
    shape : (height, width), px
        Pixels reach half a px around their centres, so the image ends at -0.5 and at height - 0.5.
    smallest : float, px

    Returns
    -------
    boxes : (M, 4) float32
    kept : (N,) bool
        Which boxes these are.
    """
    low, high = np.float32([-0.5, -0.5]), np.float32(shape) - 0.5
    clipped = np.concatenate([np.clip(boxes[:, :2], low, high), np.clip(boxes[:, 2:], low, high)], axis=1)
    kept = (clipped[:, 2:] - clipped[:, :2] >= smallest).all(axis=1)
    return clipped[kept], kept


def ranges(boxes: np.ndarray) -> np.ndarray:
    """The pixels whose centre is in a box, without those beyond the image's top and left border.

    boxes (N, 4) float32, (y0, x0, y1, x1) px -> (N, 4) int, (y0, x0, y1, x1) px, the last row and column not included.
    """
    return np.maximum(np.ceil(boxes), 0).astype(int)  # a negative index counts from the other end


def filled(boxes: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """The same as masks: boxes (N, 4) float32 px, shape (height, width) px -> (N, height, width) uint8."""
    masks = np.zeros((len(boxes), *shape), np.uint8)
    for mask, (y0, x0, y1, x1) in zip(masks, ranges(boxes)):
        mask[y0:y1, x0:x1] = 1
    return masks


def around(labels: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The instance under each point: its mask, and the box around it.

    Parameters
    ----------
    labels : (H, W) int32
    points : (N, 2) float32, (y, x) px

    Returns
    -------
    boxes : (M, 4) float32, (y0, x0, y1, x1) px
    masks : (M, H, W) uint8
    kept : (N,) bool
        Points on background have neither.
    """
    values = labels[nearest(as_points(points), labels.shape)]
    kept = values > 0
    masks = (labels[None] == values[kept, None, None]).astype(np.uint8)
    boxes = np.zeros((len(masks), 4), np.float32)
    for box, mask in zip(boxes, masks):
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        box[:] = rows[0] - 0.5, columns[0] - 0.5, rows[-1] + 0.5, columns[-1] + 0.5
    return boxes, masks, kept


def to_corner_xy(boxes: np.ndarray) -> np.ndarray:
    """(N, 4) px, (y0, x0, y1, x1) from pixels' centres -> (x0, y0, x1, y1) from the corner, for torchvision."""
    return boxes[:, [1, 0, 3, 2]] + 0.5


def from_corner_xy(boxes: np.ndarray) -> np.ndarray:
    """The inverse of `to_corner_xy`: (N, 4) px, (x0, y0, x1, y1) from the corner -> (y0, x0, y1, x1)."""
    return boxes[:, [1, 0, 3, 2]] - 0.5
