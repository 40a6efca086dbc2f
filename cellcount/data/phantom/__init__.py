"""Simulated phase-contrast fields of view with exact centres and masks, from a model of the optics and a seed.

`layout` places and shapes the cells, `specimen` gives them optical thickness, `optics` models microscope and camera,
`annotator` clicks on the cells as a person would, `statistics` describes fields to compare them with real images.
"""

from collections.abc import Sequence

import numpy as np

from cellcount.data.phantom.annotator import annotate
from cellcount.data.phantom.cache import cached
from cellcount.data.phantom.layout import lay_out, renumbered
from cellcount.data.phantom.optics import phase_contrast, photograph
from cellcount.data.phantom.specimen import add_debris, cell_phase, out_of_focus
from cellcount.data.phantom.statistics import describe, intensity_histogram, radial_power_spectrum
from cellcount.errors import needing, one_of, require
from cellcount.types import Sample

__all__ = ["annotate", "describe", "intensity_histogram", "load", "radial_power_spectrum", "simulate"]

MARGIN = 64  # px simulated around the field, for cells and halos that extend into it
PIXEL_SIZE_UM = 0.5  # defined, not measured: cells then have a diameter of 16 to 19 um, nuclei of 9 um

# Confluence of the fields of the default set; 1 is a confluent layer.
FIELDS = {"train": (0.5, 0.65, 0.78, 1.0), "validation": (0.58, 0.72), "test": (0.48, 0.62, 0.76, 1.0)}
SEEDS = {"train": 1000, "validation": 2000, "test": 3000}
# In a confluent layer cells are flat, crowded and granular, and pile up.
CONFLUENT = {"spacing": 20.0, "thickness": 0.42, "granularity": 1.25, "cracks": 2.0, "haze": 0.1}


def load(
    split: str | None = None, *, fields: int | None = None, size: tuple[int, int] = (640, 640), seed: int = 0
) -> list[Sample]:
    """The default set of simulated fields: 4 for training, 2 for validation, 4 for testing.

    The last field for training and the last for testing are confluent layers.

    Parameters
    ----------
    split : {"train", "validation", "test"}, optional
        All three unless given.
    fields : int, optional
        At most this number of fields of each split.
    size : (height, width), px
    seed : int
        Another seed gives another set; the fields of a set and of its splits all have different ones.

    Returns
    -------
    list of Sample
        Named "phantom-train-0" and so on. The same arguments give the same values; fields are stored in the cache
        folder.

    Raises
    ------
    ParameterError
        If the split is unknown or `fields` is not positive.
    """
    one_of(split, (None, *FIELDS), "phantom: split")
    require(fields is None or fields > 0, f"phantom: fields is {fields}; give at least 1, or leave it out for all.")
    samples = []
    for name in [split] if split else FIELDS:
        for index, confluence in enumerate(FIELDS[name][:fields]):
            params = {"confluence": confluence} | (CONFLUENT if confluence == 1 else {})
            own = (seed, SEEDS[name] + index)
            samples.append(cached(simulate, own, size, name=f"phantom-{name}-{index}", split=name, **params))
    return samples


@needing("data", "Simulating a field")
def simulate(
    seed: int | Sequence[int],
    size: tuple[int, int] = (512, 512),
    *,
    confluence: float = 0.62,
    spacing: float = 21.0,
    rounded: float = 0.06,
    dead: float = 8.0,
    thickness: float = 0.54,
    granularity: float = 1.0,
    cracks: float = 0.8,
    haze: float = 0.02,
    quality: int = 90,
    noise: float = 1.0,
    name: str | None = None,
    split: str = "",
) -> Sample:
    """Simulate one field.

    Parameters
    ----------
    seed : int or sequence of int
        The same seed and parameters give the same values.
    size : (height, width), px
    confluence : float in (0, 1]
        Fraction of the area covered by cells; 1 is a confluent layer.
    spacing : float, px
        Mean exclusion distance of two nuclei; the median distance of nearest neighbours is about 1.15 times that.
    rounded : float in [0, 1]
        Share of rounded and dividing cells.
    dead : float
        Mean number of dead cells per megapixel.
    thickness : float, rad
        Median phase of a spread cell.
    granularity : float
        Factor on the texture of the cytoplasm.
    cracks : float
        Factor on the furrows between groups of cells, which are bright cracks in the image.
    haze : float
        Light from cells above the focal plane, relative to the empty field: median over a confluent layer.
    quality : int in [1, 100]
        JPEG quality.
    noise : float
        Factor on the camera's noise.
    name : str, optional
    split : str

    Returns
    -------
    Sample
        `points` (N, 2): nuclei of the live cells inside the field; `labels`: cell i has the label i + 1;
        `dead`: dead cells. `meta["rounded"]` (N,) bool: which of the points are rounded cells.
        `valid` is False on cells whose nucleus is outside the field.

    Raises
    ------
    ParameterError
        If the field is smaller than 64 px or a fraction is out of its range.
    """
    height, width = (int(n) for n in size)
    large = min(height, width) >= 64
    require(large, f"phantom: a field of {height} x {width} px is too small; give at least 64 x 64.")
    require(0 < confluence <= 1, f"phantom: confluence is {confluence}; it must be above 0 and at most 1.")
    require(0 <= rounded <= 1, f"phantom: rounded is {rounded}; it must be from 0 to 1.")
    rng = np.random.default_rng(seed)
    shape = (height + 2 * MARGIN, width + 2 * MARGIN)
    layout = lay_out(rng, shape, confluence=confluence, spacing=spacing, rounded_fraction=rounded)
    phase = cell_phase(rng, layout, thickness=thickness, granularity=granularity, cracks=cracks)
    waste = add_debris(rng, phase, dead=dead * phase.size / 1e6, nuclei=layout.centres)
    inner = (slice(MARGIN, MARGIN + height), slice(MARGIN, MARGIN + width))
    light = phase_contrast(phase) + out_of_focus(rng, layout.labels > 0, haze)
    pixels = photograph(rng, light[inner], quality=quality, noise=noise)

    inside = _within(layout.centres, height, width)
    labels = renumbered(layout.labels[inner], inside)
    image, valid = pixels.astype(np.float32) / 255, (labels > 0) | (layout.labels[inner] == 0)
    points = (layout.centres[inside] - MARGIN).astype(np.float32)
    waste = (waste[_within(waste, height, width)] - MARGIN).astype(np.float32)
    meta = {"simulated": True, "seed": seed, "confluence": confluence, "rounded": layout.rounded[inside]}
    name = name or f"phantom-{seed}"
    return Sample(name, image, points, valid, PIXEL_SIZE_UM, labels, dead=waste, split=split, meta=meta)


def _within(points: np.ndarray, height: int, width: int) -> np.ndarray:
    """(N,) bool: which canvas points lie on the pixels of the field."""
    return ((points >= MARGIN) & (points <= np.array([height - 1, width - 1]) + MARGIN)).all(axis=1)
