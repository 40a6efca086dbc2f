"""What every annotation format is read into, and the labels that it may use."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cellcount.io.problems import Problem

# What a label means, compared in lower case. A mark without a label is a live cell.
LABELS = {
    "live": ("", "live", "live cell", "cell"),
    "dead": ("dead", "dead cell", "dead cell/debris", "debris"),
    "background": ("background",),
    "ignore": (),
}


@dataclass(frozen=True)
class Mark:
    """One annotated point at (y, x) px, or one box (y0, x0, y1, x1) px."""

    position: tuple[float, ...]
    label: str
    where: str


@dataclass
class Annotation:
    """What one annotator said of one image in one file.

    Attributes
    ----------
    file, where : str
        For messages: the file's name, and the place in it.
    image : str
        The image as the file names it.
    size : (height, width) px that the file claims for the image, or None
    annotator : str
        Who made it, where the format knows; "" else.
    """

    file: str
    where: str
    image: str
    size: tuple[int, int] | None = None
    annotator: str = ""
    points: list[Mark] = field(default_factory=list)
    boxes: list[Mark] = field(default_factory=list)

    def holds(self, labels: Mapping[str, Sequence[str]] | None = None) -> set[str]:
        """What it says something about: a set of "cells", "background", "boxes"; no mark at all means no cell."""
        roles = {role(mark.label, labels) for mark in self.points}
        held = {"cells"} if roles & {"live", "dead", None} or not (self.points or self.boxes) else set()
        return held | ({"background"} & roles) | ({"boxes"} if self.boxes else set())


def role(label: str, meanings: Mapping[str, Sequence[str]] | None = None) -> str | None:
    """ "live", "dead", "background" or "ignore"; None if the label is unknown.

    meanings : dict of these four to lists of further labels (from a `dataset.toml`), or None
    """
    label = label.strip().lower()
    for name, further in (meanings or {}).items():  # a folder's own meaning comes first
        if label in [text.strip().lower() for text in further]:
            return name
    return next((name for name, known in LABELS.items() if label in known), None)


def positions(
    marks: Iterable[Mark], wanted: str, labels: Mapping[str, Sequence[str]] | None = None, width: int = 2
) -> np.ndarray:
    """(N, width) float32 px: the marks whose role is `wanted`; a second mark at the same place is dropped."""
    found = list(dict.fromkeys(mark.position for mark in marks if role(mark.label, labels) == wanted))
    return np.asarray(found, np.float32).reshape(-1, width)


class Reader:
    """Collects the problems of one annotation file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.problems: list[Problem] = []

    def problem(self, kind: str, where: str, what: str, todo: str, severity: str = "error") -> None:
        self.problems.append(Problem(kind, self.path.name, where, what, todo, severity))

    def text(self) -> str | None:
        """The file's text, or None after reporting that it is not UTF-8."""
        raw = self.path.read_bytes()
        if not raw.strip():
            self.problem("annotation-empty", "", "The file is empty.", "Export it again, or take it out of the folder.")
            return None
        if raw.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in raw[:200]:
            self.problem("encoding-utf16", "", "The text is stored as UTF-16.", "Save it as UTF-8.")
            return None
        try:
            return raw.decode("utf-8-sig")  # a byte order mark of UTF-8 (Excel writes it) is skipped
        except UnicodeDecodeError as error:
            line = raw[: error.start].count(b"\n") + 1
            byte = f"0x{raw[error.start]:02x}"
            self.problem("encoding", f"line {line}", f"The byte {byte} is not UTF-8 text.", "Save it as UTF-8.")
            return None

    def json(self) -> Any:
        """The parsed JSON, or None after reporting what is wrong with it."""
        text = self.text()
        if text is None:
            return None
        try:
            return json.loads(text)
        except json.JSONDecodeError as error:
            where = f"line {error.lineno}, column {error.colno}"
            self.problem("json-broken", where, f"This is not valid JSON: {error.msg}.", "Export the file again.")
        except RecursionError:
            self.problem("json-broken", "", "The JSON is nested too deeply.", "Export the file again.")
        return None

    def numbers(self, values: Sequence[object], kind: str, where: str, names: Sequence[str]) -> list[float] | None:
        """The values as finite floats, or None after reporting the first that is not one."""
        found = []
        for name, value in zip(names, values, strict=True):
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not np.isfinite(value):
                shown = json.dumps(value)[:40]
                self.problem(kind, where, f"{name} is {shown}, not a finite number.", "Correct or delete this mark.")
                return None
            found.append(float(value))
        return found
