"""Point annotations: what every exchange format is read into, and the table of the formats."""

from __future__ import annotations

import contextlib
import csv
import importlib
import io
import json
import os
import re
import tempfile
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import numpy as np

from cellcount.errors import DataError, ParameterError
from cellcount.io import beside
from cellcount.io.images import SUFFIXES
from cellcount.io.problems import Problem, Report, Stop, errors, raise_errors

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

# Meaning of a label -> the labels that have it, in lower case. A mark without a label is a live cell.
LABELS = {
    "live": ("", "live", "live cell", "cell"),
    "dead": ("dead", "dead cell", "dead cell/debris", "debris"),
    "background": ("background",),
    "ignore": (),
}

MAX_BYTES = 2**29  # of a file of text; parsed, it takes ten times as much memory


class Format(NamedTuple):
    """An exchange format.

    Attributes
    ----------
    module : of `cellcount.io`, imported when it is needed
    suffixes : of file names; the first is written
    single : whether a file has one image, whose name follows from the file's; else the file names its images
    sized : whether the size of an image must be known to write its annotation
    keeps : which of "scores", "boxes" and "empty" (annotated, without a cell) are written
    """

    module: str
    suffixes: tuple[str, ...]
    single: bool = False
    sized: bool = False
    keeps: tuple[str, ...] = ()


# Formats that are read, tried in this order. The module has `recognises(reader) -> bool`, and `parse(reader) -> list
# of Annotation`, which converts coordinates to ours, (y, x) px from the centre of the top-left pixel, and reports
# problems to the `Reader`. An image without a mark is left out with a warning, unless the file declares it complete.
READERS = {
    "Label Studio": Format("labelstudio", (".json",)),
    "COCO": Format("coco", (".json",)),
    "VIA": Format("via", (".json", ".csv")),
    "labelme": Format("labelme", (".json",)),
    "QuPath": Format("qupath", (".geojson", ".json")),
    "QuPath table": Format("qupath_tables", (".tsv", ".csv")),
    "napari": Format("napari", (".csv",)),
    "ImageJ": Format("imagej", (".zip", ".roi")),
    "Cell Counter": Format("cell_counter", (".xml",)),
    "CVAT": Format("cvat", (".xml",)),
    "CSV": Format("tables", (".csv",)),
    "dot image": Format("dots", SUFFIXES),
}
# Formats that are written. The module has `write(path, annotations, report)`, with one `Annotation` for each image.
# The first format with a suffix is meant by it.
WRITERS = {
    "CSV": Format("tables", (".csv",), keeps=("scores", "boxes", "empty")),
    "Label Studio": Format("labelstudio", (".json",), sized=True, keeps=("scores", "boxes", "empty")),
    "COCO": Format("coco", (".json",), keeps=("scores", "empty")),
    "VIA": Format("via", (".json", ".csv")),
    "labelme": Format("labelme", (".json",), single=True),
    "QuPath": Format("qupath", (".geojson",), single=True),
    "QuPath table": Format("qupath_tables", (".tsv",), single=True),
    "napari": Format("napari", (".csv",), single=True, keeps=("scores",)),
    "ImageJ": Format("imagej", (".zip", ".roi"), single=True),
    "CVAT": Format("cvat", (".xml",), sized=True),
    "Cell Counter": Format("cell_counter", (".xml",), single=True),
    "dot image": Format("dots", (".png",), single=True, sized=True),
}


@dataclass(frozen=True)
class Mark:
    """One annotated point at (y, x) px, or one box (y0, x0, y1, x1) px.

    Attributes
    ----------
    position, label
    where : str
        For messages: the place in the file.
    score : float or None
        That of a predicted cell.
    origin : "prediction", "prediction-changed", "manual" or ""
        Whether a person kept, moved or added the mark, where the format says so.
    """

    position: tuple[float, ...]
    label: str
    where: str = ""
    score: float | None = None
    origin: str = ""


