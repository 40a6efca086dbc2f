"""Drawings: kinds of labels with their clicks, and rules that match points."""

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Circle
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
        if kind == "box":
            style.boxes(axes, clicks, color=style.SKY, linewidth=1.3)
        for points in clicks if kind == "mask" else ():
            axes.fill(*points.T[::-1], facecolor=style.SKY + "55", edgecolor=style.SKY, linewidth=1.3)
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
    figure = style.new_figure(height=2.4)
    for axes, (name, rule) in zip(figure.subplots(1, len(RULES)), RULES.items()):
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
