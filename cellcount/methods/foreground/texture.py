"""Foreground by texture: cells have texture, background has none."""

import numpy as np
from scipy import ndimage

from cellcount.methods.pixels import block_mean, enlarged

LIGHT = 64.0  # px: wider than any cell, narrower than the variation of the illumination
COARSE = 8  # a mean over such a wide window is as accurate on a coarse grid, and sixty times faster


def relative_light(image: np.ndarray) -> np.ndarray:
    """The image divided by its mean over a wide Gaussian window, which removes uneven illumination.

    In phase contrast the mean over a window much wider than the halo does not depend on the cells in it: the light
    missing in their bodies is in their halos.

    Parameters
    ----------
    image : (H, W) float32 in [0, 1]

    Returns
    -------
    (H, W) float32, 1 on average
    """
    image = np.asarray(image, np.float32)
    mean = ndimage.gaussian_filter(block_mean(image, COARSE), LIGHT / COARSE, truncate=3.0)
    return image / np.maximum(enlarged(mean, COARSE, image.shape, linear=True), 1e-6)


def deviation(image: np.ndarray, *, prompts: object = None, device: str = "auto", sigma: float = 1.5) -> np.ndarray:
    """Standard deviation in a Gaussian window, relative to the local mean.

    Parameters
    ----------
    image : (H, W) float32 in [0, 1]
    prompts, device
        Not used: every foreground function takes them.
    sigma : float, px
        Width of the window. A narrow one follows the outline, a wide one averages over faint parts of a cell.

    Returns
    -------
    (H, W) float32
    """
    centred = relative_light(image) - 1  # float32 loses the small variance of a bright image otherwise
    mean = ndimage.gaussian_filter(centred, sigma)
    return np.sqrt(np.maximum(ndimage.gaussian_filter(centred * centred, sigma) - mean * mean, 0))


def entropy(image: np.ndarray, *, prompts: object = None, device: str = "auto", radius: int = 4) -> np.ndarray:
    """Entropy of the intensities in a disc.

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

    gray = np.clip(np.rint(160 * relative_light(image)), 0, 255).astype(np.uint8)  # 160: as a usual background
    return rank.entropy(gray, disk(radius)).astype(np.float32)
