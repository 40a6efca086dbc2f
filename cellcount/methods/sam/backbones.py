"""The SAM and micro-SAM weights: which there are, whether they are on this machine, and the networks that they make.

Files and hashes are in the registry, as `sam-` and the model's name, which is micro_sam's. The files are read here and
not by `micro_sam.util.get_sam_model`, which unpickles whatever a file contains.
"""

import importlib
import pickle
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from cellcount import registry
from cellcount.devices import choose_device
from cellcount.errors import DataError, NotAvailableError, require
from cellcount.methods import weights_files
from cellcount.methods.base import Status, weights_status
from cellcount.methods.sam import small
from cellcount.registry import megabytes

if TYPE_CHECKING:
    from segment_anything.modeling import Sam


SAM_TILE = 512  # px of the image that fill SAM's 1024 px: cells of 35 px become 70, closer to what SAM was trained on
SMALL = "small"
DEFAULT = "vit_b_lm"  # micro_sam's own default


@dataclass(frozen=True)
class Backbone:
    """One set of weights, and the network for it.

    Attributes
    ----------
    name : str
    architecture : "vit_t", "vit_b", "vit_l", "vit_h" or "small"
    trained_on : str
    tile, overlap : int, px
        Side of the part of an image that the network gets at once, and the margin of it, on each side, that is context
        only: prompts in the margin are answered by another tile.
    """

    name: str
    architecture: str
    trained_on: str
    tile: int = SAM_TILE
    overlap: int = 48  # more than a cell, and the 25 px of the thesis' boxes; a thesis image is then 20 tiles

    @property
    def package(self) -> str:
        """The module that builds the network."""
        return "mobile_sam" if self.architecture == "vit_t" else "segment_anything"


class Loaded(NamedTuple):
    """A network ready for use: `sam` (segment_anything's `Sam`), SHA-256 of its weights, and its `Backbone`."""

    sam: "Sam"
    digest: str
    backbone: Backbone


_TRAINED_ON = {
    "": "photographs", "_lm": "light microscopy", "_em_organelles": "electron microscopy",
    "_histopathology": "stained tissue", "_medical_imaging": "medical images",
}  # fmt: skip
_NAMES = [name.removeprefix("sam-") for name in registry.WEIGHTS if name.startswith("sam-")]
BACKBONES = {name: Backbone(name, name[:5], _TRAINED_ON[name[5:]]) for name in _NAMES}
BACKBONES[SMALL] = Backbone(SMALL, "small", "simulated phase contrast", small.TILE, small.OVERLAP)


def entry(model: str) -> registry.Weights:
    """The registry's `Weights` of a model; the small one has none."""
    return registry.known_weights(f"sam-{model}")


def backbone(name: str) -> Backbone:
    """The `Backbone` of this name. Raises ParameterError with the known names."""
    require(name in BACKBONES, f"SAM has no model {name!r}; known are {', '.join(BACKBONES)}.")
    return BACKBONES[name]


def status(model: str = DEFAULT) -> Status:
    """Whether a model can run here: `Status`. Raises ParameterError if there is no such model."""
    chosen = backbone(model)

    def found(_):
        if model == SMALL:
            way = f"{small.SHIPPED.name} is missing: train it with `python workflow/train_sam.py`"
            require(small.SHIPPED.is_file(), way, NotAvailableError)
            return "small, bundled with the package: trained on simulated fields"
        wanted = entry(model)
        fetch = f"run `cellcount weights fetch {wanted.name}`, or {registry.ways_to_weights(wanted.name)}"
        way = f"{model} ({megabytes(wanted.bytes)}, {wanted.licence}): {fetch}"
        require(registry.find_weights(wanted.name), way, NotAvailableError)
        return f"{model}, trained on {chosen.trained_on}"

    return weights_status(found, [model], chosen.package)


def load(model: str = DEFAULT, device: str = "auto", weights: Path | str | None = None) -> Loaded:
    """The network of a model with its weights, ready for use.

    Parameters
    ----------
    model : str
        One of `BACKBONES`.
    device : str
    weights : path or None
        For the model "small": a file written by `fit`; None takes the bundled weights.

    Returns
    -------
    Loaded

    Raises
    ------
    ParameterError
        If the model is unknown, or weights are given for one whose weights are registered.
    NotAvailableError
        If its weights or its package are not on this machine. Nothing is downloaded.
    DataError
        If a weights file is not the registered one, or does not fit the network.
    """
    chosen = backbone(model)
    if model == SMALL:
        path = weights_files.existing(weights or small.SHIPPED)
    else:
        require(weights is None, f"weights={str(weights)!r}: {model} takes the registered weights only.")
        state = status(model)
        require(state.state == "ready", f"Not on this machine: {state.detail}.", NotAvailableError)
        path = registry.find_weights(entry(model).name)
    return _load(path, chosen, choose_device(device))


@weights_files.cached(1)  # vit_h alone is 2.6 GB
def _load(path, chosen, device):
    network = small.load(path) if chosen.name == SMALL else _fill(_build(chosen), path)
    return Loaded(network.eval().requires_grad_(False).to(device), registry.digest(path), chosen)


def _build(chosen):
    with warnings.catch_warnings():  # mobile_sam registers its models with timm in a way that timm has deprecated
        warnings.simplefilter("ignore")
        return importlib.import_module(chosen.package).sam_model_registry[chosen.architecture]()


def _fill(network, path):
    import torch

    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise DataError(f"{path}: not a file of plain weights ({str(error).splitlines()[0]}).") from error
    state = state.get("model_state", state)  # a checkpoint of a training run keeps them one level down
    try:
        network.load_state_dict({name.removeprefix("sam."): tensor for name, tensor in state.items()})
        return network
    except RuntimeError as error:
        raise DataError(f"{path}: the weights do not fit ({' '.join(str(error).split())[:200]} ...).") from error
