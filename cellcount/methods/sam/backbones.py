"""Which SAM and micro-SAM weights there are, whether they are here, and the network that they make.

Files and hashes are in the registry, as `sam-` and the model's name, which is micro_sam's. The files are read by this
module and not by `micro_sam.util.get_sam_model`: that one unpickles whatever a file holds.
"""

import functools
import importlib.util
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from cellcount import registry
from cellcount.devices import choose_device
from cellcount.errors import DataError, NotAvailableError, ParameterError
from cellcount.methods.base import Status
from cellcount.methods.sam import small
from cellcount.registry import megabytes

if TYPE_CHECKING:
    from segment_anything.modeling import Sam


SAM_TILE = 512  # px of the image that fill SAM's 1024 px: cells of 35 px become 70, nearer to what SAM has seen
SMALL = "small"
DEFAULT = "vit_b_lm"  # micro_sam's own default


@dataclass(frozen=True)
class Backbone:
    """One set of weights, and the network that it fits.

    Attributes
    ----------
    name : str
    architecture : "vit_t", "vit_b", "vit_l", "vit_h" or "small"
    trained_on : str
    tile, overlap : int, px
        Side of the part of an image that the network sees at once, and how much of that, at each of its sides, is
        only seen and answers for no prompt of its own.
    """

    name: str
    architecture: str
    trained_on: str
    tile: int = SAM_TILE
    overlap: int = 48  # more than a cell, and the 25 px of the thesis' boxes; a thesis image is then 20 tiles


class Loaded(NamedTuple):
    """A network ready for use: `sam` (segment_anything's `Sam`), SHA-256 of its weights, and its `Backbone`."""

    sam: "Sam"
    digest: str
    backbone: Backbone


_TRAINED_ON = {
    "vit_b": "photographs",
    "vit_l": "photographs",
    "vit_h": "photographs",
    "vit_t": "photographs",
    "vit_t_lm": "light microscopy",
    "vit_b_lm": "light microscopy",
    "vit_l_lm": "light microscopy",
    "vit_t_em_organelles": "electron microscopy",
    "vit_b_em_organelles": "electron microscopy",
    "vit_l_em_organelles": "electron microscopy",
    "vit_b_histopathology": "stained tissue",
    "vit_l_histopathology": "stained tissue",
    "vit_h_histopathology": "stained tissue",
    "vit_b_medical_imaging": "medical images",
}
BACKBONES = {name: Backbone(name, name[:5], trained_on) for name, trained_on in _TRAINED_ON.items()}
BACKBONES[SMALL] = Backbone(SMALL, "small", "simulated phase contrast", small.TILE, small.OVERLAP)


def entry(model: str) -> registry.Weights:
    """The registry's `Weights` of a model that has any: all but the small one."""
    return registry.known_weights(f"sam-{model}")


def backbone(name: str) -> Backbone:
    """The `Backbone` of this name. Raises ParameterError with the known names."""
    if name not in BACKBONES:
        raise ParameterError(f"SAM has no model {name!r}; known are {', '.join(BACKBONES)}.")
    return BACKBONES[name]


def status(model: str = DEFAULT) -> Status:
    """Whether a model can run here: `Status`. Raises ParameterError if there is no such model."""
    chosen = backbone(model)
    lacking = _package(chosen.architecture)
    if lacking:
        return Status("needs package", f"{model} is built by {lacking}: pip install {PACKAGES[lacking]}")
    if model == SMALL:
        return small.status()
    wanted = entry(model)
    try:
        if registry.find_weights(wanted.name):
            return Status("ready", f"{model}, trained on {chosen.trained_on}")
    except DataError as error:
        return Status("needs weights", str(error))
    return Status(
        "needs weights",
        f"{model} ({megabytes(wanted.bytes)}, {wanted.licence}): run `cellcount weights fetch {wanted.name}`, or "
        f"{registry.ways_to_weights(wanted.name)}",
    )


PACKAGES = {"mobile_sam": "mobilesam-mirror", "segment_anything": "segment-anything-py"}  # module: name on PyPI


def _package(architecture):
    """The module that builds an architecture if it is not installed, else ""."""
    module = "mobile_sam" if architecture == "vit_t" else "segment_anything"
    return "" if importlib.util.find_spec(module) else module


def load(model: str = DEFAULT, device: str = "auto", weights: Path | str | None = None) -> Loaded:
    """The network of a model with its weights, ready for use.

    Parameters
    ----------
    model : str
        One of `BACKBONES`.
    device : str
    weights : path or None
        For the model "small": a file written by `fit`; None takes the one shipped with the package.

    Returns
    -------
    Loaded

    Raises
    ------
    ParameterError
        If the model is unknown, or weights are given for one whose weights are registered.
    NotAvailableError
        If its weights or its package are not here. Nothing is ever downloaded.
    DataError
        If a file of weights is not the registered one, or does not fit.
    """
    chosen = backbone(model)
    if weights is not None and model != SMALL:
        raise ParameterError(f"weights={str(weights)!r}: {model} takes the registered weights only.")
    if model == SMALL:
        path = small.path(weights)
    else:
        state = status(model)
        if state.state != "ready":
            raise NotAvailableError(f"Not on this machine: {state.detail}.")
        path = registry.find_weights(entry(model).name)
    return _load(chosen, path, path.stat().st_mtime_ns, choose_device(device))


@functools.lru_cache(maxsize=1)  # vit_h alone is 2.6 GB
def _load(chosen, path, mtime, device):
    if chosen.name == SMALL:
        network = small.load(path)
    else:
        network = _build(chosen.architecture)
        _fill(network, path)
    return Loaded(network.eval().requires_grad_(False).to(device), registry.digest(path), chosen)


def _build(architecture):
    if architecture == "vit_t":
        import warnings

        with warnings.catch_warnings():  # it registers its models with timm in a way that timm has outgrown
            warnings.simplefilter("ignore")
            from mobile_sam import sam_model_registry

            return sam_model_registry[architecture]()
    from segment_anything import sam_model_registry

    return sam_model_registry[architecture]()


def _fill(network, path):
    import torch

    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise DataError(f"{path}: no file of plain weights ({str(error).splitlines()[0]}).") from error
    state = state.get("model_state", state)  # a checkpoint of a training run keeps them one level down
    state = {name.removeprefix("sam."): tensor for name, tensor in state.items()}
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise DataError(f"{path}: the weights do not fit ({' '.join(str(error).split())[:200]} ...).") from error
