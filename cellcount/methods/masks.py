"""Masks that may overlap, in little memory: each is cropped to its bounding box and stored as bits.

Thousands of full-size masks do not fit into memory: 1755 of a 2048 x 1536 image take 5.5 GB. Cropped and packed they
take a few MB, and 60 MB if each filled a tile of 512 px.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Masks:
    """N masks on one image; some may be empty.

    Attributes
    ----------
    shape : (H, W), px
    windows : (N, 4) int32
        (y0, y1, x0, x1) px, ends excluded: the bounding box of each mask; all 0 for an empty mask.
    bits : list of N (B,) uint8
        The pixels of the bounding box, row by row, eight to a byte.
    scores : (N,) float32
        Higher is more certain; comparable within one method only.
    """

    shape: tuple[int, ...]
    windows: np.ndarray
    bits: list[np.ndarray]
    scores: np.ndarray

    @classmethod
    def empty(cls, shape: Sequence[int], n: int) -> "Masks":
        """N empty masks with score 0 on an image of `shape` (H, W) px, to be filled by `put`."""
        return cls(tuple(shape), np.zeros((n, 4), np.int32), [np.zeros(0, np.uint8)] * n, np.zeros(n, np.float32))

    def put(self, i: int, mask: np.ndarray, score: float = 1.0, corner: Sequence[int] | np.ndarray = (0, 0)) -> None:
        """Set mask i, empty until now, to a (h, w) bool array whose top-left pixel is at `corner` (y, x) px."""
        self.scores[i] = score
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if len(rows):
            y0, y1, x0, x1 = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
            self.windows[i] = np.array([y0, y1, x0, x1]) + np.repeat(corner, 2)
            self.bits[i] = np.packbits(mask[y0:y1, x0:x1])

    def __len__(self) -> int:
        return len(self.bits)

    def window(self, i: int) -> tuple[slice, slice]:
        """Slices of the image for the bounding box of mask i."""
        y0, y1, x0, x1 = self.windows[i]
        return slice(y0, y1), slice(x0, x1)

    def crop(self, i: int) -> np.ndarray:
        """Mask i within its window: (h, w) bool."""
        shape = tuple(part.stop - part.start for part in self.window(i))
        return np.unpackbits(self.bits[i], count=shape[0] * shape[1]).astype(bool).reshape(shape)

    def full(self, i: int) -> np.ndarray:
        """Mask i on the whole image: (H, W) bool."""
        mask = np.zeros(self.shape, bool)
        mask[self.window(i)] = self.crop(i)
        return mask

    def take(self, rows: Sequence[int] | np.ndarray) -> "Masks":
        """The masks of these rows, (M,) int; -1 gives an empty one with score 0."""
        rows, none = np.asarray(rows, int), Masks.empty(self.shape, 1)  # which is appended: row -1
        windows, scores = np.concatenate([self.windows, none.windows]), np.concatenate([self.scores, none.scores])
        bits = self.bits + none.bits
        return Masks(self.shape, windows[rows], [bits[row] for row in rows], scores[rows])

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
        so a mask that covers its neighbours does not hide them. micro_sam resolves overlaps in the same way.
        """
        labels = np.zeros(self.shape, np.int32)
        # From large to small, and of equal ones the first at the end: later masks overwrite earlier ones.
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
        pairs = []
        for i, (y0, y1, x0, x1) in enumerate(self.windows):
            near = np.flatnonzero(((pixels >= [y0, x0]) & (pixels < [y1, x1])).all(axis=1))
            pairs += [(i, p) for p in near[self.crop(i)[tuple((pixels[near] - [y0, x0]).T)]]]
        return np.array(pairs, int).reshape(-1, 2)

    def iou(self, labels: np.ndarray, of: np.ndarray | None = None) -> np.ndarray:
        """Intersection over union of each mask with a true object.

        Parameters
        ----------
        labels : (H, W) int
            True objects; 0 is background.
        of : (N,) int or None
            The label of the object that each mask is compared with; None takes i + 1 for mask i, 0 gives an IoU of 0.

        Returns
        -------
        (N,) float
        """
        of = np.arange(1, len(self) + 1) if of is None else np.asarray(of, int)
        sizes = np.bincount(labels.ravel(), minlength=max(of.max(initial=0), labels.max()) + 1)
        shared = np.array([np.count_nonzero(labels[self.window(i)][self.crop(i)] == of[i]) for i in range(len(self))])
        union = self.areas + sizes[of] - shared
        return np.where(of > 0, shared / np.maximum(union, 1), 0.0)


def from_boxes(shape: Sequence[int], boxes: np.ndarray) -> Masks:
    """Filled rectangles as `Masks`, cropped at the image's border.

    Parameters
    ----------
    shape : (H, W), px
    boxes : (N, 4) float, (y0, x0, y1, x1) px
        A pixel belongs to a box if its centre is inside; the upper ends are excluded, so that a side of 36 px covers
        36 px at any position.
    """
    masks = Masks.empty(shape, len(boxes))
    corners = np.clip(np.ceil(np.asarray(boxes, float).reshape(-1, 4)), 0, np.tile(shape, 2)).astype(int)
    for i, (y0, x0, y1, x1) in enumerate(corners):
        masks.put(i, np.ones((max(0, y1 - y0), max(0, x1 - x0)), bool), corner=(y0, x0))
    return masks
