"""One look for every figure: type, lines, the colours of Okabe and Ito (2008), panels, marks, scale bars, legends.

Figures have a white background, also in dark mode: black labels stay legible, and a micrograph keeps the surround in
which its gray values were judged. Gray labels on a transparent background would be pale on both.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from cycler import Cycler, cycler
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from numpy.typing import ArrayLike

from cellcount.types import Sample

BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
YELLOW, BLUE, VERMILLION, PURPLE = "#F0E442", "#0072B2", "#D55E00", "#CC79A7"
GRAY, LIGHT = "#6E6E6E", "#DDDDDD"
BEYOND = "#BBBBBB"  # beyond the border of an image
PALE = "#EAF4FB"  # glass, in drawings
CYCLE = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, BLACK)  # without yellow, which is too pale on white
DASHES = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
# Cycles for `Axes.set_prop_cycle`: lines that differ in colour and in dashes; the same with markers.
LINES = cycler(color=CYCLE) + cycler(linestyle=(DASHES * 2)[: len(CYCLE)])
MARKED = LINES + cycler(marker=MARKERS) + cycler(markersize=[4] * len(CYCLE))

WIDTH = 7.0  # inch: 1400 px on a page of the book, 15 cm in the PDF, where 9 pt becomes 7.6 pt
DPI = 200
Window = tuple[int, int, int, int]  # the part of an image to show: (y, x, height, width) px
Part = Window | None  # None: the whole image
Range = tuple[float, float]

RC = {"figure.dpi": DPI, "figure.facecolor": "white", "figure.constrained_layout.use": True, "image.cmap": "gray"}
RC |= {"axes.facecolor": "white", "axes.axisbelow": True, "axes.edgecolor": GRAY, "axes.linewidth": 0.7}
RC |= {"axes.grid": True, "axes.grid.axis": "y", "grid.color": LIGHT, "grid.linewidth": 0.6}
RC |= {"axes.spines.top": False, "axes.spines.right": False, "axes.prop_cycle": cycler(color=CYCLE)}
RC |= {"axes.titlesize": 9.5, "axes.titlelocation": "left", "axes.labelsize": 9, "lines.linewidth": 1.6}
RC |= {"font.size": 9, "font.family": "DejaVu Sans", "legend.frameon": False, "legend.fontsize": 8.5}
TICKS = {"labelsize": 8.5, "color": GRAY, "labelcolor": BLACK}
RC |= {f"{axis}tick.{name}": value for axis in "xy" for name, value in TICKS.items()}

METHOD = {  # one colour for each family of methods, in every figure
    "cellnet": BLUE, "nuclephaser": VERMILLION, "yolox": GREEN, "maskrcnn": ORANGE, "stardist": PURPLE, "cellpose": SKY,
    "deepsea": "#7A4B2A", "sam": "#A89000", "blobs": GRAY, "classical": "#A0A0A0", "area": BLACK, "random": "#B4B4B4",
}  # fmt: skip
# Marks on a micrograph: kinds differ in colour and in shape.
MARKS = {
    "annotated": {"marker": "o", "color": SKY},
    "dead": {"marker": "x", "color": VERMILLION},
    "predicted": {"marker": "+", "color": YELLOW},
    "ring": {"marker": "o", "color": YELLOW},  # predicted, where a cross would hide the cell
    "found": {"marker": "o", "color": SKY},
    "missed": {"marker": "s", "color": YELLOW},
    "false, near": {"marker": "x", "color": VERMILLION},
    "false, away": {"marker": "X", "color": PURPLE},  # the outline of a cross
}
styled = matplotlib.rc_context(RC)  # decorator: a function draws with `RC`; the caller's settings stay as they are


def new_figure(width: float = WIDTH, height: float = 3.0) -> Figure:
    """An empty Figure of `width` x `height` inch, unknown to pyplot, so that it need not be closed."""
    return Figure(figsize=(width, height))


def plot(width: float = WIDTH, height: float = 3.0, cycle: Cycler | None = None, **options: Any) -> tuple[Figure, Axes]:
    """A Figure of `width` x `height` inch with one Axes, whose lines take their looks from `cycle`.

    `options` are properties of the Axes, such as xlabel and ylim.
    """
    figure = new_figure(width, height)
    axes = figure.add_subplot(**options)
    axes.set_prop_cycle(cycle)
    return figure, axes


def lines(axes: Axes, curves: Mapping[str, tuple[ArrayLike, ArrayLike]], **look: Any) -> None:
    """Draw a line for each label, from its x and y (K,) float, with the looks of `Axes.plot`."""
    for label, (x, y) in curves.items():
        axes.plot(x, y, label=label, **look)


def of_methods(names: Iterable[str]) -> dict[str, str]:
    """The colour of each method: that of its family in `METHOD`, by the first word of its name, else one of `CYCLE`."""
    names = list(dict.fromkeys(names))
    families = {name: name.replace(",", " ").split()[0].lower() for name in names}
    known = {name: METHOD[family] for name, family in families.items() if family in METHOD}
    others = [name for name in names if name not in known]
    return known | dict(zip(others, (colour for colour in CYCLE * 2 if colour not in known.values())))


def subplots(height: float, rows: int, columns: int, **options: Any) -> tuple[Figure, Any]:
    """A Figure of the width of a page and its array of Axes; `options` as of `Figure.subplots`."""
    figure = new_figure(height=height)
    return figure, figure.subplots(rows, columns, **options)


def panels(
    number: int, columns: int, ratio: float = 1.0, *, title: float = 0.25, room: float = 0.0
) -> tuple[Figure, list[Axes]]:
    """An empty Figure of the width of a page with panels, row by row.

    Parameters
    ----------
    number, columns : int
        Panels, and at most so many in a row.
    ratio : float
        Height of a panel over its width.
    title, room : float, inch
        Height of a panel's title, and of what else the figure holds.
    """
    columns = min(columns, number)
    rows = -(-number // columns)
    figure = new_figure(WIDTH, rows * (WIDTH / columns * ratio + title) + room)
    places = figure.subplots(rows, columns, squeeze=False).ravel()
    for unused in places[number:]:
        unused.set_axis_off()
    return figure, list(places[:number])


def micrograph(
    sample: Sample, *, window: Part = None, title: str | None = None, width: float = WIDTH
) -> tuple[Figure, Axes]:
    """A figure of one field of view with its scale bar, with room for a legend.

    Parameters
    ----------
    sample : Sample
    window : (y, x, height, width) px, optional
        The part to show.
    title : str, optional
    width : float, inch
    """
    rows, columns = window[2:] if window else sample.image.shape
    figure, axes = plot(width, width * rows / columns + 0.5)
    view(axes, sample, window=window, title=title)
    return figure, axes


def crops(
    sample: Sample, rows: Mapping[str, Sequence[tuple[np.ndarray, str | None]]], number: int, side: int
) -> tuple[Figure, list[Axes]]:
    """Square parts of a field, one row a kind.

    Parameters
    ----------
    sample : Sample
    rows : dict of kind to list of (centre (y, x) px, title)
    number : int
        At most so many of each kind.
    side : int, px
    """
    titled = any(title for examples in rows.values() for _, title in examples)
    figure = new_figure(WIDTH, len(rows) * (WIDTH / number + 0.1 + 0.15 * titled) + 0.3)
    for row, (kind, examples) in enumerate(rows.items()):
        for column, (centre, title) in enumerate(examples[:number]):
            axes = figure.add_subplot(len(rows), number, row * number + column + 1, facecolor=BEYOND)
            y, x = np.rint(centre).astype(int) - side // 2
            show(axes, sample.image, title=title, window=(int(y), int(x), side, side))
            axes.set_ylabel("" if column else kind)
    return figure, figure.axes


def legend(figure: Figure, place: str = "outside lower left") -> Figure:
    """Give a figure one legend for all of its axes, each label once, in as many columns as fit; returns the figure."""
    named = {label: handle for axes in figure.axes for handle, label in zip(*axes.get_legend_handles_labels())}
    wide = [0.5 + 0.065 * len(label) for label in named]  # inch, about
    columns = len(named) if sum(wide) < figure.get_figwidth() else int(figure.get_figwidth() / max(wide))
    if named:
        figure.legend(named.values(), named.keys(), loc=place, ncols=1 if "outside right" in place else max(1, columns))
    return figure


def log_labels(axis: Axis, full: float = 10) -> None:
    """Label a logarithmic axis with plain numbers.

    All ticks if the axis covers no more than the factor `full`, else those at 1, 2 and 5, over more than three decades
    those at 1.
    """

    def label(value, _):
        low, high = axis.get_view_interval()
        wanted = "123456789" if high <= full * low else "25" if high <= 1000 * low else ""
        return f"{value:g}" if f"{value:e}"[0] in wanted else ""

    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(FuncFormatter(label))


def halo(width: float) -> list[patheffects.AbstractPathEffect]:
    """Path effects: a dark outline, so that a line of `width` pt is seen on any gray value."""
    return [patheffects.withStroke(linewidth=width + 1.4, foreground="#00000099")]


def mark(
    axes: Axes, points: np.ndarray, kind: str, *, size: float = 5.0, width: float = 1.1, label: str | None = None
) -> None:
    """Mark points of one kind on a micrograph.

    Parameters
    ----------
    axes : matplotlib Axes
    points : (N, 2) float, (y, x) px
    kind : key of MARKS
    size, width : float, pt
    label : str, optional
        For the legend. The artist's gid is `kind`.
    """
    look = MARKS[kind] | {"linestyle": "none", "fillstyle": "none", "path_effects": halo(width), "gid": kind}
    axes.plot(points[:, 1], points[:, 0], markersize=size, markeredgewidth=width, label=label, **look)


def show(
    axes: Axes, image: np.ndarray, *, value_range: Range = (0.0, 1.0), title: str | None = None, window: Part = None
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


def view(axes: Axes, sample: Sample, *, window: Part = None, title: str | None = None) -> None:
    """Draw the image of a sample, or the part in the window (y, x, height, width) px, with its scale bar."""
    show(axes, sample.image, window=window, title=title)
    scale_bar(axes, sample.pixel_size_um)


def boxes(axes: Axes, corners: ArrayLike, **look: Any) -> None:
    """Draw boxes (N, 4), (y0, x0, y1, x1) px, with the looks of `Axes.plot`."""
    y0, x0, y1, x1 = np.reshape(corners, (-1, 4)).T
    axes.plot([x0, x1, x1, x0, x0], [y0, y0, y1, y1, y0], **look)


def tint(axes: Axes, region: np.ndarray, colour: str, alpha: float = 0.45) -> None:
    """Colour a region (H, W) bool of a micrograph."""
    layer = np.zeros((*region.shape, 4), np.float32)
    layer[region] = to_rgba(colour, alpha)
    axes.imshow(layer, interpolation="nearest")


def scale_bar(axes: Axes, pixel_size_um: float | None = None) -> None:
    """A bar of a round length, at most 22 % of the shown width: in µm if the pixel size is known, else in px."""
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    unit, unit_name = (pixel_size_um, "µm") if pixel_size_um else (1.0, "px")
    wanted = 0.22 * abs(right - left) * unit
    power = 10.0 ** int(f"{wanted:e}".split("e")[1])
    length = max(step * power for step in (1, 2, 5) if step * power <= wanted)
    x, y = left + 0.04 * (right - left), bottom + 0.05 * (top - bottom)
    look = {"color": "white", "linewidth": 2.5, "solid_capstyle": "butt", "path_effects": halo(2.5), "zorder": 6}
    axes.plot([x, x + length / unit], [y, y], **look)  # above all marks, as is its text, which hides those below it
    text = {"color": "white", "fontsize": 8, "va": "bottom", "zorder": 6}
    text["bbox"] = {"facecolor": "#000000A0", "edgecolor": "none", "boxstyle": "square,pad=0.15"}
    axes.annotate(f"{length:g} {unit_name}", (x, y), (1.5, 4), textcoords="offset points", **text)
