"""Coverage of the intervals of counts, on simulated fields, of which there are as many as needed."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats
from tqdm import tqdm

from cellcount import results
from cellcount.companion.studies.jobs import cellnet_weights, run_jobs, seed_of, spread
from cellcount.counting import FOLDS
from cellcount.data import phantom
from cellcount.methods import cellnet
from cellcount.methods.cellnet.calibration import Counting
from cellcount.metrics import IntervalRule, calibrate
from cellcount.types import Sample

# Kinds of fields: like the training fields, from sparse to nearly confluent; and confluent sheets.
KINDS = {"mixed": {"confluence": (0.35, 0.9)}, "sheets": {"confluence": (1.0, 1.0)} | phantom.CONFLUENT}
SETTINGS = {"crop": 128, "steps": 250}  # of CellNet
LEVELS = (0.5, 0.8, 0.9, 0.95)
DRAWS = {24: 2, 3: 3, 1: 4}  # number of training images of `in_training`: how many draws; the fewer, the more they vary
# Networks of a few seconds a hundred steps on one core; what is tested is the interval, not the network.
SMALL = {"widths": (12, 24, 48), "crop": 64, "steps": 400, "learning_rate": 4e-3}


def fields(kind: str, number: int, seed: int, size: tuple[int, int]) -> Iterator[Sample]:
    """Simulated fields (Sample) of one kind, each with another confluence; size is (height, width), px."""
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
    """Count calibration fields, held-out fields of the same kind, and fields of another kind.

    Parameters
    ----------
    weights : path of CellNet's weights
    out : path of the CSV to write
    calibration, test : int
        Numbers of fields.
    size : (height, width), px
    seed : int
    device : str
    progress : bool

    Returns
    -------
    DataFrame of `results.rows` (whole image) with the column `group`: "calibration", "test" or "sheets"
    """
    about = cellnet.about(weights)
    recorded = {"tolerances": [10.0], "dataset": "phantom", "parameters": about["settings"], "chapter": "intervals"}

    def work(group, kind, number, size, seed, **_):
        made = fields(kind, number, seed_of(group=group, seed=seed), tuple(size))
        frames = []
        for sample in tqdm(made, desc=group, unit="field", total=number, disable=not progress):
            prediction = results.timed(cellnet.predict, sample.image, weights=weights, device=device, density=False)
            frames.append(results.rows(sample, prediction, seed=seed, parts=0, **recorded).query("reading == 'whole'"))
        return pd.concat(frames, ignore_index=True)

    groups = (("calibration", "mixed", calibration), ("test", "mixed", test), ("sheets", "sheets", test // 2))
    common = {"study": "intervals", "size": list(size), "seed": seed}
    common |= {"weights": about["losses"][-1], "settings": about["settings"]}
    jobs = [common | {"group": group, "kind": kind, "number": number} for group, kind, number in groups]
    return spread(run_jobs(jobs, work, out=out, progress=False))


def run(*, out: Path | str, seed: int = 0, device: str = "auto", progress: bool = True, **params: Any) -> pd.DataFrame:
    """Train on the default fields, then `counted` with its defaults; the weights are written beside `out`.

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
    DataFrame of `counted`
    """
    weights = Path(out).with_suffix(".safetensors")
    if not weights.exists():
        settings = {"start": None, "seed": seed} | SETTINGS | params
        cellnet.fit(phantom.load("train"), out=weights, device=device, progress=progress, **settings)
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
        width (median, relative to the count), error (mean absolute, relative to the true number).
    """
    lines = []
    for group in ("test", "sheets"):
        rows = frame[frame.group == group]
        true, count = rows.n_true.to_numpy(float), rows["count"].to_numpy(float)
        for level in levels:
            low, high = np.transpose([rule_of(frame, level).interval(value) for value in count])
            hits = int(((true >= low) & (true <= high)).sum())
            exact = stats.binomtest(hits, len(rows)).proportion_ci(0.95, method="exact")
            line = {"group": group, "fields": len(rows), "level": level, "coverage": hits / len(rows)}
            line |= {"low": exact.low, "high": exact.high, "width": np.median((high - low) / np.maximum(count, 1))}
            lines.append(line | {"error": np.mean(np.abs(count - true) / np.maximum(true, 1))})
    return pd.DataFrame(lines)


