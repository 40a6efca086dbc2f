"""QuPath's tables: exported measurements with centroids (several images), or saved points (one image a file).

Coordinates are measured from the image's top left corner, half a pixel before our origin. Measurements have the columns
Image, Class or Classification, and Centroid X and Y in px or µm (QuPath 0.2 to 0.5); saved points have x, y and perhaps
class, name and colour, with a tab at the end of the header (`PointIO.java`).
"""

from collections.abc import Sequence
from pathlib import Path

from cellcount.io.points import CORNER, Annotation, Mark, Reader
from cellcount.io.problems import Report

_MICRO = ("µm", "μm", "um")  # the micro sign, and the Greek letter


def recognises(reader: Reader) -> bool:
    """Whether the file is a table of QuPath: centroids, or points in a .tsv file."""
    return any(name.startswith("centroid x") for name in reader.header) or reader.header[:2] == ["x", "y"]


def parse(reader: Reader) -> list[Annotation]:
    """One `Annotation` for each image. The centroid of a set of several points is no cell, and refused."""
    names, scale = _columns(reader)
    found: dict[str, Annotation] = {}
    slices: dict[str, set[tuple[str, ...]]] = {}
    for where, row in reader.rows():
        image = row.get("image") or reader.owner
        annotation = found.setdefault(image, Annotation(reader.file, where, image))
        slices.setdefault(image, set()).add(tuple(row.get(name) or "0" for name in ("z", "t")))
        if row.get("num points", "") not in ("", "1", "1.0", "NaN"):
            reader.add("qupath-set", where, count=row["num points"])
            continue
        numbers = reader.numbers({name: row[name] for name in names}, where)
        if numbers is not None:
            position = tuple(value * scale + CORNER for value in numbers)
            annotation.points.append(Mark(position, row.get(reader.label, ""), where))
    if not found and not reader.problems:
        reader.add("csv-no-rows")
    return reader.marked(found.values(), slices=max(slices.values(), key=len, default=()))


def _columns(reader: Reader) -> tuple[tuple[str, str], float]:
    """The columns of y and x, and px per unit."""
    if reader.header[:2] == ["x", "y"]:
        return ("y", "x"), 1.0
    for unit in ("px", *_MICRO):
        names = (f"centroid y {unit}", f"centroid x {unit}")
        if set(names) <= set(reader.header):
            if unit == "px":
                return names, 1.0
            if not reader.pixel_size_um:
                reader.stop("qupath-pixel-size", "line 1")
            return names, 1 / reader.pixel_size_um
    reader.stop("csv-columns", "line 1", columns="Centroid X px and Centroid Y px")


def write(path: Path, annotations: Sequence[Annotation], report: Report) -> None:
    """Write the points of one image as QuPath saves and opens them."""
    [one] = annotations
    lines = ["x\ty\tclass\t"]
    for mark in one.points:
        y, x = (value - CORNER for value in mark.position)
        lines.append(f"{x:.9g}\t{y:.9g}\t{' '.join(mark.label.split())}")
    path.write_text("\n".join(lines) + "\n", "utf-8")