@dataclass
class Annotation:
    """The annotation of one image by one annotator in one file.

    Attributes
    ----------
    file, where : str
        For messages: the file's name, and the place in it.
    image : str
        The image as the file names it.
    size : (height, width) px that the file gives for the image, or None
    annotator : str
        Who made it, where the format says so; "" otherwise.
    """

    file: str
    where: str
    image: str
    size: tuple[int, int] | None = None
    annotator: str = ""
    points: list[Mark] = field(default_factory=list)
    boxes: list[Mark] = field(default_factory=list)

    def holds(self, labels: Mapping[str, Sequence[str]] | None = None) -> set[str]:
        """What is annotated: a subset of "cells", "background", "boxes"; no mark at all means that there is no cell."""
        roles = {role(mark.label, labels) for mark in self.points}
        held = {"cells"} if roles & {"live", "dead", None} or not (self.points or self.boxes) else set()
        return held | ({"background"} & roles) | ({"boxes"} if self.boxes else set())


def role(label: str, meanings: Mapping[str, Sequence[str]] | None = None) -> str | None:
    """ "live", "dead", "background" or "ignore"; None if the label is unknown.

    meanings : dict of these four to lists of further labels (from a `dataset.toml`), or None
    """
    label = label.strip().lower()
    for name, further in (meanings or {}).items():  # the folder's own meaning takes precedence
        if label in [text.strip().lower() for text in further]:
            return name
    return next((name for name, known in LABELS.items() if label in known), None)


def positions(
    marks: Iterable[Mark], wanted: str, labels: Mapping[str, Sequence[str]] | None = None, width: int = 2
) -> np.ndarray:
    """(N, width) float32 px: the marks with the role `wanted`; a second mark at the same position is dropped."""
    found = list(dict.fromkeys(mark.position for mark in marks if role(mark.label, labels) == wanted))
    return np.asarray(found, np.float32).reshape(-1, width)


class Reader(Report):
    """One annotation file: its content, and the problems in it. Broken content stops reading.

    Parameters
    ----------
    path : path
    predictions : bool
        Read what a model predicted, in formats that tell it from what people annotated (Label Studio).
    pixel_size_um : float or None
        Converts tables in micrometres (QuPath).
    """

    def __init__(self, path: Path | str, predictions: bool = False, pixel_size_um: float | None = None) -> None:
        self.path = Path(path)
        self.predictions, self.pixel_size_um = predictions, pixel_size_um
        super().__init__(self.path.name)

    @cached_property
    def raw(self) -> bytes:
        """The file's bytes."""
        if self.path.stat().st_size > MAX_BYTES:
            self.stop("annotation-size", megabytes=self.path.stat().st_size / 1e6)
        raw = self.path.read_bytes()
        if not raw.strip():
            self.stop("annotation-empty")
        return raw

    @cached_property
    def text(self) -> str:
        """The file's text, without the byte order mark that Excel writes."""
        raw = self.raw
        if raw.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in raw[:200]:
            self.stop("encoding-utf16")
        try:
            return raw.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = raw[: error.start].count(b"\n") + 1
            self.stop("encoding", f"line {line}", byte=f"0x{raw[error.start]:02x}")

    @cached_property
    def json(self) -> Any:
        """The file's parsed JSON."""
        try:
            return json.loads(self.text)
        except json.JSONDecodeError as error:
            self.stop("json-broken", f"line {error.lineno}, column {error.colno}", error=error.msg)
        except (RecursionError, ValueError) as error:  # ValueError: an integer of more than 4300 digits
            self.stop("json-broken", error=f"it cannot be parsed ({error})")

    @cached_property
    def xml(self) -> Element:
        """The root of the file's XML. A document type, which may define entities, is refused: they can fill memory."""
        from xml.etree import ElementTree

        if "<!DOCTYPE" in self.text or "<!ENTITY" in self.text:
            self.stop("xml-doctype")
        try:
            return ElementTree.fromstring(self.text)
        except (ElementTree.ParseError, ValueError) as error:
            self.stop("xml-broken", error=error)

    @cached_property
    def header(self) -> list[str]:
        """The first line of a table, in lower case, with its separator: a tab if there is one, else a comma."""
        with contextlib.suppress(csv.Error, StopIteration):
            header = [name.strip().lower() for name in next(csv.reader([self._first], delimiter=self.separator))]
            return header[: max((n for n, name in enumerate(header, 1) if name), default=0)]
        return []

    @property
    def separator(self) -> str:
        """What separates the columns of a table."""
        return "\t" if "\t" in self._first else ","

    @cached_property
    def _first(self) -> str:
        """The first line, without its end."""
        return re.split("[\r\n]", self.text, maxsplit=1)[0]

    def rows(self) -> Iterator[tuple[str, dict[str, str]]]:
        """(place, {column: text}) of each line of a table below `header`."""
        lines = csv.reader(io.StringIO(self.text, newline=""), delimiter=self.separator)
        width, where = len(self.header), "line 1"
        try:
            for number, cells in enumerate(lines):
                where = f"line {lines.line_num}"
                if not number or not any(map(str.strip, cells)):
                    continue
                if len(cells) < width or any(map(str.strip, cells[width:])):
                    self.add("csv-row", where, values=len(cells), columns=width)
                else:
                    yield where, dict(zip(self.header, map(str.strip, cells)))
        except csv.Error as error:
            self.add("csv-broken", where, error=error)

    def numbers(
        self, values: Sequence[object], kind: str, where: str, names: Sequence[str], text: bool = False
    ) -> list[float] | None:
        """The values as finite floats, or None after reporting the first that is not one as a problem of this kind.

        text : whether the values are text
        """
        for name, value in zip(names, values, strict=True):
            value = _number(value) if text else value
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not np.isfinite(float(value)):
                self.add(kind, where, name=name, value=json.dumps(value)[:40])
                return None
        return [float(value) for value in values]  # type: ignore[arg-type]

    def marked(
        self, found: Iterable[Annotation], others: Iterable[object] = (), declared: Container[str] = ()
    ) -> list[Annotation]:
        """The annotations with a mark; the images of the others are reported as not annotated.

        others : the types of the shapes that are no points, one each: with any of them the file is refused
        declared : images that the file declares complete, so that no mark means no cell
        """
        found, kinds = list(found), sorted(map(str, others))
        if kinds:
            self.add("not-points", count=len(kinds), types=", ".join(dict.fromkeys(kinds))[:60])
        bare = [one for one in found if not (one.points or one.boxes or one.image in declared)]
        if not found and not self.problems:
            self.add("no-images-annotated")
        elif bare and not errors(self.problems):
            names = ", ".join(one.image for one in bare[:3]) + ", ..." * (len(bare) > 3)
            self.add("no-marks", count=len(bare), all=len(found), names=names, first=bare[0].image)
        dropped = set(map(id, bare))
        return [one for one in found if id(one) not in dropped]

    def unknown(self) -> NoReturn:
        """Stop: the content has none of the formats."""
        suffix = self.path.suffix.lower()
        formats = ", ".join(name for name, format in READERS.items() if suffix in format.suffixes)
        if suffix not in (".json", ".geojson"):
            self.stop("content-unknown" if formats else "annotation-format", suffix=suffix, formats=formats)
        content = f"a list of {len(self.json)}" if isinstance(self.json, list) else json.dumps(self.json)[:40]
        self.stop("json-kind", content=content, formats=formats)


