"""Foreground by texture: cells are rough, bare ground is even."""

import numpy as np
from scipy import ndimage

LIGHT = 64.0  # px: broader than any cell, narrower than the unevenness of the lamp
COARSE = 8  # such a broad mean is as good on a coarse raster, and sixty times quicker


def relative_light(image: np.ndarray) -> np.ndarray:
    """The image divided by its mean over a wide Gaussian window: the lamp's unevenness drops out.

    In phase contrast the mean over a window much wider than the halo does not depend on the cells in it: what is
    taken from their bodies comes back in their halos.

    Parameters
    ----------
    image : (H, W) float32 in [0, 1]

    Returns
    -------
    (H, W) float32, 1 on average
    """
    image = np.asarray(image, np.float32)
    mean = ndimage.gaussian_filter(shrink(image, COARSE), LIGHT / COARSE, truncate=3.0)
    mean = ndimage.zoom(mean, COARSE, order=1, mode="nearest", grid_mode=True)[: image.shape[0], : image.shape[1]]
    return image / np.maximum(mean, 1e-6)


def shrink(image: np.ndarray, factor: int) -> np.ndarray:
    """Mean over squares of `factor` px, those at the border filled up by repetition; image (H, W)."""
    padded = np.pad(image, [(0, -side % factor) for side in image.shape], mode="edge")
    return padded.reshape(padded.shape[0] // factor, factor, padded.shape[1] // factor, factor).mean(axis=(1, 3))


def deviation(image: np.ndarray, *, prompts: object = None, device: str = "auto", sigma: float = 1.5) -> np.ndarray:
    """Standard deviation in a Gaussian window, relative to the local mean.

    Parameters
    ----------
    image : (H, W) float32 in [0, 1]
    prompts, device
        Not used: every foreground function takes them.
    sigma : float, px
        Width of the window. A narrow one follows the outline, a wide one averages over pale parts of a cell.

    Returns
    -------
    (H, W) float32
    """
    centred = relative_light(image) - 1  # float32 loses the small variance of a bright image otherwise
    mean = ndimage.gaussian_filter(centred, sigma)
    return np.sqrt(np.maximum(ndimage.gaussian_filter(centred * centred, sigma) - mean * mean, 0))


def entropy(image: np.ndarray, *, prompts: object = None, device: str = "auto", radius: int = 4) -> np.ndarray:
    """Entropy of the gray values in a disc: how many bits tell one pixel from its neighbours.

    Parameters
    ----------
    image : (H, W) float32 in [0, 1]
    prompts, device
        Not used: every foreground function takes them.
    radius : int, px

    Returns
    -------
    (H, W) float32, bit
    """
    from skimage.filters import rank
    from skimage.morphology import disk

    gray = np.clip(np.rint(160 * relative_light(image)), 0, 255).astype(np.uint8)  # 160: the usual gray of ground
    return rank.entropy(gray, disk(radius)).astype(np.float32)
