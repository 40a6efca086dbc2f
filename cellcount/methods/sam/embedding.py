"""Embeddings of the tiles of an image, kept on disk: they take most of the time, and do not depend on prompts."""

import functools
import hashlib
import logging
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cellcount.files import replacing
from cellcount.methods.pixels import stretched
from cellcount.methods.sam.backbones import Loaded
from cellcount.registry import cache_root
from cellcount.tiling import Window

if TYPE_CHECKING:
    import torch
    from segment_anything.utils.transforms import ResizeLongestSide


log = logging.getLogger(__name__)


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

    def features(self, window: Window) -> "torch.Tensor":
        """The embedding of a window (y0, y1, x0, x1) px: (1, C, h, w) float32 tensor on the network's device."""
        import torch

        name = "-".join(map(str, window))
        if name not in self._known:
            path = self.folder and self.folder / f"{name}.npz"
            self._known[name] = kept(path, lambda: {"features": self._compute(window)})["features"]
        return torch.from_numpy(self._known[name].astype(np.float32)).to(self.loaded.sam.device)

    def _compute(self, window):
        import torch

        y0, y1, x0, x1 = window
        sam = self.loaded.sam
        pixels = self.transform(window).apply_image(eight_bit(self.image[y0:y1, x0:x1], self.exposure))
        with torch.inference_mode():
            x = torch.from_numpy(pixels).permute(2, 0, 1)[None].float().to(sam.device)
            features = sam.image_encoder(sam.preprocess(x))
        self.computed += 1
        # Half the disk space; in memory too, so that a second run, which reads the disk, gives the same masks.
        return features.half().cpu().numpy()
