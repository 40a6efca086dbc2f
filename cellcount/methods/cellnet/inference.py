"""From an image to a heatmap, to points, and to a count."""

import functools
import json
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open

from cellcount.devices import choose_device
from cellcount.errors import DataError, ParameterError
from cellcount.files import sha256
from cellcount.methods.cellnet.losses import heat as heat_of
from cellcount.methods.cellnet.network import build, fused, stride
from cellcount.methods.cellnet.pixels import brightness_and_contrast, prepared, to_full
from cellcount.methods.cellnet.settings import FORMAT, Settings
from cellcount.methods.cellnet.targets import peaks, volume
from cellcount.nouns import Prediction

SHIPPED = files("cellcount") / "weights" / "cellnet-thesis.safetensors"
PHANTOM = files("cellcount") / "weights" / "cellnet-phantom.safetensors"  # to start training from


def measure(image):
    """What `predict` must know of the whole image when it sees only a tile of it.

    Parameters
    ----------
    image : (H, W) float32 in [0, 1]

    Returns
    -------
    dict of `predict`'s keyword arguments
    """
    return {"exposure": brightness_and_contrast(image)}


def predict(
    image,
    *,
    prompts=None,
    device="auto",
    weights=None,
    threshold=None,
    averaging=1,
    count="peaks",
    exposure=None,
    density=True,
):
    """Find the cells of one image.

    Parameters
    ----------
    image : (H, W) float32 in [0, 1]
    prompts : None
        CellNet takes no prompts; the argument is part of every method's call.
    device : str
    weights : path or None
        A file written by `fit`; None takes the weights shipped with the package (trained on thesis images 1 and 2).
    threshold : float or None
        Lowest height of a peak, as a share of a full one; None takes the weights' own.
    averaging : int
        Mean heatmap over this many of the eight symmetries of the square, 1 to 8; time grows in proportion.
    count : "peaks" or "density"
        What the count is: the number of peaks, or the sum of the density, which melts no neighbours together, but
        needs clicks on all cells of the images it is trained on.
    exposure : (float, float) or None
        Brightness and contrast of the whole image, from `measure`, when `image` is only a tile.
    density : bool
        Whether to return the density map (full resolution), which only the target "gaussian" has.

    Returns
    -------
    Prediction
        `density` in cells per px.

    Raises
    ------
    DataError
        If the image is not (H, W) float32, or the weights file is not one of CellNet's.
    ParameterError
        If a parameter is out of range.
    """
    if prompts is not None:
        raise ParameterError("CellNet takes no prompts.")
    return predict_batch(
        [image], device=device, weights=weights, threshold=threshold, averaging=averaging, count=count,
        exposure=exposure, density=density,
    )[0]  # fmt: skip


def predict_batch(
    images, *, device="auto", weights=None, threshold=None, averaging=1, count="peaks", exposure=None, density=True
):
    """`predict` for several images or tiles of one shape in one pass, which fills a GPU as a single one does not.

    Parameters
    ----------
    images : list of (H, W) float32 in [0, 1]
    device, weights, threshold, averaging, count, exposure, density
        As for `predict`; `exposure` is that of all images.

    Returns
    -------
    list of Prediction

    Raises
    ------
    DataError, ParameterError
        As `predict`.
    """
    for image in images:
        if image.ndim != 2 or image.dtype != np.float32 or not image.size or image.shape != images[0].shape:
            raise DataError(f"CellNet wants an (H, W) float32 image in [0, 1], got shape {image.shape}, {image.dtype}.")
    if averaging not in range(1, 9):
        raise ParameterError(f"averaging={averaging!r}: give a whole number from 1 to 8.")
    if count not in ("peaks", "density"):
        raise ParameterError(f"count={count!r}: choose 'peaks' or 'density'.")
    device = choose_device(device)
    path = Path(weights or SHIPPED)
    network, settings, digest = load_weights(path, path.stat().st_mtime_ns if path.exists() else 0, device)
    threshold = settings.threshold if threshold is None else threshold
    if not threshold > 0:
        raise ParameterError(f"threshold={threshold!r} must be positive.")
    has_density = settings.target == "gaussian"
    if count == "density" and not has_density:
        raise ParameterError(f"{path}: trained with target {settings.target!r}, which has no density; count='peaks'.")
    heats = run(
        network, np.stack([prepared(image, settings, exposure) for image in images]), settings, device, averaging
    )
    predictions = []
    for image, heat in zip(images, heats, strict=True):
        points, scores = peaks(heat, threshold=threshold, distance=settings.peak_distance)
        points = to_full(points, settings.factor)
        inside = (points > -0.5).all(axis=1) & (points < np.array(image.shape) - 0.5).all(axis=1)  # not on the padding
        predictions.append(
            Prediction(
                points[inside],
                scores[inside],
                count=_total(heat, settings) if count == "density" else float(inside.sum()),
                density=_density(heat, settings, image.shape) if density and has_density else None,
                meta={"method": "cellnet", "weights_sha256": digest, "device": str(device), "threshold": threshold},
            )
        )
    return predictions


