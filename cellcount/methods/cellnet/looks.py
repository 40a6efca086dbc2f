"""The size of the cells in an image, relative to that on which a network was trained, and whether it looks like that.

Two measures of size that share nothing: the image's power spectrum, and the size at which the network's peaks are
highest. Where they agree, the image can be resampled. An image unlike the training images betrays itself in that the
network finds other points when the image is made a little larger, that its peaks are faint, or in the
spectrum. The limits were chosen on simulated fields and on the 34 fields of the thesis, with noise, textures and stains
against them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from numbers import Real
from typing import Any, NamedTuple

import numpy as np

from cellcount.errors import require
from cellcount.io.views import View
from cellcount.methods.base import Look
from cellcount.methods.pixels import brightness_and_contrast, peaks, to_full

SIDE = 384  # px of what the network sees of an image, for each size that is tried
WINDOW = 768  # px, of which the spectrum is taken
LONGEST = 256.0  # px; longer waves are the illumination
STEP = 1.4  # between two sizes that are tried; the first is that of the training images
MOST = 4  # steps to either side
LIMIT = 10.0  # of the factor by which an image is resampled
ALIKE = 1.3  # cells whose size is within this factor of the training images' are counted as they are
APART = 1.8  # the two measures agree within this factor
ROOM = 25  # cells; nothing is concluded from an image that has room for fewer
LOWEST, FEW = 0.25, 10  # height of the peaks whose mean tells the size, and their least number
STABLE = 0.8  # of the training images' share of points that stay
OTHERS = 0.8  # highest such share that is expected of other images: on those it learned from, a network is surer
FAINT = 0.65  # of the training images' mean height of peaks
LONG, SHORT, BLURRED = 1.4, 1.5, 0.55  # times the training images' ratios of wavelengths
TILE, FLAT, DIM = 16, 0.02, 0.65  # px; share of flat tiles; lowest over highest median of a sixteenth of the image
DARK, TAIL = 0.4, 2.5  # median of a dark ground, and of how many times its lower values the higher ones are apart
WIDTH = 1.4  # of the distance between neighbours: the width of cells that touch (thesis, image 1: 34 of 24 px)

NAMES = ("wavelength", "long", "short", "sharp", "size", "height", "stable")  # what weights know of their images
Heat = Callable[[np.ndarray], np.ndarray]
Heats = Callable[[np.ndarray, tuple[float, float]], np.ndarray]


class Structure(NamedTuple):
    """Wavelengths in an image, by power: the median, px; the upper quartile over it; it over the lowest 10 and 1 %."""

    median: float
    long: float
    short: float
    sharp: float


def structure(image: View) -> Structure | None:
    """The `Structure` of the middle of an image (H, W); None without any."""
    pixels = _window(image, 1.0, WINDOW, image.middle)[0]
    pixels = pixels - pixels.mean()
    height, width = pixels.shape
    tapered = pixels * np.outer(np.hanning(height), np.hanning(width)).astype(np.float32)
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)).ravel()
    bins = np.minimum((frequency * 4096).astype(int), 2047)
    power = np.bincount(bins, (np.abs(np.fft.rfft2(tapered)) ** 2).ravel() * (frequency > 1 / LONGEST), 2048)
    summed = np.cumsum(power)
    if summed[-1] <= 1e-9:
        return None
    parts = (0.25, 0.5, 0.9, 0.99)
    long, median, short, sharp = (4096 / (np.searchsorted(summed, part * summed[-1]) + 0.5) for part in parts)
    return Structure(float(median), float(long / median), float(median / short), float(median / sharp))


class _Peaks(NamedTuple):
    """Peaks at one size: (N, 2) px of the image, (N,) heights, and where they were sought: y0, x0, y1, x1, px."""

    points: np.ndarray
    heights: np.ndarray
    box: np.ndarray

    @property
    def mean(self) -> float:
        high = self.heights[self.heights > LOWEST]
        return float(high.mean()) if len(high) >= FEW else 0.0


class Sizes:
    """Tries an image at several sizes.

    Parameters
    ----------
    image : View
    heat : function of pixels (H, W) float32, giving the heatmap
    settings : Settings
    reference : float
        The size at which the peaks on the training images are highest, relative to the training images.
    """

    def __init__(self, image: View, heat: Heat, settings: Any, reference: float) -> None:
        self.image, self._heat, self._settings, self._reference = image, heat, settings, reference
        self._tried: dict[int, _Peaks] = {}

    def at(self, step: int) -> _Peaks:
        """The peaks after resampling by `reference` and so many steps."""
        if step not in self._tried:
            scale, settings = self._reference * STEP**step, self._settings
            pixels, top, left = _window(self.image, scale, SIDE, self.image.busiest)
            points, heights = peaks(self._heat(pixels), threshold=LOWEST / 2, distance=settings.peak_distance)
            points = (to_full(points, settings.factor) + 0.5 + np.array([top, left])) / scale - 0.5
            ends = np.array([top, left, top + pixels.shape[0], left + pixels.shape[1]]) / scale
            self._tried[step] = _Peaks(points, heights, ends)
        return self._tried[step]

    def best(self, start: int = 0) -> tuple[int, float]:
        """(step, size) of the highest mean height of the peaks near a start; the size is interpolated."""
        step = int(np.clip(start, -MOST, MOST))
        while abs(step) <= MOST:
            highest = max((step, step - 1, step + 1), key=lambda one: self.at(one).mean)
            if highest == step:
                break
            step = highest
        below, middle, above = (self.at(step + one).mean for one in (-1, 0, 1))
        curved = below - 2 * middle + above
        shift = (below - above) / (2 * curved) if min(below, above) > 0 and curved < 0 else 0.0
        return step, float(STEP ** (step + shift))

    def stable(self, step: int) -> tuple[float, int]:
        """(share, n): of n points above the threshold, how many stay when the image is a step larger."""
        one, other = self.at(step), self.at(step + 1)
        low, high = np.maximum(one.box[:2], other.box[:2]), np.minimum(one.box[2:], other.box[2:])
        sets = []
        for found in (one, other):
            inside = ((found.points >= low) & (found.points < high)).all(axis=1)
            sets.append(found.points[inside & (found.heights > self._settings.threshold)])
        n = len(sets[0]) + len(sets[1])
        reach = self._settings.peak_distance * self._settings.factor / STEP**step
        return (2 * _paired(sets[0], sets[1], reach) / n if n else 0.0), n // 2

    def higher(self, step: int) -> bool:
        """Whether the peaks are higher at a step than at the training images' size, by twice the standard error."""
        one, other = self.at(step), self.at(0)
        high = one.heights[one.heights > LOWEST]
        return bool(one.mean - other.mean > 2 * high.std() / np.sqrt(max(len(high), 1)))


