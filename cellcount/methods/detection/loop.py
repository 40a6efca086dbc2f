"""The training of both detectors: batches, learning rate, steps, the average of the weights, and the curves."""

import copy
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from cellcount.devices import choose_device, deterministic, mixed_precision
from cellcount.methods import resuming, weights_files
from cellcount.methods.detection.settings import Common
from cellcount.methods.detection.tiles import Place, Tile, Tiles
from cellcount.methods.feeding import Feed
from cellcount.types import Sample

Tensors = Callable[[list[Tile], torch.device], Sequence[Any]]
Losses = Callable[..., tuple[Mapping[str, torch.Tensor], Mapping[str, float]]]
SHOWN = 20  # steps over which the progress bar averages the loss


def fit(
    samples: Sequence[Sample],
    settings: Common,
    build: Callable[[], torch.nn.Module],
    tensors: Tensors,
    losses: Losses,
    *,
    out: str | Path,
    device: str,
    progress: bool,
    masks: bool = False,
    targets: str = "boxes",
) -> Path:
    """Train a detector and write its weights.

    Parameters
    ----------
    samples : list of Sample
    settings : `Common`
    build : function that makes the network
    tensors : function of a list of `Tile` and a device
        Gives what the network learns from, on the device; it is called in other threads.
    losses : function of network and these tensors
        Gives the parts of the loss by name, as scalar tensors, and other numbers to record, by name.
    out, device, progress
        As of a method's `fit`.
    masks, targets
        As of `Tiles`.

    Returns
    -------
    Path of `out`
        Its metadata has "curves", a dict of name to list of float, in each step: "loss", its parts, "boxes" (number of
        boxes shown), and the other numbers.
    """
    tiles = Tiles(samples, settings, masks=masks, targets=targets)
    device = choose_device(device)
    with deterministic(settings.seed):
        network = build().to(device)
        network, curves = _train(network, tensors, losses, tiles, settings, device, progress, out, samples)
    training = {"points": sum(len(sample.points) for sample in samples), "curves": curves}
    weights_files.save(out, network, settings.FORMAT, settings, samples, training)
    resuming.done(out)
    return Path(out)


def _train(network, tensors, losses, tiles, settings, device, progress, out, samples):
    """The network in evaluation mode, or the average of its weights if the settings ask for it, and the curves."""
    rng = np.random.default_rng(settings.seed)
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizers = {"sgd": partial(torch.optim.SGD, momentum=settings.momentum), "adamw": torch.optim.AdamW}
    optimizer = optimizers[settings.optimizer](
        parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    average = copy.deepcopy(network) if settings.average else network
    rates = learning_rates(settings, epoch_steps(settings, len(tiles)))
    names, learned, curves, feed = [], [], {}, Feed()
    modules = {"network": network, "average": average, "optimizer": optimizer}
    state = resuming.State(out, settings.LABEL, settings, samples, device, modules)
    if kept := state.read(tell=progress):
        names, learned, curves = kept["names"], list(kept["learned"].to(device)), kept["curves"]
    begin = len(learned)
    network.train()

    def make(places):
        batch = [tiles.tile(place) for place in places]
        return tensors(batch, device), sum(len(tile.boxes) for tile in batch)

    bar = tqdm(total=len(rates), initial=begin, desc=settings.LABEL, unit="step", disable=not progress, mininterval=1)
    drawn = itertools.islice(batches(tiles, settings.batch, rng), begin, len(rates))
    with bar, closing(feed.batches(make, drawn)) as made:
        for step, ((batch, boxes), rate) in enumerate(zip(made, rates[begin:], strict=True), begin):
            for group in optimizer.param_groups:
                group["lr"] = float(rate)  # a state holds no NumPy numbers
            with mixed_precision(device):
                parts, others = losses(network, *batch)
            loss = sum(parts.values())
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 10.0)  # above the usual norm: it limits the first steps
            optimizer.step()
            if settings.average:  # the first steps count less: the weights have changed much since
                keep = min(settings.average, (step + 1) / (step + 10)) if step else 0
                weights_files.follow(average, network, keep)
            names = ["loss", *parts]
            learned.append(torch.stack([loss, *parts.values()]).detach())
            for name, value in {"boxes": boxes, **others}.items():
                curves.setdefault(name, []).append(round(value, 5))
            if progress and (device.type == "cpu" or not (step + 1) % SHOWN):  # reading a number waits for the GPU
                shown = {"loss": f"{torch.stack(learned[-SHOWN:])[:, 0].mean().item():.3f}"}
                bar.set_postfix(shown | {"waited": f"{feed.share:.0%}"}, refresh=False)
            bar.update()
            if state.due():
                state.write({"names": names, "learned": torch.stack(learned), "curves": curves})
    feed.tell(settings.LABEL)
    values = torch.stack(learned).T.tolist()
    losses_of = {name: [round(value, 5) for value in one] for name, one in zip(names, values)}
    return average.eval(), losses_of | curves


