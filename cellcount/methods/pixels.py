"""What methods do with arrays of pixels: intensities, resampling, peaks of a map, centres of masks.

Imports NumPy only, SciPy where it is needed: counting with CellNet waits for neither SciPy nor scikit-image.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from cellcount.errors import require
from cellcount.methods.base import Exposure, sampled


def brightness_and_contrast(image: np.ndarray) -> tuple[float, float]:
    """Median and robust standard deviation of an image: half the range from its 16th to its 84th percentile.

    Measured once on the whole image, never on a tile: tiles that are normalised one by one differ in brightness, and
    their borders show in the predictions. The standard deviation of a constant image is taken to be 1.

    Parameters
    ----------
    image : (H, W) float32

    Returns
    -------
    (float, float)
    """
    step = max(1, int(np.sqrt(image.size / 1e6)))  # a million pixels are enough
    low, middle, high = np.percentile(image[::step, ::step], [16, 50, 84])
    return float(middle), float((high - low) / 2) or 1.0


def standardised(image: np.ndarray, factor: int, exposure: Exposure = None, *, multiple: int = 1) -> np.ndarray:
    """What a network sees of an image: brightness and contrast removed, downsampled by `block_mean`.

    Parameters
    ----------
    image : (H, W) float32
    factor : int
    exposure : (float, float) or None
        `brightness_and_contrast` of the whole image, where `image` is only a tile; None measures them.
    multiple : int, px
        The image is first padded with its border to a multiple of it.

    Returns
    -------
    (H' / factor, W' / factor) float32, rounded up, of the padded height and width
    """
    middle, contrast = exposure or brightness_and_contrast(image)
    padded = np.pad(image, [(0, -side % multiple) for side in image.shape], mode="edge")
    return block_mean((padded - middle) / contrast, factor)


def percentiles(image: Any, low: float, high: float) -> tuple[float, float]:
    """Two percentiles of the intensities of an image (H, W) float32 or `LargeImage`."""
    below, above = np.percentile(sampled(image), [low, high])
    return float(below), float(above)


def stretched(image: np.ndarray, exposure: tuple[float, float]) -> np.ndarray:
    """(H, W) float32 with the intensities `exposure` (low, high) mapped to 0 and 1; a constant image becomes 0."""
    low, high = exposure
    return (image - np.float32(low)) / np.float32(high - low or 1.0)


def block_mean(image: np.ndarray, factor: int) -> np.ndarray:
    """Downsample by the mean over blocks of `factor` x `factor` px; incomplete blocks are padded with the border.

    Parameters
    ----------
    image : (H, W) float32
    factor : int

    Returns
    -------
    (ceil(H / factor), ceil(W / factor)) float32
    """
    if factor == 1:
        return np.ascontiguousarray(image, np.float32)
    padded = np.pad(image, [(0, -side % factor) for side in image.shape], mode="edge")
    height, width = (side // factor for side in padded.shape)
    blocks = padded.reshape(height, factor, width, factor)
    return blocks.mean(axis=(1, 3), dtype=np.float32)  # skimage.measure.block_reduce takes half a second to import


def enlarged(values: np.ndarray, factor: int, shape: Sequence[int], *, linear: bool = False) -> np.ndarray:
    """Upsample a map that `block_mean` has made smaller, or one like it, to the size of its image.

    Parameters
    ----------
    values : (h, w) array
    factor : int
    shape : (height, width), px
        The padding beyond it is cut off.
    linear : bool
        Interpolate linearly; else repeat each value, as labels need it.

    Returns
    -------
    (height, width) array
    """
    if factor > 1 and linear:
        from scipy import ndimage

        values = ndimage.zoom(values, factor, order=1, mode="nearest", grid_mode=True)
    elif factor > 1:
        values = values.repeat(factor, axis=0).repeat(factor, axis=1)
    return values[: shape[0], : shape[1]]


def to_small(points: np.ndarray, factor: int) -> np.ndarray:
    """(N, 2) (y, x) px of an image -> px of its block means; the centre of an even block is between two pixels."""
    return (points + 0.5) / factor - 0.5


def to_full(points: np.ndarray, factor: int) -> np.ndarray:
    """The inverse of `to_small`: (N, 2) (y, x) px of the block means -> px of the image."""
    return (points + 0.5) * factor - 0.5


def nearest(points: np.ndarray, shape: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns, (N,) int each, of the pixels of an array of `shape` that are nearest to points (N, 2) (y, x).

    A point beyond the border gets the nearest pixel on it.
    """
    y, x = np.rint(points).astype(int).clip(0, np.array(shape) - 1).T
    return y, x