def _paired(one: np.ndarray, other: np.ndarray, reach: float) -> int:
    """How many points (N, 2) and (M, 2), px, are each other's nearest within `reach`; imports no SciPy."""
    if not len(one) * len(other):
        return 0
    squared = ((one[:, None] - other) ** 2).sum(axis=2)
    nearest = squared.argmin(axis=1)
    mutual = squared.argmin(axis=0)[nearest] == np.arange(len(one))
    return int((mutual & (squared[np.arange(len(one)), nearest] <= reach**2)).sum())


def look(
    image: View,
    heat: Heat,
    settings: Any,
    counting: Any,
    *,
    cell_width: float | str | None = "auto",
    pixel_size_um: float | None = None,
) -> Look:
    """By which factor to resample an image, and what about it is unlike the training images.

    Parameters
    ----------
    image : View of (H, W) px
        Not resampled.
    heat : function of pixels (H, W) float32, giving the heatmap
    settings : Settings
    counting : Counting
        What the weights know of their training images.
    cell_width : float, "auto" or None
        px; "auto" finds it, unless the pixel size tells; None leaves the image as it is.
    pixel_size_um : float or None
        Of the image.
    """
    known, width, scale = dict(counting.looks or {}), counting_width(counting), 1.0
    known = known if set(NAMES) <= set(known) else {}
    if isinstance(cell_width, Real):
        require(width, "These weights do not know the width of their cells: leave --cell-width out.")
        scale = width / float(cell_width)
    elif cell_width == "auto" and pixel_size_um and counting.pixel_size_um:
        scale, cell_width = pixel_size_um / counting.pixel_size_um, None
    told = f"the image would be resampled by {scale:.3g}. Give a width or a pixel size that changes it by less than"
    require(1 / LIMIT < scale < LIMIT, f"CellNet: {told} {LIMIT:g}.")
    found, auto, warnings = structure(image) if known else None, cell_width == "auto", []
    if found is None or width is None:  # weights trained without a calibration, or a blank image
        return Look(scale)
    sizes, spectral = Sizes(image, heat, settings, known["size"]), known["wavelength"] / found.median
    if image.shape[0] * image.shape[1] * (max(scale, spectral) / width) ** 2 < ROOM:
        return Look(scale, told=False)
    step, size = sizes.best(int(np.log(spectral) / np.log(STEP)))
    if not auto:
        step = int(np.clip(round(np.log(scale) / np.log(STEP)), -MOST, MOST))
    mean, (stable, n) = sizes.at(step).mean, sizes.stable(step)
    # Few points agree by chance; the upper end of their interval counts (one-sided, 90 %).
    stable += 1.28 * np.sqrt(max(stable * (1 - stable), 0.05) / max(n, 1))
    if n < FEW / 2:
        warnings.append("hardly a cell was found")
    elif stable < STABLE * known["stable"]:
        share = f"{stable:.0%} of the points stay where they are, and {known['stable']:.0%} in the training images"
        warnings.append(f"when the image is made a little larger, only {share}")
    elif mean < FAINT * known["height"]:
        warnings.append(f"the peaks are {mean:.2f} high on average, and {known['height']:.2f} in the training images")
    if found.long > LONG * known["long"]:
        warnings.append("it has structures larger than cells, such as uneven illumination or clumps")
    if found.short > SHORT * known["short"]:
        warnings.append("it has more fine structure, such as noise")
    if uneven(image.shown):
        warnings.append("a part of it is much darker or brighter than the rest: crop it, or correct the illumination")
    if found.sharp < BLURRED * known["sharp"] and not warnings:
        warnings.append("it is less sharp, such as out of focus")
    alike = [1 / ALIKE < one < ALIKE for one in (size, spectral)]
    if auto and not warnings and not alike[0]:
        higher, agree = sizes.higher(step), max(size / spectral, spectral / size) < APART
        if higher and agree:
            scale = size
        elif higher or agree and not alike[1]:
            warnings.append("the size of its cells could not be found")
    elif not auto and all(max(scale / one, one / scale) > ALIKE for one in (spectral, size)):
        warnings.append(f"its cells seem to be about {width / size:.0f} px wide")
    if not warnings:
        return Look(scale, (), width / (size if auto and scale == 1 else scale))
    warnings += _tones(image.sample)
    todo = "Look at the overlay before you use the count."
    todo += " If the cells have another size, give --cell-width." * (auto and n >= FEW)
    return Look(scale, (f"The image does not look like the training images: {'; '.join(warnings)}. {todo}",))


