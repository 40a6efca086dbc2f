"""Drawings: kinds of labels with their clicks, rules that match points, and a phase-contrast microscope.

The microscope is drawn by tracing rays through thin lenses.
"""

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Ellipse, Rectangle
from skimage.measure import approximate_polygon, find_contours, regionprops

from cellcount.companion.plots import style
from cellcount.companion.plots.wrong_rules import greedy, padded, ungated
from cellcount.data import phantom
from cellcount.metrics import match

# Annotated and predicted points (y, x) px in which each wrong rule makes an error.
TRUE = np.float32([[12, 14], [12, 27], [14, 62], [36, 72], [37, 20], [62, 7], [61, 35]])
PREDICTED = np.float32([[12, 19], [14, 6], [18, 66], [32, 68], [40, 22], [38, 47], [62, 29], [60, 57], [59, 76]])
TOLERANCE = 9.0  # px
RULES = {
    "one-to-one, gated (ours)": match,
    "nearest pair first": greedy,
    "smallest sum, gate after": ungated,
    "padded with dummies": padded,
}
# Distances along the axis, in one arbitrary unit. The image plane follows from the thin-lens equation.
CONDENSER_F, OBJECTIVE_F = 1.9, 1.5
CONDENSER_TO_SPECIMEN, SPECIMEN_TO_OBJECTIVE = 1.5, 2.3
ANNULUS_RADIUS = 0.75
ANNULUS = 0.0
CONDENSER = ANNULUS + CONDENSER_F  # the annulus stands in its front focal plane
SPECIMEN = CONDENSER + CONDENSER_TO_SPECIMEN
OBJECTIVE = SPECIMEN + SPECIMEN_TO_OBJECTIVE
RING = OBJECTIVE + OBJECTIVE_F  # the back focal plane
RING_RADIUS = ANNULUS_RADIUS * OBJECTIVE_F / CONDENSER_F
IMAGE = OBJECTIVE + 1 / (1 / OBJECTIVE_F - 1 / SPECIMEN_TO_OBJECTIVE)
FAN = 0.55  # steepest slope of the diffracted light that the objective catches


@style.styled
def label_types(seed: int = 7) -> Figure:
    """Box, mask and centre of the same simulated cells, with all clicks that each kind of label takes.

    A mask is a polygon within 1 px of the outline (Douglas and Peucker 1973).

    Parameters
    ----------
    seed : int
        Of the field that is drawn on.

    Returns
    -------
    Figure
    """
    sample = phantom.simulate(seed, (150, 150), confluence=0.6, dead=0.0)
    outlines = _outlines(sample)
    boxes = [np.array([outline.min(axis=0), outline.max(axis=0)]) for outline in outlines.values()]
    masks = [approximate_polygon(outline, tolerance=1.0)[:-1] for outline in outlines.values()]
    centres = [sample.points[label - 1][None] for label in outlines]
    figure, places = style.panels(3, 3)
    for axes, kind, clicks in zip(places, ("box", "mask", "centre"), (boxes, masks, centres)):
        each = np.mean([len(points) for points in clicks])
        axes.set_label(kind)
        style.view(axes, sample, title=f"{kind}: {each:.0f} click{'s' if each > 1 else ''} per cell")
        for points, colour in zip(clicks, 9 * (style.SKY, style.VERMILLION, style.GREEN, style.PURPLE)):
            if kind == "box":
                style.boxes(axes, points, color=colour, linewidth=1.5)
            elif kind == "mask":
                axes.fill(*points.T[::-1], facecolor=colour + "44", edgecolor=colour, linewidth=1.3)
        look = {"color": style.YELLOW, "markeredgecolor": style.BLACK, "markeredgewidth": 0.6, "gid": "clicks"}
        axes.plot(*np.concatenate(clicks).T[::-1], "o", markersize=3.6 if kind == "mask" else 5.5, **look)
    return figure


def _outlines(sample):
    """{label: closed outline (K, 2) (y, x) px} of the cells of at least 40 px that are 3 px inside of the border."""
    found = {}
    for cell in regionprops(sample.labels):
        top, left, bottom, right = cell.bbox
        inside = min(top, left) >= 3 and bottom <= sample.image.shape[0] - 3 and right <= sample.image.shape[1] - 3
        if cell.area >= 40 and inside:
            found[cell.label] = max(find_contours(np.pad(cell.image, 1), 0.5), key=len) - 1 + [top, left]
    return found


