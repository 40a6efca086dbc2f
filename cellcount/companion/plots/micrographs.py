"""Micrographs with marks on them."""

from collections.abc import Sequence

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from scipy.spatial.distance import cdist

from cellcount.companion.plots import style
from cellcount.metrics import match, near, scored
from cellcount.types import Prediction, Sample


@style.styled
def field(
    sample: Sample,
    prediction: Prediction | None = None,
    *,
    window: style.Part = None,
    boxes: bool = False,
    valid: bool = False,
    width: float = style.WIDTH,
) -> Figure:
    """One field of view with its annotation.

    Parameters
    ----------
    sample : Sample
    prediction : Prediction, optional
        Its points are marked, too.
    window : (y, x, height, width) px, optional
        The part to show.
    boxes : bool
        Draw the annotated boxes.
    valid : bool
        Tint what lies outside of the trusted region.
    width : float, inch

    Returns
    -------
    Figure
    """
    figure, axes = style.micrograph(sample, window=window, title=sample.name, width=width)
    if valid:
        style.tint(axes, ~sample.valid, style.VERMILLION)
        axes.plot([], [], "s", color=style.VERMILLION, alpha=0.6, label="not trusted")
    if boxes and sample.boxes is not None:
        style.boxes(axes, sample.boxes, color=style.GREEN, linewidth=1.0, label="box")
    size = _mark_size(axes, 6 * 640 * width / style.WIDTH)
    if sample.points is not None:
        style.mark(axes, sample.points, "annotated", size=size, label="live cell")
        if len(sample.dead):
            style.mark(axes, sample.dead, "dead", size=size, label="dead cell or debris")
    if prediction is not None:
        style.mark(axes, prediction.points, "ring", size=1.6 * size, label="found")
    return style.legend(figure)


@style.styled
def gallery(
    samples: Sequence[Sample],
    *,
    columns: int = 4,
    side: int | None = None,
    titles: Sequence[str] | None = None,
    points: bool = False,
) -> Figure:
    """Several fields side by side, with the same gray values from black to white.

    Parameters
    ----------
    samples : list of Sample
    columns : int
    side : int, px, optional
        Show only the central side x side px of each; default: whole fields.
    titles : list of str, optional
        Default: the samples' names.
    points : bool
        Mark the annotated cells.

    Returns
    -------
    Figure
    """
    ratio = 1.0 if side else max(s.image.shape[0] / s.image.shape[1] for s in samples)
    figure, places = style.panels(len(samples), columns, ratio)
    for axes, sample, title in zip(places, samples, titles or [sample.name for sample in samples]):
        height, width = (min(side or length, length) for length in sample.image.shape)
        corner = ((whole - part) // 2 for whole, part in zip(sample.image.shape, (height, width)))
        style.view(axes, sample, title=title, window=(*corner, height, width))
        if points and sample.points is not None:
            style.mark(axes, sample.points, "annotated", size=6, width=1.2)
    return figure


@style.styled
def outcome(
    sample: Sample, prediction: Prediction, tolerance: float, *, window: style.Part = None, width: float = style.WIDTH
) -> Figure:
    """How the metric judges each point: found, missed, false near the annotation, false away from it.

    A thin line joins the annotated point of a found cell to its prediction.

    Parameters
    ----------
    sample : Sample with points
    prediction : Prediction
    tolerance : float, px
    window : (y, x, height, width) px, optional
        The part to show. The matching, and the numbers in the legend, are those of the whole field.
    width : float, inch

    Returns
    -------
    Figure
        The marks of each kind are one line artist, whose gid is its name in `style.MARKS`.
    """
    matching, false, missed = _judged(sample, prediction, tolerance)
    close = near(prediction.points[false], sample.points)
    true, right = matching.pairs.T
    figure, axes = style.micrograph(sample, window=window, width=width)
    ends = np.stack([sample.points[true], prediction.points[right]], axis=1)[:, :, ::-1]
    axes.add_collection(LineCollection(ends, colors=style.SKY, linewidths=1.0))
    size = _mark_size(axes, 7 * 480 * width / style.WIDTH, largest=9)
    for kind, points in {
        "found": prediction.points[right],
        "missed": sample.points[missed],
        "false, near": prediction.points[false[close]],
        "false, away": prediction.points[false[~close]],
    }.items():
        style.mark(axes, points, kind, size=size, width=1.3, label=f"{kind} ({len(points):,})")
    return style.legend(figure)


def _mark_size(axes, wanted, largest=8):
    """Size of marks, pt: smaller where more of a field is shown."""
    return float(np.clip(wanted / np.ptp(axes.get_xlim()), 2.5, largest))


def _judged(sample, prediction, tolerance):
    """The Matching, and the indices of the false predictions and of the missed cells."""
    matching = match(sample.points, prediction.points, tolerance)
    true, right = matching.pairs.T
    false = scored(sample, prediction.points, tolerance)
    false[right] = False
    return matching, np.flatnonzero(false), np.delete(np.arange(len(sample.points)), true)


@style.styled
def worst(sample: Sample, prediction: Prediction, tolerance: float, *, number: int = 6, side: int = 72) -> Figure:
    """The worst errors of a field, chosen by rule.

    Above: false points, highest score first. Below: missed cells, farthest from any prediction first.

    Parameters
    ----------
    sample : Sample with points
    prediction : Prediction
    tolerance : float, px
    number : int
        Errors of each kind.
    side : int, px
        Side of each crop.

    Returns
    -------
    Figure
    """
    _, false, missed = _judged(sample, prediction, tolerance)
    false = false[np.argsort(-prediction.scores[false], kind="stable")]
    distance = cdist(sample.points[missed], prediction.points).min(axis=1, initial=np.inf)
    farthest = np.argsort(-distance, kind="stable")
    rows = {"false": [(prediction.points[i], f"score {prediction.scores[i]:.2f}") for i in false]}
    rows["missed"] = [(sample.points[missed[i]], f"{distance[i]:.0f} px away") for i in farthest]
    figure, places = style.crops(sample, rows, number, side)
    for axes in places:
        style.mark(axes, sample.points, "annotated", size=6, label="annotated")
        style.mark(axes, prediction.points, "predicted", size=6, label="predicted")
    return style.legend(figure)


@style.styled
def target(sample: Sample, *, sigma: float, window: style.Window) -> Figure:
    """What CellNet learns from a part of a field: annotated points, the trusted region, and the target heatmap.

    Parameters
    ----------
    sample : Sample with points
    sigma : float, px
        Width of the Gaussians.
    window : (y, x, height, width) px

    Returns
    -------
    Figure
    """
    from cellcount.methods.cellnet.targets import heatmap  # here, as no other figure depends on CellNet

    part = sample.crop(*window)
    figure, (clicks, trusted, learned) = style.subplots(style.WIDTH / 3 * window[2] / window[3] + 0.35, 1, 3)
    style.view(clicks, part, title="image and clicks")
    style.mark(clicks, part.points, "annotated", size=5)
    style.show(trusted, part.image * np.where(part.valid, 1.0, 0.35), title="where the clicks are trusted")
    style.show(learned, heatmap(part.points, part.image.shape, sigma), title="target")
    learned.images[0].set_cmap("viridis")
    figure.colorbar(learned.images[0], ax=learned, shrink=0.85, label="share of a full peak")
    return figure
