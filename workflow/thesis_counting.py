"""Measure how the bundled weights count, by networks that have seen one thesis image only, on the other.

    python workflow/thesis_counting.py [--measure 1 POINTS.csv 2 POINTS.csv] [--write]

Prints the entry as JSON. --measure counts the cells in parts of both images again, from the points that the network of
image 2 finds in image 1, and that of image 1 in image 2 (`cellcount count` writes such tables), into
results/counting-thesis.csv, which is read otherwise. --write puts the entry into the bundled weights, whose tensors
stay as they are, and writes their ONNX file again.
"""

import argparse
import csv
import json
from pathlib import Path

import numpy as np

from cellcount.companion.runner.sources import root
from cellcount.data import thesis
from cellcount.files import write_csv
from cellcount.methods import cellnet
from cellcount.methods.cellnet.calibration import LEVEL, Counting, amended, grid, trusted
from cellcount.metrics import calibrate_parts

KEPT = root() / "results" / "counting-thesis.csv"
COLUMNS = ("image", "part", "true", "counted", "spacing_px", "score")


def measured(tables):
    """Rows of COLUMNS: clicks and found points on the trusted pixels of each part of an image.

    tables : {image: path of a table of points with scores, by a network that has not seen this image}
    """
    for sample in thesis.load(tables):
        with open(tables[sample.name], encoding="utf-8") as file:
            found = np.array([[float(row[name]) for name in ("y", "x", "score")] for row in csv.DictReader(file)])
        about = Counting.measured([sample])
        for index, part in enumerate(grid(sample.image.shape)):
            mine = trusted(sample, found[:, :2], part)
            numbers = trusted(sample, sample.points, part).sum(), mine.sum()
            yield sample.name, index, *map(int, numbers), about.spacing, round(float(found[mine, 2].mean()), 4)


def entry(rows):
    """The fields of `Counting` from rows of `measured`."""
    images, true, counted, apart, scores = (np.array([row[i] for row in rows]) for i in (0, 2, 3, 4, 5))
    true, counted = true.astype(int), counted.astype(int)
    rule = calibrate_parts(true, counted, images, LEVEL)
    told = [f"{true[images == name].sum()} annotated and {counted[images == name].sum()} counted in image {name}"
            for name in np.unique(images)]  # fmt: skip
    why = (
        f"counted by peaks, since the annotation is not complete: {', '.join(told)}, where the annotation is reliable, "
        "by networks of the same training that have seen the clicks of the other image only. The two images differ by "
        "more than their parts, and two images tell little about a third; the interval is for what the annotators of "
        "images 1 and 2 would have marked"
    )
    apart, score = float(np.average(apart, weights=true)), float(np.average(scores, weights=counted))
    known = {"count": "peaks", "why": why, "spacing": round(apart, 1), "pixel_size_um": None}
    return known | {"interval": rule, "best_score": round(score, 3)}


def main():
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--measure", nargs=4, metavar=("IMAGE", "POINTS", "IMAGE", "POINTS"))
    parser.add_argument("--write", action="store_true", help="put the entry into the bundled weights")
    arguments = parser.parse_args()
    if arguments.measure:
        tables = dict(zip(arguments.measure[::2], map(Path, arguments.measure[1::2]), strict=True))
        write_csv(KEPT, COLUMNS, measured(tables))
    with open(KEPT, encoding="utf-8") as file:
        rows = [[row[0], *map(float, row[1:])] for row in list(csv.reader(file))[1:]]
    found = entry(rows)
    print(json.dumps(found | {"interval": found["interval"]._asdict()}, indent=1))
    if arguments.write:
        cellnet.export(amended(cellnet.inference.SHIPPED, **found))


if __name__ == "__main__":
    main()
