"""Training CellNet from centre points."""

import copy
import json
from dataclasses import asdict
from importlib.metadata import version

import numpy as np
import torch
from safetensors.torch import save_file
from tqdm import tqdm

from cellcount.devices import choose_device, deterministic
from cellcount.errors import DataError
from cellcount.files import replacing
from cellcount.methods.cellnet.crops import Crops
from cellcount.methods.cellnet.network import build
from cellcount.methods.cellnet.settings import FORMAT, settings_from


def fit(samples, *, out, device="auto", progress=True, **params):
    """Train on annotated samples and write the weights.

    The network learns a Gaussian of height 1 at each point, by squared error wherever `Sample.valid` says that the
    annotation can be trusted. Weights are averaged over the last steps; batch statistics come along.

    Parameters
    ----------
    samples : list of Sample
        Each with `points` (N, 2) (y, x) px and `valid`.
    out : path
        The safetensors file to write; its metadata holds the settings, the data's names and the loss curve.
    device : "auto", "cpu", "cuda", ...
    params
        Fields of `Settings`.

    Returns
    -------
    Path of `out`

    Raises
    ------
    DataError
        If no sample has a point, or one has no annotation at all.
    ParameterError
        If a parameter is unknown or out of range.
    """
    settings = settings_from(params)
    _check(samples)
    device = choose_device(device)
    with deterministic(settings.seed):
        network = build(encoder=settings.encoder, decoder=settings.decoder, widths=settings.widths).to(device)
        average, losses = _train(network, samples, settings, device, progress)
    about = {
        "format": FORMAT,
        "settings": asdict(settings),
        "samples": [sample.name for sample in samples],
        "points": sum(len(sample.points) for sample in samples),
        "losses": [round(loss, 5) for loss in losses],
        "cellcount": version("cellcount"),
        "torch": torch.__version__,
    }
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in average.state_dict().items()}
    # Half precision halves the file; predictions differ by less than 1e-2 of a peak's height.
    state = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in state.items()}
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


def _train(network, samples, settings, device, progress):
    """The averaged network, and the loss of each step."""
    crops = Crops(samples, factor=settings.factor, size=settings.crop, sigma=settings.sigma, zoom=settings.zoom)
    rng = np.random.default_rng(settings.seed)
    average = copy.deepcopy(network)
    optimizer = torch.optim.AdamW(network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, settings.learning_rate, total_steps=settings.steps, pct_start=0.1
    )
    losses = []
    network.train()
    with tqdm(total=settings.steps, desc="CellNet", unit="step", disable=not progress, mininterval=1) as bar:
        for step in range(settings.steps):
            image, target, trust = (part.to(device) for part in crops.batch(rng, settings.batch))
            error = (network(image) - target) ** 2 * (1 + target) * trust
            loss = 10 * error.sum() / trust.sum().clamp(min=1)  # 10: about 1 at the start
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            _follow(average, network, min(settings.average, (step + 1) / (step + 10)))
            losses.append(loss.item())
            bar.set_postfix(loss=f"{np.mean(losses[-20:]):.3f}", refresh=False)
            bar.update()
    return average.eval(), losses


@torch.no_grad()
def _follow(average, network, keep):
    """Move the averaged weights and batch statistics towards the network's."""
    for old, new in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
        if old.is_floating_point():
            old.lerp_(new, 1 - keep)
        else:
            old.copy_(new)
