"""Masks made from clicks: what a segmentation method is trained on where nobody has drawn outlines.

They are annotation made from annotation, without weights, so they live here and not among the methods.
"""

import numpy as np
from scipy import ndimage

from cellcount.data.valid import background
from cellcount.errors import ParameterError
from cellcount.types import as_points

VARIANTS = ("weighted", "watershed", "square")
SEED_RADIUS = 3.0  # px: a click is meant for the cell around it, not for the one grain of texture that it hits


def pseudo_masks(
    image: np.ndarray,
    points: np.ndarray,
    *,
    variant: str = "weighted",
    radius: float = 21.0,
    weight: float = 0.75,
    sigma: float = 1.5,
    side: float = 36.0,
) -> np.ndarray:
    """One mask around each point.

    In phase contrast a cell is dark and its outline bright, so "watershed" floods the smoothed image from the points
    (Beucher and Lantuejoul 1979), on the foreground only, as the thesis' draft did. Noise and texture make it leak
    far: "weighted" raises the ground with the distance from the nearest point, and ends at `radius` from it.
    "square" asks nothing of the image: the control that the others have to beat.

    The defaults were chosen on the phantom's training fields (mean IoU with the true masks .68; watershed .55,
    square .63) and agree with the boxes drawn on the thesis' image 1 (.51; .44, .49).

    Parameters
    ----------
    image : (H, W) float32 in [0, 1]
    points : (N, 2) float, (y, x) px
    variant : "weighted", "watershed" or "square"
    radius : float, px
        Of "weighted": how far a mask may reach, somewhat more than half the width of a cell.
    weight : float
        Of "weighted": how much higher the ground is at `radius` than at the point, in units of the image's contrast
        (from its 1st to its 99th percentile).
    sigma : float, px
        Gaussian that smooths the image before it is flooded.
    side : float, px
        Of "square": its side, the width of a cell.

    Returns
    -------
    (H, W) int32
        0 is background, i + 1 the mask of point i. Of points that share a pixel only the last has a mask.

    Raises
    ------
    ParameterError
        If the variant is unknown or a parameter is not positive.
    """
    if variant not in VARIANTS:
        raise ParameterError(f"variant={variant!r} is unknown; choose one of {', '.join(VARIANTS)}.")
    if not (radius > 0 and weight > 0 and sigma > 0 and side > 0):
        raise ParameterError(f"radius={radius}, weight={weight}, sigma={sigma}, side={side}: all must be positive.")
    points = as_points(points)
    if not len(points):
        return np.zeros(image.shape, np.int32)
    distance, row, column, nearest = _nearest(points, image.shape)
    if variant == "square":
        yy, xx = np.indices(image.shape, sparse=True)
        return np.where(np.maximum(abs(yy - row), abs(xx - column)) <= side / 2, nearest, 0)
    seeds = np.where(distance <= SEED_RADIUS, nearest, 0)
    ground = ndimage.gaussian_filter(image, sigma)
    where = ~background(image) | (seeds > 0)
    if variant == "weighted":
        low, high = np.percentile(ground, [1, 99])
        ground = ground / (high - low or 1.0) + weight * distance / radius
        where &= distance <= radius
    from skimage.segmentation import watershed

    return watershed(ground, seeds, mask=where).astype(np.int32)


def _nearest(points: np.ndarray, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """For each pixel, of the point nearest to it: distance (H, W) float px, row, column and number + 1 (H, W) int."""
    pixels = np.rint(points).astype(int).clip(0, np.array(shape) - 1)
    numbers = np.zeros(shape, np.int32)
    numbers[tuple(pixels.T)] = np.arange(1, len(points) + 1)
    distance, (row, column) = ndimage.distance_transform_edt(numbers == 0, return_indices=True)
    return distance, row, column, numbers[row, column]
