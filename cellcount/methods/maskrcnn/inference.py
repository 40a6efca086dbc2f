"""From an image to detections, to points."""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from cellcount.devices import choose_device
from cellcount.files import sha256
from cellcount.methods.base import predicts
from cellcount.methods.pixels import to_full
from cellcount.methods.detection import checkpoints
from cellcount.methods.detection.boxes import from_corner_xy
from cellcount.methods.detection.inference import check_limits, most, normalised, to_points
from cellcount.methods.maskrcnn.network import allow, build
from cellcount.methods.maskrcnn.settings import FORMAT, Settings
from cellcount.types import Prediction


@predicts("Mask R-CNN")
def predict(
    image: np.ndarray,
    *,
    prompts: None = None,
    device: str = "auto",
    weights: str | Path | None,
    threshold: float | None = None,
    nms: float = 0.5,
    detections: int | None = None,
    masks: bool = True,
    exposure: tuple[float, float] | None = None,
) -> Prediction:
    """Find the cells of one image.

    The points are the boxes' centres; the centroids of the masks where the network has learned instance masks.

    Parameters
    ----------
    image : (H, W) float32 in [0, 1]
        Large images go through `cellcount.tiling.tiled`: a detection takes 0.2 MB until its mask is painted.
    prompts : None
    device : str
    weights : path
        A file written by `fit`.
    threshold : float or None
        Least confidence of a detection; None takes the weights' own.
    nms : float
        Of two boxes that overlap by more than this (intersection over union) the less sure is dropped.
    detections : int or None
        Most detections in the image, the surest first (torchvision's `box_detections_per_img`, there 100); None takes
        one for every square of a quarter of a box's side, which no image can reach.
    masks : bool
        Whether to return `labels`; where masks overlap, the surer one is on top.
    exposure : (float, float) or None
        Brightness and contrast of the whole image, from `context`, when `image` is only a tile.

    Returns
    -------
    Prediction

    Raises
    ------
    DataError
        If the image is not (H, W) float32, or the weights file is missing or not one of Mask R-CNN's.
    ParameterError
        If a parameter is out of range, or prompts are given.
    """
    device = choose_device(device)
    network, settings, digest = load_weights(weights, device)
    threshold = settings.threshold if threshold is None else threshold
    check_limits(threshold, nms, detections)
    small = normalised(image, settings, exposure)
    detections = most(settings, small.shape) if detections is None else detections
    allow(network, proposals=max(1000, 2 * detections), detections=detections, threshold=threshold, nms=nms)
    found = detect(network, small, device)
    points, labels = to_points(found["boxes"], settings, image.shape), None
    if masks or settings.targets == "labels":
        labels = paint(found["boxes"], found["masks"], small.shape)
        if settings.targets == "labels":
            points = _centroids(labels, points, settings.factor)
        labels = labels.repeat(settings.factor, axis=0).repeat(settings.factor, axis=1)
        labels = np.ascontiguousarray(labels[: image.shape[0], : image.shape[1]]) if masks else None
    meta = {"method": "maskrcnn", "weights_sha256": digest, "device": str(device), "threshold": threshold}
    return Prediction(points, found["scores"], float(len(points)), labels=labels, meta=meta)


def about(path: str | Path) -> dict[str, Any]:
    """What a weights file says of itself: a dict with its settings, samples, number of points, curves and versions.

    Raises
    ------
    DataError
        If the file is missing, torn, or not one of Mask R-CNN's.
    """
    return checkpoints.load(path, kind=FORMAT, method="maskrcnn")[0]


def load_weights(path: Path | str, device: torch.device) -> tuple[torch.nn.Module, Settings, str]:
    """Network in evaluation mode, `Settings` and SHA-256 of a weights file; kept until the file changes.

    Raises like `about`.
    """
    path = Path(path)
    return _load(path, path.stat().st_mtime_ns if path.exists() else 0, device)


@functools.lru_cache(maxsize=2)
def _load(path, mtime, device):
    described, state = checkpoints.load(path, kind=FORMAT, method="maskrcnn")
    settings = Settings(**described["settings"])
    network = build(settings)
    network.load_state_dict(state)
    return network.float().eval().to(device), settings, sha256(path)


@torch.inference_mode()
def detect(network: torch.nn.Module, image: np.ndarray, device: torch.device) -> dict[str, np.ndarray]:
    """Detections of one normalised image, the surest first.

    Parameters
    ----------
    network : of `network.build`, in evaluation mode
    image : (H, W) float32
        Normalised, and shrunken as for training.
    device : torch device

    Returns
    -------
    dict of `boxes` (N, 4) float32, (y0, x0, y1, x1) px; `scores` (N,) float32; `masks` (N, m, m) float32, the
    probability of each box's inside to belong to the cell
    """
    found = network([torch.from_numpy(image)[None].to(device)])[0]
    boxes, scores, masks = (found[name].cpu().numpy() for name in ("boxes", "scores", "masks"))
    return {"boxes": from_corner_xy(boxes), "scores": scores, "masks": masks[:, 0]}


def paint(boxes: np.ndarray, masks: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """One label image from many masks, each drawn alone into its own box: memory does not grow with their number.

    Parameters
    ----------
    boxes : (N, 4) float32, (y0, x0, y1, x1) px
        The first is on top.
    masks : (N, m, m) float32
        Probabilities, as of `detect`.
    shape : (height, width), px

    Returns
    -------
    (height, width) int32
        Value i + 1 is the mask of box i.
    """
    labels = np.zeros(shape, np.int32)
    edges = np.rint(np.clip(boxes + 0.5, 0, np.tile(shape, 2))).astype(int)
    for i, (y0, x0, y1, x1) in enumerate(edges):
        if y1 > y0 and x1 > x0:
            mask = torch.from_numpy(masks[i])[None, None]
            inside = F.interpolate(mask, size=(int(y1 - y0), int(x1 - x0)), mode="bilinear")[0, 0].numpy() > 0.5
            part = labels[y0:y1, x0:x1]
            part[inside & (part == 0)] = i + 1
    return labels


def _centroids(labels, points, factor):
    """Points (N, 2) moved to the centroids of their masks in the shrunken `labels` (H, W), where they have one."""
    from scipy import ndimage

    present = np.unique(labels[labels > 0])
    if len(present):
        centroids = np.array(ndimage.center_of_mass(labels > 0, labels, present), np.float32)
        points = points.copy()
        points[present - 1] = to_full(centroids, factor)
    return points
