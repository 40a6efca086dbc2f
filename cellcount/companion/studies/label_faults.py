"""The effect of faulty annotations, and of remedies, on simulated fields, where the true cells are known."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from cellcount import results
from cellcount.companion.studies.jobs import cellnet_weights, run_jobs, spread
from cellcount.data import phantom
from cellcount.data.valid import valid_region
from cellcount.methods import cellnet
from cellcount.types import Sample

PERFECT = {"missed": 0.0, "missed_in_dense": 0.0, "position_noise_px": 0.0, "dead_as_live": 0.0}
# Faults of the annotation: the simulated annotator's arguments at a level of each.
FAULTS = {
    "missing": lambda level: {"missed": level, "missed_in_dense": level},
    "missing in crowds": lambda level: {"missed": 0.0, "missed_in_dense": level},
    "off by": lambda level: {"position_noise_px": level},
    "dead as live": lambda level: {"dead_as_live": level},
}
LEVELS = {
    "missing": (0.0, 0.2, 0.4, 0.5, 0.6, 0.8),
    "missing in crowds": (1.0,),
    "off by": (4.0, 8.0, 12.0),
    "dead as live": (1.0,),
}
REMEDIES = {"none": {}, "mended": {"rounds": 2}, "ignored": {"ignore": True}}
SETTINGS = {  # the width of peaks is that for complete annotation, so that only the annotated points differ
    "factor": 2, "detail": 2, "sigma": 2.1, "peak_distance": 3.4, "crop": 128, "batch": 8, "steps": 200,
}  # fmt: skip
PLAIN_THRESHOLD = 0.4  # of a full peak's height: right for complete annotation, whatever the heights found
TOLERANCE = 10.0  # px; half of the phantom's median distance of neighbours


def faulty(sample: Sample, fault: str, level: float, seed: int) -> Sample:
    """A simulated field annotated with one kind of fault.

    Parameters
    ----------
    sample : Sample
    fault : one of `FAULTS`
        "missing" and "missing in crowds": probability to overlook a cell, everywhere or rising with the local
        density; "off by": standard deviation of a point, px, in y and in x; "dead as live": probability to annotate a
        dead cell as a live one.
    level : float
    seed : int

    Returns
    -------
    Sample
    """
    return phantom.annotate(sample, seed, **PERFECT | FAULTS[fault](level))


def sweep(
    *,
    out: Path | str,
    levels: Mapping[str, Iterable[float]] = LEVELS,
    remedies: Iterable[str] = ("none", "mended"),
    fields: int = 4,
    test_sets: int = 3,
    seed: int = 0,
    device: str = "auto",
    progress: bool = True,
    **params: Any,
) -> pd.DataFrame:
    """Train with each fault at each level, with and without remedies, and test on true cells.

    Parameters
    ----------
    out : path of the CSV to write
    levels : dict, fault -> levels
    remedies : names in `REMEDIES`
        "none": every pixel without a point is background. "mended": points are corrected during training (`rounds`).
        "ignored": pixels that are neither near a point nor background are left out of the loss (`data.valid`).
    fields : int
        Simulated fields to train on, and in each test set.
    test_sets : int
        Sets of test fields.
    seed : int
    device : str
    progress : bool
    params
        Settings of CellNet that replace those of `SETTINGS`.

    Returns
    -------
    DataFrame of `results.rows` with a column for each argument of the job, and `rule`: the threshold is "fixed", or
    "relative" to the height of the peak at a typical annotated point.
    """
    settings = SETTINGS | params

    def work(fault, level, remedy, fields, test_sets, seed, settings, **_):
        train = [faulty(s, fault, level, seed + i) for i, s in enumerate(phantom.load("train", fields=fields))]
        test = [s for other in range(test_sets) for s in phantom.load("test", fields=fields, seed=other)]
        return _train_and_test(train, test, REMEDIES[remedy], seed, settings, device)

    common = {"study": "labels", "fields": fields, "test_sets": test_sets, "seed": seed, "settings": settings}
    faults = [{"fault": fault, "level": level} for fault, all_levels in levels.items() for level in all_levels]
    remedied = [{"remedy": remedy, "changed": REMEDIES[remedy]} for remedy in remedies]
    jobs = [common | fault | remedy for fault in faults for remedy in remedied]
    return spread(run_jobs(jobs, work, out=out, progress=progress))


def _train_and_test(train, test, remedy, seed, settings, device):
    """Rows of one training, with both rules of the threshold."""
    settings = settings | {name: value for name, value in remedy.items() if name != "ignore"}
    if remedy.get("ignore"):
        train = [replace(s, valid=valid_region(s.image, s.points)) for s in train]
    recorded = {"tolerances": [TOLERANCE], "dataset": "phantom", "chapter": "labels", "seed": seed, "parts": 0}
    frames = []
    with cellnet_weights(train, device=device, progress=False, seed=seed, **settings) as weights:
        for index, sample in enumerate(test):
            named = replace(sample, name=f"{sample.name}-{index}")
            for rule, threshold in (("fixed", PLAIN_THRESHOLD), ("relative", None)):
                asked = {"weights": weights, "device": device, "threshold": threshold, "density": False}
                prediction = results.timed(cellnet.predict, sample.image, **asked)
                parameters = settings | {"threshold": prediction.meta["threshold"]}
                frames.append(results.rows(named, prediction, parameters=parameters, **recorded).assign(rule=rule))
    return pd.concat(frames, ignore_index=True)


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """F1 and count error for each fault, level, remedy and rule.

    Parameters
    ----------
    frame : DataFrame of `sweep`

    Returns
    -------
    DataFrame
        fault, level, remedy, rule, f1 (pooled over fields), f1_low, f1_high (95 % bootstrap over fields), count_error
        (summed counts over summed cells, minus 1), loss (F1 with complete annotation, no remedy and the fixed rule,
        minus F1).
    """
    whole = frame[frame.reading == "whole"]
    keys = ["fault", "level", "remedy", "rule"]
    lines = results.summary(whole, by=(*keys, "tolerance_px"))
    counted = whole.groupby(keys)[["count", "n_true"]].sum()
    lines = lines.merge((counted["count"] / counted.n_true - 1).rename("count_error").reset_index(), on=keys)
    perfect = lines.set_index(keys).f1.get(("missing", 0, "none", "fixed"), float("nan"))
    lines["loss"] = perfect - lines.f1
    return lines[[*keys, "f1", "f1_low", "f1_high", "count_error", "loss"]]
