"""Watershed without learning: the gray values as a landscape, and every basin of it a cell."""

import numpy as np
from scipy import ndimage

from cellcount.methods.base import Status, predicts, ready
from cellcount.methods.classical import maps
from cellcount.methods.classical.maps import context, contrast_of, positive
from cellcount.methods.foreground.texture import deviation
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

    A cell body is dark and its border bright, so that water which rises from every minimum meets at the borders
    (Beucher and Lantuejoul 1979; Vincent and Soille 1991, doi:10.1109/34.87344). Ground has no texture.

    Parameters
    ----------
    image : (H, W) float32 in [0, 1]
    prompts : None
    device : str
        Not used: it runs on the CPU.
    sigma : float, px
        Gaussian smoothing: without it every grain is a basin.
    texture : float
        Least local deviation of foreground, relative to the local mean.
    smallest : int, px
        Smaller basins are none.
    threshold : float
        Least depth of a basin, from its mean to its lowest point, in units of the image's contrast: the score.
    distance : float, px
        Least distance of two minima, on each axis.
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

    positive("watershed", sigma=sigma, texture=texture, distance=distance)
    foreground = deviation(image) > texture
    smooth = ndimage.gaussian_filter(image, sigma) / contrast_of(image, contrast)
    lowest, _ = maps.peaks(np.where(foreground, -smooth, -np.inf), threshold=-1e9, distance=distance)
    markers = np.zeros(image.shape, np.int32)
    at = np.rint(lowest).astype(int)
    markers[tuple(at.T)] = np.arange(1, len(at) + 1)
    labels = watershed(smooth, markers, mask=foreground | (markers > 0)).astype(np.int32)
    index = np.arange(1, len(at) + 1)
    depth = ndimage.mean(smooth, labels, index) - smooth[tuple(at.T)] if len(at) else np.zeros(0)
    kept = (np.bincount(labels.ravel(), minlength=len(at) + 1)[1:] >= smallest) & (depth >= threshold)
    order = np.flatnonzero(kept)[np.argsort(-depth[kept], kind="stable")]
    renamed = np.zeros(len(at) + 1, np.int32)
    renamed[order + 1] = np.arange(1, len(order) + 1)
    meta = {"method": "watershed", "device": "cpu"}
    return Prediction(lowest[order], depth[order], float(len(order)), labels=renamed[labels], meta=meta)


def status() -> Status:
    """Ready where its package is installed."""
    return ready("no training needed", "skimage")
