"""Training Cellpose and its size model with the library's own functions."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from importlib.metadata import version
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch.nn import functional
from tqdm import tqdm

from cellcount.data.pseudo_masks import training_masks
from cellcount.devices import choose_device, deterministic
from cellcount.errors import DataError, require
from cellcount.methods import weights_files
from cellcount.methods.cellpose.inference import OFF, normalised
from cellcount.methods.cellpose.settings import FORMAT, Settings
from cellcount.methods.cellpose.weights import SIZE, load, new_model
from cellcount.tiling import tiles
from cellcount.types import Sample

LEAST_MASKS = 5  # of a tile; the library's own limit
NEVER = 10**9  # epochs between two files that the library saves
UNKNOWN = -1.0  # instead of cell or not; the library draws this channel without interpolation


def fit(samples: list[Sample], *, out: str | Path, device: str = "auto", progress: bool = True, **params: Any) -> Path:
    """Train on annotated samples and write the weights, size model included.

    Parameters
    ----------
    samples : list of Sample
        With points, or with labels if `masks="true"`.
    out : path
        The safetensors file to write; its metadata holds the settings, the data's names and the losses.
    device : "auto", "cpu", "cuda", ...
    params
        Fields of `Settings`.

    Returns
    -------
    Path of `out`

    Raises
    ------
    DataError
        If a sample has no annotation, or no tile has five masks and enough trusted annotation.
    ParameterError
        If a parameter is unknown or out of range.
    NotAvailableError
        If the initial weights are not on this machine.
    """
    settings = Settings.of(params)
    device = choose_device(device)
    cut = training_tiles(samples, settings, progress)
    with deterministic(settings.seed), numpy_seed_kept():
        model = _start(settings, device)
        losses = _train(model.net, cut, settings, progress)
        size = _train_size(model.net, cut, settings)
    masks = int(sum(len(np.unique(label[0])) - 1 for label in cut[1]))
    training = {"tiles": len(cut[0]), "masks": masks, "diameter": float(model.net.diam_labels.item())}
    training |= {"losses": [round(float(loss), 5) for loss in losses]}
    about = weights_files.described(settings, samples, training, cellpose=version("cellpose"))
    about |= {"format": FORMAT, "size": {name: float(size[name]) for name in ("ymean", "diam_mean")}}
    network = {f"net.{name}": tensor for name, tensor in model.net.state_dict().items()}
    exact = {f"size.{name}": torch.from_numpy(np.asarray(size[name], np.float32)) for name in SIZE}
    return weights_files.write(out, network, about, exact)


def training_tiles(
    samples: Sequence[Sample], settings: Settings, progress: bool = False
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Cut samples into tiles, and compute the flows of their masks.

    The library's training function would compute the flows without any output, for minutes on images with a thousand
    cells; given the flows, it starts at once.

    Parameters
    ----------
    samples : list of Sample
    settings : Settings
    progress : bool

    Returns
    -------
    (images, labels)
        Lists of (2, h, w) float32, gray and an empty channel, and of (4, h, w) float32: masks, cell or not (-1: not
        known, with `ignore`), flow in y and x.

    Raises
    ------
    DataError
        See `fit`.
    """
    from cellpose.dynamics import labels_to_flows

    images, masks, unknown = [], [], []
    for sample in samples:
        gray, labels = normalised(sample.image), training_masks(sample, settings.masks, settings.LABEL)
        for (y0, y1, x0, x1), _ in tiles(gray.shape, settings.tile, 0):
            part = np.s_[y0:y1, x0:x1]
            if sample.valid[part].mean() >= settings.trusted and len(np.unique(labels[part])) > LEAST_MASKS:
                images.append(np.stack([gray[part], np.zeros_like(gray[part])]))
                masks.append(np.ascontiguousarray(labels[part]))
                unknown.append(~sample.valid[part] & settings.ignore & (labels[part] == 0))
    few = f"No tile of {settings.tile} px has {LEAST_MASKS} masks and trusted annotation on at least"
    way = f"{settings.trusted:.0%} of its pixels: annotate more, or lower `trusted`."
    require(images, f"{few} {way}", DataError)
    bar = tqdm(masks, desc="flows of the masks", unit="tile", disable=not progress)
    with _quiet():
        flows = [labels_to_flows([mask], device=torch.device("cpu"))[0] for mask in bar]
    for flow, where in zip(flows, unknown, strict=True):
        flow[1, where] = UNKNOWN
    return images, flows


