"""`cellcount train`: train on a folder of annotated images."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cellcount.cli import add_device, add_parameters, add_short_form, given_path
from cellcount.errors import require
from cellcount.files import as_argument
from cellcount.types import Sample

MIXED = 1.7  # distances between cells that differ so much are hardly of one magnification


def mixed_sizes(samples: Sequence[Sample]) -> str:
    """A sentence if the cells of some samples are much further apart than those of others, else ""."""
    from cellcount.methods.cellnet.settings import spacing

    apart = {sample.name: near for sample in samples if (near := spacing([sample]))}
    if not apart or max(apart.values()) <= MIXED * min(apart.values()):
        return ""
    far, close = max(apart, key=lambda name: apart[name]), min(apart, key=lambda name: apart[name])
    distances = f"cells are {apart[far]:.0f} px apart in {far} and {apart[close]:.0f} px in {close}"
    return f"{distances}; if these have different magnifications, resample the images to one first"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `cellcount train`."""
    parser.add_argument("data", help="a folder of annotated images, or a name of `cellcount data list`")
    parser.add_argument(
        "--out",
        type=given_path,
        help="weights file to write (default: METHOD and the method's suffix); for CellNet, maskrcnn and yolox the "
        "same call goes on from the state, up to a minute old, that a stopped training left in a hidden file beside it",
    )
    parser.add_argument("--method", default="cellnet", help="a method that can be trained (default: cellnet)")
    parser.add_argument("--images", nargs="+", metavar="NAME", help="names of training images (default: all annotated)")
    add_parameters(parser, "a setting of the method", "steps 2000")
    add_short_form(
        parser, "start",
        "initial weights of CellNet: a weights file of the same network, phantom (bundled, trained on simulated "
        "cells), none (training from scratch), or auto (phantom if the settings describe its network; the default)",
    )  # fmt: skip
    add_device(parser)


def run(arguments: argparse.Namespace) -> None:
    """Load the data, train, write the weights, and print how to count with them."""
    from cellcount.counting import check_training, parameters_from_text, train, training_samples
    from cellcount.data import load
    from cellcount.data.corrections import sentence
    from cellcount.methods import METHODS

    method, data = arguments.method, Path(arguments.data)
    params = parameters_from_text(method, arguments.parameters, training=True)
    out = arguments.out or Path(method + getattr(METHODS[method], "SUFFIX", ".safetensors"))
    among_data = not arguments.out and data.is_dir() and out.resolve().is_relative_to(data.resolve())
    require(not among_data, f"{out} would be written among the data; name a file with --out, such as --out ../{out}.")
    check_training(method, out, params)
    files = [out, *[out.with_suffix(".onnx")] * hasattr(METHODS[method], "export")]
    before = {file: file.stat().st_mtime_ns for file in files if file.exists()}
    samples = load(arguments.data)
    chosen = training_samples(samples, arguments.images)
    for sample in chosen:
        if "provenance" in sample.meta:
            print(sentence(Path(sample.meta["source"]).name, sample.meta["provenance"]))
    if mixed := mixed_sizes(chosen):
        print(f"warning: {mixed}", file=sys.stderr)
    cells = sum(len(sample.points) for sample in chosen if sample.points is not None)
    print(f"Training {method} on {len(chosen)} of {len(samples)} images, with {cells} annotated cells")
    train(chosen, out=out, method=method, device=arguments.device, source=arguments.data, **params)
    for what, file in zip(("Weights", "ONNX file of the same weights"), files, strict=False):
        if file.is_file() and file.stat().st_mtime_ns != before.get(file):
            print(f"{what}: {file}{' (replaced)' * (file in before)}")
    if method == "cellnet":
        from cellcount.methods.cellnet import about

        print(told(about(out)["counting"]))
    named = "" if method == "cellnet" else f" --method {method}"
    print(f"Count with: cellcount count IMAGE{named} --weights {as_argument(out)}")


def told(counting: dict[str, Any]) -> str:
    """What a training has found about its counts, in one or two lines, from "counting" of the weights' description."""
    why, rule = counting["why"], counting["interval"]
    if not rule:
        return f"Counts have no interval: {why or 'nothing was left out of the training (folds=0)'}."
    from cellcount.metrics import IntervalRule

    low, high = IntervalRule(**rule).interval(1000)
    ends = f"90 % interval of a count of 1,000: {low:,.0f}-{high:,.0f} (what this data's annotator would have marked)"
    return f"{why[0].upper()}{why[1:]}.\n{ends}"
