"""`cellcount export`: CellNet's weights as an ONNX file, which counts on a CPU without torch."""

import argparse
from pathlib import Path

from cellcount.cli import given_path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `cellcount export`."""
    parser.add_argument(
        "weights", nargs="?", type=given_path, help="written by `cellcount train` (default: the bundled ones)"
    )
    parser.add_argument(
        "--out", type=given_path, metavar="FILE",
        help="file to write (default: in the folder of the weights; cellnet.onnx for the bundled weights)",
    )  # fmt: skip


def run(arguments: argparse.Namespace) -> None:
    """Write the file, and print how to use it."""
    from cellcount.methods.cellnet.export import export

    # The bundled weights' file is not written into the installed package.
    out = arguments.out or (arguments.weights or Path("cellnet")).with_suffix(".onnx")
    there = out.exists()
    export(arguments.weights, out)
    print(f"{out}{' (replaced)' * there}: {out.stat().st_size / 1e6:.1f} MB, from image to points.")
    print(f"`cellcount count` on a CPU uses it if it is next to its weights, or alone: --weights {out}")
