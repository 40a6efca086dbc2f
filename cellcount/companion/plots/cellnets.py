"""CellNet: its network, the way from an image to a count, its heatmap, its threshold, and its errors part by part."""

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Rectangle
from matplotlib.ticker import MaxNLocator

from cellcount.companion.plots import style
from cellcount.types import Sample

KINDS = {"in and out": style.GRAY, "encoder": style.BLUE, "decoder": style.ORANGE, "head": style.GREEN}


@style.styled
def architecture(layers: pd.DataFrame) -> Figure:
    """The network as a row of blocks: height grows with the side of the feature map, width with its channels.

    Parameters
    ----------
    layers : DataFrame of `studies.inside_cellnet.layers`

    Returns
    -------
    Figure
    """
    figure, axes = style.plot(height=2.9)
    axes.set_axis_off()
    sides = np.sqrt(layers.side.to_numpy(float))
    heights, widths = 1.9 * sides / sides.max(), 0.12 + 0.42 * layers.channels.to_numpy(float) / layers.channels.max()
    x = np.cumsum([0, *(0.5 * (widths[1:] + widths[:-1]) + 0.44)])
    for row, place, height, width in zip(layers.itertuples(), x, heights, widths, strict=True):
        colour = KINDS[row.kind]
        axes.add_patch(Rectangle((place - width / 2, -height / 2), width, height, color=colour, label=row.kind))
        weights = f"{row.parameters / 1e3:,.0f} k" if row.parameters else "–"
        text = f"{row.name_}\n{row.channels} ch\n{row.side} px\n{weights}"
        axes.annotate(text, (place, -1.06), ha="center", va="top", fontsize=7.5, linespacing=1.3)
    arrow = {"arrowstyle": "-|>", "mutation_scale": 8, "color": style.BLACK, "linewidth": 0.8}
    for i, (before, after) in enumerate(pairwise(layers.side)):
        ends = (x[i] + widths[i] / 2, 0), (x[i + 1] - widths[i + 1] / 2, 0)
        axes.add_patch(FancyArrowPatch(*ends, shrinkA=1, shrinkB=1, **arrow))
        step = f"÷{before // after}" if before > after else f"×{after // before}" if after > before else ""
        axes.annotate(step, (np.mean([ends[0][0], ends[1][0]]), 0.06), ha="center", va="bottom", fontsize=7.5)
    for row, place, height in zip(layers.itertuples(), x, heights, strict=True):
        if row.skip >= 0:
            start, end = (x[row.skip], heights[row.skip] / 2), (place, height / 2)
            look = arrow | {"linestyle": (0, (3, 2)), "color": style.GRAY}
            bend = f"arc3,rad=-{0.24 + 0.16 * (1 - height / heights.max()):.2f}"
            axes.add_patch(FancyArrowPatch(start, end, connectionstyle=bend, shrinkA=1, shrinkB=1, **look))
            axes.annotate("+", (place, height / 2), (0, 1), textcoords="offset points", ha="left", fontsize=10)
    axes.set(xlim=(x[0] - 0.4, x[-1] + 0.4), ylim=(-1.85, 1.6))
    return style.legend(figure, "outside upper left")


@style.styled
def pipeline(
    sample: Sample,
    heat: np.ndarray,
    maxima: tuple[np.ndarray, np.ndarray],
    *,
    seen: np.ndarray,
    threshold: float,
    window: style.Window,
) -> Figure:
    """From an image to a count in six steps, on a part of a field.

    Parameters
    ----------
    sample : Sample
    heat : (H, W) float
        Heatmap of the whole image.
    maxima : ((M, 2) float (y, x) px, (M,) float)
        All local maxima of the heatmap, and their heights.
    seen : (h, w) float
        What the network sees of the window.
    threshold : float
        Least height of a peak.
    window : (y, x, height, width) px
        The tile.

    Returns
    -------
    Figure
    """
    points, heights = maxima
    y, x, height, width = window
    inside = ((points >= (y, x)) & (points < (y + height, x + width))).all(axis=1)
    kept, number = heights >= threshold, int((inside & (heights >= threshold)).sum())
    figure, places = style.panels(6, 3, 1.0, title=0.3)
    style.view(places[0], sample, title="1  image, and one tile")
    style.boxes(places[0], [(y, x, y + height, x + width)], color=style.YELLOW, linewidth=1.8)
    bounds = (float(np.percentile(seen, 0.5)), float(np.percentile(seen, 99.5)))
    style.show(places[1], seen, value_range=bounds, title="2  tile, normalised")
    style.show(places[2], heat, window=window, title="3  heatmap")
    bins, colours = np.linspace(0, max(1.0, float(heights.max(initial=1.0))), 26), (style.VERMILLION, style.BLUE)
    places[3].hist([heights[inside & ~kept], heights[inside & kept]], bins, stacked=True, color=colours)
    places[3].axvline(threshold, color=style.BLACK, linewidth=1.0, linestyle=style.DASHES[1])
    places[3].set(title="4  heights of its maxima", xlabel="height", ylabel="maxima in the tile", box_aspect=0.9)
    places[3].set_ylim(0, 1.25 * places[3].get_ylim()[1])
    places[3].yaxis.set_major_locator(MaxNLocator(4, integer=True))
    at = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points", "va": "top", "fontsize": 8}
    places[3].annotate(f"threshold {threshold:.2f}", (threshold, 1.0), (3, 0), **at)
    style.show(places[4], heat, window=window, title="5  kept (+) and left out (×)")
    for axes in (places[2], places[4]):
        axes.images[0].set_cmap("viridis")
    style.mark(places[4], points[kept], "predicted", size=5)
    low = points[~kept & (heights > 0.1)]
    look = {"color": style.VERMILLION, "markersize": 4, "linestyle": "none", "path_effects": style.halo(1)}
    places[4].plot(low[:, 1], low[:, 0], "x", **look)
    style.view(places[5], sample, window=window, title=f"6  points; their count is {number}")
    style.mark(places[5], points[kept], "predicted", size=5)
    return figure


