"""A phase-contrast microscope, drawn by tracing rays through thin lenses."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse, Rectangle

from cellcount.companion.plots import style

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
def phase_contrast_microscope(phase: float = 0.35, transmission: float = 0.75) -> Figure:
    """Direct and diffracted light in a phase-contrast microscope, and the effect of the phase ring on their sum.

    Parameters
    ----------
    phase : float, rad
        Delay of the light by the specimen, in the right panels.
    transmission : float
        Of the phase ring, for the amplitude of the direct light.

    Returns
    -------
    Figure
    """
    figure = style.new_figure(style.WIDTH, 3.4)
    parts = figure.add_gridspec(2, 2, width_ratios=[3.6, 1], hspace=0.12)
    _rays(figure.add_subplot(parts[:, 0]))
    diffracted = np.exp(1j * phase) - 1
    _phasors(figure.add_subplot(parts[0, 1]), 1.0 + 0j, diffracted, "without the ring")
    _phasors(figure.add_subplot(parts[1, 1]), -1j * transmission, diffracted, "with the ring")
    return figure


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
        lens = {"facecolor": "#EAF4FB", "edgecolor": style.GRAY, "linewidth": 0.8, "zorder": 3}
        axes.add_patch(Ellipse((x, 0), 0.26, 2 * half, **lens))
    axes.vlines(SPECIMEN, -0.8, 0.8, color=style.GRAY, linewidth=1.0)
    cell = {"facecolor": "#999999", "edgecolor": style.BLACK, "linewidth": 0.8, "zorder": 4}
    axes.add_patch(Ellipse((SPECIMEN, 0), 0.16, 0.34, **cell))
    axes.vlines(IMAGE, -1.35, 1.35, color=style.BLACK, linewidth=2.0)
    names = {
        ANNULUS: "annular\ndiaphragm", CONDENSER: "condenser", SPECIMEN: "specimen", OBJECTIVE: "objective",
        RING: "phase\nring", IMAGE: "image\nplane",
    }  # fmt: skip
    for x, name in names.items():
        axes.text(x, 1.72, name, ha="center", va="bottom", fontsize=8.5)
    handles = dict(zip(*axes.get_legend_handles_labels()[::-1]))
    axes.legend(handles.values(), handles, loc="upper center", bbox_to_anchor=(0.5, 0.1), ncols=2)
    axes.set(xlim=(-0.7, IMAGE + 0.5), ylim=(-2.2, 2.3))
    axes.set_axis_off()


def _plate(axes, x, half, colour, radius, ring_colour, width):
    """A disc seen from the side, with a ring in it."""
    edge = {"edgecolor": style.GRAY, "linewidth": 0.6}
    axes.add_patch(Rectangle((x - 0.05, -half), 0.1, 2 * half, facecolor=colour, zorder=3, **edge))
    for y in (radius, -radius):
        axes.add_patch(Rectangle((x - 0.07, y - width / 2), 0.14, width, facecolor=ring_colour, zorder=4, **edge))


def _phasors(axes, direct, diffracted, title):
    """Direct and diffracted amplitude in the complex plane, and the intensity of their sum over the background's."""
    total = direct + diffracted
    for start, end, colour in ((0j, direct, style.ORANGE), (direct, total, style.BLUE), (0j, total, style.BLACK)):
        axes.annotate(
            "", (end.real, end.imag), (start.real, start.imag),
            arrowprops={"arrowstyle": "-|>", "color": colour, "linewidth": 1.5, "shrinkA": 0, "shrinkB": 0},
        )  # fmt: skip
    turn = np.linspace(0, 2 * np.pi, 200)
    axes.plot(abs(direct) * np.cos(turn), abs(direct) * np.sin(turn), color=style.GRAY, linewidth=0.6)
    axes.axhline(0, color=style.LIGHT, linewidth=0.6, zorder=0)
    axes.axvline(0, color=style.LIGHT, linewidth=0.6, zorder=0)
    change = abs(total) ** 2 / abs(direct) ** 2
    axes.set(xlim=(-1.15, 1.15), ylim=(-1.15, 1.15), aspect="equal", xticks=[], yticks=[])
    axes.set_title(title, fontsize=8.5)
    axes.set_xlabel(f"cell / background: {change:.2f}", fontsize=8.5)
    axes.spines[:].set_visible(False)
