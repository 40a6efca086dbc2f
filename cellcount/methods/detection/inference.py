"""What both detectors do before and after their network."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cellcount.devices import choose_device
from cellcount.errors import require
from cellcount.files import sha256
from cellcount.methods import weights_files
from cellcount.methods.base import sampled
from cellcount.methods.detection.settings import Common
from cellcount.methods.pixels import brightness_and_contrast, to_full

if TYPE_CHECKING:
    import torch

EDGE = 2.0  # px: a box that ends this close to the image's border is assumed to be cut off by it


def context(image: Any, **params: Any) -> dict[str, Any]:
    """Brightness and contrast of the whole image (H, W) float32, as a keyword argument of `predict` for its tiles."""
    return {"exposure": brightness_and_contrast(sampled(image))}


def prepare(
    kind: type[Common],
    build: Callable[[Any], "torch.nn.Module"],
    weights: str | Path,
    device: str,
    threshold: float | None,
    nms: float,
    detections: int | None,
) -> tuple["torch.nn.Module", Any, dict[str, Any]]:
    """Load a detector and check the limits of its detections.

    Parameters
    ----------
    kind : class of the settings
    build : function of such settings that makes the network
    weights, device, threshold, nms, detections
        As given to `predict`.

    Returns
    -------
    network : torch.nn.Module, in evaluation mode
    settings : of that class
    meta : dict
        weights_sha256, device and threshold, for a Prediction.

    Raises
    ------
    DataError
        If the weights file is missing, truncated, or of another method.
    ParameterError
        If a limit is out of range.
    """
    chosen = choose_device(device)
    network, settings, digest = _load(weights, kind, build, chosen)
    threshold = settings.threshold if threshold is None else threshold
    given = f"threshold={threshold}, nms={nms}, detections={detections}"
    allowed = 0 <= threshold <= 1 and 0 < nms <= 1 and (detections is None or detections > 0)
    require(allowed, f"{given}: the first two from 0 to 1, the last positive.")
    return network, settings, {"weights_sha256": digest, "device": str(chosen), "threshold": threshold}


@weights_files.cached(2)
def _load(path, kind, build, device):
    described, state = weights_files.read(path, kind.FORMAT, kind.LABEL)
    with weights_files.usable(path):
        settings = kind(**described["settings"])
        network = build(settings)
        network.load_state_dict(state)
    return network.float().eval().to(device), settings, sha256(path)


def most(settings: Common, shape: Sequence[int]) -> int:
    """More detections than an image can hold: one for every square of a quarter of a box's side, at least 100.

    Parameters
    ----------
    settings : `Common`
    shape : (height, width), px after downsampling
    """
    return max(100, round(16 * shape[0] * shape[1] / (settings.box / settings.factor) ** 2))


def to_points(boxes: np.ndarray, settings: Common, shape: Sequence[int]) -> np.ndarray:
    """Centres of square boxes on the full image, (N, 2) float32, (y, x) px.

    The image's border cuts boxes off, in training as in prediction: the centre is then half a side from the edge
    that is left.

    Parameters
    ----------
    boxes : (N, 4) float32, (y0, x0, y1, x1) px after downsampling
    settings : `Common`
    shape : (height, width), px
        Of the full image: the padding of its last blocks holds no cell.
    """
    low, high = (to_full(edges, settings.factor) for edges in (boxes[:, :2], boxes[:, 2:]))
    end, half = np.float32(shape) - 0.5, settings.box / 2
    points = (low + high) / 2
    points = np.where(low <= EDGE - 0.5, np.minimum(points, high - half), points)
    points = np.where(high >= end - EDGE, np.maximum(points, low + half), points)
    return np.clip(points, 0, np.float32(shape) - 1).astype(np.float32)
