"""`cellcount export`: CellNet's weights as one ONNX file, which counts on a CPU without torch."""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `cellcount export`."""
    parser.add_argument("weights", nargs="?", type=Path, help="written by `train` (default: those of the package)")
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="(default: beside the weights; cellnet.onnx for those of the package)"
    )


def run(arguments: argparse.Namespace) -> None:
    """Write the file, and say what it is for."""
    from cellcount.methods.cellnet.export import export

    # Weights of one's own get it beside them; nobody wants it among the files of the installed package.
    beside = arguments.out or (None if arguments.weights else Path("cellnet.onnx"))
    out = export(arguments.weights, beside)
    print(f"{out}: {out.stat().st_size / 1e6:.1f} MB, from image to points.")
    print(f"`cellcount count` on a CPU uses it where it lies beside its weights, or by itself: --weights {out}")
