"""CellNet's weights files: the bundled ones, and the description in a file. Imports no torch."""

from importlib.resources import files
from pathlib import Path
from typing import Any

from cellcount.methods import weights_files
from cellcount.methods.cellnet.settings import FORMAT

SHIPPED = files("cellcount") / "weights" / "cellnet-thesis.safetensors"
PHANTOM = files("cellcount") / "weights" / "cellnet-phantom.safetensors"  # initial weights of a training


def about(path: str | Path) -> dict[str, Any]:
    """Settings, samples, number of points, losses, versions and "counting" of a weights file's training.

    An ONNX file has settings, versions, "counting" and the SHA-256 of the safetensors file that it was made of.

    Raises
    ------
    DataError
        If the file is missing, truncated, or not one of CellNet's.
    """
    path = weights_files.existing(path)
    if path.suffix == ".onnx":
        from cellcount.methods.cellnet.onnx_engine import load

        return load(path).about
    return weights_files.about(path, FORMAT, "CellNet")
