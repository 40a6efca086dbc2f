"""Weights files that `fit` writes: safetensors in half precision, with a description in JSON in the metadata.

torch and safetensors are imported inside the functions: a status or a count on a CPU needs neither torch nor a wait.
"""

import functools
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from cellcount.errors import DISTRIBUTION, CellcountError, DataError
from cellcount.files import replacing
from cellcount.types import Sample

if TYPE_CHECKING:
    import torch


def described(settings: Any, samples: Sequence[Sample], more: Mapping[str, Any], **versions: str) -> dict[str, Any]:
    """The description of a training in every weights file.

    Parameters
    ----------
    settings : dataclass
    samples : list of Sample
        Their names are kept, and what a person did to the predicted points (`cellcount.data.corrections`), if known.
    more : dict of JSON values
    versions : version of each package that decides what is trained

    Returns
    -------
    dict with settings, samples, provenance, `more`, and the versions of cellcount and of those packages
    """
    about = {"settings": asdict(settings), "samples": [sample.name for sample in samples]}
    told = {s.name: s.meta["provenance"] for s in samples if "provenance" in s.meta}
    if told:  # as numbers: the origin of each point stays with the data
        about["provenance"] = {name: {k: v for k, v in one.items() if k != "origin"} for name, one in told.items()}
    return {**about, **more, "cellcount": version(DISTRIBUTION), **versions}


def write(
    path: Path | str,
    tensors: Mapping[str, "torch.Tensor"],
    about: Mapping[str, Any],
    exact: Mapping[str, "torch.Tensor"] | None = None,
) -> Path:
    """Write tensors in half precision, those of `exact` in their own, and `about`: JSON values with a "format".

    Half precision halves the file; heatmaps of CellNet change by less than 1e-2 of a peak's height. If the file cannot
    be written, the tensors are written to the folder for temporary files, and a CellcountError says so.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    state = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    state = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in state.items()}

    def save_to(path: Path) -> Path:
        with replacing(path) as temporary:
            # One entry: the library writes several in an order that changes from run to run.
            save_file(state | dict(exact or {}), temporary, metadata={"cellcount": json.dumps(about)})
        return path

    try:
        return save_to(Path(path))
    except (OSError, SafetensorError) as error:  # the disk has become full: a training is worth another place
        try:
            rescued = save_to(Path(tempfile.mkdtemp(prefix="cellcount-"), Path(path).name))
        except (OSError, SafetensorError) as other:
            nowhere = f"{path} cannot be written ({error}), nor a file in {tempfile.gettempdir()} ({other})."
            raise CellcountError(f"{nowhere} The weights are lost. Make room, and train again.") from other
        raise CellcountError(f"{path} cannot be written ({error}). The weights are in {rescued}: copy them.") from error


def save(
    path: Path | str,
    network: "torch.nn.Module",
    format: str,
    settings: Any,
    samples: Sequence[Sample],
    more: Mapping[str, Any],
) -> Path:
    """`write` the state of a network, with a format, and the description by `described` with the version of torch."""
    import torch

    about = {"format": format} | described(settings, samples, more, torch=torch.__version__)
    return write(path, network.state_dict(), about)


def read(
    path: Path | str, format: str, label: str, framework: Literal["pt", "np"] = "pt"
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The description of a weights file, and its tensors by name.

    Parameters
    ----------
    path : path
    format : str
        The description's "format".
    label : str
        The method's name in messages.
    framework : "pt" or "np"
        Tensors of torch, or NumPy arrays.

    Raises
    ------
    DataError
        If the file is missing, truncated, or of another format.
    """
    from safetensors import SafetensorError, safe_open

    path = existing(path)
    try:
        with usable(path), safe_open(path, framework=framework) as file:
            about = json.loads((file.metadata() or {}).get("cellcount", "{}"))
            check_format(about, path, "a safetensors file", format, label)
            return about, {name: file.get_tensor(name) for name in file.keys()}
    except SafetensorError as error:
        raise DataError(f"{path}: not a safetensors file, or truncated ({error}); create it again.") from error


def about(path: Path | str, format: str, label: str) -> dict[str, Any]:
    """The description of a weights file, without torch; arguments and errors as of `read`."""
    return read(path, format, label, "np")[0]


def existing(path: Path | str) -> Path:
    """The path of a weights file. Raises DataError if it does not exist."""
    path = Path(path)
    if not path.is_file():
        raise DataError(f"No weights file at {path}; train one with `cellcount train`, or leave `weights` out.")
    return path


@contextmanager
def usable(path: Path | str) -> Iterator[None]:
    """Turn the errors of a description that was edited, or does not fit the tensors, into a DataError."""
    try:
        yield
    except CellcountError as error:
        raise error if isinstance(error, DataError) else DataError(f"{path}: {error}") from error
    except (TypeError, LookupError, AttributeError, ValueError, ArithmeticError, RuntimeError) as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        raise DataError(f"{path}: its description is damaged ({reason}); create the file again.") from error


def check_format(about: Any, path: Path | str, kind: str, format: str, label: str) -> None:
    """Raise a DataError unless `about`, of a file of a `kind` such as "an ONNX file", is a dict with this "format"."""
    if not isinstance(about, dict) or about.get("format") != format:
        raise DataError(f"{path}: {kind}, but not weights of {label} (its metadata lacks {format!r}).")


def cached(maxsize: int) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorate a function of a file's path, and further hashable arguments, to keep its results until the file changes.

    A function of a file that does not exist is called, and should raise.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.lru_cache(maxsize)
        def kept(path: Path, mtime: int, *args: Any) -> Any:
            return function(path, *args)

        @functools.wraps(function)
        def call(path: Path | str, *args: Any) -> Any:
            path = Path(path)
            return kept(path, path.stat().st_mtime_ns if path.exists() else 0, *args)

        call.cache_clear = kept.cache_clear  # type: ignore[attr-defined]
        return call

    return decorate


def follow(average: "torch.nn.Module", network: "torch.nn.Module", keep: float) -> None:
    """Move averaged weights and batch statistics towards those of a network: average * keep + network * (1 - keep)."""
    import torch

    with torch.no_grad():
        pairs = list(zip(average.state_dict().values(), network.state_dict().values(), strict=True))
        floating = [pair for pair in pairs if pair[0].is_floating_point()]
        torch._foreach_lerp_(*map(list, zip(*floating, strict=True)), 1 - keep)  # on a GPU all in one operation
        for old, new in pairs:
            if not old.is_floating_point():  # a number of batches
                old.copy_(new)
