"""napari's points layers as CSV: index, axis-0, axis-1, and a column for each property; one image a file.

Coordinates are (y, x) from the centre of the top-left pixel, as ours ("napari ... the center of the pixel at 0, 0",
https://napari.org/stable/guides/layers.html). The columns are those of napari 0.9 (`napari_builtins.io`).
"""

from collections.abc import Sequence
from pathlib import Path

from cellcount.files import write_csv
from cellcount.io import beside
from cellcount.io.points import Annotation, Mark, Reader
from cellcount.io.problems import Report

AXES = ("axis-0", "axis-1")


def recognises(reader: Reader) -> bool:
    """Whether the file is a table of points of napari, of any number of axes."""
    return "axis-0" in reader.header


def parse(reader: Reader) -> list[Annotation]:
    """One `Annotation`; its `image` is that of the file's name."""
    known = ("label", "class", "type")
    label = next((name for name in known if name in reader.header), "")
    if "axis-1" not in reader.header or "axis-2" in reader.header:
        reader.stop("napari-axes", "line 1", count=sum(name.startswith("axis-") for name in reader.header))
    found = Annotation(reader.file, "line 1", beside.owner(reader.path))
    for where, row in reader.rows():
        score = row.get("score", "")
        names = (*AXES, "score") if score else AXES
        numbers = reader.numbers([row[name] for name in names], "mark-number", where, names, text=True)
        if numbers is not None:
            y, x, *scores = numbers
            found.points.append(Mark((y, x), row.get(label, ""), where, scores[0] if scores else None))
    unread = [name for name in reader.header if name and name not in ("index", "score", label, *AXES)]
    if unread:
        reader.add("csv-unread", "line 1", columns=", ".join(unread)[:100])
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


def file_name(stem: str, suffix: str) -> str:
    """The file of an image in a folder of several."""
    return f"{stem}-points{suffix}"
