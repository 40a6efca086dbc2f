"""What a StarDist training needs: its settings, and tiles with masks of -1 where the annotation cannot be trusted."""

from collections.abc import Sequence
from dataclasses import dataclass
from zipfile import BadZipFile, ZipFile

import numpy as np

from cellcount.data.pseudo_masks import CHOICES, training_masks
from cellcount.errors import DataError, require
from cellcount.methods.base import TrainingSettings
from cellcount.methods.pixels import percentiles, stretched
from cellcount.tiling import tiles
from cellcount.types import Sample

FORMAT = "cellcount-stardist-1"  # of about.json in a weights file
BLACK_WHITE = (1, 99.8)  # percentiles of an image that become 0 and 1
MAX_BYTES = 2**30  # of an unpacked weights file; a network of the library's default size has 6 MB
UNKNOWN = -1  # StarDist leaves such pixels out of its losses
Part = tuple[list[np.ndarray], list[np.ndarray]]  # images and labels


@dataclass(frozen=True)
class Settings(TrainingSettings):
    """All settings of a training."""

    masks: str = "weighted"  # to learn from: a variant of pseudo_masks, or "true" where a sample has labels
    rays: int = 32  # directions in which the distance of the outline is predicted; the library's
    grid: int = 2  # px between two predictions: a quarter of the time, and cells are 17 of them wide
    filters: int = 16  # channels at the finest resolution; 32, the library's, learns too slowly without a GPU
    depth: int = 3  # how often the U-Net halves its input, after `grid`; the library's
    patch: int = 256  # px
    batch: int = 4
    steps: int = 1000  # 9 minutes on 2 cores
    learning_rate: float = 1e-3  # the library's 3e-4 finds no cell after so few steps
    tile: int = 512  # px: training images are cut into such tiles ...
    validation: float = 0.125  # ... and the best annotated eighth of them chooses weights and thresholds
    seed: int = 0

    LABEL = "StarDist"
    CHOICES = {"masks": CHOICES}

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.validation < 1, f"validation={self.validation!r} must be between 0 and 1.")
        step, patch = self.grid * 2**self.depth, self.patch
        require(patch % step == 0, f"patch={patch} must be a multiple of {step}, by which the network downsamples it.")


def check_size(file: ZipFile) -> None:
    """Raise a BadZipFile if an archive states that it unpacks to more than `MAX_BYTES`; zipfile unpacks no more."""
    size = sum(one.file_size for one in file.infolist())
    if size > MAX_BYTES:
        raise BadZipFile(f"unpacked it would have {size / 1e6:,.0f} MB")


def training_tiles(samples: Sequence[Sample], settings: Settings) -> tuple[Part, ...]:
    """Cut samples into tiles, and keep the best annotated of them for validation.

    Parameters
    ----------
    samples : list of Sample
    settings : Settings

    Returns
    -------
    (train, validation)
        Each a pair of lists: images (h, w) float32, and labels (h, w) int32 with `UNKNOWN`.

    Raises
    ------
    DataError
        If a sample has no annotation, is smaller than a patch, or there are fewer than two tiles with cells.
    """
    for tile in (max(settings.tile, settings.patch), settings.patch):  # of one small image, two patches at least
        found = _tiles(samples, settings, tile)
        if len(found) > 1:
            break
    few = "StarDist needs two patches with cells, one to train and one to validate: lower `patch`, or give more images."
    require(len(found) > 1, few, DataError)
    count = max(1, round(settings.validation * len(found)))
    best = sorted(range(len(found)), key=lambda i: -found[i][2])[:count]
    parts = [i for i in range(len(found)) if i not in best], sorted(best)
    return tuple(([found[i][0] for i in part], [found[i][1] for i in part]) for part in parts)


def _tiles(samples, settings, tile):
    """The tiles with cells: image (h, w), labels (h, w) and the share of pixels that are known."""
    found = []
    for sample in samples:
        small = f"{sample.name}: {' x '.join(map(str, sample.image.shape))} px is smaller than a patch of"
        way = f"{settings.patch} px; lower `patch`, or leave this image out."
        require(min(sample.image.shape) >= settings.patch, f"{small} {way}", DataError)
        image = stretched(sample.image, percentiles(sample.image, *BLACK_WHITE))
        labels = training_masks(sample, settings.masks, settings.LABEL)
        labels = np.where((labels == 0) & ~sample.valid, UNKNOWN, labels).astype(np.int32)
        height, width = (side - settings.patch for side in image.shape)
        for (y0, y1, x0, x1), _ in tiles(image.shape, tile, 0):
            y0, x0 = min(y0, height), min(x0, width)
            part = np.s_[y0 : max(y1, y0 + settings.patch), x0 : max(x1, x0 + settings.patch)]
            if (labels[part] > 0).any():
                found.append((image[part], labels[part], float((labels[part] != UNKNOWN).mean())))
    return found
