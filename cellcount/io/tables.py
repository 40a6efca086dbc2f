"""CSV: points (columns image, y, x and optionally label) or boxes (image, y0, x0, y1, x1 and optionally label), in px.

The plain format of this project. Pixels count from the centre of the top-left pixel. A line with an image and empty
coordinates says that the image was annotated and has no cell.
"""

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from cellcount.io.points import Annotation, Mark, Reader

POINTS = ("y", "x")
BOXES = ("y0", "x0", "y1", "x1")


def recognises(reader: Reader) -> bool:
    """Every CSV file is read as one of ours; `parse` says what is wrong with others."""
    return True


def parse(reader: Reader) -> list[Annotation]:
    """One `Annotation` for each image of a table of points or boxes."""
    lines = csv.reader(io.StringIO(reader.text, newline=""))
    found: dict[str, Annotation] = {}
    try:
        header = [name.strip().lower() for name in next(lines)]
        names = _columns(header, reader)
        for cells in lines:
            where, row = f"line {lines.line_num}", dict(zip(header, map(str.strip, cells)))
            if not any(map(str.strip, cells)):
                continue
            if len(cells) != len(header):
                reader.add("csv-row", where, values=len(cells), columns=len(header))
            elif not row["image"]:
                reader.add("csv-image", where)
            else:
                annotation = found.setdefault(row["image"], Annotation(reader.file, where, row["image"]))
                _add(row, names, where, annotation, reader)
    except csv.Error as error:
        reader.add("csv-broken", f"line {max(1, lines.line_num)}", error=error)
    if not found and not reader.problems:
        reader.add("csv-no-rows")
    return list(found.values())


def _columns(header: Sequence[str], reader: Reader) -> Sequence[str]:
    """The columns of coordinates: POINTS or BOXES."""
    if len(header) == 1 and (";" in header[0] or "\t" in header[0]):
        reader.stop("csv-separator", "line 1", separator="semicolons" if ";" in header[0] else "tabs")
    names = BOXES if set(BOXES) <= set(header) else POINTS
    absent = [name for name in ("image", *names) if name not in header]
    if absent:
        reader.stop("csv-columns", "line 1", columns=" and no column ".join(absent))
    return names


def _add(row: dict[str, str], names: Sequence[str], where: str, annotation: Annotation, reader: Reader) -> None:
    """Add the point or box in one line to the annotation of its image."""
    values = [row[name] for name in names]
    numbers = reader.numbers([_number(value) for value in values], "csv-number", where, names) if any(values) else None
    if numbers is None:
        return None
    mark = Mark(tuple(numbers), row.get("label", ""), where)
    if names is POINTS:
        annotation.points.append(mark)
    elif numbers[0] < numbers[2] and numbers[1] < numbers[3]:
        annotation.boxes.append(mark)
    else:
        reader.add("box-inverted", where)


def _number(text: str) -> float | str:
    """The float, or the text itself if it is not a number (for the message)."""
    try:
        return float(text)
    except ValueError:
        return text


def write(path: Path, annotations: Iterable[Annotation]) -> None:
    """Write the points of annotations, and their boxes, if there are any, into `boxes.csv` in the same folder.

    Nine digits store a float32 exactly.
    """
    marks: dict[tuple[str, ...], list[tuple[str, Mark]]] = {POINTS: [], BOXES: []}
    for one in annotations:
        none = [] if one.points or one.boxes else [Mark((), "")]
        marks[POINTS] += [(one.image, mark) for mark in one.points + none]
        marks[BOXES] += [(one.image, mark) for mark in one.boxes]
    for names, file in ((POINTS, path), (BOXES, path.with_name("boxes.csv"))):
        if names is POINTS or marks[names]:
            with open(file, "w", encoding="utf-8", newline="") as stream:
                writer = csv.writer(stream, lineterminator="\n")
                writer.writerow(["image", *names, "label"])
                for image, mark in marks[names]:
                    cells = [f"{value:.9g}" for value in mark.position] or [""] * len(names)
                    writer.writerow([image, *cells, mark.label])
