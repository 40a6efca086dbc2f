"""The same quantities of simulated and of real fields, to compare them.

`cellcount bench likeness` measures the thesis' fields. Its file stands in for them where they are not available.
"""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from cellcount.data import phantom, thesis
from cellcount.types import Sample

# Thesis fields at 20x. The points of image 4 are held out; only its pixels are used.
FIELDS = {"thesis, colonies": ("1", "2", "3", "4"), "thesis, sheets": ("5", "6", "10", "15")}
BANDS = (256, 64, 32, 16, 8, 4, 2)  # px, periods between which the spectra are compared


def measure(samples: Iterable[Sample], group: str) -> pd.DataFrame:
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


def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """Medians over the images of each group: a DataFrame of quantities x groups, NaN where unknown.

    frame : DataFrame of `measure`
    """
    described = frame[frame.x.isna()]
    table = described.groupby(["quantity", "group"], sort=False).value.median().unstack("group")
    return table.reindex(index=described.quantity.unique(), columns=frame.group.unique())


def band_ratios(frame: pd.DataFrame, pairs: Iterable[tuple[str, str]]) -> pd.DataFrame:
    """Ratio of the power of simulated to that of real fields, by the period of the fluctuations.

    Parameters
    ----------
    frame : DataFrame of `measure`
    pairs : list of (group, reference group)

    Returns
    -------
    DataFrame
        Column "period (px)", and one column for each group: the ratio of the two geometric means, NaN where the
        fields are too small.
    """
    spectrum = frame[frame.quantity == "spectrum"]
    bands = list(zip(BANDS[:-1], BANDS[1:], strict=True))

    def level(group: str, band: tuple[int, int]) -> float:
        part = spectrum[(spectrum.group == group) & (spectrum.x >= 1 / band[0]) & (spectrum.x < 1 / band[1])]
        return np.log(part.value).mean()

    ratios = {group: [np.exp(level(group, band) - level(other, band)) for band in bands] for group, other in pairs}
    return pd.DataFrame({"period (px)": [f"{low}–{high}" for low, high in bands], **ratios})


def agreement(frame: pd.DataFrame, pairs: Iterable[tuple[str, str]]) -> pd.DataFrame:
    """How far single fields of two groups agree, and how far those of the second group agree with each other.

    Parameters
    ----------
    frame : DataFrame of `measure`
    pairs : list of (group, reference group)

    Returns
    -------
    DataFrame
        Two lines for each pair, with `fields`, `overlap` (share of the pixels that two histograms have in common) and
        `factor` (by which two spectra differ: exp of the root mean square of their logarithmic ratio); both are means
        over all pairs of two fields, NaN where there is none.
    """

    spectra = frame[frame.quantity == "spectrum"].groupby(["group", "image"], sort=False)
    common = min((one.x.to_numpy() for _, one in spectra), key=len)  # small fields have fewer frequencies

    def curves(group: str, quantity: str) -> np.ndarray:
        part = frame[(frame.group == group) & (frame.quantity == quantity)]
        found = [(one.x.to_numpy(), one.value.to_numpy()) for _, one in part.groupby("image", sort=False)]
        if quantity == "spectrum":
            found = [(x, y if len(x) == len(common) else np.exp(np.interp(common, x, np.log(y)))) for x, y in found]
        return np.stack([y for _, y in found])

    lines = []
    for group, other in pairs:
        bins_there, power_there = curves(other, "histogram"), curves(other, "spectrum")
        for name, first in ((f"{group} with {other}", group), (f"{other} with each other", other)):
            found = []
            here = zip(curves(first, "histogram"), curves(first, "spectrum"), strict=True)
            for i, (bins, power) in enumerate(here):
                start = i + 1 if first == other else 0  # each pair once, and no field with itself
                overlaps = np.minimum(bins, bins_there[start:]).sum(axis=1)
                factors = np.exp(np.sqrt(np.mean(np.log(power / power_there[start:]) ** 2, axis=1)))
                found += list(zip(overlaps, factors, strict=True))
            overlap, factor = np.mean(found, axis=0) if found else (np.nan, np.nan)
            lines.append({"fields": name, "overlap": overlap, "factor": factor})
    return pd.DataFrame(lines).drop_duplicates("fields", ignore_index=True)


def measure_thesis() -> pd.DataFrame:
    """`measure` of the thesis' fields `FIELDS`, which are fetched if necessary."""
    return pd.concat([measure(thesis.iterate(names), group) for group, names in FIELDS.items()])
