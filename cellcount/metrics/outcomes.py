"""Classification of masks and missed cells."""

from typing import NamedTuple

import numpy as np

from cellcount.errors import DataError
from cellcount.metrics.matching import match
from cellcount.types import Prediction, Sample


class Outcomes(NamedTuple):
    """Indices by class, (n,) int each: of masks (mask i has the label i + 1) or, for `missed`, of annotated points.

    `found` masks contain one annotated point and are matched. `merged` masks contain two or more. `holes` contain none
    and are mostly on background; `unexplained` masks contain none and are on something else. `missed` points are
    neither matched nor inside a mask.
    """

    found: np.ndarray
    merged: np.ndarray
    holes: np.ndarray
    unexplained: np.ndarray
    missed: np.ndarray


def mask_outcomes(sample: Sample, prediction: Prediction, background: np.ndarray, tolerance: float) -> Outcomes:
    """Classify masks and annotated points.

    Parameters
    ----------
    sample : Sample with points
    prediction : Prediction with labels
    background : (H, W) bool
        Where no cell is.
    tolerance : float, px

    Returns
    -------
    Outcomes

    Raises
    ------
    DataError
        If there is no annotation, or the prediction has no masks.
    """
    if sample.points is None or prediction.labels is None:
        raise DataError(f"{sample.name}: annotated points and predicted masks are needed to classify them.")
    count = len(prediction.points)
    at = np.rint(sample.points).astype(int).clip(0, np.array(sample.image.shape) - 1)
    under = prediction.labels[tuple(at.T)]
    held = np.bincount(under, minlength=count + 1)[1:]
    matching = match(sample.points, prediction.points, tolerance)
    matched = np.zeros(count, bool)
    matched[matching.pairs[:, 1]] = True
    area = np.bincount(prediction.labels.ravel(), minlength=count + 1)[1:]
    empty = np.bincount(prediction.labels[background], minlength=count + 1)[1:] * 2 > area
    false = (held == 0) & ~matched & (area > 0)
    missed = np.setdiff1d(np.flatnonzero(under == 0), matching.pairs[:, 0])
    kinds = ((held == 1) & matched, held > 1, false & empty, false & ~empty)
    return Outcomes._make([*map(np.flatnonzero, kinds), missed])
