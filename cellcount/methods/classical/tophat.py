"""Dark spots narrower than a disc: the black top-hat of mathematical morphology."""

import numpy as np
from scipy import ndimage

from cellcount.methods.base import Status, predicts, ready
from cellcount.methods.classical.maps import as_prediction, context, contrast_of, positive
from cellcount.types import Prediction

__all__ = ["answer", "context", "predict", "status"]


def answer(image: np.ndarray, *, radius: int = 12, sigma: float = 3.0, contrast: float | None = None) -> np.ndarray:
    """How far each pixel lies below the closing of the image.

    The closing fills whatever is dark and has no room for a disc of `radius` (Serra 1982, Image Analysis and
    Mathematical Morphology); what it has filled is the top-hat. Illumination, which is broader, drops out. The disc
    is an octagon made of short lines, which is many times faster.

    Parameters
    ----------
    image : (H, W) float32 in [0, 1]
    radius : int, px
    sigma : float, px
        Gaussian smoothing before, against texture, and after, to merge the spots of one cell.
    contrast : float or None
        Standard deviation of the whole image, from `context`, when `image` is only a tile.

    Returns
    -------
    (H, W) float32, in units of the image's contrast, high on dark spots
    """
    from skimage.morphology import black_tophat, disk

    smooth = ndimage.gaussian_filter(image, sigma)
    spots = black_tophat(smooth, disk(int(radius), decomposition="sequence"))
    return ndimage.gaussian_filter(spots, sigma) / contrast_of(image, contrast)


@predicts("tophat")
def predict(
    image: np.ndarray,
    *,
    prompts: None = None,
    device: str = "auto",
    radius: int = 12,
    sigma: float = 3.0,
    threshold: float = 0.4,
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
    radius, sigma, contrast
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
    positive("tophat", radius=radius, sigma=sigma, distance=distance)
    found = answer(image, radius=radius, sigma=sigma, contrast=contrast)
    return as_prediction(found, "tophat", threshold=threshold, distance=distance)


def status() -> Status:
    """Ready where its package is installed."""
    return ready("no training needed", "skimage")
