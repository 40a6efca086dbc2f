"""Masks that a segmentation method learns from: those of a sample, or pseudo-masks around its centre points.

Pseudo-masks are derived from annotation without any weights, so they are data and not a method.
"""

import numpy as np
from scipy import ndimage

from cellcount.data.valid import background
from cellcount.errors import DataError, one_of, require
from cellcount.types import Sample, as_points

VARIANTS = ("weighted", "watershed", "square")
CHOICES = (*VARIANTS, "true")  # of a setting `masks`: a variant of pseudo-masks, or the samples' own masks
SEED_RADIUS = 3.0  # px: a point marks the cell around it, not the grain of texture under it


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
    (Beucher and Lantuejoul 1979), on the foreground only, as in the thesis' draft. Noise and texture make it leak:
    "weighted" adds a term to the intensity that grows with the distance from the nearest point, and ends at `radius`
    from it. "square" does not use the image: it is the control.

    The defaults were chosen on the phantom's training fields (mean IoU with the true masks .68; watershed .55,
    square .63); the mean IoU with the boxes drawn on the thesis' image 1 is .51 (.44, .49).

    Parameters
    ----------
    image : (H, W) float32 in [0, 1]
    points : (N, 2) float, (y, x) px
    variant : "weighted", "watershed" or "square"
    radius : float, px
        For "weighted": the largest distance of a mask's pixels from its point, slightly more than half a cell's width.
    weight : float
        For "weighted": the added term at `radius`, in units of the image's contrast (1st to 99th percentile).
    sigma : float, px
        Gaussian that smooths the image before flooding.
    side : float, px
        For "square": its side, the width of a cell.

    Returns
    -------
    (H, W) int32
        0 is background, i + 1 the mask of point i. Of points in the same pixel only the last has a mask.

    Raises
    ------
    ParameterError
        If the variant is unknown or a parameter is not positive.
    """
    one_of(variant, VARIANTS, "variant")
    positive = all(value > 0 for value in (radius, weight, sigma, side))
    require(positive, f"radius={radius}, weight={weight}, sigma={sigma}, side={side}: all must be positive.")
    points = as_points(points)
    if not len(points):
        return np.zeros(image.shape, np.int32)
    pixels, numbers = np.rint(points).astype(int).clip(0, np.array(image.shape) - 1), np.zeros(image.shape, np.int32)
    numbers[tuple(pixels.T)] = np.arange(1, len(points) + 1)
    # Of the point nearest to each pixel: distance, row and column, and number from 1.
    distance, (row, column) = ndimage.distance_transform_edt(numbers == 0, return_indices=True)
    nearest = numbers[row, column]
    if variant == "square":
        yy, xx = np.indices(image.shape, sparse=True)
        return np.where(np.maximum(abs(yy - row), abs(xx - column)) <= side / 2, nearest, 0)
    seeds = np.where(distance <= SEED_RADIUS, nearest, 0)
    intensity = ndimage.gaussian_filter(image, sigma)
    where = ~background(image) | (seeds > 0)
    if variant == "weighted":
        low, high = np.percentile(intensity, [1, 99])
        intensity = intensity / (high - low or 1.0) + weight * distance / radius
        where &= distance <= radius
    from skimage.segmentation import watershed

    return watershed(intensity, seeds, mask=where).astype(np.int32)


def training_masks(sample: Sample, choice: str, label: str) -> np.ndarray:
    """The masks of one sample, (H, W) int, 0 is background.

    Parameters
    ----------
    sample : Sample
    choice : one of `CHOICES`
    label : str
        The method's name in messages.

    Raises
    ------
    DataError
        If the sample has no masks or, for pseudo-masks, no annotation.
    """
    if choice == "true":
        if sample.labels is None:
            raise DataError(f"{sample.name}: no true masks; train with masks='weighted', from its points.")
        return sample.labels
    if sample.points is None:
        raise DataError(f"{sample.name}: no annotation; {label} learns from masks around points. Leave this image out.")
    return pseudo_masks(sample.image, sample.points, variant=choice)
