"""Plots of numbers."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import ArrayLike
from scipy.spatial import cKDTree

from cellcount.companion.plots.style import CYCLE, DASHES, GRAY, LIGHT, MARKERS, WIDTH, log_labels, new_figure, styled
from cellcount.data.phantom.statistics import intensity_histogram, radial_power_spectrum
from cellcount.metrics import pooled
from cellcount.types import Sample

READING_LABELS = {"whole": "whole image", "near": "near annotations"}


@styled
def tolerance_curve(rows: pd.DataFrame, *, tolerance: float | None = None) -> Figure:
    """F1 pooled over images, over the tolerance; one line for each method and reading.

    Parameters
    ----------
    rows : DataFrame of `cellcount.results.rows`, at several tolerances
    tolerance : float, px, optional
        Marked with a vertical line.

    Returns
    -------
    Figure
    """
    figure = new_figure(WIDTH, 3.1)
    axes = figure.add_subplot(xlabel="tolerance (px)", ylabel="F1, pooled", ylim=(0, 1.02))
    whole = rows[rows.part == "all"]
    for colour, (method, of_method) in zip(_cycle(CYCLE), whole.groupby("method", sort=False)):
        for dash, (reading, group) in zip(DASHES, of_method.groupby("reading", sort=False)):
            sums = group.groupby("tolerance_px")[["tp", "fp", "fn"]].sum()
            scores = [pooled(*counts)["f1"] for counts in sums.to_numpy()]
            label = f"{method}, {READING_LABELS.get(reading, reading)}"
            axes.plot(sums.index, scores, color=colour, linestyle=dash, label=label)
    if tolerance:
        axes.axvline(tolerance, color=GRAY, linewidth=0.8)
        axes.annotate(f" {tolerance:.1f} px", (tolerance, 0.02), color=GRAY, fontsize=8.5, va="bottom", ha="left")
    axes.grid(axis="y", color=LIGHT, linewidth=0.6)
    axes.set_xlim(0, None)
    axes.legend(loc="lower right")
    return figure


@styled
def loss_curve(
    losses: Mapping[str, Sequence[float] | tuple[Sequence[float], Sequence[float]]],
    *,
    ylabel: str = "loss",
    xlabel: str = "training step",
) -> Figure:
    """Loss over training, on a logarithmic scale.

    Parameters
    ----------
    losses : dict of label to (steps, values), each (K,) float; or to (K,) values, counted from 1
    xlabel, ylabel : str

    Returns
    -------
    Figure
    """
    figure = new_figure(WIDTH, 2.8)
    axes = figure.add_subplot(xlabel=xlabel, ylabel=ylabel, yscale="log")
    for (label, values), colour, dash in zip(losses.items(), _cycle(CYCLE), _cycle(DASHES)):
        steps, values = values if isinstance(values, tuple) else (np.arange(1, len(values) + 1), values)
        axes.plot(steps, values, color=colour, linestyle=dash, label=label)
    log_labels(axes.yaxis)
    axes.grid(color=LIGHT, linewidth=0.6)
    if len(losses) > 1:
        axes.legend()
    return figure


@styled
def score_dots(summary: pd.DataFrame) -> Figure:
    """Precision, recall, and F1 with its 95 % interval: one line for each method, one mark for each reading.

    Dots and not bars: a bar asks to be read from zero, and hides the interval's lower half.

    Parameters
    ----------
    summary : DataFrame of `cellcount.results.summary`, at one tolerance

    Returns
    -------
    Figure
    """
    methods = list(dict.fromkeys(summary.method))
    readings = list(dict.fromkeys(summary.reading))
    figure = new_figure(WIDTH, 1.15 + 0.42 * len(methods))
    panels = figure.subplots(1, 3, sharey=True, width_ratios=[1, 1, 2])
    titles = {"precision": "precision", "recall": "recall", "f1": "F1, with 95 % interval"}
    for axes, (score, title) in zip(panels, titles.items()):
        for shift, (reading, colour, marker) in enumerate(zip(readings, CYCLE, MARKERS)):
            part = summary[summary.reading == reading]
            y = np.array([methods.index(name) for name in part.method]) + 0.22 * (shift - (len(readings) - 1) / 2)
            if score == "f1":
                reach = [part.f1 - part.f1_low, part.f1_high - part.f1]
                axes.errorbar(part.f1, y, xerr=reach, fmt="none", ecolor=colour, elinewidth=1.2, capsize=3)
            label = READING_LABELS.get(reading, reading)
            axes.plot(part[score], y, linestyle="none", marker=marker, color=colour, markersize=4.5, label=label)
        axes.set(xlabel=title, xlim=(0, 1.02), ylim=(len(methods) - 0.5, -0.5), yticks=range(len(methods)))
        axes.set_yticklabels(methods)
        axes.grid(axis="x", color=LIGHT, linewidth=0.6)
        axes.tick_params(axis="y", length=0)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower left", ncols=len(labels))
    return figure


@styled
def counts(
    true: ArrayLike,
    predicted: "ArrayLike | dict[str, ArrayLike]",
    *,
    xlabel: str = "annotated cells",
    ylabel: str = "counted cells",
) -> Figure:
    """Counted against true cells, with the line of equality and a band of 10 % around it.

    Parameters
    ----------
    true : (K,) float, cells per image
    predicted : (K,) float, or dict of method to (K,) float

    Returns
    -------
    Figure
    """
    methods = predicted if isinstance(predicted, dict) else {"": predicted}
    figure = new_figure(4.6, 3.6)
    axes = figure.add_subplot(xlabel=xlabel, ylabel=ylabel, aspect="equal")
    true = np.asarray(true, float)
    top = 1.08 * max(true.max(initial=1.0), *(np.max(values, initial=1.0) for values in methods.values()))
    low, high = [0, 0.9 * top], [0, 1.1 * top]
    axes.fill_between([0, top], low, high, color=LIGHT, alpha=0.7, linewidth=0, label="within 10 %")
    axes.plot([0, top], [0, top], color=GRAY, linewidth=0.9, label="equal")
    for (name, values), colour, marker in zip(methods.items(), _cycle(CYCLE), _cycle(MARKERS)):
        axes.plot(true, values, linestyle="none", marker=marker, color=colour, markersize=6, label=name or None)
    axes.set(xlim=(0, top), ylim=(0, top))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(5, integer=True))
    figure.legend(loc="outside right upper")
    return figure


@styled
def nearest_neighbours(samples: Sequence[Sample]) -> Figure:
    """How far each annotated cell is from the next: one line for each sample, its median marked below.

    Parameters
    ----------
    samples : list of Sample with at least two points each

    Returns
    -------
    Figure
        In px, with um above where all samples have the same size of a pixel.
    """
    figure = new_figure(WIDTH, 3.0)
    axes = figure.add_subplot(xlabel="distance to the nearest other cell (px)", ylabel="share of cells per px")
    distances = [cKDTree(s.points).query(s.points, k=2)[0][:, 1] for s in samples]
    width = max(1.0, round(np.median(np.concatenate(distances)) / 12))  # px, of a bin: a dozen below the median
    edges = np.arange(0, np.quantile(np.concatenate(distances), 0.995) + width, width)
    for sample, values, colour, dash in zip(samples, distances, _cycle(CYCLE), _cycle(DASHES)):
        share = np.histogram(values, edges)[0] / len(values) / width
        median = np.median(values)
        label = f"{sample.name}: median {median:.1f} px"
        axes.stairs(share, edges, color=colour, linestyle=dash, linewidth=1.5, label=label)
        axes.plot(median, 0, marker="^", markersize=7, color=colour, clip_on=False, zorder=3)
    axes.set(xlim=(0, edges[-1]), ylim=(0, None))
    sizes = {s.pixel_size_um for s in samples}
    if len(sizes) == 1 and None not in sizes:
        (size,) = sizes
        upper = axes.secondary_xaxis("top", functions=(lambda px: px * size, lambda um: um / size))
        upper.set_xlabel("(µm)", loc="right")
    axes.legend()
    return figure


@styled
def intensity_and_spectrum(groups: Mapping[str, Sequence[Sample]]) -> Figure:
    """Histogram of the intensities and radial power spectrum of groups of samples, the middle line of each group bold.

    Parameters
    ----------
    groups : dict of label to list of Sample
        Thin lines are single samples, bold ones the group's mean (of the logarithms, for the spectrum).

    Returns
    -------
    Figure
        Intensities in gray values of 255; frequencies in cycles per px.
    """
    figure = new_figure(WIDTH, 3.1)
    left, right = figure.subplots(1, 2)
    left.set(xlabel="gray value (of 255)", ylabel="share of pixels", xlim=(0, 255))
    left.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    right.set(xlabel="spatial frequency (cycles per px)", ylabel="power (gray value² px²)", xscale="log", yscale="log")
    tile = min([256, *(side for samples in groups.values() for sample in samples for side in sample.image.shape)])
    for (label, samples), colour, dash in zip(groups.items(), _cycle(CYCLE), _cycle(DASHES)):
        histograms = [intensity_histogram(sample.image) for sample in samples]
        spectra = [radial_power_spectrum(sample.image, tile) for sample in samples]
        for axes, lines, mean in ((left, histograms, np.mean), (right, spectra, _geometric_mean)):
            for x, y in lines if len(lines) > 1 else []:
                axes.plot(x, y, color=colour, linewidth=0.6, alpha=0.45)
            middle = mean([y for _, y in lines], axis=0)
            axes.plot(lines[0][0], middle, color=colour, linestyle=dash, linewidth=2, label=label)
    left.set_ylim(0, None)
    right.set_xticks([0.01, 0.03, 0.1, 0.3], ["0.01", "0.03", "0.1", "0.3"])
    right.minorticks_off()
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower left", ncols=max(1, len(labels)))
    return figure


def _geometric_mean(values, axis):
    return np.exp(np.mean(np.log(values), axis=axis))


def _cycle(values):
    while True:
        yield from values
