"""Positions and shapes of the cells of a phantom: geometry only, no light.

Adherent cells are attached at focal adhesions, so that a free edge is an arc that bends inwards between two pointed
tips, and neighbours share their borders. A cell is therefore drawn as a star with concave sides, a colony is the alpha
shape of its cells' tips, and it is divided by a watershed of the cells' elliptic distances.
"""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from scipy import fft
from scipy import ndimage as ndi
from scipy.spatial import Delaunay

Array = np.ndarray
Shape = tuple[int, ...]

TRIALS = 1.6  # per spacing^2: much less than for a full packing, which would be more regular than real cells
SPAN = 17.0  # px; two neighbours close a gap if a circle of this radius does not fit into it
REACH = 80  # px; no cell extends farther from its nucleus


@dataclass(frozen=True)
class Layout:
    """Cells on a canvas.

    Attributes
    ----------
    centres : (N, 2) float64, (y, x) px
        Nuclei of the live cells.
    axes : (N, 2) float64, px
        Half axes of the body, along and across `angle`.
    angle : (N,) float64, rad
        Direction of the long axis, measured from the x axis towards y.
    rounded : (N,) bool
        Detached, spherical cells, among them both halves of a dividing cell.
    labels : (H, W) int32
        The pixels of cell i have the label i + 1; 0 is background.
    """

    centres: Array
    axes: Array
    angle: Array
    rounded: Array
    labels: Array


def renumbered(labels: Array, kept: Array) -> Array:
    """Labels (H, W) int32 of the `kept` (N,) bool cells alone, numbered from 1 again."""
    return np.concatenate([[0], np.where(kept, np.cumsum(kept), 0)]).astype(np.int32)[labels]


def around(shape: Shape, centre: Array, reach: int) -> tuple[tuple[slice, slice], Array, Array]:
    """Slices of `reach` px around a centre, clipped to the canvas, and the open grids y, x px from the centre."""
    low = np.clip(np.floor(centre).astype(int) - reach, 0, shape)
    high = np.clip(np.floor(centre).astype(int) + reach + 1, 0, shape)
    window = (slice(low[0], high[0]), slice(low[1], high[1]))
    y, x = np.ogrid[window]
    return window, y - centre[0], x - centre[1]


def in_frame(y: Array, x: Array, angle: float) -> tuple[Array, Array]:
    """Coordinates along and across a direction, px, from those along the axes."""
    return x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)


def smooth_noise(rng: Generator, shape: Shape, sigma: float) -> Array:
    """Gaussian random field (H, W) float64 of mean 0 and standard deviation 1, correlated over `sigma` px."""
    spectrum = fft.rfft2(rng.standard_normal(shape))
    fy, fx = fft.fftfreq(shape[0])[:, None], fft.rfftfreq(shape[1])[None]
    field = fft.irfft2(spectrum * np.exp(-2 * (np.pi * sigma) ** 2 * (fy**2 + fx**2)), shape)
    return (field - field.mean()) / field.std()


def lay_out(rng: Generator, shape: Shape, *, confluence: float, spacing: float, rounded_fraction: float) -> Layout:
    """Place and shape the cells of one field.

    Parameters
    ----------
    rng : numpy.random.Generator
    shape : (H, W) px
    confluence : float in (0, 1]
        Fraction of the area covered by the colonies, before the outlines of their cells are drawn.
    spacing : float, px
        Smallest distance of two nuclei, on average over the cells.
    rounded_fraction : float in [0, 1]

    Returns
    -------
    Layout
    """
    texture = smooth_noise(rng, shape, 40) + 0.35 * smooth_noise(rng, shape, 14)
    colonies = texture >= np.quantile(texture, 1 - confluence)
    centres = _scatter(rng, colonies, spacing)
    rounded = _choose_rounded(rng, shape, centres, rounded_fraction)
    centres, rounded, radius = _divide(rng, centres, rounded)
    at = tuple(np.rint(centres).clip(0, np.array(shape) - 1).astype(int).T)
    isolated = ndi.gaussian_filter(colonies.astype(float), 20)[at] < 0.65
    axes, angle = _shapes(rng, shape, at, isolated, rounded, radius)
    labels = _tessellate(rng, shape, centres, axes, angle, rounded, isolated)
    owned = np.bincount(labels.ravel(), minlength=len(centres) + 1)[1:] >= 40  # px; less is a sliver, not a cell
    return Layout(centres[owned], axes[owned], angle[owned], rounded[owned], renumbered(labels, owned))


