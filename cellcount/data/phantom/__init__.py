"""Simulated phase-contrast fields with exact centres and masks: made from optics, seeded, nothing to download.

`layout` places and shapes the cells, `specimen` gives them optical thickness, `optics` photographs them,
`annotator` clicks on them as a person would, `statistics` compares the result with real images.
"""

from collections.abc import Sequence

import numpy as np

from cellcount.data.phantom.annotator import annotate
from cellcount.data.phantom.cache import cached
from cellcount.data.phantom.layout import lay_out
from cellcount.data.phantom.optics import phase_contrast, photograph
from cellcount.data.phantom.specimen import add_debris, cell_phase, out_of_focus
from cellcount.data.phantom.statistics import describe, intensity_histogram, radial_power_spectrum
from cellcount.errors import ParameterError, needing
from cellcount.types import Sample

__all__ = ["annotate", "describe", "intensity_histogram", "load", "radial_power_spectrum", "simulate"]

MARGIN = 64  # px simulated around the field: cells reach in, and the halo of what lies outside does
PIXEL_SIZE_UM = 0.5  # by definition of the phantom: its cells are then 16 to 19 um across, nuclei 9 um

# Confluence of the fields of the default set; 1 is a closed sheet, duller and more granular than a colony.
FIELDS = {
    "train": (0.5, 0.65, 0.78, 1.0),
    "validation": (0.58, 0.72),
    "test": (0.48, 0.62, 0.76, 1.0),
}
SEEDS = {"train": 1000, "validation": 2000, "test": 3000}


def load(
    split: str | None = None, *, fields: int | None = None, size: tuple[int, int] = (640, 640), seed: int = 0
) -> list[Sample]:
    """The default set of simulated fields: 4 to train, 2 to validate, 4 to test; the last of train and test confluent.

    Parameters
    ----------
    split : {"train", "validation", "test"}, optional
        All three unless given.
    fields : int, optional
        At most so many fields of each split.
    size : (height, width), px
    seed : int
        Another seed gives another set; the fields of a set and of its splits never share one.

    Returns
    -------
    list of Sample
        Named "phantom-train-0" and so on. The same arguments give the same bytes; fields made once are kept in the
        cache folder.

    Raises
    ------
    ParameterError
        If the split is unknown or `fields` is not positive.
    """
    if split is not None and split not in FIELDS:
        raise ParameterError(f"phantom: unknown split {split!r}; there are {', '.join(FIELDS)}.")
    if fields is not None and fields < 1:
        raise ParameterError(f"phantom: fields is {fields}; ask for at least one, or leave it out for all.")
    return [
        cached(
            simulate, (seed, SEEDS[name] + index), size, name=f"phantom-{name}-{index}", split=name, **_look(confluence)
        )
        for name in ([split] if split else FIELDS)
        for index, confluence in enumerate(FIELDS[name][:fields])
    ]


def _look(confluence: float) -> dict[str, float]:
    """Parameters of a field: in a closed sheet the cells are flat, crowded, granular, and pile up."""
    sheet = {"spacing": 20.0, "thickness": 0.42, "granularity": 1.25, "cracks": 2.0, "haze": 0.1}
    return {"confluence": confluence, **(sheet if confluence == 1 else {})}


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
        The same seed and parameters give the same bytes.
    size : (height, width), px
    confluence : float in (0, 1]
        Fraction of the ground covered by cells; 1 is a closed sheet.
    spacing : float, px
        Mean exclusion distance of two nuclei; the median distance of nearest neighbours is about 1.15 times that.
    rounded : float in [0, 1]
        Share of rounded and dividing cells.
    dead : float
        Mean number of dead cells per megapixel.
    thickness : float, rad
        Median optical path of a spread cell.
    granularity : float
        Factor on the texture of the cytoplasm.
    cracks : float
        Factor on the furrows between groups of cells, which the image shows as bright cracks.
    haze : float
        Light from cells above the focal plane, relative to the empty field: median over a closed sheet.
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
        `valid` is False on cells that reach in while their nucleus lies outside.

    Raises
    ------
    ParameterError
        If the field is smaller than 64 px or a fraction is out of its range.
    """
    height, width = (int(n) for n in size)
    if min(height, width) < 64:
        raise ParameterError(f"phantom: a field of {height} x {width} px is too small; give at least 64 x 64.")
    if not 0 < confluence <= 1:
        raise ParameterError(f"phantom: confluence is {confluence}; it must be above 0 and at most 1.")
    if not 0 <= rounded <= 1:
        raise ParameterError(f"phantom: rounded is {rounded}; it must be from 0 to 1.")
    rng = np.random.default_rng(seed)
    shape = (height + 2 * MARGIN, width + 2 * MARGIN)
    layout = lay_out(rng, shape, confluence=confluence, spacing=spacing, rounded_fraction=rounded)
    phase = cell_phase(rng, layout, thickness=thickness, granularity=granularity, cracks=cracks)
    waste = add_debris(rng, phase, dead=dead * phase.size / 1e6, nuclei=layout.centres)
    inner = (slice(MARGIN, MARGIN + height), slice(MARGIN, MARGIN + width))
    light = phase_contrast(phase) + out_of_focus(rng, layout.labels > 0, haze)
    pixels = photograph(rng, light[inner], quality=quality, noise=noise)

    inside = _within(layout.centres, height, width)
    renumber = np.concatenate([[0], np.where(inside, np.cumsum(inside), 0)]).astype(np.int32)
    labels = renumber[layout.labels[inner]]
    return Sample(
        name=name or f"phantom-{seed}",
        image=pixels.astype(np.float32) / 255,
        points=(layout.centres[inside] - MARGIN).astype(np.float32),
        valid=(labels > 0) | (layout.labels[inner] == 0),
        pixel_size_um=PIXEL_SIZE_UM,
        labels=labels,
        dead=(waste[_within(waste, height, width)] - MARGIN).astype(np.float32),
        split=split,
        meta={"simulated": True, "seed": seed, "confluence": confluence, "rounded": layout.rounded[inside]},
    )


def _within(points: np.ndarray, height: int, width: int) -> np.ndarray:
    """(N,) bool: which canvas points lie on the pixels of the field."""
    return ((points >= MARGIN) & (points <= np.array([height - 1, width - 1]) + MARGIN)).all(axis=1)
