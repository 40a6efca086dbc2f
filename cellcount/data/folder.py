"""A folder of the user's as a data set: images, in it or in images/, and their annotation.

One annotation file, or several that do not contradict each other: a Label Studio JSON export, CSV, COCO key points,
or dot images. An optional `dataset.toml` says what files cannot (see `cellcount.data.dataset_toml`).
"""

import logging
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np

from cellcount.data import dataset_toml
from cellcount.data.survey import Survey, natural, survey
from cellcount.data.valid import valid_region
from cellcount.errors import DataError
from cellcount.files import sha256
from cellcount.io import images, tables
from cellcount.io.points import Mark, positions
from cellcount.io.problems import Problem, errors, raise_errors
from cellcount.types import Sample

log = logging.getLogger(__name__)


def check(folder: Path | str) -> list[Problem]:
    """Every problem of a folder, in one pass and before anything is computed: list of `Problem`."""
    return survey(folder).problems


def load_folder(folder: Path | str, channel: str | None = None) -> list[Sample]:
    """The samples of a folder, in the natural order of their names.

    Parameters
    ----------
    folder : path
    channel : str or None
        Overrides the channel of `dataset.toml`; see `cellcount.io.images.read_image`.

    Returns
    -------
    list of Sample
        `points` is None where an image is not annotated. `meta` holds the file's path, its SHA-256, and
        "background", (B, 2) float32 (y, x) px. `valid` is the whole image unless `dataset.toml` says
        annotation = "sparse".

    Raises
    ------
    DataError
        If `check` finds errors, with all of them.
    """
    found = _clean(folder)
    return [_sample(stem, found, channel) for stem in sorted(found.images, key=natural)]


def import_folder(source: Path | str, target: Path | str, link: bool = False) -> Path:
    """Write a folder in the project's own plain format: images/, points.csv, boxes.csv if any, dataset.toml.

    Parameters
    ----------
    source : path of a folder that `check` finds no errors in
    target : path of a folder that does not exist yet, or is empty
    link : bool
        Link the images (symbolic links) and do not copy them.

    Returns
    -------
    Path of `target`; it loads as `source` does.

    Raises
    ------
    DataError
        If `source` has errors, or `target` holds something.
    """
    source, target = Path(source), Path(target)
    found = _clean(source)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise DataError(f"{target}: there is something here already. Name a new folder, or empty this one.")
    target.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}-"))
    try:
        (building / "images").mkdir()
        for path in found.images.values():
            copy = building / "images" / path.name
            if link:
                copy.symlink_to(path.resolve())
            else:
                shutil.copyfile(path, copy)
        points, boxes = _rows(found)
        tables.write(building / "points.csv", tables.POINTS, points)
        if boxes:
            tables.write(building / "boxes.csv", tables.BOXES, boxes)
        dataset_toml.write(building / dataset_toml.NAME, found.settings)
        building.chmod(0o755)  # mkdtemp gives 0700
        os.replace(building, target)  # an empty folder may be replaced
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return target


def _clean(folder: Path | str) -> Survey:
    found = survey(folder)
    count = len(errors(found.problems))
    raise_errors(found.problems, f"{folder}: {count} problem{'s' if count > 1 else ''}, nothing was loaded:")
    for problem in found.problems:
        log.warning("%s", problem)
    return found


def _marks(stem: str, found: Survey) -> tuple[list[Mark], list[Mark], bool]:
    """(all points, all boxes) of one image, as lists of `Mark`; points are None if nobody looked for cells."""
    annotations = found.annotations.get(stem, [])
    labels = found.settings.labels
    looked = any("cells" in annotation.holds(labels) for annotation in annotations)
    points = [mark for annotation in annotations for mark in annotation.points]
    return points, [mark for annotation in annotations for mark in annotation.boxes], looked


def _sample(stem: str, found: Survey, channel: str | None) -> Sample:
    path, wanted, labels = found.images[stem], found.settings, found.settings.labels
    image = images.read_image(path, channel or wanted.channel)
    marks, boxed, looked = _marks(stem, found)
    live, dead = positions(marks, "live", labels), positions(marks, "dead", labels)
    boxes = positions(boxed, "live", labels, 4)
    sparse = wanted.annotation == dataset_toml.SPARSE and looked
    return Sample(
        name=stem,
        image=image,
        points=live if looked else None,
        valid=valid_region(image, np.concatenate([live, dead])) if sparse else np.ones(image.shape, bool),
        pixel_size_um=wanted.pixel_size_um,
        boxes=boxes if len(boxes) else None,
        dead=dead,
        split=wanted.split.get(stem, ""),
        meta={
            "source": str(path),
            "sha256": sha256(path),
            "annotation": wanted.annotation,
            "background": positions(marks, "background", labels),
        },
    )


def _rows(found: Survey) -> tuple[list[tables.Row], list[tables.Row]]:
    """Rows of points.csv and boxes.csv, under this project's own labels."""
    points: list[tables.Row] = []
    boxes: list[tables.Row] = []
    for stem in sorted(found.images, key=natural):
        name, labels = found.images[stem].name, found.settings.labels
        marks, boxed, looked = _marks(stem, found)
        before = len(points)
        for label in ("live", "dead", "background"):
            points += [(name, point.tolist(), label) for point in positions(marks, label, labels)]
        for label in ("live", "dead"):
            boxes += [(name, box.tolist(), label) for box in positions(boxed, label, labels, 4)]
        if looked and not any(row[2] in ("live", "dead") for row in points[before:]):
            points.append((name, [], ""))
    return points, boxes
