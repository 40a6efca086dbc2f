"""Coverage of the intervals of flasks: five fields of each of many simulated flasks, whose mean is known."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats
from tqdm import tqdm

import cellcount
from cellcount import results
from cellcount.companion.studies import interval_coverage
from cellcount.data import phantom
from cellcount.data.phantom.cache import cached
from cellcount.files import sha256
from cellcount.methods import cellnet
from cellcount.results.groups import Field, Group, group_counts
from cellcount.types import Sample

SIZE = (256, 256)  # px
FIELDS = 5  # of a flask
# Kinds of flasks: what differs between flasks (uniform), how fields scatter around it (normal), and further looks.
KINDS: dict[str, tuple[str, tuple[float, float], float, dict[str, Any]]] = {
    "mixed": ("confluence", (0.45, 0.8), 0.05, {}),
    "sheets": ("spacing", (18.0, 24.0), 0.4, phantom.CONFLUENT | {"confluence": 1.0}),
}
NUMBERS = {"mixed": 200, "sheets": 30}  # of flasks
SETTINGS = interval_coverage.SMALL | {"steps": 200}  # of CellNet: what is tested is the interval, not the network


def fields(kind: str, flask: int, seed: int = 0) -> Iterator[tuple[float, float, Sample]]:
    """The fields of a flask: the value that the flask has, that of the field, and the field (Sample), simulated."""
    varied, (low, high), scatter, look = KINDS[kind]
    rng = np.random.default_rng((seed, [*KINDS].index(kind), flask))
    own = rng.uniform(low, high)
    for number, value in enumerate(rng.normal(own, scatter, FIELDS)):
        value = round(float(min(value, 1.0) if varied == "confluence" else value), 4)
        params = look | {varied: value}
        where = (seed, [*KINDS].index(kind), flask, number)
        yield float(own), value, cached(phantom.simulate, where, SIZE, name=f"{kind}-{flask}-{number}", **params)


def run(*, out: Path | str, seed: int = 0, device: str = "auto", progress: bool = True, **params: Any) -> pd.DataFrame:
    """Train on the default fields, and count the fields of all flasks; the weights are written beside `out`.

    Parameters
    ----------
    out : path of the CSV to write
    seed : int
    device : str
    progress : bool
    params
        Settings of CellNet that replace those of `SETTINGS`.

    Returns
    -------
    DataFrame
        One line for each field: kind, flask, value (of what differs between flasks of this kind), field_value, n_true,
        count, low, high (of the count's 90 % interval, nan without one), weights_sha256, commit, calibrated_on (fields
        from which the weights have their intervals), sum_low, sum_high (of the interval of the sum of the flask's
        counts).
    """
    weights = Path(out).with_suffix(".safetensors")
    if not weights.exists():
        settings = {"start": None, "seed": seed} | SETTINGS | params
        cellcount.train(phantom.load("train"), out=weights, device=device, progress=progress, **settings)
    about, rows = {"weights_sha256": sha256(weights)[:12], "commit": results.commit()}, []
    about["calibrated_on"] = cellnet.about(weights)["counting"]["interval"]["fields"]
    jobs = [(kind, flask) for kind, number in NUMBERS.items() for flask in range(number)]
    for kind, flask in tqdm(jobs, desc="flasks", unit="flask", disable=not progress):
        for own, value, sample in fields(kind, flask, seed):
            result = cellcount.count(sample.image, weights=weights, device=device, progress=False)
            low, high = result.interval or (np.nan, np.nan)
            row = {"kind": kind, "flask": flask, "value": round(own, 4), "field_value": value}
            rows.append(row | {"n_true": len(sample.points), "count": result.count, "low": low, "high": high} | about)
    frame = pd.DataFrame(rows)
    sums = frame.groupby(["kind", "flask"])["count"].transform("sum")
    ends = [cellnet.interval(value, weights=weights, device=device) or (np.nan, np.nan) for value in sums]
    frame["sum_low"], frame["sum_high"] = np.transpose(ends)
    results.write(frame.round(dict.fromkeys(("low", "high", "sum_low", "sum_high"), 2)), out)
    return frame


def expected(frame: pd.DataFrame) -> pd.Series:
    """The true mean number of cells per field of each field's flask: (N,) float.

    A field's number of cells varies around a smooth function of the value by which it was simulated: a cubic, by least
    squares over all fields of a kind. Its mean over the fields that a flask could have had is the flask's truth.
    """
    found = pd.Series(np.nan, frame.index)
    for kind, own in frame.groupby("kind"):
        scatter = KINDS[str(kind)][2]
        curve = np.polynomial.Polynomial.fit(own.field_value, own.n_true, 3)
        nodes, weights = np.polynomial.hermite_e.hermegauss(5)  # the mean over normally distributed values
        values = own.value.to_numpy()[:, None] + scatter * nodes
        found[own.index] = curve(values) @ weights / weights.sum()
    return found


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """Coverage of the 90 % intervals of flasks.

    Parameters
    ----------
    frame : DataFrame of `run`

    Returns
    -------
    DataFrame
        One line for each kind of flasks, with the error of the counts in the interval and with sampling alone: kind,
        interval, flasks, coverage, low, high (its exact 95 % interval), width (median, relative to the mean), spread
        (median coefficient of variation between fields), bias (mean count over the truth, less 1).
    """
    lines = []
    truth = expected(frame)

    def flask(members: list[Field], ends: tuple[float, float], calibrated_on: int) -> Group:
        return group_counts("", members, interval=lambda _: ends, calibrated_on=calibrated_on)

    for kind, own in frame.groupby("kind", sort=False):
        for with_counting in (True, False):
            found = []
            for _, rows in own.groupby("flask"):
                ends = rows[["low", "high"]].to_numpy() if with_counting else np.full((len(rows), 2), np.nan)
                of_sum = tuple(rows[["sum_low", "sum_high"]].iloc[0])
                members = [
                    Field("", count, None if np.isnan(end).any() else (end[0], end[1]))
                    for count, end in zip(rows["count"], ends, strict=True)
                ]
                group, true = flask(members, of_sum, int(rows.calibrated_on.iloc[0])), truth[rows.index[0]]
                covered, width = group.low <= true <= group.high, (group.high - group.low) / group.mean
                found.append((covered, width, group.spread, group.mean / true))
            hit, width, spread, ratio = np.transpose(np.array(found, float))
            exact = stats.binomtest(int(hit.sum()), len(hit)).proportion_ci(0.95, method="exact")
            line = {"kind": kind, "interval": "sampling and counts" if with_counting else "sampling alone"}
            line |= {"flasks": len(hit), "coverage": hit.mean(), "low": exact.low, "high": exact.high}
            lines.append(line | {"width": np.median(width), "spread": np.median(spread), "bias": ratio.mean() - 1})
    return pd.DataFrame(lines)
