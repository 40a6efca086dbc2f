"""Point annotations: what every exchange format is read into, and the table of the formats."""

import contextlib
import importlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cellcount.io.images import SUFFIXES
from cellcount.io.problems import Problem, Report, Stop

# Meaning of a label -> the labels that have it, in lower case. A mark without a label is a live cell.
LABELS = {
    "live": ("", "live", "live cell", "cell"),
    "dead": ("dead", "dead cell", "dead cell/debris", "debris"),
    "background": ("background",),
    "ignore": (),
}


class Format(NamedTuple):
    """An exchange format: a module of `cellcount.io`, imported when it is needed, and its file names' suffixes."""

    module: str
    suffixes: tuple[str, ...]


# Formats that are read. The module has `recognises(reader) -> bool`, and `parse(reader) -> list of Annotation`, which
# converts coordinates to ours, (y, x) px from the centre of the top-left pixel, and reports problems to the `Reader`.
READERS = {
    "Label Studio": Format("labelstudio", (".json",)),
    "COCO": Format("coco", (".json",)),
    "CSV": Format("tables", (".csv",)),
    "dot image": Format("dots", SUFFIXES),
}
# Formats that are written. The module has `write(path, annotations)`.
WRITERS = {"CSV": Format("tables", (".csv",))}


@dataclass(frozen=True)
class Mark:
    """One annotated point at (y, x) px, or one box (y0, x0, y1, x1) px."""

    position: tuple[float, ...]
    label: str
    where: str = ""


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
    """One annotation file: its content, and the problems in it. Broken content stops reading."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        super().__init__(self.path.name)

    @cached_property
    def text(self) -> str:
        """The file's text, without the byte order mark that Excel writes."""
        raw = self.path.read_bytes()
        if not raw.strip():
            self.stop("annotation-empty")
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
        except RecursionError:
            self.stop("json-broken", error="it is nested too deeply")

    def numbers(self, values: Sequence[object], kind: str, where: str, names: Sequence[str]) -> list[float] | None:
        """The values as finite floats, or None after reporting the first that is not one as a problem of this kind."""
        for name, value in zip(names, values, strict=True):
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not np.isfinite(value):
                self.add(kind, where, name=name, value=json.dumps(value)[:40])
                return None
        return [float(value) for value in values]  # type: ignore[arg-type]


def read(path: Path | str) -> tuple[list[Annotation], list[Problem]]:
    """The annotations in a file of any of the formats `READERS`.

    Returns
    -------
    list of Annotation
        Positions in (y, x) px.
    list of Problem
    """
    reader = Reader(path)
    found: list[Annotation] = []
    with contextlib.suppress(Stop):
        try:
            for module, suffixes in READERS.values():
                if reader.path.suffix.lower() in suffixes:
                    home = importlib.import_module(f"cellcount.io.{module}")
                    if home.recognises(reader):
                        found = home.parse(reader)
                        break
            else:
                reader.stop("json-kind", content=reader.text[:40].strip(), formats=", ".join(READERS))
        except (TypeError, AttributeError, LookupError, ValueError, OverflowError) as error:
            reader.add("json-structure", error=error)  # a field of another type than the format has
    return found, reader.problems
