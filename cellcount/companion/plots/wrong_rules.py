"""Ways to pair points that are in use and mislead. No score of the project uses them: they stand beside `match`."""

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from cellcount.metrics import Matching
from cellcount.types import as_points


def greedy(true: ArrayLike, predicted: ArrayLike, tolerance: float) -> Matching:
    """Nearest pair first, then the nearest of what is left: an early pair can take away a later one's only partner.

    Parameters
    ----------
    true, predicted : (N, 2) and (M, 2) float, (y, x) px
    tolerance : float, px

    Returns
    -------
    Matching
    """
    true, predicted = as_points(true), as_points(predicted)
    distances = cdist(true, predicted)
    rows, columns = np.nonzero(distances <= tolerance)
    pairs, taken_true, taken = [], set(), set()
    for index in np.argsort(distances[rows, columns], kind="stable"):
        row, column = int(rows[index]), int(columns[index])
        if row not in taken_true and column not in taken:
            pairs.append((row, column))
            taken_true.add(row)
            taken.add(column)
    return _matching(true, predicted, pairs)


def ungated(true: ArrayLike, predicted: ArrayLike, tolerance: float) -> Matching:
    """Smallest summed distance over all points, and only then a look at the tolerance.

    One far point can push its neighbours' pairs apart. Points are (N, 2) and (M, 2) (y, x) px; answer as `greedy`.
    """
    true, predicted = as_points(true), as_points(predicted)
    distances = cdist(true, predicted)
    pairs = [pair for pair in zip(*linear_sum_assignment(distances), strict=True) if distances[pair] <= tolerance]
    return _matching(true, predicted, pairs)


def padded(true: ArrayLike, predicted: ArrayLike, tolerance: float) -> Matching:
    """Fill the shorter list with dummies until both are equally long, and count the dummies as points.

    The pairs are those of `ungated`, but every true or predicted point without a partner, dummies included, is both a
    false one and a missed one, so that precision and recall cannot differ.
    Points are (N, 2) and (M, 2) (y, x) px; answer as `greedy`.
    """
    plain = ungated(true, predicted, tolerance)
    without = max(len(as_points(true)), len(as_points(predicted))) - plain.tp
    return plain._replace(fp=without, fn=without)


def _matching(true, predicted, pairs):
    pairs = np.array(sorted(pairs), int).reshape(-1, 2)
    distances = np.linalg.norm(true[pairs[:, 0]] - predicted[pairs[:, 1]], axis=1)
    return Matching(len(pairs), len(predicted) - len(pairs), len(true) - len(pairs), pairs, distances)
