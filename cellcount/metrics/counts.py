"""Errors of counts."""

import numpy as np
from numpy.typing import ArrayLike

from cellcount.errors import require
from cellcount.types import as_points


def count_errors(true: ArrayLike, predicted: ArrayLike) -> dict[str, float]:
    """Errors of counts over images.

    Parameters
    ----------
    true, predicted : (K,) float, cells per image, K >= 1

    Returns
    -------
    dict
        bias : mean of predicted - true, cells;
        mae : mean absolute error, cells;
        relative : mean of |predicted - true| / true over images that have cells (nan if none has);
        smape : mean of 2 |predicted - true| / (predicted + true), in [0, 2], 0 where both are 0 (Makridakis 1993).

    Raises
    ------
    ParameterError
        If there is no image, or the two differ in length.
    """
    true, predicted = np.asarray(true, float), np.asarray(predicted, float)
    one_each = true.shape == predicted.shape and true.ndim == 1 and len(true)
    require(one_each, f"counts of {true.shape} and {predicted.shape} images: give one of each for every image.")
    error = np.abs(predicted - true)
    total = true + predicted
    has_cells = true > 0
    return {
        "bias": (predicted - true).mean(),
        "mae": error.mean(),
        "relative": (error[has_cells] / true[has_cells]).mean() if has_cells.any() else np.nan,
        "smape": np.divide(2 * error, total, out=np.zeros_like(total), where=total > 0).mean(),
    }


def game(true: ArrayLike, predicted: ArrayLike, shape: tuple[int, ...], level: int) -> float:
    """Grid average mean error of one image: summed absolute count errors over 4**level equal parts.

    Level 0 is the absolute count error; at higher levels, a false cell in one part no longer compensates for a missed
    one in another (Guerrero-Gomez-Olmedo et al. 2015).

    Parameters
    ----------
    true : (N, 2) float, (y, x) px
    predicted : (M, 2) float, (y, x) px, or (H, W) float density, cells per px
    shape : (H, W), px
    level : int

    Returns
    -------
    float, cells
    """
    edges = [np.linspace(-0.5, side - 0.5, 2**level + 1) for side in shape]
    predicted = np.asarray(predicted)
    if predicted.shape == tuple(shape) and predicted.shape != (len(predicted), 2):
        cuts = [np.rint(edge[:-1] + 0.5).astype(int) for edge in edges]
        counts = np.add.reduceat(np.add.reduceat(predicted, cuts[0], axis=0), cuts[1], axis=1)
    else:
        counts = np.histogramdd(as_points(predicted), bins=edges)[0]
    return float(np.abs(counts - np.histogramdd(as_points(true), bins=edges)[0]).sum())


def coverage(true: ArrayLike, intervals: ArrayLike) -> float:
    """Share of images whose true count is in its interval, ends included.

    Parameters
    ----------
    true : (K,) float, cells
    intervals : (K, 2) float, (low, high) cells
    """
    true, (low, high) = np.asarray(true, float), np.asarray(intervals, float).T
    return float(((true >= low) & (true <= high)).mean())
