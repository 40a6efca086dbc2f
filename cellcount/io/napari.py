"""napari's points layers as CSV: index, axis-0, axis-1, and a column for each property; one image a file.

Coordinates are (y, x) from the centre of the top-left pixel, as ours ("napari ... the center of the pixel at 0, 0",
https://napari.org/stable/guides/layers.html). The columns are those of napari 0.9 (`napari_builtins.io`).
"""

from collections.abc import Sequence
from pathlib import Path

from cellcount.files import write_csv
from cellcount.io import tables
from cellcount.io.points import Annotation, Reader
from cellcount.io.problems import Report

AXES = ("axis-0", "axis-1")


def recognises(reader: Reader) -> bool:
    """Whether the file is a table of points of napari, of any number of axes."""
    return "axis-0" in reader.header


def parse(reader: Reader) -> list[Annotation]:
    """One `Annotation`; its `image` is that of the file's name."""
    if "shape-type" in reader.header:  # a layer of shapes: each line is a corner of one
        kinds = [row["shape-type"] for _, row in reader.rows()]
        reader.stop("not-points", "line 1", count=len(kinds), types=", ".join(dict.fromkeys(kinds))[:60])
    if "axis-1" not in reader.header or "axis-2" in reader.header:
        reader.stop("napari-axes", "line 1", count=sum(name.startswith("axis-") for name in reader.header))
    found = Annotation(reader.file, "line 1", reader.owner)
    for where, row in reader.rows("index", "score", *AXES):
        yx, score = {axis: row[axis] for axis in AXES}, tables.score(row, where, reader)
        reader.point(found, yx, row.get(reader.label, ""), where, score=score)
    return reader.marked([found])


def write(path: Path, annotations: Sequence[Annotation], report: Report) -> None:
    """Write the points of one image, with their labels, and scores if there are any."""
    [one] = annotations
    scored = any(mark.score is not None for mark in one.points)
    rows = [
        [n, *(f"{value:.9g}" for value in mark.position), *[mark.score] * scored, mark.label]
        for n, mark in enumerate(one.points)
    ]
    write_csv(path, ["index", *AXES, *["score"] * scored, "label"], rows)
