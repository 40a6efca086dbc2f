"""Tables on the terminal: a header, aligned columns, at most 100 characters wide."""

import itertools
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

WIDTH = 100
GAP = "  "


def print_table(header: Sequence[str], rows: Iterable[Sequence[object]], *, wrap: bool = False) -> None:
    """Print a table; the widest column gets the room that the others leave.

    Parameters
    ----------
    header : names of the columns; empty for a table without a header line
    rows : one value per column each
    wrap : bool
        Wrap long text under its column, instead of cutting it at a word.
    """
    lines = [[str(cell) for cell in row] for row in ([header] if header else []) + list(rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    if widths:
        widths[widths.index(max(widths))] -= max(0, sum(widths) + len(GAP) * (len(widths) - 1) - WIDTH)
    rules: Any = {
        "max_lines": None if wrap else 1,
        "placeholder": " …",
        "break_on_hyphens": False,
        "break_long_words": False,
    }
    for line in lines:
        cells = [textwrap.wrap(cell, width, **rules) or [""] for cell, width in zip(line, widths, strict=True)]
        for parts in itertools.zip_longest(*cells, fillvalue=""):
            print(GAP.join(part.ljust(width) for part, width in zip(parts, widths, strict=True)).rstrip())


def print_entries(entries: Mapping[str, Mapping[str, object]], columns: Sequence[str], *, verbose: bool) -> None:
    """Print entries by name: some of their values as columns of a table or, if verbose, all that are not empty."""
    if not verbose:
        rows = [[name, *(entry[column] for column in columns)] for name, entry in entries.items()]
        return print_table(["name", *columns], rows, wrap=True)
    for name, entry in entries.items():
        print(name)
        print_table((), [(f"  {key}", value) for key, value in entry.items() if value], wrap=True)
