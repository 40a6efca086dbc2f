"""CellNet's weights files: where the shipped ones lie, and what a file says of itself. Imports no torch."""

import functools
import json
from importlib.resources import files
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from cellcount.errors import DataError
from cellcount.files import sha256
from cellcount.methods.cellnet.settings import FORMAT

SHIPPED = files("cellcount") / "weights" / "cellnet-thesis.safetensors"
PHANTOM = files("cellcount") / "weights" / "cellnet-phantom.safetensors"  # to start training from


def about(path: str | Path) -> dict[str, Any]:
    """What a weights file says of itself: a dict with its settings, samples, number of points, losses and versions.

    An ONNX file has settings, versions and the SHA-256 of the safetensors file that it was made of.

    Raises
    ------
    DataError
        If the file is missing, torn, or not one of CellNet's.
    """
    path = existing(path)
    if path.suffix == ".onnx":
        from cellcount.methods.cellnet.onnx_engine import load

        return load(path, modified(path)).about
    try:
        with safe_open(path, framework="np") as file:
            described = json.loads((file.metadata() or {}).get("cellcount", "{}"))
    except SafetensorError as error:
        raise DataError(f"{path}: not a safetensors file, or cut short ({error}); write it anew.") from error
    if described.get("format") != FORMAT:
        raise DataError(f"{path}: a safetensors file, but not one of CellNet's (its metadata has no {FORMAT}).")
    return described


def existing(path: str | Path) -> Path:
    """The path of a weights file; raises DataError if it is missing."""
    path = Path(path)
    if not path.is_file():
        raise DataError(f"No weights file at {path}; train one with `cellcount train`, or leave `weights` out.")
    return path


def modified(path: Path) -> int:
    """Time of a file's last change, in ns, which makes a rewritten file a new one to a cache; 0 if it is missing."""
    return path.stat().st_mtime_ns if path.exists() else 0


@functools.lru_cache(maxsize=16)
def digest(path: Path, mtime: int) -> str:
    """Hex SHA-256 of a file, read once as long as `mtime` (from `modified`) stays."""
    return sha256(path)
