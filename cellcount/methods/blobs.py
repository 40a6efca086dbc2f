"""The yardstick without learning: dark blobs, the nuclei and small cells, as extrema of a difference of Gaussians."""

import numpy as np
from scipy import ndimage

from cellcount.errors import DataError, ParameterError
from cellcount.methods.status import Status
from cellcount.nouns import Prediction


def predict(image, *, prompts=None, device="auto", sigma=5.0, ratio=1.6, threshold=0.3, distance=8.0, contrast=None):
    """Find dark blobs of one size.

    The difference of two Gaussians whose widths differ by `ratio` = 1.6 is close to the Laplacian (Marr and Hildreth
    1980), which answers most to a disc of radius sigma * sqrt(2).

    Parameters
    ----------
    image : (H, W) float32 in [0, 1]
    prompts : None
    device : str
        Not used: it runs on the CPU.
    sigma : float, px
        Width of the finer Gaussian.
    ratio : float
    threshold : float
        Lowest answer, in units of the image's contrast.
    distance : float, px
        A blob is the strongest answer within this radius.
    contrast : float or None
        Standard deviation of the whole image, from `measure`, when `image` is only a tile.

    Returns
    -------
    Prediction

    Raises
    ------
    DataError
        If the image is not (H, W).
    ParameterError
        If a parameter is out of range, or prompts are given.
    """
    if image.ndim != 2:
        raise DataError(f"blobs want an (H, W) image, got shape {image.shape}.")
    if prompts is not None:
        raise ParameterError("blobs take no prompts.")
    if not (sigma > 0 and ratio > 1 and distance > 0):
        raise ParameterError(f"sigma={sigma}, ratio={ratio}, distance={distance}: all positive, ratio above 1.")
    found = answer(image, sigma=sigma, ratio=ratio, contrast=contrast)
    size = 2 * int(distance) + 1
    peak = (found == ndimage.maximum_filter(found, size=size)) & (found >= threshold)
    points = np.argwhere(peak).astype(np.float32)
    scores = found[peak]
    order = np.argsort(-scores, kind="stable")
    return Prediction(points[order], scores[order], float(len(points)), meta={"method": "blobs", "device": "cpu"})


def answer(image, *, sigma=5.0, ratio=1.6, contrast=None):
    """The map that `predict` takes the peaks of: (H, W) float32, in units of the image's contrast; as there."""
    contrast = measure(image)["contrast"] if contrast is None else contrast
    return (ndimage.gaussian_filter(image, sigma * ratio) - ndimage.gaussian_filter(image, sigma)) / contrast


def measure(image):
    """The contrast of the whole image, as a keyword argument of `predict` for its tiles; image (H, W) float32."""
    return {"contrast": float(image.std()) or 1.0}


def status():
    """Always ready."""
    return Status("ready", "nothing to learn: scipy only")
