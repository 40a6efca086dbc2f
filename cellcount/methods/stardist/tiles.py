"""Training tiles for StarDist: normalised images, masks, and -1 where nobody has looked."""

from collections.abc import Sequence

import numpy as np

from cellcount.data.pseudo_masks import pseudo_masks
from cellcount.errors import DataError
from cellcount.methods.stardist.settings import Settings
from cellcount.tiling import tiles
from cellcount.types import Sample

Part = tuple[list[np.ndarray], list[np.ndarray]]  # images and labels
UNKNOWN = -1  # StarDist turns its losses off there


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
        low, high = np.percentile(sample.image, [1, 99.8])
        image = (sample.image - np.float32(low)) / np.float32(high - low or 1.0)
        labels = _labels(sample, settings)
        for y0, y1, x0, x1 in _windows(image.shape, settings):
            label = labels[y0:y1, x0:x1]
            if (label > 0).any():
                found.append((image[y0:y1, x0:x1], label, float((label != UNKNOWN).mean())))
    if len(found) < 2:
        raise DataError("StarDist needs two tiles with cells, one to train and one to validate: give a larger image.")
    count = max(1, round(settings.validation * len(found)))
    order = sorted(range(len(found)), key=lambda i: -found[i][2])
    kept = set(order[:count])
    parts = [[found[i] for i in range(len(found)) if (i in kept) == wanted] for wanted in (False, True)]
    return tuple(([image for image, _, _ in part], [label for _, label, _ in part]) for part in parts)


def _labels(sample, settings):
    if settings.masks == "true":
        if sample.labels is None:
            raise DataError(f"{sample.name}: has no true masks; train with masks='weighted', from its points.")
        labels = sample.labels
    elif sample.points is None:
        raise DataError(f"{sample.name}: no annotation; StarDist learns from masks around points. Leave it out.")
    else:
        labels = pseudo_masks(sample.image, sample.points, variant=settings.masks)
    return np.where((labels == 0) & ~sample.valid, UNKNOWN, labels).astype(np.int32)


def _windows(shape, settings):
    """The tiles (y0, y1, x0, x1); one that is narrower than a patch reaches back over its neighbour."""
    for (y0, y1, x0, x1), _ in tiles(shape, max(settings.tile, settings.patch), 0):
        yield min(y0, shape[0] - settings.patch), y1, min(x0, shape[1] - settings.patch), x1
