"""From an image to detections, to points."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from cellcount.methods import weights_files
from cellcount.methods.base import predicts
from cellcount.methods.detection.boxes import from_corner_xy
from cellcount.methods.detection.inference import most, prepare, to_points
from cellcount.methods.yolox.network import build, stride
from cellcount.methods.yolox.settings import Settings
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
        Of two boxes that overlap by more than this (intersection over union) the one with the lower score is dropped.
    detections : int or None
        Most detections in the image, by their scores; None takes more than any image can hold.
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
    network, settings, meta = prepare(
        Settings, build, weights, device=device, threshold=threshold, nms=nms, detections=detections
    )
    small = settings.prepared(image, exposure)
    device = torch.device(meta["device"])
    boxes, scores = detect(network, small, device, stride(settings), threshold=meta["threshold"], nms=nms)
    kept = slice(most(settings, small.shape) if detections is None else detections)
    points = to_points(boxes[kept], settings, image.shape)
    return Prediction(points, scores[kept], float(len(points)), meta={"method": "yolox", **meta})


def about(path: str | Path) -> dict[str, Any]:
    """Settings, samples, number of points, curves and versions of a weights file's training.

    Raises
    ------
    DataError
        If the file is missing, truncated, or not one of YOLOX's.
    """
    return weights_files.about(path, Settings.FORMAT, Settings.LABEL)


@torch.inference_mode()
def detect(
    network: torch.nn.Module, image: np.ndarray, device: torch.device, step: int, *, threshold: float, nms: float
) -> tuple[np.ndarray, np.ndarray]:
    """Detections of one image, by descending score.

    Parameters
    ----------
    network : of `network.build`, in evaluation mode
    image : (H, W) float32
        From `Settings.prepared`.
    device : torch device
    step : int, px
        The sides are padded to a multiple of it.
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
