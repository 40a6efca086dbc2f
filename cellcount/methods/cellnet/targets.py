"""From centre points to the heatmap that the network learns."""

import numpy as np

from cellcount.types import as_points


def heatmap(points: np.ndarray, shape: tuple[int, int], sigma: float, heights: np.ndarray | None = None) -> np.ndarray:
    """Sum of one Gaussian at each point, of height 1 or of the given heights.

    Its sum over all pixels, divided by `volume(sigma)`, is the number of points, but for those near the border.

    Parameters
    ----------
    points : (N, 2) float, (y, x) px
    shape : (height, width), px
    sigma : float, px
    heights : (N,) float or None

    Returns
    -------
    (height, width) float32
    """
    points = as_points(points)
    rows = np.exp(-0.5 * ((np.arange(shape[0]) - points[:, :1]) / sigma) ** 2)
    columns = np.exp(-0.5 * ((np.arange(shape[1]) - points[:, 1:]) / sigma) ** 2)
    if heights is not None:
        rows = rows * heights[:, None]
    return (rows.T @ columns).astype(np.float32)  # a Gaussian is separable: the sum over points is one product


def peak(points: np.ndarray, shape: tuple[int, int], sigma: float) -> np.ndarray:
    """The Gaussian of the nearest point only: every peak has height 1, and close ones do not add up.

    points (N, 2) (y, x) px, shape (height, width) px, sigma px -> (height, width) float32.
    """
    nearest = _distances(points, shape, 1)[..., 0]
    return np.exp(-0.5 * (nearest / sigma) ** 2).astype(np.float32)


def repel(points: np.ndarray, shape: tuple[int, int], sigma: float) -> np.ndarray:
    """1 / (1 + d (1 + d / D) / sigma), with the distances d and D to the nearest point and the second nearest.

    A sharp peak on each point and a valley between two, however close (after Liang et al. 2019); 0 beyond 4 sigma.
    points (N, 2) (y, x) px, shape (height, width) px, sigma px -> (height, width) float32.
    """
    nearest, second = np.moveaxis(_distances(points, shape, 2), -1, 0)
    with np.errstate(invalid="ignore"):
        valley = np.where(np.isinf(second), 0, nearest / np.maximum(second, 1e-6))
        height = 1 / (1 + nearest * (1 + valley) / sigma)
    return np.where(nearest < 4 * sigma, height, 0).astype(np.float32)


def _distances(points, shape, k):
    """(height, width, k) px: distance of each pixel to its k nearest points, infinite where there are fewer."""
    from scipy.spatial import cKDTree

    points = as_points(points)
    if not len(points):
        return np.full((*shape, k), np.inf)
    grid = np.stack(np.indices(shape), axis=-1)
    return cKDTree(points).query(grid, k=list(range(1, k + 1)))[0]


TARGETS = {"gaussian": heatmap, "peak": peak, "repel": repel}


def volume(sigma: float) -> float:
    """Sum over pixels of one Gaussian of height 1: 2 pi sigma^2 (exact to 1e-4 from sigma = 0.7 px on)."""
    return 2 * np.pi * sigma**2
