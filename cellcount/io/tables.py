"""CSV: points (columns image, y, x and maybe label) or boxes (image, y0, x0, y1, x1 and maybe label), in px.

The plain format of this project. Pixels count from the centre of the top-left pixel. A line with an image and empty
coordinates says that somebody looked at this image and found no cell.
"""

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cellcount.io.points import Annotation, Mark, Reader
from cellcount.io.problems import Problem

if TYPE_CHECKING:
    import _csv

POINTS = ("y", "x")
BOXES = ("y0", "x0", "y1", "x1")
Row = tuple[str, list[float], str]  # image, coordinates, label
_TODO = "The first line must be image,y,x or image,y,x,label (boxes: image,y0,x0,y1,x1)."


def read(path: Path | str) -> tuple[list[Annotation], list[Problem]]:
    """Read a CSV of points or boxes: (list of Annotation, one per image; list of Problem)."""
    reader = Reader(Path(path))
    text = reader.text()
    return (_parse(text, reader) if text is not None else []), reader.problems


def write(path: Path | str, kind: Sequence[str], rows: Iterable[Row]) -> None:
    """Write rows (image, coordinates..., label), coordinates in px as `kind` says: POINTS or BOXES.

    Nine digits keep a float32 exactly.
    """
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["image", *kind, "label"])
        for image, coordinates, label in rows:
            cells = [f"{value:.9g}" for value in coordinates] if len(coordinates) else [""] * len(kind)
            writer.writerow([image, *cells, label])


def _parse(text: str, reader: Reader) -> list[Annotation]:
    lines = csv.reader(io.StringIO(text, newline=""))
    try:
        header = [name.strip().lower() for name in next(lines)]
    except csv.Error as error:
        reader.problem("csv-broken", "line 1", f"This is not CSV: {error}.", "Export the table again.")
        return []
    if len(header) == 1 and any(separator in header[0] for separator in ";\t"):
        separator = "semicolons" if ";" in header[0] else "tabs"
        todo = "Save it with commas between columns and points in decimals."
        reader.problem("csv-separator", "line 1", f"The columns are separated by {separator}.", todo)
        return []
    names = BOXES if set(BOXES) <= set(header) else POINTS
    absent = [name for name in ("image", *names) if name not in header]
    if absent:
        reader.problem("csv-columns", "line 1", f"There is no column {' and no column '.join(absent)}.", _TODO)
        return []
    return _rows(lines, header, names, reader)


def _rows(lines: "_csv.Reader", header: Sequence[str], names: Sequence[str], reader: Reader) -> list[Annotation]:
    found: dict[str, Annotation] = {}
    try:
        for cells in lines:
            where = f"line {lines.line_num}"
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(header):
                what = f"There are {len(cells)} values, but {len(header)} columns."
                reader.problem("csv-row", where, what, "Put one value per column, decimals with a point.")
                continue
            row = dict(zip(header, (cell.strip() for cell in cells), strict=True))
            if not row["image"]:
                reader.problem("csv-image", where, "No image is named.", "Write the image's file name.")
                continue
            annotation = found.setdefault(row["image"], Annotation(reader.path.name, where, row["image"]))
            values = [row[name] for name in names]
            if any(values):
                _add(annotation, values, names, row.get("label", ""), where, reader)
    except csv.Error as error:
        reader.problem("csv-broken", f"line {lines.line_num}", f"This is not CSV: {error}.", "Export the table again.")
    if not found and not reader.problems:
        todo = "Add points, or a line 'image,,' for an image without cells."
        reader.problem("csv-no-rows", "", "There is a header, but no line below it.", todo)
    return list(found.values())


def _add(
    annotation: Annotation, values: Sequence[str], names: Sequence[str], label: str, where: str, reader: Reader
) -> None:
    numbers = reader.numbers([_number(value) for value in values], "csv-number", where, names)
    if numbers is None:
        return
    mark = Mark(tuple(numbers), label, where)
    if names is POINTS:
        annotation.points.append(mark)
    elif numbers[0] < numbers[2] and numbers[1] < numbers[3]:
        annotation.boxes.append(mark)
    else:
        todo = "Write the top left corner as y0, x0 and the bottom right one as y1, x1."
        reader.problem("box-inverted", where, "The box has no area.", todo)


def _number(text: str) -> float | str:
    """The float, or the text itself if it is none (for the message)."""
    try:
        return float(text)
    except ValueError:
        return text
