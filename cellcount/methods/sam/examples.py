"""Training examples of the small SAM: tiles of fields with true masks, and correct prompts for them.

A negative point is never on the wanted object. SAM was trained in the same way, and a network that is given negative
points on the wanted object can only learn to ignore them.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from cellcount.methods.pixels import percentiles, stretched
from cellcount.methods.prompts import NO_POINT, UNWANTED, WANTED
from cellcount.types import Sample

MARGIN = 24  # px at a field's border that are not used: cells that reach in from outside have no mask there
LEAST = 60  # px of a cell on the tile, for prompts to ask for it
CLICK = 3.5  # px, standard deviation of a click around the nucleus, as in the simulated annotator
KINDS = ("point", "point", "cross", "neighbours", "two points", "box", "box", "square")


class Example(NamedTuple):
    """One tile with its prompts.

    Attributes
    ----------
    image : (S, S) float32, 0 to 255
    labels : (S, S) int32
        True cells, with the numbers that they have in the whole field.
    points : (P, K, 2) float32, (y, x) px, and signs : (P, K) int8
        Prompts made of points; see `cellcount.methods.prompts.Prompts`.
    boxes : (B, 4) float32, (y0, x0, y1, x1) px
        Prompts made of a box.
    targets : (P + B, S, S) bool
        The true mask for each prompt, those of the points first.
    """

    image: np.ndarray
    labels: np.ndarray
    points: np.ndarray
    signs: np.ndarray
    boxes: np.ndarray
    targets: np.ndarray


class Examples:
    """Draws examples from samples with masks.

    Parameters
    ----------
    samples : list of Sample with `labels` and `points`
    side : int, px
    prompts : int
        For each tile, of kinds drawn from KINDS.
    """

    def __init__(self, samples: Sequence[Sample], side: int, prompts: int) -> None:
        self.samples, self.side, self.prompts = samples, side, prompts
        self.exposures = [percentiles(sample.image, 0, 100) for sample in samples]

    def draw(self, rng: np.random.Generator) -> Example:
        """One `Example`."""
        large = np.zeros(0, int)
        while not len(large):
            image, labels, points, ids = self._tile(rng)
            sizes = np.bincount(labels.ravel(), minlength=ids.max(initial=0) + 1)
            large = np.flatnonzero(sizes[ids] >= LEAST)
        chosen = rng.choice(large, self.prompts, replace=len(large) < self.prompts)
        rows, boxes = [], []
        for cell, kind in zip(chosen, rng.choice(KINDS, self.prompts), strict=True):
            mask = labels == ids[cell]
            if kind in ("box", "square"):
                boxes.append((_box(rng, mask) if kind == "box" else _square(rng, points[cell]), mask))
            else:
                rows.append((_points(rng, kind, cell, points, mask), mask))
        if rng.random() < 0.5:
            rows.append(_foreground(rng, points, labels))
        wanted = [mask for _, mask in rows + boxes]
        places, signs = _filled([given for given, _ in rows])
        corners = np.array([given for given, _ in boxes], np.float32).reshape(-1, 4)
        return Example(image, labels, places, signs, corners, np.array(wanted))

    def _tile(self, rng):
        """A tile in one of the eight symmetries: image, labels, points on it (n, 2), and their labels (n,)."""
        index = rng.integers(len(self.samples))
        sample = self.samples[index]
        y, x = (rng.integers(MARGIN, length - MARGIN - self.side + 1) for length in sample.image.shape)
        window = np.s_[y : y + self.side, x : x + self.side]
        image = stretched(sample.image[window], self.exposures[index])
        image = image * rng.uniform(0.8, 1.2) + rng.uniform(-0.1, 0.1)
        image = image + rng.normal(0, rng.uniform(0, 0.02), image.shape)
        points = sample.points - [y, x]
        inside = ((points > -0.5) & (points < self.side - 0.5)).all(axis=1)
        turns, mirrored = rng.integers(4), rng.random() < 0.5
        image, labels = (turned(array, turns, mirrored) for array in (image, sample.labels[window]))
        points = turned_points(points[inside], turns, mirrored, self.side)
        image = np.clip(image, 0, 1) * 255
        return np.ascontiguousarray(image, np.float32), labels, points, np.flatnonzero(inside) + 1


def turned(array: np.ndarray, turns: int, mirrored: bool) -> np.ndarray:
    """An (S, S) array rotated by a number of quarter turns, and then mirrored left to right."""
    array = np.rot90(array, turns)
    return array[:, ::-1] if mirrored else array


def turned_points(points: np.ndarray, turns: int, mirrored: bool, side: int) -> np.ndarray:
    """The positions of points (N, 2), (y, x) px, of an array with this side after `turned`."""
    for _ in range(turns):
        points = np.stack([side - 1 - points[:, 1], points[:, 0]], axis=1)
    return np.stack([points[:, 0], side - 1 - points[:, 1]], axis=1) if mirrored else points


def _points(rng, kind, cell, points, mask):
    """[(sign, (y, x)), ...] of a prompt made of points."""
    click = _click(rng, points[cell], mask)
    given = [(WANTED, click)]
    if kind == "two points":
        given.append((WANTED, _any(rng, mask)))
    elif kind == "cross":
        arm = rng.uniform(8, 30) * np.sqrt(0.5)
        given += [(UNWANTED, click + arm * np.array(way)) for way in ((-1, -1), (-1, 1), (1, -1), (1, 1))]
    elif kind == "neighbours":
        order = np.argsort(np.linalg.norm(points - points[cell], axis=1))[1 : 1 + rng.integers(1, 9)]
        given += [(UNWANTED, points[other]) for other in order]
    return [(sign, place) for sign, place in given if sign == WANTED or _at(mask, place) is False]


def _click(rng, centre, mask):
    """A click near the nucleus, on the cell; the nucleus if none of ten tries hits it, else any pixel."""
    tries = [*(centre + rng.normal(0, CLICK, (10, 2))), centre]
    hits = [place for place in tries if _at(mask, place)]
    return hits[0] if hits else _any(rng, mask)


def _at(mask, place):
    """The value of a mask at a place (y, x) px, None off the tile."""
    y, x = np.rint(place).astype(int)
    return bool(mask[y, x]) if 0 <= y < mask.shape[0] and 0 <= x < mask.shape[1] else None


def _any(rng, mask):
    pixels = np.argwhere(mask)
    return pixels[rng.integers(len(pixels))].astype(float)


def _box(rng, mask):
    """The box around a mask, each side moved by up to a tenth of the box, at most 5 px."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    box = np.array([rows[0], columns[0], rows[-1], columns[-1]], float)
    reach = np.minimum(0.1 * (np.tile(box[2:] - box[:2], 2) + 1), 5)
    return np.clip(box + rng.uniform(-reach, reach), 0, mask.shape[0] - 1)


