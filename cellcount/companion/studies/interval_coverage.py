"""Do intervals on counts keep their promise? On simulated fields, which can be made in any number."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats
from tqdm import tqdm

from cellcount import results
from cellcount.companion.studies.jobs import run_jobs, seed_of, spread
from cellcount.data import phantom
from cellcount.methods import cellnet
from cellcount.metrics import IntervalRule, calibrate
from cellcount.types import Sample

# Kinds of fields: like those trained on, from loose to nearly closed; and closed sheets, which are another thing.
KINDS = {
    "mixed": {"confluence": (0.35, 0.9)},
    "sheets": {"confluence": (1.0, 1.0), "spacing": 20.0, "thickness": 0.42, "granularity": 1.25, "cracks": 2.0,
               "haze": 0.1},
}  # fmt: skip
SETTINGS = {"crop": 128, "steps": 250}  # of CellNet
LEVELS = (0.5, 0.8, 0.9, 0.95)


def fields(kind: str, number: int, seed: int, size: tuple[int, int]) -> Iterator[Sample]:
    """Simulated fields of one kind, made one by one, each with a confluence of its own.

    Yields
    ------
    Sample
    """
    look = dict(KINDS[kind])
    low, high = look.pop("confluence")
    rng = np.random.default_rng(seed)
    for index in range(number):
        confluence = float(rng.uniform(low, high)) if low < high else high
        yield phantom.simulate((seed, index), size, confluence=confluence, name=f"{kind}-{index}", **look)


def counted(
    weights: Path | str,
    *,
    out: Path | str,
    calibration: int = 400,
    test: int = 200,
    size: tuple[int, int] = (256, 256),
    seed: int = 0,
    device: str = "auto",
    progress: bool = True,
) -> pd.DataFrame:
    """Count fields to calibrate on, held-out fields of the same kind, and fields of another kind.

    Parameters
    ----------
    weights : path
        Of CellNet.
    out : path of the CSV to write
    calibration, test : int
        Number of fields of each group.
    size : (height, width), px
    seed : int
    device : str
    progress : bool

    Returns
    -------
    DataFrame of `results.rows` (whole image) with the column `group`: "calibration", "test" or "sheets"
    """
    about = cellnet.about(weights)["settings"]

    def work(group, kind, number, size, seed, **_):
        made = fields(kind, number, seed_of(group=group, seed=seed), tuple(size))
        frames = []
        for sample in tqdm(made, desc=group, unit="field", total=number, disable=not progress):
            prediction = results.timed(cellnet.predict, sample.image, weights=weights, device=device, density=False)
            rows = results.rows(
                sample, prediction, tolerances=[10.0], dataset="phantom", parameters=about, chapter="intervals",
                seed=seed, parts=0,
            )  # fmt: skip
            frames.append(rows[rows.reading == "whole"])
        return pd.concat(frames, ignore_index=True)

    jobs = [
        {"study": "intervals", "group": group, "kind": kind, "number": number, "size": list(size), "seed": seed}
        | {"weights": cellnet.about(weights)["losses"][-1], "settings": about}
        for group, kind, number in (
            ("calibration", "mixed", calibration), ("test", "mixed", test), ("sheets", "sheets", test // 2),
        )
    ]  # fmt: skip
    return spread(run_jobs(jobs, work, out=out, progress=False))


def run(*, out: Path | str, seed: int = 0, device: str = "auto", progress: bool = True, **params: Any) -> pd.DataFrame:
    """Train on the default fields, then `counted` with its defaults; the weights are kept beside `out`.

    Parameters
    ----------
    out : path of the CSV to write
    seed : int
    device : str
    progress : bool
    params
        Settings of CellNet, before those of `SETTINGS`.

    Returns
    -------
    DataFrame of `counted`
    """
    weights = Path(out).with_suffix(".safetensors")
    if not weights.exists():
        settings = SETTINGS | params
        cellnet.fit(
            phantom.load("train"), out=weights, start=None, device=device, progress=progress, seed=seed, **settings
        )
    return counted(weights, out=out, seed=seed, device=device, progress=progress)


def rule_of(frame: pd.DataFrame, level: float) -> IntervalRule:
    """The `IntervalRule` calibrated on the fields of the group "calibration" of `counted`."""
    group = frame[frame.group == "calibration"]
    return calibrate(group.n_true, group["count"], level)


def table(frame: pd.DataFrame, levels: Iterable[float] = LEVELS) -> pd.DataFrame:
    """Coverage and width of the intervals.

    Parameters
    ----------
    frame : DataFrame of `counted`
    levels : promised coverages

    Returns
    -------
    DataFrame
        group ("test" or "sheets"), fields, level, coverage, low, high (95 % Clopper-Pearson interval of the coverage),
        width (median, as a share of the count), error (mean absolute, as a share of the true number).
    """
    lines = []
    for group in ("test", "sheets"):
        rows = frame[frame.group == group]
        true, count = rows.n_true.to_numpy(float), rows["count"].to_numpy(float)
        for level in levels:
            low, high = np.transpose([rule_of(frame, level).interval(value) for value in count])
            hits = int(((true >= low) & (true <= high)).sum())
            exact = stats.binomtest(hits, len(rows)).proportion_ci(0.95, method="exact")
            lines.append(
                {"group": group, "fields": len(rows), "level": level, "coverage": hits / len(rows)}
                | {"low": exact.low, "high": exact.high, "width": np.median((high - low) / np.maximum(count, 1))}
                | {"error": np.mean(np.abs(count - true) / np.maximum(true, 1))}
            )
    return pd.DataFrame(lines)
