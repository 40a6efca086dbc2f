"""One image and one network: embedded once, prompted any number of times, and continued after an interruption.

Embeddings of tiles are kept on disk: they take most of the time, and do not depend on prompts.
"""

import functools
import hashlib
import logging
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from tqdm import tqdm

from cellcount.errors import require
from cellcount.files import replacing
from cellcount.methods.base import check_image
from cellcount.methods.masks import Masks
from cellcount.methods.pixels import percentiles, stretched
from cellcount.methods.prompts import Prompts, grid, point
from cellcount.methods.sam.backbones import DEFAULT, SMALL, Loaded, load
from cellcount.methods.sam.decoding import Candidate, decode, select
from cellcount.registry import cache_root
from cellcount.tiling import Window, owned, slices, tiles

if TYPE_CHECKING:
    from segment_anything.utils.transforms import ResizeLongestSide


log = logging.getLogger(__name__)
VERSION = 1  # of what decides the mask of a prompt, here and in `decoding`: masks kept on disk are for one version


def eight_bit(image: np.ndarray, exposure: tuple[float, float]) -> np.ndarray:
    """SAM's input: (H, W) float32 to (H, W, 3) uint8, `exposure` (low, high) stretched from black to white."""
    gray = np.clip(stretched(image, exposure), 0, 1)
    return np.repeat((gray * 255).astype(np.uint8)[..., None], 3, axis=2)


def kept(path: Path | None, compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Arrays by name from an .npz file, computed and written there if it is missing or damaged; None keeps nothing."""
    if path is None:
        return compute()
    try:
        with np.load(path) as stored:
            return dict(stored)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        arrays = compute()
    try:
        with replacing(path) as temporary:
            np.savez_compressed(temporary, **arrays)
    except OSError as error:
        _warn(path.parent, error.strerror)
    return arrays


@functools.cache
def _warn(folder, reason):
    log.warning("The cache folder %s is not writable (%s): SAM's results are computed again each time.", folder, reason)


class Embeddings:
    """The embeddings of one image by one network, computed on demand and kept in a folder of the cache.

    The folder's name depends on the image's pixels, their exposure, the weights' SHA-256 and the tiles, so that an
    embedding is never confused with another one. The folder may be deleted at any time.

    Parameters
    ----------
    loaded : Loaded
    image : (H, W) float32
    exposure : (low, high)
    keep : bool
        Whether to use the disk.
    """

    def __init__(self, loaded: Loaded, image: np.ndarray, exposure: tuple[float, float], keep: bool = True) -> None:
        self.loaded, self.image, self.exposure = loaded, image, exposure
        backbone = loaded.backbone
        identity = [loaded.digest, backbone.tile, backbone.overlap, image.shape, tuple(exposure)]
        self.key = hashlib.sha256(np.ascontiguousarray(image).tobytes() + repr(identity).encode()).hexdigest()[:32]
        self.folder = cache_root() / "embeddings" / f"{backbone.name}-{self.key}" if keep else None
        self.computed = 0
        self._known: dict[str, np.ndarray] = {}  # some 12 bytes for each pixel of the image

    def transform(self, window: Window) -> "ResizeLongestSide":
        """segment_anything's resizing of this window: the scale is the same for every window, whatever its shape."""
        from segment_anything.utils.transforms import ResizeLongestSide

        scale = self.loaded.sam.image_encoder.img_size / self.loaded.backbone.tile
        return ResizeLongestSide(round(max(window[1] - window[0], window[3] - window[2]) * scale))

    def features(self, window: Window) -> torch.Tensor:
        """The embedding of a window (y0, y1, x0, x1) px: (1, C, h, w) float32 tensor on the network's device."""
        name = "-".join(map(str, window))
        if name not in self._known:
            path = self.folder and self.folder / f"{name}.npz"
            self._known[name] = kept(path, lambda: {"features": self._compute(window)})["features"]
        return torch.from_numpy(self._known[name].astype(np.float32)).to(self.loaded.sam.device)

    def _compute(self, window):
        y0, y1, x0, x1 = window
        sam = self.loaded.sam
        pixels = self.transform(window).apply_image(eight_bit(self.image[y0:y1, x0:x1], self.exposure))
        with torch.inference_mode():
            x = torch.from_numpy(pixels).permute(2, 0, 1)[None].float().to(sam.device)
            features = sam.image_encoder(sam.preprocess(x))
        self.computed += 1
        # Half the disk space; in memory too, so that a second run, which reads the disk, gives the same masks.
        return features.half().cpu().numpy()


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
        require(batch >= 1, f"batch={batch!r} must be at least 1.")
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
        single = "A foreground prompt asks for one object and not for cells: use Session.foreground."
        require(prompts.kind != "foreground", single)
        return self._decoded(prompts)[0]

    def automatic(self, spacing: float = 32.0, **limits: float) -> Masks:
        """SAM's automatic mode: prompt with a grid of points, and keep the masks of which the network is certain.

        Parameters
        ----------
        spacing : float, px
            Of the grid.
        limits
            least_iou, least_stability and most_overlap, see `decoding.select`.

        Returns
        -------
        Masks
        """

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
