"""Where an image shows background, found by itself, and where a sparse annotation can be trusted."""

import numpy as np
from scipy import ndimage

from cellcount.types import as_points

SIGMA = 4.0  # px: a window of about 16 px, half a cell's width, follows its outline and averages its texture
SEPARATION = 4.0  # between 1.9, the most seen on a full field of the thesis, and 7.7, the least on one with gaps
FLAT = 0.03  # deviation relative to the mean below which an even image is empty (thesis: gaps .015, cells .07 up)
SMALLEST = 200  # px, a fifth of a cell's area: a smaller flat spot is the inside of a cell


def background(image: np.ndarray, sigma: float = SIGMA) -> np.ndarray:
    """Where no cell is.

    The local standard deviation (Gaussian window of `sigma` px) is small on background and large on cells, whatever
    the illumination. Otsu's threshold (Otsu 1979, doi:10.1109/TSMC.1979.4310076) of its logarithm parts the two.
    If the medians of the parts differ by less than a factor of 4, the image has only one kind of texture: it is
    all background if that is even (less than 3 % of the mean), else none of it.

    It covers 84 % of the 156 background points of the thesis' image 1 (the others lie in gaps narrower than the
    window), none of its 1755 live cells, and none of the 1187 of image 2.

    Parameters
    ----------
    image : (H, W) float32 in [0, 1]
    sigma : float, px

    Returns
    -------
    (H, W) bool
    """
    from skimage.filters import threshold_otsu
    from skimage.morphology import remove_small_objects

    image = np.asarray(image, np.float32)
    centred = image - image.mean()  # float32 loses the small variance of a bright image otherwise
    mean = ndimage.gaussian_filter(centred, sigma)
    variance = ndimage.gaussian_filter(centred * centred, sigma) - mean * mean
    deviation = np.sqrt(np.maximum(variance, 1e-12))
    if deviation.max() <= 1e-4:  # a constant image: Otsu has nothing to part
        return np.ones(image.shape, bool)
    texture = np.log(np.maximum(deviation, 1e-4))  # below half a gray level of 8 bit lies nothing to compare
    threshold = threshold_otsu(texture)
    flat = texture <= threshold
    if flat.all() or np.median(texture[~flat]) - np.median(texture[flat]) < np.log(SEPARATION):
        return np.full(image.shape, np.median(deviation) < FLAT * image.mean())
    return remove_small_objects(flat, max_size=SMALLEST)


def near(points: np.ndarray, shape: tuple[int, ...], radius: float) -> np.ndarray:
    """(H, W) bool: pixels within `radius` px of a point; points (N, 2) float32 (y, x) px, shape (H, W)."""
    points = as_points(points)
    mask = np.zeros(shape, bool)
    if len(points) == 0:
        return mask
    for y, x in points:  # a window around each point: exact below a pixel, and quicker than a search per pixel
        top, left = max(0, int(y - radius)), max(0, int(x - radius))
        rows, columns = np.ogrid[top : max(0, int(y + radius) + 2), left : max(0, int(x + radius) + 2)]
        window = mask[top : top + len(rows), left : left + columns.shape[1]]
        inside = (rows - y) ** 2 + (columns - x) ** 2 <= radius**2
        window |= inside[: window.shape[0], : window.shape[1]]
    return mask


def valid_region(image: np.ndarray, points: np.ndarray, radius: float = 26) -> np.ndarray:
    """Where a sparse annotation can be trusted: within `radius` of an annotated point, or on background.

    Someone who marked a cell has looked at its surroundings, and background needs no mark; elsewhere a missing
    point says nothing. 26 px is the radius of the thesis' own code, about the median distance of neighbours.

    Parameters
    ----------
    image : (H, W) float32 in [0, 1]
    points : (N, 2) float32, (y, x) px
    radius : float, px

    Returns
    -------
    (H, W) bool
    """
    return near(points, image.shape, radius) | background(image)
