"""Decoding image files with Pillow and tifffile, to pixels as they are stored: (H, W) or (H, W, 3).

Each decoder adds its warnings to a `Report`, and stops (`problems.Stop`) at a file that cannot be used.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cellcount.io.problems import Report, Stop

if TYPE_CHECKING:
    from PIL import Image
    from tifffile import TiffFile, TiffPage

MAX_PIXELS = 2**28  # 16,384 x 16,384, 1 GiB as float32; a larger file is refused before it is decoded
MAX_TILE = 2**24  # px, of a tile that is larger than the image

_FORMATS = {"JPEG": (".jpg", ".jpeg"), "MPO": (".jpg", ".jpeg"), "PNG": (".png",), "BMP": (".bmp",)}
_TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_IMAGE_STARTS = (b"\xff\xd8\xff", b"\x89PNG", *_TIFF_STARTS, b"BM")
_OTHERS = {  # how other files begin that are called as images
    b"version https://git-lfs": "a Git LFS pointer (`git lfs pull` fetches the image)", b"<!DOCTYPE": "a web page",
    b"<html": "a web page", b"%PDF": "a PDF document", b"PK\3\4": "a ZIP archive or Office document",
    b"\x89HDF": "an HDF5 file", b"ZISRAWFILE": "a CZI file of ZEN", b"\xd0\xcf\x11\xe0": "an OLE file",
    b"SIMPLE  =": "a FITS file", b"\x93NUMPY": "a NumPy array",
}  # fmt: skip
_ASIDE = ("Thumbnail", "Label", "Macro", "Map")  # series that scanners add
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
        cause, other = error, ""
        try:
            start = _start(path, 24)
            kind = "image-truncated" if start.startswith(_IMAGE_STARTS) else "image-unreadable"
            other = next((name for begin, name in _OTHERS.items() if start.startswith(begin)), "")
            other = "a HEIC or AVIF photograph" if start[4:10] in (b"ftyphe", b"ftypmi", b"ftypav") else other
        except OSError as locked:
            kind, cause = "file-unreadable", locked
        kind = "image-codec" if "COMPRESSION" in str(cause) or isinstance(cause, NotImplementedError) else kind
        text = str(cause).splitlines()[0] if str(cause) else type(cause).__name__
        text = "its format is unknown" if text.startswith("cannot identify image file") else text
        report.add("image-other" if other else kind, error=text, content=other)


def check_regular(path: Path, report: Report) -> None:
    """Stop at pipes, sockets and devices, and links to them: reading them may never end."""
    if os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path):
        link = f" (it is a link to {os.path.realpath(path)})" if os.path.islink(path) else ""
        report.stop("file-special", link=link)


def is_tiff(path: Path) -> bool:
    """Whether a file begins as a TIFF file does, whatever its suffix."""
    return _start(path, 4) in _TIFF_STARTS


def _start(path: Path, count: int) -> bytes:
    if not path.stat().st_size:  # also that of a file in which the system gives messages, which is waited for
        return b""
    with open(path, "rb") as file:
        return file.read(count)


def header(path: Path) -> tuple[tuple[int, int], int]:
    """The (height, width) px in which an image is stored, and the orientation 1-8 in which it is to be shown."""
    from PIL import Image

    if is_tiff(path):
        with opened(path) as tiff:
            page = plane(tiff, Report(path.name))
            return (page.imagelength, page.imagewidth), orientation(page)
    if not path.stat().st_size:
        raise ValueError("it is empty")
    with _without_limit(), Image.open(path) as image:
        turned = image.getexif().get(0x0112, 1)  # EXIF orientation
        return image.size[::-1], turned if turned in range(1, 9) else 1


@contextmanager
def _without_limit() -> Iterator[None]:
    """Pillow's own limit of pixels is global, lower than ours, and warns before it refuses."""
    from PIL import Image

    with _pil_limit:
        before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before


def read_pillow(path: Path, report: Report) -> np.ndarray:
    """Pixels of a JPEG, PNG or BMP file, rotated as the file says."""
    from PIL import Image

    with _without_limit():
        image: Image.Image = Image.open(path)
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
        number = image.getexif().get(0x0112, 1)
        deep = image.format == "PNG" and image.mode in ("RGB", "RGBA", "LA") and _start(path, 25)[24:] == b"\x10"
        return _upright(_deep_png(path, report) if deep else _shallow(image, report), number, report)


def _shallow(image: Image.Image, report: Report) -> np.ndarray:
    """Pixels of an image that Pillow reads as it is stored."""
    if image.has_transparency_data and np.asarray(image.convert("RGBA").getchannel("A")).min() < 255:
        report.add("image-alpha")
    if image.mode == "P":
        pixels = np.asarray(image.convert("RGB"))
        return pixels[..., 0] if (pixels == pixels[..., :1]).all() else pixels  # a palette of grays
    target = {"RGBA": "RGB", "YCbCr": "RGB", "RGBX": "RGB", "LA": "L", "La": "L", "RGBa": "RGB", "1": "L"}
    return np.asarray(image.convert(target[image.mode]) if image.mode in target else image)


def _deep_png(path: Path, report: Report) -> np.ndarray:
    """Pixels of a PNG file with several channels of 16 bits, which Pillow would cut to 8 bits."""
    import imagecodecs

    pixels = imagecodecs.png_decode(path.read_bytes())
    if pixels.shape[2] in (2, 4):
        alpha, pixels = pixels[..., -1], pixels[..., :-1]
        if (alpha < 65535).any():
            report.add("image-alpha")
    return pixels if pixels.shape[2] == 3 else pixels[..., 0]


