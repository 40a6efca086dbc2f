"""A counting device as the truth: flasks of the thesis against it, and how well it agrees with a published method.

`cellcount bench device` counts all 34 fields of the thesis. `cellcount bench device-pairs` writes ratios and means of
103 public pairs of counts, of one flask each, by a Countess and by the CellNet that the thesis' author published later.
"""

import csv
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats
from tqdm import tqdm

import cellcount
from cellcount import registry, results
from cellcount.data import thesis
from cellcount.errors import require
from cellcount.results.groups import Field, group_counts

REFERENCE = 20  # the objective of which all flasks have fields
LEVEL = 0.95


def measure_thesis(names: Sequence[str] = thesis.IMAGES) -> pd.DataFrame:
    """Count the thesis' fields, as `cellcount count` does, by the bundled weights.

    Returns
    -------
    DataFrame
        One line for each field: image, flask, objective, size (the table's "vol"), device_count, height_px, width_px,
        count, low, high (of its 90 % interval; nan if the weights give none), warnings, weights_sha256, commit.
    """
    rows = []
    for sample in tqdm(thesis.iterate(names), total=len(names), unit="field", desc="device"):
        result = cellcount.count(sample.meta["source"], progress=False)
        low, high = result.interval or (np.nan, np.nan)
        row = {"image": sample.name, "flask": sample.meta["flask"], "objective": sample.meta["objective"]}
        row |= {"size": sample.meta["volume"], "device_count": sample.meta["device_count"]}
        row |= {
            "height_px": result.shape[0],
            "width_px": result.shape[1],
            "count": result.count,
            "low": low,
            "high": high,
        }
        weights = str(result.prediction.meta["weights_sha256"])[:12]
        rows.append(
            row | {"warnings": " ".join(result.warnings), "weights_sha256": weights, "commit": results.commit()}
        )
    return pd.DataFrame(rows)


def flasks(fields: pd.DataFrame) -> pd.DataFrame:
    """Mean count of the fields of each flask at each magnification.

    Parameters
    ----------
    fields : DataFrame of `measure_thesis`

    Returns
    -------
    DataFrame
        flask, objective, fields, warned (fields counted with a warning); mean, low, high (90 %), sampling (the half
        width by the spread between fields alone), all in cells on the area of a field at 20x; device, the device's
        count over the size of the flask.
    """
    lines = []
    for (flask, objective), own in fields.groupby(["flask", "objective"], sort=False):
        found = [
            Field(
                str(row.image),
                row.count_,
                None if np.isnan(row.low) else (row.low, row.high),
                (row.height_px, row.width_px),
            )
            for row in own.rename(columns={"count": "count_"}).itertuples()
        ]
        group, factor = group_counts(f"{flask}", found), (objective / REFERENCE) ** 2
        line = {"flask": flask, "objective": objective, "fields": len(own)}
        line["warned"] = int((own.warnings.fillna("") != "").sum())
        ends = {name: getattr(group, name) for name in ("mean", "low", "high", "sampling")}
        line |= {name: np.nan if value is None else value * factor for name, value in ends.items()}
        lines.append(line | {"device": (own.device_count / own["size"]).iloc[0]})
    return pd.DataFrame(lines)


class Calibration(NamedTuple):
    """Flasks against the device, after one factor between them.

    Attributes
    ----------
    flasks : int
    factor : float
        Geometric mean of cells per field at 20x over the device's count per size of the flask: what a field's area
        would be, in units of the table's size, if both counted the same cells.
    deviation : float
        Standard deviation of the logarithm of the ratio between flasks.
    rank : float
        Spearman's correlation.
    slope, slope_low, slope_high : float
        Of the logarithm of the mean count over that of the device's, by least squares, with its 95 % interval; 1 if
        one factor is enough.
    """

    flasks: int
    factor: float
    deviation: float
    rank: float
    slope: float
    slope_low: float
    slope_high: float


def calibration(table: pd.DataFrame) -> Calibration:
    """One factor for all flasks, from their fields at 20x; `table` is that of `flasks`."""
    own = table[table.objective == REFERENCE]
    device, ours = np.log(own.device.to_numpy(float)), np.log(own["mean"].to_numpy(float))
    fit = stats.linregress(device, ours)
    half = stats.t.ppf((1 + LEVEL) / 2, len(own) - 2) * fit.stderr
    ratio, rank = ours - device, stats.spearmanr(device, ours)[0]
    values = (np.exp(ratio.mean()), ratio.std(ddof=1), rank, fit.slope, fit.slope - half, fit.slope + half)
    return Calibration(len(own), *map(float, values))


