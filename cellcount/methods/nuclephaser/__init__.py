"""NuclePhaser: detectors of nuclei in phase contrast, used as they are, whose weights come inside of its package.

Neither the package nor what it depends on is imported: the weights are read as data (`torch.load` with `weights_only`),
into this project's own layers (`network`). They are pinned by their hashes, and not redistributed. The wheel says MIT;
the checkpoints ND_v11n and ND_v11s carry AGPL-3.0, ND_v5n and ND_v5s come from training code under AGPL-3.0.
"""

import io
import zipfile
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from cellcount import registry
from cellcount.devices import choose_device
from cellcount.errors import DataError, check_positive, one_of, require
from cellcount.methods import weights_files
from cellcount.methods.base import Status, predicts, weights_status
from cellcount.registry.weights import pin
from cellcount.types import Prediction

NETWORKS = ("ND_v11n", "ND_v11s", "ND_v5n", "ND_v5s")  # n is small, s larger
TILE, STEP = 640, 512  # px of the scaled image: the size that the networks were trained on, and a fifth of it overlaps
OVERLAP = 0.34  # share of the smaller of two boxes from which on they are the same nucleus


def context(image: Any, **params: Any) -> dict[str, Any]:
    """Nothing: NuclePhaser takes the intensities of an image (H, W) as they are."""
    return {}


@predicts("NuclePhaser", packages=("torch",))
def predict(
    image: np.ndarray,
    *,
    prompts: None = None,
    device: str = "auto",
    weights: str | Path | None = None,
    network: str = "ND_v11n",
    scale: float = 0.75,
    threshold: float = 0.2,
) -> Prediction:
    """Detect the nuclei of one image (N. Voloshin, napari-nuclephaser, 2025; doi:10.1101/2025.05.13.653705).

    Tiles of 640 px, which overlap by a fifth, go through the network; of boxes that cover each other by more than a
    third of the smaller one, the surest remains.

    Parameters
    ----------
    image : (H, W) float32 in [0, 1]
    prompts : None
    device : str
    weights : path or None
        The wheel of napari-nuclephaser 0.5.0, or one of its four .pt files; None looks in the installed package.
    network : str
        "ND_v11n", "ND_v11s", "ND_v5n" or "ND_v5s".
    scale : float
        The image is resized by this factor first. The defaults of scale and threshold were chosen on fields at 20x.
    threshold : float
        Lowest score of a box. The number of boxes depends on it strongly: choose it on annotated images
        (`cellcount.metrics.tuned`), or so that one field has its known number of cells.

    Returns
    -------
    Prediction
        `points` are the centres of the boxes.

    Raises
    ------
    DataError
        If the image is not (H, W) float32, or the weights are not those that are registered.
    NotAvailableError
        If torch or the weights are missing.
    ParameterError
        If a parameter is out of range.
    """
    one_of(network, NETWORKS, "network")
    check_positive("NuclePhaser", scale=scale, threshold=threshold)
    device = choose_device(device)
    path = registry.local_weights(_entry(network)) if weights is None else weights_files.existing(weights)
    layers, digest = _layers(path, network, device)
    boxes = _detected(layers, _resized(image, scale, device), threshold)
    zoom = np.float32(np.divide(_scaled(image, scale), image.shape))
    points = boxes[:, :2] / zoom - 0.5  # a box is measured from the corner of the image
    inside = ((points > -0.5) & (points < np.array(image.shape) - 0.5)).all(axis=1)  # not on the padding
    points, scores = points[inside], boxes[inside, 4]
    meta = {"method": "nuclephaser", "weights_sha256": digest, "device": str(device), "network": network}
    return Prediction(
        points, scores, float(len(points)), meta=meta | {"scale": float(scale), "threshold": float(threshold)}
    )


def status() -> Status:
    """Ready where torch is installed and its weights are found."""

    def found(name):
        registry.local_weights(name)
        return (
            "weights of napari-nuclephaser 0.5.0, trained on nuclei in phase contrast (wheel MIT; ND_v11n and ND_v11s "
            "AGPL-3.0; ND_v5n and ND_v5s from training code under AGPL-3.0)"
        )

    return weights_status(found, [_entry(NETWORKS[0])], "torch")


def _entry(network):
    return f"nuclephaser-{network}"


@weights_files.cached(4)
def _layers(path, network, device):
    """The layers of a network, and the SHA-256 of its file, which may lie in a wheel; raises DataError."""
    from cellcount.methods.nuclephaser.network import read

    try:
        if path.suffix == ".whl":
            with zipfile.ZipFile(path) as wheel:
                content = wheel.read(f"napari_nuclephaser/models/{network}.pt")
        else:
            content = path.read_bytes()
    except (zipfile.BadZipFile, KeyError) as error:
        raise DataError(f"{path}: no wheel with {network}.pt ({error}); give that of napari-nuclephaser.") from error
    digest, expected = sha256(content).hexdigest(), pin(_entry(network))
    both = f"SHA-256 {digest[:12]}..., expected {str(expected)[:12]}..."
    way = f"Give {network}.pt of napari-nuclephaser 0.5.0, or the network that this file is."
    require(digest == expected, f"{path}: not the registered weights of {network} ({both}). {way}", DataError)
    return read(io.BytesIO(content), device), digest


def _scaled(image, scale):
    return [max(1, round(side * scale)) for side in image.shape]


def _resized(image, scale, device):
    """(1, 1, h, w) float32 tensor of the image at the network's scale."""
    import torch
    from torch.nn.functional import interpolate

    x, size = torch.from_numpy(np.ascontiguousarray(image))[None, None].to(device), _scaled(image, scale)
    if size == list(image.shape):
        return x
    return interpolate(x, size=size, mode="bilinear", antialias=scale < 1, align_corners=False)


def _detected(layers, image, threshold):
    """(N, 5) float32 boxes of an image tensor, y, x, height, width, score, the surest first, without repetitions."""
    from cellcount.methods.nuclephaser.network import run

    found = []
    rows, columns = (_starts(side) for side in image.shape[2:])
    for y, x in ((y, x) for y in rows for x in columns):
        boxes = run(layers, image[:, :, y : y + TILE, x : x + TILE])
        boxes = distinct(boxes[boxes[:, 4] >= threshold])
        boxes[:, :2] += np.float32([y, x])
        found.append(boxes)
    return found[0] if len(found) == 1 else distinct(np.concatenate(found))


def _starts(side):
    """First px of each tile along a side; the last tile ends with the image."""
    last = max(side - TILE, 0)
    return [*range(0, last, STEP), last]


def distinct(boxes: np.ndarray) -> np.ndarray:
    """Boxes (N, 5), y, x, height, width and score, without those that a surer one covers by a third: (M, 5).

    The share is that of the smaller of the two boxes.
    """
    boxes = boxes[np.argsort(-boxes[:, 4], kind="stable")]
    low, high, area = boxes[:, :2] - boxes[:, 2:4] / 2, boxes[:, :2] + boxes[:, 2:4] / 2, boxes[:, 2] * boxes[:, 3]
    left, kept = np.arange(len(boxes)), []
    while len(left):
        first, left = left[0], left[1:]
        kept.append(first)
        sides = np.minimum(high[first], high[left]) - np.maximum(low[first], low[left])
        shared = sides.clip(0).prod(axis=1)
        left = left[shared <= OVERLAP * np.minimum(area[first], area[left])]
    return boxes[kept]
