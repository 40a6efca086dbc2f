"""Decoding image files with Pillow and tifffile, to pixels as they are stored: (H, W) or (H, W, 3).

Each decoder is given `problem(kind, what, todo, severity="error")`, reports through it, and returns None on an error.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPage, TiffPageSeries

MAX_PIXELS = 2**28  # 16,384 x 16,384, 1 GiB as float32; beyond it the file is refused before it is decoded
EXPORT = "Export it as PNG, TIFF or JPEG."

_FORMATS = {"JPEG": (".jpg", ".jpeg"), "MPO": (".jpg", ".jpeg"), "PNG": (".png",), "BMP": (".bmp",)}
_pil_limit = threading.Lock()


def read_pillow(path: Path, problem: Callable[..., None]) -> np.ndarray | None:
    """Pixels of a JPEG, PNG or BMP file, its stored orientation applied; 16-bit colour comes as 8-bit."""
    from PIL import Image, ImageOps

    with _pil_limit:  # Pillow's own limit is global, lower than ours, and warns before it refuses
        before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            image: Image.Image = Image.open(path)
        finally:
            Image.MAX_IMAGE_PIXELS = before
    with image:
        suffixes = _FORMATS.get(image.format or "")
        if suffixes is None:
            problem("image-format", f"The content is {image.format}, whatever the name says.", EXPORT)
            return None
        if path.suffix.lower() not in suffixes:
            todo = f"Rename it to {path.stem}{suffixes[0]}."
            problem("image-suffix", f"The content is {image.format}, not what the name says.", todo, "warning")
        if _too_large(*image.size, problem):
            return None
        frames = getattr(image, "n_frames", 1)
        if image.format != "MPO" and frames > 1:
            _pages(frames, problem)
            return None
        image.load()
        if image.mode in ("CMYK", "LAB", "HSV"):
            problem("image-colour", f"The image is stored as {image.mode}.", "Convert it to RGB or gray.")
            return None
        image = ImageOps.exif_transpose(image)
        if image.has_transparency_data:
            alpha = np.asarray(image.convert("RGBA"))[..., 3]
            if (alpha < 255).any():
                _transparent(problem)
        if image.mode == "P":
            image = image.convert("RGB")
            red, green, blue = np.moveaxis(np.asarray(image), 2, 0)
            if (red == green).all() and (green == blue).all():  # a palette of grays
                return red
        target = {"RGBA": "RGB", "YCbCr": "RGB", "RGBX": "RGB", "LA": "L", "La": "L", "RGBa": "RGB", "1": "L"}
        return np.asarray(image.convert(target[image.mode]) if image.mode in target else image)


def _transparent(problem: Callable[..., None]) -> None:
    problem(
        "image-alpha",
        "The image is partly transparent; transparency is dropped.",
        "Flatten it if the hidden colours are not meant to be seen.",
        "warning",
    )


def read_tiff(path: Path, problem: Callable[..., None]) -> np.ndarray | None:
    """Pixels of a TIFF file of one plane (a pyramid's lower levels do not count), its stored orientation applied."""
    with opened(path) as tiff:
        page = plane(tiff, problem)
        if page is None or _too_large(page.imagewidth, page.imagelength, problem):
            return None
        series = tiff.series[0]
        pixels = series.asarray()
        samples = page.samplesperpixel
        if samples > 1:
            pixels = pixels.reshape(_with_samples(series, samples))
            pixels = np.moveaxis(pixels, 0, -1) if series.axes.startswith("S") else pixels
        pixels = plain(pixels.reshape(page.imagelength, page.imagewidth, samples), page, problem)
        return _oriented(pixels, orientation(page))


@contextmanager
def opened(path: Path) -> Iterator[TiffFile]:
    """A tifffile.TiffFile, closed afterwards; damaged tags become our own problem, not a log line."""
    import tifffile

    logger = tifffile.logger()
    level = logger.level
    logger.setLevel("CRITICAL")
    try:
        with tifffile.TiffFile(path) as tiff:
            yield tiff
    finally:
        logger.setLevel(level)


def plane(tiff: TiffFile, problem: Callable[..., None]) -> TiffPage | None:
    """The TiffPage that holds the only plane of a file; None, with a problem, if its values are not gray or RGB."""
    import tifffile

    page = tiff.pages.first
    samples = page.samplesperpixel
    planes = sum(int(np.prod(s.shape)) // (page.imagewidth * page.imagelength * samples or 1) for s in tiff.series)
    if planes > 1:
        _pages(planes, problem)
    elif page.photometric in (tifffile.PHOTOMETRIC.SEPARATED, tifffile.PHOTOMETRIC.CIELAB):
        problem(
            "image-colour",
            f"The image is stored as {tifffile.PHOTOMETRIC(page.photometric).name}.",
            "Convert it to RGB or gray.",
        )
    elif samples not in (1, 2, 3, 4):
        problem("image-channels", f"The image has {samples} channels.", "Save one channel, or RGB.")
    elif page.dtype is None or page.dtype.kind not in "uifb":
        problem("image-dtype", f"Values of type {page.dtype} are not gray values.", "Save 8- or 16-bit values.")
    else:
        return page
    return None


def plain(pixels: np.ndarray, page: TiffPage, problem: Callable[..., None]) -> np.ndarray:
    """Values in which more is brighter, (h, w) or (h, w, 3), of values as they are stored, (h, w, samples)."""
    import tifffile

    samples = page.samplesperpixel
    if page.photometric == tifffile.PHOTOMETRIC.PALETTE:
        if page.colormap is None:
            raise ValueError("its palette is missing")
        return np.moveaxis(page.colormap[:, pixels[..., 0]], 0, -1)
    if samples in (2, 4):
        pixels = _drop_alpha(pixels, problem)
    if samples in (1, 2):
        pixels = pixels[..., 0]
    if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE and pixels.dtype.kind in "ub":
        pixels = np.iinfo(pixels.dtype).max - pixels if pixels.dtype.kind == "u" else ~pixels
    return pixels


def _with_samples(series: TiffPageSeries, samples: int) -> list[int]:
    """The shape without axes of length one, but with the samples' axis."""
    return [n for n, axis in zip(series.shape, series.axes, strict=True) if axis == "S" or n > 1 or axis in "YX"]


def _drop_alpha(pixels: np.ndarray, problem: Callable[..., None]) -> np.ndarray:
    alpha = pixels[..., -1]
    full = np.iinfo(alpha.dtype).max if alpha.dtype.kind == "u" else 1
    if (alpha < full).any():
        _transparent(problem)
    return pixels[..., :-1]


def orientation(page: TiffPage) -> int:
    """The orientation 1-8 (TIFF 6.0, section 8) that a TiffPage is stored in."""
    tag = page.tags.get("Orientation")
    return int(tag.value) if tag is not None else 1


def _oriented(pixels: np.ndarray, number: int) -> np.ndarray:
    """Turn (H, W[, C]) pixels stored in the orientation `number`, 1-8, the right way up."""
    if number in (5, 6, 7, 8):
        pixels = np.swapaxes(pixels, 0, 1)
    if number in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if number in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels


def _too_large(width: int, height: int, problem: Callable[..., None]) -> bool:
    if width * height <= MAX_PIXELS:
        return False
    problem(
        "image-huge",
        f"The image has {width} x {height} px, more than the limit of {MAX_PIXELS:,} px.",
        "Cut it into fields. To count it whole, save it as a TIFF: `cellcount count` reads that piece by piece.",
    )
    return True


def _pages(count: int, problem: Callable[..., None]) -> None:
    problem(
        "image-pages",
        f"The file holds {count} pages, channels or frames.",
        "Save the one plane that is to be counted as an image of its own.",
    )
