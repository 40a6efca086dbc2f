"""How like the real fields the simulated ones are: numbers of both, side by side.

`cellcount bench likeness` measures the thesis' fields again. The file holds numbers only: it stands in for the fields where they must not be
shown or are not at hand.
"""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from cellcount.data import phantom, thesis
from cellcount.types import Sample

# Thesis fields at 20x. Image 4 gives its pixels only: its points are held out.
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
    """What `measure` describes, as the median over a group's images: DataFrame, quantities x groups, NaN if unknown."""
    described = frame[frame.x.isna()]
    table = described.groupby(["quantity", "group"], sort=False).value.median().unstack("group")
    return table.reindex(index=described.quantity.unique(), columns=frame.group.unique())


def band_ratios(frame: pd.DataFrame, pairs: Iterable[tuple[str, str]]) -> pd.DataFrame:
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

    def level(group: str, band: tuple[int, int]) -> float:
        part = spectrum[(spectrum.group == group) & (spectrum.x >= 1 / band[0]) & (spectrum.x < 1 / band[1])]
        return np.log(part.value).mean()

    ratios = {group: [np.exp(level(group, band) - level(other, band)) for band in bands] for group, other in pairs}
    return pd.DataFrame({"period (px)": [f"{low}–{high}" for low, high in bands], **ratios})


def measure_thesis() -> pd.DataFrame:
    """`measure` of the thesis' fields `FIELDS`, fetched if need be."""
    return pd.concat([measure(thesis.iterate(names), group) for group, names in FIELDS.items()])
