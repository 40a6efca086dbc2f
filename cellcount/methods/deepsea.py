"""DeepSea: a small U-Net for stem cells in phase contrast, whose weights come with its package.

The package declares no dependency, so it fits beside everything else. Only its `model` is imported: the other modules
import each other by names that exist in a checkout of its sources only.
"""

import functools
from importlib.util import find_spec
from typing import Any

import numpy as np
from scipy import ndimage

from cellcount import registry
from cellcount.devices import choose_device
from cellcount.errors import DataError, NotAvailableError, ParameterError, install
from cellcount.methods.base import Status, predicts, sampled
from cellcount.types import Prediction

SMALLEST = 20  # px of the scaled image; smaller specks are removed, as in the package
STRIDE = 4  # px that the network's coarsest pixel spans


def context(image: Any, **params: Any) -> dict[str, Any]:
    """What `predict` must know of the whole image when it sees only a tile of it; image (H, W) float32.

    DeepSea maps an image's darkest and brightest pixel to 0 and 1.
    """
    image = sampled(image)
    return {"exposure": (float(image.min()), float(image.max()))}


@predicts("DeepSea", packages=("deepsea",))
def predict(
    image: np.ndarray,
    *,
    prompts: None = None,
    device: str = "auto",
    scale: float = 1.0,
    exposure: tuple[float, float] | None = None,
) -> Prediction:
    """Segment the cells of one image (Zargari et al. 2023, doi:10.1016/j.crmeth.2023.100500).

    The network parts cell from background, pixel by pixel; what hangs together is a cell.

    Parameters
    ----------
    image : (H, W) float32 in [0, 1]
    prompts : None
    device : str
    scale : float
        The image is scaled by it first, so that cells have the size of those that the network has learned from.
        Nobody has published that size: choose the scale on annotated images (`cellcount.metrics.tuned`).
    exposure : (float, float) or None
        Gray values of black and white, from `context`, when `image` is only a tile.

    Returns
    -------
    Prediction
        `points` are the masks' centres of mass, `scores` their mean probability.

    Raises
    ------
    DataError
        If the image is not (H, W) float32, or the package's weights are not those that are registered.
    NotAvailableError
        If the package is not installed.
    ParameterError
        If a parameter is out of range.
    """
    if not scale > 0:
        raise ParameterError(f"scale={scale!r} must be positive.")
    low, high = exposure or context(image)["exposure"]
    device = choose_device(device)
    cell = _probability((image - np.float32(low)) / np.float32(high - low or 1.0), scale, device)
    labels, count = _components(cell > 0.5)
    index = np.arange(1, count + 1)
    scores = ndimage.mean(cell, labels, index) if count else []
    points = np.array(ndimage.center_of_mass(labels > 0, labels, index), np.float32).reshape(-1, 2)
    points = (points + 0.5) * np.float32([side / n for side, n in zip(image.shape, cell.shape)]) - 0.5
    # Back to the image's own pixels: each takes the label at its place in the scaled image.
    places = [((np.arange(side) + 0.5) * n / side).astype(int) for side, n in zip(image.shape, cell.shape)]
    labels = labels[np.ix_(*places)]
    kept = np.bincount(labels.ravel(), minlength=count + 1)[1:] > 0  # a speck may vanish when the image was enlarged
    renamed = np.concatenate([[0], np.where(kept, np.cumsum(kept), 0)]).astype(np.int32)
    points, labels = points[kept], renamed[labels]
    return Prediction(
        points,
        np.asarray(scores, np.float32)[kept],
        float(len(points)),
        labels=labels,
        meta={
            "method": "deepsea",
            "weights_sha256": registry.known_weights("deepsea").sha256,
            "device": str(device),
            "scale": scale,
        },
    )


def _components(mask):
    """Labels (h, w) int and number of the 4-connected parts of a mask, without specks."""
    labels, count = ndimage.label(mask)
    large = np.bincount(labels.ravel(), minlength=count + 1) >= SMALLEST
    large[0] = False
    return np.where(large, np.cumsum(large), 0)[labels], int(large.sum())


def _probability(image, scale, device):
    """(h, w) float32 probability of cell of the scaled image."""
    import torch
    from torch.nn.functional import interpolate, pad

    size = [max(1, round(side * scale)) for side in image.shape]
    x = torch.from_numpy(np.ascontiguousarray(image))[None, None].to(device)
    with torch.inference_mode():
        if size != list(image.shape):
            x = interpolate(x, size=size, mode="bilinear", antialias=scale < 1, align_corners=False)
        missing = [-side % STRIDE for side in size]
        x = pad((x - 0.5) / 0.5, (0, missing[1], 0, missing[0]), mode="replicate")
        logits, _ = _network(_find(), device)(x)
        cell = logits.softmax(dim=1)[0, 1, : size[0], : size[1]]
    return cell.cpu().numpy()


@functools.lru_cache(maxsize=2)
def _network(path, device):
    import torch
    from deepsea.model import DeepSeaSegmentation

    network = DeepSeaSegmentation(n_channels=1, n_classes=2, bilinear=True)
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return network.eval().to(device)


def _find():
    """Verified path of the weights in the installed package, or wherever else the registry looks."""
    if find_spec("deepsea") is None:
        raise NotAvailableError(f"The package deepsea is not installed: {install('methods')}.")
    path = registry.find_weights("deepsea")
    if path is None:
        raise NotAvailableError("The package deepsea lacks its weights: install it again, pip install deepsea==0.0.3.")
    return path


def status() -> Status:
    """Ready where its package is installed."""
    try:
        _find()
    except NotAvailableError as error:
        return Status("needs package", str(error))
    except DataError as error:
        return Status("needs weights", str(error))
    return Status("ready", "weights of its package, trained on stem cells in phase contrast")
