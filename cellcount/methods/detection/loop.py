"""The training loop of both detectors: batches, learning rate, steps, the average of the weights, and the curves."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch
from torch.optim.swa_utils import AveragedModel
from tqdm import tqdm

from cellcount.methods.detection.settings import Common
from cellcount.methods.detection.tiles import Tile, Tiles


def run(
    network: torch.nn.Module,
    losses: Callable[[list[Tile]], dict[str, torch.Tensor]],
    tiles: Tiles,
    settings: Common,
    *,
    name: str,
    progress: bool,
) -> tuple[torch.nn.Module, dict[str, list[float]]]:
    """Train a network.

    Parameters
    ----------
    network : torch.nn.Module
    losses : function of a list of `Tile`, giving a dict of name to scalar tensor, whose sum is the loss
    tiles : `Tiles`
    settings : `Common`
    name : str
        For the progress bar.
    progress : bool

    Returns
    -------
    network : torch.nn.Module
        In evaluation mode: the average, if one is asked for.
    curves : dict of name to list of float
        In each step: "loss", its parts, and "boxes", the number of boxes shown.
    """
    rng = np.random.default_rng(settings.seed)
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = _optimizer(parameters, settings)
    average = None
    if settings.average:
        average = AveragedModel(network, multi_avg_fn=_following(settings.average), use_buffers=True)
    rates = learning_rates(settings, epoch_steps(settings, len(tiles)))
    curves: dict[str, list[float]] = {}
    network.train()
    with tqdm(total=len(rates), desc=name, unit="step", disable=not progress, mininterval=1) as bar:
        for rate, batch in zip(rates, batches(tiles, settings.batch, rng)):
            for group in optimizer.param_groups:
                group["lr"] = rate
            parts = losses(batch)
            loss = sum(parts.values())
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 10.0)  # above the usual norm: it holds back the first steps
            optimizer.step()
            if average:
                average.update_parameters(network)
            noted = {name: value.item() for name, value in {"loss": loss, **parts}.items()}
            for key, value in (noted | {"boxes": sum(len(tile.boxes) for tile in batch)}).items():
                curves.setdefault(key, []).append(round(value, 5))
            bar.set_postfix(loss=f"{np.mean(curves['loss'][-20:]):.3f}", refresh=False)
            bar.update()
    return (average.module if average else network).eval(), curves


def thinned(curves: Mapping[str, Sequence[float]], most: int = 100) -> list[dict[str, str | float]]:
    """Curves of `run` with at most so many values, each the mean over its share of the steps.

    Returns
    -------
    list of dict with part (name of the curve), step (the share's middle, counted from 1) and value
    """
    lines = []
    for name, values in curves.items():
        for share in np.array_split(np.arange(len(values)), min(most, len(values))):
            value = round(float(np.mean(np.asarray(values)[share])), 5)
            lines.append({"part": name, "step": float(share.mean() + 1), "value": value})
    return lines


def epoch_steps(settings: Common, tiles: int) -> int:
    """Steps of one epoch: the number of tiles that cover the samples, divided by the batch, unless told."""
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


def batches(tiles: Tiles, size: int, rng: np.random.Generator) -> Iterator[list[Tile]]:
    """Yield lists of `size` tiles, without end; `tiles` is a `Tiles`, `rng` a numpy Generator."""
    waiting = []
    while True:
        for tile in tiles.epoch(rng):
            waiting.append(tile)
            if len(waiting) == size:
                yield waiting
                waiting = []


def _optimizer(parameters, settings):
    if settings.optimizer == "sgd":
        return torch.optim.SGD(
            parameters, settings.learning_rate, momentum=settings.momentum, weight_decay=settings.weight_decay
        )
    return torch.optim.AdamW(parameters, settings.learning_rate, weight_decay=settings.weight_decay)


def _following(keep):
    """An update of averaged tensors that keeps less of the old in the first steps, when the old is worth little."""

    @torch.no_grad()
    def update(averages, tensors, count):
        share = min(keep, (1 + float(count)) / (10 + float(count)))
        for average, tensor in zip(averages, tensors, strict=True):
            if average.is_floating_point():
                average.lerp_(tensor, 1 - share)
            else:  # a number of batches
                average.copy_(tensor)

    return update
