"""Figures of the chapter on phase contrast, and the numbers that compare simulated with real fields.

`python -m cellcount.plots.phantoms results/phantom-likeness.csv` measures the thesis' fields again. The file holds
numbers only: it stands in for the fields where they must not be shown or are not at hand.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.ticker import PercentFormatter
from scipy.stats import gmean

from cellcount.data import phantom, thesis
from cellcount.files import replacing
from cellcount.plots.style import (
    BLUE, CYCLE, DASHES, GRAY, LIGHT, VERMILLION, WIDTH, new_figure, scale_bar, show, styled,
)  # fmt: skip

# Thesis fields at 20x. Image 4 gives its pixels only: its points are held out.
FIELDS = {"thesis, colonies": ("1", "2", "3", "4"), "thesis, sheets": ("5", "6", "10", "15")}
BANDS = (256, 64, 32, 16, 8, 4, 2)  # px, periods between which the spectra are compared


def disc(radius, phase, side):
    """A round, flat cell: (side, side) float64, rad. `radius` px, `phase` rad; the border pixels are partly covered."""
    y, x = np.indices((side, side)) - side // 2
    return phase * np.clip(radius + 0.5 - np.hypot(y, x), 0, 1)


def measure(samples, group):
    """Density, spacing, size, intensity, histogram and spectrum of samples.

    Parameters
    ----------
    samples : iterable of Sample
    group : str

    Returns
    -------
    DataFrame
        Tidy, with the columns `group`, `image`, `quantity`, `x`, `value`. Quantities are those of `phantom.describe`
        (without x), "histogram" (x gray value of 255, value share of the pixels) and "spectrum" (x cycles per px,
        value power in gray value^2 px^2).
    """
    rows = []
    for sample in samples:
        key = (group, sample.name)
        rows += [(*key, name, np.nan, value) for name, value in phantom.describe(sample).items()]
        rows += [(*key, "histogram", x, y) for x, y in zip(*phantom.intensity_histogram(sample.image), strict=True)]
        rows += [(*key, "spectrum", x, y) for x, y in zip(*phantom.radial_power_spectrum(sample.image), strict=True)]
    return pd.DataFrame(rows, columns=["group", "image", "quantity", "x", "value"])


def summary(frame):
    """What `measure` describes, as the median over a group's images: DataFrame, quantities x groups, NaN if unknown."""
    described = frame[frame.x.isna()]
    table = described.groupby(["quantity", "group"], sort=False).value.median().unstack("group")
    return table.reindex(index=described.quantity.unique(), columns=frame.group.unique())


def band_ratios(frame, pairs):
    """Power of simulated over that of real fields, by the period of the fluctuations.

    Parameters
    ----------
    frame : DataFrame of `measure`
    pairs : list of (group, reference group)

    Returns
    -------
    DataFrame
        Column "period (px)", and one column for each group: the ratio of the two geometric means, NaN where the
        fields are too small to tell.
    """
    spectrum = frame[frame.quantity == "spectrum"]
    bands = list(zip(BANDS[:-1], BANDS[1:], strict=True))

    def level(group, band):
        part = spectrum[(spectrum.group == group) & (spectrum.x >= 1 / band[0]) & (spectrum.x < 1 / band[1])]
        return np.log(part.value).mean()

    ratios = {group: [np.exp(level(group, band) - level(other, band)) for band in bands] for group, other in pairs}
    return pd.DataFrame({"period (px)": [f"{low}–{high}" for low, high in bands], **ratios})


