"""Measure the 90 % intervals that `cellcount train` gives: simulated fields and VGG cells, 25 minutes on one core.

    python workflow/train_intervals.py [--rows build/intervals-training] [--out results/intervals-training.csv]

Small networks, trained from scratch on 24 simulated fields of 256 px, or on 3 or 1 of 640 px, count 200 others of
256 px; and on 50, 3 or 1 of the VGG images 001-100, the others of these. Resumed if it is interrupted.
"""

import argparse
from pathlib import Path

import pandas as pd

from cellcount.companion.runner.sources import root
from cellcount.companion.studies import flask_coverage, interval_coverage
from cellcount.data import phantom, vgg

OVERLAPPING = {"factor": 1, "count_weight": 0.3, "zoom": 1.1}  # as in `counting_benchmarks`
FIELDS = 224


def main():
    """Train, count, and write one line for each training."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--rows", type=Path, default=root() / "build" / "intervals-training", help="folder of the counts"
    )
    parser.add_argument("--out", type=Path, default=root() / "results" / "intervals-training.csv")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, mps (default: auto)")
    arguments = parser.parse_args()
    flasks = range(-(-FIELDS // flask_coverage.FIELDS))
    fields = [sample for flask in flasks for *_, sample in flask_coverage.fields("mixed", flask)][:FIELDS]
    large = [*phantom.load("train")[:3], *phantom.load("validation"), *phantom.load("test")[:3]]  # no confluent layer
    common = {"out": arguments.rows / "phantom.csv", "dataset": "phantom", "device": arguments.device}
    frames = [
        interval_coverage.in_training(fields, draws={24: 2}, **common),
        interval_coverage.in_training(fields, pool=large, draws={3: 3, 1: 3}, **common),
    ]
    cells = [sample for sample in vgg.load() if sample.split == "train"]  # never 101-200
    common |= {"out": arguments.rows / "vgg.csv", "dataset": "vgg-cells"}
    frames.append(interval_coverage.in_training(cells, draws={50: 4, 3: 2, 1: 1}, **common, **OVERLAPPING))
    table = interval_coverage.coverage_in_training(pd.concat(frames))
    table.round(4).to_csv(arguments.out, index=False, lineterminator="\n")
    print(table.to_string(index=False, float_format="{:.3f}".format))


if __name__ == "__main__":
    main()
