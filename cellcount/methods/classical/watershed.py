"""Watershed without training: every catchment basin of the smoothed image is a cell."""

from functools import partial

import numpy as np
from scipy import ndimage

from cellcount.errors import check_positive
from cellcount.methods.base import predicts, ready
from cellcount.methods.classical.maps import context, contrast_of
from cellcount.methods.foreground.texture import deviation
from cellcount.methods.pixels import nearest, square_peaks
from cellcount.types import Prediction

__all__ = ["context", "predict", "status"]


@predicts("watershed")
def predict(
    image: np.ndarray,
    *,
    prompts: None = None,
    device: str = "auto",
    sigma: float = 4.0,
    texture: float = 0.04,
    smallest: int = 60,
    threshold: float = 0.2,
    distance: float = 8.0,
    contrast: float | None = None,
) -> Prediction:
    """Flood the smoothed image from its minima, within the textured part of the image.

    A cell body is dark and its border bright, so that basins flooded from every minimum meet at the borders (Beucher
    and Lantuejoul 1979; Vincent and Soille 1991, doi:10.1109/34.87344). Background has no texture.

    Parameters
    ----------
    image : (H, W) float32 in [0, 1]
    prompts : None
    device : str
        Not used: it runs on the CPU.
    sigma : float, px
        Gaussian smoothing: without it every speckle is a basin.
    texture : float
        Lowest local standard deviation of the foreground, relative to the local mean.
    smallest : int, px
        Smaller basins are dropped.
    threshold : float
        Smallest depth of a basin, from its mean to its minimum, in units of the image's contrast: the score.
    distance : float, px
        Smallest distance of two minima, on each axis.
    contrast : float or None
        Standard deviation of the whole image, from `context`, when `image` is only a tile.

    Returns
    -------
    Prediction
        Its points are the minima, its labels the basins.

    Raises
    ------
    DataError
        If the image is not (H, W).
    ParameterError
        If a parameter is not positive, or prompts are given.
    """
    from skimage.segmentation import watershed

    check_positive("watershed", sigma=sigma, texture=texture)
    foreground = deviation(image) > texture
    smooth = ndimage.gaussian_filter(image, sigma) / contrast_of(image, contrast)
    lowest, _ = square_peaks(np.where(foreground, -smooth, -np.inf), threshold=-1e9, distance=distance)
    at, index = nearest(lowest, image.shape), np.arange(1, len(lowest) + 1)
    markers = np.zeros(image.shape, np.int32)
    markers[at] = index
    labels = watershed(smooth, markers, mask=foreground | (markers > 0)).astype(np.int32)
    depth = ndimage.mean(smooth, labels, index) - smooth[at]
    kept = (np.bincount(labels.ravel(), minlength=len(lowest) + 1)[1:] >= smallest) & (depth >= threshold)
    order = np.flatnonzero(kept)[np.argsort(-depth[kept], kind="stable")]
    renamed = np.zeros(len(lowest) + 1, np.int32)
    renamed[order + 1] = np.arange(1, len(order) + 1)
    meta = {"method": "watershed", "device": "cpu"}
    return Prediction(lowest[order], depth[order], float(len(order)), labels=renamed[labels], meta=meta)


status = partial(ready, "no training needed", "skimage")
