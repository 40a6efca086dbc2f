"""`cellcount bench`: the literature's benchmark, the controlled experiments and the measurements, as result files."""

import argparse
import importlib
from pathlib import Path
from typing import Any

MEASUREMENTS = {  # verb: (module of `companion.studies`, its function, file, format of floats, what it measures)
    "annotations": ("annotations", "thesis_statistics", "thesis-annotations.csv", None,
                    "counts, spacing and agreement of the thesis' annotations"),
    "likeness": ("likeness", "measure_thesis", "phantom-likeness.csv", "%.6g",
                 "gray values, spectra and sizes of the thesis' fields"),
    "windows": ("area", "measure_thesis", "foreground-windows.csv", None,
                "cells and foreground area in windows of thesis images 1 and 2"),
    "flasks": ("flasks", "measure_thesis", "foreground-flasks.csv", "%.6g",
               "covered area of all 34 thesis fields, beside the device's counts"),
}  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `cellcount bench STUDY`."""
    studies = parser.add_subparsers(required=True, metavar="STUDY")

    def study(name, action, summary, out, trains=True):
        added = studies.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
        resumed = "; resumed if it exists" if trains or name == "explorations" else ""
        added.add_argument("--out", type=Path, default=Path(out), help=f"result file, CSV{resumed} (default: {out})")
        added.set_defaults(action=action)
        if trains:
            added.add_argument("--device", default="auto", help="auto, cpu, cuda, mps (default: auto)")
            added.add_argument(
                "-p", dest="parameters", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"),
                help="a setting of CellNet, such as -p steps 2000; may be given several times",
            )  # fmt: skip
        return added

    vgg = study("vgg", _vgg, "train on N of the VGG cells and count the others, several times", "vgg.csv")
    vgg.add_argument("--data", type=Path, help="a folder with 001cell.png, 001dots.png ... (default: as registered)")
    vgg.add_argument("--train", type=int, default=50, help="training images of a draw, out of 001-100 (default: 50)")
    vgg.add_argument("--draws", type=int, default=5, help="(default: 5)")
    study("labels", _labels, "train on faulty points, with and without remedies (simulated fields)", "labels.csv")
    design = study("design", _design, "change CellNet's choices one at a time, under the same budget", "design.csv")
    design.add_argument("--data", default="phantom", help="phantom, thesis or a folder (default: phantom)")
    study("intervals", _intervals, "test the intervals of counts on held-out simulated fields", "intervals.csv")
    tried = "methods without training on thesis images 1 and 2"
    study("explorations", _explorations, tried, "explorations-thesis.csv", trains=False)
    for name, (*_, out, _, summary) in MEASUREMENTS.items():
        study(name, _measure, summary, out, trains=False).set_defaults(study=name)


def _measure(arguments: argparse.Namespace) -> None:
    from cellcount.files import replacing

    home, function, _, float_format, _ = MEASUREMENTS[arguments.study]
    with replacing(
        arguments.out
    ) as temporary:  # before the minutes of measuring: it tells whether --out can be written
        frame = getattr(importlib.import_module(f"cellcount.companion.studies.{home}"), function)()
        frame.to_csv(temporary, index=False, float_format=float_format, lineterminator="\n")
    print(f"Result file: {arguments.out}")


def _explorations(arguments: argparse.Namespace) -> None:
    from cellcount.companion.studies import explorations

    explorations.explore_thesis(arguments.out)
    print(f"Result rows: {arguments.out}")


def _vgg(arguments: argparse.Namespace) -> None:
    from cellcount.companion.studies import vgg_draws
    from cellcount.data import vgg

    samples = vgg.load(folder=arguments.data)
    _study(vgg_draws, vgg_draws.bench, arguments, samples, train=arguments.train, draws_n=arguments.draws)


def _labels(arguments: argparse.Namespace) -> None:
    from cellcount.companion.studies import label_faults

    _study(label_faults, label_faults.sweep, arguments)


def _design(arguments: argparse.Namespace) -> None:
    from cellcount.companion.studies import design

    _study(design, design.ablation, arguments, dataset=arguments.data)


def _intervals(arguments: argparse.Namespace) -> None:
    from cellcount.companion.studies import interval_coverage

    _study(interval_coverage, interval_coverage.run, arguments)


def _study(study: Any, run: Any, arguments: argparse.Namespace, *given: Any, **options: Any) -> None:
    """Run a study with CellNet's settings from the pairs (name, value) of -p, and print its table."""
    from cellcount.methods import METHODS, base

    settings = base.from_text("CellNet", arguments.parameters, base.training_parameters(METHODS["cellnet"], "cellnet"))
    frame = run(*given, out=arguments.out, device=arguments.device, **options, **settings)
    print(study.table(frame).to_string(index=False, float_format="{:.3f}".format))
    print(f"Result rows: {arguments.out}")
