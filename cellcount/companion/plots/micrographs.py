"""Images with marks on them."""

from collections.abc import Sequence

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from scipy.spatial import cKDTree

from cellcount.companion.plots.style import GREEN, SKY, VERMILLION, WIDTH, mark, new_figure, scale_bar, show, styled
from cellcount.metrics import match, near
from cellcount.types import Prediction, Sample


@styled
def field(
    sample: Sample,
    prediction: Prediction | None = None,
    *,
    window: tuple[int, int, int, int] | None = None,
    boxes: bool = False,
    valid: bool = False,
    width: float = WIDTH,
) -> Figure:
    """One micrograph with what is known of it.

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
    _, _, rows, columns = window or (0, 0, *sample.image.shape)
    figure = new_figure(width, width * rows / columns + 0.45)
    axes = figure.add_subplot()
    show(axes, sample.image, title=sample.name, window=window)
    if valid:
        _tint(axes, ~sample.valid)
    if boxes and sample.boxes is not None:
        for number, (y0, x0, y1, x1) in enumerate(sample.boxes):
            label = None if number else "box"
            axes.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, color=GREEN, linewidth=1.0, label=label))
    size = float(np.clip(6 * 640 / columns * width / WIDTH, 2.5, 8))
    if sample.points is not None:
        mark(axes, sample.points, "annotated", size=size, label="live cell")
        if len(sample.dead):
            mark(axes, sample.dead, "dead", size=size, label="dead cell or debris")
    if prediction is not None:
        mark(axes, prediction.points, "predicted", size=size, label="predicted")
    scale_bar(axes, sample.pixel_size_um)
    _legend(figure, axes)
    return figure


@styled
def gallery(
    samples: Sequence[Sample],
    *,
    columns: int = 4,
    side: int | None = None,
    titles: Sequence[str] | None = None,
    points: bool = False,
) -> Figure:
    """Several fields side by side, all with the same gray values from black to white.

    Parameters
    ----------
    samples : list of Sample
    columns : int
    side : int, px, optional
        Show only the middle side x side px of each; whole fields unless given.
    titles : list of str, optional
        Names of the samples unless given.
    points : bool
        Mark the annotated cells.

    Returns
    -------
    Figure
    """
    columns = min(columns, len(samples))
    rows = -(-len(samples) // columns)
    ratio = 1.0 if side else max(s.image.shape[0] / s.image.shape[1] for s in samples)
    figure = new_figure(WIDTH, rows * (WIDTH / columns * ratio + 0.25))
    for place, sample in enumerate(samples):
        axes = figure.add_subplot(rows, columns, place + 1)
        show(axes, sample.image, title=titles[place] if titles else sample.name, window=_middle(sample, side))
        if points and sample.points is not None:
            mark(axes, sample.points, "annotated", size=3, width=0.9)
        scale_bar(axes, sample.pixel_size_um)
    return figure


@styled
def outcome(
    sample: Sample,
    prediction: Prediction,
    tolerance: float,
    *,
    window: tuple[int, int, int, int] | None = None,
    width: float = WIDTH,
) -> Figure:
    """How the metric judges each point: found, missed, false near the annotation, false away from it.

    A thin line joins a found cell's annotated point to the prediction that found it.

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
    groups = {
        "found": prediction.points[matching.pairs[:, 1]],
        "missed": sample.points[missed],
        "false, near": prediction.points[false[close]],
        "false, away": prediction.points[false[~close]],
    }
    _, _, rows, columns = window or (0, 0, *sample.image.shape)
    figure = new_figure(width, width * rows / columns + 0.5)
    axes = figure.add_subplot()
    show(axes, sample.image, window=window)
    true, right = matching.pairs.T
    ends = np.stack([sample.points[true], prediction.points[right]], axis=1)[:, :, ::-1]
    axes.add_collection(LineCollection(ends, colors=SKY, linewidths=1.0))
    size = float(np.clip(7 * 480 / columns * width / WIDTH, 2.5, 9))
    for kind, points in groups.items():
        mark(axes, points, kind, size=size, width=1.3, label=f"{kind} ({len(points):,})")
    scale_bar(axes, sample.pixel_size_um)
    _legend(figure, axes)
    return figure


def _judged(sample, prediction, tolerance):
    """The Matching, and the indices of the false predictions and of the missed cells."""
    matching = match(sample.points, prediction.points, tolerance)
    true, right = matching.pairs.T
    false, missed = np.arange(len(prediction.points)), np.arange(len(sample.points))
    return matching, np.delete(false, right), np.delete(missed, true)


@styled
def worst(sample: Sample, prediction: Prediction, tolerance: float, *, number: int = 6, side: int = 72) -> Figure:
    """The worst errors of a field, chosen by rule.

    Above: false points, the surest first. Below: missed cells, those farthest from any prediction first.

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
    false = false[np.argsort(-prediction.scores[false], kind="stable")][:number]
    distance = np.full(len(missed), np.inf)
    if len(prediction.points):
        distance = cKDTree(prediction.points).query(sample.points[missed])[0]
    order = np.argsort(-distance, kind="stable")[:number]
    rows = [
        ("false", prediction.points[false], [f"score {s:.2f}" for s in prediction.scores[false]]),
        ("missed", sample.points[missed[order]], [f"{d:.0f} px away" for d in distance[order]]),
    ]
    figure = new_figure(WIDTH, 2 * (WIDTH / number + 0.25) + 0.2)
    for row, (kind, centres, titles) in enumerate(rows):
        for column in range(number):
            axes = figure.add_subplot(2, number, row * number + column + 1)
            if column >= len(centres):
                axes.set_axis_off()
                continue
            _crop(axes, sample, prediction, centres[column], side, titles[column])
            if column == 0:
                axes.set_ylabel(kind)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside lower left", ncols=len(labels))
    return figure


def _crop(axes, sample, prediction, centre, side, title):
    y, x = np.rint(centre).astype(int) - side // 2
    axes.set_facecolor("#BBBBBB")  # beyond the image's border
    show(axes, sample.image, title=title, window=(y, x, side, side))
    mark(axes, sample.points, "annotated", size=6, label="annotated")
    mark(axes, prediction.points, "predicted", size=6, label="predicted")


def _middle(sample, side):
    if side is None:
        return None
    height, width = sample.image.shape
    rows, columns = min(side, height), min(side, width)
    return (height - rows) // 2, (width - columns) // 2, rows, columns


def _tint(axes, region):
    red, green, blue = (int(VERMILLION[i : i + 2], 16) / 255 for i in (1, 3, 5))
    layer = np.zeros((*region.shape, 4), np.float32)
    layer[region] = (red, green, blue, 0.45)
    axes.imshow(layer, extent=(-0.5, region.shape[1] - 0.5, region.shape[0] - 0.5, -0.5), interpolation="nearest")
    axes.plot([], [], "s", color=(red, green, blue, 0.6), label="not trusted")


def _legend(figure, axes):
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside lower left", ncols=len(labels), handletextpad=0.3)
