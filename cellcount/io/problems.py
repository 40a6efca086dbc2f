"""What can be wrong with a user's files: all problems are found at once, each with its place and its remedy.

The sentences of every kind of problem are in `problems.toml`.
"""

import functools
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from cellcount.errors import DataError

SHOWN = 20  # problems written out in one message, or of one kind in one file; the others are counted


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a file.

    Attributes
    ----------
    kind : str
        Its key in `problems.toml`, for example "image-truncated".
    file : str
        The file's name in the data folder.
    where : str
        The place in the file: "line 7", "task 18, mark lciQ"; "" for the whole file.
    what, todo : str
        What is wrong, and what to do about it.
    severity : "error" or "warning"
        An error stops loading; a warning does not.
    """

    kind: str
    file: str
    where: str
    what: str
    todo: str
    severity: str = "error"

    def __str__(self) -> str:
        place = f"{self.file}, {self.where}" if self.where else self.file
        return f"{place}: {self.what} {self.todo}"


@functools.cache
def _kinds() -> dict[str, dict[str, str]]:
    import tomllib  # only when there is a problem

    return tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))


def problem(kind: str, file: str, where: str = "", **values: Any) -> Problem:
    """A Problem of a kind in `problems.toml`; `values` complete its sentences."""
    return Problem(kind, file, where, **{key: text.format(**values) for key, text in _kinds()[kind].items()})


class Stop(Exception):
    """The rest of a file cannot be read; its report says why."""


class Report:
    """Collects the problems of one file, which messages call `file`."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.problems: list[Problem] = []

    def add(self, kind: str, where: str = "", **values: Any) -> None:
        """Add a problem; see `problem`."""
        self.problems.append(problem(kind, self.file, where, **values))

    def stop(self, kind: str, where: str = "", **values: Any) -> NoReturn:
        """Add a problem after which the rest of the file cannot be read. Raises Stop."""
        self.add(kind, where, **values)
        raise Stop(kind)


def listed(names: Iterable[str], most: int = 5) -> str:
    """How many names, and the first of them: "7 (a, b, c, d, e, ...)"."""
    names = list(names)
    return f"{len(names)} ({', '.join(names[:most])}{', ...' * (len(names) > most)})"


def toml(value: object) -> str:
    """A text, or a list of texts, as in a TOML file: with quotes, and each control character escaped."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def number(count: int, noun: str) -> str:
    """A number with its noun: "1 crop", "2 crops"."""
    return f"{count} {noun}{'s' * (count != 1)}"


def shown(problems: Iterable[Problem]) -> Iterator[str]:
    """A line for each problem; of many of one kind in one file, the first and how many there are."""
    alike: dict[tuple[str, str], list[Problem]] = {}
    for one in problems:
        alike.setdefault((one.file, one.kind), []).append(one)
    for (file, _), same in alike.items():
        yield from (f"{one.severity}: {one}" for one in same[:SHOWN])
        if len(same) > SHOWN:
            yield f"{same[0].severity}: {file}: ... and {len(same) - SHOWN} more of this kind"


def errors(problems: Iterable[Problem]) -> list[Problem]:
    """The problems that stop loading."""
    return [one for one in problems if one.severity == "error"]


def raise_errors(problems: Iterable[Problem], heading: str = "") -> None:
    """Raise one DataError that lists the errors among `problems`; do nothing if there is none."""
    found = errors(problems)
    if not found:
        return
    if len(found) == 1 and not heading:
        raise DataError(str(found[0]))
    lines = [str(one) for one in found[:SHOWN]]
    if len(found) > SHOWN:
        lines.append(f"... and {len(found) - SHOWN} more")
    raise DataError("\n  ".join([heading or f"{len(found)} problems:", *lines]))
