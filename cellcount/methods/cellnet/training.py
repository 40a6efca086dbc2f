"""Training CellNet from centre points."""

import copy
import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from tqdm import tqdm

from cellcount.devices import choose_device, deterministic
from cellcount.errors import DISTRIBUTION, DataError, ParameterError
from cellcount.files import replacing, sha256
from cellcount.methods.cellnet import losses
from cellcount.methods.cellnet.checkpoint import PHANTOM
from cellcount.methods.cellnet.crops import Crops
from cellcount.methods.cellnet.mending import mend, typical_height
from cellcount.methods.cellnet.network import build, load_imagenet
from cellcount.methods.cellnet.pixels import to_small
from cellcount.methods.cellnet.settings import FOLLOWING, FORMAT, FRESH, settings_from
from cellcount.methods.cellnet.targets import volume
from cellcount.methods.cellnet.torch_engine import read_weights, run
from cellcount.types import Sample


def fit(
    samples: Sequence[Sample],
    *,
    out: str | Path,
    start: str | Path | None = "auto",
    device: str | torch.device = "auto",
    progress: bool = True,
    **params: Any,
) -> Path:
    """Train on annotated samples and write the weights.

    The network learns a hill of height 1 at each point, wherever `Sample.valid` says that the annotation can be
    trusted. Weights are averaged over the last steps; batch statistics come along. In the end the threshold is set
    to a share of the height of the hill that a typical click got, and the density's scale so that it sums up to the
    number of clicks where they are trusted.

    Parameters
    ----------
    samples : list of Sample
        Each with `points` (N, 2) (y, x) px and `valid`.
    out : path
        The safetensors file to write; its metadata holds the settings, the data's names and the loss curve.
    start : "auto", "phantom", path or None
        Weights of the same architecture to go on from. "phantom": those shipped with the package, of a network that
        knows simulated cells; "auto": the same if the architecture is theirs, else random ones; None: random ones.
        Whoever tests on simulated fields wants None: fields like them have been seen.
    device : "auto", "cpu", "cuda", ...
    params
        Fields of `Settings`.

    Returns
    -------
    Path of `out`

    Raises
    ------
    DataError
        If no sample has a point, or one has no annotation at all, or `start` is no weights file.
    ParameterError
        If a parameter is unknown or out of range, or `start` has another architecture.
    """
    settings = settings_from(params)
    _check(samples)
    settings = settings.filled(samples)
    device = choose_device(device)
    with deterministic(settings.seed):
        network, start = _network(settings, start)
        rate = settings.learning_rate or (FOLLOWING if start else FRESH)
        settings = replace(settings, learning_rate=rate)
        network = network.to(device)
        crops = Crops(samples, settings)
        average, curve = _train(network, crops, settings, device, progress)
        settings = _calibrated(average, crops, settings, samples, device)
    about = {
        "format": FORMAT,
        "settings": asdict(settings),
        "samples": [sample.name for sample in samples],
        "points": sum(len(sample.points) for sample in samples),
        "parameters": sum(parameter.numel() for parameter in average.parameters()),
        "start": sha256(start) if start else None,
        "losses": [round(loss, 5) for loss in curve],
        "cellcount": version(DISTRIBUTION),
        "torch": torch.__version__,
    }
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in average.state_dict().items()}
    # Half precision halves the file; predictions differ by less than 1e-2 of a peak's height.
    state = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in state.items()}
    out = Path(out)
    with replacing(out) as temporary:
        # One entry: the library writes several in an order that changes from run to run.
        save_file(state, temporary, metadata={"cellcount": json.dumps(about)})
    return out


def _check(samples):
    for sample in samples:
        if sample.points is None:
            raise DataError(f"{sample.name}: no annotation; CellNet learns from centre points. Leave this image out.")
    if not sum(len(sample.points) for sample in samples):
        raise DataError("None of the training images has a point; CellNet needs at least one annotated cell.")


def _network(settings, start):
    """A network, and the file that its weights come from, or None if they are fresh."""
    network = build(encoder=settings.encoder, decoder=settings.decoder, widths=settings.widths, detail=settings.detail)
    if settings.imagenet:
        load_imagenet(network, settings.encoder)
    if start is None or start == "auto" and settings.imagenet:
        return network, None
    path = PHANTOM if start in ("auto", "phantom") else start
    _, state = read_weights(path)
    own = {name: tensor.shape for name, tensor in network.state_dict().items()}
    if own == {name: tensor.shape for name, tensor in state.items()}:
        network.load_state_dict(state)
        return network, path
    if start == "auto":
        return network, None
    raise ParameterError(
        f"start={start}: its network has another shape than these settings ask for; give its encoder, widths and "
        "detail, which `cellcount.methods.cellnet.about` tells."
    )


def _train(network, crops, settings, device, progress):
    """The averaged network, and the loss of each step."""
    rng = np.random.default_rng(settings.seed)
    clicks, trusted = list(crops.points), list(crops.trusted)
    # In the second half: before, the hills say less than the clicks.
    mending = {settings.steps * (settings.rounds + i) // (2 * settings.rounds) for i in range(settings.rounds)}
    average = copy.deepcopy(network)
    optimizer = torch.optim.AdamW(network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, settings.learning_rate, total_steps=settings.steps, pct_start=0.1
    )
    curve = []
    network.train()
    with tqdm(total=settings.steps, desc="CellNet", unit="step", disable=not progress, mininterval=1) as bar:
        for step in range(settings.steps):
            if step in mending:
                _mend(average.eval(), crops, clicks, trusted, settings, device)
            image, target, trust = (part.to(device) for part in crops.batch(rng, settings.batch))
            loss = losses.total(network(image), target, trust, settings)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            _follow(average, network, min(settings.average, (step + 1) / (step + 10)))
            curve.append(loss.item())
            bar.set_postfix(loss=f"{np.mean(curve[-20:]):.3f}", refresh=False)
            bar.update()
    return average.eval(), curve


def _mend(network, crops, clicks, trusted, settings, device):
    """Replace the points and the trust of the crops by mended ones."""
    for i, image in enumerate(crops.images):
        heat = run(network, image[0, 0].numpy(), settings, device)
        points, trust = mend(heat, clicks[i], trusted[i][0, 0].numpy() > 0, settings)
        crops.points[i] = points
        crops.trusted[i] = torch.from_numpy(trust.astype(np.float32))[None, None]


def _calibrated(network, crops, settings, samples, device):
    """The settings with the threshold and the scale of the density, from the training images."""
    heights, cells, volumes = [], [], []
    for i, (image, sample) in enumerate(zip(crops.images, samples, strict=True)):
        heat = run(network, image[0, 0].numpy(), settings, device)
        clicks = to_small(sample.points, settings.factor)
        heights += [typical_height(heat, clicks, settings.peak_distance)] * len(clicks)
        trusted = crops.trusted[i][0, 0].numpy() > 0
        cells.append(trusted[tuple(np.rint(crops.points[i]).astype(int).clip(0, np.array(heat.shape) - 1).T)].sum())
        volumes.append(heat[trusted].sum() / volume(settings.sigma))
    threshold = settings.threshold or round(max(settings.relative_threshold * float(np.mean(heights)), 0.01), 3)
    scale = settings.density_scale or round(float(np.sum(cells) / max(np.sum(volumes), 1e-6)), 4)
    return replace(settings, threshold=threshold, density_scale=scale)


@torch.no_grad()
def _follow(average, network, keep):
    """Move the averaged weights and batch statistics towards the network's."""
    for old, new in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
        if old.is_floating_point():
            old.lerp_(new, 1 - keep)
        else:
            old.copy_(new)
