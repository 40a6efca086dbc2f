"""What filters share: `predict`, which takes the peaks of a map, `status`, and contrast."""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from cellcount.errors import check_positive
from cellcount.methods.base import CONTEXT, Status, predicts, ready, sampled
from cellcount.methods.pixels import square_peaks
from cellcount.types import Prediction


def context(image: Any, **params: Any) -> dict[str, Any]:
    """The contrast of the whole image, as a keyword argument of `predict` for its tiles; image (H, W) float32."""
    contrast = float(sampled(image).std())
    return {"contrast": contrast if contrast > 1e-6 else 1.0}  # rounding leaves 1e-8 of a constant image


def peaks_of(
    answer: Callable[..., np.ndarray], method: str, *packages: str, threshold: float, merge: bool = True
) -> tuple[Callable[..., Prediction], Callable[..., dict[str, Any]], Callable[[], Status]]:
    """The `predict`, `context` and `status` of a method that gives a map: its peaks are the cells.

    Parameters
    ----------
    answer : function (image (H, W), **params) -> (H, W) float map, high on cells
        Numeric parameters, apart from `seed` and those of `base.CONTEXT`, must be positive.
    method : str
        Its name in METHODS.
    packages : names of the packages that it needs
    threshold : float
        Default of the lowest peak, in the unit of the map.
    merge : bool
        Of `pixels.square_peaks`.

    Returns
    -------
    predict : function (image, *, prompts=None, device="auto", threshold, distance=8.0, **params) -> Prediction
        `distance`, px: a cell is the highest value of the map within this distance on each axis. `params` are those of
        `answer`, and are visible in the function's signature. It runs on the CPU, whatever the device. It raises a
        DataError if the image is not (H, W) float32, and a ParameterError if a parameter is unknown or out of range,
        or prompts are given.
    context : `maps.context`
    status : function () -> Status
    """
    own = [parameter for name, parameter in inspect.signature(answer).parameters.items() if name != "image"]

    def predict(
        image: np.ndarray,
        *,
        prompts: None = None,
        device: str = "auto",
        threshold: float = threshold,
        distance: float = 8.0,
        **params: Any,
    ) -> Prediction:
        check_positive(method, **{name: value for name, value in params.items() if name not in ("seed", *CONTEXT)})
        points, scores = square_peaks(answer(image, **params), threshold=threshold, distance=distance, merge=merge)
        return Prediction(points, scores, float(len(points)), meta={"method": method, "device": "cpu"})

    signature = inspect.signature(predict)
    shared = [parameter for parameter in signature.parameters.values() if parameter.kind is not parameter.VAR_KEYWORD]
    predict.__signature__ = signature.replace(parameters=[*shared[:3], *own, *shared[3:]])  # type: ignore[attr-defined]
    predict.__doc__ = f"Peaks of `answer`, the map of {method}; parameters and errors are described in `maps.peaks_of`."
    return predicts(method)(predict), context, partial(ready, "no training needed", *packages)


def contrast_of(image: np.ndarray, contrast: float | None) -> float:
    """`contrast`, which a tile is given, or else that of the image, (H, W) float32."""
    return context(image)["contrast"] if contrast is None else contrast
