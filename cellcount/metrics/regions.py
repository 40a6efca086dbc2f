"""Agreement of two regions."""

import numpy as np
from numpy.typing import ArrayLike

from cellcount.errors import DataError, require
from cellcount.types import Sample


def overlap(true: ArrayLike, predicted: ArrayLike) -> tuple[int, int]:
    """Intersection and union of two regions, px: their ratio is the IoU (Jaccard index), also when summed over images.

    Parameters
    ----------
    true, predicted : (H, W) bool

    Returns
    -------
    intersection, union : int

    Raises
    ------
    ParameterError
        If the shapes differ.
    """
    true, predicted = np.asarray(true, bool), np.asarray(predicted, bool)
    require(true.shape == predicted.shape, f"regions of {true.shape} and {predicted.shape} px cannot be compared.")
    return int((true & predicted).sum()), int((true | predicted).sum())


def iou(true: ArrayLike, predicted: ArrayLike) -> float:
    """Intersection over union of two regions, (H, W) bool each; 1 if both are empty."""
    intersection, union = overlap(true, predicted)
    return intersection / union if union else 1.0


def covered(sample: Sample) -> np.ndarray:
    """The area covered by the cells of a Sample with masks, (H, W) bool.

    Cells whose nucleus is outside the image have no mask, but cover area: simulated fields are not `valid` there.

    Raises
    ------
    DataError
        If the sample has no masks: only simulated fields have masks.
    """
    if sample.labels is None:
        raise DataError(f"{sample.name}: without masks the covered area is unknown; use simulated fields.")
    return (sample.labels > 0) | ~sample.valid
