"""One look for every figure: type, lines, the colours of Okabe and Ito (2008), marks, scale bars.

A figure brings its own white ground. On a white page it looks transparent; in dark mode, or in a notebook viewer
that has one, black labels stay legible and a micrograph keeps the surround that its grays were judged against. Gray
labels on a transparent ground, the alternative, are pale on both.
"""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import matplotlib
import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
YELLOW, BLUE, VERMILLION, PURPLE = "#F0E442", "#0072B2", "#D55E00", "#CC79A7"
GRAY, LIGHT = "#6E6E6E", "#DDDDDD"
CYCLE = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, BLACK)  # on white, yellow comes last: it is not in it
DASHES = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)))  # a second sign beside the colour
MARKERS = ("o", "s", "^", "D", "v", "P", "X")

WIDTH = 7.0  # inch: 1400 px on a page of the book, 15 cm in the PDF, where 9 pt becomes 7.6 pt
DPI = 200

RC = {
    "figure.dpi": DPI,
    "figure.facecolor": "white",
    "figure.constrained_layout.use": True,
    "savefig.facecolor": "auto",
    "axes.facecolor": "white",
    "axes.edgecolor": GRAY,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "axes.prop_cycle": matplotlib.cycler(color=CYCLE),
    "font.size": 9,
    "font.family": "DejaVu Sans",
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "lines.linewidth": 1.6,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "xtick.color": GRAY,
    "ytick.color": GRAY,
    "xtick.labelcolor": BLACK,
    "ytick.labelcolor": BLACK,
    "image.cmap": "gray",
    "image.interpolation": "antialiased",
}

# What a mark on a micrograph means: colour and shape differ, so that either is enough.
MARKS = {
    "annotated": {"marker": "o", "color": SKY},
    "dead": {"marker": "x", "color": VERMILLION},
    "predicted": {"marker": "+", "color": YELLOW},
    "found": {"marker": "o", "color": SKY},
    "missed": {"marker": "s", "color": YELLOW},
    "false, near": {"marker": "x", "color": VERMILLION},
    "false, away": {"marker": "^", "color": PURPLE},
}
P = ParamSpec("P")
R = TypeVar("R")


def styled(draw: Callable[P, R]) -> Callable[P, R]:
    """Decorator: the function draws with this module's settings, and leaves those of the caller alone."""

    @functools.wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> R:
        with matplotlib.rc_context(RC):
            return draw(*args, **kwargs)

    return drawn


def new_figure(width: float = WIDTH, height: float = 3.0) -> Figure:
    """An empty Figure of `width` x `height` inch; pyplot does not know of it, so it needs no closing."""
    return Figure(figsize=(width, height))


def log_labels(axis: Axis) -> None:
    """Label a logarithmic axis with plain numbers: every tick within a decade, at 1, 2, 5 within three, else at 1."""

    def label(value, _):
        low, high = axis.get_view_interval()
        wanted = "123456789" if high <= 10 * low else "25" if high <= 1000 * low else ""
        return f"{value:g}" if f"{value:e}"[0] in wanted else ""

    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(FuncFormatter(label))


def halo(width: float) -> list[patheffects.AbstractPathEffect]:
    """Path effects that set a line of `width` pt off from any gray below it."""
    return [patheffects.withStroke(linewidth=width + 1.4, foreground="#00000099")]


def mark(
    axes: Axes,
    points: np.ndarray,
    kind: str,
    *,
    size: float = 5.0,
    width: float = 1.1,
    label: str | None = None,
) -> None:
    """Put the marks of one kind on a micrograph.

    Parameters
    ----------
    axes : matplotlib Axes
    points : (N, 2) float, (y, x) px
    kind : key of MARKS
    size, width : float, pt
    label : str, optional
        For the legend; the artist can be found again by its gid, which is `kind`.
    """
    look = MARKS[kind]
    axes.plot(
        points[:, 1], points[:, 0], linestyle="none", marker=look["marker"], color=look["color"], fillstyle="none",
        markersize=size, markeredgewidth=width, label=label, gid=kind, path_effects=halo(width),
    )  # fmt: skip


def show(
    axes: Axes,
    image: np.ndarray,
    *,
    value_range: tuple[float, float] = (0.0, 1.0),
    title: str | None = None,
    window: tuple[int, int, int, int] | None = None,
) -> None:
    """Draw a micrograph without ticks; pixel (y, x) lies at x, y of the axes.

    Parameters
    ----------
    axes : matplotlib Axes
    image : (H, W) float
    value_range : (black, white)
    title : str, optional
    window : (y, x, height, width) px, optional
        The part to show.
    """
    axes.imshow(image, vmin=value_range[0], vmax=value_range[1])
    y, x, height, width = window or (0, 0, *image.shape)
    axes.set(xlim=(x - 0.5, x + width - 0.5), ylim=(y + height - 0.5, y - 0.5), xticks=[], yticks=[], title=title)
    axes.spines[:].set_visible(False)


def scale_bar(axes: Axes, pixel_size_um: float | None = None) -> None:
    """A bar of a round length, about a fifth of the shown width: in um where the pixel's size is known, else in px."""
    left, right = axes.get_xlim()
    bottom, top = axes.get_ylim()
    unit = pixel_size_um or 1.0
    wanted = 0.22 * abs(right - left) * unit
    power = 10.0 ** int(f"{wanted:e}".split("e")[1])
    length = max(step * power for step in (1, 2, 5) if step * power <= wanted)
    x = left + 0.04 * (right - left)
    y = bottom + 0.05 * (top - bottom)
    ends = [x, x + length / unit]
    axes.plot(ends, [y, y], color="white", linewidth=2.5, solid_capstyle="butt", path_effects=halo(2.5))
    text = f"{length:g} {'µm' if pixel_size_um else 'px'}"
    axes.annotate(
        text, (x, y), (0, 3), textcoords="offset points", color="white", fontsize=8, va="bottom", path_effects=halo(1.0)
    )
