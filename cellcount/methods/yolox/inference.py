"""From an image to detections, to points."""

import functools
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cellcount.devices import choose_device
from cellcount.files import sha256
from cellcount.methods.base import predicts
from cellcount.methods.detection import checkpoints
from cellcount.methods.detection.boxes import from_corner_xy
from cellcount.methods.detection.inference import check_limits, most, normalised, to_points
from cellcount.methods.yolox.network import build, stride
from cellcount.methods.yolox.settings import FORMAT, Settings
from cellcount.types import Prediction


@predicts("YOLOX")
def predict(
    image: np.ndarray,
    *,
    prompts: None = None,
    device: str = "auto",
    weights: str | Path | None,
    threshold: float | None = None,
    nms: float = 0.5,
    detections: int | None = None,
    exposure: tuple[float, float] | None = None,
) -> Prediction:
    """Find the cells of one image: the centres of the boxes.

    Parameters
    ----------
    image : (H, W) float32 in [0, 1]
    prompts : None
    device : str
    weights : path
        A file written by `fit`.
    threshold : float or None
        Least confidence of a detection; None takes the weights' own.
    nms : float
        Of two boxes that overlap by more than this (intersection over union) the less sure is dropped.
    detections : int or None
        Most detections in the image, the surest first; None takes more than any image can hold.
    exposure : (float, float) or None
        Brightness and contrast of the whole image, from `context`, when `image` is only a tile.

    Returns
    -------
    Prediction

    Raises
    ------
    DataError
        If the image is not (H, W) float32, or the weights file is missing or not one of YOLOX's.
    ParameterError
        If a parameter is out of range, or prompts are given.
    NotAvailableError
        If the package is not installed.
    """
    device = choose_device(device)
    network, settings, digest = load_weights(weights, device)
    threshold = settings.threshold if threshold is None else threshold
    check_limits(threshold, nms, detections)
    small = normalised(image, settings, exposure)
    boxes, scores = detect(network, small, device, stride(settings), threshold=threshold, nms=nms)
    kept = slice(most(settings, small.shape) if detections is None else detections)
    points = to_points(boxes[kept], settings, image.shape)
    meta = {"method": "yolox", "weights_sha256": digest, "device": str(device), "threshold": threshold}
    return Prediction(points, scores[kept], float(len(points)), meta=meta)


def about(path: str | Path) -> dict[str, Any]:
    """What a weights file says of itself: a dict with its settings, samples, number of points, curves and versions.

    Raises
    ------
    DataError
        If the file is missing, torn, or not one of YOLOX's.
    """
    return checkpoints.load(path, kind=FORMAT, method="yolox")[0]


def load_weights(path: Path | str, device: torch.device) -> tuple[torch.nn.Module, Settings, str]:
    """Network in evaluation mode, `Settings` and SHA-256 of a weights file; kept until the file changes.

    Raises like `about`, and NotAvailableError if the package is not installed.
    """
    path = Path(path)
    return _load(path, path.stat().st_mtime_ns if path.exists() else 0, device)


@functools.lru_cache(maxsize=2)
def _load(path, mtime, device):
    described, state = checkpoints.load(path, kind=FORMAT, method="yolox")
    settings = Settings(**described["settings"])
    network = build(settings)
    network.load_state_dict(state)
    return network.float().eval().to(device), settings, sha256(path)


@torch.inference_mode()
def detect(
    network: torch.nn.Module, image: np.ndarray, device: torch.device, step: int, *, threshold: float, nms: float
) -> tuple[np.ndarray, np.ndarray]:
    """Detections of one normalised image, the surest first.

    Parameters
    ----------
    network : of `network.build`, in evaluation mode
    image : (H, W) float32
        Normalised, and shrunken as for training.
    device : torch device
    step : int, px
        The sides are filled up to a multiple of it.
    threshold, nms : float
        Least confidence, and largest intersection over union.

    Returns
    -------
    boxes : (N, 4) float32, (y0, x0, y1, x1) px
    scores : (N,) float32
    """
    from yolox.utils import postprocess

    padded = np.pad(image, [(0, -side % step) for side in image.shape])
    x = torch.from_numpy(padded)[None, None].contiguous(memory_format=torch.channels_last)
    found = postprocess(network(x.to(device)), 1, conf_thre=threshold, nms_thre=nms)[0]
    if found is None:
        return np.zeros((0, 4), np.float32), np.zeros(0, np.float32)
    found = found.cpu().numpy()
    return from_corner_xy(found[:, :4]), found[:, 4] * found[:, 5]
