"""What the classical methods share: the check of numbers, the peaks of a map, contrast, and status."""

from typing import Any

import numpy as np
from scipy import ndimage

from cellcount.errors import ParameterError
from cellcount.methods.base import Status, sampled
from cellcount.types import Prediction


def positive(method: str, **numbers: float) -> None:
    """Raise a ParameterError if one of the numbers is not positive."""
    for name, value in numbers.items():
        if name == "distance" and value < 1:
            raise ParameterError(f"{method}: distance={value!r} must be 1 px or more.")
        if not value > 0:
            raise ParameterError(f"{method}: {name}={value!r} must be positive.")


def peaks(answer: np.ndarray, *, threshold: float, distance: float) -> tuple[np.ndarray, np.ndarray]:
    """Local maxima of a map: the highest pixel within `distance`, on each axis.

    Parameters
    ----------
    answer : (H, W) float
    threshold : float
        Lower maxima are none. Raising it only removes the lowest: `cellcount.metrics.tuned` relies on that.
    distance : float, px

    Returns
    -------
    points : (M, 2) float32, (y, x) px
    scores : (M,) float32, highest first
    """
    highest = ndimage.maximum_filter(answer, size=2 * int(distance) + 1, mode="nearest")
    # A plateau is one peak, at its middle: a map of shares is flat where it is 1.
    labels, number = ndimage.label((answer == highest) & (answer >= threshold), np.ones((3, 3)))
    if not number:
        return np.zeros((0, 2), np.float32), np.zeros(0, np.float32)
    index = np.arange(1, number + 1)
    points = np.array(ndimage.center_of_mass(labels > 0, labels, index), np.float32)
    scores = np.asarray(ndimage.maximum(answer, labels, index), np.float32)
    order = np.argsort(-scores, kind="stable")
    return points[order], scores[order]


def as_prediction(answer: np.ndarray, method: str, *, threshold: float, distance: float) -> Prediction:
    """Prediction of a map's peaks; `answer` (H, W) float."""
    points, scores = peaks(answer, threshold=threshold, distance=distance)
    return Prediction(points, scores, float(len(points)), meta={"method": method, "device": "cpu"})


def context(image: Any, **params: Any) -> dict[str, Any]:
    """The contrast of the whole image, as a keyword argument of `predict` for its tiles; image (H, W) float32."""
    contrast = float(sampled(image).std())
    return {"contrast": contrast if contrast > 1e-6 else 1.0}  # of a constant image rounding leaves 1e-8


def contrast_of(image: np.ndarray, contrast: float | None) -> float:
    """`contrast` if a tile was told it, else that of the image, (H, W) float32."""
    return context(image)["contrast"] if contrast is None else contrast


def status() -> Status:
    """Always ready."""
    return Status("ready", "no training needed")
