"""Checks of the annotations of an image against the image, and against each other."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np

from cellcount.io.points import Annotation, role

if TYPE_CHECKING:
    from cellcount.data.survey import Survey


def check_image(stem: str, found: Survey) -> None:
    """Check the annotations of the image `stem`, and select among annotators: changes the `Survey` `found`."""
    annotations = found.annotations.get(stem, [])
    name, labels = found.images[stem].name, found.settings.labels
    if not annotations:
        return None if found.settings.predictions else found.add("image-unannotated", name)
    if not any("cells" in annotation.holds(labels) for annotation in annotations):
        found.add("image-no-cells", name)
    for annotation in annotations:
        _labels(annotation, found)
        if stem in found.sizes:
            _geometry(annotation, name, found.sizes[stem], found)
    for held in ("cells", "background", "boxes"):
        rivals = [a for a in annotations if held in a.holds(labels)]
        files = list(dict.fromkeys(a.file for a in rivals))
        if len(files) > 1:
            found.add("annotation-twice", files[1], image=name, held=held, other=files[0])
        elif len(rivals) > 1:
            kept = chosen(rivals, found.settings.annotators)
            if kept is None:
                people = ", ".join(f"{a.annotator or '?'} ({a.where})" for a in rivals[:4])
                found.add("annotators", files[0], rivals[0].where, image=name, count=len(rivals), people=people)
                kept = rivals
            dropped = {id(a) for a in rivals} - {id(a) for a in kept}
            annotations = [a for a in annotations if id(a) not in dropped]
    found.annotations[stem] = annotations


def chosen(rivals: list[Annotation], annotators: str | int) -> list[Annotation] | None:
    """The annotations that count among several of one image; None if `annotators` does not say.

    annotators : "union", "first", "last", or the name or number of a person; see `Settings`.
    """
    if annotators in ("union", "first", "last"):
        return {"union": rivals, "first": rivals[:1], "last": rivals[-1:]}[str(annotators)]
    return [a for a in rivals if a.annotator and a.annotator == str(annotators)][:1] or None


def _labels(annotation: Annotation, found: Survey) -> None:
    known: set[str] = set()
    for mark in [*annotation.points, *annotation.boxes]:
        if mark.label not in known and role(mark.label, found.settings.labels) is None:
            found.add("label-unknown", annotation.file, mark.where, label=mark.label, quoted=json.dumps(mark.label))
        known.add(mark.label)


def _geometry(annotation: Annotation, name: str, size: tuple[int, int], found: Survey) -> None:
    """Compare positions with the image's size (height, width) px."""
    file, actual = annotation.file, f"{size[1]} x {size[0]}"
    if annotation.size is not None and tuple(annotation.size) != tuple(size):
        claimed = f"{annotation.size[1]} x {annotation.size[0]}"
        kind = "image-size" if annotation.where else "dots-size"
        return found.add(kind, file, annotation.where, claimed=claimed, image=name, actual=actual)
    if not annotation.points:
        return None
    points = np.array([mark.position for mark in annotation.points], np.float64)
    outside, swapped = (((p < -0.5) | (p > np.array(size) - 0.5)).any(axis=1) for p in (points, points[:, ::-1]))
    if outside.any() and not swapped.any():
        found.add("points-swapped", file, annotation.where, count=outside.sum(), image=name)
        outside[:] = False
    for index in np.flatnonzero(outside):
        y, x = points[index]
        found.add("point-outside", file, annotation.points[index].where, y=y, x=x, image=name, size=actual)
    if len(points) >= 5 and points.min() >= 0 and points.max() <= 1:
        found.add("points-fractions", file, annotation.where)
    first: dict[tuple, str] = {}
    for mark in annotation.points:
        key = (*np.asarray(mark.position, np.float32), mark.label)
        if key in first:
            found.add("points-duplicate", file, mark.where, image=name, first=first[key])
        first.setdefault(key, mark.where)
