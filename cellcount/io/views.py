"""What a method sees of an image: without padding, and at the size of cells that it knows.

The padding, a constant area such as a black margin, has no cell and says nothing of the exposure: the image is
mirrored into it, as methods do at an image's border.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from itertools import pairwise

import numpy as np
from PIL import Image

from cellcount.io.large import LARGE, LargeImage
from cellcount.types import Prediction

BLOCK = 8  # px; the smallest constant square that may be padding, and the squares of JPEG
LEAST = 4096  # px; smaller constant areas are saturated cells
CONTENT = 48  # px; an image has a square of this side that is no padding
COLOURS, AREAS = 4, 16  # values that padding has, and areas of each, at most
STEP = 0.02  # beside padding, values differ by more; a dark background that ends in black does not
PARTS = 9  # of each side, whose contrast is compared
RIM = 4  # px beside padding, where JPEG and interpolation mix its value with those of the image
SIDE = 2  # px of the source on each side of a window, for the bicubic filter, times the reduction


def padding(image: np.ndarray) -> np.ndarray | None:
    """(H, W) bool: the constant areas of an image (H, W) float32 in [0, 1], of any form; None if there is none.

    An area counts if it consists of squares of 8 px with one value, has 4,096 px or more, and differs from what
    surrounds it.
    """
    height, width = (side // BLOCK for side in image.shape)
    if not height * width:
        return None
    blocks = image[: height * BLOCK, : width * BLOCK].reshape(height, BLOCK, width, BLOCK)
    corner = blocks[:, :1, :, :1]
    flat = (blocks[:, ::7, :, ::7] == corner).all(axis=(1, 3))  # four corners first: nearly all blocks fail
    y, x = np.nonzero(flat)
    flat[y, x] = (blocks[y, :, x] == corner[y, :, x]).all(axis=(1, 2))
    if flat.sum() * BLOCK**2 < LEAST:
        return None
    from scipy import ndimage

    found = np.zeros(image.shape, bool)
    values = corner[:, 0, :, 0]
    every, counts = np.unique(values[flat], return_counts=True)
    large = every[counts * BLOCK**2 >= LEAST]
    if len(large) > COLOURS:  # strong compression, or a drawing
        return None
    for value in large:
        areas, _ = ndimage.label(flat & (values == value), np.ones((3, 3)))
        found_here = np.flatnonzero(np.bincount(areas.ravel())[1:] * BLOCK**2 >= LEAST) + 1
        for area in found_here[:AREAS]:
            near = ndimage.binary_dilation(areas == area, np.ones((3, 3))).repeat(BLOCK, 0).repeat(BLOCK, 1)
            near = np.pad(near, [(0, side - n) for side, n in zip(image.shape, near.shape)], mode="edge")
            inside = near & (image == value)
            beside = ndimage.binary_dilation(inside, np.ones((3, 3)), 2) & ~inside
            if beside.any() and np.median(np.abs(image[beside] - value)) >= STEP:
                found |= inside
    whole = ndimage.binary_erosion(~found, np.ones((3, 3)), CONTENT // 2, border_value=1)
    return found if found.any() and whole.any() else None  # else it is the ground of small objects


def _busiest(image: np.ndarray) -> tuple[float, float]:
    """Centre (y, x), px, of the part of an image (H, W), a third of its sides, with the highest contrast."""
    rows, columns = (np.linspace(0, side, min(side, PARTS) + 1).astype(int) for side in image.shape)
    some = np.array([[image[y0:y1:2, x0:x1:2].std() for x0, x1 in pairwise(columns)] for y0, y1 in pairwise(rows)])
    third = [-(-n // 3) for n in some.shape]
    sums = np.lib.stride_tricks.sliding_window_view(some, third).sum(axis=(2, 3))
    y, x = np.unravel_index(sums.argmax(), sums.shape)
    return float(rows[y] + rows[y + third[0]]) / 2, float(columns[x] + columns[x + third[1]]) / 2


class View:
    """An image as a method sees it; `view[y0:y1, x0:x1]` is (y1 - y0, x1 - x0) float32.

    Parameters
    ----------
    image : (H, W) float32 in [0, 1], or LargeImage

    Attributes
    ----------
    shape : (height, width), px of the view
    scale : float
        Px of the view along the side of a px of the image.
    sample : (h, w) float32
        Pixels outside of the padding, for quantiles.
    padding : (h', w') bool or None
        Of the image, or of the overview of a `LargeImage`.
    shown : (h, w) float32
        The image, or the overview of a `LargeImage`, the median in place of padding.
    middle : (y, x) px of the image
        Of what is not padding.
    """

    def __init__(self, image: np.ndarray | LargeImage) -> None:
        self.image, self.scale, self.shape, self.factor = image, 1.0, (image.shape[0], image.shape[1]), 1
        shown = self.sample = np.asarray(image) if not isinstance(image, LargeImage) else image.sample
        if isinstance(image, LargeImage):
            shown, self.factor = image.overview, image.factor
        self.padding, self.middle = padding(shown), [(side - 1) / 2 for side in self.shape]
        if self.padding is not None:
            from scipy import ndimage

            at = np.nonzero(~self.padding)
            self.middle = [(float(one.min()) + float(one.max())) / 2 * self.factor for one in at]
            side = max(1, int(np.sqrt(len(at[0]))))
            self.sample = shown[at][: side * (len(at[0]) // side)].reshape(side, -1)
            self._value = np.median(self.sample)
            self._near = ndimage.binary_dilation(self.padding, np.ones((3, 3)), -(-RIM // self.factor))
            shown = np.where(self._near, np.float32(self._value), shown)
        self.shown = shown

    @cached_property
    def busiest(self) -> Sequence[float]:
        """Centre (y, x), px of the image, of the part with the highest contrast; in a sparse field the middle is empty.

        Not sought before it is asked for: most methods do not.
        """
        return [self.factor * at for at in _busiest(self.shown)]

    def at(self, scale: float) -> View:
        """The same image, resampled: its pixels are interpolated (bicubic, without aliasing)."""
        view = copy.copy(self)
        view.scale = scale
        view.shape = (max(1, round(self.image.shape[0] * scale)), max(1, round(self.image.shape[1] * scale)))
        return view

    def pixels(self) -> np.ndarray | View:
        """All pixels, (H, W) float32; the view itself, if they are not to be in memory."""
        if self.scale == 1 and self.padding is None and isinstance(self.image, np.ndarray):
            return self.image
        if isinstance(self.image, LargeImage) or self.shape[0] * self.shape[1] > LARGE:
            return self
        return self[: self.shape[0], : self.shape[1]]

    def __getitem__(self, window: tuple[slice, slice]) -> np.ndarray:
        """(h, w) float32 of a pair of slices."""
        (y0, y1, _), (x0, x1, _) = (part.indices(side) for part, side in zip(window, self.shape, strict=True))
        if self.scale == 1:
            return self._source(y0, y1, x0, x1)
        steps = [side / own for side, own in zip(self.image.shape, self.shape, strict=True)]
        box = [y0 * steps[0], x0 * steps[1], y1 * steps[0], x1 * steps[1]]
        margin = int(np.ceil(SIDE * max(1, *steps))) + 1
        top, left = max(0, int(box[0]) - margin), max(0, int(box[1]) - margin)
        bottom, right = (int(np.ceil(end)) + margin for end in box[2:])
        pixels = self._source(top, min(bottom, self.image.shape[0]), left, min(right, self.image.shape[1]))
        shifted = (box[1] - left, box[0] - top, box[3] - left, box[2] - top)
        resized = Image.fromarray(np.ascontiguousarray(pixels)).resize(
            (x1 - x0, y1 - y0), Image.Resampling.BICUBIC, shifted
        )
        return np.array(resized, np.float32)

    def _source(self, y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
        """(h, w) float32 of a window of the image, the padding replaced."""
        pixels = self.image[y0:y1, x0:x1]
        if self.padding is None:
            return pixels
        rows, columns = (np.arange(*ends) // self.factor for ends in ((y0, y1), (x0, x1)))
        hidden = self._near[np.ix_(rows, columns)]
        if not hidden.any() or hidden.all():
            return np.full_like(pixels, self._value) if hidden.all() else pixels
        from scipy import ndimage

        at = np.nonzero(hidden)
        edge = ndimage.distance_transform_edt(hidden, return_distances=False, return_indices=True)[:, *at]
        mirrored = 2 * edge - np.array(at)
        inside = ((mirrored >= 0) & (mirrored < np.array(hidden.shape)[:, None])).all(axis=0)
        inside[inside] = ~hidden[*mirrored[:, inside]]
        pixels = np.array(pixels)
        pixels[at] = pixels[*np.where(inside, mirrored, edge)]
        return pixels

    def back(self, found: Prediction) -> Prediction:
        """A prediction for the view, as one for the image (H, W): points in its px, and none in the padding."""
        points, scores, labels, density = found.points, found.scores, found.labels, found.density
        own, count = self.image.shape, found.count
        if self.scale != 1:
            steps = np.array([side / part for side, part in zip(own, self.shape, strict=True)], np.float32)
            points = (points + 0.5) * steps - 0.5
            if labels is not None:
                y, x = ((np.arange(side) + 0.5) / step for side, step in zip(own, steps, strict=True))
                labels = labels[np.ix_(*(np.minimum(at.astype(int), n - 1) for at, n in zip((y, x), self.shape)))]
            if density is not None:
                total = float(density.sum(dtype=float))
                grown = Image.fromarray(density).resize((own[1], own[0]), Image.Resampling.BILINEAR)
                density = np.array(grown, np.float32)
                density *= np.float32(total / max(float(density.sum(dtype=float)), 1e-12))
        interval = found.count_interval
        if self.padding is not None:
            at = [np.clip(np.rint(side), 0, n - 1).astype(int) // self.factor for side, n in zip(points.T, own)]
            kept = ~self.padding[at[0], at[1]]
            before = len(kept)
            if labels is not None:
                numbers = np.zeros(max(before, int(labels.max())) + 1, np.int32)
                numbers[np.flatnonzero(kept) + 1] = np.arange(kept.sum()) + 1
                labels = numbers[labels]
            if density is not None and self.factor == 1:
                density = np.where(self.padding, np.float32(0), density)
            if count == before:
                count = float(kept.sum())
            elif density is not None:
                count = float(density.sum(dtype=float))
            elif not before:  # derived from an area
                count *= float(1 - self.padding.mean())
            points, scores = points[kept], scores[kept]
            interval = interval if count == found.count else None
        return replace(
            found, points=points, scores=scores, labels=labels, density=density, count=count, count_interval=interval
        )