def uneven(image: np.ndarray) -> bool:
    """Whether the gray levels of the parts of an image (H, W) differ much, or a part is flat and of another level.

    An eyepiece, a vignette, or a margin with noise sets the exposure of the whole, and cells are missed.
    """
    parts = [np.median(part) for rows in np.array_split(image[::4, ::4], 4) for part in np.array_split(rows, 4, axis=1)]
    height, width = (side // TILE * TILE for side in image.shape)
    if not height * width:
        return False
    tiles = image[:height:2, :width:2].reshape(height // TILE, TILE // 2, width // TILE, TILE // 2)
    level, deviation = tiles.mean(axis=(1, 3)), tiles.std(axis=(1, 3))
    usual = np.percentile(deviation, 75)
    ground = np.median(level[deviation > 0.5 * usual]) if usual else 0.0
    flat = (deviation < 0.2 * usual) & (np.abs(level - ground) > 2 * usual)
    return bool(min(parts) < DIM * max(parts) or flat.mean() > FLAT)


def _tones(sample: np.ndarray) -> list[str]:
    """What the gray values (h, w) of an unusual image suggest."""
    low, middle, high = np.percentile(sample, [0.5, 50, 99.5])
    if middle < DARK and high - middle > TAIL * (middle - low):
        return ["it is bright on a dark ground, like fluorescence"]
    if middle > 1 - DARK and middle - low > TAIL * (high - middle):
        return ["it is dark on a bright ground, like a stained tissue"]
    return []


def counting_width(counting: Any) -> float | None:
    """The width of a cell in the training images, px: measured, or derived from the distance between neighbours."""
    width = (counting.looks or {}).get("cell_width") or WIDTH * (counting.spacing or 0)
    return float(width) or None


def measured(samples: Sequence[Any], heats: Heats, settings: Any) -> dict[str, float]:
    """The `looks` of training images, list of Sample: medians over them; {} if there are too few peaks.

    heats : function of pixels (H, W) float32 and an exposure, giving the heatmap
    """
    rows = []
    for sample in samples:
        image = View(sample.image)
        found, heat = structure(image), partial(heats, exposure=brightness_and_contrast(image.sample))
        if found is None:
            continue
        _, size = Sizes(image, heat, settings, 1.0).best()
        sizes = Sizes(image, heat, settings, size)
        if sizes.at(0).mean:
            stable, _ = sizes.stable(0)
            rows.append((*found, size, sizes.at(0).mean, stable))
    if not rows:
        return {}
    looks = dict(zip(NAMES, np.median(rows, axis=0).round(4).tolist(), strict=True))
    looks["stable"] = min(looks["stable"], OTHERS)
    boxes = [one.boxes for one in samples if one.boxes is not None and len(one.boxes)]
    if boxes:
        sides = np.concatenate(boxes)
        looks["cell_width"] = round(float(np.median(np.sqrt((sides[:, 2:] - sides[:, :2]).prod(axis=1)))), 1)
    return looks


def _window(image: View, scale: float, side: int, centre: Sequence[float]) -> tuple[np.ndarray, int, int]:
    """A part of an image around `centre`, resampled by `scale`, at most `side` px wide; its first row and column."""
    view, spans = image.at(scale), []
    for at, whole in zip(centre, view.shape, strict=True):
        length = min(side, whole)
        start = int(np.clip(at * scale - length / 2, 0, whole - length))
        spans.append(slice(start, start + length))
    return view[spans[0], spans[1]], spans[0].start, spans[1].start