def in_float32(*modules: torch.nn.Module) -> None:
    """Let modules hand out float32 where they compute in bfloat16: the libraries compute coordinates in the same type.

    Of 8 bits, they would be off by a px at 256 px, and by 2 px at 512.
    """

    def full(answer):
        if isinstance(answer, torch.Tensor):
            return answer.float()
        if isinstance(answer, Mapping):
            return {name: full(one) for name, one in answer.items()}
        return type(answer)(map(full, answer))

    for module in modules:
        module.register_forward_hook(lambda module, given, answer: full(answer))


def thinned(curves: Mapping[str, Sequence[float]], most: int = 100) -> list[dict[str, str | float]]:
    """Curves of `fit` with at most so many values, each the mean over its share of the steps.

    Returns
    -------
    list of dict with part (name of the curve), step (middle of the share, counted from 1) and value
    """
    lines = []
    for name, values in curves.items():
        for share in np.array_split(np.arange(len(values)), min(most, len(values))):
            value = round(float(np.mean(np.asarray(values)[share])), 5)
            lines.append({"part": name, "step": float(share.mean() + 1), "value": value})
    return lines


def epoch_steps(settings: Common, tiles: int) -> int:
    """Steps of one epoch: `settings.epoch_steps`, or the number of tiles that cover the samples, over the batch."""
    return settings.epoch_steps or -(-tiles // settings.batch)


def learning_rates(settings: Common, steps: int) -> np.ndarray:
    """The learning rate in each step of training, (epochs * steps,) float64.

    "steps": a linear rise over the first epochs, times a decay after every few: as in the thesis, where the decay sets
    in before the rise ends. "onecycle": up in the first tenth, then down as a cosine (Smith and Topin 2019).

    Parameters
    ----------
    settings : `Common`
    steps : int
        Of one epoch.
    """
    total = settings.epochs * steps
    step = np.arange(total)
    if settings.schedule == "onecycle":
        rise = max(1, total // 10)
        fall = 0.5 + 0.5 * np.cos(np.pi * np.clip((step - rise) / max(1, total - rise), 0, 1))
        return settings.learning_rate * np.where(step < rise, (step + 1) / (rise + 1), fall)
    rise = np.minimum(1, (step + 1) / max(1, settings.warmup_epochs * steps))
    return settings.learning_rate * rise * settings.decay ** (step // steps // settings.decay_every)


def batches(tiles: Tiles, size: int, rng: np.random.Generator) -> Iterator[list[Place]]:
    """Yield lists of the places of `size` tiles, without end; `tiles` is a `Tiles`, `rng` a numpy Generator."""
    waiting: list[Place] = []
    while True:
        for place in tiles.epoch(rng):
            waiting.append(place)
            if len(waiting) == size:
                yield waiting
                waiting = []
