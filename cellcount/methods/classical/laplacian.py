"""Dark blobs of several sizes: extrema of the Laplacian of Gaussian over position and scale."""

import numpy as np
from scipy import ndimage

from cellcount.methods.classical.maps import contrast_of, peaks_of


def answer(
    image: np.ndarray, *, smallest: float = 4.0, largest: float = 8.0, scales: int = 4, contrast: float | None = None
) -> np.ndarray:
    """The maximum over the scales of the normalised Laplacian.

    The Laplacian of an image smoothed at width sigma, times sigma^2, has the same value on a blob and on the same blob
    enlarged, and is largest where sigma is its radius / sqrt(2) (Lindeberg 1998, doi:10.1023/A:1008045108935).

    Parameters
    ----------
    image : (H, W) float32 in [0, 1]
    smallest, largest : float, px
        Range of sigma, divided evenly on a logarithmic scale.
    scales : int
    contrast : float or None
        Standard deviation of the whole image, from `context`, when `image` is only a tile.

    Returns
    -------
    (H, W) float32, in units of the image's contrast, high on dark blobs
    """
    sigmas = np.geomspace(smallest, largest, scales)
    strongest = np.max([sigma**2 * ndimage.gaussian_laplace(image, sigma) for sigma in sigmas], axis=0)
    return strongest / contrast_of(image, contrast)


predict, context, status = peaks_of(answer, "laplacian", threshold=0.5)
