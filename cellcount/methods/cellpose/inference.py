"""From an image to masks: Cellpose's network, its size model, and its flow dynamics."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy import ndimage

from cellcount.devices import choose_device
from cellcount.errors import DataError, ParameterError
from cellcount.methods.base import middle, predicts, sampled
from cellcount.methods.cellpose.weights import Loaded, load
from cellcount.types import Prediction

OFF = {"normalize": False}  # a dict: given False, the library would change its own defaults for good
GRAY = [0, 0]  # channels: gray, and no nuclear stain
LEAST_DIAMETER = 5.0  # px; the library's own floor of what its size model may say
LARGEST = 2048  # px; of an image beyond it the size model looks at the middle
SMALLEST = 16  # px; on a narrower image the library fails, and no cell fits
MASK_SIZE = 15  # px; the library's default of the smallest mask


def context(
    image: Any, *, device: str = "auto", weights: str | Path = "cyto3", diameter: float | None = None, **params: Any
) -> dict[str, Any]:
    """What `predict` must know of the whole image when it sees only a tile of it: exposure and diameter.

    Cellpose maps an image's 1st to its 99th percentile to 0 and 1. Without a diameter, the size model is asked once,
    about the middle of the image: asked tile by tile it would give each its own scale.

    Parameters
    ----------
    image : (H, W) float32 in [0, 1], or a `LargeImage`
    device, weights, diameter
        As `predict` will be given them.
    """
    low, high = np.percentile(sampled(image), [1, 99])
    exposure = (float(low), float(high))
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
        Of a cell: the image is scaled so that cells have the size that the network has learned from. None asks the
        size model. Give it when `image` is only a tile.
    flow_threshold : float or None
        Largest mean squared difference between the flows of the network and those of a mask; 0 keeps every mask,
        None takes the weights' own.
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
        If the library's weights are not on this machine.
    ParameterError
        If a parameter is out of range.
    """
    if diameter is not None and not diameter > 0:
        raise ParameterError(f"diameter={diameter!r} must be positive, or None for the size model's.")
    flows = flow(image, device=device, weights=weights, diameter=diameter, exposure=exposure)
    return segment(flows, flow_threshold, cellprob_threshold=cellprob_threshold, min_size=min_size)


class Flows(NamedTuple):
    """What the network says of an image: `flow` (2, H, W), `logit` (H, W) float32, and at which diameter (px)."""

    flow: np.ndarray
    logit: np.ndarray
    diameter: float
    loaded: Loaded


def flow(
    image: np.ndarray,
    *,
    device: str = "auto",
    weights: str | Path = "cyto3",
    diameter: float | None = None,
    exposure: tuple[float, float] | None = None,
) -> Flows:
    """Run the network only: a `Flows`, from which `segment` makes masks. Arguments as of `predict`; image (H, W)."""
    if image.ndim != 2 or image.dtype != np.float32 or not image.size:
        raise DataError(f"Cellpose wants an (H, W) float32 image in [0, 1], got shape {image.shape}, {image.dtype}.")
    loaded = load(weights, choose_device(device))
    image = normalised(image, exposure)
    if min(image.shape) < SMALLEST:
        nothing = np.zeros((2, *image.shape), np.float32)
        return Flows(nothing, nothing[0] - 10, float(diameter or loaded.diameter), loaded)
    if diameter is None:
        diameter = _automatic_diameter(image, loaded)
    _, (_, vectors, logit), _ = loaded.model.eval(
        image, channels=GRAY, normalize=OFF, diameter=diameter, compute_masks=False
    )
    shape = image.shape  # the library squeezes: an image of one row would come back without it
    return Flows(vectors.reshape(2, *shape), logit.reshape(shape), float(diameter), loaded)


def normalised(image: np.ndarray, exposure: tuple[float, float] | None = None) -> np.ndarray:
    """(H, W) float32 with `exposure` (or the image's own) mapped to 0 and 1; a constant image becomes 0."""
    low, high = exposure or np.percentile(image, [1, 99]).tolist()
    return (image - np.float32(low)) / np.float32(high - low or 1.0)


