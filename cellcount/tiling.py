"""One method on an image of any size: tiles that overlap, and an answer that does not show where they met."""

import functools
import time

import numpy as np
from scipy.spatial import cKDTree
from tqdm import tqdm

from cellcount.errors import ParameterError
from cellcount.nouns import Prediction
from cellcount.prefetch import prefetched

SLACK = 3.0  # px; two tiles may place the same cell this far apart, and one of the two is dropped


def tiles(shape, tile, overlap):
    """The tiles of an image: for each the window that a method sees, and the core that it answers for.

    The cores cover the image once. A window reaches `overlap` px beyond its core, as far as there is image.

    Parameters
    ----------
    shape : (height, width), px
    tile : int, px
        Largest side of a window.
    overlap : int, px

    Yields
    ------
    window, core : two (y0, y1, x0, x1) tuples, px
    """
    if overlap < 0 or tile <= 2 * overlap:
        raise ParameterError(
            f"tile={tile} must be larger than twice the overlap={overlap}, which must not be negative."
        )
    rows, columns = (_cuts(side, tile - 2 * overlap) for side in shape)
    for y0, y1 in rows:
        for x0, x1 in columns:
            window = (
                max(0, y0 - overlap),
                min(shape[0], y1 + overlap),
                max(0, x0 - overlap),
                min(shape[1], x1 + overlap),
            )
            yield window, (y0, y1, x0, x1)


