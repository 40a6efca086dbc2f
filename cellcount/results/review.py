"""Correcting points by hand: the crops of a folder's images, the most doubtful first, as tasks of Label Studio."""

import functools
import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from cellcount.counting import Result, counted
from cellcount.data import corrections, dataset_toml
from cellcount.data.survey import Survey, survey
from cellcount.errors import CellcountError, DataError, one_of, require
from cellcount.files import as_argument
from cellcount.io import beside, labelstudio_tasks
from cellcount.io.crops import Box, grid, inside
from cellcount.io.folders import files_of, images_of, natural
from cellcount.io.large import LargeImage, open_image
from cellcount.io.points import Annotation, role
from cellcount.io.problems import listed, raise_errors
from cellcount.methods import METHODS, base
from cellcount.metrics.doubt import Doubt, doubts, turned, turned_back

RECORDS = "records.jsonl"  # of `cellcount.results.count_folder`
ORDERS = ("doubt", "random", "image")
OPEN = 3  # images in memory: neighbours in the order of doubt are crops of several


@dataclass(frozen=True)
class Field:
    """An image to correct: its path, its points so far, and what `count` recorded of it ({} if it was not counted)."""

    path: Path
    found: Annotation
    record: dict[str, Any]


@dataclass(frozen=True)
class Crop:
    """A part of an image for one task: its core, the box with its margin, and its doubt if that was computed."""

    field: Field
    core: Box
    box: Box
    doubt: Doubt | None = None

    @property
    def name(self) -> str:
        """Image and place, by which the task is known again."""
        return f"{self.field.path.name} {self.core[0]} {self.core[1]} {self.core[2]} {self.core[3]}"

    @property
    def content(self) -> str:
        """A digest of its points, which tells whether they are those of another count."""
        return _content(self.field, self.core)


@dataclass
class Review:
    """What there is to correct in a folder.

    Attributes
    ----------
    fields : list of Field
    channel : str
        In which its images are read.
    notes : list of str
        What was left out, and why.
    """

    fields: list[Field]
    channel: str = "auto"
    notes: list[str] = field(default_factory=list)


def review(folder: Path | str) -> Review:
    """What there is to correct in a folder: predictions of `cellcount count`, or else annotations, to be checked again.

    Raises
    ------
    DataError
        If the folder has neither, or they cannot be read.
    """
    folder = Path(folder)
    images = sorted(images_of(files_of(folder)), key=natural)
    found = Survey(images={path.stem: path for path in images})
    found.settings, found.problems = dataset_toml.read(folder / dataset_toml.NAME, found.images)
    if found.settings.predictions:
        points, records = corrections.read_predictions(folder, found), _records(folder)
    else:
        found, records = survey(folder), {}
        held = {stem: [one for one in every if "cells" in one.holds(found.settings.labels)]
                for stem, every in found.annotations.items()}  # fmt: skip
        points = {stem: replace(every[0], points=[mark for one in every for mark in one.points])
                  for stem, every in held.items() if every}  # fmt: skip
    raise_errors(found.problems)
    todo = f"write them with `cellcount count IMAGES --out {as_argument(folder)}`."
    require(points, f"{folder} has no predictions: {todo}", DataError)
    left = [path.name for stem, path in found.images.items() if stem not in points]
    notes = [str(problem) for problem in found.problems]
    notes += [f"images without points so far are left out: {listed(left)}"] if left else []
    unknown: Counter[str] = Counter()
    fields = []
    for stem, path in found.images.items():
        if stem in points:
            marks = []
            for mark in points[stem].points:
                label = labelstudio_tasks.LABELS.get(role(mark.label, found.settings.labels) or "")
                marks += [replace(mark, label=label)] if label else []
                unknown[mark.label] += label is None
            record = records.get(path.name, {})
            model = f"{record.get('method', 'annotation')} {(record.get('weights_sha256') or '')[:8]}".strip()
            fields.append(Field(path, Annotation("", "", path.name, annotator=model, points=marks), record))
    if unknown.total():
        names = listed(f"{label} ({count})" for label, count in unknown.items() if count)
        notes.append(f"marks with other labels than those of live and dead cells and background are left out: {names}")
    return Review(fields, found.settings.channel, notes)


def other_points(folder: Path | str, tasks: Sequence[Mapping[str, Any]]) -> list[str]:
    """The images of tasks, one name for each task, that were sent with other predictions than the folder has now."""
    settings, _ = dataset_toml.read(Path(folder, dataset_toml.NAME), ())
    if not settings.predictions:
        return []  # what was sent were annotations, which the last pull has changed
    fields = {one.path.name: one for one in review(folder).fields}
    found = []
    for note in (task.get("meta") or {} for task in tasks):
        if {"crop", "content"} <= set(note):
            image, y0, x0, y1, x1 = note["crop"].rsplit(" ", 4)
            core = int(y0), int(x0), int(y1), int(x1)
            found += [] if image in fields and _content(fields[image], core) == note["content"] else [image]
    return found


def _content(one: Field, core: Box) -> str:
    shown = inside(_places(one), core)
    marks = [(mark.position, mark.label) for mark, own in zip(one.found.points, shown, strict=True) if own]
    return hashlib.sha256(repr(marks).encode()).hexdigest()[:16]


def _records(folder: Path) -> dict[str, dict[str, Any]]:
    """{image's file name: the last record that `count` wrote of it}; what cannot be read is left out."""
    found = {}
    path = folder / RECORDS
    for line in path.read_text("utf-8").splitlines() if path.is_file() else ():
        try:
            record = json.loads(line)
            found[Path(record["file"]).name] = record
        except (ValueError, LookupError, TypeError, RecursionError):
            continue  # the line of a call that was killed
    return found


