"""Weights of Cellpose: those of its authors, by name, and our own, in one safetensors file with their size model."""

import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cellcount import registry
from cellcount.errors import DataError, NotAvailableError
from cellcount.files import replacing, sha256
from cellcount.methods.cellpose.settings import FORMAT, LIBRARY_WIDTHS, NAMES, Settings

if TYPE_CHECKING:
    import torch
    from cellpose.models import CellposeModel


LIBRARY_DIAMETER = 30.0  # px, to which its authors' models scale cells
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
    """A `CellposeModel` with fresh weights; widths as in `Settings`, diam_mean in px."""
    from cellpose.models import CellposeModel
    from cellpose.resnet_torch import CPnet

    # Without pretrained_model=False and model_type=None it would look for cyto3, and download it. mkldnn=True would
    # convert the network for good in its first prediction: it could neither be trained nor saved any more.
    model = CellposeModel(pretrained_model=False, model_type=None, mkldnn=False, diam_mean=diam_mean, device=device)
    if tuple(widths) != tuple(model.nbase[1:]):
        model.net = CPnet([2, *widths], 3, sz=3, mkldnn=False, max_pool=True, diam_mean=diam_mean).to(device)
    return model


def load(weights: Path | str, device: "torch.device") -> Loaded:
    """A `Loaded` of the library's weights (by name) or ours (a file's path).

    Raises
    ------
    NotAvailableError
        If the library's weights are not on this machine; nothing is downloaded.
    DataError
        If a file is missing, torn, or not what it should be.
    """
    if str(weights) in NAMES:
        return _load_library(str(weights), find(str(weights)), device)
    path = Path(weights)
    return _load_own(path, path.stat().st_mtime_ns if path.is_file() else 0, device)


def find(name: str) -> tuple[Path, Path | None]:
    """Verified paths of the library's network and size model (None if only that is missing); raises as `load` does."""
    network = registry.find_weights(f"cellpose-{name}")
    if network is None:
        size = registry.megabytes(registry.known_weights(f"cellpose-{name}").bytes)
        ways = registry.ways_to_weights(f"cellpose-{name}")
        raise NotAvailableError(f"Not on this machine: Cellpose's weights {name} ({size}). To get them, {ways}.")
    return network, registry.find_weights(f"cellpose-{name}-size")


@functools.lru_cache(maxsize=2)
def _load_library(name, paths, device):
    import torch

    network, size = paths
    model = new_model(LIBRARY_WIDTHS, LIBRARY_DIAMETER, device)
    state = torch.load(network, map_location="cpu", weights_only=True)
    absent = set(model.net.state_dict()) - set(state) - {"diam_mean", "diam_labels"}  # files of Cellpose 1 lack these
    if absent:  # the library loads such a file all the same, and leaves random numbers where it has nothing
        raise DataError(f"{network}: not a network of Cellpose 3; it lacks {len(absent)} tensors ({min(absent)}, ...).")
    model.net.load_state_dict(state, strict=False)
    # The size model is a pickle: its hash was compared, which is why it may be opened.
    parameters = None if size is None else np.load(size, allow_pickle=True).item()
    return Loaded(model, parameters, LIBRARY_DIAMETER, LIBRARY_FLOW_THRESHOLD, sha256(network))


def save(path: Path | str, net: "torch.nn.Module", size: Mapping[str, Any], about: dict[str, Any]) -> Path:
    """Write a network and its size model; halves the precision, which halves the file."""
    import torch
    from safetensors.torch import save_file

    tensors = {f"net.{name}": tensor.detach().cpu().contiguous() for name, tensor in net.state_dict().items()}
    tensors = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}
    tensors |= {f"size.{name}": torch.from_numpy(np.asarray(size[name], np.float32)) for name in SIZE}
    about = about | {"format": FORMAT, "size": {name: float(size[name]) for name in ("ymean", "diam_mean")}}
    with replacing(path) as temporary:
        save_file(tensors, temporary, metadata={"cellcount": json.dumps(about)})
    return Path(path)


@functools.lru_cache(maxsize=4)
def _load_own(path, mtime, device):
    described, tensors = read(path)
    settings = Settings(**described["settings"])
    model = new_model(settings.widths, settings.diam_mean, device)
    state = {name.removeprefix("net."): tensor.float() if tensor.is_floating_point() else tensor
             for name, tensor in tensors.items() if name.startswith("net.")}  # fmt: skip
    model.net.load_state_dict(state)
    size = {name: tensors[f"size.{name}"].double().numpy() for name in SIZE} | described["size"]
    diameter = float(model.net.diam_labels.item())
    return Loaded(model, size, diameter, settings.flow_threshold, sha256(path))


def read(path: Path | str) -> tuple[dict[str, Any], dict[str, "torch.Tensor"]]:
    """(about, tensors by name) of one of our weights files; raises DataError if it is none."""
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.is_file():
        raise DataError(f"No weights file at {path}: give one written by `cellpose.fit`, or {', '.join(NAMES)}.")
    try:
        with safe_open(path, framework="pt") as file:
            described = json.loads((file.metadata() or {}).get("cellcount", "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except SafetensorError as error:
        raise DataError(f"{path}: not a safetensors file, or cut short ({error}); write it anew.") from error
    if described.get("format") != FORMAT:
        raise DataError(f"{path}: a safetensors file, but not one of Cellpose's (its metadata has no {FORMAT}).")
    return described, tensors
