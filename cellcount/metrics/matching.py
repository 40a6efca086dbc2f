"""The metric of all methods: gated one-to-one matching of predicted with true points."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import coo_array
from scipy.sparse.csgraph import min_weight_full_bipartite_matching
from scipy.spatial import cKDTree

from cellcount.errors import require
from cellcount.types import Sample, as_points

NEAR_PX = 26.0  # about the cell spacing in the thesis images, and the radius of the published CellNet's loss


class Matching(NamedTuple):
    """The outcome of `match`.

    Attributes
    ----------
    tp, fp, fn : int
        Matched pairs, unmatched predictions, unmatched true points.
    pairs : (tp, 2) int
        Indices (true, predicted) of each matched pair, by true index.
    distances : (tp,) float
        Distance of each pair, px.
    """

    tp: int
    fp: int
    fn: int
    pairs: np.ndarray
    distances: np.ndarray

    @property
    def precision(self) -> float:
        """tp / (tp + fp); without predictions 1 on an empty image, else 0."""
        return _ratio(self.tp, self.tp + self.fp, self.fn)

    @property
    def recall(self) -> float:
        """tp / (tp + fn); without true points 1 if nothing was predicted, else 0."""
        return _ratio(self.tp, self.tp + self.fn, self.fp)

    @property
    def f1(self) -> float:
        """2 tp / (2 tp + fp + fn); 1 if there are neither true points nor predictions."""
        return f1(self.tp, self.fp, self.fn)

    def split(self, true: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Where each of tp, fp and fn is, (K, 2) (y, x) px each: true points, predicted ones, and true ones again."""
        found, right = self.pairs.T
        return true[found], np.delete(predicted, right, axis=0), np.delete(true, found, axis=0)


def _ratio(part: int, whole: int, others: int) -> float:
    return part / whole if whole else float(others == 0)


def f1(tp: int, fp: int, fn: int) -> float:
    """F1 from counts; 1 if there are neither true points nor predictions."""
    return 2 * tp / (2 * tp + fp + fn) if tp + fp + fn else 1.0


def match(true: ArrayLike, predicted: ArrayLike, tolerance: float) -> Matching:
    """Match each true point with at most one predicted point within `tolerance`.

    Of all such matchings, one with the largest number of pairs, and of these the one with the smallest summed distance.
    It is computed exactly, as a sparse assignment: a true point is assigned a predicted one within the tolerance at the
    cost of their distance, or its own dummy at a cost above that of all pairs together. Dummies are not counted.

    Parameters
    ----------
    true, predicted : (N, 2) and (M, 2) float, (y, x) px
    tolerance : float, px
        Pairs at exactly this distance still match.

    Returns
    -------
    Matching

    Raises
    ------
    ParameterError
        If the tolerance is not a positive number.

    Examples
    --------
    >>> match([[0, 0], [0, 10]], [[0, 9], [50, 50]], tolerance=5)[:3]
    (1, 1, 1)
    """
    require(np.isfinite(tolerance) and tolerance > 0, f"tolerance={tolerance!r}: give a positive number of pixels.")
    true = as_points(true, "true points").astype(float)
    predicted = as_points(predicted, "predicted points").astype(float)
    n, m = len(true), len(predicted)
    pairs, distances = np.zeros((0, 2), int), np.zeros(0)
    if n and m:
        pairs, distances = _assign(true, predicted, tolerance)
    return Matching(len(pairs), m - len(pairs), n - len(pairs), pairs, distances)


def _assign(true: np.ndarray, predicted: np.ndarray, tolerance: float) -> tuple[np.ndarray, np.ndarray]:
    """Pairs (K, 2) and distances (K,) of the best gated assignment of two non-empty point sets, px."""
    n, m = len(true), len(predicted)
    reach = cKDTree(true).sparse_distance_matrix(cKDTree(predicted), tolerance * (1 + 1e-9), output_type="coo_matrix")
    rows, columns = np.concatenate([reach.row, np.arange(n)]), np.concatenate([reach.col, m + np.arange(n)])
    offset = 1.0  # a sparse matrix drops zeros, so distance 0 must not be one
    dummy = offset + (min(n, m) + 1) * (tolerance + offset)
    costs = np.concatenate([reach.data + offset, np.full(n, dummy)])
    row, column = min_weight_full_bipartite_matching(coo_array((costs, (rows, columns)), shape=(n, m + n)).tocsr())
    real = column < m
    pairs = np.stack([row[real], column[real]], axis=1)
    return pairs, np.linalg.norm(true[pairs[:, 0]] - predicted[pairs[:, 1]], axis=1)


def default_tolerance(points: ArrayLike) -> float:
    """Half the median nearest-neighbour distance of the points, px (12 px on the thesis images).

    Parameters
    ----------
    points : (N, 2) float, (y, x) px, N >= 2

    Raises
    ------
    ParameterError
        With fewer than two points.
    """
    points = as_points(points)
    require(len(points) > 1, "The default tolerance needs at least two annotated points; give one in pixels.")
    return float(np.median(cKDTree(points).query(points, k=2)[0][:, 1])) / 2


def near(predicted: ArrayLike, annotated: ArrayLike, radius: float = NEAR_PX) -> np.ndarray:
    """Which predictions are within `radius` of an annotated point: the reading *near annotations*.

    Elsewhere, a prediction may be a cell that the annotator skipped. This rule excludes those without using any model.

    Parameters
    ----------
    predicted, annotated : (M, 2) and (N, 2) float, (y, x) px
    radius : float, px

    Returns
    -------
    (M,) bool
    """
    predicted, annotated = as_points(predicted), as_points(annotated)
    if not len(annotated):
        return np.zeros(len(predicted), bool)
    return cKDTree(annotated).query(predicted, distance_upper_bound=radius * (1 + 1e-6))[0] <= radius


def inside(points: ArrayLike, region: np.ndarray) -> np.ndarray:
    """Which points are inside `region`; a point belongs to the pixel with the nearest centre.

    Parameters
    ----------
    points : (N, 2) float, (y, x) px
    region : (H, W) bool

    Returns
    -------
    (N,) bool
    """
    points = as_points(points)
    indices = np.rint(points).astype(int)
    height, width = region.shape
    on_image = ((indices >= 0) & (indices < [height, width])).all(axis=1)
    kept = np.zeros(len(points), bool)
    kept[on_image] = region[tuple(indices[on_image].T)]
    return kept


def scored(sample: Sample, points: np.ndarray, tolerance: float) -> np.ndarray:
    """Which predicted points are scored: all, unless only regions of the image were annotated.

    Then those in the regions, and those near enough to an annotated point to match it.

    Parameters
    ----------
    sample : Sample
        With points; `meta["limited"]` says that the annotation is limited to `valid`.
    points : (M, 2) float, (y, x) px
    tolerance : float, px

    Returns
    -------
    (M,) bool
    """
    if not sample.meta.get("limited") or sample.points is None:
        return np.ones(len(points), bool)
    return inside(points, sample.valid) | near(points, sample.points, tolerance)
