"""Fluctuations of a cell's size: the image filtered to a band of periods."""

import numpy as np

from cellcount.errors import require
from cellcount.methods.classical.maps import contrast_of, peaks_of

STEEPEST = 8  # order; scikit-image raises frequencies to twice this power, and float32 overflows a little above it


def answer(
    image: np.ndarray, *, shortest: float = 16.0, longest: float = 50.0, order: int = 2, contrast: float | None = None
) -> np.ndarray:
    """The image with only the periods from `shortest` to `longest`, turned negative.

    The filter 1 / (1 + (f / f_c)^(2 n)) (Butterworth 1930) is maximally flat inside the band. It falls off gently at
    order n = 1 or 2; from about 8 on it is the "ideal" band of the textbooks, which rings at every edge.

    Parameters
    ----------
    image : (H, W) float32 in [0, 1]
    shortest, longest : float, px
        Periods of 2 px or more.
    order : int, at most 8
    contrast : float or None
        Standard deviation of the whole image, from `context`, when `image` is only a tile.

    Returns
    -------
    (H, W) float32, in units of the image's contrast, high on dark parts

    Raises
    ------
    ParameterError
        If the band is empty, or the order too high.
    """
    require(order <= STEEPEST, f"bandpass: order={order}; give at most {STEEPEST}, which is nearly a rectangle.")
    band = f"bandpass: periods from {shortest} to {longest} px; give 2 px or more, shortest first."
    require(2 <= shortest < longest, band)
    from skimage.filters import butterworth

    # The transform treats the image as periodic: without a margin the left border would affect the right one.
    shared = {"order": order, "squared_butterworth": True, "npad": int(longest)}
    smooth = butterworth(image, 1 / shortest, high_pass=False, **shared)
    return -butterworth(smooth, 1 / longest, high_pass=True, **shared) / contrast_of(image, contrast)


predict, context, status = peaks_of(answer, "bandpass", "skimage", threshold=0.4)