def _scatter(rng: Generator, colonies: Array, spacing: float) -> Array:
    """Poisson-disk sampling of the colonies' area, with an exclusion distance for each cell; few cells are outside."""
    height, width = colonies.shape
    trials = int(TRIALS * colonies.size / spacing**2)
    candidates = rng.uniform((0, 0), (height - 1, width - 1), (trials, 2))
    need = spacing * np.exp(0.22 * rng.standard_normal(trials))
    at = tuple(np.rint(candidates).astype(int).T)
    # Rarely, a single cell outside of the colonies.
    keep = colonies[at] | (rng.random(trials) < 0.004)
    candidates, need = candidates[keep], need[keep]
    chosen = np.zeros((0, 2))
    wanted = np.zeros(0)
    for candidate, own in zip(candidates, need, strict=True):
        distance = np.hypot(*(chosen - candidate).T)
        if (distance > (wanted + own) / 2).all():
            chosen, wanted = np.vstack([chosen, candidate]), np.append(wanted, own)
    return chosen


def _choose_rounded(rng: Generator, shape: Shape, centres: Array, fraction: float) -> Array:
    """(N,) bool: rounded cells form groups, so they are those with the highest values of a smooth random field."""
    height = smooth_noise(rng, shape, 30)[tuple(np.rint(centres).astype(int).T)]
    height = height + 0.7 * rng.standard_normal(len(centres))
    rank = np.argsort(np.argsort(-height))
    return rank < round(fraction * len(centres))


def _divide(rng: Generator, centres: Array, rounded: Array, share: float = 0.2) -> tuple[Array, Array, Array]:
    """Replace a share of the rounded cells by a pair that has just divided; returns centres, rounded, radius px."""
    radius = np.where(rounded, rng.uniform(11.0, 15.5, len(centres)), 0.0)
    pairs = rounded & (rng.random(len(centres)) < share)
    turn = rng.uniform(0, np.pi, pairs.sum())
    apart = np.stack([np.sin(turn), np.cos(turn)], 1) * rng.uniform(8.5, 10, (pairs.sum(), 1))
    centres = np.concatenate([centres[~pairs], centres[pairs] - apart, centres[pairs] + apart])
    rounded, small = np.append(rounded[~pairs], np.ones(2 * pairs.sum(), bool)), np.full(2 * pairs.sum(), 9.5)
    return centres, rounded, np.append(radius[~pairs], small)


def _shapes(
    rng: Generator, shape: Shape, at: tuple[Array, ...], isolated: Array, rounded: Array, radius: Array
) -> tuple[Array, Array]:
    """Half axes (N, 2) px and direction (N,) rad: neighbours tend to be parallel, isolated cells are longer."""
    order = [smooth_noise(rng, shape, 45)[at] for _ in range(2)]
    angle = 0.5 * np.arctan2(*order) + rng.normal(0, 0.35, len(isolated))  # half: a nematic direction has no head
    stretch = np.exp(np.abs(rng.normal(0, np.where(isolated, 0.8, 0.75)))).clip(1, 4)
    size = 16.5 * np.exp(rng.normal(0, 0.14, len(isolated)))
    axes = np.stack([size * np.sqrt(stretch), size / np.sqrt(stretch)], 1)
    axes[rounded] = radius[rounded, None] * np.array([1.06, 0.95])
    return axes, angle


