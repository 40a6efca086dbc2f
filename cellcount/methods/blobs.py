"""The baseline without training: dark blobs, nuclei and small cells, as peaks of a difference of Gaussians."""

import numpy as np
from scipy import ndimage

from cellcount.errors import require
from cellcount.methods.classical.maps import contrast_of, peaks_of


def answer(image: np.ndarray, *, sigma: float = 5.0, ratio: float = 1.6, contrast: float | None = None) -> np.ndarray:
    """The difference of two Gaussians, which enhances dark blobs of one size.

    With widths that differ by `ratio` = 1.6 it is close to the Laplacian (Marr and Hildreth 1980), and is largest on a
    disc of radius sigma * sqrt(2).

    Parameters
    ----------
    image : (H, W) float32 in [0, 1]
    sigma : float, px
        Width of the finer Gaussian.
    ratio : float
        Width of the coarser one, relative to it: above 1.
    contrast : float or None
        Standard deviation of the whole image, from `context`, when `image` is only a tile.

    Returns
    -------
    (H, W) float32, in units of the image's contrast, high on dark blobs

    Raises
    ------
    ParameterError
        If the ratio is not above 1.
    """
    require(ratio > 1, f"blobs: ratio={ratio!r} must be above 1.")
    difference = ndimage.gaussian_filter(image, sigma * ratio) - ndimage.gaussian_filter(image, sigma)
    return difference / contrast_of(image, contrast)


# Each pixel of a plateau is a peak, as when the results in the book were computed.
predict, context, status = peaks_of(answer, "blobs", threshold=0.3, merge=False)
