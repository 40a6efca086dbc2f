"""Checks of the annotations of an image against the image, and against each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from cellcount.data import dataset_toml
from cellcount.io.decoders import decoding, header
from cellcount.io.folders import natural
from cellcount.io.points import Annotation, chosen, role
from cellcount.io.problems import listed, toml

if TYPE_CHECKING:
    from pathlib import Path

    from cellcount.data.survey import Survey

FEW = 3  # points outside of an image that are named one by one
# If all points lie in a corner of less than this share of the image, and so many would do so by chance in fewer than
# this share of images of evenly spread cells, their coordinates are probably no pixels of this image.
CORNER, CHANCE = 0.5, 1e-5
# So they are in a larger corner if height and width are filled alike, within ALIKE. In yet larger ones (sides of less
# than BORDER) they may be, if less than UNLIKELY in each direction: cells in a part of an image rarely fill both alike.
RESIZED, RESIZED_CHANCE = 0.7, 1e-10
BORDER, UNLIKELY, ALIKE = 0.97, 1e-3, 0.05


def check_image(stem: str, found: Survey) -> None:
    """Check the annotations of the image `stem`, and select among annotators: changes the `Survey` `found`."""
    annotations = found.annotations.get(stem, [])
    name, labels = found.images[stem].name, found.settings.labels
    if not annotations:
        _regions([], stem, found)
        return None if found.settings.predictions else found.add("image-unannotated", name)
    if not any("cells" in annotation.holds(labels) for annotation in annotations):
        found.add("image-no-cells", name)
    for annotation in annotations:
        _labels(annotation, found)
        if stem in found.sizes and upright(annotation, stem, found):
            _geometry(annotation, stem, found)
    _regions(annotations, stem, found)
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


def _regions(annotations: Sequence[Annotation], stem: str, found: Survey) -> None:
    """Compare the regions in dataset.toml, to which the annotation is limited, with the image and with the points."""
    if not (stem in found.sizes and stem in found.settings.regions):
        return
    name, size = found.images[stem].name, found.sizes[stem]
    boxes = np.array(found.settings.regions[stem], float).reshape(-1, 4)
    if (boxes < 0).any() or (boxes[:, 2:] > size).any():
        found.add("region-outside", dataset_toml.NAME, "key regions", image=name, size=f"{size[1]} x {size[0]}")
    points = np.concatenate([_array(one) for one in annotations]) if annotations else np.zeros((0, 2))
    used = [((points > box[:2] - 0.5) & (points < box[2:] - 0.5)).all(axis=1) for box in boxes]
    left = len(points) - int(np.any(used, axis=0).sum()) if used else 0
    if left:
        found.add("points-left-out", dataset_toml.NAME, "key regions", count=left, all=len(points), image=name)


def check_training(folder: Path, found: Survey) -> None:
    """Warn if images of a folder cannot be trained on, or are trained on as empty or against the split."""
    labels, split = found.settings.labels, found.settings.split
    annotated = {stem for stem, own in found.annotations.items() if any("cells" in one.holds(labels) for one in own)}
    marks = {
        stem: [mark for one in found.annotations[stem] for mark in one.points]
        for stem in sorted(annotated, key=natural)
    }
    bare = [stem for stem, own in marks.items() if not any(role(mark.label, labels) == "live" for mark in own)]
    if found.images and not annotated and not found.settings.predictions:
        found.problems = [one for one in found.problems if one.kind != "image-unannotated"]  # said once for all
        found.add("none-annotated", folder, count=len(found.images))
    elif annotated and all(split.get(stem) == "test" for stem in annotated):
        found.add("split-all-test", dataset_toml.NAME, "key split", count=len(annotated))
    elif annotated and not any(split.get(stem) in (None, "train") for stem in annotated):
        count = sum(split[stem] == "validation" for stem in annotated)
        found.add("split-no-train", dataset_toml.NAME, "key split", count=count)
    if annotated and len(bare) == len(annotated):
        found.add("none-live", folder, count=len(annotated))
    elif marked := [stem for stem in bare if marks[stem]]:
        names = listed(found.images[stem].name for stem in marked)
        found.add("images-none-live", folder, names=names, count=sum(len(marks[stem]) for stem in marked))


def _labels(annotation: Annotation, found: Survey) -> None:
    known: set[str] = set()
    for mark in [*annotation.points, *annotation.boxes]:
        if mark.label not in known and role(mark.label, found.settings.labels) is None:
            label = mark.label[:60]
            found.add("label-unknown", annotation.file, mark.where, label=label, quoted=toml(label))
        known.add(mark.label)


def upright(annotation: Annotation, stem: str, found: Survey) -> bool:
    """Whether the marks are of the image as it is shown; those of the stored image are turned if the settings say so.

    An image may be stored in another orientation than it is shown (EXIF). Which of the two was annotated is told by
    the size that the file gives, or by points outside of one of them; if both fit, it has to be stated.
    """
    path, shown = found.images[stem], found.sizes[stem]
    stored, turn = shown, 1
    with decoding(path):
        stored, turn = header(path)
    said = found.settings.orientation or ("upright" if found.settings.predictions else "")
    if turn == 1 or said == "upright":
        return True
    if said == "stored":
        if annotation.size is not None and tuple(annotation.size) == stored:
            annotation.size = shown
        for marks in (annotation.points, annotation.boxes):
            marks[:] = [replace(mark, position=_turned(mark.position, turn, shown)) for mark in marks]
        return True
    points = _array(annotation)
    fits = [
        (annotation.size is None or tuple(annotation.size) == size) and not _outside(points, size).any()
        for size in (shown, stored)
    ]
    if fits[1]:
        which = f"as it is stored, {stored[1]} x {stored[0]} px, " + ("but not" if not fits[0] else "and also")
        which += f" as it is shown, {shown[1]} x {shown[0]} px"
        found.add("image-turned", annotation.file, annotation.where, image=path.name, turn=turn, which=which)
    return not fits[1]


def _turned(position: Sequence[float], turn: int, size: tuple[int, int]) -> tuple[float, ...]:
    """A position in the stored image as one in the image shown, of `size` (height, width) px; as `read_tiff` does."""
    corners = np.reshape(position, (-1, 2)).astype(float)
    corners = corners[:, ::-1].copy() if turn >= 5 else corners
    for axis, turns in ((0, (3, 4, 7, 8)), (1, (2, 3, 6, 7))):
        if turn in turns:
            corners[:, axis] = size[axis] - 1 - corners[:, axis]
    return tuple(np.sort(corners, axis=0).ravel().tolist())


def _array(annotation: Annotation) -> np.ndarray:
    return np.array([mark.position for mark in annotation.points], np.float64).reshape(-1, 2)


def _outside(points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return ((points < -0.5) | (points > np.array(size) - 0.5)).any(axis=1)


def _geometry(annotation: Annotation, stem: str, found: Survey) -> None:
    """Compare an annotation with the image's size (height, width) px, and its points with each other."""
    file, name, size = annotation.file, found.images[stem].name, found.sizes[stem]
    if annotation.size is not None and tuple(annotation.size) != tuple(size):
        claimed, actual = (f"{width} x {height}" for height, width in (annotation.size, size))
        kind = "image-size" if annotation.where else "dots-size"
        found.add(kind, file, annotation.where, claimed=claimed, image=name, actual=actual)
    elif annotation.points:
        _places(annotation, stem, found)
        _repeated(annotation, name, found)


