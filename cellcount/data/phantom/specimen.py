"""The cells of a layout as phase objects: the phase delay of the light in each pixel, in radians.

phi = 2 pi / wavelength x (refractive index of the cell - of the medium) x thickness. A spread cell, 3 to 5 um thick and
with an index 0.01 to 0.02 above the medium's, delays green light by 0.3 to 1 rad; a rounded one, 12 to 18 um thick and
denser, by about a whole wave.
"""

import numpy as np
from numpy.random import Generator
from scipy import ndimage as ndi
from scipy.spatial import cKDTree

from cellcount.data.phantom.layout import Array, Layout, around, in_frame, smooth_noise

GROUP = 4  # cells in a group; wide bright cracks separate such groups
CLEAR = 14.0  # px, slightly more than the radius of a dead cell


def cell_phase(
    rng: Generator, layout: Layout, *, thickness: float = 0.62, granularity: float = 1.0, cracks: float = 1.0
) -> Array:
    """Phase of all live cells.

    Parameters
    ----------
    rng : numpy.random.Generator
    layout : Layout
    thickness : float, rad
        Median phase of a spread cell's cytoplasm.
    granularity : float
        Factor on the texture of the cytoplasm.
    cracks : float
        Factor on the depth of the furrows between groups of cells.

    Returns
    -------
    (H, W) float64, rad
    """
    phase = _spread(rng, layout, thickness, granularity, cracks)
    for index in np.flatnonzero(~layout.rounded):
        _nucleus(rng, phase, layout, index)
    for index in np.flatnonzero(layout.rounded):
        _sphere(rng, phase, layout, index)
    return phase


def _per_cell(layout: Layout, values: Array) -> Array:
    """(H, W): the value of each pixel's cell, 0 on the background."""
    return np.concatenate([[0.0], values])[layout.labels]


def _spread(rng: Generator, layout: Layout, thickness: float, granularity: float, cracks: float) -> Array:
    """Bodies of the spread cells: a plateau with a steep free edge, lower at the shared borders."""
    from skimage.segmentation import find_boundaries

    labels, shape, number = layout.labels, layout.labels.shape, len(layout.centres)
    flat = np.append(True, layout.rounded)[labels]
    inner = ndi.distance_transform_edt(~find_boundaries(labels, mode="inner")) + 0.5
    outer = ndi.distance_transform_edt(labels > 0)
    # Cells with a small area are taller: they have the same volume.
    area = np.bincount(labels.ravel(), minlength=number + 1)[1:]
    taller = np.sqrt(1100 / np.maximum(area, 250))
    plateau = _per_cell(layout, thickness * taller**0.4 * np.exp(rng.normal(0, 0.15, number)))
    # A dome with a steep edge: the edge makes the bright halo, the slow rise behind it keeps the body gray.
    dome = 0.2 + 0.8 * (1 - np.exp(-outer / 6.0))
    # Most shared borders are hardly visible. Between groups of cells there is a deep, wide furrow.
    border = np.clip(0.14 + 0.2 * smooth_noise(rng, shape, 12), 0, 1) * np.exp(-inner / 2.2)
    loose = smooth_noise(rng, shape, 16)
    reach = 2.6 + 0.8 * np.clip(loose, -1, 2)
    furrow = np.clip(cracks * (0.2 + 0.45 * loose), 0, 0.85) * np.exp(-((_between_groups(rng, layout) / reach) ** 2))
    phase = plateau * dome * (1 - border) * (1 - furrow) * (outer > 0)
    grain = 0.6 * smooth_noise(rng, shape, 1.7) + 0.7 * smooth_noise(rng, shape, 3.4)
    piled = np.exp(0.3 * smooth_noise(rng, shape, 25)).clip(0, 2)  # cells overlap in patches
    lumpy = piled * _per_cell(layout, np.exp(rng.normal(-0.1, 0.3, number)))
    # Vacuoles are deeper than granules are high.
    phase += granularity * 0.085 * lumpy * (grain - 0.08 * np.minimum(grain**2 - 1, 4)) * np.tanh(inner / 3)
    return np.where(flat, 0.0, np.maximum(phase, 0.0))