def _start(settings, device):
    """A new model with random weights, or a copy of the published ones, since the loaded model may be in use."""
    model = new_model(settings.widths, settings.diam_mean, device)
    if settings.start:
        model.net.load_state_dict(load(settings.start, device).model.net.state_dict())
        model.net.diam_mean.data.fill_(settings.diam_mean)
    return model


def _train(net, cut, settings, progress):
    """Train in place; the loss of each epoch. The library has no callback, so a hook on the network moves the bar."""
    from cellpose.train import train_seg

    bar = tqdm(total=settings.epochs, desc="Cellpose", unit="step", disable=not progress, mininterval=1)
    hook = net.register_forward_hook(lambda *_: bar.update() and None)  # None: the output stays
    steps = {"n_epochs": settings.epochs, "batch_size": settings.batch, "nimg_per_epoch": settings.batch}
    rate = {"learning_rate": settings.learning_rate, "weight_decay": settings.weight_decay}
    try:
        with tempfile.TemporaryDirectory() as scratch, bar, _quiet(), _known_only(settings.ignore):
            files = {"save_path": scratch, "save_every": NEVER, "model_name": "network"}
            return train_seg(net, **_data(cut), bsize=settings.crop, **steps, **rate, **files)[1]
    finally:
        hook.remove()


def known_loss(labels: np.ndarray, output: torch.Tensor, device: torch.device) -> torch.Tensor:
    """The library's loss, `_loss_fn_seg`, over the pixels of which is known whether they are of a cell.

    Parameters
    ----------
    labels : (B, 3, h, w) float32
        Cell or not, or `UNKNOWN`, and the flow in y and x.
    output : (B, 3, h, w) float32
        The network's flow in y and x (five times as large), and the logit of a cell.
    device : torch.device

    Returns
    -------
    () float32; 0 if nothing is known
    """
    target = torch.from_numpy(labels).to(device)
    known = target[:, 0] != UNKNOWN
    if not known.any():
        return output.sum() * 0
    flow = functional.mse_loss(output[:, :2].movedim(1, -1)[known], 5 * target[:, 1:].movedim(1, -1)[known]) / 2
    return flow + functional.binary_cross_entropy_with_logits(output[:, -1][known], (target[:, 0] > 0.5)[known].float())


def _train_size(net, cut, settings):
    """The size model's parameters: a linear regression from the style of a crop to the diameter of its cells."""
    from cellpose.train import train_size

    steps = {"n_epochs": settings.size_epochs, "batch_size": 4, "nimg_per_epoch": 8}
    with tempfile.TemporaryDirectory() as scratch, _quiet():
        return train_size(net, f"{scratch}/network", **_data(cut), bsize=settings.size_crop, **steps)


def _data(cut):
    """The training tiles as both of the library's functions take them; normalised already, each field as a whole."""
    return {"train_data": cut[0], "train_labels": cut[1], "normalize": OFF, "min_train_masks": 0}


@contextmanager
def numpy_seed_kept() -> Iterator[None]:
    """Restore the state of NumPy's global generator, which Cellpose seeds."""
    before = np.random.get_state()
    try:
        yield
    finally:
        np.random.set_state(before)


def _known_only(ignore):
    """With `ignore`, `known_loss` in place of the library's."""
    return patch("cellpose.train._loss_fn_seg", known_loss) if ignore else nullcontext()


def _quiet():
    """Without the library's own progress bar, which lasts milliseconds and leaves an empty line."""
    return patch("cellpose.train.trange", lambda n, **_: range(n))