def _square(rng, centre):
    """A square around a click; its size does not depend on the cell, as it is when made from clicks alone."""
    half = rng.uniform(16, 30)
    click = centre + rng.normal(0, CLICK, 2)
    return np.concatenate([click - half, click + half])


def _foreground(rng, points, labels):
    """Cells as one object, or the background as one: (points of the prompt, true mask)."""
    cells = points[rng.permutation(len(points))[: rng.integers(1, len(points) + 1)]]
    empty = np.argwhere(labels == 0)
    empty = empty[rng.integers(len(empty), size=rng.integers(1, 9))] if len(empty) else np.zeros((0, 2))
    sign = WANTED if rng.random() < 0.5 or not len(empty) else UNWANTED
    given = [(sign, place) for place in cells] + [(-sign, place) for place in empty]
    return given, (labels > 0) if sign == WANTED else (labels == 0)


def _filled(prompts):
    """Points (P, K, 2) float32 and signs (P, K) int8 of prompts with different numbers of points."""
    most = max((len(given) for given in prompts), default=0)
    points = np.zeros((len(prompts), most, 2), np.float32)
    signs = np.full((len(prompts), most), NO_POINT, np.int8)
    for row, given in enumerate(prompts):
        for column, (sign, place) in enumerate(given):
            points[row, column], signs[row, column] = place, sign
    return points, signs


def mistakes(rng: np.random.Generator, predicted: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One point for each prompt where its mask is wrong, as an annotator would click next.

    Parameters
    ----------
    predicted, targets : (P, S, S) bool

    Returns
    -------
    points : (P, 2) float32, (y, x) px
    signs : (P,) int8
        WANTED on a false negative pixel, UNWANTED on a false positive one, NO_POINT if the mask is right.
    """
    points, signs = np.zeros((len(targets), 2), np.float32), np.full(len(targets), NO_POINT, np.int8)
    for row, (mask, target) in enumerate(zip(predicted, targets, strict=True)):
        wrong = np.argwhere(mask != target)
        if len(wrong):
            points[row] = wrong[rng.integers(len(wrong))]
            signs[row] = WANTED if target[tuple(points[row].astype(int))] else UNWANTED
    return points, signs
