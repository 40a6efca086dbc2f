"""Points to heatmap and back."""

import numpy as np

from cellcount.types import as_points


def heatmap(points: np.ndarray, shape: tuple[int, int], sigma: float) -> np.ndarray:
    """Sum of one Gaussian of height 1 at each point.

    Its sum over all pixels, divided by `volume(sigma)`, is the number of points that lie well inside.

    Parameters
    ----------
    points : (N, 2) float, (y, x) px
    shape : (height, width), px
    sigma : float, px

    Returns
    -------
    (height, width) float32
    """
    points = as_points(points)
    rows = np.exp(-0.5 * ((np.arange(shape[0]) - points[:, :1]) / sigma) ** 2)
    columns = np.exp(-0.5 * ((np.arange(shape[1]) - points[:, 1:]) / sigma) ** 2)
    return (rows.T @ columns).astype(np.float32)  # a Gaussian is separable: the sum over points is one product


def peak(points: np.ndarray, shape: tuple[int, int], sigma: float) -> np.ndarray:
    """The Gaussian of the nearest point only: every hill has height 1, and close ones do not add up.

    points (N, 2) (y, x) px, shape (height, width) px, sigma px -> (height, width) float32.
    """
    nearest = _distances(points, shape, 1)[..., 0]
    return np.exp(-0.5 * (nearest / sigma) ** 2).astype(np.float32)


def repel(points: np.ndarray, shape: tuple[int, int], sigma: float) -> np.ndarray:
    """1 / (1 + d (1 + d / D) / sigma), with the distances d and D to the nearest point and the second nearest.

    A sharp tip on each point and a valley between two, however close (after Liang et al. 2019); 0 beyond 4 sigma.
    points (N, 2) (y, x) px, shape (height, width) px, sigma px -> (height, width) float32.
    """
    nearest, second = np.moveaxis(_distances(points, shape, 2), -1, 0)
    with np.errstate(invalid="ignore"):
        valley = np.where(np.isinf(second), 0, nearest / np.maximum(second, 1e-6))
        hill = 1 / (1 + nearest * (1 + valley) / sigma)
    return np.where(nearest < 4 * sigma, hill, 0).astype(np.float32)


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


def peaks(heat: np.ndarray, *, threshold: float, distance: float) -> tuple[np.ndarray, np.ndarray]:
    """Local maxima of a heatmap, with sub-pixel positions.

    A peak is the highest pixel within `distance`; its position is refined by the vertex of the parabola through the
    logarithm at its two neighbours on each axis, which is exact for a Gaussian.

    Parameters
    ----------
    heat : (H, W) float32
    threshold : float
        Lower maxima are no peaks; must be positive.
    distance : float, px
        Radius of the neighbourhood.

    Returns
    -------
    points : (M, 2) float32, (y, x) px
    scores : (M,) float32
        Height of each peak, highest first.
    """
    y, x = _highest(heat, threshold, distance)
    if not len(y):
        return np.zeros((0, 2), np.float32), np.zeros(0, np.float32)
    centres = _merged(y, x, heat.shape)
    scores = heat[tuple(centres.T)]
    points = centres + np.stack([_vertex(heat, centres, axis) for axis in (0, 1)], axis=1)
    order = np.argsort(-scores, kind="stable")
    return points[order].astype(np.float32), scores[order].astype(np.float32)


def _highest(heat, threshold, distance):
    """Rows and columns of the pixels that no pixel within `distance` exceeds; a filter over all pixels takes longer."""
    radius = int(np.ceil(distance))
    offsets = np.stack(np.mgrid[-radius : radius + 1, -radius : radius + 1], axis=-1).reshape(-1, 2)
    square = (offsets**2).sum(axis=1)
    padded = np.pad(heat, radius, constant_values=-np.inf)
    flat, width = padded.ravel(), padded.shape[1]
    at = np.flatnonzero(flat >= threshold)
    for i in np.argsort(square, kind="stable")[1:]:  # near pixels first: few are left for the others
        if square[i] <= distance**2:
            at = at[flat[at + offsets[i, 0] * width + offsets[i, 1]] <= flat[at]]
    y, x = np.divmod(at, width)
    return y - radius, x - radius


def _merged(y, x, shape):
    """(M, 2) int px: the middle of each plateau, that is of pixels of one height that touch, corners included."""
    mask = np.zeros((shape[0] + 1, shape[1] + 2), bool)  # with a border, so that each pixel has four later neighbours
    mask[y, x + 1] = True
    if not any(mask[y + down, x + 1 + right].any() for down, right in ((0, 1), (1, -1), (1, 0), (1, 1))):
        return np.stack([y, x], axis=1)  # the rule; scipy takes longer to import than a field to search
    from scipy import ndimage

    plateaus = ndimage.label(mask, np.ones((3, 3)))[0][y, x + 1] - 1
    size = np.bincount(plateaus)
    return np.rint(np.stack([np.bincount(plateaus, along) / size for along in (y, x)], axis=1)).astype(int)


def _vertex(heat, centres, axis):
    """Offset of the maximum from each pixel in `centres` (M, 2) along one axis, within half a pixel; 0 at borders."""
    step = np.eye(2, dtype=int)[axis]
    last = heat.shape[axis] - 1
    inner = (centres[:, axis] > 0) & (centres[:, axis] < last)
    middle = centres[inner]
    log = np.log(np.maximum([heat[tuple((middle + k * step).T)] for k in (-1, 0, 1)], 1e-6))
    curvature = log[0] - 2 * log[1] + log[2]
    offset = np.zeros(len(centres))
    with np.errstate(divide="ignore", invalid="ignore"):
        vertex = np.where(curvature < 0, 0.5 * (log[0] - log[2]) / curvature, 0.0)
    offset[inner] = np.clip(vertex, -0.5, 0.5)
    return offset
