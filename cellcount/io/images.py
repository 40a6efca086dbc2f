"""Reading images: JPEG, PNG, TIFF and BMP; 8 or 16 bit, or float; gray, RGB, RGBA or palette."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cellcount.errors import DataError, one_of, require
from cellcount.io.decoders import check_regular, decoding, is_tiff, read_pillow, read_tiff
from cellcount.io.problems import Problem, Report, errors, raise_errors

TIFF = (".tif", ".tiff")
SUFFIXES = (".jpg", ".jpeg", ".png", *TIFF, ".bmp")
CHANNELS = ("auto", "red", "green", "blue", "mean")
MIN_SIDE = 16  # px; no image with a cell is smaller
FAINT = 0.02  # an image whose values differ by a smaller share of the full scale is nearly blank
FLAT = 0.1  # a channel below this share of the largest standard deviation is noise (thesis: from .6; VGG: .02)


def read_image(path: Path | str, channel: str = "auto") -> np.ndarray:
    """Read one image as gray values.

    Parameters
    ----------
    path : path of a JPEG, PNG, TIFF or BMP file
    channel : "auto", "red", "green", "blue" or "mean"
        Which channel of a colour image becomes the gray image. "auto" takes green: two of four pixels of a Bayer
        sensor are green, JPEG stores it almost as luminance while red and blue go through subsampled chroma, and on
        the thesis images it is the sharpest relative to its contrast (see `cellcount.data.thesis`). Gray images have
        one channel, whichever is asked for.

    Returns
    -------
    (H, W) float32 in [0, 1]
        8-bit values are divided by 255. Integers of more than 8 bits are divided by the full scale of the smallest
        usual bit depth (8, 10, 12, 14 or 16) that holds the image's maximum: cameras store 12-bit values in 16-bit
        files, which would be nearly black if divided by 65535. This keeps intensities linear, and comparable between
        images of one depth; percentiles would make the scale depend on the number of cells. Float images within
        [0, 1] are not changed, those with a maximum of 16 to 65535 are treated as integers, others are rescaled from
        minimum to maximum. Transparency is ignored; an orientation stored in the file is applied.

    Raises
    ------
    DataError
        If the file cannot be used, saying what was wrong and what to do.
    ParameterError
        If the channel is unknown.
    """
    return examined(path, channel)[0]


def examined(path: Path | str, channel: str = "auto") -> tuple[np.ndarray, list[str]]:
    """The gray image (H, W) float32 of `read_image`, and a list of warnings (str) about the file; raises as it does."""
    one_of(channel, CHANNELS, "channel")
    return _gray(*decode(path), channel)


def from_array(pixels: np.ndarray, channel: str = "auto") -> tuple[np.ndarray, list[str]]:
    """Gray values of pixels (H, W) or (H, W, 3) of any real dtype, scaled as `read_image` scales those of a file.

    Returns
    -------
    image : (H, W) float32 in [0, 1]
    warnings : list of str
        What is unusual about the image.

    Raises
    ------
    DataError
        If the array cannot be an image.
    ParameterError
        If the channel is unknown.
    """
    one_of(channel, CHANNELS, "channel")
    colour = pixels.ndim == 3 and pixels.shape[2] in (3, 4)
    possible = (colour or pixels.ndim == 2) and pixels.dtype.kind in "buif"
    found = f"{pixels.shape}, {pixels.dtype}; give one plane of a stack, and real numbers"
    require(possible, f"An image is an (H, W) array of gray values or (H, W, 3) of colours, not {found}.", DataError)
    require(pixels.size, f"The array has the shape {pixels.shape}: it has no pixel.", DataError)
    report = Report("array")
    pixels = pixels[..., :3] if colour else pixels
    _examine(pixels, report)
    return _gray(pixels, report.problems, channel)


def _gray(pixels: np.ndarray | None, problems: Sequence[Problem], channel: str) -> tuple[np.ndarray, list[str]]:
    """Gray image and warnings of decoded pixels. Raises DataError if one of the problems is an error."""
    raise_errors(problems)
    assert pixels is not None  # `decode` gives None only with an error
    flat = flat_channel(pixels, channel)
    return as_gray(pixels, channel), [str(problem) for problem in problems] + [flat] * bool(flat)


def decode(path: Path | str) -> tuple[np.ndarray | None, list[Problem]]:
    """Decode a file without scaling: (pixels or None, list of `Problem`).

    pixels : (H, W) or (H, W, 3), any real dtype; None if one of the problems is an error.
    """
    path, pixels = Path(path), None
    with decoding(path) as report:
        suffix = path.suffix.lower()
        if os.path.isdir(path):  # False for a name that the system refuses, where Path.is_dir raises
            if not os.access(path, os.R_OK | os.X_OK):
                report.stop("file-unreadable", error="Permission denied")
            report.stop("image-folder", suffixes=", ".join(SUFFIXES))
        check_regular(path, report)
        if not os.path.isfile(path):
            if os.path.islink(path):
                report.stop("image-link", target=os.readlink(path))
            if os.path.isdir(path.parent) and not os.access(path.parent, os.X_OK):
                report.stop("file-unreadable", error="Permission denied")
            report.stop("image-missing")
        if suffix not in SUFFIXES:
            report.stop("image-format", content=f"An image with the suffix {path.suffix!r}")
        if path.stat().st_size == 0:
            report.stop("image-empty")
        pixels = read_tiff(path, report) if is_tiff(path) else read_pillow(path, report)
        _examine(pixels, report)
    return None if errors(report.problems) else pixels, report.problems


def as_gray(pixels: np.ndarray, channel: str = "auto", scale: tuple[float, float] | None = None) -> np.ndarray:
    """Gray image (H, W) float32 in [0, 1] of decoded pixels (H, W) or (H, W, 3); see `read_image`.

    `scale`, the raw values (low, high) that become 0 and 1, is found from the pixels unless it is given.
    """
    low, high = scale or full_scale(pixels.dtype, pixels.min(), pixels.max())
    gray = (one_channel(pixels, channel).astype(np.float32) - np.float32(low)) / np.float32(high - low)
    return np.clip(gray, 0, 1, out=gray)


def one_channel(pixels: np.ndarray, channel: str = "auto") -> np.ndarray:
    """The chosen channel (H, W) of decoded pixels (H, W) or (H, W, 3), not scaled; see `read_image`."""
    if pixels.ndim == 2:
        return pixels
    if channel == "mean":
        return pixels.mean(axis=2, dtype=np.float32)
    return pixels[..., {"red": 0, "auto": 1, "green": 1, "blue": 2}[channel]]


def full_scale(dtype: np.dtype, low: float, high: float) -> tuple[float, float]:
    """(low, high): the raw values that become 0 and 1, in an image of this dtype, lowest and highest value."""
    if dtype == np.uint8:
        return 0, 255
    if dtype.kind == "b":
        return 0, 1
    low, high = float(low), float(high)
    if low >= 0 and high <= 1 and dtype.kind == "f":
        return 0, 1
    if _unusual(dtype, low, high):
        return low, high
    return 0, next(2**bits - 1 for bits in (8, 10, 12, 14, 16) if high <= 2**bits - 1)


def _unusual(dtype: np.dtype, low: float, high: float) -> bool:
    """Whether a range of values is neither 0 to 1 nor that of a camera: of floats, 2.5 is hardly 2.5 of 255."""
    return low < 0 or high > 65535 or dtype.kind == "f" and 1 < high < 16


def _examine(pixels: np.ndarray, report: Report) -> None:
    """Report what is unusual about decoded pixels."""
    low, high = pixels.min().item(), pixels.max().item()  # plain numbers: half floats overflow in comparisons
    unusable = 0
    if pixels.dtype.kind == "f" and not (np.isfinite(low) and np.isfinite(high)):
        unusable = int((~np.isfinite(pixels)).sum())
    usual = examine_values(pixels.shape, pixels.dtype, low, high, unusable, report)
    if usual and ((pixels == low) | (pixels == high)).all():
        report.add("image-binary")


def examine_values(
    shape: Sequence[int], dtype: np.dtype, low: float, high: float, unusable: int, report: Report
) -> bool:
    """Report an unusual size, range, or number of values that are not finite; True if there is none."""
    height, width = shape[:2]
    if min(height, width) < MIN_SIDE:
        report.add("image-tiny", width=width, height=height, least=MIN_SIDE)
    elif unusable:
        report.add("image-nan", count=unusable)
    elif max(-low, high) > float(np.finfo(np.float32).max) / 4:
        report.add("image-overflow", low=low, high=high)
    elif low == high:
        report.add("image-constant", value=low)
    elif _unusual(dtype, low, high):
        report.add("image-range", low=low, high=high)
    elif high - low < FAINT * full_scale(dtype, low, high)[1]:
        report.add("image-faint", low=low, high=high, share=FAINT)
    else:
        return True
    return False


def flat_channel(pixels: np.ndarray, channel: str = "auto") -> str:
    """A sentence if the chosen channel of (H, W, 3) pixels is nearly constant compared with another one, else ""."""
    if pixels.ndim == 2 or channel == "mean":
        return ""
    step = max(1, int(np.sqrt(pixels.shape[0] * pixels.shape[1] / 1e5)))  # 100,000 pixels are enough
    some = pixels[::step, ::step]
    deviations = dict(zip(("red", "green", "blue"), some.std(axis=(0, 1), dtype=np.float64), strict=True))
    chosen = "green" if channel == "auto" else channel
    best = max(deviations, key=lambda name: deviations[name])
    if deviations[chosen] >= FLAT * deviations[best]:
        return ""
    return f"The {chosen} channel is nearly constant; the image is in the {best} one."
