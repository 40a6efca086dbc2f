"""From an image in [0, 1] to what the network sees: one brightness and contrast, and fewer pixels."""

import numpy as np

from cellcount.methods.cellnet.settings import Settings


def brightness_and_contrast(image: np.ndarray) -> tuple[float, float]:
    """Median, and a robust standard deviation (half the range from the 16th to the 84th percentile), of an image.

    They are measured once on the whole image, never on a tile: tiles normalised one by one differ in brightness,
    and their borders show in the predictions. On a constant image the second is 1.

    Parameters
    ----------
    image : (H, W) float32

    Returns
    -------
    (float, float)
    """
    step = max(1, int(np.sqrt(image.size / 1e6)))  # a million pixels tell as much as all of them
    low, middle, high = np.percentile(image[::step, ::step], [16, 50, 84])
    return float(middle), float((high - low) / 2) or 1.0


def prepared(image: np.ndarray, settings: Settings, exposure: tuple[float, float] | None = None) -> np.ndarray:
    """What the network is shown: brightness and contrast taken out, shrunken by what `factor` exceeds `detail`.

    Parameters
    ----------
    image : (H, W) float32
    settings : Settings
    exposure : (float, float) or None
        From `brightness_and_contrast` of the whole image, if `image` is only a tile.

    Returns
    -------
    (detail ceil(H / factor), detail ceil(W / factor)) float32
    """
    middle, contrast = exposure or brightness_and_contrast(image)
    padded = np.pad(image, [(0, -side % settings.factor) for side in image.shape], mode="edge")
    return shrink((padded - middle) / contrast, settings.factor // settings.detail)


def shrink(image: np.ndarray, factor: int) -> np.ndarray:
    """Mean over blocks of `factor` x `factor` px; the last blocks are filled by repeating the border.

    Parameters
    ----------
    image : (H, W) float32
    factor : int

    Returns
    -------
    (ceil(H / factor), ceil(W / factor)) float32
    """
    if factor == 1:
        return np.asarray(image, np.float32)
    padded = np.pad(image, [(0, -side % factor) for side in image.shape], mode="edge")
    height, width = (side // factor for side in padded.shape)
    blocks = padded.reshape(height, factor, width, factor).swapaxes(1, 2)
    return blocks.mean(axis=(2, 3), dtype=np.float32)  # scikit-image does the same, but takes half a second to import


def to_small(points: np.ndarray, factor: int) -> np.ndarray:
    """(N, 2) (y, x) px of the image -> px of the shrunken image; a block's centre lies between pixels."""
    return (points + 0.5) / factor - 0.5


def to_full(points: np.ndarray, factor: int) -> np.ndarray:
    """The inverse of `to_small`: (N, 2) (y, x) px of the shrunken image -> px of the image."""
    return (points + 0.5) * factor - 0.5
