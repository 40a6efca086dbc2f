"""TIFF images larger than memory: read once for their range of values, then window by window."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from tqdm import tqdm

from cellcount.errors import one_of
from cellcount.io import images
from cellcount.io.decoders import decoding, is_tiff, opened, orientation, plain, plane
from cellcount.io.problems import Report, raise_errors

if TYPE_CHECKING:
    from tifffile import TiffPage

LARGE = 2**26  # px; 8,192 x 8,192: a larger image, its gray values and its maps would fill more than a gigabyte
MAX_BLOCK = 2**29  # bytes; a compressed block has to be decoded as a whole
OVERVIEW = 4096  # px, the longer side of the downsampled image
SAMPLE = 1e6  # px; enough pixels for quantiles
BAND = 2**24  # px; read at once when the whole file is read


def open_image(path: Path | str, channel: str = "auto") -> tuple[np.ndarray | LargeImage, list[str]]:
    """An image to count cells in: in memory, or as a `LargeImage` if it is a TIFF of more than 67 million px.

    Parameters
    ----------
    path : path of a JPEG, PNG, TIFF or BMP file
    channel : str
        See `cellcount.io.images.read_image`.

    Returns
    -------
    image : (H, W) float32 in [0, 1], or LargeImage
    warnings : list of str
        What is unusual about the image.

    Raises
    ------
    DataError, ParameterError
        As `read_image`.
    """
    path = Path(path)
    if not _is_large(path):
        return images.examined(path, channel)
    image = LargeImage(path, channel)
    return image, image.warnings


def _is_large(path: Path) -> bool:
    large = False
    if path.suffix.lower() in images.SUFFIXES and os.path.isfile(path):
        with decoding(path) as report:  # `examined` reports what is wrong with the file
            if is_tiff(path):
                with opened(path) as tiff:
                    page = plane(tiff, report)
                    large = page.imagewidth * page.imagelength > LARGE
    return large


class LargeImage:
    """A gray image in a TIFF file, of which only a few rows of tiles or strips are in memory.

    `image[y0:y1, x0:x1]` is (y1 - y0, x1 - x0) float32 in [0, 1], with the values of `read_image`. The file is read
    once when it is opened, to detect damage and for the range of values, `sample` and `overview`.

    Attributes
    ----------
    shape : (height, width), px
    sample : (h, w) float32 in [0, 1]
        Every n-th row and column, one to two million px, for quantiles.
    overview : (h', w') float32 in [0, 1]
        The image downsampled by the integer `factor` (block means), at most 4096 px long.
    warnings : list of str
        What is unusual about the image.

    Raises
    ------
    DataError
        If the file cannot be used, or cannot be read in parts, with what to do.
    ParameterError
        If the channel is unknown.
    """

    def __init__(self, path: Path | str, channel: str = "auto", progress: bool = True) -> None:
        self.path, self._channel = Path(path), one_of(channel, images.CHANNELS, "channel")
        with decoding(self.path) as report:
            self._page, self._read = _open(self.path, report)
            self.shape = self._page.imagelength, self._page.imagewidth
            self.factor = -(-max(self.shape) // OVERVIEW)
            low, high, unusable, some, overview = self._survey(progress, report)
            dtype = some.dtype
            images.examine_values(self.shape, dtype, low, high, unusable, report)
        raise_errors(report.problems)
        flat = images.flat_channel(some, channel)
        self.warnings = [*dict.fromkeys(map(str, report.problems)), *[flat] * bool(flat)]
        self._scale = images.full_scale(dtype, low, high)
        self.sample = images.as_gray(some, channel, self._scale)
        self.overview = images.as_gray(overview, scale=self._scale)

    def __getitem__(self, window: tuple[slice, slice]) -> np.ndarray:
        """(h, w) float32 of a pair of slices."""
        rows, columns = (part.indices(side) for part, side in zip(window, self.shape, strict=True))
        if rows[2] != 1 or columns[2] != 1:
            raise IndexError("A LargeImage is read in windows without steps.")
        return images.as_gray(self._stored(*rows[:2], *columns[:2]), self._channel, self._scale)

    def _stored(self, y0: int, y1: int, x0: int, x1: int, report: Report | None = None) -> np.ndarray:
        """(h, w) or (h, w, 3), values not scaled."""
        return plain(self._read(y0, y1, x0, x1), self._page, report or Report(self.path.name))

    def _survey(self, progress: bool, report: Report) -> tuple[float, float, int, np.ndarray, np.ndarray]:
        """Read everything once: lowest and highest value, number of values not finite, some pixels, gray overview."""
        height, width = self.shape
        step = max(1, int(np.sqrt(height * width / SAMPLE)))
        band = max(1, round(BAND / width / self.factor)) * self.factor  # ends where a block mean ends
        low, high, unusable, some, overview = np.inf, -np.inf, 0, [], []
        with tqdm(total=height, desc=f"reading {self.path.name}", unit="row", disable=not progress) as bar:
            for y in range(0, height, band):
                pixels = self._stored(y, min(y + band, height), 0, width, report)
                least, most = pixels.min().item(), pixels.max().item()
                if not np.isfinite([least, most]).all():
                    unusable += int((~np.isfinite(pixels)).sum())
                low, high = min(low, least), max(high, most)
                some.append(pixels[-y % step :: step, ::step].copy())
                overview.append(_shrink(images.one_channel(pixels, self._channel), self.factor))
                bar.update(len(pixels))
        return low, high, unusable, np.concatenate(some), np.concatenate(overview)


def _shrink(gray: np.ndarray, factor: int) -> np.ndarray:
    """Means (ceil(h / factor), ceil(w / factor)) float32 of blocks of (h, w) values; the border is repeated."""
    gray = np.pad(gray, [(0, -side % factor) for side in gray.shape], mode="edge")
    height, width = gray.shape[0] // factor, gray.shape[1] // factor
    rows = gray.reshape(height, factor, -1).mean(axis=1, dtype=np.float32)  # along one axis after the other: faster
    return rows.reshape(height, width, factor).mean(axis=2)


def _open(path: Path, report: Report) -> tuple[TiffPage, Callable[[int, int, int, int], np.ndarray]]:
    """A TiffPage, and a function of a window y0, y1, x0, x1 that gives its stored values (h, w, samples)."""
    with opened(path) as tiff:
        page = plane(tiff, report)
        if orientation(page) != 1:
            report.stop("image-orientation")
        _ = page.colormap  # tifffile reads tags late, and the file is closed below
        if page.is_memmappable:
            return page, partial(_mapped, path, page)
        blocks = _Blocks(path, page)
        if blocks.bytes > MAX_BLOCK:
            report.stop("image-block", megabytes=blocks.bytes / 1e6)
        return page, blocks


def _mapped(path: Path, page: TiffPage, y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
    """A window of an uncompressed file; the memory map is closed, so that its pages do not count as used memory."""
    samples, size = page.samplesperpixel, (page.imagelength, page.imagewidth)
    planar = samples > 1 and page.planarconfig == 2
    shape = (samples, *size) if planar else (*size, samples)
    assert page.dtype is not None  # checked by `plane`
    stored: np.ndarray = np.memmap(path, page.parent.byteorder + page.dtype.char, "r", page.dataoffsets[0], shape)
    if planar:
        stored = np.moveaxis(stored, 0, -1)
    return np.array(stored[y0:y1, x0:x1], page.dtype)


class _Blocks:
    """Windows of a compressed or tiled file; the decoded tiles or strips in the rows of the last window are kept."""

    def __init__(self, path: Path, page: TiffPage) -> None:
        assert page.dtype is not None  # checked by `plane`
        self.path, self.samples, self.dtype = path, page.samplesperpixel, page.dtype
        self.kept: dict[tuple[int, int, int], np.ndarray] = {}
        self.planes = self.samples if page.planarconfig == 2 else 1
        shape = page.imagelength, page.imagewidth
        strip = (min(page.rowsperstrip, shape[0]), shape[1])
        self.block = (page.tilelength, page.tilewidth) if page.is_tiled else strip
        self.grid = tuple(-(-side // length) for side, length in zip(shape, self.block, strict=True))
        self.bytes = math.prod(self.block) * self.samples // self.planes * self.dtype.itemsize
        self.places = list(zip(page.dataoffsets, page.databytecounts, strict=True))
        self.decode = partial(page.decode, jpegtables=page.jpegtables, jpegheader=page.jpegheader)

    def __call__(self, y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
        height, width = self.block
        rows, columns = range(y0 // height, -(-y1 // height)), range(x0 // width, -(-x1 // width))
        self.kept = {place: block for place, block in self.kept.items() if place[1] in rows}
        top, left = rows.start * height, columns.start * width
        whole = np.zeros((len(rows) * height, len(columns) * width, self.samples), self.dtype)
        with open(self.path, "rb") as file:
            for place in itertools.product(range(self.planes), rows, columns):
                if place not in self.kept:
                    self.kept[place] = self._decoded(file, *place)
                block, y, x = self.kept[place], place[1] * height - top, place[2] * width - left
                target = whole if self.planes == 1 else whole[..., place[0], None]
                target[y : y + block.shape[0], x : x + block.shape[1]] = block
        return whole[y0 - top : y1 - top, x0 - left : x1 - left]

    def _decoded(self, file: BinaryIO, plane: int, row: int, column: int) -> np.ndarray:
        """(h, w, samples) of one tile or strip."""
        index = (plane * self.grid[0] + row) * self.grid[1] + column
        offset, size = self.places[index]
        if not size:
            return np.zeros((0, 0, 1), self.dtype)  # sparse files omit empty blocks
        file.seek(offset)
        data = file.read(size)
        block = self.decode(data, index)[0] if len(data) == size else None
        if block is None:
            raise ValueError(f"block {index} is incomplete")
        return block[0]
