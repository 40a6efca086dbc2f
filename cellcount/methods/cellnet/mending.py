"""Clicks mended by a half-trained network: moved to where it sees the cell, and no evidence against what they missed.

A network that learns from noisy clicks is less wrong than they are: errors of single clicks do not repeat, cells do.
"""

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from cellcount.methods.cellnet.settings import Settings
from cellcount.methods.cellnet.targets import peaks

SURE, DOUBTFUL = 1.0, 0.5  # of the height of a typical click; at 0.6 every second point added is no cell
REACH = 1.5  # of `peak_distance`, half of the cells' spacing: as far as a click may lie from its hill


def typical_height(heat: np.ndarray, points: np.ndarray, reach: float) -> float:
    """Median, over the clicks, of the highest value of the heatmap within `reach`; 0 without clicks.

    The chance that a cell was clicked, and clicked where it is, scales all heights alike. Dividing by this height
    undoes that: the estimator of Elkan & Noto (2008) for learning from positive and unlabelled examples, with a median
    for their mean.

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
    pixels = np.rint(points).astype(int).clip(0, np.array(heat.shape) - 1)
    return float(np.median(highest[tuple(pixels.T)]))


def mend(
    heat: np.ndarray, clicks: np.ndarray, trusted: np.ndarray, settings: Settings
) -> tuple[np.ndarray, np.ndarray]:
    """Clicks and trust, seen with a heatmap learned from them.

    Each hill and the click nearest to it, if each is the other's nearest and they lie within half of the cells'
    spacing, become one point, on the hill. A hill without a click is taken for a cell if it stands as high as those of
    half of the clicks, and is not trusted either way if it is lower. Clicks without a hill stay.

    Parameters
    ----------
    heat : (H, W) float32
    clicks : (N, 2) float, (y, x) px of the heatmap
        As the annotator made them, not as an earlier round moved them: else errors would pile up.
    trusted : (H, W) bool or float
        Where the annotation counted before.
    settings : Settings

    Returns
    -------
    points : (M, 2) float, (y, x) px of the heatmap
    trusted : (H, W) bool
    """
    trusted = np.array(trusted, bool)
    height = typical_height(heat, clicks, settings.peak_distance)
    if not height:
        return clicks, trusted
    hills, heights = peaks(heat, threshold=DOUBTFUL * height, distance=settings.peak_distance)
    if not len(hills):
        return clicks, trusted
    points = np.array(clicks, float)
    distance, click_of = cKDTree(points).query(hills)
    _, hill_of = cKDTree(hills).query(points)
    own = (hill_of[click_of] == np.arange(len(hills))) & (distance <= REACH * settings.peak_distance)
    points[click_of[own]] = hills[own]
    lone = ~own & (distance > settings.peak_distance)
    sure = heights >= SURE * height
    trusted[_around(hills[lone & ~sure], heat.shape, 2 * settings.sigma)] = False
    trusted[_around(hills[lone & sure], heat.shape, 2 * settings.sigma)] = True
    return np.concatenate([points, hills[lone & sure]]), trusted


def _around(points, shape, radius):
    """(H, W) bool: the pixels within `radius` px of a point."""
    empty = np.ones(shape, bool)
    empty[tuple(np.rint(points).astype(int).T)] = False
    return ndimage.distance_transform_edt(empty) <= radius if len(points) else ~empty
