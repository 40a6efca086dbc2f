"""Crops of an image that are annotated one by one, and their annotations as one of the image.

A crop has a margin, darkened in its pixels, which shows cells of its neighbours; inside of it is the core. The cores of
all crops cover the image once. Boxes are (y0, x0, y1, x1) px: rows y0 to y1 and columns x0 to x1, ends excluded.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from scipy.spatial import cKDTree

from cellcount.io.points import Annotation, Mark, Reader, chosen
from cellcount.io.problems import number

MARGIN = 32  # px
CORES = (512, 384, 256)  # px; a page of Label Studio is slow with more than some 250 points: then smaller crops
MOST = 250  # points in a core
SEAM = 5.0  # px; two points of different crops that are nearer are probably one cell
_PREDICTED = ("prediction", "prediction-changed")
Box = tuple[int, int, int, int]


def grid(shape: Sequence[int], points: np.ndarray) -> list[tuple[Box, Box]]:
    """The crops of an image: for each the box of its core, and that of the crop with its margin.

    The cores of an image have equal sides, to a pixel: at most 512 px; 384 or 256 px if one held over 250 points.

    Parameters
    ----------
    shape : (height, width), px
    points : (N, 2) float, (y, x) px
    """
    for longest in CORES:
        cores = cut(shape, longest)
        if max(inside(points, core).sum() for core in cores) <= MOST:
            break
    return [(core, with_margin(core, shape)) for core in cores]


def cut(shape: Sequence[int], longest: int) -> list[Box]:
    """Boxes that cover an image of the shape (height, width) px once, row by row: of equal sides, to a pixel."""
    cuts = [np.linspace(0, side, -(-side // longest) + 1).round().astype(int).tolist() for side in shape]
    return [(y0, x0, y1, x1) for (y0, y1), (x0, x1) in itertools.product(*map(itertools.pairwise, cuts))]


def with_margin(core: Box, shape: Sequence[int]) -> Box:
    """The box of a crop with this core, in an image of the shape (height, width) px."""
    y1, x1 = (min(side, end + MARGIN) for side, end in zip(shape, core[2:], strict=True))
    return max(0, core[0] - MARGIN), max(0, core[1] - MARGIN), y1, x1


def held(points: np.ndarray, boxes: Sequence[Box]) -> np.ndarray:
    """(K,) int: how many of the points (N, 2) (y, x) px lie in each of the K boxes of `cut`; all lie in one of them."""
    starts = [np.unique([box[axis] for box in boxes]) - 0.5 for axis in (0, 1)]
    row, column = (np.searchsorted(s, p, "right").clip(1) - 1 for s, p in zip(starts, points.T, strict=True))
    return np.bincount(row * len(starts[1]) + column, minlength=len(boxes))


def inside(points: np.ndarray, box: Sequence[float]) -> np.ndarray:
    """(N,) bool: which of the points (N, 2) (y, x) px lie in the pixels of a box."""
    return ((points >= np.array(box[:2]) - 0.5) & (points < np.array(box[2:]) - 0.5)).all(axis=1)


class Crop(NamedTuple):
    """Where a crop lies in its image.

    source : the image's name
    start : its first row and column, px
    margin : width of its margin, px
    whole : (height, width) of the image, px, or None
    size : (height, width) of the crop, px, or None
    """

    source: str
    start: tuple[float, ...]
    margin: float
    whole: tuple[float, ...] | None
    size: tuple[float, ...] | None

    def core(self, whole: Sequence[float]) -> Box:
        """Its core in an image of the size `whole`: there is a margin only where the image goes on."""
        assert self.size is not None
        ends = [start + side for start, side in zip(self.start, self.size, strict=True)]
        low = [start + self.margin * (start > 0) for start in self.start]
        high = [end - self.margin * (end < side) for end, side in zip(ends, whole, strict=True)]
        y0, x0, y1, x1 = (round(value) for value in (*low, *high))
        return y0, x0, y1, x1


def stitched(pieces: Sequence[tuple[Crop, list[Annotation]]], reader: Reader, parts: list[str]) -> list[Annotation]:
    """The annotations of all crops of one image as one; of a crop with several, those that `reader.annotators` says.

    A predicted point stays wherever a person dragged it. A point that a person added counts inside of its own crop's
    core: in the margin, the neighbour shows the same cell. The cores of the annotated crops are the `regions` of the
    annotation, unless they are the whole image: then how many there are is added to `parts`, in words.
    """
    source = pieces[0][0].source
    done = [(crop._replace(size=one.size or crop.size), one) for crop, every in pieces for one in every]
    if any(crop.size is None for crop, _ in done):
        reader.add("ls-crop-size", done[0][1].where, image=source)
        return []
    stated = next((crop.whole for crop, _ in pieces if crop.whole), None)
    bare = [crop._replace(size=crop.size or done[0][0].size) for crop, every in pieces if done and not every]
    extents = [(*crop.start, *crop.size) for crop in [*bare, *(crop for crop, _ in done)] if crop.size]
    whole = stated or tuple(max((row[axis] + row[axis + 2] for row in extents), default=0) for axis in (0, 1))
    rivals: dict[Box, list[tuple[Crop, Annotation]]] = {}
    for crop, one in done:
        core = crop.core(whole)
        placed = 0 <= core[0] < core[2] <= whole[0] and 0 <= core[1] < core[3] <= whole[1]
        if not placed or crop.margin < 0:
            reader.add("ls-crop-place", one.where, image=source, core=core, height=whole[0], width=whole[1])
            return []
        rivals.setdefault(core, []).append((crop, one))
    if not rivals:
        return []
    size = (round(stated[0]), round(stated[1])) if stated else None
    joined = Annotation(reader.file, done[0][1].where, source, size, done[0][1].annotator)
    owners: list[int] = []
    outside = 0
    for place, (core, every) in enumerate(rivals.items()):
        counting = {id(one) for one in _counting([one for _, one in every], core, reader)}
        for crop, one in (pair for pair in every if id(pair[1]) in counting):
            for mark in one.points:
                moved = _shifted(mark, crop)
                kept = reader.predictions or mark.origin in _PREDICTED or inside(np.array([moved.position]), core)[0]
                outside += not kept
                if kept:
                    joined.points.append(moved)
                    owners.append(place)
            joined.boxes += [_shifted(mark, crop) for mark in one.boxes]
    if outside:
        reader.add("ls-margin", joined.where, points=number(outside, "point"), image=source)
    share = sum((y1 - y0) * (x1 - x0) for y0, x0, y1, x1 in rivals) / math.prod(whole)
    if share < 1 and not reader.predictions:
        joined.regions = sorted(rivals)
        parts.append(f"{source}: {number(len(rivals), 'crop')}, {share:.0%} of its area")
    points = np.array([mark.position for mark in joined.points]).reshape(-1, 2)
    near = [pair for pair in cKDTree(points).query_pairs(SEAM) if owners[pair[0]] != owners[pair[1]]]
    if near:
        y, x = points[min(near)[0]].tolist()
        reader.add("ls-seam", joined.where, pairs=number(len(near), "pair"), image=source, y=y, x=x, distance=SEAM)
    return [joined]


def _counting(every: list[Annotation], core: Box, reader: Reader) -> list[Annotation]:
    """Of the annotations of one crop, those that count."""
    if len(every) == 1:
        return every
    kept = chosen(every, reader.annotators)
    if kept is None:
        people = ", ".join(f"{one.annotator or '?'} ({one.where})" for one in every[:4])
        where, values = every[0].where.split(",")[0], {"image": every[0].image, "core": core, "count": len(every)}
        reader.add("ls-annotators", where, people=people, **values)
    return kept or every[:1]


def _shifted(mark: Mark, crop: Crop) -> Mark:
    return replace(mark, position=tuple(v + crop.start[n % 2] for n, v in enumerate(mark.position)))
