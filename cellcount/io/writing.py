"""Writing annotations in any of the formats `cellcount.io.points.WRITERS`."""

import importlib
import os
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import ModuleType

from cellcount.errors import DataError, ParameterError, one_of, require
from cellcount.files import TEMPORARY
from cellcount.io import beside
from cellcount.io.points import WRITERS, Annotation, Format
from cellcount.io.problems import Problem, Report, raise_errors, toml


def write(
    path: Path | str, annotations: Iterable[Annotation], format: str | None = None, keep: bool = False
) -> list[Problem]:
    """Write annotations to one file or, in formats with one image a file, to a folder; all files or none.

    Parameters
    ----------
    path : path of a file or, in formats with one image a file, of a folder for several: NAME.zip for the image NAME.png
    annotations : of one image or several; those of the same image are put together
    format : a name in `WRITERS`, in any spelling; by default, that of the suffix of `path`
    keep : bool
        Leave the files that a folder has already, and write the others.

    Returns
    -------
    list of Problem
        Warnings: what the format cannot hold.

    Raises
    ------
    ParameterError
        If the format is unknown, or the suffix is not that of one format. `.csv` is the project's own table.
    DataError
        If the format cannot hold the annotations, or the files cannot be written.
    """
    path = Path(os.path.realpath(path))
    form, report = format_of(path, format), Report(path.name)
    folder = bool(form.single) and (path.is_dir() or not path.suffix)
    target = path if folder else path.parent
    together = _together(annotations)
    require(together, f"{path}: there is no annotation to write.", DataError)
    files = {path.name: together}
    if folder:
        files = {form.single.format(Path(one.image).stem) + form.suffixes[0]: [one] for one in together}
        require(len(files) == len(together), f"{path}: two images would have the same file. Rename one.", DataError)
        there = [name for name in files if keep and (target / name).exists()]
        files = {name: ones for name, ones in files.items() if name not in there}
        if there:
            report.add("convert-kept", count=len(there), names=", ".join(there[:5]) + ", ..." * (len(there) > 5))
    files = {name: [_complete(one, target / path.name, form, report) for one in ones] for name, ones in files.items()}
    raise_errors(report.problems)
    several = f"{path}: this format has one image a file, but there are {len(together)}. Name a folder."
    require(folder or not form.single or len(together) == 1, several, DataError)
    single = f"{path} is a folder, and this format has all images in one file. Name a file."
    require(folder or not path.is_dir(), single, DataError)
    try:
        _write(files, target, importlib.import_module(f"cellcount.io.{form.module}"), report)
    except (OSError, ValueError) as error:  # ValueError: a name or label that a file name or text cannot have
        raise DataError(f"{path} cannot be written ({error}).") from error
    return report.problems


def _write(files: Mapping[str, list[Annotation]], target: Path, home: ModuleType, report: Report) -> None:
    """Write the files of these names into the folder `target`, all of them or none."""
    new = not target.exists()
    target.mkdir(parents=True, exist_ok=True)
    try:  # in the folder itself: the one above may be locked, or on another disk
        with tempfile.TemporaryDirectory(dir=target, prefix=TEMPORARY) as building:
            for name, annotations in files.items():
                home.write(Path(building, name), annotations, report)
            raise_errors(report.problems)
            written = list(Path(building).iterdir())
            added = [file.name for file in written if file.name not in files]  # boxes.csv
            others = [str(target / name) for name in added if (target / name).exists()]
            renewed = any((target / name).exists() for name in files)
            require(renewed or not others, f"{', '.join(others)} exists. Name a file in another folder.", DataError)
            for file in written:
                os.replace(file, target / file.name)
    except BaseException:
        with suppress(OSError):
            if new:
                target.rmdir()
        raise


def format_of(path: Path, name: str | None) -> Format:
    """The format of this name, or of the suffix of `path`. Raises ParameterError, see `write`."""
    if name is not None:
        plain = {_plain(known): form for known, form in WRITERS.items()}
        return plain[one_of(_plain(name), plain, "format")]
    fitting = [name for name, form in WRITERS.items() if path.suffix.lower() in form.suffixes]
    if len(fitting) == 1 or fitting[:1] == ["CSV"]:
        return WRITERS[fitting[0]]
    which = f"{', '.join(fitting)} have" if fitting else "no format has"
    raise ParameterError(f"{path}: {which} this suffix; name one of {', '.join(fitting or WRITERS)} with `format`.")


def _plain(name: str) -> str:
    return "".join(filter(str.isalnum, name.lower()))


def _together(annotations: Iterable[Annotation]) -> list[Annotation]:
    """One annotation for each image, with the marks of all of them."""
    found: dict[str, Annotation] = {}
    for one in annotations:
        before = found.get(one.image, Annotation("", "", one.image))
        points, boxes = before.points + one.points, before.boxes + one.boxes
        found[one.image] = replace(one, points=points, boxes=boxes, size=before.size or one.size)
    return list(found.values())


def _complete(one: Annotation, path: Path, form: Format, report: Report) -> Annotation:
    """The annotation with the size of its image, after reporting what the format cannot hold."""
    image = None if one.size else beside.image(path, one.image)
    size = beside.size(image) if image else one.size
    if size is None and form.sized:
        report.add("write-size", image=one.image)
    scores, empty = sum(mark.score is not None for mark in one.points), not (one.points or one.boxes)
    regions = [list(box) for box in one.regions]
    lost = {"write-scores": scores, "write-boxes": len(one.boxes), "write-empty": empty, "write-regions": len(regions)}
    for kind, count in lost.items():
        if count and kind.removeprefix("write-") not in form.keeps:
            report.add(kind, image=one.image, count=count, stem=toml(Path(one.image).stem), regions=regions)
    return replace(one, size=size)
