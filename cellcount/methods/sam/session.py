"""One image and one network: embedded once, prompted any number of times, and continued after an interruption."""

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike
from tqdm import tqdm

from cellcount.errors import ParameterError
from cellcount.methods.base import check_image
from cellcount.methods.masks import Masks
from cellcount.methods.pixels import percentiles
from cellcount.methods.prompts import Prompts, grid, point
from cellcount.methods.sam.backbones import DEFAULT, SMALL, load
from cellcount.methods.sam.decoding import Candidate, decode, select
from cellcount.methods.sam.embedding import Embeddings, kept
from cellcount.registry import cache_root
from cellcount.tiling import owned, slices, tiles

VERSION = 1  # of what decides the mask of a prompt, here and in `decoding`: masks kept on disk are for one version


class Session:
    """A network applied to one image.

    Embeddings and the masks of each tile are kept in the cache folder, so that what was computed before an
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
        The intensities that become black and white: those of the whole image, if this is a part of it.
    batch : int
        Prompts that are decoded at a time.
    cache : bool or None
        Whether to keep results on disk; None keeps them, except for the small model, which is as fast as the disk.
    progress : bool

    Attributes
    ----------
    tiles : list of (window, core), (y0, y1, x0, x1) px each
        What the network sees at once, and the part of it for whose prompts it answers.
    decoded : int
        Prompts decoded so far, without those whose masks were on disk.

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
        check_image(image, "SAM")
        if batch < 1:
            raise ParameterError(f"batch={batch!r} must be at least 1.")
        self.image, self.batch, self.progress = image, batch, progress
        self.loaded = load(model, device, weights)
        keep = model != SMALL if cache is None else cache
        self.embeddings = Embeddings(self.loaded, image, exposure or percentiles(image, 0, 100), keep=keep)
        backbone, whole = self.loaded.backbone, (0, image.shape[0], 0, image.shape[1])
        fits = max(image.shape) <= backbone.tile
        self.tiles = [(whole, whole)] if fits else list(tiles(image.shape, backbone.tile, backbone.overlap))
        self.decoded = 0

    def embed(self) -> None:
        """Compute all embeddings that are not on disk yet."""
        for window, _ in self._progress(self.tiles, "embedding"):
            self.embeddings.features(window)

    def segment(self, prompts: Prompts | ArrayLike) -> Masks:
        """One mask for each prompt, which may be empty.

        Each prompt is decoded on the tile whose core contains its centre.

        Parameters
        ----------
        prompts : Prompts, or (N, 2) float, (y, x) px

        Returns
        -------
        Masks

        Raises
        ------
        ParameterError
            If the prompt is one for the foreground, which asks for no single cell.
        """
        prompts = prompts if isinstance(prompts, Prompts) else point(prompts)
        if prompts.kind == "foreground":
            raise ParameterError("A foreground prompt asks for one object and not for cells: use Session.foreground.")
        return self._decoded(prompts)[0]

    def automatic(
        self,
        spacing: float = 32.0,
        *,
        least_iou: float = 0.88,
        least_stability: float = 0.95,
        most_overlap: float = 0.7,
    ) -> Masks:
        """SAM's automatic mode: prompt with a grid of points, and keep the masks of which the network is certain.

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
        limits = {"least_iou": least_iou, "least_stability": least_stability, "most_overlap": most_overlap}
        masks, stabilities = self._decoded(grid(self.image.shape, spacing), every=True)
        return masks.take(select(masks, stabilities, **limits))

    def foreground(self, prompts: Prompts) -> np.ndarray:
        """The mask of one object that is as large as the image.

        Each tile is prompted with the points inside it, and answers for its core.

        Parameters
        ----------
        prompts : Prompts
            One, from `prompts.foreground`.

        Returns
        -------
        (H, W) bool
        """
        answer = np.zeros(self.image.shape, bool)
        for window, core in self._progress(self.tiles, "foreground"):
            for found in self._candidates(window, prompts.in_window(window)):
                answer[slices(core)] = found.mask[slices(core, window)]
        return answer

    def _progress(self, steps, what, **settings):
        return tqdm(steps, desc=f"{self.loaded.backbone.name}: {what}", disable=not self.progress, **settings)

    def _decoded(self, prompts, every=False):
        """Masks of all prompts, and their stabilities (N,); with `every`, three masks for each."""
        each = 3 if every else 1
        masks = Masks.empty(self.image.shape, each * len(prompts))
        stabilities, offered = np.zeros(len(masks), np.float32), np.zeros(len(prompts), int)
        with self._progress(None, prompts.kind, total=len(prompts)) as bar:
            for window, core in self.tiles:
                rows, own = owned(prompts, window, core, self.image.shape)
                if not len(rows):
                    continue
                for found in self._candidates(window, own, every):
                    row = rows[found.row]
                    i = each * row + offered[row]
                    masks.put(i, found.mask, found.score, corner=(window[0], window[2]))
                    stabilities[i] = found.stability
                    offered[row] += 1
                bar.update(len(rows))
        return masks, stabilities

    def _candidates(self, window, prompts, every=False):
        """`decoding.decode` on a window (y0, y1, x0, x1), or what it gave before, from the disk."""
        size = (window[1] - window[0], window[3] - window[2])

        def decoded():
            features, transform = self.embeddings.features(window), self.embeddings.transform(window)
            found = decode(self.loaded.sam, features, transform, size, prompts, batch=self.batch, every=every)
            packed = [(one.row, np.packbits(one.mask), one.score, one.stability) for one in found]
            self.decoded += len(prompts)
            return dict(zip(Candidate._fields, zip(*packed)))

        for row, bits, score, stability in zip(*kept(self._path(window, prompts, every), decoded).values()):
            mask = np.unpackbits(bits, count=size[0] * size[1]).astype(bool).reshape(size)
            yield Candidate(int(row), mask, float(score), float(stability))

    def _path(self, window, prompts, every):
        """Where the candidates on a window are kept, or None."""
        if self.embeddings.folder is None:
            return None
        arrays = [prompts.points, prompts.signs, prompts.boxes if prompts.boxes is not None else np.zeros(0)]
        text = repr([VERSION, self.embeddings.key, window, every, [a.shape for a in arrays]]).encode()
        name = hashlib.sha256(text + b"".join(a.tobytes() for a in arrays)).hexdigest()[:32]
        return cache_root() / "masks" / f"{self.loaded.backbone.name}-{name}.npz"
