"""Fluctuations of a cell's size: a band of periods, cut out of the image's Fourier transform."""

import numpy as np

from cellcount.errors import ParameterError
from cellcount.methods.base import Status, predicts, ready
from cellcount.methods.classical.maps import as_prediction, context, contrast_of, positive
from cellcount.types import Prediction

__all__ = ["answer", "context", "predict", "status"]

STEEPEST = 8  # order; scikit-image raises frequencies to twice that power, and float32 overflows not far above


def answer(
    image: np.ndarray, *, shortest: float = 16.0, longest: float = 50.0, order: int = 2, contrast: float | None = None
) -> np.ndarray:
    """The image with only the periods from `shortest` to `longest`, turned negative.

    The filter 1 / (1 + (f / f_c)^(2 n)) (Butterworth 1930) is as flat as can be inside of the band. It falls off
    gently at order n = 1 or 2; from about 8 on it is the "ideal" band of the textbooks, which rings at every edge.

    Parameters
    ----------
    image : (H, W) float32 in [0, 1]
    shortest, longest : float, px
    order : int, at most 8
    contrast : float or None
        Standard deviation of the whole image, from `context`, when `image` is only a tile.

    Returns
    -------
    (H, W) float32, in units of the image's contrast, high on dark parts
    """
    from skimage.filters import butterworth

    # The transform takes the image for periodic: without a margin the left border would answer to the right one.
    shared = {"order": order, "squared_butterworth": True, "npad": int(longest)}
    smooth = butterworth(image, 1 / shortest, high_pass=False, **shared)
    return -butterworth(smooth, 1 / longest, high_pass=True, **shared) / contrast_of(image, contrast)


@predicts("bandpass")
def predict(
    image: np.ndarray,
    *,
    prompts: None = None,
    device: str = "auto",
    shortest: float = 16.0,
    longest: float = 50.0,
    order: int = 2,
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
    shortest, longest, order, contrast
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
        If a parameter is not positive, the band is empty, or prompts are given.
    """
    positive("bandpass", order=order, distance=distance)
    if order > STEEPEST:
        raise ParameterError(f"bandpass: order={order}; give at most {STEEPEST}, which is nearly a rectangle.")
    if not 2 <= shortest < longest:
        raise ParameterError(f"bandpass: periods from {shortest} to {longest} px; give 2 px or more, shortest first.")
    found = answer(image, shortest=shortest, longest=longest, order=order, contrast=contrast)
    return as_prediction(found, "bandpass", threshold=threshold, distance=distance)


def status() -> Status:
    """Ready where its package is installed."""
    return ready("no training needed", "skimage")
