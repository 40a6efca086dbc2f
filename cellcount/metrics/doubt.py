"""How many points of a count are probably wrong, part by part of an image, so that a person sees the worst first."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from cellcount.metrics.matching import default_tolerance, match

NEAR = 0.5  # share of the threshold by which a score must differ from it for its peak to be certain
CLOSE = 0.7  # of the median distance of nearest neighbours; nearer points are crowded
CROWDED = 0.1  # weight of a crowded point; on simulated fields every tenth is an error more than elsewhere


class Doubt(NamedTuple):
    """The doubt of one part of an image, in points; they add up to an estimate of its errors, `total`.

    Attributes
    ----------
    near : float
        Peaks near the threshold, found or not: 0.5 for one at the threshold, where either decision may be wrong; less
        for others, down to 0 at half the threshold and at one and a half times it.
    views : float
        Mean number of points by which the results on turned images differ from the count.
    crowded : float
        0.1 for each point whose nearest neighbour is closer than 0.7 of the median distance of neighbours.
    """

    near: float = 0.0
    views: float = 0.0
    crowded: float = 0.0

    @property
    def total(self) -> float:
        """The sum of the parts."""
        return self.near + self.views + self.crowded


def doubts(
    points: np.ndarray,
    boxes: Sequence[Sequence[float]],
    *,
    peaks: np.ndarray | None = None,
    scores: np.ndarray | None = None,
    threshold: float | None = None,
    views: Sequence[np.ndarray] = (),
) -> list[Doubt]:
    """The `Doubt` of each part of an image.

    Parameters
    ----------
    points : (N, 2) float32, (y, x) px
        The counted cells.
    boxes : list of (y0, x0, y1, x1), px, ends excluded
        The parts.
    peaks, scores : (M, 2) float32, (y, x) px, and (M,) float32, or None
        What the method finds with half the threshold.
    threshold : float or None
        With which it counted.
    views : list of (K, 2) float32, (y, x) px
        What it finds in the turned image, turned back.

    Returns
    -------
    list of Doubt
    """
    places, weights = [np.zeros((0, 2))], [np.zeros((0, 3))]

    def put(where: np.ndarray, weight: np.ndarray | float, part: int) -> None:
        rows = np.zeros((len(where), 3))
        rows[:, part] = weight
        places.append(where)
        weights.append(rows)

    if peaks is not None and scores is not None and threshold:
        put(peaks, np.clip(0.5 * (1 - np.abs(scores / threshold - 1) / NEAR), 0, None), 0)
    tolerance = default_tolerance(points) if len(points) > 1 else 12.0
    for view in views:
        pairs = match(points, view, tolerance).pairs
        for own, paired in ((points, pairs[:, 0]), (view, pairs[:, 1])):
            put(np.delete(own, paired, axis=0), 1 / len(views), 1)
    if len(points) > 1:
        from scipy.spatial import cKDTree

        nearest = cKDTree(points).query(points, 2)[0][:, 1]
        put(points[nearest < CLOSE * np.median(nearest)], CROWDED, 2)
    where, weight = np.concatenate(places), np.concatenate(weights)
    parts = []
    for box in np.asarray(boxes, float):
        mine = ((where >= box[:2] - 0.5) & (where < box[2:] - 0.5)).all(axis=1)
        parts.append(Doubt(*weight[mine].sum(axis=0).tolist()))
    return parts


def turned(image: np.ndarray, view: int) -> np.ndarray:
    """View 0 to 7 of an image (H, W): turned by `view` % 4 quarters, and mirrored from 4 on; 0 is the image itself."""
    image = np.rot90(image, view % 4)
    return image[:, ::-1] if view >= 4 else image


def turned_back(points: np.ndarray, view: int, shape: Sequence[int]) -> np.ndarray:
    """Points (N, 2) (y, x) px of a view of an image with the shape (H, W), as points of the image."""
    y, x = points.T
    height, width = shape[::-1] if view % 2 else shape  # of the view
    if view >= 4:
        x = width - 1 - x
    for _ in range(view % 4):
        y, x = x, height - 1 - y
        height, width = width, height
    return np.stack([y, x], axis=1)
