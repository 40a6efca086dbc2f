"""DeepSea: a small U-Net for stem cells in phase contrast, whose weights come with its package.

The package declares no dependencies, so it conflicts with none. Only its `model` is imported: the other modules import
each other by names that exist only in a checkout of its sources.
"""

import functools
from typing import Any

import numpy as np
from scipy import ndimage

from cellcount import registry
from cellcount.devices import choose_device
from cellcount.errors import check_positive
from cellcount.methods.base import Exposure, Status, predicts, weights_status
from cellcount.methods.pixels import centroids, percentiles, stretched
from cellcount.types import Prediction, visible

SMALLEST = 20  # px of the scaled image; smaller specks are removed, as in the package
STRIDE = 4  # px that the network's coarsest pixel spans


def context(image: Any, **params: Any) -> dict[str, Any]:
    """Minimum and maximum of the whole image (H, W) float32, which DeepSea maps to 0 and 1, as `predict`'s argument."""
    return {"exposure": percentiles(image, 0, 100)}


@predicts("DeepSea", packages=("deepsea",))
def predict(
    image: np.ndarray, *, prompts: None = None, device: str = "auto", scale: float = 1.0, exposure: Exposure = None
) -> Prediction:
    """Segment the cells of one image (Zargari et al. 2023, doi:10.1016/j.crmeth.2023.100500).

    The network classifies each pixel as cell or background; each connected component is a cell.

    Parameters
    ----------
    image : (H, W) float32 in [0, 1]
    prompts : None
    device : str
    scale : float
        The image is resized by this factor first, so that cells have the size of those in the training data. That size
        is not published: choose the scale on annotated images (`cellcount.metrics.tuned`).
    exposure : (float, float) or None
        Intensities of black and white, from `context`, when `image` is only a tile.

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
    check_positive("DeepSea", scale=scale)
    device = choose_device(device)
    cell = _probability(stretched(image, exposure or context(image)["exposure"]), scale, device)
    parts, count = ndimage.label(cell > 0.5)
    # Back to the image's own pixels: each takes the label at its place in the scaled image.
    places = [((np.arange(side) + 0.5) * n / side).astype(int) for side, n in zip(image.shape, cell.shape)]
    labels = parts[np.ix_(*places)]
    large = np.bincount(parts.ravel(), minlength=count + 1)[1:] >= SMALLEST
    kept = np.flatnonzero(large & visible(labels, count)) + 1  # a component may vanish when the image was enlarged
    renumbered = np.zeros(count + 1, np.int32)
    renumbered[kept] = np.arange(1, len(kept) + 1)
    points = (centroids(parts, kept) + 0.5) * np.float32(np.divide(image.shape, cell.shape)) - 0.5
    sha256 = registry.known_weights("deepsea").sha256
    meta = {"method": "deepsea", "weights_sha256": sha256, "device": str(device), "scale": scale}
    scores = ndimage.mean(cell, parts, kept)
    return Prediction(points, scores, float(len(points)), labels=renumbered[labels], meta=meta)


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
        logits, _ = _network(registry.local_weights("deepsea"), device)(x)
        cell = logits.softmax(dim=1)[0, 1, : size[0], : size[1]]
    return cell.cpu().numpy()


@functools.lru_cache(maxsize=2)
def _network(path, device):
    import torch
    from deepsea.model import DeepSeaSegmentation

    network = DeepSeaSegmentation(n_channels=1, n_classes=2, bilinear=True)
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return network.eval().to(device)


def status() -> Status:
    """Ready where its package is installed."""

    def found(name):
        registry.local_weights(name)
        return "weights of its package, trained on stem cells in phase contrast"

    return weights_status(found, ["deepsea"], "deepsea")