def _cuts(side, longest):
    """Pieces [start, end) of equal length, but for rounding to 32 px, none longer than `longest`."""
    n = -(-side // longest)
    # Methods that shrink the image give the same answer only if every tile starts on their raster.
    raster = 32 if longest >= 32 else 1
    length = min(longest // raster * raster, -(-side // n // raster) * raster)
    starts = range(0, side, length)
    return [(start, min(start + length, side)) for start in starts]


def tiled(predict, *, tile=1024, overlap=128, measure=None, maps=True, together=None, batch=1, progress=True):
    """Wrap a method's `predict` so that it runs tile by tile; the wrapped function has the same signature.

    A cell belongs to the tile whose core holds its point. Points that two tiles place within 3 px of each other at
    a border are one cell. Masks come whole from the tile that owns the cell. Densities are pasted core by core.
    The next tiles are read while the present ones are computed.

    Parameters
    ----------
    predict : a method's predict
    tile, overlap : int, px
        Largest side of a tile, and how far it sees beyond the part it answers for: at least the size of an object
        plus the method's field of view.
    measure : function of the image or None
        What the method must know of the whole image, as keyword arguments for `predict` (brightness, contrast).
    maps : bool
        Whether to put the tiles' masks and densities together, each as large as the image. Without them memory does
        not grow with the image; the densities are still summed up.
    together : a method's predict_batch or None
        Answers for `batch` tiles of one shape at once, where a GPU would idle on a single one. Not used with prompts.
    batch : int
    progress : bool

    Returns
    -------
    function (image (H, W), *, prompts=None, device="auto", **params) -> Prediction
        The image is an array, or whatever has a `shape` and gives float32 arrays when sliced: see
        `cellcount.data.large`. Prompts are an (N, 2) array of (y, x) px, or None; each tile gets those in its window.
        `meta` has `density_sum`, in cells, if the method gives densities.

    Raises
    ------
    ParameterError
        If `tile` is not larger than twice `overlap`.
    """
    if overlap < 0 or tile <= 2 * overlap:
        raise ParameterError(
            f"tile={tile} must be larger than twice the overlap={overlap}, which must not be negative."
        )

    @functools.wraps(predict)
    def predict_tiled(image, *, prompts=None, device="auto", **params):
        if maps and max(image.shape) <= tile:
            return predict(image, prompts=prompts, device=device, **params)
        started = time.perf_counter()
        params = (measure(image) if measure else {}) | params
        size = batch if together and prompts is None else 1
        groups = list(_groups(tiles(image.shape, tile, overlap), size))
        number = sum(map(len, groups))
        answer = _Canvas(image.shape, maps)
        with tqdm(total=number, desc="tiles", unit="tile", disable=not progress or number < 8) as bar:
            for group, read in zip(groups, prefetched(lambda group: _windows(image, group), groups)):
                if size > 1:
                    parts = together(read(), device=device, **params)
                else:
                    own = _in_window(prompts, group[0][0])
                    parts = [predict(*read(), prompts=own, device=device, **params)]
                for part, (window, core) in zip(parts, group, strict=True):
                    answer.add(part, window, core)
                bar.update(len(group))
        return answer.prediction(seconds=time.perf_counter() - started)

    return predict_tiled


def _groups(places, size):
    """Lists of up to `size` successive (window, core) with windows of one shape."""
    group = []
    for window, core in places:
        if len(group) == size or group and _shape(group[0][0]) != _shape(window):
            yield group
            group = []
        group.append((window, core))
    yield group


def _shape(window):
    return window[1] - window[0], window[3] - window[2]


def _windows(image, group):
    return [image[y0:y1, x0:x1] for (y0, y1, x0, x1), _ in group]


def _in_window(prompts, window):
    if prompts is None:
        return None
    y0, y1, x0, x1 = window
    prompts = np.asarray(prompts, np.float32)
    kept = ((prompts >= [y0 - 0.5, x0 - 0.5]) & (prompts < [y1 - 0.5, x1 - 0.5])).all(axis=1)
    return prompts[kept] - np.float32([y0, x0])


class _Canvas:
    """Collects the tiles' answers, which come row by row."""

    def __init__(self, shape, maps):
        self.shape, self.maps = shape, maps
        self.points, self.scores, self.found = [np.zeros((0, 2), np.float32)], [np.zeros(0, np.float32)], 0
        self.border = self.points[0]  # what the tiles to come may find again
        self.labels = self.density = self.density_sum = None
        self.meta, self.count_is_points = {}, True

    def add(self, part, window, core):
        """Take from a tile's Prediction what lies in its core, but for what an earlier tile has given already."""
        y0, _, x0, _ = window
        points = part.points + np.float32([y0, x0])
        # Each of two tiles may place a cell of the border just beyond it, so both look a little beyond.
        low, high = np.float32([core[0], core[2]]) - 0.5, np.float32([core[1], core[3]]) - 0.5
        kept = ((points >= low - SLACK) & (points < high + SLACK)).all(axis=1)
        kept &= ~self._known(points, low)
        if part.labels is not None and self.maps:
            self._paint(part.labels, np.flatnonzero(kept), window)
        if part.density is not None:
            self._paste(part.density[core[0] - y0 : core[1] - y0, core[2] - x0 : core[3] - x0], core)
        points = points[kept]
        inner = ((points >= low + 2 * SLACK) & (points < high - 2 * SLACK)).all(axis=1)
        self.border = np.concatenate([self.border, points[~inner]])
        self.points.append(points)
        self.scores.append(part.scores[kept])
        self.found += len(points)
        self.count_is_points &= part.count == len(part.points)
        self.meta = self.meta or part.meta

    def _known(self, points, low):
        """Which points an earlier tile has found: the same place to within SLACK.

        Only points near the edge of an earlier core can be met again, and none above this row of tiles: looking
        through those alone, the work grows with the area and not with its square.
        """
        self.border = self.border[self.border[:, 0] >= low[0] - 2 * SLACK]
        if not len(self.border):
            return np.zeros(len(points), bool)
        return np.isfinite(cKDTree(self.border).query(points, distance_upper_bound=SLACK)[0])

    def _paste(self, density, core):
        """Add the core's own part of a density map."""
        if self.maps:
            if self.density is None:
                self.density = np.zeros(self.shape, np.float32)
            self.density[core[0] : core[1], core[2] : core[3]] = density
        self.density_sum = (self.density_sum or 0.0) + float(density.sum(dtype=float))

    def _paint(self, labels, kept, window):
        """Copy the masks of the kept points; pixel value i + 1 belongs to point i, here and there."""
        if self.labels is None:
            self.labels = np.zeros(self.shape, np.int32)
        renamed = np.zeros(max(labels.max(), kept.max(initial=-1) + 1) + 1, np.int32)
        renamed[kept + 1] = self.found + 1 + np.arange(len(kept))
        target = self.labels[window[0] : window[1], window[2] : window[3]]
        target[target == 0] = renamed[labels][target == 0]

    def prediction(self, seconds):
        points, scores = np.concatenate(self.points), np.concatenate(self.scores)
        count = len(points) if self.count_is_points else self.density_sum
        meta = self.meta | {"seconds": seconds}
        if self.density_sum is not None:
            meta["density_sum"] = self.density_sum
        return Prediction(points, scores, float(count), labels=self.labels, density=self.density, meta=meta)