def in_training(
    samples: Sequence[Sample],
    *,
    out: Path | str,
    dataset: str,
    pool: Sequence[Sample] | None = None,
    draws: Mapping[int, int] | None = None,
    folds: int = FOLDS,
    test: int = 200,
    device: str = "auto",
    progress: bool = True,
    **params: Any,
) -> pd.DataFrame:
    """Train on some fields, as `cellcount train` does, and count others with the intervals that the weights give.

    Parameters
    ----------
    samples : list of Sample
        Of one kind, with points on all cells.
    out : path of the CSV to write
    dataset : str
        Recorded.
    pool : list of Sample or None
        Fields to train on; None draws them from `samples`, and counts the others.
    draws : dict of number of training fields -> number of draws, or None for `DRAWS`
    folds : int
    test : int
        Fields that are counted after each training, at most.
    device : str
    progress : bool
    params
        Settings of CellNet that replace those of `SMALL`.

    Returns
    -------
    DataFrame of `results.rows` (whole image) with the columns train, draw, low, high (cells) and counted_by
    """
    settings = SMALL | params
    known = [
        [replace(sample, valid=np.ones(sample.image.shape, bool)) for sample in given]
        for given in (samples, samples if pool is None else pool)
    ]

    def work(train, draw, settings, folds, **_):
        order = np.random.default_rng((train, draw)).permutation(len(known[1]))
        drawn, frames = [known[1][i] for i in order[:train]], []
        others = known[0] if pool else [known[0][i] for i in order[train:]]
        about = {"tolerances": [10.0], "dataset": dataset, "parameters": settings, "chapter": "intervals"}
        with cellnet_weights(drawn, folds=folds, device=device, progress=progress, seed=draw, **settings) as weights:
            counted_by = Counting.of(cellnet.about(weights)).count
            for sample in others[:test]:
                found = results.timed(cellnet.predict, sample.image, weights=weights, device=device)
                low, high = found.count_interval or (np.nan, np.nan)
                rows = results.rows(sample, found, seed=draw, parts=0, **about).query("reading == 'whole'")
                frames.append(rows.assign(low=round(low, 2), high=round(high, 2), counted_by=counted_by))
        return pd.concat(frames, ignore_index=True)

    common = {"study": "intervals-training", "dataset": dataset, "settings": settings, "folds": folds}
    common["pool"] = [sample.name for sample in pool or ()]
    numbers = DRAWS if draws is None else draws
    jobs = [common | {"train": train, "draw": draw} for train, number in numbers.items() for draw in range(number)]
    return spread(run_jobs(jobs, work, out=out, progress=False))


def coverage_in_training(frame: pd.DataFrame) -> pd.DataFrame:
    """Coverage and width of the 90 % intervals of `in_training`.

    Parameters
    ----------
    frame : DataFrame of `in_training`

    Returns
    -------
    DataFrame
        One line for each training: dataset, train (number of fields), draw, counted_by, fields (counted), coverage,
        width (median, relative to the count), bias (of the total), error (mean absolute, relative to the mean number).
    """
    frame = frame.assign(hit=(frame.low <= frame.n_true) & (frame.n_true <= frame.high))
    frame["width"] = (frame.high - frame.low) / frame["count"].clip(lower=1)
    lines = []
    for names, rows in frame.groupby(["dataset", "train", "draw", "counted_by"]):
        error, cells = rows["count"] - rows.n_true, rows.n_true.sum()
        line = dict(zip(("dataset", "train", "draw", "counted_by"), names, strict=True)) | {"fields": len(rows)}
        line |= {"coverage": rows.hit.mean(), "width": rows.width.median()}
        lines.append(line | {"bias": error.sum() / cells, "error": error.abs().sum() / cells})
    return pd.DataFrame(lines)
