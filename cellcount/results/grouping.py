"""Which image belongs to which group: by a table, or by folders."""

import csv
import io
import math
import os
import unicodedata
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from cellcount.errors import DataError, require
from cellcount.files import from_cell
from cellcount.io.problems import listed

FOLDER = "folder"  # the grouping by folders
COLUMNS = ("image", "group", "pixel_size_um", "area_cm2")  # of a table of groups; the last two may be left out


@dataclass
class Grouping:
    """Which image belongs to which group.

    Attributes
    ----------
    groups : dict of real path to name of the group
    pixel_sizes_um : dict of real path to float
        What the table says.
    areas_cm2 : dict of group to float
    problems : list of str
        What in the table, or of the images, could not be used, and why.
    """

    groups: dict[str, str] = field(default_factory=dict)
    pixel_sizes_um: dict[str, float] = field(default_factory=dict)
    areas_cm2: dict[str, float] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def grouping(group: str | Path, paths: Sequence[str | Path], *, area_cm2: float | None = None) -> Grouping:
    """Assign images to groups.

    Parameters
    ----------
    group : "folder", or path of a CSV
        By the folder of each image (that above a folder images/), or by a table with the columns image (name or path,
        with suffix or without) and group, and optionally pixel_size_um and area_cm2 (of the flask).
    paths : list of paths of images
    area_cm2 : float or None
        Of the flasks for which the table gives none.

    Returns
    -------
    Grouping

    Raises
    ------
    DataError
        If the table cannot be read, or lacks a column.
    ParameterError
        If the area is not positive.
    """
    require(area_cm2 is None or 0 < area_cm2 < math.inf, f"--area {area_cm2}: give the flask's area in cm2, as in 75.")
    real = {os.path.realpath(path): Path(path) for path in paths}
    found = _by_folder(real) if str(group) == FOLDER else _by_table(Path(group), real)
    if area_cm2 is not None:
        found.areas_cm2 = dict.fromkeys(found.groups.values(), area_cm2) | found.areas_cm2
    return found


def _by_folder(paths: Mapping[str, Path]) -> Grouping:
    """Names of folders, with as much of their path as tells them apart."""
    homes = {real: Path(os.path.abspath(path)).parent for real, path in paths.items()}
    homes = {real: home.parent if home.name == "images" else home for real, home in homes.items()}
    names = {home: home.name for home in homes.values()}
    if len(set(names.values())) < len(names):
        common = os.path.commonpath(names)
        names = {home: Path(os.path.relpath(home, common)).as_posix() if str(home) != common else "." for home in names}
    return Grouping({real: names[home] for real, home in homes.items()})


def _by_table(table: Path, paths: Mapping[str, Path]) -> Grouping:
    found, seen = Grouping(), dict[str, dict[str, list[int]]]()
    for line, row in _rows(table, found.problems):
        image, group = row.get("image", ""), row.get("group", "")
        place = f"{table}, line {line}"
        if not image or not group:
            found.problems.append(f"{place}: without {'group' if image else 'image'}; complete the line")
            continue
        matching = _matching(image, table, paths)
        if len(matching) != 1:
            several = (
                f"it names {len(matching)} images, {listed([str(paths[real]) for real in matching])}; write the path"
            )
            none = "no such image was given to count; correct the name, or give the image to `cellcount count`"
            found.problems.append(f"{place}: {image}: {several if matching else none}")
            continue
        (real,) = matching
        seen.setdefault(real, {}).setdefault(group, []).append(line)
        for column, values, key in (
            ("pixel_size_um", found.pixel_sizes_um, real), ("area_cm2", found.areas_cm2, group)
        ):  # fmt: skip
            if text := row.get(column, ""):
                value = _positive(text)
                if value is None:
                    found.problems.append(
                        f"{place}: {column} {text!r} is not used; write a positive number, as in 0.65"
                    )
                elif values.setdefault(key, value) != value:
                    found.problems.append(
                        f"{place}: {column} {text} of {key if values is found.areas_cm2 else image} is not used, since "
                        f"it was {values[key]:g} before; correct one of them"
                    )
    for real, groups in seen.items():
        if len(groups) == 1:
            found.groups[real] = next(iter(groups))
            continue
        where = "; ".join(f"{name} (line {', '.join(map(str, lines))})" for name, lines in groups.items())
        found.problems.append(
            f"{table}: {paths[real]} is in {len(groups)} groups: {where}. It counts in none; keep one"
        )
    bare = [str(path) for real, path in paths.items() if real not in seen]
    if bare:
        are = "image is" if len(bare) == 1 else "images are"
        found.problems.append(f"{table}: {len(bare)} {are} in no group: {listed(bare)}; add a line for each")
    return found


def _rows(table: Path, problems: list[str]) -> list[tuple[int, dict[str, str]]]:
    """(line, row) of each line that is not empty; separated by commas, semicolons or tabs."""
    try:
        text = table.read_text("utf-8-sig")
    except FileNotFoundError as error:
        raise DataError(
            f"{table}: there is no such table of groups; write one with the columns image,group, or take --group "
            f"{FOLDER}."
        ) from error
    except (OSError, ValueError) as error:
        raise DataError(f"{table}: not a table of groups in UTF-8 ({error}).") from error
    first = text.split("\n", 1)[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=first.count))
    found: list[tuple[int, dict[str, str]]] = []
    try:
        header = [name.strip().lower() for name in next(reader, [])]
        lacking = [name for name in COLUMNS[:2] if name not in header]
        has = ", ".join(header) or "nothing"
        require(not lacking, f"{table}: no column {', '.join(lacking)} in line 1, which has {has}.", DataError)
        for row in reader:
            if any(cell.strip() for cell in row):
                found.append((reader.line_num, {name: from_cell(cell.strip()) for name, cell in zip(header, row)}))
    except csv.Error as error:
        raise DataError(f"{table}, line {reader.line_num}: not a table of groups ({error}).") from error
    others = [name for name in header if name and name not in COLUMNS]
    if others:
        problems.append(f"{table}: columns that are not read: {', '.join(others)}; known are {', '.join(COLUMNS)}")
    return found


def _matching(image: str, table: Path, paths: Mapping[str, Path]) -> list[str]:
    """The real paths that a text in a table means: its path, or else all that end like it, with or without suffix."""
    for place in (image, table.parent / image):
        if (real := os.path.realpath(place)) in paths:
            return [real]
    wanted = _parts(image.replace("\\", "/"))
    for stem in (False, True):
        ends = {}
        for real, path in paths.items():
            for form in (path, Path(real)):
                parts = _parts(os.path.abspath(form.with_suffix("") if stem else form))
                if wanted and parts[-len(wanted) :] == wanted:
                    ends[real] = True
        if ends:
            return list(ends)
    return []


def _parts(path: str) -> list[str]:
    """The parts of a path, as disks compare names that do not tell cases, or an accented letter from its parts."""
    folded = unicodedata.normalize("NFC", path).casefold()
    return [part for part in os.path.normpath(folded).split("/") if part not in ("", ".")]


def _positive(text: str) -> float | None:
    with suppress(ValueError):
        if 0 < (value := float(text)) < math.inf:
            return value
    return None