def estimate_diameter(
    image: np.ndarray,
    *,
    device: str = "auto",
    weights: str | Path = "cyto3",
    exposure: tuple[float, float] | None = None,
) -> float:
    """The mean diameter (px) of the cells of an image (H, W) float32, by the size model of the weights.

    Raises as `predict` does, and NotAvailableError if the library's size model is not on this machine.
    """
    loaded = load(weights, choose_device(device))
    return _automatic_diameter(normalised(image, exposure), loaded)


def _automatic_diameter(image, loaded):
    """Two steps, as `cellpose.models.SizeModel` takes: from the image's style, then from the masks at that diameter.

    Its own second step fixes flow_threshold at .4, which leaves a model trained from clicks without a mask.
    """
    from cellpose.models import SizeModel
    from cellpose.utils import diameters

    if loaded.size is None:
        return _lacking_size_model()
    if min(image.shape) < SMALLEST:
        return loaded.diameter
    size = SizeModel(loaded.model)
    size.params, size.diam_mean = loaded.size, loaded.size["diam_mean"]
    model = loaded.model
    # The size model has learned from images that were not scaled; without this line the image would be scaled.
    scale = {"rescale": 1.0, "diameter": None}
    _, _, style = model.eval(image, channels=GRAY, normalize=OFF, compute_masks=False, **scale)
    first = float(size._size_estimation(np.asarray(style)))
    first = first if np.isfinite(first) else loaded.diameter
    with quiet():
        masks, _, _ = model.eval(
            image, channels=GRAY, normalize=OFF, diameter=first, flow_threshold=loaded.flow_threshold, resample=False
        )
    second = float(diameters(masks)[0]) if masks.any() else first
    return max(second, LEAST_DIAMETER)


def _lacking_size_model():
    from cellcount.errors import NotAvailableError

    raise NotAvailableError(
        "The size model of these weights is not on this machine (see `cellcount methods`); give a diameter in px."
    )


def segment(
    flows: Flows, flow_threshold: float | None = None, *, cellprob_threshold: float = 0.0, min_size: int = MASK_SIZE
) -> Prediction:
    """Masks from a `Flows`, as a Prediction; arguments as of `predict`."""
    from cellpose.dynamics import resize_and_compute_masks

    threshold = flows.loaded.flow_threshold if flow_threshold is None else flow_threshold
    steps = flows.diameter / flows.loaded.model.diam_mean * 200  # as in CellposeModel.eval
    with quiet():
        masks = resize_and_compute_masks(
            flows.flow,
            flows.logit,
            niter=steps,
            flow_threshold=threshold,
            cellprob_threshold=cellprob_threshold,
            min_size=min_size,
            device=flows.loaded.model.device,
        )
    return as_prediction(
        masks,
        flows.logit,
        weights_sha256=flows.loaded.sha256,
        device=str(flows.loaded.model.device),
        diameter=flows.diameter,
        flow_threshold=threshold,
    )


@contextmanager
def quiet() -> Iterator[None]:
    """Without remarks on stderr: torch's on the sparse tensors of Cellpose's dynamics, and Cellpose's on no masks.

    No masks is an answer, at the wrong diameter the expected one.
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
    numbers = np.unique(masks)
    numbers = numbers[numbers > 0]
    renamed = np.zeros(int(masks.max(initial=0)) + 1, np.int32)
    renamed[numbers] = np.arange(1, len(numbers) + 1)
    labels = renamed[masks]
    index = np.arange(1, len(numbers) + 1)
    points = np.array(ndimage.center_of_mass(labels > 0, labels, index), np.float32).reshape(-1, 2)
    scores = ndimage.mean(1 / (1 + np.exp(-logit)), labels, index)
    meta = {"method": "cellpose", **meta}
    return Prediction(points, np.asarray(scores), float(len(points)), labels=labels, meta=meta)