def crops(
    work: Review,
    *,
    order: str = "doubt",
    seed: int = 0,
    views: int = 1,
    weights: str | Path | None = None,
    device: str = "auto",
    progress: bool = True,
) -> list[Crop]:
    """The crops of all images, in the order in which a person should see them.

    Parameters
    ----------
    work : Review
        Its notes say of which images the doubt is incomplete.
    order : "doubt", "random" or "image"
        By falling doubt (see `cellcount.metrics.doubt`), for which each image is counted again with half the threshold
        and, with CellNet, turned; in random order; or by image.
    seed : int
        Of the random order.
    views : 1 to 8
        Number of turned and mirrored views in which CellNet counts, the image itself among them. More have cost time,
        and found no more errors on simulated fields and on the thesis' (24 and 2 fields).
    weights : path or None
        Those with which the images were counted, if they are not where they were.
    device : "auto", "cpu", "cuda", ...
    progress : bool

    Raises
    ------
    ParameterError
        If the order or the number of views is unknown.
    """
    one_of(order, ORDERS, "order")
    one_of(views, range(1, 9), "views")
    found: list[Crop] = []
    reasons: Counter[str] = Counter()
    for one in tqdm(work.fields, unit="image", desc="doubt", disable=not progress or order != "doubt"):
        shape = beside.size(one.path) or open_image(one.path, work.channel)[0].shape
        boxes = grid(shape, _places(one))
        known: list[Doubt | None] = [None] * len(boxes)
        if order == "doubt":
            seen: dict[str, Any] = {}
            try:
                seen = _looked_at_again(one, work.channel, views, weights, device)
            except CellcountError as error:
                reasons[str(error)] += 1
            known = [*doubts(_places(one), [core for core, _ in boxes], **seen)]
        found += [Crop(one, core, box, doubt) for (core, box), doubt in zip(boxes, known, strict=True)]
    for reason, count in reasons.items():
        images = "image" if count == 1 else "images"
        work.notes.append(f"crops of {count} {images} are ordered by crowding only: {reason}")
    if order == "random":
        return [found[number] for number in np.random.default_rng(seed).permutation(len(found))]
    return sorted(found, key=lambda crop: -crop.doubt.total if crop.doubt else 0.0)


def _places(one: Field) -> np.ndarray:
    """(N, 2) float32, (y, x) px."""
    return np.array([mark.position for mark in one.found.points], np.float32).reshape(-1, 2)


def _looked_at_again(one: Field, channel: str, views: int, weights: str | Path | None, device: str) -> dict[str, Any]:
    """Arguments of `doubts`: what the method finds with half the threshold, and in turned views (CellNet).

    Raises
    ------
    CellcountError
        If the method cannot count this image again as it did.
    """
    method, params = one.record.get("method", ""), dict(one.record.get("parameters") or {})
    threshold = one.record.get("threshold") or params.pop("threshold", None)
    require(method in METHODS, "cellcount did not count what is in this folder, or its record is not there.", DataError)
    known = base.parameters(METHODS[method].predict)
    require(threshold and "threshold" in known, f"{method} has no threshold.", DataError)
    # JSON has no whole numbers: the record writes 1.0 for 1.
    params = {
        name: int(value) if isinstance(value, float) and value.is_integer() else value
        for name, value in params.items()
        if name in known and name not in ("threshold", "averaging") and value is not None
    }
    pixels = open_image(one.path, channel)[0]
    if isinstance(pixels, LargeImage):
        raise DataError("they are larger than memory.")
    sha256, weights = one.record.get("weights_sha256"), weights or one.record.get("weights_file")
    options = {"method": method, "weights": weights, "device": device, "progress": False, **params}

    def again(images: Sequence[np.ndarray], threshold: float) -> Iterator[Any]:
        for result in counted(images, **options, threshold=threshold):
            if not isinstance(result, Result):
                raise result.error
            same = result.prediction.meta.get("weights_sha256") == sha256
            require(same, "they were counted with other weights; give these with --weights FILE.", DataError)
            yield result.prediction

    (low,) = again([pixels], threshold / 2)
    numbers = range(1, views if method == "cellnet" else 1)
    seen = again([np.ascontiguousarray(turned(pixels, view)) for view in numbers], threshold) if numbers else ()
    back = [turned_back(found.points, view, pixels.shape) for view, found in zip(numbers, seen, strict=True)]
    return {"peaks": low.points, "scores": low.scores, "threshold": threshold, "views": back}


def tasks(chosen: Sequence[Crop], channel: str) -> Iterator[dict[str, Any]]:
    """The tasks of crops, in their order, as Label Studio imports them; images are read when they are needed."""

    @functools.lru_cache(OPEN)
    def read(path: Path) -> tuple[np.ndarray | LargeImage, tuple[float, float]]:
        pixels = open_image(path, channel)[0]
        return pixels, labelstudio_tasks.span(pixels)

    for crop in chosen:
        pixels, span = read(crop.field.path)
        further = {}
        if crop.doubt is not None:
            parts = {"doubt": crop.doubt.total} | {f"doubt_{name}": part for name, part in crop.doubt._asdict().items()}
            further = {name: round(value, 2) for name, value in parts.items()}
        task = labelstudio_tasks.crop_task(pixels, crop.field.found, crop.core, crop.box, span, further)
        yield task | {"meta": {"crop": crop.name, "content": crop.content}}