@style.styled
def matching_example() -> Figure:
    """One scene of points, matched by the project's rule and by three others, with their scores.

    Returns
    -------
    Figure
        The scores are computed by `match` and by `wrong_rules`.
    """
    figure, places = style.subplots(2.4, 1, len(RULES))
    for axes, (name, rule) in zip(places, RULES.items()):
        matching = rule(TRUE, PREDICTED, TOLERANCE)
        _scene(axes, matching)
        if rule in (ungated, padded):  # the pairs that it made and then threw away
            torn = [pair for pair in _ends(ungated(TRUE, PREDICTED, np.inf)) if np.ptp(pair, axis=0).max() > TOLERANCE]
            axes.add_collection(LineCollection(torn, colors=style.GRAY, linewidths=1.0, linestyles=":", zorder=1))
        axes.set_title(name, fontsize=8.5, color=style.BLUE if rule is match else style.BLACK)
        counts = f"pairs {matching.tp}, false {matching.fp}, missed {matching.fn}"
        scores = f"P {matching.precision:.2f}  R {matching.recall:.2f}  F1 {matching.f1:.2f}"
        axes.set_xlabel(f"{counts}\n{scores}", fontsize=8)
    return style.legend(figure)


def _scene(axes, matching):
    for y, x in TRUE:
        axes.add_patch(Circle((x, y), TOLERANCE, facecolor=style.SKY + "33", edgecolor="none"))
    look = {"linewidth": 8.0, "alpha": 0.3, "solid_capstyle": "round", "zorder": 2}
    axes.plot(*_ends(matching).T, color=style.BLACK, label="pair", **look)
    marks = {"linestyle": "none", "markersize": 4.5, "zorder": 3}
    axes.plot(*TRUE.T[::-1], marker="o", color=style.BLUE, label=f"annotated, reach {TOLERANCE:.0f} px", **marks)
    axes.plot(*PREDICTED.T[::-1], marker="s", color=style.ORANGE, label="predicted", **marks)
    axes.set(xlim=(-6, 86), ylim=(74, 0), aspect="equal", xticks=[], yticks=[])
    axes.spines[:].set(visible=True, color=style.GRAY, linewidth=0.5)


def _ends(matching):
    """(K, 2, 2) x, y of both ends of every pair."""
    true, right = matching.pairs.T
    return np.stack([TRUE[true], PREDICTED[right]], axis=1)[:, :, ::-1]


@style.styled
def phase_contrast_microscope(phase: float = 0.54, transmission: float = 0.7) -> Figure:
    """Direct and diffracted light in a phase-contrast microscope, and the effect of the phase ring on their sum.

    Above, rays. Below, amplitudes in the complex plane, turned so that the direct light always points to the right, and
    the gray values that result from them: without the ring, with its quarter wave, and with its dimming, too.

    Parameters
    ----------
    phase : float, rad
        Delay of the light by the specimen.
    transmission : float
        Of the phase ring, for the amplitude of the direct light.

    Returns
    -------
    Figure
    """
    figure = style.new_figure(style.WIDTH, 5.3)
    parts = figure.add_gridspec(2, 3, height_ratios=[2.7, 2.2])
    _rays(figure.add_subplot(parts[0, :]))
    diffracted = np.exp(1j * phase) - 1
    steps = {
        "a  without the phase ring": (1.0, diffracted),
        "b  shifted by a quarter wave": (1.0, 1j * diffracted),
        "c  shifted, direct light dimmed": (transmission, 1j * diffracted),
    }
    for i, (title, (direct, turned)) in enumerate(steps.items()):
        _phasors(figure.add_subplot(parts[1, i]), direct, turned, title)
    figure.axes[0].plot([], [], color=style.BLACK, linewidth=2, label="sum of both: the light behind the cell")
    return style.legend(figure)


def _through(height, slope):
    """(x, y) of a ray that leaves the specimen, bent by the objective, up to the image."""
    at_lens = height + slope * SPECIMEN_TO_OBJECTIVE
    bent = slope - at_lens / OBJECTIVE_F
    return [SPECIMEN, OBJECTIVE, IMAGE], [height, at_lens, at_lens + bent * (IMAGE - OBJECTIVE)]


