"""Mask R-CNN: from samples to weights, and from an image to detections, to points and masks."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from cellcount import registry
from cellcount.methods import weights_files
from cellcount.methods.base import predicts
from cellcount.methods.detection import loop
from cellcount.methods.detection.boxes import from_corner_xy, to_corner_xy
from cellcount.methods.detection.inference import most, prepare, to_points
from cellcount.methods.detection.tiles import Tile
from cellcount.methods.maskrcnn.network import COCO_NAME, allow, build, load_coco
from cellcount.methods.maskrcnn.settings import Settings
from cellcount.methods.pixels import centroids, enlarged, to_full
from cellcount.types import Prediction, Sample


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
    network, settings, meta = prepare(Settings, build, weights, device, threshold, nms, detections)
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


# Of a path: settings, samples, number of points, curves and versions of a weights file; raises DataError.
about = partial(weights_files.about, format=Settings.FORMAT, label=Settings.LABEL)


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


def fit(samples: list[Sample], *, out: str | Path, device: str = "auto", progress: bool = True, **params: Any) -> Path:
    """Train on annotated samples and write the weights.

    Each point becomes a square box, and the box its own mask, as in the thesis; or the samples' instance masks are
    learned. A pixel without a box is background only where the annotation can be trusted (`Sample.valid`).

    Parameters
    ----------
    samples : list of Sample
        Each with `points` (N, 2) (y, x) px and `valid`; with `labels` if targets="labels".
    out : path
        The safetensors file to write; its metadata holds the settings, the data's names, and the training curves.
    device : "auto", "cpu", "cuda", ...
    params
        Fields of `Settings`; `preset` is "thesis", the default, or "light".

    Returns
    -------
    Path of `out`

    Raises
    ------
    DataError
        If no sample has a point, or one lacks its annotation.
    ParameterError
        If a parameter is unknown or out of range.
    NotAvailableError
        If start="coco" and the weights are not on this machine and cannot be downloaded.
    """
    settings = Settings.of(params)
    pretrained = registry.fetch_weights(COCO_NAME) if settings.start == "coco" else None
    if settings.start == "auto":
        pretrained = registry.find_weights(COCO_NAME) if settings.fits_coco else None
        settings = replace(settings, start="coco" if pretrained else "scratch")

    def network():
        made = build(settings)
        if pretrained:
            load_coco(made, pretrained)
        return made

    def losses(network, batch, device):
        parts = network(*tensors(batch, device))
        return parts, {"positive_share": round(network.roi_heads.positive_share, 4)}

    run = {"out": out, "device": device, "progress": progress}
    return loop.fit(samples, settings, network, losses, masks=True, targets=settings.targets, **run)


def tensors(batch: Sequence[Tile], device: torch.device) -> tuple[list[torch.Tensor], list[dict[str, torch.Tensor]]]:
    """Images and targets of a list of `Tile`, for torchvision."""
    images = [torch.from_numpy(tile.image)[None].to(device) for tile in batch]
    targets = []
    for tile in batch:
        arrays = {"boxes": to_corner_xy(tile.boxes), "labels": np.ones(len(tile.boxes), np.int64)}
        arrays |= {"masks": tile.masks, "trusted": np.ascontiguousarray(tile.trusted)}
        targets.append({name: torch.from_numpy(array).to(device) for name, array in arrays.items()})
    return images, targets
