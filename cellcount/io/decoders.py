"""Decoding image files with Pillow and tifffile, to pixels as they are stored: (H, W) or (H, W, 3).

Each decoder adds its warnings to a `Report`, and stops (`problems.Stop`) at a file that cannot be used.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cellcount.io.problems import Report, Stop

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPage

MAX_PIXELS = 2**28  # 16,384 x 16,384, 1 GiB as float32; a larger file is refused before it is decoded

_FORMATS = {"JPEG": (".jpg", ".jpeg"), "MPO": (".jpg", ".jpeg"), "PNG": (".png",), "BMP": (".bmp",)}
_IMAGE_STARTS = (b"\xff\xd8\xff", b"\x89PNG", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"BM")
_pil_limit = threading.Lock()


@contextmanager
def decoding(path: Path) -> Iterator[Report]:
    """Yield the Report of an image file; whatever stops its decoding is added to it, and not raised."""
    report = Report(path.name)
    try:
        yield report
    except Stop:
        pass
    except Exception as error:  # decoders raise a dozen kinds of errors on damaged files
        cause = error
        try:
            with open(path, "rb") as file:
                kind = "image-truncated" if file.read(12).startswith(_IMAGE_STARTS) else "image-unreadable"
        except OSError as locked:
            kind, cause = "file-unreadable", locked
        report.add(kind, error=str(cause).splitlines()[0] if str(cause) else type(cause).__name__)


def read_pillow(path: Path, report: Report) -> np.ndarray:
    """Pixels of a JPEG, PNG or BMP file, rotated as the file says; 16-bit colour is read as 8-bit."""
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
            report.stop("image-format", content=f"An image in the format {image.format}")
        if path.suffix.lower() not in suffixes:
            report.add("image-suffix", format=image.format, name=path.stem + suffixes[0])
        _check_size(*image.size, report)
        frames = getattr(image, "n_frames", 1)
        if image.format != "MPO" and frames > 1:
            report.stop("image-pages", count=frames)
        image.load()
        if image.mode in ("CMYK", "LAB", "HSV"):
            report.stop("image-colour", mode=image.mode)
        image = ImageOps.exif_transpose(image)
        if image.has_transparency_data and np.asarray(image.convert("RGBA").getchannel("A")).min() < 255:
            report.add("image-alpha")
        if image.mode == "P":
            image = image.convert("RGB")
            pixels = np.asarray(image)
            if (pixels == pixels[..., :1]).all():  # a palette of grays
                return pixels[..., 0]
        target = {"RGBA": "RGB", "YCbCr": "RGB", "RGBX": "RGB", "LA": "L", "La": "L", "RGBa": "RGB", "1": "L"}
        return np.asarray(image.convert(target[image.mode]) if image.mode in target else image)


def read_tiff(path: Path, report: Report) -> np.ndarray:
    """Pixels of a TIFF file of one plane (the lower levels of a pyramid do not count), rotated as the file says."""
    with opened(path) as tiff:
        page = plane(tiff, report)
        _check_size(page.imagewidth, page.imagelength, report)
        pixels = page.asarray()
        if page.samplesperpixel > 1 and page.planarconfig == 2:  # colours one after the other
            pixels = np.moveaxis(pixels, 0, -1)
        pixels = plain(pixels.reshape(page.imagelength, page.imagewidth, -1), page, report)
        number = orientation(page)
    if number in (5, 6, 7, 8):
        pixels = np.swapaxes(pixels, 0, 1)
    if number in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels[:, ::-1] if number in (2, 3, 6, 7) else pixels


@contextmanager
def opened(path: Path) -> Iterator[TiffFile]:
    """A tifffile.TiffFile, closed afterwards; damaged tags are reported by us and not logged by tifffile."""
    import tifffile

    logger = tifffile.logger()
    level = logger.level
    logger.setLevel("CRITICAL")
    try:
        with tifffile.TiffFile(path) as tiff:
            yield tiff
    finally:
        logger.setLevel(level)


def plane(tiff: TiffFile, report: Report) -> TiffPage:
    """The TiffPage with the only plane of a file; stops if there are several, or its values are not gray or RGB."""
    import tifffile

    page = tiff.pages.first
    samples = page.samplesperpixel
    planes = sum(int(np.prod(s.shape)) // (page.imagewidth * page.imagelength * samples or 1) for s in tiff.series)
    if planes > 1:
        report.stop("image-pages", count=planes)
    if page.photometric in (tifffile.PHOTOMETRIC.SEPARATED, tifffile.PHOTOMETRIC.CIELAB):
        report.stop("image-colour", mode=tifffile.PHOTOMETRIC(page.photometric).name)
    if samples not in (1, 2, 3, 4):
        report.stop("image-channels", count=samples)
    if page.dtype is None or page.dtype.kind not in "uifb":
        report.stop("image-dtype", dtype=page.dtype)
    return page


def plain(pixels: np.ndarray, page: TiffPage, report: Report) -> np.ndarray:
    """Values in which more is brighter, (h, w) or (h, w, 3), from the stored values (h, w, samples)."""
    import tifffile

    samples = page.samplesperpixel
    if page.photometric == tifffile.PHOTOMETRIC.PALETTE:
        if page.colormap is None:
            raise ValueError("its palette is missing")
        return np.moveaxis(page.colormap[:, pixels[..., 0]], 0, -1)
    if samples in (2, 4):
        alpha, pixels = pixels[..., -1], pixels[..., :-1]
        if (alpha < (np.iinfo(alpha.dtype).max if alpha.dtype.kind == "u" else 1)).any():
            report.add("image-alpha")
    if samples in (1, 2):
        pixels = pixels[..., 0]
    if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE and pixels.dtype.kind in "ub":
        pixels = np.iinfo(pixels.dtype).max - pixels if pixels.dtype.kind == "u" else ~pixels
    return pixels


def orientation(page: TiffPage) -> int:
    """The orientation 1-8 (TIFF 6.0, section 8) that a TiffPage is stored in."""
    tag = page.tags.get("Orientation")
    return int(tag.value) if tag is not None else 1


def _check_size(width: int, height: int, report: Report) -> None:
    if width * height > MAX_PIXELS:
        report.stop("image-huge", width=width, height=height, limit=MAX_PIXELS)
