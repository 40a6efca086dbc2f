"""Masks that may overlap, in little memory: each is cut to its own rectangle and kept as bits.

Thousands of full-size masks do not fit: 1755 of a 2048 x 1536 image are 5.5 GB. Cut and packed they are a few MB,
and 60 MB if each filled a tile of 512 px.
"""

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from cellcount.errors import DataError
from cellcount.files import replacing


@dataclass(frozen=True)
class Masks:
    """N masks on one image, some of them perhaps empty.

    Attributes
    ----------
    shape : (H, W), px
    windows : (N, 4) int32
        (y0, y1, x0, x1) px, ends excluded: the rectangle outside of which a mask is empty; all 0 for an empty mask.
    bits : list of N (B,) uint8
        The rectangle's pixels, row by row, eight to a byte.
    scores : (N,) float32
        Higher is surer; comparable within one method only.
    """

    shape: tuple[int, ...]
    windows: np.ndarray
    bits: list[np.ndarray]
    scores: np.ndarray

    def __len__(self) -> int:
        return len(self.bits)

    def window(self, i: int) -> tuple[slice, slice]:
        """Slices of the image that cut out the rectangle of mask i."""
        y0, y1, x0, x1 = self.windows[i]
        return slice(y0, y1), slice(x0, x1)

    def crop(self, i: int) -> np.ndarray:
        """Mask i within its window: (h, w) bool."""
        y0, y1, x0, x1 = self.windows[i]
        size = (y1 - y0) * (x1 - x0)
        return np.unpackbits(self.bits[i], count=size).astype(bool).reshape(y1 - y0, x1 - x0)

    def full(self, i: int) -> np.ndarray:
        """Mask i on the whole image: (H, W) bool."""
        mask = np.zeros(self.shape, bool)
        mask[self.window(i)] = self.crop(i)
        return mask

    def take(self, rows: Sequence[int] | np.ndarray) -> "Masks":
        """The masks of these rows, (M,) int; -1 gives an empty one with score 0."""
        rows = np.asarray(rows, int)
        real = rows >= 0
        windows, scores = np.zeros((len(rows), 4), np.int32), np.zeros(len(rows), np.float32)
        windows[real], scores[real] = self.windows[rows[real]], self.scores[rows[real]]
        bits = [self.bits[row] if row >= 0 else np.zeros(0, np.uint8) for row in rows]
        return Masks(self.shape, windows, bits, scores)

    @property
    def areas(self) -> np.ndarray:
        """(N,) int, px."""
        return np.array([int(np.unpackbits(bits).sum()) for bits in self.bits], int)

    def centroids(self) -> np.ndarray:
        """(N, 2) float32, (y, x) px: the mean of each mask's pixels, (0, 0) for an empty mask."""
        centres = np.zeros((len(self), 2), np.float32)
        for i, (y0, _, x0, _) in enumerate(self.windows):
            pixels = np.argwhere(self.crop(i))
            if len(pixels):
                centres[i] = pixels.mean(axis=0) + [y0, x0]
        return centres

    def coverage(self) -> np.ndarray:
        """(H, W) int32: how many masks claim each pixel."""
        count = np.zeros(self.shape, np.int32)
        for i in range(len(self)):
            count[self.window(i)] += self.crop(i)
        return count

    def labels(self) -> np.ndarray:
        """One owner for each pixel: (H, W) int32, 0 for none, i + 1 for mask i.

        **The rule for overlaps**: a pixel goes to the smallest of the masks that claim it (of equals, to the first),
        so a mask that runs over its neighbours does not hide them. micro_sam resolves overlaps in the same way.
        """
        labels = np.zeros(self.shape, np.int32)
        # From large to small, and of equals the first one last: what is painted later lies on top.
        for i in np.lexsort((-np.arange(len(self)), -self.areas)):
            labels[self.window(i)][self.crop(i)] = i + 1
        return labels

    def holds(self, points: np.ndarray) -> np.ndarray:
        """Which mask contains which point.

        Parameters
        ----------
        points : (P, 2) float, (y, x) px

        Returns
        -------
        (K, 2) int
            Pairs (mask, point).
        """
        pixels = np.rint(np.asarray(points, float).reshape(-1, 2)).astype(int)
        order = np.argsort(pixels[:, 0], kind="stable")
        rows = pixels[order, 0]
        pairs = []
        for i, (y0, y1, x0, x1) in enumerate(self.windows):
            near = order[np.searchsorted(rows, y0) : np.searchsorted(rows, y1)]
            near = near[(pixels[near, 1] >= x0) & (pixels[near, 1] < x1)]
            if len(near):
                inside = self.crop(i)[pixels[near, 0] - y0, pixels[near, 1] - x0]
                pairs += [(i, p) for p in near[inside]]
        return np.array(pairs, int).reshape(-1, 2)

    def iou(self, labels: np.ndarray, of: np.ndarray | None = None) -> np.ndarray:
        """Intersection over union of each mask with a true object.

        Parameters
        ----------
        labels : (H, W) int
            True objects; 0 is background.
        of : (N,) int or None
            The label that each mask is held against; None takes i + 1 for mask i, 0 gives 0.

        Returns
        -------
        (N,) float
        """
        of = np.arange(1, len(self) + 1) if of is None else np.asarray(of, int)
        sizes = np.bincount(labels.ravel(), minlength=max(of.max(initial=0), labels.max()) + 1)
        shared = np.array([np.count_nonzero(labels[self.window(i)][self.crop(i)] == of[i]) for i in range(len(self))])
        union = self.areas + sizes[of] - shared
        return np.where(of > 0, shared / np.maximum(union, 1), 0.0)

    def save(self, path: Path | str) -> None:
        """Write to an .npz file, through a temporary one."""
        lengths = np.array([len(bits) for bits in self.bits], np.int64)
        with replacing(path) as temporary:
            np.savez_compressed(
                temporary, shape=self.shape, windows=self.windows, scores=self.scores, lengths=lengths,
                bits=np.concatenate([np.zeros(0, np.uint8), *self.bits]),
            )  # fmt: skip