def _rays(axes):
    upper, lower = _through(0.0, FAN), _through(0.0, -FAN)
    axes.fill(upper[0] + lower[0][::-1], upper[1] + lower[1][::-1], color=style.SKY, alpha=0.28, linewidth=0)
    diffracted = {"color": style.BLUE, "linestyle": (0, (4, 2)), "label": "light diffracted by a cell"}
    for slope in np.linspace(-FAN, FAN, 5):
        axes.plot(*_through(0.0, slope), linewidth=0.9, **diffracted)
    for side in (1, -1):
        slope = -side * ANNULUS_RADIUS / CONDENSER_F
        for height in (-0.32, 0.0, 0.32):
            x, y = _through(height, slope)
            x, y = [ANNULUS, CONDENSER, *x], [side * ANNULUS_RADIUS, height - slope * CONDENSER_TO_SPECIMEN, *y]
            axes.plot(x, y, color=style.ORANGE, linewidth=1.0, label="direct light")
    axes.plot([ANNULUS - 0.5, IMAGE + 0.3], [0, 0], color=style.GRAY, linewidth=0.6, linestyle=(0, (8, 3, 1, 3)))
    _plate(axes, ANNULUS, 1.35, style.BLACK, ANNULUS_RADIUS, "white", 0.16)
    _plate(axes, RING, 1.1, style.LIGHT, RING_RADIUS, style.BLACK, 0.2)
    for x, half in ((CONDENSER, 1.45), (OBJECTIVE, 1.55)):
        lens = {"facecolor": style.PALE, "edgecolor": style.GRAY, "linewidth": 0.8, "zorder": 3}
        axes.add_patch(Ellipse((x, 0), 0.26, 2 * half, **lens))
    axes.vlines(SPECIMEN, -0.8, 0.8, color=style.GRAY, linewidth=1.0)
    cell = {"facecolor": style.BEYOND, "edgecolor": style.BLACK, "linewidth": 0.8, "zorder": 4}
    axes.add_patch(Ellipse((SPECIMEN, 0), 0.16, 0.34, **cell))
    axes.vlines(IMAGE, -1.35, 1.35, color=style.BLACK, linewidth=2.0)
    names = {
        ANNULUS: "annular\ndiaphragm", CONDENSER: "condenser", SPECIMEN: "specimen", OBJECTIVE: "objective",
        RING: "phase\nring", IMAGE: "image\nplane",
    }  # fmt: skip
    for x, name in names.items():
        axes.text(x, 1.72, name, ha="center", va="bottom", fontsize=8.5)
    axes.set(xlim=(-0.7, IMAGE + 0.5), ylim=(-1.6, 2.3))
    axes.set_axis_off()


def _plate(axes, x, half, colour, radius, ring_colour, width):
    """A disc seen from the side, with a ring in it."""
    edge = {"edgecolor": style.GRAY, "linewidth": 0.6}
    axes.add_patch(Rectangle((x - 0.05, -half), 0.1, 2 * half, facecolor=colour, zorder=3, **edge))
    for y in (radius, -radius):
        axes.add_patch(Rectangle((x - 0.07, y - width / 2), 0.14, width, facecolor=ring_colour, zorder=4, **edge))


def _phasors(axes, direct, diffracted, title):
    """Direct and diffracted amplitude and their sum as arrows, and below them the gray of the ground with the cell."""
    total = direct + diffracted
    look = {"arrowstyle": "-|>,head_width=0.22,head_length=0.45", "linewidth": 2, "shrinkA": 0, "shrinkB": 0}
    for start, end, colour in ((0, direct, style.ORANGE), (direct, total, style.BLUE), (0, total, style.BLACK)):
        ends = np.array([start, end], complex)
        axes.annotate(
            "", (ends[1].real, ends[1].imag), (ends[0].real, ends[0].imag), arrowprops=look | {"color": colour}
        )
    change = abs(total) ** 2 / abs(direct) ** 2
    axes.add_patch(Rectangle((0, -0.72), 1.0, 0.4, facecolor="0.65", edgecolor="none"))
    axes.add_patch(Ellipse((0.5, -0.52), 0.4, 0.28, facecolor=f"{0.65 * change:.3f}", edgecolor="none"))
    axes.set(xlim=(-0.05, 1.35), ylim=(-0.74, 0.56), aspect="equal", anchor="W", xticks=[], yticks=[])
    axes.set_title(title, fontsize=8.5)
    axes.set_xlabel(f"intensity of cell over ground: {change:.2f}", fontsize=8.5, loc="left")
    axes.spines[:].set_visible(False)
