"""What became of each cell and each mask, by rule."""

from typing import NamedTuple

import numpy as np

from cellcount.errors import DataError
from cellcount.metrics.matching import match
from cellcount.types import Prediction, Sample


class Outcomes(NamedTuple):
    """Indices by kind, each (n,) int: of masks (mask i has the label i + 1), but for `missed`, of annotated points.

    `found` masks hold one annotated point, and the matching gave it to them. `merged` ones hold two or more. `holes`
    hold none and lie mostly on background; `unexplained` ones hold none and lie on something. `missed` points were
    not matched and lie on no mask.
    """

    found: np.ndarray
    merged: np.ndarray
    holes: np.ndarray
    unexplained: np.ndarray
    missed: np.ndarray


def mask_outcomes(sample: Sample, prediction: Prediction, background: np.ndarray, tolerance: float) -> Outcomes:
    """Sort masks and annotated points into `Outcomes`.

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
        raise DataError(f"{sample.name}: it takes annotated points and predicted masks to sort them.")
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
    return Outcomes(
        np.flatnonzero((held == 1) & matched),
        np.flatnonzero(held > 1),
        np.flatnonzero(false & empty),
        np.flatnonzero(false & ~empty),
        missed,
    )