def load(path: Path | str) -> Masks:
    """`Masks` from a file of `Masks.save`.

    Raises
    ------
    FileNotFoundError
    DataError
        If the file is not one of them, or cut short.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            bits = np.split(stored["bits"], np.cumsum(stored["lengths"])[:-1]) if len(stored["lengths"]) else []
            return Masks(tuple(int(n) for n in stored["shape"]), stored["windows"], bits, stored["scores"])
    except (KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: not a file of masks, or cut short ({error}); delete it.") from error


class Collector:
    """Gathers the masks of N prompts in any order.

    Parameters
    ----------
    shape : (H, W), px
    n : int
    """

    def __init__(self, shape: Sequence[int], n: int) -> None:
        self.shape = tuple(shape)
        self.windows = np.zeros((n, 4), np.int32)
        self.bits = [np.zeros(0, np.uint8)] * n
        self.scores = np.zeros(n, np.float32)

    def put(self, i: int, mask: np.ndarray, score: float = 1.0, corner: tuple[int, int] | np.ndarray = (0, 0)) -> None:
        """Set mask i from a (h, w) bool array whose top-left pixel lies at `corner` (y, x) px of the image."""
        self.scores[i] = score
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if not len(rows):
            return
        y0, y1, x0, x1 = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
        self.windows[i] = np.array([y0, y1, x0, x1]) + np.repeat(corner, 2)
        self.bits[i] = np.packbits(mask[y0:y1, x0:x1])

    def insert(self, rows: Sequence[int] | np.ndarray, masks: Masks) -> None:
        """Set the masks of these rows, (M,) int, to those of `masks`, which lie on the same image."""
        for row, bits in zip(rows, masks.bits, strict=True):
            self.bits[row] = bits
        self.windows[rows], self.scores[rows] = masks.windows, masks.scores

    def masks(self) -> Masks:
        """What was gathered; `Masks`."""
        return Masks(self.shape, self.windows, self.bits, self.scores)


def from_labels(labels: np.ndarray, n: int, scores: np.ndarray | None = None) -> Masks:
    """N disjoint `Masks` from a label image (H, W) int, where value i + 1 is mask i."""
    collector = Collector(labels.shape, n)
    for i, found in enumerate(ndimage.find_objects(labels, max_label=n)):
        if found is not None:
            collector.put(i, labels[found] == i + 1, corner=(found[0].start, found[1].start))
    if scores is not None:
        collector.scores[:] = scores
    return collector.masks()


def from_boxes(shape: Sequence[int], boxes: np.ndarray) -> Masks:
    """Filled rectangles as `Masks`, cut at the image's border.

    Parameters
    ----------
    shape : (H, W), px
    boxes : (N, 4) float, (y0, x0, y1, x1) px
        A pixel belongs to a box if its centre lies in it; the upper ends are excluded, so that a side of 36 px
        covers 36 px wherever it lies.
    """
    collector = Collector(shape, len(boxes))
    for i, (y0, x0, y1, x1) in enumerate(np.asarray(boxes, float)):
        top, left = (max(0, int(np.ceil(v))) for v in (y0, x0))
        bottom, right = (min(side, int(np.ceil(v))) for side, v in zip(shape, (y1, x1), strict=True))
        size = (max(0, bottom - top), max(0, right - left))
        collector.put(i, np.ones(size, bool), corner=(top, left))
    return collector.masks()
