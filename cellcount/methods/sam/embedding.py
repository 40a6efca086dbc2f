"""What the image encoder makes of each tile of an image, kept on disk: it is the slow part, and knows no prompts."""

import hashlib
import logging
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cellcount.methods.sam.backbones import Backbone, Loaded
from cellcount.registry import cache_root
from cellcount.tiling import tiles

if TYPE_CHECKING:
    import torch
    from segment_anything.utils.transforms import ResizeLongestSide


log = logging.getLogger(__name__)
MEMORY = 200e6  # bytes of embeddings that are kept in memory, too: 95 tiles of SAM, more than a thesis image has


class Tile(NamedTuple):
    """One tile: what the network sees, and what it answers for; (y0, y1, x0, x1) px each, ends excluded."""

    window: tuple[int, int, int, int]
    core: tuple[int, int, int, int]


def tiles_of(shape: tuple[int, ...], backbone: Backbone) -> list[Tile]:
    """The tiles of an image of `shape` (H, W) px for a `Backbone`: a list of `Tile`."""
    if max(shape) <= backbone.tile:
        whole = (0, shape[0], 0, shape[1])
        return [Tile(whole, whole)]
    return [Tile(window, core) for window, core in tiles(shape, backbone.tile, backbone.overlap)]


def exposure_of(image: np.ndarray) -> tuple[float, float]:
    """Darkest and brightest value of an image (H, W) float: micro_sam stretches each image from one to the other."""
    return float(image.min()), float(image.max())


def eight_bit(image: np.ndarray, exposure: tuple[float, float]) -> np.ndarray:
    """SAM's input: (H, W) float to (H, W, 3) uint8, `exposure` (low, high) stretched from black to white."""
    low, high = exposure
    gray = np.clip((image - low) / ((high - low) or 1.0), 0, 1)
    return np.repeat((gray * 255).astype(np.uint8)[..., None], 3, axis=2)


class Embeddings:
    """The embeddings of one image by one network: computed when asked for, kept in a zarr folder of the cache.

    The folder's name comes from the image's pixels, their exposure, the weights' SHA-256 and the tiles, so an
    embedding can never be taken for another's. It may be deleted at any time. A tile that was cut off while it was
    written lacks the mark "complete" and is computed again.

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
        self.path = cache_root() / "embeddings" / f"{backbone.name}-{self.key}.zarr" if keep else None
        self.computed = 0
        self._latest: dict[str, np.ndarray] = {}

    def transform(self, window: tuple[int, int, int, int]) -> "ResizeLongestSide":
        """segment_anything's resizing of this window: the scale is the same for every window, whatever its shape."""
        from segment_anything.utils.transforms import ResizeLongestSide

        scale = self.loaded.sam.image_encoder.img_size / self.loaded.backbone.tile
        return ResizeLongestSide(round(max(window[1] - window[0], window[3] - window[2]) * scale))

    def features(self, window: tuple[int, int, int, int]) -> "torch.Tensor":
        """The embedding of a window (y0, y1, x0, x1) px: (1, C, h, w) float32 tensor on the network's device."""
        import torch

        name = "-".join(map(str, window))
        stored = self._latest.get(name)
        if stored is None:
            stored = self._read(name)
        if stored is None:
            stored = self._compute(window)
            self._write(name, stored)
        self._latest[name] = stored
        while len(self._latest) * stored.nbytes > MEMORY:
            del self._latest[next(iter(self._latest))]  # the one that was read first
        return torch.from_numpy(stored.astype(np.float32)).to(self.loaded.sam.device)

    def _compute(self, window):
        import torch

        y0, y1, x0, x1 = window
        sam = self.loaded.sam
        pixels = self.transform(window).apply_image(eight_bit(self.image[y0:y1, x0:x1], self.exposure))
        with torch.inference_mode():
            x = torch.from_numpy(pixels).permute(2, 0, 1)[None].float().to(sam.device)
            features = sam.image_encoder(sam.preprocess(x))
        self.computed += 1
        # Half the disk; also where nothing is kept, so that a second run, from the disk, says the same.
        return features.half().cpu().numpy()

    def _read(self, name):
        if self.path is None or not (self.path / name).is_dir():
            return None
        import zarr

        array = zarr.open_group(self.path, mode="r").get(name)
        return array[:] if array is not None and array.attrs.get("complete") else None

    def _write(self, name, features):
        if self.path is None:
            return
        import zarr

        try:
            group = zarr.open_group(self.path, mode="a")
            array = group.create_array(
                name, shape=features.shape, chunks=features.shape, dtype=features.dtype, overwrite=True
            )
            array[:] = features
            array.attrs["complete"] = True
        except OSError as error:
            log.warning("The cache folder cannot be written (%s): embeddings are computed anew each time.", error)
            self.path = None