def _places(annotation: Annotation, stem: str, found: Survey) -> None:
    """Report points that are not in the image, or whose coordinates are probably no px of it."""
    file, where, name, size = annotation.file, annotation.where, found.images[stem].name, found.sizes[stem]
    points, actual = _array(annotation), f"{size[1]} x {size[0]}"
    outside, swapped = _outside(points, size), _outside(points[:, ::-1], size)
    low, high = points.min(axis=0), points.max(axis=0)
    share = float(np.prod((high + 1) / size))
    whole = not (stem in found.predicted or annotation.regions or stem in found.settings.regions)
    cause = "x and y may be exchanged." if swapped.mean() < outside.mean() / 10 else _cause(points, found)
    reach = {"y": high[0], "x": high[1], "image": name, "size": actual, "cause": cause}
    if low.min() >= 0 and high.max() <= 1 and (len(points) > 2 or (points % 1).any()):
        found.add("points-fractions", file, where)
    elif outside.any() and not swapped.any():
        found.add("points-swapped", file, where, count=outside.sum(), image=name)
    elif outside.sum() > FEW:
        found.add("points-outside", file, where, count=outside.sum(), all=len(points), **reach)
    elif outside.any():
        for index in np.flatnonzero(outside):
            y, x = points[index]
            found.add("point-outside", file, annotation.points[index].where, y=y, x=x, image=name, size=actual)
    elif whole and len(points) > FEW and (kind := _corner(points, size)):
        box = f"{toml(stem)} = [[0, 0, {size[0]}, {size[1]}]]"
        found.add(kind, file, where, all=len(points), share=share, box=box, **reach)


def _corner(points: np.ndarray, size: tuple[int, int]) -> str:
    """The problem of points that do not reach the right and the lower border, as if of a smaller image; "" if none."""
    count, low, high = len(points), points.min(axis=0), points.max(axis=0)
    share = float(np.prod((high + 1) / size))
    sides = (high + 1) / (np.array(size) - low.clip(0))  # a border without annotations is left at all sides
    alike = bool((sides < BORDER).all() and (sides**count < UNLIKELY).all() and abs(sides[0] - sides[1]) < ALIKE)
    if share < CORNER and share**count < CHANCE or alike and share < RESIZED and share**count < RESIZED_CHANCE:
        return "points-corner"
    return "points-resized" if alike else ""


def _repeated(annotation: Annotation, name: str, found: Survey) -> None:
    """Warn of points at the same position, and of points that have all the same value of a coordinate."""
    file, (y, x) = annotation.file, _array(annotation).T
    for shared, so in {"the same y": y == y[0], "the same x": x == x[0], "y equal to x": y == x}.items():
        if len(y) > FEW and so.all():
            found.add("points-line", file, annotation.where, count=len(y), image=name, shared=shared)
    first: dict[tuple, str] = {}
    again: list[tuple[str, str]] = []
    with np.errstate(over="ignore"):
        places = map(tuple, _array(annotation).astype(np.float32).tolist())
    for mark, place in zip(annotation.points, places, strict=True):
        if (place, mark.label) in first:
            again.append((mark.where, first[place, mark.label]))
        first.setdefault((place, mark.label), mark.where)
    if again:
        found.add("points-duplicate", file, again[0][0], count=len(again), image=name, first=again[0][1])


def _cause(points: np.ndarray, found: Survey) -> str:
    """Why coordinates are probably not px of the image, in words."""
    if found.settings.pixel_size_um:
        return "They may be micrometres (divide them by the pixel size), or px of a resized image."
    if 0 <= points.min() and 50 < points.max() <= 100:
        return "They may be percent, micrometres, or px of a resized image."
    return "They may be micrometres, or px of a resized image."
