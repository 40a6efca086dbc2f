"""The files of a folder, found in the same way for every command."""

import re
from collections.abc import Iterable
from pathlib import Path

from cellcount.io import dots
from cellcount.io.images import SUFFIXES

OVERLAY, POINTS = "-overlay.png", "-points.csv"  # endings of the files that `count` writes for an image


def files_of(folder: Path | str) -> list[Path]:
    """The files of a folder and of its subfolders images/ and annotations/, in natural order, without hidden ones."""
    places = [Path(folder), Path(folder, "images"), Path(folder, "annotations")]
    inside = [path for place in places if place.is_dir() for path in place.iterdir()]
    return sorted((p for p in inside if p.is_file() and not p.name.startswith(".")), key=natural)


def natural(path: Path | str) -> list[int | str]:
    """Sort key of a path by its name, with the numbers in it as numbers: 2 comes before 10."""
    return [int(part) if index % 2 else part for index, part in enumerate(re.split(r"(\d+)", Path(path).name))]


def images_of(files: Iterable[Path]) -> list[Path]:
    """The images among files, without dot images of others and overlays that `count` wrote beside its points."""
    images = [path for path in files if path.suffix.lower() in SUFFIXES]
    stems = {path.stem for path in images}
    return [path for path in images if not (dots.base(path) and dots.image_of(path, stems)) and not is_overlay(path)]


def is_overlay(path: Path) -> bool:
    """Whether an image is an overlay that `count` wrote: the points are beside it."""
    name = path.name.removesuffix(OVERLAY)
    return name != path.name and path.with_name(name + POINTS).is_file()
