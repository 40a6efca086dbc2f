"""One method on an image of any size: tiles that overlap, and a result that does not show where they meet."""

import functools
import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from tqdm import tqdm

from cellcount.errors import ParameterError
from cellcount.io.prefetch import prefetched
from cellcount.types import Prediction, as_points, visible

SLACK = 3.0  # px; two tiles may place the same cell this far apart, and one of the two points is dropped


Window = tuple[int, int, int, int]  # (y0, y1, x0, x1) px, ends excluded
Tile = tuple[Window, Window]  # what a method gets, and the core of it for which it answers


def tiles(shape: tuple[int, ...], tile: int, overlap: int) -> Iterator[Tile]:
    """The tiles of an image: for each the window that a method gets, and the core for which it answers.

    The cores cover the image once. A window extends `overlap` px beyond its core, up to the image's border.

    Parameters
    ----------
    shape : (height, width), px
    tile : int, px
        Largest side of a window.
    overlap : int, px

    Yields
    ------
    window, core : two (y0, y1, x0, x1) tuples, px

    Raises
    ------
    ParameterError
        If `tile` is not larger than twice `overlap`, or `overlap` is negative.
    """
    _check(tile, overlap)
    rows, columns = (_cuts(side, tile - 2 * overlap) for side in shape)
    for y0, y1 in rows:
        top, bottom = max(0, y0 - overlap), min(shape[0], y1 + overlap)
        for x0, x1 in columns:
            yield (top, bottom, max(0, x0 - overlap), min(shape[1], x1 + overlap)), (y0, y1, x0, x1)


def _check(tile: int, overlap: int) -> None:
    if overlap < 0 or tile <= 2 * overlap:
        raise ParameterError(f"tile={tile} must be larger than twice overlap={overlap}, which must not be negative.")


