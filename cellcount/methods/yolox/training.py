"""Training YOLOX on square boxes around clicks."""

import warnings
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cellcount.devices import choose_device, deterministic
from cellcount.methods.detection import checkpoints, loop
from cellcount.methods.detection.boxes import to_corner_xy
from cellcount.methods.detection.tiles import Tile, Tiles
from cellcount.methods.yolox.network import build, stride
from cellcount.methods.yolox.settings import FORMAT, settings_from
from cellcount.types import Sample


def fit(samples: list[Sample], *, out: str | Path, device: str = "auto", progress: bool = True, **params: Any) -> Path:
    """Train on annotated samples, from nothing, and write the weights.

    Each click becomes a square box, as for Mask R-CNN. A place without a box is background only where `Sample.valid`
    says that the annotation can be trusted.

    Parameters
    ----------
    samples : list of Sample
        Each with `points` (N, 2) (y, x) px and `valid`.
    out : path
        The safetensors file to write; its metadata holds the settings, the data's names, and the curves of training.
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
    settings = settings_from(params)
    tiles = Tiles(samples, settings, masks=False)
    device = choose_device(device)
    with deterministic(settings.seed), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*torch.cuda.amp.autocast.*")  # in each step of the package
        network = build(settings).to(device)
        head = network.head

        def losses(batch):
            images, boxes, trusted = tensors(batch, stride(settings), device)
            head.bcewithlog_loss.watch(trusted, head.strides)
            parts = network(images, boxes)
            return {
                "loss_box": parts["iou_loss"],
                "loss_objectness": parts["conf_loss"],
                "loss_class": parts["cls_loss"],
            }

        network, curves = loop.run(network, losses, tiles, settings, name="YOLOX", progress=progress)
    return checkpoints.save(network, out, kind=FORMAT, settings=asdict(settings), samples=samples, curves=curves)


def tensors(batch: Sequence[Tile], step: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A list of `Tile` as the network wants it, filled up to one size, a multiple of `step` px.

    Returns
    -------
    images : (N, 1, H, W) float
    boxes : (N, M, 5) float
        Class 0, then centre and size, (x, y, width, height) px from the corner; rows of zeros fill up.
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
