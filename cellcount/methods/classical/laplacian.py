"""Dark blobs of several sizes: extrema of the Laplacian of Gaussian over place and scale."""

import numpy as np
from scipy import ndimage

from cellcount.methods.base import predicts
from cellcount.methods.classical.maps import as_prediction, context, contrast_of, positive, status
from cellcount.types import Prediction

__all__ = ["answer", "context", "predict", "status"]


def answer(
    image: np.ndarray, *, smallest: float = 4.0, largest: float = 8.0, scales: int = 4, contrast: float | None = None
) -> np.ndarray:
    """The strongest answer over the scales.

    The Laplacian of an image smoothed at width sigma, times sigma^2, answers equally to a blob and to the same blob
    enlarged, and most where sigma is its radius / sqrt(2) (Lindeberg 1998, doi:10.1023/A:1008045108935).

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


@predicts("laplacian")
def predict(
    image: np.ndarray,
    *,
    prompts: None = None,
    device: str = "auto",
    smallest: float = 4.0,
    largest: float = 8.0,
    scales: int = 4,
    threshold: float = 0.5,
    distance: float = 8.0,
    contrast: float | None = None,
) -> Prediction:
    """Peaks of `answer`.

    Parameters
    ----------
    image : (H, W) float32 in [0, 1]
    prompts : None
    device : str
        Not used: it runs on the CPU.
    smallest, largest, scales, contrast
        As in `answer`.
    threshold : float
        Lowest answer, in units of the image's contrast.
    distance : float, px
        A cell is the strongest answer within this distance on each axis.

    Returns
    -------
    Prediction

    Raises
    ------
    DataError
        If the image is not (H, W).
    ParameterError
        If a parameter is not positive, or prompts are given.
    """
    positive("laplacian", smallest=smallest, largest=largest, scales=scales, distance=distance)
    found = answer(image, smallest=smallest, largest=largest, scales=scales, contrast=contrast)
    return as_prediction(found, "laplacian", threshold=threshold, distance=distance)