def _between_groups(rng: Generator, layout: Layout) -> Array:
    """(H, W) px: distance from the nearest border between two groups of about `GROUP` cells."""
    from skimage.segmentation import find_boundaries

    number = len(layout.centres)
    if number < 2:
        return np.full(layout.labels.shape, np.inf)
    seeds = layout.centres[rng.choice(number, max(number // GROUP, 1), replace=False)]
    group = np.append(-1, cKDTree(seeds).query(layout.centres)[1])[layout.labels]
    return ndi.distance_transform_edt(~find_boundaries(group, mode="inner"))


def _nucleus(rng: Generator, phase: Array, layout: Layout, index: int) -> None:
    """A paler disk with a fine rim and one to four dense nucleoli, inside its cell."""
    window, y, x = around(layout.labels.shape, layout.centres[index], 20)
    along, across = in_frame(y, x, layout.angle[index])
    own = layout.labels[window] == index + 1
    ratio = np.clip(np.sqrt(layout.axes[index, 0] / layout.axes[index, 1]), 1, 1.35)
    size = min(rng.normal(8.6, 0.8), layout.axes[index, 1] * 0.85)
    radius = np.hypot(along / ratio, across * ratio) / size
    inside = 1 / (1 + np.exp((radius - 1) * 9))
    patch = phase[window]
    level = np.median(patch[own])
    patch += own * inside * 0.75 * (level * rng.uniform(0.92, 1.1) - patch)
    patch += own * rng.uniform(0.0, 0.06) * np.exp(-(((radius - 1) * size / 1.3) ** 2))
    for _ in range(rng.choice([1, 2, 3, 4], p=[0.35, 0.35, 0.2, 0.1])):
        turn, out = rng.uniform(0, 2 * np.pi), size * 0.62 * np.sqrt(rng.random())
        bent = smooth_noise(rng, own.shape, 2.5)  # nucleoli are lumps, not disks
        spot = np.hypot(along - out * np.cos(turn) * ratio, across - out * np.sin(turn) / ratio) + 0.7 * bent
        patch += own * rng.uniform(0.16, 0.34) * np.exp(-((np.maximum(spot, 0) / rng.uniform(1.9, 3.4)) ** 4))


def _sphere(rng: Generator, phase: Array, layout: Layout, index: int) -> None:
    """A rounded live cell: a sphere, sometimes with the bar of a metaphase plate."""
    window, y, x = around(layout.labels.shape, layout.centres[index], 20)
    along, across = in_frame(y, x, layout.angle[index])
    half = layout.axes[index]
    depth = (1 - np.hypot(along / half[0], across / half[1])) * half.mean()
    ball, cover = _ball(rng, depth, lumps=0.1)
    if rng.random() < 0.15:
        ball += 0.35 * np.exp(-((along / 1.6) ** 2) - (across / (0.5 * half[1])) ** 4)
    phase[window] = phase[window] * (1 - cover) + ball


def _ball(rng: Generator, depth: Array, *, lumps: float) -> tuple[Array, Array]:
    """Phase (H, W) rad of a sphere from the depth in px inside its edge, and its coverage of what is below it.

    A sphere delays the light by about one wave, and its side is steeper than the objective can resolve. Whole waves
    make no difference to the image, so one is left out: slightly less is the bright ring, more the dark core.
    """
    depth = depth + 0.8 * smooth_noise(rng, depth.shape, 4.0)
    rise = np.clip((depth - 3.5) / rng.uniform(5.0, 8.0), 0, 1)
    ring, core = -rng.uniform(0.03, 0.15), rng.uniform(0.2, 0.6)
    uneven = 1 + 0.4 * smooth_noise(rng, depth.shape, 6.0)
    ball = ring * uneven * (1 - rise) + core * rise**2 * (3 - 2 * rise)
    ball += lumps * smooth_noise(rng, depth.shape, 1.8) * rise
    soft = rng.uniform(1.8, 3.2)  # px: a tall cell is more or less out of focus
    return ndi.gaussian_filter(ball * (depth > 0), soft), ndi.gaussian_filter((depth > 0).astype(float), soft)


def add_debris(rng: Generator, phase: Array, *, dead: float, nuclei: Array) -> Array:
    """Add dead cells and small debris to a specimen, in place.

    Parameters
    ----------
    rng : numpy.random.Generator
    phase : (H, W) float64, rad
    dead : float
        Mean number of dead cells on the canvas. There are three small dark particles for each, on average.
    nuclei : (N, 2) float, (y, x) px
        Dead cells are nowhere within `CLEAR` px of these: live cells must stay visible.

    Returns
    -------
    (D, 2) float64, (y, x) px
        Centres of the dead cells. The particles are not mistaken for cells.
    """
    centres = rng.uniform((0, 0), phase.shape, (rng.poisson(5 * dead), 2))  # many would cover a live cell
    free = cKDTree(nuclei).query(centres)[0] > CLEAR
    centres = centres[free][: rng.poisson(dead)]
    for centre in centres:
        window, y, x = around(phase.shape, centre, 20)
        ball, cover = _ball(rng, rng.uniform(8, 12) - np.hypot(y, x), lumps=0.35)  # small and uneven
        phase[window] = phase[window] * (1 - cover) + ball
    for centre in rng.uniform((0, 0), phase.shape, (rng.poisson(3 * dead), 2)):
        sigma, height = rng.uniform(0.9, 1.8), rng.uniform(0.2, 0.6)  # px, rad
        window, y, x = around(phase.shape, centre, int(np.ceil(4 * sigma)))
        phase[window] += height * np.exp(-(y**2 + x**2) / (2 * sigma**2))
    return centres


def out_of_focus(rng: Generator, covered: Array, haze: float) -> Array:
    """Light (H, W) float64, relative to the empty field, of cells on top of others, above the focal plane.

    `covered` (H, W) bool is the area with cells, `haze` the median of the light over a confluent layer.
    """
    piles = np.exp(0.4 * smooth_noise(rng, covered.shape, 22))
    return haze * piles * ndi.gaussian_filter(covered.astype(float), 14)


def disc(radius: float, phase: float, side: int) -> Array:
    """A round, flat cell: (side, side) float64, rad. `radius` px, `phase` rad; the border pixels are partly covered."""
    y, x = np.indices((side, side)) - side // 2
    return phase * np.clip(radius + 0.5 - np.hypot(y, x), 0, 1)
