"""Reading images: JPEG, PNG, TIFF and BMP; 8 or 16 bit, or float; gray, RGB, RGBA or palette."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from cellcount.errors import DataError, ParameterError
from cellcount.io.decoders import EXPORT, read_pillow, read_tiff
from cellcount.io.problems import Problem, raise_errors

SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp")
CHANNELS = ("auto", "red", "green", "blue", "mean")
MIN_SIDE = 16  # px; nothing that holds a cell is smaller
FLAT = 0.1  # a channel with less than this share of the strongest deviation holds noise (thesis: .6 up; VGG: .02)


def read_image(path: Path | str, channel: str = "auto") -> np.ndarray:
    """Read one image as gray values.

    Parameters
    ----------
    path : path of a JPEG, PNG, TIFF or BMP file
    channel : "auto", "red", "green", "blue" or "mean"
        Which channel of a colour image becomes the gray image. "auto" takes green: two of four pixels of a Bayer
        sensor are green, JPEG keeps it almost as luminance while red and blue go through subsampled chroma, and on
        the thesis images it is the sharpest for its contrast (see `cellcount.data.thesis`). A gray image stays.

    Returns
    -------
    (H, W) float32 in [0, 1]
        8-bit values are divided by 255. Integers of more than 8 bits are divided by the full scale of the smallest
        usual bit depth (8, 10, 12, 14 or 16) that holds the image's maximum: cameras store 12-bit values in 16-bit
        files, which would come out black if divided by 65535. It keeps intensities linear, and comparable between
        images of one depth; percentiles would make the scale depend on the number of cells. Float images within
        [0, 1] stay, those up to 65535 are treated as integers, others are stretched from minimum to maximum.
        Transparency is dropped, an orientation stored in the file is applied.

    Raises
    ------
    DataError
        If the file cannot be used, saying what was wrong and what to do.
    ParameterError
        If the channel is unknown.
    """
    known_channel(channel)
    pixels, problems = decode(path)
    raise_errors(problems)
    assert pixels is not None  # `decode` gives None only beside an error
    return as_gray(pixels, channel)


def from_array(pixels: np.ndarray, channel: str = "auto") -> tuple[np.ndarray, list[str]]:
    """Gray values of pixels (H, W) or (H, W, 3) of any real dtype, as `read_image` makes them of a file's.

    Returns
    -------
    image : (H, W) float32 in [0, 1]
    warnings : list of str
        What is odd about it.

    Raises
    ------
    DataError
        If they cannot be those of an image.
    ParameterError
        If the channel is unknown.
    """
    known_channel(channel)
    if (
        pixels.ndim not in (2, 3)
        or pixels.ndim == 3
        and pixels.shape[2] not in (3, 4)
        or pixels.dtype.kind not in "buif"
    ):
        raise DataError(
            f"An image is an (H, W) array of gray values or (H, W, 3) of colours, not {pixels.shape}, {pixels.dtype}; "
            "give one plane of a stack, and real numbers."
        )
    if not pixels.size:
        raise DataError(f"The array has the shape {pixels.shape}: there is no pixel in it.")
    found: list[Problem] = []

    def problem(kind: str, what: str, todo: str, severity: str = "error") -> None:
        found.append(Problem(kind, "array", "", what, todo, severity))

    pixels = _examine(pixels[..., :3] if pixels.ndim == 3 else pixels, problem)
    raise_errors(found)
    flat = flat_channel(pixels, channel)
    return as_gray(pixels, channel), [str(one) for one in found] + [flat] * bool(flat)


def known_channel(channel: str) -> str:
    """The channel's name. Raises ParameterError with the known ones if it is none."""
    if channel not in CHANNELS:
        raise ParameterError(f"channel={channel!r} is unknown; use one of {', '.join(CHANNELS)}.")
    return channel