def _cuts(side: int, longest: int) -> list[tuple[int, int]]:
    """Pieces [start, end) of equal length, rounded to 32 px, none longer than `longest`."""
    n = -(-side // longest)
    # Methods that downsample the image give the same result only if every tile starts on their grid.
    raster = 32 if longest >= 32 else 1
    length = min(longest // raster * raster, -(-side // n // raster) * raster)
    return [(start, min(start + length, side)) for start in range(0, side, length)]


def slices(core: Window, window: Window = (0, 0, 0, 0)) -> tuple[slice, slice]:
    """Index of a core in the array of its window, or in that of the whole image."""
    y, x = window[0], window[2]
    return slice(core[0] - y, core[1] - y), slice(core[2] - x, core[3] - x)


def tiled(
    predict: Callable[..., Prediction],
    *,
    tile: int = 1024,
    overlap: int = 128,
    context: Callable[..., dict[str, Any]] | None = None,
    maps: bool = True,
    predict_batch: Callable[..., list[Prediction]] | None = None,
    batch: int = 1,
    progress: bool = True,
) -> Callable[..., Prediction]:
    """Wrap a method's `predict` so that it runs tile by tile; the wrapped function has the same signature.

    A cell belongs to the tile whose core contains its point. Points that two tiles place within 3 px of each other at
    a border are one cell. Masks come whole from the tile to which the cell belongs. Densities are copied core by core.
    Each prompt is answered by the tile whose core contains its centre. The ends of count intervals add up, in
    proportion to the core's share of its window's count: this assumes that the errors of all tiles have one sign,
    which gives the widest interval. The next tiles are read while the present ones are computed.

    Parameters
    ----------
    predict : a method's predict
    tile, overlap : int, px
        Largest side of a tile, and how far it extends beyond the part for which it answers: at least the size of an
        object plus the method's receptive field.
    context : a method's context, or None
        What the method must know of the whole image, as keyword arguments for `predict` (exposure, diameter).
    maps : bool
        Whether to assemble masks and densities, each as large as the image. Without them memory does not grow with the
        image; the densities are still summed up.
    predict_batch : a method's predict_batch or None
        Computes `batch` tiles of one shape at once, which uses a GPU better than single tiles. Not used with prompts.
    batch : int
    progress : bool

    Returns
    -------
    function (image (H, W), *, prompts=None, device="auto", **params) -> Prediction
        The image is an array, or an object that has a `shape` and gives float32 arrays when sliced: see
        `cellcount.io.large`. Prompts are an (N, 2) array of (y, x) px, an object that has `centres`, `take` and
        `in_window` (`cellcount.methods.prompts.Prompts`), or None.
        `meta` has `density_sum`, in cells, if the method gives densities.

    Raises
    ------
    ParameterError
        If `tile` is not larger than twice `overlap`. The function raises one if a method's count is neither the
        number of its points, nor of those with a mask, nor the sum of its density.
    """
    _check(tile, overlap)

    @functools.wraps(predict)
    def predict_tiled(image: Any, *, prompts: Any = None, device: str = "auto", **params: Any) -> Prediction:
        if maps and max(image.shape) <= tile:
            return predict(image, prompts=prompts, device=device, **params)
        started = time.perf_counter()
        params = (context(image, device=device, **params) if context else {}) | params
        size = batch if predict_batch and prompts is None else 1
        groups = list(_groups(tiles(image.shape, tile, overlap), size))
        number = sum(map(len, groups))
        result = _Assembled(image.shape, maps)

        def read_windows(group: list[Tile]) -> list[np.ndarray]:
            return [image[slices(window)] for window, _ in group]

        with tqdm(total=number, desc="tiles", unit="tile", disable=not progress or number < 8) as bar:
            for group, read in zip(groups, prefetched(read_windows, groups)):
                rows, own = (None, None) if prompts is None else owned(prompts, *group[0], image.shape)
                if size > 1 and predict_batch:
                    parts = predict_batch(read(), device=device, **params)
                elif rows is not None and not len(rows) and result.meta:
                    parts = []  # no prompt belongs to this tile
                else:
                    parts = [predict(*read(), prompts=own, device=device, **params)]
                for part, (window, core) in zip(parts, group):
                    result.add(part, window, core, rows)
                bar.update(len(group))
        return result.prediction(seconds=time.perf_counter() - started)

    return predict_tiled


def _groups(places: Iterable[Tile], size: int) -> Iterator[list[Tile]]:
    """Lists of up to `size` successive tiles with windows of one shape."""
    for _, same in itertools.groupby(places, lambda place: _shape(place[0])):
        while group := list(itertools.islice(same, size)):
            yield group


def _shape(window: Window) -> tuple[int, int]:
    return window[1] - window[0], window[3] - window[2]


def owned(prompts: Any, window: Window, core: Window, shape: tuple[int, ...]) -> tuple[np.ndarray | None, Any]:
    """Rows of the prompts for which a tile answers, and those prompts in the window's pixels.

    These are the prompts whose centre is in the core; a centre beyond the image counts as on its border. A prompt for
    the foreground goes to every tile: rows are None.
    """
    is_array = not hasattr(prompts, "in_window")
    if not is_array and prompts.kind == "foreground":
        return None, prompts.in_window(window)
    prompts = as_points(prompts, "prompts") if is_array else prompts
    centres = np.clip(prompts if is_array else prompts.centres, 0, np.array(shape, np.float32) - 1)
    rows = np.flatnonzero(_within(centres, core))
    if is_array:
        return rows, prompts[rows] - np.array([window[0], window[2]], np.float32)
    return rows, prompts.take(rows).in_window(window)


def _within(points: np.ndarray, core: Window, margin: float = 0.0) -> np.ndarray:
    """(N,) bool: which points (N, 2), (y, x) px, are on the pixels of a core, or within `margin` px of it."""
    low, high = np.array([core[0], core[2]], np.float32) - 0.5, np.array([core[1], core[3]], np.float32) - 0.5
    return ((points >= low - margin) & (points < high + margin)).all(axis=1)


def _counted(part: Prediction) -> np.ndarray | None:
    """(M,) bool: which points make up a tile's count; None if the count is the sum of a density."""
    if part.count == len(part.points):
        return np.ones(len(part.points), bool)
    if part.labels is not None:
        masked = visible(part.labels, len(part.points))
        if part.count == masked.sum():
            return masked
    # What is on padding belongs to a density's count, but not to its map.
    if part.density is None or abs(part.count - part.density.sum(dtype=float)) > 1 + 0.05 * part.count:
        raise ParameterError(
            "This method's count is neither the number of its points, nor of those with a mask, nor the sum of a "
            "density, so it cannot be added up over tiles; have it return its density."
        )
    return None


class _Assembled:
    """Assembles the tiles' predictions, which come row by row."""

    def __init__(self, shape: tuple[int, ...], maps: bool) -> None:
        self.shape, self.maps = shape, maps
        self.points, self.scores, self.found = [np.zeros((0, 2), np.float32)], [np.zeros(0, np.float32)], 0
        self.border = self.points[0]  # points that later tiles may find again
        self.labels: np.ndarray | None = None
        self.density: np.ndarray | None = None
        self.density_sum: float | None = None
        self.rows: list[np.ndarray] = []
        self.areas = [np.zeros(1, int)]  # px, of the background, which is not measured, and of the prompts' masks
        self.meta: dict[str, Any] = {}
        self.count: int | None = 0
        self.around: tuple[float, float] | None = (0.0, 0.0)  # from the interval's ends to the count

    def add(self, part: Prediction, window: Window, core: Window, rows: np.ndarray | None = None) -> None:
        """Add what is in the core of a tile, except for cells that an earlier tile has found.

        Where rows of prompts are given, the points are the answers to them, and all are kept.
        """
        points = part.points + np.array([window[0], window[2]], np.float32)
        # Two tiles may each place a cell at their border just beyond it, so that both cores are widened a little.
        kept = _within(points, core, SLACK) & ~self._known(points, core[0] - 0.5)
        if rows is not None:
            kept[:] = True
            self.rows.append(rows)
        if part.labels is not None and self.maps:
            self._paint(part.labels, np.flatnonzero(kept), window, answers=rows is not None)
        mine = self._add_density(part.density, window, core)
        counted = _counted(part)
        if counted is not None:
            mine = float(counted[kept].sum())
        self.count = None if counted is None or self.count is None else self.count + int(mine)
        whole, inner = _shape(window), _shape(core)
        self._widen(part, mine / part.count if part.count else inner[0] * inner[1] / (whole[0] * whole[1]))
        points = points[kept]
        self.border = np.concatenate([self.border, points[~_within(points, core, -2 * SLACK)]])
        self.points.append(points)
        self.scores.append(part.scores[kept])
        self.found += len(points)
        self.meta = self.meta or part.meta

    def _widen(self, part: Prediction, share: float) -> None:
        """Add the core's share of a tile's count interval."""
        if part.count_interval is None or self.around is None:
            self.around = None
        else:
            (low, high), (below, above) = part.count_interval, self.around
            self.around = below + (part.count - low) * share, above + (high - part.count) * share

    def _known(self, points: np.ndarray, top: float) -> np.ndarray:
        """Which points an earlier tile has found: at the same position to within SLACK.

        Only points near the border of an earlier core can be found again, and none above this row of tiles, whose
        cores begin at y = `top` px. Searching only these, the work grows with the area and not with its square.
        """
        self.border = self.border[self.border[:, 0] >= top - 2 * SLACK]
        if not len(self.border):
            return np.zeros(len(points), bool)
        from scipy.spatial import cKDTree

        return np.isfinite(cKDTree(self.border).query(points, distance_upper_bound=SLACK)[0])

    def _add_density(self, density: np.ndarray | None, window: Window, core: Window) -> float:
        """Copy the core's part of a density map, if there is one; returns its sum."""
        if density is None:
            return 0.0
        own = density[slices(core, window)]
        if self.maps:
            self.density = np.zeros(self.shape, np.float32) if self.density is None else self.density
            self.density[slices(core)] = own
        total = float(own.sum(dtype=float))
        self.density_sum = (self.density_sum or 0.0) + total
        return total

    def _paint(self, labels: np.ndarray, kept: np.ndarray, window: Window, answers: bool) -> None:
        """Copy the masks of the kept points; pixel value i + 1 belongs to point i, in the tile and in the image.

        Answers of two tiles to prompts may claim the same pixel, which goes to the smaller mask, as in `Masks.labels`.
        """
        self.labels = np.zeros(self.shape, np.int32) if self.labels is None else self.labels
        renamed = np.zeros(max(labels.max(), kept.max(initial=-1) + 1) + 1, np.int32)
        renamed[kept + 1] = self.found + 1 + np.arange(len(kept))
        target = self.labels[slices(window)]
        own = renamed[labels]
        free = target == 0
        if answers:
            self.areas.append(np.bincount(labels.ravel(), minlength=len(renamed))[kept + 1])
            areas = np.concatenate(self.areas)
            free |= (own > 0) & (areas[own] < areas[target])
        target[free] = own[free]

    def prediction(self, seconds: float) -> Prediction:
        """All tiles as one Prediction; answers to prompts in the order of the prompts."""
        points, scores, labels = np.concatenate(self.points), np.concatenate(self.scores), self.labels
        if self.rows:
            order = np.argsort(np.concatenate(self.rows), kind="stable")
            points, scores = points[order], scores[order]
            if labels is not None:
                labels = np.concatenate([[0], np.argsort(order) + 1]).astype(np.int32)[labels]
        count = (self.density_sum or 0.0) if self.count is None else self.count
        if self.rows and labels is not None and count != len(points):
            count = int(visible(labels, len(points)).sum())  # another tile's mask may have covered one
        meta = self.meta | {"seconds": seconds}
        if self.density_sum is not None:
            meta["density_sum"] = self.density_sum
        interval = None if self.around is None else (count - self.around[0], count + self.around[1])
        return Prediction(points, scores, float(count), interval, labels=labels, density=self.density, meta=meta)
