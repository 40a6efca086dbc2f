"""Training tiles for StarDist: normalised images, and masks with -1 where the annotation cannot be trusted."""

from collections.abc import Sequence

import numpy as np

from cellcount.errors import DataError
from cellcount.methods.pixels import percentiles, stretched
from cellcount.methods.stardist.settings import BLACK_WHITE, Settings
from cellcount.methods.training_masks import training_masks
from cellcount.tiling import tiles
from cellcount.types import Sample

Part = tuple[list[np.ndarray], list[np.ndarray]]  # images and labels
UNKNOWN = -1  # StarDist leaves such pixels out of its losses


def training_tiles(samples: Sequence[Sample], settings: Settings) -> tuple[Part, ...]:
    """Cut samples into tiles, and keep the best annotated of them for validation.

    Parameters
    ----------
    samples : list of Sample
    settings : `cellcount.methods.stardist.settings.Settings`

    Returns
    -------
    (train, validation)
        Each a pair of lists: images (h, w) float32, and labels (h, w) int32 with `UNKNOWN`.

    Raises
    ------
    DataError
        If a sample has no annotation, is smaller than a patch, or there are fewer than two tiles with cells.
    """
    found = []
    for sample in samples:
        if min(sample.image.shape) < settings.patch:
            raise DataError(
                f"{sample.name}: {sample.image.shape[0]} x {sample.image.shape[1]} px is smaller than a patch of "
                f"{settings.patch} px; lower `patch`, or leave this image out."
            )
        image = stretched(sample.image, percentiles(sample.image, *BLACK_WHITE))
        labels = training_masks(sample, settings.masks, settings.LABEL)
        labels = np.where((labels == 0) & ~sample.valid, UNKNOWN, labels).astype(np.int32)
        height, width = (side - settings.patch for side in image.shape)
        for (y0, y1, x0, x1), _ in tiles(image.shape, max(settings.tile, settings.patch), 0):
            part = np.s_[min(y0, height) : y1, min(x0, width) : x1]  # at least as wide as a patch
            if (labels[part] > 0).any():
                found.append((image[part], labels[part], float((labels[part] != UNKNOWN).mean())))
    if len(found) < 2:
        raise DataError("StarDist needs two tiles with cells, one to train and one to validate: give a larger image.")
    count = max(1, round(settings.validation * len(found)))
    best = sorted(range(len(found)), key=lambda i: -found[i][2])[:count]
    parts = [i for i in range(len(found)) if i not in best], sorted(best)
    return tuple(([found[i][0] for i in part], [found[i][1] for i in part]) for part in parts)
