"""A user's folder as a data set: images, in the folder or in its subfolder images/, and their annotations.

There is one annotation file, or several that do not contradict each other, in any of the formats in
`cellcount.io.points.READERS`, in the folder or in its subfolder annotations/. An optional `dataset.toml` has what such
files cannot express (see `cellcount.data.dataset_toml`). In a folder that `cellcount count` wrote, annotations are
corrections of the predictions (see `cellcount.data.corrections`).
"""

import logging
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from cellcount.data import corrections, dataset_toml
from cellcount.data.survey import Survey, survey
from cellcount.data.valid import valid_region
from cellcount.errors import DataError, require
from cellcount.files import TEMPORARY, sha256
from cellcount.io import images, tables
from cellcount.io.folders import natural
from cellcount.io.points import Annotation, Mark, positions
from cellcount.io.problems import Problem, errors, raise_errors
from cellcount.metrics import inside
from cellcount.types import Sample

log = logging.getLogger(__name__)


def check(folder: Path | str) -> list[Problem]:
    """Every problem of a folder, found in one pass and before anything is computed: list of `Problem`."""
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
        `points` is None where an image is not annotated, or has a prediction that nobody corrected. `meta` holds the
        file's path, its SHA-256, "background", (B, 2) float32 (y, x) px, and, of corrected predictions, "provenance":
        the numbers of points "predicted", "kept", "moved", "deleted" and "added", and "origin", (N,) str, one of
        "kept", "moved" and "added" for each of `points`. `valid` is the whole image, unless `dataset.toml` says
        annotation = "sparse" or only regions were annotated ("limited" in `meta`); marks outside of these are left out.

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
    source : path of a folder in which `check` finds no errors
    target : path of a folder that does not exist yet, or is empty
    link : bool
        Make symbolic links to the images instead of copies.

    Returns
    -------
    Path of `target`; it loads as `source` does.

    Raises
    ------
    DataError
        If `source` has errors, or `target` is not empty.
    """
    source, target = Path(source), Path(target)
    found = _clean(source)
    free = not target.exists() or target.is_dir() and not any(target.iterdir())
    require(free, f"{target} exists and is not an empty folder. Name a new folder, or empty this one.", DataError)
    target.parent.mkdir(parents=True, exist_ok=True)
    there = target.is_dir()  # then the folder above may be locked, or on another disk
    building = Path(tempfile.mkdtemp(dir=target if there else target.parent, prefix=TEMPORARY))
    try:
        (building / "images").mkdir()
        for path in found.images.values():
            copy = building / "images" / path.name
            if link:
                copy.symlink_to(path.resolve())
            else:
                shutil.copyfile(path, copy)
        tables.write(building / "points.csv", _plain(found))
        limited = {stem: boxes for stem in found.images if (boxes := corrections.regions(stem, found))}
        dataset_toml.write(building / dataset_toml.NAME, replace(found.settings, regions=limited))
        building.chmod(0o755)  # mkdtemp gives 0700
        for part in building.iterdir() if there else ():
            os.replace(part, target / part.name)
        if not there:
            os.replace(building, target)
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
    """All points and all boxes of one image, and whether its cells were annotated."""
    annotations = found.annotations.get(stem, [])
    points = [mark for annotation in annotations for mark in annotation.points]
    boxes = [mark for annotation in annotations for mark in annotation.boxes]
    return points, boxes, any("cells" in annotation.holds(found.settings.labels) for annotation in annotations)


def _sample(stem: str, found: Survey, channel: str | None) -> Sample:
    path, wanted, labels = found.images[stem], found.settings, found.settings.labels
    image = images.read_image(path, channel or wanted.channel)
    marks, boxed, annotated = _marks(stem, found)
    limits = corrections.regions(stem, found) if annotated else []
    region = corrections.within(limits, image.shape) if limits else np.ones(image.shape, bool)

    def of(name: str, given: list[Mark] = marks, width: int = 2) -> np.ndarray:
        """The marks with a meaning, as positions, whose centres are in the annotated regions."""
        places = positions(given, name, labels, width)
        return places[inside((places[:, :2] + places[:, -2:]) / 2, region)] if limits else places

    live, dead, background, boxes = of("live"), of("dead"), of("background"), of("live", boxed, 4)
    sparse = wanted.annotation == dataset_toml.SPARSE and annotated
    meta: dict[str, Any] = {
        "source": str(path),
        "sha256": sha256(path),
        "annotation": wanted.annotation,
        "background": background,
    }
    if limits:
        meta["limited"] = True
    if stem in found.provenance:
        done = [corrections.DONE[origin] for origin in corrections.origins(live, marks, "live", labels)]
        meta["provenance"] = found.provenance[stem] | {"origin": np.array(done, dtype=str)}
    return Sample(
        stem,
        image,
        live if annotated else None,
        region & valid_region(image, np.concatenate([live, dead])) if sparse else region,
        wanted.pixel_size_um,
        boxes=boxes if len(boxes) else None,
        dead=dead,
        split=wanted.split.get(stem, ""),
        meta=meta,
    )


def _plain(found: Survey) -> list[Annotation]:
    """The annotations of all images with this project's own labels; points and boxes of an image are two of them."""

    def relabelled(marks: list[Mark], names: Sequence[str], width: int = 2) -> list[Mark]:
        labels, plain = found.settings.labels, []
        for name in names:
            places = positions(marks, name, labels, width)
            done = corrections.origins(places, marks, name, labels)
            plain += [Mark(tuple(p), name, origin=o) for p, o in zip(places.tolist(), done, strict=True)]
        return plain

    plain = []
    for stem in sorted(found.images, key=natural):
        name, (marks, boxed, annotated) = found.images[stem].name, _marks(stem, found)
        points = relabelled(marks, ("live", "dead", "background"))
        boxes = relabelled(boxed, ("live", "dead"), 4)
        plain += [Annotation("", "", name, points=points)] if points or annotated else []
        plain += [Annotation("", "", name, boxes=boxes)] if boxes else []
    return plain
