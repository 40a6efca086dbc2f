"""Point annotations: what every exchange format is read into, and the table of the formats."""

import contextlib
import csv
import importlib
import io
import json
import math
import re
import zipfile
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

import numpy as np

from cellcount.files import from_cell
from cellcount.io import beside
from cellcount.io.decoders import check_regular
from cellcount.io.images import SUFFIXES
from cellcount.io.problems import Problem, Report, Stop, errors, listed

# Meaning of a label -> the labels that have it, in lower case. A mark without a label is a live cell.
LABELS = {
    "live": ("", "live", "live cell", "cell"),
    "dead": ("dead", "dead cell", "dead cell/debris", "debris"),
    "background": ("background",),
    "ignore": (),
}

JSON = (".json", ".geojson")
CORNER = -0.5  # px, of the corner of the first pixel; our origin is its centre
LABEL_COLUMNS = ("label", "class", "type", "classification", "category", "cell_type")  # of tables, in this order
ORIGINS = ("prediction", "prediction-changed", "manual")  # a person kept, moved or added the mark
MAX_BYTES = 2**29  # of a file of text; parsed, it takes ten times as much memory


class Format(NamedTuple):
    """An exchange format.

    Attributes
    ----------
    module : of `cellcount.io`, imported when it is needed
    suffixes : of file names; the first is written
    single : in formats with one image a file, the stem of the file of the image {}; else the file names its images
    sized : whether the size of an image must be known to write its annotation
    keeps : which of "scores", "boxes" and "empty" (annotated, without a cell) are written
    """

    module: str
    suffixes: tuple[str, ...]
    single: str = ""
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
# Formats that `cellcount.io.writing` writes. The module has `write(path, annotations, report)`, with one `Annotation`
# for each image.
WRITERS = {
    "CSV": Format("tables", (".csv",), keeps=("scores", "boxes", "empty")),
    "Label Studio": Format("labelstudio", (".json",), sized=True, keeps=("scores", "boxes", "empty")),
    "COCO": Format("coco", (".json",), keeps=("scores", "empty")),
    "VIA": Format("via", (".json", ".csv")),
    "labelme": Format("labelme", (".json",), "{}"),
    "QuPath": Format("qupath", (".geojson",), "{}"),
    "QuPath table": Format("qupath_tables", (".tsv",), "{}-points"),
    "napari": Format("napari", (".csv",), "{}-points", keeps=("scores",)),
    "ImageJ": Format("imagej", (".zip", ".roi"), "{}"),
    "CVAT": Format("cvat", (".xml",), sized=True),
    "Cell Counter": Format("cell_counter", (".xml",), "CellCounter_{}"),
    "dot image": Format("dots", (".png",), "{}_dots", sized=True),
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
    regions : list of (y0, x0, y1, x1), px
        The rows y0 to y1 and columns x0 to x1, ends excluded, that were annotated; empty for the whole image.
    """

    file: str
    where: str
    image: str
    size: tuple[int, int] | None = None
    annotator: str = ""
    points: list[Mark] = field(default_factory=list)
    boxes: list[Mark] = field(default_factory=list)
    regions: list[tuple[int, int, int, int]] = field(default_factory=list)

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


def chosen(rivals: list[Annotation], annotators: str | int) -> list[Annotation] | None:
    """The annotations that count among several of one image or crop; None if `annotators` does not say.

    annotators : "union", "first", "last", or the name or number of a person; see `cellcount.data.dataset_toml`.
    """
    if annotators in ("union", "first", "last"):
        return {"union": rivals, "first": rivals[:1], "last": rivals[-1:]}[str(annotators)]
    return [a for a in rivals if a.annotator and a.annotator == str(annotators)][:1] or None


class Reader(Report):
    """One annotation file: its content, and the problems in it. Broken content stops reading.

    Parameters
    ----------
    path : path
    predictions : bool
        Read what a model predicted, in formats that tell it from what people annotated (Label Studio).
    pixel_size_um : float or None
        Converts tables in micrometres (QuPath).
    annotators : str or int
        Which annotation counts of a crop that has several (Label Studio); see `chosen`.
    empty : names of images without a cell, as other files say: that they have no mark here is not reported
    """

    def __init__(
        self,
        path: Path | str,
        *,
        predictions: bool = False,
        pixel_size_um: float | None = None,
        annotators: str | int = "one",
        empty: Iterable[str] = (),
    ) -> None:
        self.path = Path(path)
        self.suffix = self.path.suffix.lower()
        self.predictions, self.pixel_size_um, self.annotators = predictions, pixel_size_um, annotators
        self.empty = {beside.bare(name) for name in empty}
        super().__init__(self.path.name)

    @cached_property
    def owner(self) -> str:
        """The image of a file with one image that does not name it; see `cellcount.io.beside.owner`."""
        return beside.owner(self.path)

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
    def xml(self) -> ElementTree.Element:
        """The root of the file's XML. A document type, which may define entities, is refused: they can fill memory."""
        if "<!DOCTYPE" in self.text or "<!ENTITY" in self.text:
            self.stop("xml-doctype")
        try:
            return ElementTree.fromstring(self.text)
        except (ElementTree.ParseError, ValueError) as error:
            self.stop("xml-broken", error=error)

    @cached_property
    def header(self) -> list[str]:
        """The first line of a table, in lower case, without empty columns at its end."""
        header = [name.lower() for name in next(self._lines(), ("", []))[1]]
        return header[: max((n for n, name in enumerate(header, 1) if name), default=0)]

    @cached_property
    def label(self) -> str:
        """The column of a table that has the labels; "" if there is none."""
        return next((name for name in LABEL_COLUMNS if name in self.header), "")

    @cached_property
    def separator(self) -> str:
        """What separates the columns of a table: a tab if there is one in the first line, else a comma."""
        return "\t" if "\t" in re.split("[\r\n]", self.text, maxsplit=1)[0] else ","

    def rows(self, *known: str) -> Iterator[tuple[str, dict[str, str]]]:
        """(place, {column: text}) of each line of a table below `header`; columns without a name are left out.

        known : columns that are read, beside `label`; at the end, others are reported. None: nothing is reported
        """
        lines, width = self._lines(), len(self.header)
        next(lines, None)
        for where, cells in lines:
            if len(cells) < width or any(cells[width:]):
                self.add("csv-row", where, values=len(cells), columns=width)
            else:
                yield where, {name: cell for name, cell in zip(self.header, cells) if name}
        unread = [name for name in self.header if name not in ("", self.label, *known)]
        if known and unread:
            self.add("csv-unread", "line 1", columns=", ".join(unread)[:100])

    def _lines(self) -> Iterator[tuple[str, list[str]]]:
        """(place, cells) of each line of a table, except blank lines below the first."""
        lines = csv.reader(io.StringIO(self.text, newline=""), delimiter=self.separator, strict=True)
        try:
            for number, cells in enumerate(lines):
                cells = [from_cell(cell.strip()) for cell in cells]
                if number == 0 or any(cells):
                    yield f"line {lines.line_num}", cells
        except csv.Error as error:
            self.stop("csv-broken", f"line {max(1, lines.line_num)}", error=error)

    def numbers(self, values: Mapping[str, object], where: str) -> list[float] | None:
        """The values of a dict {name: value} as finite floats, or None after reporting the first that is not one.

        Text that spells a number is accepted except in JSON, which has numbers.
        """
        found = []
        for name, value in values.items():
            number = as_number(value, text=self.suffix not in JSON)
            if number is None:
                self.add("mark-number", where, name=name, value=json.dumps(value)[:40])
                return None
            found.append(number)
        return found

    def point(
        self, found: Annotation, yx: Mapping[str, object], label: str, where: str, shift: float = 0, score: Any = None,
        origin: str = "",
    ) -> None:  # fmt: skip
        """Add a point to an annotation, or report that its coordinates are no numbers.

        Parameters
        ----------
        found : Annotation
        yx : {name: value} of y and x in the file
        label, where, score, origin : see `Mark`
        shift : px; `CORNER` if coordinates are measured from the top left corner of the image
        """
        numbers = self.numbers(yx, where)
        if numbers is not None:
            found.points.append(Mark((numbers[0] + shift, numbers[1] + shift), label, where, score, origin))

    def marked(
        self, found: Iterable[Annotation], others: Iterable = (), *, slices: Sized = (), declared: Container = ()
    ) -> list[Annotation]:
        """The annotations with a mark; the images of the others are reported as not annotated.

        others : the types of the shapes that are no points, one each: with any of them the file is refused
        declared : images that the file declares complete, so that no mark means no cell
        slices : those of the image that the marks are on: with more than one the file is refused
        """
        if len(slices) > 1:
            self.add("marks-slices", count=len(slices))
        found, kinds = list(found), sorted(map(str, others))
        if kinds:
            self.add("not-points", count=len(kinds), types=", ".join(dict.fromkeys(kinds))[:60])
        bare = [one for one in found if not (one.points or one.boxes or one.image in declared)]
        if not found and not self.problems:
            self.add("no-images-annotated")
        unsaid = [one for one in bare if beside.bare(one.image) not in self.empty]
        if unsaid and not errors(self.problems):
            names = ", ".join(one.image for one in unsaid[:3]) + ", ..." * (len(unsaid) > 3)
            self.add("no-marks", count=len(unsaid), all=len(found), names=names, first=unsaid[0].image)
        dropped = set(map(id, bare))
        return [one for one in found if id(one) not in dropped]


def as_number(value: object, text: bool = False) -> float | None:
    """The float of a finite number, or, with `text`, of the text that spells one; None for anything else."""
    if text and isinstance(value, str):
        with contextlib.suppress(ValueError):
            value = float(value)
    number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if number else None  # type: ignore[arg-type]


def _packed(path: Path) -> list[str]:
    """The files of annotations in an archive, which CVAT and other tools export so."""
    suffixes = {suffix for form in READERS.values() for suffix in form.suffixes if suffix not in SUFFIXES}
    with zipfile.ZipFile(path) if zipfile.is_zipfile(path) else contextlib.nullcontext() as archive:
        names = archive.namelist() if archive else []
    return [name for name in names if name.lower().endswith((*suffixes, ".txt")) and not name.startswith("__MACOSX")]


def read(path: Path | str, **options: Any) -> tuple[list[Annotation], list[Problem]]:
    """The annotations in a file of any of the formats `READERS`.

    Parameters
    ----------
    path : path
    **options : see `Reader`

    Returns
    -------
    list of Annotation
        Positions in (y, x) px.
    list of Problem
    """
    reader = Reader(path, **options)
    found: list[Annotation] = []
    with contextlib.suppress(Stop):
        try:
            check_regular(reader.path, reader)
            if not reader.path.stat().st_size:
                reader.stop("annotation-empty")
            formats = {name: form for name, form in READERS.items() if reader.suffix in form.suffixes}
            for form in formats.values():
                home = importlib.import_module(f"cellcount.io.{form.module}")
                if home.recognises(reader):
                    found = home.parse(reader)
                    break
            else:
                kind = "content-unknown" if formats else "annotation-format"
                packed = [] if reader.suffix != ".zip" else _packed(reader.path)
                if packed:
                    reader.stop("zip-packed", names=listed(packed))
                if reader.suffix in JSON:
                    reader.stop("json-kind", content=reader.text[:40].strip(), formats=", ".join(formats))
                reader.stop(kind, suffix=reader.suffix, formats=", ".join(formats))
        except OSError as error:
            reader.add("file-unreadable", error=error.strerror or error)
        except (TypeError, AttributeError, LookupError, ValueError, OverflowError) as error:
            reader.add("json-structure", error=error)  # a field of another type than the format has
    return found, reader.problems
