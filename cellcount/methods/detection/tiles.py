"""Training tiles with their boxes: a fixed grid, or random places rotated, mirrored and changed in brightness."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from cellcount.errors import DataError
from cellcount.methods.base import need_points
from cellcount.methods.detection.boxes import around, clip, ranges, squares
from cellcount.methods.detection.settings import Common
from cellcount.methods.pixels import block_mean, to_small
from cellcount.tiling import tiles
from cellcount.types import Sample


class Tile(NamedTuple):
    """One training tile, in px of the downsampled image.

    Attributes
    ----------
    image : (H, W) float32
        Standardised by the brightness and contrast of the whole image.
    boxes : (N, 4) float32, (y0, x0, y1, x1) px
        On the tile; N may be 0.
    masks : (N, H, W) uint8, (N, 4) int, or None
        Those of squares are ranges of pixels (y0, x0, y1, x1), the last not included, to be drawn where the network is:
        drawn masks take 40 MB and a third of a second to turn.
    trusted : (H, W) bool
        Where a pixel without a box is known to be background.
    """

    image: np.ndarray
    boxes: np.ndarray
    masks: np.ndarray | None
    trusted: np.ndarray


class Place(NamedTuple):
    """What is random in a tile: its scene, its window (y0, y1, x0, x1) px, its symmetry, and how it looks."""

    scene: int
    window: tuple[int, int, int, int]
    quarters: int = 0
    mirrored: bool = False
    contrast: float = 1.0
    brightness: float = 0.0


class Tiles:
    """Draws training tiles from samples.

    Parameters
    ----------
    samples : list of Sample
        Each with points, and with labels if `targets` is "labels".
    settings : `Common`
        Of which `box`, `factor`, `tile`, `least` and `augment` are read.
    masks : bool
        Whether tiles have masks.
    targets : "boxes" or "labels"
        What is learned: squares around the points, and filled squares as masks; or the instances of `Sample.labels`
        at the points.

    Raises
    ------
    DataError
        If a sample is not annotated, or none has a point, or labels are to be learned and missing.
    """

    def __init__(self, samples: Sequence[Sample], settings: Common, *, masks: bool, targets: str = "boxes") -> None:
        need_points(samples, settings.LABEL)
        factor = settings.factor
        self.size, self.box, self.least = settings.tile, settings.box / factor, settings.least
        self.masks, self.augment = masks, settings.augment
        self.scenes = []
        for sample in samples:
            image = settings.prepared(sample.image)
            trusted = block_mean(sample.valid.astype(np.float32), factor) > 0.5
            labels = None
            if targets == "labels":  # nearest neighbour: the mean of two labels would be a third one
                if sample.labels is None:
                    raise DataError(f"{sample.name}: no instance masks; use targets='boxes', or samples with labels.")
                labels = sample.labels[factor // 2 :: factor, factor // 2 :: factor]
                labels = np.pad(labels, [(0, a - b) for a, b in zip(image.shape, labels.shape)], mode="edge")
            self.scenes.append((image, trusted, to_small(sample.points, factor), labels))
        self.grid = [
            (i, window) for i, (image, *_) in enumerate(self.scenes) for window, _ in tiles(image.shape, self.size, 0)
        ]

    def __len__(self) -> int:
        """Tiles that cover all samples once."""
        return len(self.grid)

    def epoch(self, rng: np.random.Generator) -> Iterator[Place]:
        """Yield the places of as many tiles as cover all samples once, in random order."""
        for place in rng.permutation(len(self.grid)):
            i, window = self.grid[place]
            yield self._random(i, rng) if self.augment else Place(i, window)

    def tile(self, place: Place) -> Tile:
        """The tile at a place, as it looks there."""
        tile = self._cut(place.scene, place.window)
        if not self.augment:
            return tile
        tile = turned(tile, place.quarters, place.mirrored)
        return tile._replace(image=tile.image * np.float32(place.contrast) + np.float32(place.brightness))

    def _random(self, i, rng):
        height, width = (min(self.size, side) for side in self.scenes[i][0].shape)
        y, x = (int(rng.integers(side - part + 1)) for side, part in zip(self.scenes[i][0].shape, (height, width)))
        symmetry = int(rng.integers(4)), bool(rng.integers(2))
        return Place(i, (y, y + height, x, x + width), *symmetry, rng.uniform(0.7, 1.4), rng.uniform(-0.3, 0.3))

    def _cut(self, i, window):
        """The tile at (y0, y1, x0, x1), with every box of which enough is on it."""
        image, trusted, points, labels = self.scenes[i]
        y0, y1, x0, x1 = window
        part, shape = np.s_[y0:y1, x0:x1], (y1 - y0, x1 - x0)
        points, trusted = points - np.float32([y0, x0]), trusted[part].copy()
        if labels is None:
            boxes, masks = squares(points, self.box), None
        else:
            inside = ((points >= -0.5) & (points < np.float32(shape) - 0.5)).all(axis=1)
            boxes, masks, _ = around(labels[part], points[inside])
        clipped, kept = clip(boxes, shape, self.least)
        slivers = ranges(boxes[~kept])
        for y0, x0, y1, x1 in slivers[((slivers[:, :2] < shape) & (slivers[:, 2:] > 0)).all(axis=1)]:  # not all boxes
            trusted[y0:y1, x0:x1] = False
        if self.masks:
            masks = ranges(clipped) if masks is None else masks[kept]
        return Tile(np.ascontiguousarray(image[part]), clipped, masks if self.masks else None, trusted)


def turned(tile: Tile, quarters: int, mirrored: bool) -> Tile:
    """A tile, boxes and masks included, rotated by multiples of 90 degrees (`numpy.rot90`), then mirrored in x."""

    def turn(array):
        if array is None:
            return None
        array = np.rot90(array, quarters, axes=(-2, -1))
        return np.ascontiguousarray(array[..., ::-1] if mirrored else array)

    boxes = _turned(tile.boxes, tile.image.shape, quarters, mirrored, last=1).astype(np.float32)
    if tile.masks is not None and tile.masks.ndim == 2:
        masks = _turned(tile.masks, tile.image.shape, quarters, mirrored, last=0)
    else:
        masks = turn(tile.masks)
    return Tile(turn(tile.image), boxes, masks, turn(tile.trusted))


def _turned(boxes, shape, quarters, mirrored, last):
    """The same of boxes (y0, x0, y1, x1), or of ranges of pixels: a side of n px ends at n - last."""
    height, width = shape
    for _ in range(quarters):  # pixel (y, x) goes to (width - 1 - x, y)
        boxes = np.stack([width - last - boxes[:, 3], boxes[:, 0], width - last - boxes[:, 1], boxes[:, 2]], axis=1)
        height, width = width, height
    if mirrored:
        boxes = np.stack([boxes[:, 0], width - last - boxes[:, 3], boxes[:, 2], width - last - boxes[:, 1]], axis=1)
    return boxes
