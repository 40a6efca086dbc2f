"""`cellcount bench`: benchmarks, controlled experiments and measurements, as result files."""

import argparse
import importlib
import sys
from pathlib import Path

from cellcount.cli import add_device, add_parameters, add_verb, given_path

# Studies that train CellNet: verb -> (module of `companion.studies`, its function, result file, what it does).
TRAININGS = {
    "vgg": ("counting_benchmarks", "bench", "vgg.csv", "train on N of the VGG cells and count others, several times"),
    "mbm": (
        "counting_benchmarks",
        "bench",
        "mbm.csv",
        "train on N images of bone marrow (MBM), count the others, several times",
    ),
    "adi": (
        "counting_benchmarks",
        "bench",
        "adi.csv",
        "train on N images of adipocytes (ADI), count the others, several times",
    ),
    "labels": ("label_faults", "sweep", "labels.csv", "train on faulty points, with and without remedies (simulated)"),
    "design": ("design", "ablation", "design.csv", "change CellNet's design, one choice at a time, with equal budgets"),
    "intervals": ("interval_coverage", "run", "intervals.csv", "test intervals of counts on held-out simulated fields"),
    "audit": ("audits", "run", "audit.csv", "repeat audits of simulated fields: does the interval contain the total?"),
    "flask-intervals": ("flask_coverage", "run", "flasks.csv", "test intervals of flasks of five simulated fields"),
}
# Benchmarks of the literature: verb -> (its files, required or fetched by default, images to draw from, N).
BENCHMARKS = {
    "vgg": ("001cell.png, 001dots.png ... (default: fetched)", False, "of 001-100", 50),
    "mbm": ("X_000.png, X_dots_000.png ...", True, "of 44", 15),
    "adi": ("images/X.jpeg, annotations/X.jpeg ...", True, "of 200", 50),
}
# Measurements, most on the thesis' data: the same, and the format of floats.
MEASUREMENTS = {
    "annotations": ("annotations", "thesis_statistics", "thesis-annotations.csv",
                    "counts, spacing and agreement of the annotations", None),
    "likeness": ("likeness", "measure_thesis", "phantom-likeness.csv",
                 "gray values, spectra and sizes, to compare with simulated fields", "%.6g"),
    "windows": ("area", "measure_thesis", "foreground-windows.csv",
                "cells and foreground area in windows of images 1 and 2", None),
    "flasks": ("area", "survey_thesis", "foreground-flasks.csv",
               "covered area of all 34 fields, and the counts by a device", "%.6g"),
    "magnification": ("magnification", "measure_thesis", "magnification-thesis.csv",
                      "counts of all 34 fields, with the size of their cells found and as they are", "%.6g"),
    "magnification-phantom": ("magnification", "measure_phantom", "magnification-phantom.csv",
                              "counts of simulated fields at .4 to 2.5 times their size", "%.6g"),
    "device": ("device", "measure_thesis", "device-fields.csv", "counts of all 34 fields, and by a device", "%.6g"),
    "claims": ("claims", "measure", "claims-measured.csv", "numbers of the claims ledger that no chapter keeps", None),
    "device-pairs": ("device", "measure_pairs", "device-pairs.csv",
                     "ratios of 103 counts by a published network and by a device", None),
}  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `cellcount bench STUDY`."""
    studies = parser.add_subparsers(required=True, metavar="STUDY")
    for name, (_, _, out, summary) in TRAININGS.items():
        study = _add(studies, name, _train, summary, out, "; resumed if it exists")
        add_device(study)
        add_parameters(study, "a setting of CellNet", "steps 2000")
        if name in BENCHMARKS:
            files, needed, pool, train = BENCHMARKS[name]
            study.add_argument("--data", type=Path, required=needed, help=f"folder with {files}")
            study.add_argument("--train", type=int, default=train, help=f"training images, {pool} (default: {train})")
            study.add_argument("--draws", type=int, default=5, help="number of draws (default: 5)")
        if name == "design":
            study.add_argument("--data", default="phantom", help="phantom, thesis or a folder (default: phantom)")
    tried = "test methods that need no training on thesis images 1 and 2"
    _add(studies, "explorations", _explore, tried, "explorations-thesis.csv", "; resumed if it exists")
    for name, (_, _, out, summary, _) in MEASUREMENTS.items():
        on = "" if name.endswith("-phantom") else " on the thesis' data"
        _add(studies, name, _measure, f"measure{on}: {summary}", out)


def _add(studies, name, action, summary, out, resumed=""):
    added = add_verb(studies, name, action, summary)
    added.set_defaults(study=name)
    added.add_argument("--out", type=given_path, default=Path(out), help=f"result file, CSV{resumed} (default: {out})")
    return added


def _measure(arguments):
    from cellcount.files import replacing

    home, function, _, _, float_format = MEASUREMENTS[arguments.study]
    with replacing(arguments.out) as temporary:  # before the measurement, which takes minutes: --out must be writable
        frame = getattr(importlib.import_module(f"cellcount.companion.studies.{home}"), function)()
        frame.to_csv(temporary, index=False, float_format=float_format, lineterminator="\n")
    print(f"Result file: {arguments.out}")


def _explore(arguments):
    from cellcount.companion.studies import explorations

    explorations.explore_thesis(arguments.out)
    print(f"Result rows: {arguments.out}")


def _train(arguments):
    """Run a study with the settings of CellNet from -p, and print its table."""
    from cellcount.counting import parameters_from_text

    home, function, *_ = TRAININGS[arguments.study]
    options = parameters_from_text("cellnet", arguments.parameters, training=True)
    study = importlib.import_module(f"cellcount.companion.studies.{home}")
    if arguments.study in BENCHMARKS:
        samples, notes = study.load(arguments.study, arguments.data)
        for note in notes:
            print(f"warning: {note}", file=sys.stderr)
        options |= {"samples": samples, "train": arguments.train, "draws_n": arguments.draws}
        options["protocol"] = arguments.study
    if arguments.study == "design":
        options["dataset"] = arguments.data
    frame = getattr(study, function)(out=arguments.out, device=arguments.device, **options)
    print(study.table(frame).to_string(index=False, float_format="{:.3f}".format))
    if arguments.study in BENCHMARKS:
        label, train, error = study.PROTOCOLS[arguments.study].record
        print(f"Lowest published: {error:g} cells with {train} training images ({label})")
    print(f"Result rows: {arguments.out}")
