"""What can be wrong with a user's data: found all at once, each with its place and its remedy."""

from collections.abc import Iterable
from dataclasses import dataclass

from cellcount.errors import DataError

SHOWN = 20  # problems spelled out in one error message; the rest is counted


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a file.

    Attributes
    ----------
    kind : str
        Short stable name, for example "image-truncated".
    file : str
        The file's name in the data folder.
    where : str
        The place inside: "line 7", "task 18, mark lciQ"; "" if it is the whole file.
    what : str
    todo : str
        What to do about it.
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


def errors(problems: Iterable[Problem]) -> list[Problem]:
    """The problems that stop loading."""
    return [problem for problem in problems if problem.severity == "error"]


def raise_errors(problems: Iterable[Problem], heading: str = "") -> None:
    """Raise one DataError that spells out the errors among `problems`; do nothing if there is none."""
    found = errors(problems)
    if not found:
        return
    if len(found) == 1 and not heading:
        raise DataError(str(found[0]))
    lines = [str(problem) for problem in found[:SHOWN]]
    if len(found) > SHOWN:
        lines.append(f"... and {len(found) - SHOWN} more")
    raise DataError("\n  ".join([heading or f"{len(found)} problems:", *lines]))