def _outline(rng: Generator, centre: Array, axes: Array, angle: float, isolated: bool) -> Array:
    """(8 K, 2) (y, x) px: a star with K = 2 to 5 pointed tips and concave sides between them.

    Every eighth point is a tip, every fourth between two of them is the middle of a side.
    """
    stretch = axes[0] / axes[1]
    tips = 2 if stretch > 2.2 else rng.integers(3, 6)
    turn = (np.arange(tips) + rng.normal(0, 0.12, tips)) * 2 * np.pi / tips
    longest = 1.05 + (1.3 if isolated else 0.8) * rng.beta(1.2, 2.2, tips) + (0.4 if tips == 2 else 0)
    middle = turn + np.diff(np.append(turn, turn[0] + 2 * np.pi)) / 2

    def place(direction: Array, factor: Array) -> Array:
        radius = factor / np.hypot(np.cos(direction) / axes[0], np.sin(direction) / axes[1])
        return radius[:, None] * np.stack([np.sin(direction), np.cos(direction)], 1)

    corner, waist = place(turn, longest), place(middle, rng.uniform(0.65, 0.9, tips))
    following = np.roll(corner, -1, axis=0)
    control = 2 * waist - (corner + following) / 2  # the quadratic Bezier curve then passes through the waist
    t = np.linspace(0, 1, 9)[None, :-1, None]
    curve = (1 - t) ** 2 * corner[:, None] + 2 * t * (1 - t) * control[:, None] + t**2 * following[:, None]
    y, x = curve.reshape(-1, 2).T
    sine, cosine = np.sin(angle), np.cos(angle)
    return np.stack([y * cosine + x * sine, x * cosine - y * sine], 1) + centre


def _tessellate(
    rng: Generator, shape: Shape, centres: Array, axes: Array, angle: Array, rounded: Array, isolated: Array
) -> Array:
    """Divide the covered area among the cells; (H, W) int32."""
    from skimage.draw import polygon2mask
    from skimage.segmentation import watershed

    covered = np.zeros(shape, bool)
    distance = np.full(shape, 9.0)
    markers = np.zeros(shape, np.int32)
    anchors = []
    # Warped coordinates make the shared borders wavy.
    warp = [1.8 * smooth_noise(rng, shape, 6) for _ in range(2)]
    for index, (centre, half, turn) in enumerate(zip(centres, axes, angle, strict=True)):
        window, y, x = around(shape, centre, REACH)
        y, x = (place + shift[window] * ~rounded[index] for place, shift in zip((y, x), warp))
        along, across = in_frame(y, x, turn)
        own = np.hypot(along / half[0], across / half[1])
        if rounded[index]:
            body = own <= 1
            own = np.where(body, 0.2 * own, own + 1)  # a sphere has its disk and nothing else
        else:
            outline = _outline(rng, centre, half, turn, isolated[index])
            anchors.append(outline[::4])
            body = polygon2mask(own.shape, outline - [part.start for part in window])
            own = np.where(body, 0.75 * own, own)
        covered[window] |= body
        np.minimum(distance[window], own, out=distance[window])
    markers[tuple(np.rint(centres).clip(0, np.array(shape) - 1).astype(int).T)] = np.arange(1, len(centres) + 1)
    _span(covered, np.concatenate([centres, *anchors]), SPAN)
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    bent = (rows + warp[0] + 3 * smooth_noise(rng, shape, 18), columns + warp[1] + 3 * smooth_noise(rng, shape, 18))
    covered = ndi.map_coordinates(covered.astype(np.float32), bent, order=1, mode="nearest") > 0.5
    covered |= markers > 0
    return watershed(distance, markers, mask=covered).astype(np.int32)


def _span(covered: Array, points: Array, radius: float) -> None:
    """Fill, in place, the triangles between `points` (K, 2) px whose circumcircle is smaller than `radius` px.

    This is the alpha shape of the points (Edelsbrunner, Kirkpatrick and Seidel 1983): neighbours form a closed layer,
    and a free side is straight from tip to tip.
    """
    if len(points) < 4:
        return
    mesh = Delaunay(points)
    corners = points[mesh.simplices]
    a, b, c = (np.hypot(*(corners[:, i] - corners[:, j]).T) for i, j in ((0, 1), (1, 2), (2, 0)))
    (u, v), (p, q) = (corners[:, 1] - corners[:, 0]).T, (corners[:, 2] - corners[:, 0]).T
    small = a * b * c < 2 * radius * np.abs(u * q - v * p)  # circumradius = abc / (4 area)
    bare = np.argwhere(~covered)
    triangle = mesh.find_simplex(bare)
    covered[tuple(bare[(triangle >= 0) & small[triangle]].T)] = True
