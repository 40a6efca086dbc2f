"""`cellcount train`: weights of one's own from a folder of images and clicks."""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `cellcount train`."""
    parser.add_argument("data", help="a folder of images and clicks, thesis, phantom or vgg-cells")
    parser.add_argument("--out", type=Path, help="weights file to write (default: METHOD and the method's suffix)")
    parser.add_argument("--method", default="cellnet", help="cellnet or another that can be trained (default: cellnet)")
    parser.add_argument("--images", nargs="+", metavar="NAME", help="train on these only (default: all annotated)")
    parser.add_argument(
        "-p", dest="parameters", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"),
        help="a setting of the method, such as -p steps 2000; may be given several times",
    )  # fmt: skip
    parser.add_argument(
        "--start",
        help="initial weights of CellNet: a file of the same network, phantom (bundled, of simulated cells), none "
        "(from scratch), or auto (phantom, if the settings ask for its network; the default)",
    )  # fmt: skip
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, mps (default: auto)")


def run(arguments: argparse.Namespace) -> None:
    """Load, train, write the weights, and say what to do with them."""
    from cellcount.counting import train
    from cellcount.errors import needing
    from cellcount.methods import METHODS, base

    method = METHODS[arguments.method]
    with needing("train" if arguments.method == "cellnet" else "methods", f"Training {arguments.method}"):
        params = base.from_text(
            arguments.method, arguments.parameters, base.training_parameters(method, arguments.method)
        )
    if arguments.start is not None:
        params["start"] = None if arguments.start == "none" else arguments.start
    out = arguments.out or Path(arguments.method + getattr(method, "SUFFIX", ".safetensors"))
    train(
        arguments.data, out=out, method=arguments.method, images=arguments.images, device=arguments.device, **params
    )  # fmt: skip
    chosen = "" if arguments.method == "cellnet" else f" --method {arguments.method}"
    print(f"Weights: {out}")
    print(f"Count with: cellcount count IMAGE{chosen} --weights {out}")
