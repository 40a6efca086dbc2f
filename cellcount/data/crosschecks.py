"""Whether what the annotation files say of an image fits the image, and each other."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from cellcount.data.dataset_toml import NAME as SETTINGS
from cellcount.io.points import Annotation, role

if TYPE_CHECKING:
    from cellcount.data.survey import Survey


def check_image(stem: str, found: Survey) -> None:
    """Check what was said of the image `stem`, and choose among annotators: changes the `Survey` `found`."""
    annotations = found.annotations.get(stem, [])
    name = found.images[stem].name
    if not annotations:
        what, todo = "Nobody has annotated this image.", "Annotate it, or use it for prediction only."
        found.problem("image-unannotated", name, "", what, todo, "warning")
        return
    labels = found.settings.labels
    if not any("cells" in annotation.holds(labels) for annotation in annotations):
        what, todo = "Only boxes or background are marked on it.", "Mark cells, or use it for prediction only."
        found.problem("image-no-cells", name, "", what, todo, "warning")
    for annotation in annotations:
        _labels(annotation, labels, found)
        _geometry(annotation, name, found.sizes.get(stem), found)
    for held in ("cells", "background", "boxes"):
        rivals = [a for a in annotations if held in a.holds(labels)]
        files = list(dict.fromkeys(a.file for a in rivals))
        if len(files) > 1:
            what = f"{name} has {held} here and in {files[0]}."
            todo = "Keep one of the files in the folder."
            found.problem("annotation-twice", files[1], "", what, todo)
        elif len(rivals) > 1:
            kept = chosen(rivals, found.settings.annotators)
            if kept is None:
                _several(rivals, name, found)
                kept = rivals
            dropped = [id(a) for a in rivals if not any(a is k for k in kept)]
            annotations = [a for a in annotations if id(a) not in dropped]
    found.annotations[stem] = annotations


def chosen(rivals: list[Annotation], annotators: str | int) -> list[Annotation] | None:
    """The annotations that count among several of one image; None if `annotators` does not say.

    annotators : "union", "first", "last", or the name or number of a person; see `Settings`.
    """
    if annotators == "union":
        return rivals
    if annotators in ("first", "last"):
        return [rivals[0 if annotators == "first" else -1]]
    return [a for a in rivals if a.annotator and a.annotator == str(annotators)][:1] or None


def _several(rivals: list[Annotation], name: str, found: Survey) -> None:
    people = ", ".join(f"{a.annotator or '?'} ({a.where})" for a in rivals[:4])
    todo = (
        f'Say in {SETTINGS} which one counts: annotators = "union" (all marks together, cells marked by two '
        'people count twice), "first", "last", or the name or number of one annotator.'
    )
    what = f"{name} was annotated {len(rivals)} times: {people}."
    found.problem("annotators", rivals[0].file, rivals[0].where, what, todo)


def _labels(annotation: Annotation, labels: Mapping[str, Sequence[str]], found: Survey) -> None:
    unknown: dict[str, str] = {}
    for mark in [*annotation.points, *annotation.boxes]:
        if role(mark.label, labels) is None:
            unknown.setdefault(mark.label, mark.where)
    for label, where in unknown.items():
        todo = f"Say what it means in {SETTINGS}, for example [labels] with live = [{json.dumps(label)}]."
        found.problem("label-unknown", annotation.file, where, f"The label {label!r} is unknown.", todo)


def _geometry(annotation: Annotation, name: str, size: tuple[int, int] | None, found: Survey) -> None:
    """Compare positions with the image's size (height, width) px, which is None for an unreadable image."""
    if size is None:
        return
    if annotation.size is not None and tuple(annotation.size) != tuple(size):
        claimed = f"{annotation.size[1]} x {annotation.size[0]}"
        kind = "dots-size" if not annotation.where else "image-size"
        what = f"It was made for {claimed} px, but {name} has {size[1]} x {size[0]} px."
        todo = "Use the image that was annotated, neither resized nor rotated."
        found.problem(kind, annotation.file, annotation.where, what, todo)
        return
    if not annotation.points:
        return
    points = np.array([mark.position for mark in annotation.points], np.float64)
    outside = ((points < -0.5) | (points > np.array(size) - 0.5)).any(axis=1)
    swapped = ((points[:, ::-1] < -0.5) | (points[:, ::-1] > np.array(size) - 0.5)).any(axis=1)
    if outside.any() and not swapped.any():
        what = f"{outside.sum()} points lie outside of {name}, none if x and y are exchanged."
        todo = "Exchange the columns: y counts rows from the top, x columns from the left."
        found.problem("points-swapped", annotation.file, annotation.where, what, todo)
        outside[:] = False
    for index in np.flatnonzero(outside):
        y, x = points[index]
        what = f"y = {y:g}, x = {x:g} lies outside of {name} ({size[1]} x {size[0]} px)."
        where = annotation.points[index].where
        found.problem("point-outside", annotation.file, where, what, "Move or delete it.")
    if len(points) >= 5 and points.min() >= 0 and points.max() <= 1:
        todo = "Multiply by the image's height and width: coordinates must be in px."
        found.problem("points-fractions", annotation.file, annotation.where, "All coordinates are in 0 to 1.", todo)
    _duplicates(annotation, name, found)


def _duplicates(annotation: Annotation, name: str, found: Survey) -> None:
    first: dict[tuple, str] = {}
    for mark in annotation.points:
        key = (tuple(np.asarray(mark.position, np.float32)), mark.label)
        if key in first:
            what = f"The point is at the same place of {name} as the one in {first[key]}, and counts once."
            found.problem("points-duplicate", annotation.file, mark.where, what, "Delete one of them.", "warning")
        else:
            first[key] = mark.where
