"""What both detectors do before and after their network."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from cellcount.errors import ParameterError
from cellcount.methods.base import sampled
from cellcount.methods.detection.settings import Common
from cellcount.methods.pixels import brightness_and_contrast, block_mean as shrink, to_full

EDGE = 2.0  # px: a box that ends so close to the image's border is taken for cut by it


def context(image: Any, **params: Any) -> dict[str, Any]:
    """Brightness and contrast of the whole image (H, W) float32, as a keyword argument of `predict` for its tiles."""
    return {"exposure": brightness_and_contrast(sampled(image))}


def check_limits(threshold: float, nms: float, detections: int | None) -> None:
    """Raise ParameterError unless least confidence, largest overlap and most detections are in their ranges."""
    if not (0 <= threshold <= 1 and 0 < nms <= 1 and (detections is None or detections > 0)):
        raise ParameterError(
            f"threshold={threshold}, nms={nms}, detections={detections}: the first two from 0 to 1, the last positive."
        )


def normalised(image: np.ndarray, settings: Common, exposure: tuple[float, float] | None = None) -> np.ndarray:
    """The image (H, W) float32 as the network was shown it: normalised and shrunken.

    Parameters
    ----------
    image : (H, W) float32 in [0, 1]
    settings : `Common`
    exposure : (float, float) or None
        Brightness and contrast; None measures them.

    Returns
    -------
    (ceil(H / factor), ceil(W / factor)) float32
    """
    middle, contrast = exposure or brightness_and_contrast(image)
    return np.ascontiguousarray(shrink((image - middle) / contrast, settings.factor))


def most(settings: Common, shape: Sequence[int]) -> int:
    """More detections than an image can hold: one for every square of a quarter of a box's side, at least 100.

    Parameters
    ----------
    settings : `Common`
    shape : (height, width), px after shrinking
    """
    return max(100, round(16 * shape[0] * shape[1] / (settings.box / settings.factor) ** 2))


def to_points(boxes: np.ndarray, settings: Common, shape: Sequence[int]) -> np.ndarray:
    """Centres of square boxes on the full image, (N, 2) float32, (y, x) px.

    The image's border cuts boxes off, in training as in prediction: the centre then lies half a side within the edge
    that is left.

    Parameters
    ----------
    boxes : (N, 4) float32, (y0, x0, y1, x1) px after shrinking
    settings : `Common`
    shape : (height, width), px
        The full image: what was added to fill its last blocks holds no cell.
    """
    low, high = (to_full(edges, settings.factor) for edges in (boxes[:, :2], boxes[:, 2:]))
    end, half = np.float32(shape) - 0.5, settings.box / 2
    points = (low + high) / 2
    points = np.where(low <= EDGE - 0.5, np.minimum(points, high - half), points)
    points = np.where(high >= end - EDGE, np.maximum(points, low + half), points)
    return np.clip(points, 0, np.float32(shape) - 1).astype(np.float32)
