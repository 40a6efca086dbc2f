"""From an image to masks: Cellpose's network, its size model, and its flow dynamics."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy import ndimage

from cellcount.errors import NotAvailableError, require
from cellcount.methods.base import Exposure, check_image, middle, predicts
from cellcount.methods.cellpose.weights import Loaded, load
from cellcount.methods.pixels import centroids, percentiles, stretched
from cellcount.types import Prediction

OFF = {"normalize": False}  # a dict: given False, the library would change its own defaults for good
PLAIN = {"channels": [0, 0], "normalize": OFF}  # gray, and no nuclear stain; an image that is normalised already
LEAST_DIAMETER = 5.0  # px; the library's lower limit of the automatic diameter
LARGEST = 2048  # px; of a larger image the size model gets the central part
SMALLEST = 16  # px; the library fails on a narrower image, which holds no cell
MASK_SIZE = 15  # px; the library's default of the smallest mask


def context(
    image: Any, *, device: str = "auto", weights: str | Path = "cyto3", diameter: float | None = None, **params: Any
) -> dict[str, Any]:
    """Exposure and diameter of the whole image, as keyword arguments of `predict` for its tiles.

    Cellpose maps an image's 1st to its 99th percentile to 0 and 1. Without a diameter, the size model estimates one
    for the central part of the image: estimated for each tile, it would give each tile its own scale.

    Parameters
    ----------
    image : (H, W) float32 in [0, 1], or a `LargeImage`
    device, weights, diameter
        As `predict` will be given them.
    """
    exposure = percentiles(image, 1, 99)
    if diameter is None:
        part = np.ascontiguousarray(middle(image, LARGEST))
        diameter = estimate_diameter(part, device=device, weights=weights, exposure=exposure)
    return {"exposure": exposure, "diameter": diameter}


@predicts("Cellpose", packages=("cellpose",))
def predict(
    image: np.ndarray,
    *,
    prompts: None = None,
    device: str = "auto",
    weights: str | Path = "cyto3",
    diameter: float | None = None,
    flow_threshold: float | None = None,
    cellprob_threshold: float = 0.0,
    min_size: int = MASK_SIZE,
    exposure: tuple[float, float] | None = None,
) -> Prediction:
    """Segment the cells of one image (Stringer et al. 2021, doi:10.1038/s41592-020-01018-x).

    Parameters
    ----------
    image : (H, W) float32 in [0, 1]
    prompts : None
    device : str
    weights : str or path
        "cyto", "cyto2", "cyto3", or a file written by `fit`.
    diameter : float, px, or None
        Of a cell: the image is scaled so that cells have the size of those that the network was trained on. None: the
        size model estimates it, which is wrong where `image` is only a tile.
    flow_threshold : float or None
        Largest mean squared difference between the flows of the network and those of a mask; 0 keeps every mask,
        None takes the weights' own default.
    cellprob_threshold : float
        Least logit of a pixel of a cell.
    min_size : int, px
        Area of the smallest mask.
    exposure : (float, float) or None
        Gray values of black and white, from `context`, when `image` is only a tile.

    Returns
    -------
    Prediction
        `points` are the masks' centres of mass, `scores` their mean probability; `meta` has the diameter.

    Raises
    ------
    DataError
        If the image is not (H, W) float32, or a weights file cannot be used.
    NotAvailableError
        If published weights are not on this machine.
    ParameterError
        If a parameter is out of range.
    """
    positive = diameter is None or diameter > 0
    require(positive, f"diameter={diameter!r} must be positive, or None for the size model's.")
    flows = flow(image, device=device, weights=weights, diameter=diameter, exposure=exposure)
    return segment(flows, flow_threshold, cellprob_threshold=cellprob_threshold, min_size=min_size)


class Flows(NamedTuple):
    """The network's output for an image: `flow` (2, H, W) and `logit` (H, W), float32, at a diameter (px)."""

    flow: np.ndarray
    logit: np.ndarray
    diameter: float
    loaded: Loaded


def flow(image: np.ndarray, *, diameter: float | None = None, exposure: Exposure = None, **network: Any) -> Flows:
    """Run the network only: a `Flows`, from which `segment` makes masks.

    image : (H, W) float32; diameter, exposure, and in `network` weights and device : as of `predict`
    """
    check_image(image, "Cellpose")
    loaded = load(**network)
    image = normalised(image, exposure)
    if min(image.shape) < SMALLEST:
        zero = np.zeros((2, *image.shape), np.float32)
        return Flows(zero, zero[0] - 10, float(diameter or loaded.diameter), loaded)
    if diameter is None:
        diameter = _automatic_diameter(image, loaded)
    _, (_, vectors, logit), _ = loaded.model.eval(image, diameter=diameter, compute_masks=False, **PLAIN)
    shape = image.shape  # the library removes axes of length 1
    return Flows(vectors.reshape(2, *shape), logit.reshape(shape), float(diameter), loaded)


