"""Drawings that explain: kinds of labels and what they cost, and how points are paired."""

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Polygon, Rectangle
from skimage.measure import approximate_polygon, find_contours

from cellcount.companion.plots.style import (
    BLACK,
    BLUE,
    GRAY,
    ORANGE,
    SKY,
    WIDTH,
    YELLOW,
    new_figure,
    scale_bar,
    show,
    styled,
)
from cellcount.companion.plots.wrong_rules import greedy, padded, ungated
from cellcount.data import phantom
from cellcount.metrics import match

# A scene of annotated and predicted points (y, x) px, made so that each wrong rule goes wrong somewhere in it.
TRUE = np.float32([[12, 14], [12, 27], [14, 62], [36, 72], [37, 20], [62, 7], [61, 35]])
PREDICTED = np.float32([[12, 19], [14, 6], [18, 66], [32, 68], [40, 22], [38, 47], [62, 29], [60, 57], [59, 76]])
TOLERANCE = 9.0  # px
RULES = {
    "one-to-one, gated (ours)": match,
    "nearest pair first": greedy,
    "smallest sum, gate after": ungated,
    "padded with dummies": padded,
}


@styled
def label_types(seed: int = 7) -> Figure:
    """Box, mask and centre of the same simulated cells, with every click that each kind of label takes.

    A mask is drawn as the polygon with the fewest corners that stays within 1 px of the outline (Douglas and Peucker
    1973).

    Parameters
    ----------
    seed : int
        Of the field that is drawn on.

    Returns
    -------
    Figure
    """
    sample = phantom.simulate(seed, (150, 150), confluence=0.6, dead=0.0)
    polygons = _whole_cells(sample)
    boxes = [np.array([corners.min(axis=0), corners.max(axis=0)]) for _, corners in polygons]
    masks = [approximate_polygon(corners, tolerance=1.0)[:-1] for _, corners in polygons]
    centres = [sample.points[label - 1][None] for label, _ in polygons]
    figure = new_figure(WIDTH, WIDTH / 3 + 0.2)
    panels = figure.subplots(1, 3)
    for axes, kind, clicks in zip(panels, ("box", "mask", "centre"), (boxes, masks, centres)):
        each = np.mean([len(points) for points in clicks])
        axes.set_label(kind)
        show(axes, sample.image, title=f"{kind}: {each:.0f} click{'s' if each > 1 else ''} per cell")
        for points in clicks:
            if kind == "box":
                (y0, x0), (y1, x1) = points
                axes.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, color=SKY, linewidth=1.3))
            elif kind == "mask":
                axes.add_patch(Polygon(points[:, ::-1], facecolor=SKY + "55", edgecolor=SKY, linewidth=1.3))
        at = np.concatenate(clicks)
        axes.plot(
            at[:, 1], at[:, 0], "o", color=YELLOW, markersize=3.6 if kind == "mask" else 5.5, gid="clicks",
            markeredgecolor=BLACK, markeredgewidth=0.6,
        )  # fmt: skip
        scale_bar(axes, sample.pixel_size_um)
    return figure


def _whole_cells(sample):
    """[(label, closed outline (K, 2) (y, x) px)] of the cells that the border does not cut."""
    found = []
    height, width = sample.image.shape
    for label in range(1, sample.labels.max() + 1):
        cell = sample.labels == label
        rows, columns = np.nonzero(cell)
        if len(rows) < 40 or min(rows.min(), columns.min()) < 3:
            continue
        if rows.max() > height - 4 or columns.max() > width - 4:
            continue
        found.append((label, max(find_contours(np.pad(cell, 1), 0.5), key=len) - 1))
    return found


@styled
def matching_example() -> Figure:
    """One scene of points, paired by the project's rule and by three others, with the scores that each gives.

    Returns
    -------
    Figure
        The scores are computed by `match` and by `wrong_rules`.
    """
    figure = new_figure(WIDTH, 2.4)
    panels = figure.subplots(1, len(RULES))
    for axes, (name, rule) in zip(panels, RULES.items()):
        matching = rule(TRUE, PREDICTED, TOLERANCE)
        _scene(axes, matching)
        if rule in (ungated, padded):  # the pairs that it made and then threw away
            torn = [pair for pair in _ends(ungated(TRUE, PREDICTED, np.inf)) if np.ptp(pair, axis=0).max() > TOLERANCE]
            axes.add_collection(LineCollection(torn, colors=GRAY, linewidths=1.0, linestyles=":", zorder=1))
        axes.set_title(name, fontsize=8.5, color=BLUE if rule is match else BLACK)
        axes.set_xlabel(
            f"pairs {matching.tp}, false {matching.fp}, missed {matching.fn}\n"
            f"P {matching.precision:.2f}  R {matching.recall:.2f}  F1 {matching.f1:.2f}", fontsize=8,
        )  # fmt: skip
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower left", ncols=len(labels))
    return figure


def _scene(axes, matching):
    for y, x in TRUE:
        axes.add_patch(Circle((x, y), TOLERANCE, facecolor=SKY + "33", edgecolor="none"))
    ends = _ends(matching)
    axes.add_collection(LineCollection(ends, colors=BLACK, linewidths=8.0, capstyle="round", alpha=0.3, zorder=2))
    axes.plot(*TRUE.T[::-1], "o", color=BLUE, markersize=4.5, zorder=3, label=f"annotated, reach {TOLERANCE:.0f} px")
    axes.plot(*PREDICTED.T[::-1], "s", color=ORANGE, markersize=4.5, zorder=3, label="predicted")
    axes.plot([], [], color=BLACK, linewidth=8, alpha=0.3, solid_capstyle="round", label="pair")
    axes.set(xlim=(-6, 86), ylim=(74, 0), aspect="equal", xticks=[], yticks=[])
    axes.spines[:].set(visible=True, color=GRAY, linewidth=0.5)


def _ends(matching):
    """(K, 2, 2) x, y of both ends of every pair."""
    true, right = matching.pairs.T
    return np.stack([TRUE[true], PREDICTED[right]], axis=1)[:, :, ::-1]
