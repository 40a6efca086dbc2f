"""All methods side by side: ranking, differences from one method, scores by density, agreement, and the same crops."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

from cellcount.companion.plots import style
from cellcount.companion.studies.comparison import FAMILY, KEPT, SHOWN, ranked
from cellcount.metrics import match
from cellcount.types import Sample

OF_IMAGES = ("o", "s", "^", "D", "v", "P")  # marks of an image's count error
SHAPE = {"near": "o", "whole": "D"}
NAMED = {"near": "near annotations", "whole": "whole image"}


def colour(entrant: str) -> str:
    """The colour of a method of the comparison."""
    return style.METHOD[FAMILY[entrant]]


def _titled(source: str, entrant: str) -> str:
    return entrant if source == KEPT else f"{entrant} ({source})"


@style.styled
def method_ranking(scored: pd.DataFrame, costs: pd.DataFrame, entrants: Sequence[str] = SHOWN) -> Figure:
    """F1 in both readings, signed error of the count of each image, and seconds per field: one line for each method.

    Parameters
    ----------
    scored, costs : DataFrame
        `studies.comparison.scores` and `costs`.
    entrants : list of str
        Those shown, the best F1 over whole images at the top.

    Returns
    -------
    Figure
    """
    names = [name for name in ranked(scored) if name in entrants]
    lines = scored[scored.source == scored.groupby("entrant").source.transform("first")].set_index("entrant")
    needs, images = costs.set_index("entrant"), [name for name in dict.fromkeys(scored.image) if name != "all"]
    figure, (left, middle, right) = style.subplots(
        0.36 * len(names) + 1.25, 1, 3, sharey=True, width_ratios=[1.5, 1.25, 0.85]
    )
    for y, name in enumerate(names):
        own, look = lines.loc[[name]].set_index("image"), {"color": colour(name)}
        for reading, shift in (("whole", 0.12), ("near", -0.12)):
            ends = own.loc["all", [f"low_{reading}", f"high_{reading}"]].astype(float)
            left.plot(ends, [y + shift] * 2, linewidth=1.4, solid_capstyle="butt", **look)
            fill = look["color"] if reading == "whole" else "white"
            left.plot(
                own.loc["all", f"f1_{reading}"], y + shift, SHAPE[reading], markersize=5, markerfacecolor=fill, **look
            )
        errors = own.drop("all").error
        middle.plot([min(0, errors.min()), max(0, errors.max())], [y, y], linewidth=0.8, color=style.LIGHT, zorder=1)
        for image, marker in zip(images, OF_IMAGES * len(images)):
            if image in errors.index:
                middle.plot(errors[image], y, marker, markersize=5, **look)
        quiet = needs.quiet[name] if pd.notna(needs.quiet[name]) else needs.seconds[name]
        right.plot(quiet, y, "o", markersize=5, **look)
        if pd.notna(quiet):
            text = f"{quiet:.1f}" if quiet < 9.95 else f"{quiet:.0f}"
            right.annotate(text, (quiet, y), (6, 0), textcoords="offset points", va="center", fontsize=7.5)
    left.set(yticks=range(len(names)), ylim=(len(names) - 0.4, -0.6), title="F1")
    left.set_yticklabels([])
    below = {"xycoords": left.get_yaxis_transform(), "textcoords": "offset points", "annotation_clip": False}
    below |= {"ha": "right", "va": "center"}
    for y, name in enumerate(names):
        left.annotate(name, (0, y), (-4, 4.5), fontsize=9, **below)
        left.annotate(f"needs: {needs.labels[name]}", (0, y), (-4, -5.5), fontsize=7, color=style.GRAY, **below)
    middle.set_title("error of the count")
    middle.axvline(0, color=style.BLACK, linewidth=0.8, zorder=0)
    middle.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:+.0f} %" if value else "0"))
    low, high = needs.loc[names, ["seconds", "quiet"]].min().min(), needs.loc[names, ["seconds", "quiet"]].max().max()
    right.set(title="seconds per field", xscale="log", xlim=(low / 1.7, high * 6))
    style.log_labels(right.xaxis, full=3)
    for axes in (left, middle, right):
        axes.grid(True, axis="both")
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
    marks = [
        (SHAPE[reading], style.GRAY if reading == "whole" else "white", f"F1, {NAMED[reading]}") for reading in SHAPE
    ]
    marks += [(marker, style.GRAY, f"count, image {image}") for image, marker in zip(images, OF_IMAGES * len(images))]
    plain = {"linestyle": "none", "markersize": 5, "color": style.GRAY}
    handles = [Line2D([], [], marker=marker, markerfacecolor=fill, label=text, **plain) for marker, fill, text in marks]
    figure.legend(handles=handles, loc="outside lower left", ncols=len(handles) if len(handles) < 5 else 3)
    return figure


@style.styled
def paired_differences(frame: pd.DataFrame, against: str) -> Figure:
    """Differences of F1 from one method with their 95 % intervals: a line for each method, a panel for each reading.

    Parameters
    ----------
    frame : DataFrame of `studies.comparison.paired`
    against : str

    Returns
    -------
    Figure
    """
    order = frame[frame.reading == "near"].sort_values("difference", ascending=False)
    keys = list(zip(order.entrant, order.source))
    figure, panels = style.subplots(0.21 * len(keys) + 0.8, 1, 2, sharey=True, sharex=True)
    for axes, reading in zip(panels, ("near", "whole")):
        lines = frame[frame.reading == reading].set_index(["entrant", "source"])
        axes.axvline(0, color=style.BLACK, linewidth=0.8)
        for y, key in enumerate(keys):
            line, look = lines.loc[key], {"color": colour(key[0])}
            axes.plot([line.low, line.high], [y, y], linewidth=1.6, solid_capstyle="butt", **look)
            axes.plot(line.difference, y, SHAPE[reading], markersize=4.5, **look)
        axes.set(title=f"F1, {NAMED[reading]}", xlabel=f"difference from {against}")
        axes.set(yticks=range(len(keys)), ylim=(len(keys) - 0.4, -0.6))
        axes.grid(True, axis="both")
    panels[0].set_yticklabels([_titled(source, entrant) for entrant, source in keys])
    return figure


@style.styled
def density_lines(frame: pd.DataFrame, entrants: Sequence[str]) -> Figure:
    """F1 near annotations, recall, and counted over annotated cells, over the cells in a sixteenth of a field.

    Parameters
    ----------
    frame : DataFrame of `studies.comparison.by_density`
    entrants : list of str

    Returns
    -------
    Figure
    """
    columns = {"f1": "F1, near annotations", "recall": "recall", "ratio": "counted / annotated"}
    figure, panels = style.subplots(2.9, 1, 3)
    for axes, (column, title) in zip(panels, columns.items()):
        for entrant, marker, dash in zip(entrants, style.MARKERS * 2, style.DASHES * 4):
            line = frame[(frame.entrant == entrant) & (frame.source == frame[frame.entrant == entrant].source.min())]
            look = {"marker": marker, "markersize": 4, "linestyle": dash, "color": colour(entrant)}
            axes.plot(line.cells, line[column], label=entrant, **look)
        axes.set(title=title, xlabel="annotated cells per part")
    panels[2].axhline(1, color=style.BLACK, linewidth=0.8, zorder=0)
    return style.legend(figure)


@style.styled
def agreement_matrix(agreed: pd.DataFrame) -> Figure:
    """Cohen's kappa of each two methods, as numbers on shades of gray.

    Parameters
    ----------
    agreed : square DataFrame of `studies.comparison.kappa`

    Returns
    -------
    Figure
    """
    number = len(agreed)
    figure, axes = style.plot(2.2 + 0.52 * number, 1.3 + 0.34 * number)
    values = np.where(np.eye(number, dtype=bool), np.nan, agreed.to_numpy())
    axes.pcolormesh(values, cmap="Blues", vmin=0, vmax=1, edgecolors="white", linewidth=1)
    for (y, x), value in np.ndenumerate(values):
        if np.isfinite(value):
            look = {"ha": "center", "va": "center", "fontsize": 8, "color": "white" if value > 0.6 else "black"}
            axes.text(x + 0.5, y + 0.5, f"{value:.2f}", **look)
    ticks = {"ticks": np.arange(number) + 0.5, "labels": list(agreed)}
    axes.set_xticks(**ticks, rotation=35, ha="right", rotation_mode="anchor")
    axes.set_yticks(**ticks)
    axes.invert_yaxis()
    axes.grid(False)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure


@style.styled
def method_gallery(
    sample: Sample, points: Mapping[str, np.ndarray], tolerance: float, window: style.Window, columns: int = 4
) -> Figure:
    """The same part of a field with the points of each method, as the metric judges them.

    Parameters
    ----------
    sample : Sample with points
    points : dict of method to (N, 2) float, (y, x) px, of the whole field
    tolerance : float, px
    window : (y, x, height, width) px

    Returns
    -------
    Figure
    """
    figure, places = style.panels(len(points) + 1, columns, window[2] / window[3], room=0.3)
    style.view(places[0], sample, window=window, title="image")
    for axes, (name, predicted) in zip(places[1:], points.items()):
        matching = match(sample.points, predicted, tolerance)
        _, false, missed = matching.split(sample.points, predicted)
        style.show(axes, sample.image, window=window, title=f"{name.partition(',')[0]}: F1 {matching.f1:.2f}")
        axes.title.set_fontsize(8)
        kinds = {"found": predicted[matching.pairs[:, 1]], "missed": missed, "false, near": false}
        for kind, some in kinds.items():
            style.mark(axes, some, kind, size=4, width=0.9, label=kind.partition(",")[0])
    return style.legend(figure)
