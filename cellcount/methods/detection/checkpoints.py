"""Weights that this project has trained: safetensors, with their story as JSON in the metadata."""

import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from cellcount.errors import DISTRIBUTION, DataError
from cellcount.files import replacing
from cellcount.types import Sample

if TYPE_CHECKING:
    import torch


def save(
    network: "torch.nn.Module",
    out: Path | str,
    *,
    kind: str,
    settings: Mapping[str, Any],
    samples: Sequence[Sample],
    **story: Any,
) -> Path:
    """Write a network's state in half precision, which halves the file.

    Parameters
    ----------
    network : torch.nn.Module
    out : path
    kind : str
        Which method's file this is, and the version of its form.
    settings : dict
    samples : list of Sample
        What it was trained on: their names and their number of points are kept.
    **story
        What else is to be kept, such as the losses.

    Returns
    -------
    Path of `out`
    """
    import torch
    from safetensors.torch import save_file

    about = {
        "format": kind,
        "settings": settings,
        "samples": [sample.name for sample in samples],
        "points": sum(len(sample.points) for sample in samples),
        **story,
        "cellcount": version(DISTRIBUTION),
        "torch": torch.__version__,
    }
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    state = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in state.items()}
    with replacing(out) as temporary:
        # One entry: the library writes several in an order that changes from run to run.
        save_file(state, temporary, metadata={"cellcount": json.dumps(about)})
    return Path(out)


def load(path: Path | str, *, kind: str, method: str) -> tuple[dict[str, Any], dict[str, "torch.Tensor"]]:
    """What a file says of itself, and its tensors by name.

    Raises
    ------
    DataError
        If the file is missing, torn, or not one of this method's.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"No weights file at {path}; train one with `cellcount.METHODS['{method}'].fit`.")
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {}).get("cellcount", "{}"))
            state = {name: file.get_tensor(name) for name in file.keys()}
    except SafetensorError as error:
        raise DataError(f"{path}: not a safetensors file, or cut short ({error}); write it anew.") from error
    if about.get("format") != kind:
        raise DataError(f"{path}: a safetensors file, but not one of {method}'s (its metadata has no {kind}).")
    return about, state
