"""From an image to detections, to points and masks."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from cellcount.methods import weights_files
from cellcount.methods.base import predicts
from cellcount.methods.detection.boxes import from_corner_xy
from cellcount.methods.detection.inference import most, prepare, to_points
from cellcount.methods.maskrcnn.network import allow, build
from cellcount.methods.maskrcnn.settings import Settings
from cellcount.methods.pixels import centroids, enlarged, to_full
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
        Of two boxes that overlap by more than this (intersection over union) the one with the lower score is dropped.
    detections : int or None
        Most detections in the image, by their scores (torchvision's `box_detections_per_img`, there 100); None takes
        one for every square of a quarter of a box's side, more than any image can hold.
    masks : bool
        Whether to return `labels`; where masks overlap, the one with the higher score is on top.
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
    network, settings, meta = prepare(
        Settings, build, weights, device=device, threshold=threshold, nms=nms, detections=detections
    )
    small = settings.prepared(image, exposure)
    detections = most(settings, small.shape) if detections is None else detections
    allow(network, proposals=max(1000, 2 * detections), detections=detections, threshold=meta["threshold"], nms=nms)
    found = detect(network, small, torch.device(meta["device"]))
    points, labels = to_points(found["boxes"], settings, image.shape), None
    if masks or settings.targets == "labels":
        labels = paint(found["boxes"], found["masks"], small.shape)
        present = np.unique(labels[labels > 0])
        if settings.targets == "labels" and len(present):
            points[present - 1] = to_full(centroids(labels, present), settings.factor)
        labels = np.ascontiguousarray(enlarged(labels, settings.factor, image.shape)) if masks else None
    meta = {"method": "maskrcnn", **meta}
    return Prediction(points, found["scores"], float(len(points)), labels=labels, meta=meta)


def about(path: str | Path) -> dict[str, Any]:
    """Settings, samples, number of points, curves and versions of a weights file's training.

    Raises
    ------
    DataError
        If the file is missing, truncated, or not one of Mask R-CNN's.
    """
    return weights_files.about(path, Settings.FORMAT, Settings.LABEL)


@torch.inference_mode()
def detect(network: torch.nn.Module, image: np.ndarray, device: torch.device) -> dict[str, np.ndarray]:
    """Detections of one image, by descending score.

    Parameters
    ----------
    network : of `network.build`, in evaluation mode
    image : (H, W) float32
        From `Settings.prepared`.
    device : torch device

    Returns
    -------
    dict of `boxes` (N, 4) float32, (y0, x0, y1, x1) px; `scores` (N,) float32; `masks` (N, m, m) float32, for each
    part of the box the probability that it belongs to the cell
    """
    found = network([torch.from_numpy(image)[None].to(device)])[0]
    boxes, scores, masks = (found[name].cpu().numpy() for name in ("boxes", "scores", "masks"))
    return {"boxes": from_corner_xy(boxes), "scores": scores, "masks": masks[:, 0]}


def paint(boxes: np.ndarray, masks: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """One label image from many masks, each drawn into its own box: memory does not grow with their number.

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