def decode(path: Path | str) -> tuple[np.ndarray | None, list[Problem]]:
    """Decode a file without scaling: (pixels or None, list of `Problem`).

    pixels : (H, W) or (H, W, 3), any real dtype; None if one of the problems is an error.
    """
    path = Path(path)
    found = []

    def problem(kind: str, what: str, todo: str, severity: str = "error") -> None:
        found.append(Problem(kind, path.name, "", what, todo, severity))

    pixels = None
    if not path.is_file():
        problem("image-missing", "There is no such file.", "Check the name.")
    elif path.suffix.lower() not in SUFFIXES:
        problem("image-format", f"Images with the suffix {path.suffix!r} cannot be read.", EXPORT)
    elif path.stat().st_size == 0:
        problem("image-empty", "The file is empty (0 bytes).", "Copy it again from its source.")
    else:
        read = read_tiff if path.suffix.lower() in (".tif", ".tiff") else read_pillow
        try:
            pixels = read(path, problem)
        except Exception as error:  # decoders raise a dozen kinds of errors on damaged files
            broken(path, error, problem)
    if pixels is not None:
        pixels = _examine(pixels, problem)
    if any(p.severity == "error" for p in found):
        pixels = None
    return pixels, found


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
    if low < 0 or high > 65535:
        return low, high
    return 0, next(2**bits - 1 for bits in (8, 10, 12, 14, 16) if high <= 2**bits - 1)


def _examine(pixels: np.ndarray, problem: Callable[..., None]) -> np.ndarray:
    """Report what is odd about decoded pixels."""
    low, high = pixels.min().item(), pixels.max().item()  # plain numbers: half floats overflow in comparisons
    unusable = 0
    if pixels.dtype.kind == "f" and not (np.isfinite(low) and np.isfinite(high)):
        unusable = int((~np.isfinite(pixels)).sum())
    if examine_values(pixels.shape, low, high, unusable, problem) and pixels.dtype.kind != "b":
        if ((pixels == low) | (pixels == high)).all():
            problem("image-binary", "It has two values only.", "Make sure that it is an image, not a mask.", "warning")
    return pixels


def examine_values(shape: Sequence[int], low: float, high: float, unusable: int, problem: Callable[..., None]) -> bool:
    """Report what the shape, the range, and the number of values that are not finite say; True if nothing is odd."""
    height, width = shape[:2]
    if min(height, width) < MIN_SIDE:
        problem("image-tiny", f"The image has {width} x {height} px.", f"Each side needs {MIN_SIDE} px or more.")
    elif unusable:
        problem("image-nan", f"{unusable} values are NaN or infinite.", "Replace them before the image is saved.")
    elif low == high:
        problem("image-constant", f"Every pixel has the value {low}.", "Export it again; nothing is on it.")
    elif low < 0 or high > 65535:
        problem(
            "image-range",
            f"The values reach from {low:g} to {high:g}, and are stretched to 0..1 for this image alone.",
            "Save 8- or 16-bit values if intensities are to be compared between images.",
            "warning",
        )
    else:
        return True
    return False


def flat_channel(pixels: np.ndarray, channel: str = "auto") -> str:
    """A sentence if the chosen channel of (H, W, 3) pixels is nearly constant beside another one, else ""."""
    if pixels.ndim == 2 or channel == "mean":
        return ""
    step = max(1, int(np.sqrt(pixels.shape[0] * pixels.shape[1] / 1e5)))  # so many pixels tell as much as all
    some = pixels[::step, ::step]
    deviations = dict(zip(("red", "green", "blue"), some.std(axis=(0, 1), dtype=np.float64), strict=True))
    chosen = "green" if channel == "auto" else channel
    best = max(deviations, key=lambda name: deviations[name])
    if deviations[chosen] >= FLAT * deviations[best]:
        return ""
    return f"The {chosen} channel is nearly constant; the image is in the {best} one."


def broken(path: Path, error: Exception, problem: Callable[..., None]) -> None:
    """Report the error of a decoder: a damaged file, or no image at all."""
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    with open(path, "rb") as file:
        head = file.read(12)
    known = (b"\xff\xd8\xff", b"\x89PNG", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"BM")
    if head.startswith(known):
        problem("image-truncated", f"The file is cut off or damaged ({text}).", "Copy it again from its source.")
    else:
        problem("image-unreadable", f"This is not an image file ({text}).", EXPORT)