def centroids(labels: np.ndarray, index: np.ndarray) -> np.ndarray:
    """(N, 2) float32 (y, x) px: the centre of mass of each label of `index` (N,) in `labels` (H, W) int."""
    from scipy import ndimage

    return np.array(ndimage.center_of_mass(labels > 0, labels, index), np.float32).reshape(-1, 2)


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
    centres = np.rint(_maxima(heat, threshold, distance)[0]).astype(int)
    points = centres + np.stack([_vertex(heat, centres, axis) for axis in (0, 1)], axis=1)
    return _highest_first(points, heat[tuple(centres.T)])


def square_peaks(
    answer: np.ndarray, *, threshold: float, distance: float, merge: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Local maxima of any map: the highest pixel within `distance` on each axis.

    Parameters
    ----------
    answer : (H, W) float
    threshold : float
        Lower maxima are no peaks. Raising it only removes the lowest: `cellcount.metrics.tuned` relies on that.
    distance : float, px
    merge : bool
        Whether a plateau is one peak, at its centre; else each of its pixels is one.

    Returns
    -------
    points : (M, 2) float32, (y, x) px
    scores : (M,) float32
        Height of each peak, highest first.

    Raises
    ------
    ParameterError
        If the distance is below 1 px.
    """
    require(distance >= 1, f"distance={distance!r} must be 1 px or more.")
    if merge:
        return _highest_first(*_maxima(answer, threshold, int(distance), square=True))
    y, x = _unexceeded(answer, threshold, int(distance), square=True)
    return _highest_first(np.stack([y, x], axis=1), answer[y, x])


def _highest_first(points, scores):
    points, scores = points.astype(np.float32), scores.astype(np.float32)
    order = np.argsort(-scores, kind="stable")
    return points[order], scores[order]


def _maxima(heat, threshold, distance, square=False):
    """Mean position (M, 2), px, and height (M,) of each plateau that no pixel within `distance` exceeds."""
    y, x = _unexceeded(heat, threshold, distance, square)
    plateau = _plateaus(y, x, heat.shape)
    size = np.bincount(plateau)
    heights = np.zeros(len(size), heat.dtype)
    heights[plateau] = heat[y, x]
    return np.stack([np.bincount(plateau, along) / size for along in (y, x)], axis=1), heights


def _unexceeded(heat, threshold, distance, square):
    """Rows and columns of the pixels that no pixel within `distance` exceeds; a filter over all pixels takes longer."""
    radius = int(np.ceil(distance))
    offsets = np.stack(np.mgrid[-radius : radius + 1, -radius : radius + 1], axis=-1).reshape(-1, 2)
    squared = (offsets**2).sum(axis=1)
    padded = np.pad(heat, radius, constant_values=-np.inf)
    flat, width = padded.ravel(), padded.shape[1]
    at = np.flatnonzero(flat >= threshold)
    for i in np.argsort(squared, kind="stable")[1:]:  # near pixels first: few are left for the others
        if square or squared[i] <= distance**2:
            at = at[flat[at + offsets[i, 0] * width + offsets[i, 1]] <= flat[at]]
    y, x = np.divmod(at, width)
    return y - radius, x - radius


def _plateaus(y, x, shape):
    """(N,) int: a number for each pixel, the same for those that touch, corners included."""
    mask = np.zeros((shape[0] + 1, shape[1] + 2), bool)  # with a border, so that each pixel has four later neighbours
    mask[y, x + 1] = True
    if not any(mask[y + down, x + 1 + right].any() for down, right in ((0, 1), (1, -1), (1, 0), (1, 1))):
        return np.arange(len(y))  # the usual case; SciPy takes longer to import than one field takes to search
    from scipy import ndimage

    return ndimage.label(mask, np.ones((3, 3)))[0][y, x + 1] - 1


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