def read_tiff(path: Path, report: Report) -> np.ndarray:
    """Pixels of a TIFF file of one plane (the lower levels of a pyramid do not count), rotated as the file says."""
    if path.suffix.lower() not in (".tif", ".tiff"):
        report.add("image-suffix", format="TIFF", name=path.stem + ".tif")
    with opened(path) as tiff:
        page = plane(tiff, report)
        _check_size(page.imagewidth, page.imagelength, report)
        assert page.dtype is not None  # checked by `plane`
        tile = page.tilewidth * page.tilelength  # 0 without tiles
        if tile > max(MAX_TILE, 2 * page.imagewidth * page.imagelength):
            report.stop("image-block", megabytes=tile * page.samplesperpixel * page.dtype.itemsize / 1e6)
        pixels = page.asarray()
        if page.samplesperpixel > 1 and page.planarconfig == 2:  # colours one after the other
            pixels = np.moveaxis(pixels, 0, -1)
        pixels = plain(pixels.reshape(page.imagelength, page.imagewidth, -1), page, report)
        return _upright(pixels, orientation(page), report)


def _upright(pixels: np.ndarray, number: int, report: Report) -> np.ndarray:
    """Pixels (h, w) or (h, w, 3) that are stored in the orientation 1-8, as they are to be shown."""
    if number in range(2, 9):
        report.add("image-exif", turn=number)
    if number in (5, 6, 7, 8):
        pixels = np.swapaxes(pixels, 0, 1)
    if number in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels[:, ::-1] if number in (2, 3, 6, 7) else pixels


@contextmanager
def opened(path: Path) -> Iterator[TiffFile]:
    """A tifffile.TiffFile, closed afterwards; damaged tags are reported by us and not logged by tifffile.

    No other file is opened, though the metadata of OME and Micro-Manager may name any: "../", a device.
    """
    import tifffile

    logger = tifffile.logger()
    level = logger.level
    logger.setLevel("CRITICAL")
    try:
        with tifffile.TiffFile(path, _multifile=False, is_mmstack=False, is_ndtiff=False) as tiff:
            yield tiff
    finally:
        logger.setLevel(level)


def plane(tiff: TiffFile, report: Report) -> TiffPage:
    """The TiffPage with the only plane of a file; stops if there are several, or its values are not gray or RGB.

    Reduced images (a thumbnail, the lower levels of a pyramid) do not count.
    """
    import tifffile

    kinds = tifffile.PHOTOMETRIC
    len(tiff.pages)  # finds pages that follow each other in a circle, in which `series` would go on for ever
    series = [s for s in tiff.series if not s.keyframe.is_reduced and s.name not in _ASIDE] or tiff.series
    pages = [one.keyframe for one in series]
    page, largest = pages[0], max(pages, key=lambda one: one.imagewidth * one.imagelength)
    counts = [int(np.prod(s.shape)) // (s.keyframe.size or 1) for s in series]
    others = ", ".join(f"{one.imagewidth} x {one.imagelength}" for one in pages[1:5])
    if page.shape[:2] != largest.shape[:2]:
        report.stop("image-thumbnail", first=f"{page.imagewidth} x {page.imagelength}", others=others)
    same = sum(count for one, count in zip(pages, counts, strict=True) if one.shape[:2] == page.shape[:2])
    if same > 1:
        report.stop("image-pages", count=same)
    if len(pages) > 1:
        report.add("image-other-pages", others=others)
    if tiff.is_imagej and {"ROI", "Overlays"} & set(tiff.imagej_metadata or {}):
        report.add("image-regions")
    samples, colour = page.samplesperpixel, page.photometric in (kinds.RGB, kinds.YCBCR)
    usual = colour or page.photometric in (kinds.MINISBLACK, kinds.MINISWHITE, kinds.PALETTE)
    if not usual or page.photometric == kinds.YCBCR and page.compression not in (6, 7):  # JPEG is decoded to RGB
        report.stop("image-colour", mode=getattr(page.photometric, "name", page.photometric))
    alpha = samples == 2 and page.extrasamples and int(page.extrasamples[0]) in (1, 2)
    if samples not in ((3, 4) if colour else (1, 2 if alpha else 1)):
        report.stop("image-channels", count=samples)
    if page.dtype is None or page.dtype.kind not in "uifb":
        report.stop("image-dtype", dtype=page.dtype)
    return page


def plain(pixels: np.ndarray, page: TiffPage, report: Report) -> np.ndarray:
    """Values in which more is brighter, (h, w) or (h, w, 3), from the stored values (h, w, samples)."""
    import tifffile

    if page.photometric == tifffile.PHOTOMETRIC.PALETTE:
        if page.colormap is None:
            raise ValueError("its palette is missing")
        return np.moveaxis(page.colormap[:, pixels[..., 0]], 0, -1)
    bits = page.bitspersample if pixels.dtype.kind == "u" else 0
    if page.samplesperpixel in (2, 4):
        alpha, pixels = pixels[..., -1], pixels[..., :-1]
        if (alpha < (2**bits - 1 if bits else 1)).any():
            report.add("image-alpha")
    pixels = pixels if pixels.shape[2] == 3 else pixels[..., 0]
    if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE:
        if pixels.dtype.kind == "u":
            pixels = pixels.dtype.type(2**bits - 1) - pixels
        else:
            pixels = 1 - pixels if pixels.dtype.kind == "f" else ~pixels
    return pixels * (255 // (2**bits - 1)) if 1 < bits < 8 else pixels


def orientation(page: TiffPage) -> int:
    """The orientation 1-8 (TIFF 6.0, section 8) that a TiffPage is stored in."""
    tag = page.tags.get("Orientation")
    return int(tag.value) if tag is not None and tag.value in range(1, 9) else 1


def _check_size(width: int, height: int, report: Report) -> None:
    if width * height > MAX_PIXELS:
        report.stop("image-huge", width=width, height=height, limit=MAX_PIXELS)