def normalised(image: np.ndarray, exposure: tuple[float, float] | None = None) -> np.ndarray:
    """(H, W) float32 with `exposure`, or its 1st and 99th percentile, mapped to 0 and 1; a constant image becomes 0."""
    return stretched(image, exposure or percentiles(image, 1, 99))


def estimate_diameter(image: np.ndarray, *, exposure: tuple[float, float] | None = None, **network: Any) -> float:
    """The mean diameter (px) of the cells of an image (H, W) float32, by the size model of the weights.

    Arguments as of `flow`. Raises as `predict` does, and NotAvailableError if the size model is not on this machine.
    """
    return _automatic_diameter(normalised(image, exposure), load(**network))


def _automatic_diameter(image, loaded):
    """Two steps, as in `cellpose.models.SizeModel`: from the image's style, then from the masks at that diameter.

    Its own second step has a fixed flow_threshold of 0.4, at which a model trained on pseudo-masks finds no mask.
    """
    from cellpose.models import SizeModel
    from cellpose.utils import diameters

    way = "(see `cellcount methods`); give a diameter in px."
    known = loaded.size is not None
    require(known, f"The size model of these weights is not on this machine {way}", NotAvailableError)
    if min(image.shape) < SMALLEST:
        return loaded.diameter
    model, size = loaded.model, SizeModel(loaded.model)
    size.params, size.diam_mean = loaded.size, loaded.size["diam_mean"]
    # The size model was trained on images that were not scaled: rescale=1.
    _, _, style = model.eval(image, compute_masks=False, rescale=1.0, diameter=None, **PLAIN)
    first = float(size._size_estimation(np.asarray(style)))
    first = first if np.isfinite(first) else loaded.diameter
    with quiet():
        asked = {"diameter": first, "flow_threshold": loaded.flow_threshold, "resample": False}
        masks, _, _ = model.eval(image, **asked, **PLAIN)
    second = float(diameters(masks)[0]) if masks.any() else first
    return max(second, LEAST_DIAMETER)


def segment(
    flows: Flows, flow_threshold: float | None = None, *, cellprob_threshold: float = 0.0, min_size: int = MASK_SIZE
) -> Prediction:
    """Masks from a `Flows`, as a Prediction; arguments as of `predict`."""
    from cellpose.dynamics import resize_and_compute_masks

    loaded, model = flows.loaded, flows.loaded.model
    threshold = loaded.flow_threshold if flow_threshold is None else flow_threshold
    limits = {"flow_threshold": threshold, "cellprob_threshold": cellprob_threshold, "min_size": min_size}
    steps = flows.diameter / model.diam_mean * 200  # as in CellposeModel.eval
    with quiet():
        masks = resize_and_compute_masks(flows.flow, flows.logit, niter=steps, device=model.device, **limits)
    about = {"weights_sha256": loaded.sha256, "device": str(model.device), "diameter": flows.diameter}
    return as_prediction(masks, flows.logit, **about, flow_threshold=threshold)


@contextmanager
def quiet() -> Iterator[None]:
    """Without two warnings: torch's about the sparse tensors of Cellpose's dynamics, and Cellpose's about no masks.

    No masks is a valid result, the expected one at a wrong diameter.
    """
    logger = logging.getLogger("cellpose.dynamics")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Sparse invariant checks")
            yield
    finally:
        logger.setLevel(level)


def as_prediction(masks: np.ndarray, logit: np.ndarray, **meta: Any) -> Prediction:
    """A Prediction from masks (H, W) int, 0 is background, and the network's logits (H, W) of being cell."""
    from skimage.segmentation import relabel_sequential

    labels = relabel_sequential(masks)[0].astype(np.int32)
    index = np.arange(1, labels.max(initial=0) + 1)
    scores = np.asarray(ndimage.mean(1 / (1 + np.exp(-logit)), labels, index))
    meta = {"method": "cellpose", **meta}
    return Prediction(centroids(labels, index), scores, float(len(index)), labels=labels, meta=meta)
