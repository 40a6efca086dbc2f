"""One method on an image of any size: tiles that overlap, and an answer that does not show where they met."""

import functools
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from tqdm import tqdm

from cellcount.errors import ParameterError
from cellcount.io.prefetch import prefetched
from cellcount.types import Prediction, as_points, visible

SLACK = 3.0  # px; two tiles may place the same cell this far apart, and one of the two is dropped


Window = tuple[int, int, int, int]  # (y0, y1, x0, x1) px, ends excluded
Place = tuple[Window, Window]  # what a method sees, and the core of it that it answers for


def tiles(shape: tuple[int, ...], tile: int, overlap: int) -> Iterator[tuple[Window, Window]]:
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


def _cuts(side: int, longest: int) -> list[tuple[int, int]]:
    """Pieces [start, end) of equal length, but for rounding to 32 px, none longer than `longest`."""
    n = -(-side // longest)
    # Methods that shrink the image give the same answer only if every tile starts on their raster.
    raster = 32 if longest >= 32 else 1
    length = min(longest // raster * raster, -(-side // n // raster) * raster)
    starts = range(0, side, length)
    return [(start, min(start + length, side)) for start in starts]


def tiled(
    predict: Callable[..., Prediction],
    *,
    tile: int = 1024,
    overlap: int = 128,
    context: Callable[..., dict[str, Any]] | None = None,
    maps: bool = True,
    together: Callable[..., list[Prediction]] | None = None,
    batch: int = 1,
    progress: bool = True,
) -> Callable[..., Prediction]:
    """Wrap a method's `predict` so that it runs tile by tile; the wrapped function has the same signature.

    A cell belongs to the tile whose core holds its point. Points that two tiles place within 3 px of each other at
    a border are one cell. Masks come whole from the tile that owns the cell. Densities are pasted core by core. Each
    prompt is answered by the tile whose core holds its centre. The ends of count intervals add up, in proportion to
    the core's share of its window's count: as if all tiles erred alike, which is the widest case.
    The next tiles are read while the present ones are computed.

    Parameters
    ----------
    predict : a method's predict
    tile, overlap : int, px
        Largest side of a tile, and how far it sees beyond the part it answers for: at least the size of an object
        plus the method's field of view.
    context : a method's context, or None
        What the method must know of the whole image, as keyword arguments for `predict` (exposure, diameter).
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
        `cellcount.io.large`. Prompts are an (N, 2) array of (y, x) px, whatever has `centres`, `take` and
        `in_window` (`cellcount.methods.prompts.Prompts`), or None.
        `meta` has `density_sum`, in cells, if the method gives densities.

    Raises
    ------
    ParameterError
        If `tile` is not larger than twice `overlap`. The function raises one if a method's count is neither the
        number of its points, nor of those with a mask, nor the sum of its density.
    """
    if overlap < 0 or tile <= 2 * overlap:
        raise ParameterError(
            f"tile={tile} must be larger than twice the overlap={overlap}, which must not be negative."
        )

    @functools.wraps(predict)
    def predict_tiled(image: Any, *, prompts: Any = None, device: str = "auto", **params: Any) -> Prediction:
        if maps and max(image.shape) <= tile:
            return predict(image, prompts=prompts, device=device, **params)
        started = time.perf_counter()
        params = (context(image, device=device, **params) if context else {}) | params
        size = batch if together and prompts is None else 1
        groups = list(_groups(tiles(image.shape, tile, overlap), size))
        number = sum(map(len, groups))
        answer = _Canvas(image.shape, maps)
        with tqdm(total=number, desc="tiles", unit="tile", disable=not progress or number < 8) as bar:
            for group, read in zip(groups, prefetched(lambda group: _windows(image, group), groups)):
                rows, own = (None, None) if prompts is None else _owned(prompts, group[0][0], group[0][1], image.shape)
                if size > 1 and together:
                    parts = together(read(), device=device, **params)
                elif rows is not None and not len(rows) and answer.meta:
                    parts = []  # nothing was asked here
                else:
                    parts = [predict(*read(), prompts=own, device=device, **params)]
                for part, (window, core) in zip(parts, group):
                    answer.add(part, window, core, rows)
                bar.update(len(group))
        return answer.prediction(seconds=time.perf_counter() - started)

    return predict_tiled


def _groups(places: Iterable[Place], size: int) -> Iterator[list[Place]]:
    """Lists of up to `size` successive (window, core) with windows of one shape."""
    group: list[Place] = []
    for window, core in places:
        if len(group) == size or group and _shape(group[0][0]) != _shape(window):
            yield group
            group = []
        group.append((window, core))
    yield group


def _shape(window: Window) -> tuple[int, int]:
    return window[1] - window[0], window[3] - window[2]


def _windows(image: Any, group: list[Place]) -> list[np.ndarray]:
    return [image[y0:y1, x0:x1] for (y0, y1, x0, x1), _ in group]


def _owned(prompts: Any, window: Window, core: Window, shape: tuple[int, ...]) -> tuple[np.ndarray | None, Any]:
    """Rows of the prompts whose centre lies in the core, and those prompts in the window's pixels.

    A centre beyond the image counts as on its border. A prompt for the foreground goes to every tile: rows are None.
    """
    is_array = not hasattr(prompts, "in_window")
    if not is_array and prompts.kind == "foreground":
        return None, prompts.in_window(window)
    prompts = as_points(prompts, "prompts") if is_array else prompts
    centres = np.clip(prompts if is_array else prompts.centres, 0, np.array(shape, np.float32) - 1)
    low, high = np.array([core[0], core[2]], np.float32) - 0.5, np.array([core[1], core[3]], np.float32) - 0.5
    rows = np.flatnonzero(((centres >= low) & (centres < high)).all(axis=1))
    own = (
        prompts[rows] - np.array([window[0], window[2]], np.float32)
        if is_array
        else prompts.take(rows).in_window(window)
    )
    return rows, own


def _each(part: Prediction) -> np.ndarray | None:
    """(M,) bool: which points a tile's count counts; None if it is a count of something else."""
    if part.count == len(part.points):
        return np.ones(len(part.points), bool)
    if part.labels is not None:
        masked = visible(part.labels, len(part.points))
        if part.count == masked.sum():
            return masked
    # What lies on a padding belongs to a density's count, and not to its map.
    if part.density is None or abs(part.count - part.density.sum(dtype=float)) > 1 + 0.05 * part.count:
        raise ParameterError(
            "This method's count is neither the number of its points, nor of those with a mask, nor the sum of a "
            "density, so it cannot be added up over tiles; have it return its density."
        )
    return None


class _Canvas:
    """Collects the tiles' answers, which come row by row."""

    def __init__(self, shape: tuple[int, ...], maps: bool) -> None:
        self.shape, self.maps = shape, maps
        self.points, self.scores, self.found = [np.zeros((0, 2), np.float32)], [np.zeros(0, np.float32)], 0
        self.border = self.points[0]  # what the tiles to come may find again
        self.labels: np.ndarray | None = None
        self.density: np.ndarray | None = None
        self.density_sum: float | None = None
        self.rows: list[np.ndarray] = []
        self.areas: list[np.ndarray] = []  # px, of the masks that answer prompts
        self.meta: dict[str, Any] = {}
        self.counted: int | None = 0
        # How far the interval's ends lie below and above the count.
        self.around: tuple[float, float] | None = (0.0, 0.0)

    def add(self, part: Prediction, window: Window, core: Window, rows: np.ndarray | None = None) -> None:
        """Take from a tile's Prediction what lies in its core, but for what an earlier tile has given already.

        Where rows of prompts are given, the points are their answers, and all are taken.
        """
        y0, _, x0, _ = window
        points = part.points + np.array([y0, x0], np.float32)
        # Each of two tiles may place a cell of the border just beyond it, so both look a little beyond.
        low, high = np.array([core[0], core[2]], np.float32) - 0.5, np.array([core[1], core[3]], np.float32) - 0.5
        kept = ((points >= low - SLACK) & (points < high + SLACK)).all(axis=1)
        kept &= ~self._known(points, low)
        if rows is not None:
            kept[:] = True
            self.rows.append(rows)
        if part.labels is not None and self.maps:
            self._paint(part.labels, np.flatnonzero(kept), window, answers=rows is not None)
        own = None
        if part.density is not None:
            own = self._paste(part.density[core[0] - y0 : core[1] - y0, core[2] - x0 : core[3] - x0], core)
        each = _each(part)
        if each is None:
            self.counted = None
        elif self.counted is not None:
            self.counted += int(each[kept].sum())
        share = (core[1] - core[0]) * (core[3] - core[2]) / ((window[1] - y0) * (window[3] - x0))
        if part.count:
            share = float((own or 0.0) if each is None else each[kept].sum()) / part.count
        self._widen(part, share)
        points = points[kept]
        inner = ((points >= low + 2 * SLACK) & (points < high - 2 * SLACK)).all(axis=1)
        self.border = np.concatenate([self.border, points[~inner]])
        self.points.append(points)
        self.scores.append(part.scores[kept])
        self.found += len(points)
        self.meta = self.meta or part.meta

    def _widen(self, part: Prediction, share: float) -> None:
        """Add the ends of a tile's interval, as far as they are its core's."""
        if part.count_interval is None or self.around is None:
            self.around = None
        else:
            (low, high), (below, above) = part.count_interval, self.around
            self.around = below + (part.count - low) * share, above + (high - part.count) * share

    def _known(self, points: np.ndarray, low: np.ndarray) -> np.ndarray:
        """Which points an earlier tile has found: the same place to within SLACK.

        Only points near the edge of an earlier core can be met again, and none above this row of tiles: looking
        through those alone, the work grows with the area and not with its square.
        """
        self.border = self.border[self.border[:, 0] >= low[0] - 2 * SLACK]
        if not len(self.border):
            return np.zeros(len(points), bool)
        from scipy.spatial import cKDTree

        return np.isfinite(cKDTree(self.border).query(points, distance_upper_bound=SLACK)[0])

    def _paste(self, density: np.ndarray, core: Window) -> float:
        """Add the core's own part of a density map; returns its sum."""
        if self.maps:
            if self.density is None:
                self.density = np.zeros(self.shape, np.float32)
            self.density[core[0] : core[1], core[2] : core[3]] = density
        own = float(density.sum(dtype=float))
        self.density_sum = (self.density_sum or 0.0) + own
        return own

    def _paint(self, labels: np.ndarray, kept: np.ndarray, window: Window, answers: bool) -> None:
        """Copy the masks of the kept points; pixel value i + 1 belongs to point i, here and there.

        Two tiles' answers to prompts may claim the same pixel, which goes to the smaller mask, as in `Masks.labels`.
        """
        if self.labels is None:
            self.labels = np.zeros(self.shape, np.int32)
        renamed = np.zeros(max(labels.max(), kept.max(initial=-1) + 1) + 1, np.int32)
        renamed[kept + 1] = self.found + 1 + np.arange(len(kept))
        target = self.labels[window[0] : window[1], window[2] : window[3]]
        own = renamed[labels]
        free = target == 0
        if answers:
            self.areas.append(np.bincount(labels.ravel(), minlength=len(renamed))[kept + 1])
            areas = np.concatenate([[0], *self.areas])
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
        count = (self.density_sum or 0.0) if self.counted is None else self.counted
        if self.rows and labels is not None and count != len(points):
            count = int(visible(labels, len(points)).sum())  # another tile's mask may have covered one
        meta = self.meta | {"seconds": seconds}
        if self.density_sum is not None:
            meta["density_sum"] = self.density_sum
        interval = None if self.around is None else (count - self.around[0], count + self.around[1])
        return Prediction(points, scores, float(count), interval, labels=labels, density=self.density, meta=meta)