def about(path):
    """What a weights file says of itself: a dict with its settings, samples, number of points, losses and versions.

    Raises
    ------
    DataError
        If the file is missing, torn, or not one of CellNet's.
    """
    return read_weights(path)[0]


def read_weights(path):
    """(about, tensors by name) of a weights file; raises DataError as `about` does."""
    path = Path(path)
    if not path.exists():
        raise DataError(f"No weights file at {path}; train one with `cellcount train`, or leave `weights` out.")
    try:
        with safe_open(path, framework="pt") as file:
            described = json.loads((file.metadata() or {}).get("cellcount", "{}"))
            state = {name: file.get_tensor(name) for name in file.keys()}
    except SafetensorError as error:
        raise DataError(f"{path}: not a safetensors file, or cut short ({error}); write it anew.") from error
    if described.get("format") != FORMAT:
        raise DataError(f"{path}: a safetensors file, but not one of CellNet's (its metadata has no {FORMAT}).")
    return described, state


@functools.lru_cache(maxsize=4)
def load_weights(path, mtime, device):
    """Network, settings and SHA-256 of a weights file; `mtime` makes a rewritten file a new one to the cache."""
    described, state = read_weights(path)
    settings = Settings(**described["settings"])
    network = build(encoder=settings.encoder, decoder=settings.decoder, widths=settings.widths, detail=settings.detail)
    network.load_state_dict(state)
    network = fused(network.float().eval()).to(device, memory_format=torch.channels_last)
    return network, settings, sha256(path)


@torch.inference_mode()
def run(network, images, settings, device, averaging=1):
    """The heatmap of an image that was `prepared`, or of a stack of them; on a GPU in half precision.

    (detail H, detail W) float32 -> (H, W) float32, or (N, detail H, detail W) -> (N, H, W); 1 is a full peak.
    """
    *stack, height, width = images.shape
    step = stride(settings.widths) * settings.detail
    padded = np.pad(
        images.reshape(-1, 1, height, width),
        [(0, 0), (0, 0), (0, -height % step), (0, -width % step)],
        mode="symmetric",
    )
    x = torch.from_numpy(padded).contiguous(memory_format=torch.channels_last).to(device)
    with half_precision(device):
        total = sum(_turned_back(network(_turned(x, k)), k).float() for k in range(averaging))
    heat = heat_of(total / averaging, settings.loss)
    height, width = height // settings.detail, width // settings.detail
    return heat[:, 0, :height, :width].cpu().numpy().reshape(*stack, height, width)


def half_precision(device):
    """Convolutions in float16 on a GPU: three more bits than bfloat16, and no activation comes near its 65504."""
    return torch.autocast(device.type, torch.float16, enabled=device.type == "cuda")


def _turned(x, k):
    x = torch.rot90(x, k % 4, (2, 3))
    return x.flip(3) if k >= 4 else x


def _turned_back(x, k):
    x = x.flip(3) if k >= 4 else x
    return torch.rot90(x, -(k % 4), (2, 3))


def _total(heat, settings):
    """The number of cells that the whole heatmap holds."""
    return float(heat.sum(dtype=float) * settings.density_scale / volume(settings.sigma))


def _density(heat, settings, shape):
    """Cells per px of the full image, (H, W) float32."""
    small = heat * np.float32(settings.density_scale / (volume(settings.sigma) * settings.factor**2))
    return small.repeat(settings.factor, axis=0).repeat(settings.factor, axis=1)[: shape[0], : shape[1]]
