"""Annotations corrected by a half-trained network: points moved to its peaks, peaks without a point left out.

A network that learns from noisy points is less wrong than they are: the error of one point does not repeat, cells do.
"""

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from cellcount.methods.cellnet.settings import Settings
from cellcount.methods.pixels import nearest, peaks

SURE, DOUBTFUL = 1.0, 0.5  # of the height of a typical peak; at 0.6 every second point added is no cell
REACH = 1.5  # of `peak_distance`, half of the cells' spacing: the largest distance of a point from its peak


def typical_height(heat: np.ndarray, points: np.ndarray, reach: float) -> float:
    """Median, over the points, of the highest value of the heatmap within `reach`; 0 without points.

    The probability that a cell was annotated, and at its centre, scales all heights alike. Dividing by this height
    corrects for it: the estimator of Elkan & Noto (2008) for learning from positive and unlabelled examples, with a
    median instead of their mean.

    Parameters
    ----------
    heat : (H, W) float32
    points : (N, 2) float, (y, x) px of the heatmap
    reach : float, px
    """
    if not len(points):
        return 0.0
    radius = int(np.ceil(reach))
    yy, xx = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    highest = ndimage.maximum_filter(heat, footprint=yy**2 + xx**2 <= reach**2, mode="nearest")
    return float(np.median(highest[nearest(points, heat.shape)]))


def mend(
    heat: np.ndarray, annotated: np.ndarray, trusted: np.ndarray, settings: Settings
) -> tuple[np.ndarray, np.ndarray]:
    """Points and trusted pixels, corrected by a heatmap learned from them.

    A point moves to a peak if each is the other's nearest and they are within half of the cells' spacing. A peak
    without a point becomes a point if it is as high as the peaks of half of the points; around a lower one no pixel
    is trusted. Points without a peak stay.

    Parameters
    ----------
    heat : (H, W) float32
    annotated : (N, 2) float, (y, x) px of the heatmap
        By the annotator, not moved in an earlier round: else errors would add up.
    trusted : (H, W) bool or float
        Where the annotation has been used so far.
    settings : Settings

    Returns
    -------
    points : (M, 2) float, (y, x) px of the heatmap
    trusted : (H, W) bool
    """
    trusted = np.array(trusted, bool)
    height = typical_height(heat, annotated, settings.peak_distance)
    if not height:
        return annotated, trusted
    found, heights = peaks(heat, threshold=DOUBTFUL * height, distance=settings.peak_distance)
    if not len(found):
        return annotated, trusted
    points = np.array(annotated, float)
    distance, point_of = cKDTree(points).query(found)
    _, peak_of = cKDTree(found).query(points)
    own = (peak_of[point_of] == np.arange(len(found))) & (distance <= REACH * settings.peak_distance)
    points[point_of[own]] = found[own]
    alone = ~own & (distance > settings.peak_distance)
    sure = heights >= SURE * height
    for chosen, trust in ((alone & ~sure, False), (alone & sure, True)):
        trusted[_around(found[chosen], heat.shape, 2 * settings.sigma)] = trust
    return np.concatenate([points, found[alone & sure]]), trusted


def _around(points, shape, radius):
    """(H, W) bool: the pixels within `radius` px of a point."""
    empty = np.ones(shape, bool)
    empty[tuple(np.rint(points).astype(int).T)] = False
    return ndimage.distance_transform_edt(empty) <= radius if len(points) else ~empty
