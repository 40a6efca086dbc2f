"""One image and one network: embedded once, prompted as often as one likes, and resumed after an interruption."""

import functools
import hashlib
import time
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike
from tqdm import tqdm

from cellcount.errors import DataError, ParameterError
from cellcount.methods import masks as masks_module
from cellcount.methods.masks import Collector, Masks
from cellcount.methods.prompts import Prompts, grid, point
from cellcount.methods.sam.backbones import DEFAULT, SMALL, load
from cellcount.methods.sam.decoding import decode, select
from cellcount.methods.sam.embedding import Embeddings, exposure_of, tiles_of
from cellcount.registry import cache_root


class Session:
    """A network that looks at one image.

    Embeddings are kept in the cache folder, and the masks of each tile with them, so what was computed before an
    interruption is not computed again.

    Parameters
    ----------
    image : (H, W) float32 in [0, 1]
    model : str
        One of `backbones.BACKBONES`.
    device : str
    weights : path or None
        For the model "small" only.
    exposure : (low, high) or None
        The values that become black and white: those of the whole image, if this is a part of it.
    batch : int
        Prompts that are decoded at a time.
    cache : bool or None
        Whether to keep results on disk; None keeps them, but for the small model, which is as quick as the disk.
    progress : bool

    Attributes
    ----------
    seconds : dict
        Wall time so far: "embedding", "decoding".
    decoded : int
        Prompts decoded so far, not counting those whose masks were on disk.

    Raises
    ------
    DataError
        If the image is not (H, W) float32.
    ParameterError, NotAvailableError, DataError
        See `backbones.load`.
    """

    def __init__(
        self,
        image: np.ndarray,
        *,
        model: str = DEFAULT,
        device: str = "auto",
        weights: Path | str | None = None,
        exposure: tuple[float, float] | None = None,
        batch: int = 16,
        cache: bool | None = None,
        progress: bool = True,
    ) -> None:
        if image.ndim != 2 or image.dtype != np.float32 or not image.size:
            raise DataError(f"SAM wants an (H, W) float32 image in [0, 1], got shape {image.shape}, {image.dtype}.")
        if batch < 1:
            raise ParameterError(f"batch={batch!r} must be at least 1.")
        self.image, self.batch, self.progress = image, batch, progress
        self.loaded = load(model, device, weights)
        self.keep = model != SMALL if cache is None else cache
        self.embeddings = Embeddings(self.loaded, image, exposure or exposure_of(image), keep=self.keep)
        self.tiles = tiles_of(image.shape, self.loaded.backbone)
        self.seconds, self.decoded = {"embedding": 0.0, "decoding": 0.0}, 0

    def embed(self) -> None:
        """Compute all embeddings that are not on disk yet."""
        for tile in tqdm(self.tiles, desc=f"{self.loaded.backbone.name}: embedding", disable=not self.progress):
            self._features(tile.window)

    def segment(self, prompts: Prompts | ArrayLike) -> Masks:
        """One mask for each prompt, perhaps an empty one.

        Each prompt is decoded on the tile whose core holds its centre.

        Parameters
        ----------
        prompts : Prompts, or (N, 2) float, (y, x) px

        Returns
        -------
        Masks
        """
        return self._decoded(prompts if isinstance(prompts, Prompts) else point(prompts))[0]

    def automatic(
        self,
        spacing: float = 32.0,
        *,
        least_iou: float = 0.88,
        least_stability: float = 0.95,
        most_overlap: float = 0.7,
    ) -> Masks:
        """SAM's automatic mode: prompt with a grid of points, keep the masks that the network is sure of.

        Parameters
        ----------
        spacing : float, px
            Of the grid.
        least_iou, least_stability, most_overlap : float
            See `decoding.select`; the defaults are those of segment_anything's SamAutomaticMaskGenerator.

        Returns
        -------
        Masks
        """
        masks, stabilities = self._decoded(grid(self.image.shape, spacing), every=True)
        kept = select(
            masks, masks.scores, stabilities,
            least_iou=least_iou, least_stability=least_stability, most_overlap=most_overlap,
        )  # fmt: skip
        return masks.take(kept)

    def foreground(self, prompts: Prompts) -> np.ndarray:
        """The mask of one object that is as large as the image.

        Each tile is asked with the points that it sees, and answers for its core.

        Parameters
        ----------
        prompts : Prompts
            One, from `prompts.foreground`.

        Returns
        -------
        (H, W) bool
        """
        answer = np.zeros(self.image.shape, bool)
        for tile in tqdm(self.tiles, desc=f"{self.loaded.backbone.name}: foreground", disable=not self.progress):
            for found in self._on(tile, prompts.in_window(tile.window)):
                y0, y1, x0, x1 = tile.core
                inner = np.s_[y0 - tile.window[0] : y1 - tile.window[0], x0 - tile.window[2] : x1 - tile.window[2]]
                answer[y0:y1, x0:x1] = found.mask[inner]
        return answer

    def _decoded(self, prompts, every=False):
        """Masks of all prompts, and their stabilities (N,); with `every`, three masks for each."""
        each = 3 if every else 1
        collector = Collector(self.image.shape, each * len(prompts))
        stabilities = np.zeros(each * len(prompts), np.float32)
        bar = tqdm(total=len(prompts), desc=f"{self.loaded.backbone.name}: {prompts.kind}", disable=not self.progress)
        with bar:
            for tile, rows in self._owned(prompts.centres):
                masks, stable = self._tile(tile, prompts.take(rows).in_window(tile.window), each)
                spread = (each * rows[:, None] + np.arange(each)).ravel()
                collector.insert(spread, masks)
                stabilities[spread] = stable
                bar.update(len(rows))
        return collector.masks(), stabilities

    def _owned(self, centres):
        """Tiles with the rows of the prompts that each answers for; a centre off the image counts as on its border."""
        pixels = np.clip(np.rint(centres), 0, np.array(self.image.shape) - 1)
        for tile in self.tiles:
            y0, y1, x0, x1 = tile.core
            rows = np.flatnonzero(((pixels >= [y0, x0]) & (pixels < [y1, x1])).all(axis=1))
            if len(rows):
                yield tile, rows

    def _tile(self, tile, prompts, each):
        """Masks (each * n) of a tile's prompts on the image, and their stabilities, from the disk if they are there."""
        path = self._place(tile, prompts, each)
        if path is not None:
            try:
                masks = masks_module.load(path)
                return masks, np.load(path.with_suffix(".npy"))
            except (FileNotFoundError, DataError):
                pass
        collector = Collector(self.image.shape, each * len(prompts))
        stabilities = np.zeros(each * len(prompts), np.float32)
        given = np.zeros(len(prompts), int)
        for found in self._on(tile, prompts, every=each > 1):
            i = each * found.row + given[found.row]
            collector.put(i, found.mask, found.score, corner=(tile.window[0], tile.window[2]))
            stabilities[i] = found.stability
            given[found.row] += 1
        masks = collector.masks()
        if path is not None:
            _store(masks, stabilities, path)
        return masks, stabilities

    def _on(self, tile, prompts, every=False):
        """`decoding.decode` on a tile, timed."""
        features = self._features(tile.window)
        started = time.perf_counter()
        size = (tile.window[1] - tile.window[0], tile.window[3] - tile.window[2])
        yield from decode(
            self.loaded.sam, features, self.embeddings.transform(tile.window), size, prompts,
            batch=self.batch, every=every,
        )  # fmt: skip
        self.seconds["decoding"] += time.perf_counter() - started
        self.decoded += len(prompts)

    def _features(self, window):
        started = time.perf_counter()
        features = self.embeddings.features(window)
        self.seconds["embedding"] += time.perf_counter() - started
        return features

    def _place(self, tile, prompts, each):
        if not self.keep:
            return None
        arrays = [prompts.points, prompts.signs, prompts.boxes if prompts.boxes is not None else np.zeros(0)]
        text = repr([_code(), self.embeddings.key, tile, each, [a.shape for a in arrays]]).encode()
        name = hashlib.sha256(text + b"".join(a.tobytes() for a in arrays)).hexdigest()[:32]
        return cache_root() / "masks" / f"{self.loaded.backbone.name}-{name}.npz"


def _store(masks, stabilities, path):
    from cellcount.files import replacing

    try:
        with replacing(path.with_suffix(".npy")) as temporary:
            np.save(temporary, stabilities)
        masks.save(path)
    except OSError:
        pass  # the embeddings have warned already


@functools.cache
def _code():
    """Hash of the source that decides what a prompt's mask is."""
    here = Path(__file__).parent
    return hashlib.sha256(b"".join((here / f"{name}.py").read_bytes() for name in ("decoding", "session"))).hexdigest()
