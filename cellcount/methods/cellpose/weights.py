"""Weights of Cellpose: the published ones, by name, and those of `fit`, one safetensors file with their size model."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cellcount import registry
from cellcount.devices import choose_device
from cellcount.errors import DataError
from cellcount.files import sha256
from cellcount.methods import weights_files
from cellcount.methods.cellpose.settings import FORMAT, LIBRARY_WIDTHS, NAMES, Settings

if TYPE_CHECKING:
    import torch
    from cellpose.models import CellposeModel


LIBRARY_DIAMETER = 30.0  # px, to which the published models scale cells
LIBRARY_FLOW_THRESHOLD = 0.4
SIZE = ("A", "smean")  # arrays of the size model; "ymean" and "diam_mean" are numbers


class Loaded(NamedTuple):
    """A model ready to run.

    `model` is a `cellpose.models.CellposeModel`; `size` the parameters of its size model or None; `diameter` the
    mean diameter (px) of the cells that it learned from; `flow_threshold` its default; `sha256` that of its file.
    """

    model: "CellposeModel"
    size: dict[str, Any] | None
    diameter: float
    flow_threshold: float
    sha256: str


def new_model(widths: Sequence[int], diam_mean: float, device: "torch.device") -> "CellposeModel":
    """A `CellposeModel` with random weights; widths as in `Settings`, diam_mean in px."""
    from cellpose.models import CellposeModel
    from cellpose.resnet_torch import CPnet

    # Without pretrained_model=False and model_type=None it would look for cyto3, and download it. mkldnn=True would
    # convert the network for good in its first prediction: it could neither be trained nor saved any more.
    model = CellposeModel(pretrained_model=False, model_type=None, mkldnn=False, diam_mean=diam_mean, device=device)
    if tuple(widths) != tuple(model.nbase[1:]):
        model.net = CPnet([2, *widths], 3, sz=3, mkldnn=False, max_pool=True, diam_mean=diam_mean).to(device)
    return model


def load(weights: Path | str = "cyto3", device: "str | torch.device" = "auto") -> Loaded:
    """A `Loaded` of published weights (by name) or of a file written by `fit`; arguments as of `predict`.

    Raises
    ------
    NotAvailableError
        If published weights are not on this machine; nothing is downloaded.
    DataError
        If a file is missing, truncated, or of another format.
    """
    device = choose_device(device)
    return _load_library(*find(str(weights)), device) if str(weights) in NAMES else _load_own(weights, device)


def find(name: str) -> tuple[Path, Path | None]:
    """Verified paths of the published network and size model, None if only that is missing; raises as `load` does."""
    return registry.local_weights(f"cellpose-{name}"), registry.find_weights(f"cellpose-{name}-size")


@weights_files.cached(2)
def _load_library(network, size, device):
    import torch

    model = new_model(LIBRARY_WIDTHS, LIBRARY_DIAMETER, device)
    state = torch.load(network, map_location="cpu", weights_only=True)
    absent = set(model.net.state_dict()) - set(state) - {"diam_mean", "diam_labels"}  # files of Cellpose 1 lack these
    if absent:  # the library loads such a file all the same, and leaves random numbers where it has none
        raise DataError(f"{network}: not a network of Cellpose 3; it lacks {len(absent)} tensors ({min(absent)}, ...).")
    model.net.load_state_dict(state, strict=False)
    # The size model is a pickle, opened only because its hash has been verified.
    parameters = None if size is None else np.load(size, allow_pickle=True).item()
    return Loaded(model, parameters, LIBRARY_DIAMETER, LIBRARY_FLOW_THRESHOLD, sha256(network))


@weights_files.cached(4)
def _load_own(path, device):
    described, tensors = weights_files.read(path, FORMAT, "Cellpose")
    with weights_files.usable(path):
        settings = Settings(**described["settings"])
        model = new_model(settings.widths, settings.diam_mean, device)
        state = {name.removeprefix("net."): tensor for name, tensor in tensors.items() if name.startswith("net.")}
        model.net.load_state_dict(state)
        size = {name: tensors[f"size.{name}"].double().numpy() for name in SIZE} | described["size"]
    return Loaded(model, size, float(model.net.diam_labels.item()), settings.flow_threshold, sha256(path))
