"""Figures of the chapter on tasks and metrics: answers of a perfect network, and curves of precision over recall."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from cellcount.companion.plots import style
from cellcount.companion.plots.outlines import outline
from cellcount.companion.studies.tasks import bounding_boxes
from cellcount.methods.cellnet.targets import heatmap, volume
from cellcount.methods.pixels import peaks
from cellcount.metrics import covered
from cellcount.types import Prediction, Sample


@style.styled
def task_answers(sample: Sample, counts: Mapping[str, float], *, sigma: float, distance: float) -> Figure:
    """What a perfect network would answer in each of six tasks, and the count that follows.

    Parameters
    ----------
    sample : Sample with masks
    counts : dict of answer to cells, from `studies.tasks.perfect_counts`
    sigma : float, px
        Width of the Gaussians of heatmap and density.
    distance : float, px
        Between two peaks.

    Returns
    -------
    Figure
    """
    figure, (boxes, masks, area, heat, density, number) = style.panels(6, 3, title=0.4)
    whole = counts["cells"]
    style.view(boxes, sample, title=f"detection\n{counts['boxes']} boxes")
    style.boxes(boxes, bounding_boxes(sample.labels), color=style.SKY, linewidth=1.1)
    style.view(masks, sample, title=f"instance segmentation\n{counts['masks']} masks")
    outline(sample.labels, [style.SKY] * int(sample.labels.max() + 1), masks)
    style.view(
        area,
        sample,
        title=f"semantic segmentation\n{counts['area']} connected region{'s' if counts['area'] != 1 else ''}",
    )
    style.tint(area, covered(sample), style.SKY)
    answer = heatmap(sample.points, sample.image.shape, sigma)
    style.show(heat, answer, title=f"heatmap (key points)\n{counts['peaks']} peaks")
    found = peaks(answer, threshold=0.5, distance=distance)[0]
    style.mark(heat, found, "predicted", size=6)
    per_pixel = answer / volume(sigma)
    style.show(
        density, per_pixel, value_range=(0, per_pixel.max()), title=f"density\nsum {counts['density']:.1f} cells"
    )
    for axes in (heat, density):
        axes.images[0].set_cmap("viridis")
    middle = np.array(sample.image.shape) // 2
    text = {"color": "white", "va": "center", "path_effects": style.halo(1.5)}
    for i, rows in enumerate((slice(middle[0]), slice(middle[0], None))):
        for j, columns in enumerate((slice(middle[1]), slice(middle[1], None))):
            corner = {"x": 0.03 + 0.94 * j, "y": 0.94 - 0.88 * i, "ha": ("left", "right")[j]}
            density.text(s=f"{per_pixel[rows, columns].sum():.1f}", transform=density.transAxes, **corner, **text)
    for line, at in ((density.axhline, middle[0]), (density.axvline, middle[1])):
        line(at - 0.5, color="white", linewidth=0.9, linestyle=(0, (4, 3)))
    style.view(number, sample, title=f"regression of the count\nthe number {whole}")
    large = {"color": "white", "fontsize": 34, "ha": "center", "va": "center", "path_effects": style.halo(2.5)}
    number.text(0.5, 0.5, f"{whole}", transform=number.transAxes, **large)
    return figure


@style.styled
def precision_recall(curves: Mapping[str, pd.DataFrame], areas: Mapping[str, float]) -> Figure:
    """Precision over recall of several answers; the last point of each has all of its predictions.

    Parameters
    ----------
    curves : dict of name to DataFrame from `studies.tasks.ranked`
    areas : dict of name to average precision

    Returns
    -------
    Figure
        Thin lines join the points of equal F1.
    """
    figure, axes = style.plot(4.6, 3.4, style.LINES, xlabel="recall", ylabel="precision")
    recall = np.linspace(0.02, 1, 200)
    for level in (0.2, 0.4, 0.6, 0.8):
        part = recall > level / (2 - level)  # elsewhere no precision is high enough
        axes.plot(
            recall[part], level * recall[part] / (2 * recall[part] - level), "-", color=style.LIGHT, linewidth=0.9
        )
        axes.annotate(f"F1 {level:g}", (1, level / (2 - level)), (3, 0), textcoords="offset points", va="center",
                      color=style.GRAY, fontsize=7.5, annotation_clip=False)  # fmt: skip
    axes.set_prop_cycle(style.LINES)
    for name, curve in curves.items():
        (line,) = axes.plot(curve.recall, curve.precision, label=f"{name}: AP {areas[name]:.2f}")
        axes.plot(curve.recall.iloc[-1:], curve.precision.iloc[-1:], "o", color=line.get_color(), markersize=6)
    axes.set(xlim=(0, 1), ylim=(0, 1.03))
    return style.legend(figure)


@style.styled
def right_count(sample: Sample, prediction: Prediction, *, window: style.Window) -> Figure:
    """A part of a field with its cells, and with predicted points none of which is on a cell.

    sample : Sample with points; prediction : Prediction; window : (y, x, height, width) px. Returns the Figure.
    """
    y, x, height, width = window
    figure, axes = style.micrograph(sample, window=window, width=5.0)
    for points, kind, label in ((sample.points, "annotated", "cell"), (prediction.points, "false, near", "predicted")):
        inside = ((points >= [y, x]) & (points <= [y + height - 1, x + width - 1])).all(axis=1)
        style.mark(axes, points[inside], kind, size=6, label=f"{label}: {len(points)} in the whole field")
    return style.legend(figure)