@style.styled
def heatmaps(sample: Sample, heat: np.ndarray, *, sigma: float, window: style.Window) -> Figure:
    """A part of a field with its cells, the heatmap that they make, and the one that was predicted.

    Parameters
    ----------
    sample : Sample with points
    heat : (H, W) float
        Predicted.
    sigma : float, px
        Width of the Gaussians of the target.
    window : (y, x, height, width) px

    Returns
    -------
    Figure
    """
    from cellcount.methods.cellnet.targets import heatmap  # here, as only these figures depend on CellNet

    part, (y, x, height, width) = sample.crop(*window), window
    figure, (image, target, predicted) = style.subplots(style.WIDTH / 3 * height / width + 0.35, 1, 3)
    style.view(image, part, title="image and its cells")
    style.mark(image, part.points, "annotated", size=5)
    style.show(target, heatmap(part.points, part.image.shape, sigma), title="target")
    style.show(predicted, heat[y : y + height, x : x + width], title="predicted")
    for axes in (target, predicted):
        axes.images[0].set_cmap("viridis")
    style.mark(predicted, part.points, "annotated", size=5, width=0.7)
    figure.colorbar(predicted.images[0], ax=[target, predicted], shrink=0.85, label="share of a full peak")
    return figure


@style.styled
def precision_recall(curves: Mapping[str, pd.DataFrame], working: Mapping[str, float]) -> Figure:
    """Precision over recall as the threshold falls, with lines of equal F1 and the threshold in use.

    Parameters
    ----------
    curves : dict of method to DataFrame with threshold, precision and recall
    working : dict of method to threshold
        Marked by a large dot.

    Returns
    -------
    Figure
    """
    figure, axes = style.plot(0.62 * style.WIDTH, 3.6, xlabel="recall", ylabel="precision", aspect="equal")
    grid = np.linspace(0.01, 1, 200)
    for level in (0.5, 0.6, 0.7, 0.8, 0.9):
        recall = grid[grid > level / (2 - level)]
        axes.plot(recall, level * recall / (2 * recall - level), color=style.LIGHT, linewidth=0.9, zorder=1)
        axes.annotate(f"F1 {level:g}", (1, level / (2 - level)), (3, 0), textcoords="offset points", color=style.GRAY,
                      fontsize=7.5, va="center", annotation_clip=False)  # fmt: skip
    colours = style.of_methods(curves)
    for (method, curve), dash in zip(curves.items(), style.DASHES, strict=False):
        colour = colours[method]
        axes.plot(curve.recall, curve.precision, color=colour, linestyle=dash, label=method)
        at = curve.iloc[(curve.threshold - working[method]).abs().argmin()]
        axes.plot(at.recall, at.precision, "o", color=colour, markersize=7, label=f"{method}: threshold in use")
    axes.set(xlim=(0, 1.0), ylim=(0, 1.02))
    return style.legend(figure, "outside upper left")


@style.styled
def parts(rows: pd.DataFrame) -> Figure:
    """Found against clicked cells in parts of images, and the difference as a grid for each image.

    Parameters
    ----------
    rows : DataFrame of `results.rows`
        One tolerance, reading and method, with the parts of a square division of each image.

    Returns
    -------
    Figure
    """
    rows = rows[rows.part != "all"].assign(part=rows.part[rows.part != "all"].astype(int))
    found = rows.groupby(["image", "part"])[["n_true", "n_pred"]].mean()
    images = list(found.index.unique("image"))
    figure, (scatter, *grids) = style.subplots(
        2.55, 1, 1 + len(images), width_ratios=[1.15, *[1] * len(images)], squeeze=True
    )
    top = 1.06 * found.to_numpy().max()
    scatter.plot([0, top], [0, top], color=style.GRAY, linewidth=0.9)
    scatter.set_prop_cycle(style.MARKED)
    for image in images:
        one = found.loc[image]
        scatter.plot(one.n_true, one.n_pred, linestyle="none", alpha=0.85, label=f"image {image}")
    scatter.set(xlabel="clicked cells in a part", ylabel="found cells", xlim=(0, top), ylim=(0, top), aspect="equal")
    scatter.legend(loc="lower right")
    reach = (found.n_pred - found.n_true).abs().max()
    for axes, image in zip(grids, images, strict=True):
        one = found.loc[image].sort_index()
        _error_grid(axes, (one.n_pred - one.n_true).to_numpy(), reach)
        axes.set(title=f"image {image}: found − clicked", xlabel="column of the part", ylabel="row of the part")
    return figure


def _error_grid(axes: Axes, errors: np.ndarray, reach: float) -> None:
    """A square grid of (K,) signed numbers, in colours from -reach to reach."""
    side = round(len(errors) ** 0.5)
    table = errors.reshape(side, side)
    axes.imshow(table, cmap="PuOr_r", vmin=-reach, vmax=reach, aspect=0.75)
    for (row, column), value in np.ndenumerate(table):
        colour = "white" if abs(value) > 0.6 * reach else "black"
        axes.annotate(f"{value:+.0f}", (column, row), ha="center", va="center", fontsize=8, color=colour)
    axes.set(xticks=range(side), yticks=range(side), xticklabels=range(1, side + 1), yticklabels=range(1, side + 1))
    axes.grid(visible=False)
    axes.tick_params(length=0)
