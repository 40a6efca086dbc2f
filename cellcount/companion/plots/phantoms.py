"""Figures of the chapter on phase contrast: steps of the simulation, discs, and simulated beside real fields."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from scipy.stats import gmean

from cellcount.companion.plots import style
from cellcount.companion.plots.style import Range


@style.styled
def stages(
    labels: np.ndarray,
    phase: np.ndarray,
    beside: np.ndarray,
    caught: np.ndarray,
    intensity: np.ndarray,
    photograph: np.ndarray,
    pixel_size_um: float | None = None,
) -> Figure:
    """The steps from cells to a photograph.

    Parameters
    ----------
    labels : (H, W) int
        Cells; 0 is background.
    phase : (H, W) float, rad
    beside, caught : (H, W) complex
        Light beside and through the phase ring, of `optics.split_light`.
    intensity : (H, W) float
        1 is the empty field.
    photograph : (H, W) float in [0, 1]
    pixel_size_um : float, optional

    Returns
    -------
    Figure
    """
    height, width = phase.shape
    grays = np.random.default_rng(0).permutation(np.linspace(0.35, 1, labels.max() + 1))
    grays[0] = 0
    steps = [
        ("1  cells", grays[labels], (0, 1)),
        ("2  phase φ (rad)", phase, (0, np.quantile(phase, 0.998))),
        ("3  through the ring, |L|", np.abs(caught), (np.quantile(np.abs(caught), 0.002), 1)),
        ("4  beside the ring, |t − L|", np.abs(beside), (0, np.quantile(np.abs(beside), 0.998))),
        ("5  intensity I", intensity, (0.4, 1.8)),
        ("6  photograph", photograph, (0, 1)),
    ]
    figure, places = style.panels(len(steps), 3, 0.785 * height / width, title=0.3)
    for axes, (title, image, value_range) in zip(places, steps):
        style.show(axes, image, value_range=value_range, title=title)
        bar = figure.colorbar(axes.images[0], ax=axes, fraction=0.05, pad=0.02)
        bar.outline.set_visible(False)
        bar.ax.tick_params(labelsize=7)
        bar.ax.set_visible(axes is not places[0])  # gray values of cells have no meaning; the space keeps panels equal
    style.scale_bar(places[-1], pixel_size_um)
    return figure


@style.styled
def disc_profiles(profiles: Sequence[tuple[str, np.ndarray, float, np.ndarray, np.ndarray]]) -> Figure:
    """Phase and intensity along a line through discs, with halo and shade-off marked.

    Parameters
    ----------
    profiles : list of (title, x (K,) px from the middle, radius px, phase (K,) rad, intensity (K,))

    Returns
    -------
    Figure
    """
    widths = [len(x) ** 0.5 for _, x, *_ in profiles]  # a wide disc gets more room, though not at the same scale
    top = 1.1 * max(intensity.max() for *_, intensity in profiles)
    sizes = {"width_ratios": widths, "height_ratios": [1, 2]}
    figure, panels = style.subplots(3.6, 2, len(profiles), sharex="col", sharey="row", **sizes)
    for (upper, lower), (title, x, radius, phase, intensity) in zip(panels.T, profiles, strict=True):
        upper.plot(x, phase, color=style.BLUE)
        upper.set(title=title)
        lower.axhline(1, color=style.LIGHT, linewidth=0.8)
        lower.axvspan(-radius, radius, color=style.LIGHT, alpha=0.45, linewidth=0)
        lower.plot(x, intensity, color=style.VERMILLION)
        lower.set(xlabel="distance from the middle (px)", xlim=(x[0], x[-1]), ylim=(0, top))
        outside = np.flatnonzero(x > radius)
        _point(lower, x[outside], intensity[outside], np.argmax(intensity[outside]), "halo", (6, 4))
    inside = np.flatnonzero(np.abs(x) <= radius)
    _point(lower, x[inside], intensity[inside], len(inside) // 2, "shade-off", (-24, 14))
    panels[0, 0].set_ylabel("phase (rad)")
    panels[1, 0].set_ylabel("intensity")
    return figure


def _point(axes, x, y, index, text, offset):
    axes.plot(x[index], y[index], "o", color=style.GRAY, markersize=4)
    axes.annotate(text, (x[index], y[index]), offset, textcoords="offset points", color=style.GRAY, fontsize=8.5)


@style.styled
def brightness(
    phases: np.ndarray, middle: np.ndarray, rim: np.ndarray, linear: np.ndarray, *, spread: Range, rounded: Range
) -> Figure:
    """Intensity in the middle of a disc and on the background beside it, over the phase of the disc.

    Parameters
    ----------
    phases, middle, rim, linear : (K,) float
        Phase in rad; intensities of the middle, of the background beside the disc, and of the middle in the
        approximation for small phases.
    spread, rounded : (low, high) rad
        Phases of spread and of rounded cells, shaded.

    Returns
    -------
    Figure
    """
    top = 1.08 * max(middle.max(), rim.max())
    labels = {"xlabel": "phase of the disc (rad)", "ylabel": "intensity", "xlim": (0, phases[-1]), "ylim": (0, top)}
    figure, axes = style.plot(cycle=style.LINES, **labels)
    for (low, high), text in ((spread, "spread cells"), (rounded, "rounded cells")):
        axes.axvspan(low, high, color=style.LIGHT, alpha=0.6, linewidth=0)
        axes.text((low + high) / 2, 1.02 * top, text, ha="center", color=style.GRAY, fontsize=8.5)
    curves = {"middle": middle, "background beside it": rim, "middle, small phases": linear}
    style.lines(axes, {label: (phases, values) for label, values in curves.items()})
    axes.axhline(1, color=style.GRAY, linewidth=0.6, zorder=1.5)
    axes.set_xticks(np.arange(0, 2.01 * np.pi, np.pi / 2), ["0", "π/2", "π", "3π/2", "2π"])
    return style.legend(figure, "outside right upper")


@style.styled
def likeness(frame: pd.DataFrame) -> Figure:
    """Histogram and radial power spectrum of groups of fields: thin lines are fields, bold ones their mean.

    Parameters
    ----------
    frame : DataFrame of `cellcount.companion.studies.likeness.measure`

    Returns
    -------
    Figure
        Bold is the mean over the fields, of the spectra the geometric one.
    """
    figure, (left, right) = style.subplots(3.3, 1, 2)
    for (label, group), look in zip(frame.groupby("group", sort=False), style.LINES()):
        for axes, quantity, mean in ((left, "histogram", np.mean), (right, "spectrum", gmean)):
            part = group[group.quantity == quantity]
            for _, one in part.groupby("image") if part.image.nunique() > 1 else ():
                axes.plot(one.x, one.value, color=look["color"], linewidth=0.5, alpha=0.4)
            middle = part.groupby("x").value.agg(mean)
            axes.plot(middle.index, middle, linewidth=2, label=label, **look)
    left.set(xlabel="gray value (of 255)", ylabel="share of pixels", xlim=(0, 255), ylim=(0, None))
    left.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    right.set(xlabel="spatial frequency (cycles per px)", ylabel="power (gray value² px²)")
    right.set(xscale="log", yscale="log")
    right.set_xticks([0.01, 0.03, 0.1, 0.3], ["0.01", "0.03", "0.1", "0.3"])
    right.minorticks_off()
    return style.legend(figure)