def as_score(value: object) -> float | None:
    """The float of a finite number in JSON; None for anything else."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool) and np.isfinite(float(value))
    return float(value) if number else None  # type: ignore[arg-type]


def _number(value: object) -> object:
    """The float that a text spells, or the value itself (for the message)."""
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return value


def read(
    path: Path | str, *, predictions: bool = False, pixel_size_um: float | None = None
) -> tuple[list[Annotation], list[Problem]]:
    """The annotations in a file of any of the formats `READERS`.

    Parameters
    ----------
    path : path
    predictions, pixel_size_um : see `Reader`

    Returns
    -------
    list of Annotation
        Positions in (y, x) px.
    list of Problem
    """
    reader = Reader(path, predictions, pixel_size_um)
    found: list[Annotation] = []
    with contextlib.suppress(Stop):
        try:
            for module, suffixes, *_ in READERS.values():
                if reader.path.suffix.lower() in suffixes:
                    home = importlib.import_module(f"cellcount.io.{module}")
                    if home.recognises(reader):
                        found = home.parse(reader)
                        break
            else:
                reader.unknown()
        except OSError as error:
            reader.add("file-unreadable", error=error.strerror or error)
        except (TypeError, AttributeError, LookupError, ValueError, OverflowError) as error:
            reader.add("json-structure", error=error)  # a field of another type than the format has
    return found, reader.problems


def write(path: Path | str, annotations: Iterable[Annotation], format: str | None = None) -> list[Problem]:
    """Write annotations in any of the formats `WRITERS`.

    Parameters
    ----------
    path : path of a file or, in formats with one image a file, of a folder for several: NAME.zip for the image NAME.png
    annotations : of one image or several; those of the same image are put together
    format : a name in `WRITERS`; else the suffix of `path` tells it (.csv is the project's own, .json needs a format)

    Returns
    -------
    list of Problem
        Warnings: what the format cannot hold.

    Raises
    ------
    ParameterError
        If the format is unknown, or the suffix does not tell it.
    DataError
        If the format cannot hold the annotations.
    """
    path = Path(os.path.realpath(path))
    form = WRITERS[writer(path, format)]
    home, report = importlib.import_module(f"cellcount.io.{form.module}"), Report(path.name)
    folder = form.single and (path.is_dir() or not path.suffix)
    target = path if folder else path.parent
    whole = [_complete(one, target / path.name, form, report) for one in _together(annotations)]
    if not whole:
        raise DataError(f"{path}: there is no annotation to write.")
    raise_errors(report.problems)
    if form.single and not folder and len(whole) > 1:
        raise DataError(f"{path}: this format has one image a file, but there are {len(whole)}. Name a folder.")
    if path.is_dir() and not folder:
        raise DataError(f"{path} is a folder, and this format has all images in one file. Name a file.")
    try:
        return _written(home, target, path.name, whole, form.suffixes[0] if folder else "", report)
    except (OSError, ValueError) as error:  # ValueError: a name or label that a file name or text cannot have
        raise DataError(f"{path} cannot be written ({error}).") from error


def _written(
    home: ModuleType, target: Path, name: str, whole: list[Annotation], suffix: str, report: Report
) -> list[Problem]:
    """Write one file into the folder `target`, or one with this suffix for each image; all of them or none."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".cellcount-") as building:
        files = {Path(building) / name: whole}
        if suffix:
            naming = getattr(home, "file_name", "{}{}".format)
            files = {Path(building) / naming(Path(one.image).stem, suffix): [one] for one in whole}
            if len(files) < len(whole):
                raise DataError(f"{target}: two images would have the same file. Rename one of them.")
        for file, content in files.items():
            home.write(file, content, report)
        raise_errors(report.problems)
        target.mkdir(exist_ok=True)
        for file in Path(building).iterdir():
            os.replace(file, target / file.name)
    return report.problems


def writer(path: Path, format: str | None = None) -> str:
    """The name in `WRITERS` of a format, or of that of the suffix of `path`. Raises ParameterError, see `write`."""
    if format is not None:
        known = {_bare(name): name for name in WRITERS}
        if _bare(format) not in known:
            raise ParameterError(f"The format {format!r} is unknown; use one of {', '.join(WRITERS)}.")
        return known[_bare(format)]
    suffix = path.suffix.lower()
    fitting = [name for name, form in WRITERS.items() if suffix in form.suffixes]
    if not fitting:
        raise ParameterError(f"{path}: no format has this suffix; name one of {', '.join(WRITERS)} with `format`.")
    if len(fitting) > 1 and fitting[0] != "CSV":
        raise ParameterError(f"{path}: {', '.join(fitting)} have this suffix; name one of them with `format`.")
    return fitting[0]


def _bare(name: str) -> str:
    return "".join(filter(str.isalnum, name.lower()))


def _together(annotations: Iterable[Annotation]) -> list[Annotation]:
    """One annotation for each image, with the marks of all of them."""
    found: dict[str, Annotation] = {}
    for one in annotations:
        before = found.get(one.image)
        if before is not None:
            points, boxes, size = before.points + one.points, before.boxes + one.boxes, before.size or one.size
            one = replace(one, points=points, boxes=boxes, size=size)
        found[one.image] = one
    return list(found.values())


def _complete(one: Annotation, path: Path, form: Format, report: Report) -> Annotation:
    """The annotation with the size of its image, after reporting what the format cannot hold."""
    size = one.size
    image = None if size else beside.image(path, one.image)
    if image is not None:
        size = beside.size(image)
    if size is None and form.sized:
        report.add("write-size", image=one.image)
    scores, empty = sum(mark.score is not None for mark in one.points), not (one.points or one.boxes)
    for kind, count in {"write-scores": scores, "write-boxes": len(one.boxes), "write-empty": empty}.items():
        if count and kind.removeprefix("write-") not in form.keeps:
            report.add(kind, image=one.image, count=count)
    return replace(one, size=size)
