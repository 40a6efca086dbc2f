"""Crops of an image that were annotated one by one, as one annotation of the image.

A crop has a margin, darkened in its pixels, which shows cells of its neighbours; inside of it is the core. The cores of
all crops cover the image once.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from scipy.spatial import cKDTree

from cellcount.io.points import Annotation, Mark, Reader

MARGIN = 32.0  # px
SEAM = 5.0  # px; two points of different crops that are nearer are probably one cell
_PREDICTED = ("prediction", "prediction-changed")


class Crop(NamedTuple):
    """Where a crop lies in its image: its first row and column, the width of its margin, and the image's size, px."""

    source: str
    start: tuple[float, ...]
    margin: float
    whole: tuple[float, float] | None


def stitched(pieces: Sequence[tuple[Crop, list[Annotation]]], reader: Reader) -> list[Annotation]:
    """The annotations of all crops of one image as one, or as one for each person if a crop was annotated twice.

    A predicted point stays wherever a person dragged it. A point that a person added counts inside of its own crop's
    core: in the margin, the neighbour shows the same cell.
    """
    source = pieces[0][0].source
    done = [(crop, one) for crop, inside in pieces for one in inside]
    bare = sum(not inside for _, inside in pieces)
    if bare and done:
        reader.add("ls-crops", count=bare, all=len(pieces), image=source)
    sizes = [(*crop.start, *(one.size or (0, 0))) for crop, one in done]
    whole = next((crop.whole for crop, _ in pieces if crop.whole), None) or tuple(
        max((row[axis] + row[axis + 2] for row in sizes), default=0) for axis in (0, 1)
    )
    several = any(len(inside) > 1 for _, inside in pieces)
    found: dict[str, Annotation] = {}
    owners: dict[str, list[int]] = {}
    outside = 0
    for number, (crop, one) in enumerate(done):
        person = one.annotator if several else ""
        joined = found.setdefault(person, Annotation(reader.file, one.where, source, None, one.annotator))
        for mark in one.points:
            kept = reader.predictions or mark.origin in _PREDICTED or _in_core(mark.position, crop, one, whole)
            outside += not kept
            if kept:
                joined.points.append(_shifted(mark, crop))
                owners.setdefault(person, []).append(number)
        joined.boxes += [_shifted(mark, crop) for mark in one.boxes]
    if outside:
        reader.add("ls-margin", done[0][1].where, count=outside, image=source)
    for person, numbers in owners.items():
        points = np.array([mark.position for mark in found[person].points])
        near = [pair for pair in cKDTree(points).query_pairs(SEAM) if numbers[pair[0]] != numbers[pair[1]]]
        if near:
            (y, x), where = points[min(near)[0]].tolist(), found[person].where
            reader.add("ls-seam", where, count=len(near), image=source, y=y, x=x, distance=SEAM)
    return list(found.values())


def _in_core(position: Sequence[float], crop: Crop, one: Annotation, whole: Sequence[float]) -> bool:
    """Whether a point of a crop lies inside of its margin, which a crop has only where the image goes on."""
    for value, start, side, end in zip(position, crop.start, one.size or (0, 0), whole):
        low = crop.margin if start > 0 else 0
        high = side - (crop.margin if start + side < end else 0)
        if not low - 0.5 <= value < high - 0.5:
            return False
    return True


def _shifted(mark: Mark, crop: Crop) -> Mark:
    return replace(mark, position=tuple(v + crop.start[n % 2] for n, v in enumerate(mark.position)))
