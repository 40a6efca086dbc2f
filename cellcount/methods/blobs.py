"""The yardstick without learning: dark blobs, the nuclei and small cells, as extrema of a difference of Gaussians."""

from typing import Any

import numpy as np
from scipy import ndimage

from cellcount.errors import ParameterError
from cellcount.methods.base import Status, predicts, sampled
from cellcount.types import Prediction


@predicts("blobs")
def predict(
    image: np.ndarray,
    *,
    prompts: None = None,
    device: str = "auto",
    sigma: float = 5.0,
    ratio: float = 1.6,
    threshold: float = 0.3,
    distance: float = 8.0,
    contrast: float | None = None,
) -> Prediction:
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
    if not (sigma > 0 and ratio > 1 and distance >= 1):
        raise ParameterError(
            f"sigma={sigma}, ratio={ratio}, distance={distance}: sigma positive, ratio above 1, distance 1 px or more."
        )
    found = answer(image, sigma=sigma, ratio=ratio, contrast=contrast)
    size = 2 * int(distance) + 1
    peak = (found == ndimage.maximum_filter(found, size=size)) & (found >= threshold)
    points = np.argwhere(peak).astype(np.float32)
    scores = found[peak]
    order = np.argsort(-scores, kind="stable")
    return Prediction(points[order], scores[order], float(len(points)), meta={"method": "blobs", "device": "cpu"})


def answer(image: np.ndarray, *, sigma: float = 5.0, ratio: float = 1.6, contrast: float | None = None) -> np.ndarray:
    """The map that `predict` takes the peaks of: (H, W) float32, in units of the image's contrast; as there."""
    contrast = context(image)["contrast"] if contrast is None else contrast
    return (ndimage.gaussian_filter(image, sigma * ratio) - ndimage.gaussian_filter(image, sigma)) / contrast


def context(image: Any, **params: Any) -> dict[str, Any]:
    """The contrast of the whole image, as a keyword argument of `predict` for its tiles; image (H, W) float32."""
    contrast = float(sampled(image).std())
    return {"contrast": contrast if contrast > 1e-6 else 1.0}  # of a constant image rounding leaves 1e-8


def status() -> Status:
    """Always ready."""
    return Status("ready", "no training needed")
