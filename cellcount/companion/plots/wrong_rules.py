"""Misleading rules for matching points that are in use, to compare with `match`; no score of the project uses them."""

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from cellcount.metrics import Matching
from cellcount.types import as_points


def greedy(true: ArrayLike, predicted: ArrayLike, tolerance: float) -> Matching:
    """Nearest pair first, then the nearest of the rest: an early pair can take the only partner of a later one.

    Parameters
    ----------
    true, predicted : (N, 2) and (M, 2) float, (y, x) px
    tolerance : float, px

    Returns
    -------
    Matching
    """
    distances = cdist(as_points(true), as_points(predicted))
    pairs = []
    while np.isfinite(least := distances.min(initial=np.inf)) and least <= tolerance:
        row, column = np.unravel_index(distances.argmin(), distances.shape)
        pairs.append((row, column))
        distances[row], distances[:, column] = np.inf, np.inf
    return _matching(true, predicted, pairs)


def ungated(true: ArrayLike, predicted: ArrayLike, tolerance: float) -> Matching:
    """Smallest summed distance over all points, and the tolerance afterwards: one far point can part its neighbours.

    Points are (N, 2) and (M, 2) (y, x) px; a Matching as of `greedy`.
    """
    distances = cdist(as_points(true), as_points(predicted))
    pairs = [pair for pair in zip(*linear_sum_assignment(distances), strict=True) if distances[pair] <= tolerance]
    return _matching(true, predicted, pairs)


def padded(true: ArrayLike, predicted: ArrayLike, tolerance: float) -> Matching:
    """Pad the shorter list with dummy points to equal length, and count the dummies as points.

    The pairs are those of `ungated`, but every point without a partner, dummies included, is both false and missed, so
    that precision and recall are equal. Points are (N, 2) and (M, 2) (y, x) px; a Matching as of `greedy`.
    """
    plain = ungated(true, predicted, tolerance)
    without = max(len(as_points(true)), len(as_points(predicted))) - plain.tp
    return plain._replace(fp=without, fn=without)


def _matching(true, predicted, pairs):
    true, predicted = as_points(true), as_points(predicted)
    pairs = np.array(sorted(pairs), int).reshape(-1, 2)
    distances = np.linalg.norm(true[pairs[:, 0]] - predicted[pairs[:, 1]], axis=1)
    return Matching(len(pairs), len(predicted) - len(pairs), len(true) - len(pairs), pairs, distances)