def measure_pairs() -> pd.DataFrame:
    """The 103 pairs: device over published CellNet, and their mean.

    Returns
    -------
    DataFrame
        pair (number in the published table), ratio (CellNet over device), mean (geometric, cells, two digits).
    """
    with open(registry.fetch_file("thesis", "device-pairs.csv"), newline="", encoding="utf-8-sig") as file:
        pairs = np.array([[float(row["Countess"]), float(row["CellNet"])] for row in csv.DictReader(file)])
    device, network = pairs.T
    means = [float(f"{value:.2g}") for value in np.sqrt(device * network)]
    return pd.DataFrame({"pair": np.arange(1, len(pairs) + 1), "ratio": (network / device).round(3), "mean": means})


class Agreement(NamedTuple):
    """Agreement of two methods on the logarithmic scale, where a difference is a ratio (Bland & Altman 1986, 1999).

    Attributes
    ----------
    pairs : int
    bias, bias_low, bias_high : float
        Geometric mean of the ratio, with its 95 % interval.
    deviation : float
        Standard deviation of the logarithm of the ratio.
    low, low_low, low_high, high, high_low, high_high : float
        95 % limits of agreement, each with its 95 % interval: between them are 95 % of the ratios, if their logarithms
        are normal.
    percentile_low, percentile_high : float
        The same without that assumption: 2.5th and 97.5th percentile.
    slope, slope_low, slope_high : float
        Proportional bias: the logarithm of the ratio over that of the mean, by least squares, with its 95 % interval.
    device, network : float
        Standard deviations of the logarithm of each method's error, if errors are independent of each other and of the
        cells, and neither method has a proportional bias (Grubbs 1948); nan where the estimate is negative.
    """

    pairs: int
    bias: float
    bias_low: float
    bias_high: float
    deviation: float
    low: float
    low_low: float
    low_high: float
    high: float
    high_low: float
    high_high: float
    percentile_low: float
    percentile_high: float
    slope: float
    slope_low: float
    slope_high: float
    device: float
    network: float


def agreement(ratio: ArrayLike, mean: ArrayLike) -> Agreement:
    """Bias and limits of agreement of two methods.

    Parameters
    ----------
    ratio : (K,) float, K >= 3
        Count of the second method over that of the first.
    mean : (K,) float, cells
        Geometric mean of both.

    Returns
    -------
    Agreement

    Raises
    ------
    ParameterError
        If there are fewer than three pairs, or a value is not positive.
    """
    ratio, mean = np.asarray(ratio, float), np.asarray(mean, float)
    require(ratio.shape == mean.shape and len(ratio) > 2, f"{len(ratio)} ratios: give three pairs or more.")
    require(bool((ratio > 0).all() and (mean > 0).all()), "ratios and means must be positive: they have no logarithm.")
    difference, level = np.log(ratio), np.log(mean)
    n, bias, deviation = len(ratio), difference.mean(), difference.std(ddof=1)
    t, z = stats.t.ppf((1 + LEVEL) / 2, n - 1), stats.norm.ppf((1 + LEVEL) / 2)
    # The variance of a limit (Bland & Altman 1999, section 2.1).
    error = deviation * np.sqrt(1 / n + z**2 / (2 * (n - 1)))
    values: dict[str, Any] = {"bias": bias, "low": bias - z * deviation, "high": bias + z * deviation}
    reach = {"bias": t * deviation / np.sqrt(n), "low": t * error, "high": t * error}
    ends = {
        f"{name}_{end}": values[name] + sign * reach[name]
        for name in values
        for end, sign in (("low", -1), ("high", 1))
    }
    percentiles = np.quantile(ratio, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    fit = stats.linregress(level, difference)
    half = stats.t.ppf((1 + LEVEL) / 2, n - 2) * fit.stderr
    first, second = level - difference / 2, level + difference / 2
    shared = np.cov(first, second)
    own = [float(np.sqrt(v)) if (v := shared[i, i] - shared[0, 1]) >= 0 else np.nan for i in (0, 1)]
    exponents = {name: float(np.exp(value)) for name, value in (values | ends).items()}
    return Agreement(
        pairs=n, deviation=float(deviation), percentile_low=float(percentiles[0]),
        percentile_high=float(percentiles[1]), slope=float(fit.slope), slope_low=float(fit.slope - half),
        slope_high=float(fit.slope + half), device=own[0], network=own[1], **exponents,
    )  # fmt: skip
