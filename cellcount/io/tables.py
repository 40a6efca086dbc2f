"""CSV: points (columns image, y, x, and optionally label and score) or boxes (image, y0, x0, y1, x1), in px.

The plain format of this project: that of `count`, `train` and `data import`. Pixels count from the centre of the first
pixel. A line with an image and empty coordinates says that the image was annotated and has no cell. Tables with y_px,
x_px, score, as an earlier `count` wrote them, are read too: the image is then that of the file's name, NAME-points.csv.
A column origin says what a person did to a predicted point (`cellcount.io.points.Mark`).
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

from cellcount.files import write_csv
from cellcount.io.points import ORIGINS, Annotation, Mark, Reader
from cellcount.io.problems import Report, errors

HEADER = ("image", "y", "x", "label", "score")
POINTS = ("y", "x")
BOXES = ("y0", "x0", "y1", "x1")
PLANES = ("z", "slice", "frame", "t", "plane", "channel")  # columns that name the plane of a stack
_FORMER = ("y_px", "x_px")


def recognises(reader: Reader) -> bool:
    """Every CSV file that is in no other format is read as one of ours; `parse` says what is wrong with others."""
    return True


def parse(reader: Reader) -> list[Annotation]:
    """One `Annotation` for each image of a table of points or boxes."""
    names = _columns(reader.header, reader)
    found: dict[str, Annotation] = {}
    bare: dict[str, str] = {}  # image: its first line without coordinates, which says that it has no cell
    planes: dict[str, set[tuple[str, ...]]] = {}
    for where, row in reader.rows("image", "score", "origin", *names):
        planes.setdefault(row.get("image", ""), set()).add(tuple(row[name] for name in PLANES if name in row))
        image = row.get("image", reader.owner)
        if not image:
            reader.add("csv-image", where)
        else:
            annotation = found.setdefault(image, Annotation(reader.file, where, image))
            if not _add(row, names, where, annotation, reader):
                bare.setdefault(image, where)
                if names is BOXES or row.get(reader.label) or row.get("score"):
                    reader.add("csv-no-place", where, image=image)
    most = max(map(len, planes.values()), default=0)
    if most > 1:
        reader.add("marks-slices", count=most)
    for image in bare:
        if found[image].points:
            reader.add("csv-no-place", bare[image], image=image)
    if not found and not errors(reader.problems):
        reader.add("csv-no-rows")
    if any(mark.origin not in ("", *ORIGINS) for one in found.values() for mark in one.points):
        reader.add("csv-unread", "line 1", columns="origin")
    return list(found.values())


def _columns(header: Sequence[str], reader: Reader) -> Sequence[str]:
    """The columns of coordinates: POINTS, BOXES or _FORMER."""
    if len(header) == 1 and ";" in header[0] or reader.separator == "\t":
        reader.stop("csv-separator", "line 1", separator="tabs" if reader.separator == "\t" else "semicolons")
    twice = [name for name in dict.fromkeys(header) if name and header.count(name) > 1]
    if twice:
        reader.stop("csv-twice", "line 1", columns=", ".join(twice))
    names = next((names for names in (BOXES, _FORMER) if set(names) <= set(header)), POINTS)
    if header[:1] == [""] and names is POINTS and {"x", "y"} <= set(header) and "image" not in header:
        reader.stop("csv-results", "line 1")
    needed = names if reader.path.stem.lower().endswith("-points") else ("image", *names)
    absent = [name for name in needed if name not in header]
    if absent == ["image"]:
        reader.stop("csv-no-image", "line 1")
    if absent:
        reader.stop("csv-columns", "line 1", columns=" and no column ".join(absent))
    return names


def _add(row: dict[str, str], names: Sequence[str], where: str, annotation: Annotation, reader: Reader) -> bool:
    """Add the point or box in one line to the annotation of its image; False if there are no coordinates."""
    values, label = {name: row[name] for name in names}, row.get(reader.label, "")
    if names is not BOXES and any(values.values()):
        origin = row.get("origin", "")
        reader.point(annotation, values, label, where, score=score(row, where, reader), origin=origin)
    elif any(values.values()):
        numbers = reader.numbers(values, where)
        if numbers and numbers[0] < numbers[2] and numbers[1] < numbers[3]:
            annotation.boxes.append(Mark(tuple(numbers), label, where, score(row, where, reader)))
        elif numbers:
            reader.add("box-inverted", where)
    return any(values.values())


def score(row: dict[str, str], where: str, reader: Reader) -> float | None:
    """The number in the column `score` of a row; None if there is none."""
    numbers = reader.numbers({"score": row["score"]}, where) if row.get("score") else None
    return numbers[0] if numbers else None


def write(path: Path, annotations: Iterable[Annotation], report: Report | None = None) -> None:
    """Write the points of annotations, and their boxes beside them: `boxes.csv` for `points.csv`. Boxes alone: `path`.

    Nine digits store a float32 exactly.
    """
    marks: dict[tuple[str, ...], list[tuple[str, Mark]]] = {POINTS: [], BOXES: []}
    for one in annotations:
        none = [] if one.points or one.boxes else [Mark((), "")]
        marks[POINTS] += [(one.image, mark) for mark in one.points + none]
        marks[BOXES] += [(one.image, mark) for mark in one.boxes]
    stem = path.stem.removesuffix("points")
    other = path.with_name(stem + "-" * (stem == path.stem) + "boxes.csv") if marks[POINTS] else path
    for names, file in ((BOXES, other), (POINTS, path)):
        if marks[names] or names is POINTS and not marks[BOXES]:
            origins = any(mark.origin for _, mark in marks[names])  # of corrected predictions
            rows = ([image, *_cells(mark, len(names)), *[mark.origin] * origins] for image, mark in marks[names])
            write_csv(file, ["image", *names, "label", "score", *["origin"] * origins], rows)


def _cells(mark: Mark, width: int) -> list[str]:
    score = "" if mark.score is None else f"{mark.score:.9g}"
    return [*([f"{value:.9g}" for value in mark.position] or [""] * width), mark.label, score]
