"""`cellcount bench`: the literature's benchmark, and the controlled experiments, as result files."""

import argparse
from pathlib import Path
from typing import Any


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `cellcount bench STUDY`."""
    studies = parser.add_subparsers(required=True, metavar="STUDY")

    def study(name, action, summary, out):
        added = studies.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
        added.add_argument("--out", type=Path, default=Path(out), help=f"result rows, CSV; goes on with it ({out})")
        added.add_argument("--device", default="auto", help="auto, cpu, cuda, mps (default: auto)")
        added.add_argument(
            "-p", dest="parameters", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"),
            help="a setting of CellNet, such as -p steps 2000; may be given several times",
        )  # fmt: skip
        added.set_defaults(action=action)
        return added

    vgg = study("vgg", _vgg, "train on N of the VGG cells, count the others, several times", "vgg.csv")
    vgg.add_argument("--data", type=Path, help="a folder with 001cell.png, 001dots.png ... (default: as registered)")
    vgg.add_argument("--train", type=int, default=50, help="training images of a draw, out of 001-100 (default: 50)")
    vgg.add_argument("--draws", type=int, default=5, help="(default: 5)")
    study("labels", _labels, "train on clicks with faults, with and without remedies (simulated fields)", "labels.csv")
    design = study("design", _design, "change CellNet's choices one at a time, under the same budget", "design.csv")
    design.add_argument("--data", default="phantom", help="phantom, thesis or a folder (default: phantom)")
    study("intervals", _intervals, "test the intervals on counts on held-out simulated fields", "intervals.csv")


def _vgg(arguments: argparse.Namespace) -> None:
    from cellcount.data import vgg as data
    from cellcount.studies import vgg

    frame = vgg.bench(
        data.load(folder=arguments.data), train=arguments.train, draws_n=arguments.draws, out=arguments.out,
        device=arguments.device, **_settings(arguments),
    )  # fmt: skip
    _print(vgg.table(frame), arguments.out)


def _labels(arguments: argparse.Namespace) -> None:
    from cellcount.studies import labels

    frame = labels.sweep(
        out=arguments.out, device=arguments.device, **_settings(arguments)
    )  # fmt: skip
    _print(labels.table(frame), arguments.out)


def _design(arguments: argparse.Namespace) -> None:
    from cellcount.studies import design

    frame = design.ablation(
        out=arguments.out, dataset=arguments.data, device=arguments.device,
        **_settings(arguments),
    )  # fmt: skip
    _print(design.table(frame), arguments.out)


def _intervals(arguments: argparse.Namespace) -> None:
    from cellcount.studies import intervals

    frame = intervals.run(out=arguments.out, device=arguments.device, **_settings(arguments))
    _print(intervals.table(frame), arguments.out)


def _print(table, out):
    print(table.to_string(index=False, float_format="{:.3f}".format))
    print(f"Result rows: {out}")


def _settings(arguments: argparse.Namespace) -> dict[str, Any]:
    """CellNet's settings from the pairs (name, value) of -p."""
    from cellcount.methods import METHODS, base

    return base.from_text("CellNet", arguments.parameters, base.training_parameters(METHODS["cellnet"], "cellnet"))
