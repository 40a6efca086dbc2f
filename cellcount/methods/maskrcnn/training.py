"""Training Mask R-CNN on square boxes around centre points."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cellcount import registry
from cellcount.methods.detection import loop
from cellcount.methods.detection.boxes import to_corner_xy
from cellcount.methods.detection.tiles import Tile
from cellcount.methods.maskrcnn.network import COCO_NAME, build, load_coco
from cellcount.methods.maskrcnn.settings import Settings
from cellcount.types import Sample


def fit(samples: list[Sample], *, out: str | Path, device: str = "auto", progress: bool = True, **params: Any) -> Path:
    """Train on annotated samples and write the weights.

    Each point becomes a square box, and the box its own mask, as in the thesis; or the samples' instance masks are
    learned. A pixel without a box is background only where `Sample.valid` says that the annotation can be trusted.

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
    settings, pretrained = _start(Settings.of(params))

    def network():
        made = build(settings)
        if pretrained:
            load_coco(made, pretrained)
        return made

    def losses(network, batch, device):
        parts = network(*tensors(batch, device))
        return parts, {"positive_share": round(network.roi_heads.positive_share, 4)}

    return loop.fit(
        samples, settings, network, losses, out=out, device=device, progress=progress, masks=True,
        targets=settings.targets,
    )  # fmt: skip


def _start(settings):
    """The settings with `start` resolved, and the file of the weights pretrained on COCO, or None."""
    if settings.start == "coco":
        return settings, registry.fetch_weights(COCO_NAME)
    found = registry.find_weights(COCO_NAME) if settings.start == "auto" and settings.fits_coco else None
    return replace(settings, start="coco" if found else "scratch"), found


def tensors(batch: Sequence[Tile], device: torch.device) -> tuple[list[torch.Tensor], list[dict[str, torch.Tensor]]]:
    """Images and targets of a list of `Tile`, for torchvision."""
    images = [torch.from_numpy(tile.image)[None].to(device) for tile in batch]
    targets = [
        {
            "boxes": torch.from_numpy(to_corner_xy(tile.boxes)).to(device),
            "labels": torch.ones(len(tile.boxes), dtype=torch.int64, device=device),
            "masks": torch.from_numpy(tile.masks).to(device),
            "trusted": torch.from_numpy(np.ascontiguousarray(tile.trusted)).to(device),
        }
        for tile in batch
    ]
    return images, targets