@styled
def stages(labels, phase, beside, caught, intensity, photograph, pixel_size_um=None):
    """From cells to a photograph in six panels.

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
    figure = new_figure(WIDTH, 2 * (0.262 * WIDTH * height / width + 0.3))
    grays = np.random.default_rng(0).permutation(np.linspace(0.35, 1, labels.max() + 1))
    grays[0] = 0
    panels = [
        ("1  cells", grays[labels], (0, 1)),
        ("2  phase φ (rad)", phase, (0, np.quantile(phase, 0.998))),
        ("3  through the ring, |L|", np.abs(caught), (np.quantile(np.abs(caught), 0.002), 1)),
        ("4  beside the ring, |t − L|", np.abs(beside), (0, np.quantile(np.abs(beside), 0.998))),
        ("5  intensity I", intensity, (0.4, 1.8)),
        ("6  photograph", photograph, (0, 1)),
    ]
    for axes, (title, image, value_range) in zip(figure.subplots(2, 3).flat, panels, strict=True):
        show(axes, image, value_range=value_range, title=title)
        bar = figure.colorbar(axes.images[0], ax=axes, fraction=0.05, pad=0.02)
        bar.outline.set_visible(False)
        bar.ax.tick_params(labelsize=7)
        if title.startswith("1"):
            bar.ax.set_visible(False)  # these grays only tell neighbours apart; the room keeps the panels alike
    scale_bar(axes, pixel_size_um)
    return figure


@styled
def disc_profiles(profiles):
    """Phase and intensity along a line through discs, with the halo and the shade-off marked.

    Parameters
    ----------
    profiles : list of (title, x (K,) px from the middle, radius px, phase (K,) rad, intensity (K,))

    Returns
    -------
    Figure
    """
    figure = new_figure(WIDTH, 3.6)
    widths = [len(x) ** 0.5 for _, x, *_ in profiles]  # a wide disc gets more room, though not at the same scale
    top = 1.1 * max(intensity.max() for *_, intensity in profiles)
    panels = figure.subplots(
        2, len(profiles), sharex="col", sharey="row", gridspec_kw={"width_ratios": widths, "height_ratios": [1, 2]}
    )
    for (upper, lower), (title, x, radius, phase, intensity) in zip(panels.T, profiles, strict=True):
        upper.plot(x, phase, color=BLUE)
        upper.set(title=title)
        lower.axhline(1, color=LIGHT, linewidth=0.8)
        lower.axvspan(-radius, radius, color=LIGHT, alpha=0.45, linewidth=0)
        lower.plot(x, intensity, color=VERMILLION)
        lower.set(xlabel="distance from the middle (px)", xlim=(x[0], x[-1]), ylim=(0, top))
        outside = np.flatnonzero(x > radius)
        _point(lower, x[outside], intensity[outside], np.argmax(intensity[outside]), "halo", (6, 4))
    inside = np.flatnonzero(np.abs(x) <= radius)
    _point(lower, x[inside], intensity[inside], len(inside) // 2, "shade-off", (-24, 14))
    panels[0, 0].set_ylabel("phase (rad)")
    panels[1, 0].set_ylabel("intensity")
    return figure


def _point(axes, x, y, index, text, offset):
    axes.plot(x[index], y[index], "o", color=GRAY, markersize=4)
    axes.annotate(text, (x[index], y[index]), offset, textcoords="offset points", color=GRAY, fontsize=8.5)


@styled
def brightness(phases, middle, rim, linear, *, spread, rounded):
    """How bright the middle of a disc and the ground beside it are, over the phase of the disc.

    Parameters
    ----------
    phases, middle, rim, linear : (K,) float
        Phase in rad; intensities of the middle, of the ground just outside, and of the middle in the small-phase form.
    spread, rounded : (low, high) rad
        Phases of spread and of rounded cells: shaded.

    Returns
    -------
    Figure
    """
    figure = new_figure(WIDTH, 2.9)
    top = 1.08 * max(middle.max(), rim.max())
    axes = figure.add_subplot(xlabel="phase of the disc (rad)", ylabel="intensity", xlim=(0, phases[-1]), ylim=(0, top))
    for (low, high), text in ((spread, "spread cells"), (rounded, "rounded cells")):
        axes.axvspan(low, high, color=LIGHT, alpha=0.6, linewidth=0)
        axes.text((low + high) / 2, 1.02 * top, text, ha="center", color=GRAY, fontsize=8.5)
    axes.axhline(1, color=GRAY, linewidth=0.6)
    lines = ((middle, "middle"), (rim, "ground beside it"), (linear, "middle, small phases"))
    for (values, label), colour, dash in zip(lines, CYCLE, DASHES, strict=False):
        axes.plot(phases, values, color=colour, linestyle=dash, label=label)
    axes.set_xticks(np.arange(0, 2.01 * np.pi, np.pi / 2), ["0", "π/2", "π", "3π/2", "2π"])
    figure.legend(loc="outside right upper")
    return figure


@styled
def likeness(frame):
    """Histogram and radial power spectrum of groups of fields: thin lines single fields, bold ones the group.

    Parameters
    ----------
    frame : DataFrame of `measure`

    Returns
    -------
    Figure
        Bold is the mean over the fields, of the spectra the geometric one.
    """
    figure = new_figure(WIDTH, 3.3)
    left, right = figure.subplots(1, 2)
    left.set(xlabel="gray value (of 255)", ylabel="share of pixels", xlim=(0, 255))
    left.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    right.set(xlabel="spatial frequency (cycles per px)", ylabel="power (gray value² px²)")
    right.set(xscale="log", yscale="log")
    for number, (label, group) in enumerate(frame.groupby("group", sort=False)):
        look = {"color": CYCLE[number % len(CYCLE)], "linestyle": DASHES[number % len(DASHES)]}
        for axes, quantity, mean in ((left, "histogram", np.mean), (right, "spectrum", gmean)):
            part = group[group.quantity == quantity]
            for _, one in part.groupby("image") if part.image.nunique() > 1 else []:
                axes.plot(one.x, one.value, color=look["color"], linewidth=0.5, alpha=0.4)
            middle = part.groupby("x").value.agg(mean)
            axes.plot(middle.index, middle, **look, linewidth=2, label=label)
    left.set_ylim(0, None)
    right.set_xticks([0.01, 0.03, 0.1, 0.3], ["0.01", "0.03", "0.1", "0.3"])
    right.minorticks_off()
    handles, names = left.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower left", ncols=len(names))
    return figure


def main(path):
    """Measure the thesis' fields `FIELDS`, fetched if need be, and write the tidy CSV to `path`."""
    frame = pd.concat([measure(thesis.iterate(names), group) for group, names in FIELDS.items()])
    with replacing(path) as temporary:
        frame.to_csv(temporary, index=False, float_format="%.6g", lineterminator="\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
