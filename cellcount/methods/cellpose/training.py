"""Training Cellpose from clicks, with the library's own loop, and its size model after it."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from cellcount.data.pseudo_masks import pseudo_masks
from cellcount.devices import choose_device, deterministic
from cellcount.errors import DISTRIBUTION, DataError
from cellcount.methods.cellpose.inference import OFF, normalised
from cellcount.methods.cellpose.settings import Settings, settings_from
from cellcount.methods.cellpose.weights import load, new_model, save
from cellcount.tiling import tiles
from cellcount.types import Sample

LEAST_MASKS = 5  # of a tile; the library's own limit
NEVER = 10**9  # epochs between two files of the library's own


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
        If a sample has no annotation, or no tile has five masks on trusted ground.
    ParameterError
        If a parameter is unknown or out of range.
    NotAvailableError
        If the weights to start from are not on this machine.
    """
    settings = settings_from(params)
    device = choose_device(device)
    cut = training_tiles(samples, settings, progress)
    with deterministic(settings.seed), numpy_seed_kept():
        model = _start(settings, device)
        losses = _train(model.net, cut, settings, progress)
        size = _train_size(model.net, cut, settings)
    described = {
        "settings": asdict(settings),
        "samples": [sample.name for sample in samples],
        "tiles": len(cut[0]),
        "masks": int(sum(len(np.unique(label[0])) - 1 for label in cut[1])),
        "diameter": float(model.net.diam_labels.item()),
        "losses": [round(float(loss), 5) for loss in losses],
        "cellcount": version(DISTRIBUTION),
        "cellpose": version("cellpose"),
    }
    return save(out, model.net, size, described)


def training_tiles(
    samples: Sequence[Sample], settings: Settings, progress: bool = False
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Cut samples into tiles, and compute the flows of their masks.

    The library does the latter inside of its training function, without a word, for minutes on images with a
    thousand cells: with the flows given, it starts at once.

    Parameters
    ----------
    samples : list of Sample
    settings : Settings
    progress : bool

    Returns
    -------
    (images, labels)
        Lists of (2, h, w) float32, gray and an empty channel, and of (4, h, w) float32: masks, cell or not, flow in
        y and x.

    Raises
    ------
    DataError
        See `fit`.
    """
    import torch
    from cellpose.dynamics import labels_to_flows

    images, masks = [], []
    for sample in samples:
        gray, labels = normalised(sample.image), _labels(sample, settings)
        for (y0, y1, x0, x1), _ in tiles(gray.shape, settings.tile, 0):
            rows, columns = slice(y0, y1), slice(x0, x1)
            label = labels[rows, columns]
            if sample.valid[rows, columns].mean() < settings.trusted or len(np.unique(label)) <= LEAST_MASKS:
                continue
            image = gray[rows, columns]
            images.append(np.stack([image, np.zeros_like(image)]))
            masks.append(np.ascontiguousarray(label))
    if not images:
        raise DataError(
            f"No tile of {settings.tile} px has {LEAST_MASKS} masks where at least {settings.trusted:.0%} of the "
            "annotation can be trusted: annotate more, or lower `trusted`."
        )
    bar = tqdm(masks, desc="flows of the masks", unit="tile", disable=not progress)
    with _quiet():
        flows = [labels_to_flows([mask], device=torch.device("cpu"))[0] for mask in bar]
    return images, flows


def _labels(sample, settings):
    if settings.masks == "true":
        if sample.labels is None:
            raise DataError(f"{sample.name}: has no true masks; train with masks='weighted', from its points.")
        return sample.labels
    if sample.points is None:
        raise DataError(f"{sample.name}: no annotation; Cellpose learns from masks around points. Leave it out.")
    return pseudo_masks(sample.image, sample.points, variant=settings.masks)


def _start(settings, device):
    """A model to train: fresh, or with the weights of the library."""
    if not settings.start:
        return new_model(settings.widths, settings.diam_mean, device)
    pretrained = load(settings.start, device)
    model = new_model(settings.widths, settings.diam_mean, device)  # what is loaded may be in use elsewhere
    model.net.load_state_dict(pretrained.model.net.state_dict())
    model.net.diam_mean.data.fill_(settings.diam_mean)
    return model


def _train(net, cut, settings, progress):
    """Train in place; the loss of each epoch. The library names no step, so a hook on the network moves the bar."""
    from cellpose.train import train_seg

    with (
        tempfile.TemporaryDirectory() as scratch,
        tqdm(total=settings.epochs, desc="Cellpose", unit="step", disable=not progress, mininterval=1) as bar,
        _quiet(),
    ):
        hook = net.register_forward_hook(lambda *_: bar.update() and None)  # what a hook returns would be the output
        try:
            _, losses, _ = train_seg(
                net,
                train_data=cut[0],
                train_labels=cut[1],
                normalize=OFF,  # done already, for each image as a whole and not for each tile
                batch_size=settings.batch,
                nimg_per_epoch=settings.batch,
                n_epochs=settings.epochs,
                learning_rate=settings.learning_rate,
                weight_decay=settings.weight_decay,
                bsize=settings.crop,
                save_path=scratch,
                save_every=NEVER,
                min_train_masks=0,
                model_name="network",
            )
        finally:
            hook.remove()
    return losses


def _train_size(net, cut, settings):
    """The size model's parameters: a linear regression from the style of a crop to the diameter of its cells."""
    from cellpose.train import train_size

    with tempfile.TemporaryDirectory() as scratch, _quiet():
        return train_size(
            net,
            f"{scratch}/network",
            train_data=cut[0],
            train_labels=cut[1],
            normalize=OFF,
            nimg_per_epoch=8,
            n_epochs=settings.size_epochs,
            batch_size=4,
            bsize=settings.size_crop,
            min_train_masks=0,
        )


@contextmanager
def numpy_seed_kept() -> Iterator[None]:
    """Cellpose seeds NumPy's global generator; the caller's goes on afterwards as if it had not."""
    before = np.random.get_state()
    try:
        yield
    finally:
        np.random.set_state(before)


@contextmanager
def _quiet():
    """Without the bars that the library draws itself, one of which lasts milliseconds and ends in a stray line."""
    import cellpose.dynamics
    import cellpose.train

    drawn = cellpose.train.trange
    cellpose.train.trange = lambda n, **_: range(n)
    try:
        yield
    finally:
        cellpose.train.trange = drawn
