"""Descriptive statistics of fields of view, to compare simulated with real ones."""

import itertools

import numpy as np
from scipy import fft
from scipy import ndimage as ndi
from scipy.spatial import cKDTree

from cellcount.data.valid import background
from cellcount.types import Sample

PERCENTILES = (1, 5, 25, 50, 75, 95, 99)


def intensity_histogram(image: np.ndarray, bins: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """Relative frequency of the intensities.

    Parameters
    ----------
    image : (H, W) float, in [0, 1]
    bins : int

    Returns
    -------
    centres : (bins,) float64
        Middle of each bin, in gray values of 255.
    share : (bins,) float64
        Share of the pixels in each bin; sums to 1.
    """
    counts, edges = np.histogram(np.asarray(image) * 255, bins=bins, range=(0, 255))
    return (edges[:-1] + edges[1:]) / 2, counts / counts.sum()


def radial_power_spectrum(image: np.ndarray, tile: int = 256) -> tuple[np.ndarray, np.ndarray]:
    """Power spectrum of the intensity, averaged over directions and tiles.

    Half-overlapping tiles (Welch 1967), each minus its mean and with a Hann window, so that images of different sizes
    have the same frequencies, without leakage from their borders.

    Parameters
    ----------
    image : (H, W) float, in [0, 1]
    tile : int, px
        Smaller for a smaller image.

    Returns
    -------
    frequency : (tile // 2,) float64
        Cycles per px, from 1 / tile to 0.5.
    power : (tile // 2,) float64
        Power density, in squared gray values (of 255) px^2: its integral over the frequency plane is the variance.
    """
    image = np.asarray(image, float) * 255
    tile = min(tile, *image.shape)
    window = np.outer(np.hanning(tile), np.hanning(tile))
    starts = [sorted({*range(0, n - tile + 1, max(tile // 2, 1)), n - tile}) for n in image.shape]
    total = np.zeros((tile, tile))
    for y, x in itertools.product(*starts):
        part = image[y : y + tile, x : x + tile]
        total += np.abs(fft.fft2((part - part.mean()) * window)) ** 2
    power = total / (len(starts[0]) * len(starts[1]) * (window**2).sum())
    f = fft.fftfreq(tile)
    ring = np.rint(np.hypot(f[:, None], f[None]) * tile).astype(int).ravel()
    mean = np.bincount(ring, power.ravel()) / np.maximum(np.bincount(ring), 1)
    radii = np.arange(1, tile // 2 + 1)
    return radii / tile, mean[radii]


def describe(sample: Sample) -> dict[str, float]:
    """Density, spacing, size and intensity of a sample.

    Parameters
    ----------
    sample : Sample

    Returns
    -------
    dict of str to float
        `cells_per_megapixel`, `spacing_px` (median distance of nearest neighbours), `box_long_px` and
        `box_short_px` (median long and short side of the cells' bounding boxes, from `boxes`, else from `labels`
        not cut by the border), `background_fraction`, `intensity_mean`, `intensity_std` and `intensity_p1` to
        `intensity_p99`, in gray values of 255. NaN if the sample does not have the data.
    """
    gray = sample.image * 255
    count = np.nan if sample.points is None else len(sample.points)
    spacing = np.nan
    if sample.points is not None and count > 1:
        spacing = np.median(cKDTree(sample.points).query(sample.points, k=2)[0][:, 1])
    sides = np.sort(_box_sides(sample), axis=1)
    short, long = np.median(sides, axis=0) if len(sides) else (np.nan, np.nan)
    names = ("cells_per_megapixel", "spacing_px", "box_long_px", "box_short_px", "background_fraction")
    values = (count / (gray.size / 1e6), spacing, long, short, background(sample.image).mean())
    found = dict(zip(names, values, strict=True)) | {"intensity_mean": gray.mean(), "intensity_std": gray.std()}
    found |= {f"intensity_p{p}": np.percentile(gray, p) for p in PERCENTILES}
    return {name: float(value) for name, value in found.items()}


def _box_sides(sample: Sample) -> np.ndarray:
    """(K, 2) height and width px of the cells' bounding boxes."""
    if sample.boxes is not None:
        return sample.boxes[:, 2:] - sample.boxes[:, :2]
    boxes = [] if sample.labels is None else [box for box in ndi.find_objects(sample.labels) if box is not None]
    whole = [box for box in boxes if all(0 < s.start and s.stop < n for s, n in zip(box, sample.image.shape))]
    return np.array([[s.stop - s.start for s in box] for box in whole], float).reshape(-1, 2)
