"""Training YOLOX on square boxes around centre points."""

import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cellcount.methods.detection import loop
from cellcount.methods.detection.boxes import to_corner_xy
from cellcount.methods.detection.tiles import Tile
from cellcount.methods.yolox.network import build, stride
from cellcount.methods.yolox.settings import Settings
from cellcount.types import Sample


def fit(samples: list[Sample], *, out: str | Path, device: str = "auto", progress: bool = True, **params: Any) -> Path:
    """Train on annotated samples, from scratch, and write the weights.

    Each point becomes a square box, as for Mask R-CNN. A pixel without a box is background only where `Sample.valid`
    says that the annotation can be trusted.

    Parameters
    ----------
    samples : list of Sample
        Each with `points` (N, 2) (y, x) px and `valid`.
    out : path
        The safetensors file to write; its metadata holds the settings, the data's names, and the training curves.
    device : "auto", "cpu", "cuda", ...
    params
        Fields of `Settings`; `preset` is "s", the default, or "light".

    Returns
    -------
    Path of `out`

    Raises
    ------
    DataError
        If no sample has a point, or one has no annotation at all.
    ParameterError
        If a parameter is unknown or out of range.
    NotAvailableError
        If the package is not installed.
    """
    settings = Settings.of(params)

    def losses(network, batch, device):
        images, boxes, trusted = tensors(batch, stride(settings), device)
        network.head.bcewithlog_loss.watch(trusted, network.head.strides)
        parts = network(images, boxes)
        names = {"loss_box": "iou_loss", "loss_objectness": "conf_loss", "loss_class": "cls_loss"}
        return {name: parts[theirs] for name, theirs in names.items()}, {}

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*torch.cuda.amp.autocast.*")  # in each step of the package
        return loop.fit(samples, settings, partial(build, settings), losses, out=out, device=device, progress=progress)


def tensors(batch: Sequence[Tile], step: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A list of `Tile` as the network takes it, padded to one size, a multiple of `step` px.

    Returns
    -------
    images : (N, 1, H, W) float
    boxes : (N, M, 5) float
        Class 0, then centre and size, (x, y, width, height) px from the corner; padded with rows of zeros.
    trusted : (N, H, W) bool
    """
    height, width = (-(-max(tile.image.shape[i] for tile in batch) // step) * step for i in (0, 1))
    images = np.zeros((len(batch), 1, height, width), np.float32)
    trusted = np.zeros((len(batch), height, width), bool)
    boxes = np.zeros((len(batch), max(1, *(len(tile.boxes) for tile in batch)), 5), np.float32)
    for i, tile in enumerate(batch):
        rows, columns = tile.image.shape
        images[i, 0, :rows, :columns], trusted[i, :rows, :columns] = tile.image, tile.trusted
        corners = to_corner_xy(tile.boxes)
        boxes[i, : len(corners), 1:3] = (corners[:, :2] + corners[:, 2:]) / 2
        boxes[i, : len(corners), 3:5] = corners[:, 2:] - corners[:, :2]
    images = torch.from_numpy(images).contiguous(memory_format=torch.channels_last)
    return images.to(device), torch.from_numpy(boxes).to(device), torch.from_numpy(trusted).to(device)
