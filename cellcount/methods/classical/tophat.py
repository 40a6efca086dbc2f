"""Dark spots narrower than a disc: the black top-hat of mathematical morphology."""

import numpy as np
from scipy import ndimage

from cellcount.methods.classical.maps import contrast_of, peaks_of


def answer(image: np.ndarray, *, radius: int = 12, sigma: float = 3.0, contrast: float | None = None) -> np.ndarray:
    """The closing of the image minus the image.

    The closing fills dark parts that are too narrow for a disc of `radius` (Serra 1982, Image Analysis and Mathematical
    Morphology); the top-hat is what it has filled. Uneven illumination, which is broader, is removed. The disc is
    approximated by an octagon, a sequence of short lines, which is many times faster.

    Parameters
    ----------
    image : (H, W) float32 in [0, 1]
    radius : int, px
    sigma : float, px
        Gaussian smoothing before, to suppress texture, and after, to merge the spots of one cell.
    contrast : float or None
        Standard deviation of the whole image, from `context`, when `image` is only a tile.

    Returns
    -------
    (H, W) float32, in units of the image's contrast, high on dark spots
    """
    from skimage.morphology import black_tophat, disk

    smooth = ndimage.gaussian_filter(image, sigma)
    spots = black_tophat(smooth, disk(int(radius), decomposition="sequence"))
    return ndimage.gaussian_filter(spots, sigma) / contrast_of(image, contrast)


predict, context, status = peaks_of(answer, "tophat", "skimage", threshold=0.4)
