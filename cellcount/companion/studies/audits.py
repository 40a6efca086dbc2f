"""Simulated audits: coverage and width of the interval of a total, with good, bad and no models, and what it takes."""

import functools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats
from tqdm import tqdm

from cellcount import results
from cellcount.companion.studies.correcting import FIRST, NEXT, SPEEDS
from cellcount.companion.studies.interval_coverage import fields
from cellcount.companion.studies.jobs import run_jobs, seed_of, spread
from cellcount.companion.studies.label_faults import TOLERANCE
from cellcount.errors import require
from cellcount.io import points as formats
from cellcount.io.crops import cut, held, inside
from cellcount.io.points import Annotation, Mark
from cellcount.io.writing import write
from cellcount.methods import cellnet
from cellcount.methods.cellnet.checkpoint import PHANTOM
from cellcount.metrics import match
from cellcount.metrics.audit import AuditEstimate, draw, estimate
from cellcount.results.audit import read
from cellcount.types import Sample

MODELS = ("good", "half", "double", "spots", "dim", "none")
BLIND, DIM = 25, 0.2  # one window of so many; what "dim" finds there, "spots" finds nothing
NUMBERS = (5, 10, 15, 20, 30, 40, 60, 80, 120, 160)
PRECISION = 0.05  # half of the interval over the total, until which windows are added


@functools.lru_cache(2)
def plate(number: int, side: int, seed: int, device: str = "auto") -> list[tuple[Sample, np.ndarray]]:
    """Simulated fields of side x side px of mixed confluence, each with the (M, 2) points that CellNet finds in it."""
    made = tqdm(fields("mixed", number, seed_of(audit=seed), (side, side)), desc="fields", total=number, delay=5)
    return [(one, cellnet.predict(one.image, weights=PHANTOM, device=device, density=False).points) for one in made]


def windows(found: Sequence[tuple[Sample, np.ndarray]], model: str, window: int, seed: int) -> pd.DataFrame:
    """The windows of fields, with true and predicted cells, and what correcting the points takes.

    Parameters
    ----------
    found : list of (Sample, (M, 2) float, (y, x) px)
    model : one of `MODELS`
        "good": the points that were found; "half": each with a probability of one half; "double": each twice; "spots":
        none of those in one window of 25; "dim": a fifth of those; "none": no prediction, and clicks from nothing.
    window : int, px
    seed : int

    Returns
    -------
    DataFrame
        true, predicted (1 without a model), actions, and seconds at the two speeds of `correcting`: fast, careful
    """
    rng = np.random.default_rng((seed, MODELS.index(model)))
    parts = []
    for sample, points in found:
        boxes = cut(sample.image.shape, window)
        if model == "half":
            points = points[rng.random(len(points)) < 0.5]
        elif model == "double":
            points = np.repeat(points, 2, axis=0)
        elif model in ("spots", "dim"):
            blind = [(0, 0, 0, 0), *(box for box in boxes if rng.random() < 1 / BLIND)]
            lost = np.any([inside(points, box) for box in blind], axis=0)
            points = points[~lost | (rng.random(len(points)) < DIM * (model == "dim"))]
        elif model == "none":
            points = points[:0]
        kept = match(sample.points, points, TOLERANCE).pairs
        added, deleted = (np.delete(every, of, axis=0) for every, of in zip((sample.points, points), kept.T))
        parts.append([held(places, boxes) for places in (sample.points, points, added, deleted)])
    true, predicted, added, deleted = np.concatenate(parts, axis=1)
    frame = pd.DataFrame({"true": true, "predicted": predicted, "actions": added + deleted})
    for speed, cost in SPEEDS.items():
        correcting = cost["added"] * added + cost["deleted"] * deleted + cost["kept"] * (predicted - deleted)
        frame[speed] = np.where(true > 0, FIRST + NEXT * (true - 1), 0) if model == "none" else correcting
    return frame.assign(predicted=1) if model == "none" else frame


def audits(frame: pd.DataFrame, number: int, repeats: int, seed: int, precise: bool = False) -> dict[str, float]:
    """Repeat an audit of the same windows with other draws.

    Parameters
    ----------
    frame : DataFrame of `windows`
    number : int
        Of drawn windows; of those drawn first if `precise`.
    repeats, seed : int
    precise : bool
        Add as many windows again and again, until the interval is at most `PRECISION` of the total to either side.

    Returns
    -------
    dict
        hits (intervals with the true total), half (median of half the interval over the true total), bias (mean
        estimate over the true total, minus 1), and means of drawn (windows), actions, fast and careful (s).
    """
    true, predicted = frame.true.to_numpy(), frame.predicted.to_numpy()
    found = []
    for repeat in range(repeats):
        strata, order = draw(predicted, number, seed_of(seed=seed, repeat=repeat))
        n = number
        while True:
            one: AuditEstimate = estimate(predicted, strata, order[:n], true[order[:n]])
            half = (one.high - one.low) / 2
            if not precise or half <= PRECISION * one.total or n >= len(order):
                break
            n = min(n + number, len(order))
        work = frame[["actions", *SPEEDS]].to_numpy()[order[:n]].sum(axis=0)
        found.append([one.low <= true.sum() <= one.high, half / true.sum(), one.total / true.sum() - 1, n, *work])
    hits, half, bias, drawn, *work = np.transpose(found)
    means = dict(zip(("drawn", "actions", *SPEEDS), np.mean([drawn, *work], axis=1), strict=True))
    return {"hits": int(hits.sum()), "half": float(np.median(half)), "bias": float(bias.mean())} | means


def simulate(
    *,
    out: Path | str,
    models: Iterable[str] = MODELS,
    number: int = 60,
    side: int = 512,
    sizes: Sequence[int] = (256, 128),
    numbers: Sequence[int] = NUMBERS,
    repeats: int = 500,
    seed: int = 0,
    device: str = "auto",
    profile: str = "",
    progress: bool = True,
) -> pd.DataFrame:
    """Audits of a plate of simulated fields that CellNet has counted.

    Parameters
    ----------
    out : path of the CSV to write
    models : iterable of `MODELS`
    number, side : int
        Of fields, and their side in px.
    sizes : sequence of int, px
        Sides of a window; with the first, all `numbers` of windows are tried, with others those of an audit by default.
    numbers : sequence of int
        Of drawn windows; all, if there are fewer.
    repeats : int
        Draws of each.
    seed, device, profile, progress

    Returns
    -------
    DataFrame of `results.rows`, in which n_true and n_pred are those of the plate, with columns for each argument of
    the job, `windows`, `population`, and those of `audits`.
    """

    def work(model, number, side, window, rule, numbers, repeats, seed, **_):
        frame = windows(plate(number, side, seed, device), model, window, seed)
        about = {"chapter": "audit", "seed": seed, "profile": profile, "device": device, "dataset": "phantom"}
        parameters = {"model": model, "window": window, "rule": rule}
        origin = results.provenance("audit", f"plate of {number}", parameters=parameters, **about)
        cells = {"n_true": int(frame.true.sum()), "n_pred": 0 if model == "none" else int(frame.predicted.sum())}
        rows = []
        for n in dict.fromkeys(min(n, len(frame)) for n in numbers):
            did = audits(frame, n, repeats, seed_of(seed=seed, n=n, model=model), rule == "until")
            rows.append(origin | cells | {"windows": n, "population": len(frame)} | did)
        return pd.DataFrame(rows, columns=list(dict.fromkeys([*results.COLUMNS, *rows[0]])))

    shared = {"study": "audit", "number": number, "side": side, "repeats": repeats, "seed": seed}
    first = {"rule": "fixed", "window": sizes[0], "numbers": list(numbers)}
    usual = [20] if 20 in numbers else [numbers[0]]
    kinds = [first, first | {"rule": "until", "numbers": usual}]
    kinds += [first | {"window": window, "numbers": usual} for window in sizes[1:]]
    jobs = [shared | kind | {"model": model} for kind in kinds for model in models]
    return spread(run_jobs(jobs, work, out=out, progress=progress))


def run(*, out: Path | str, seed: int = 0, device: str = "auto", progress: bool = True, **params: Any) -> pd.DataFrame:
    """`simulate` with its defaults, for `cellcount bench audit`; nothing is trained, so there are no settings."""
    require(not params, f"The bundled weights are audited, nothing is trained: leave out -p {' '.join(params)}.")
    return simulate(out=out, seed=seed, device=device, progress=progress, profile="full")


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """Coverage and width of the intervals.

    Parameters
    ----------
    frame : DataFrame of `simulate`

    Returns
    -------
    DataFrame
        model, rule, window (px), windows, population, repeats, drawn, coverage, low, high (95 % Clopper-Pearson
        interval of the coverage), half, bias, against (half over that without a model, for as many windows of this
        size; nan where windows were added), actions, fast, careful.
    """
    keys = ["rule", "window", "windows"]
    lines = frame[["model", *keys, "population", "repeats", "drawn", "half", "bias", "actions", *SPEEDS]]
    exact = [stats.binomtest(int(k), int(n)).proportion_ci(0.95, "exact") for k, n in zip(frame.hits, frame.repeats)]
    lines = lines.assign(coverage=frame.hits / frame.repeats, low=[e.low for e in exact], high=[e.high for e in exact])
    bare = frame[frame.model == "none"].set_index(keys).half.reindex(pd.MultiIndex.from_frame(frame[keys])).to_numpy()
    return lines.assign(against=np.where(frame.rule == "fixed", lines.half / bare, np.nan))


def needed(frame: pd.DataFrame, model: str, column: str = "windows", precision: float = PRECISION) -> float:
    """How much of a column an interval of +- `precision` takes, between the numbers that were tried; nan beyond.

    Parameters
    ----------
    frame : DataFrame of `simulate`
    model : one of `MODELS`
    column : "windows", "actions", "fast" or "careful"
    precision : float
        Of the total.

    Returns
    -------
    float
        With straight lines between the logarithms of widths and of the column.
    """
    own = frame[(frame.model == model) & (frame.rule == "fixed") & (frame.window == frame.window.iloc[0])]
    own = own.sort_values("windows")
    logs = np.log(own[[column, "half"]].to_numpy(float))
    return float(np.exp(np.interp(-np.log(precision), -logs[:, 1], logs[:, 0], right=np.nan)))


def correct(folder: Path | str, true: Mapping[str, np.ndarray]) -> None:
    """Annotate the drawn windows of an audit as a person who overlooks nothing, and save them as a table of points.

    A predicted point within the tolerance of a cell stays, others are deleted, and cells without one are added.

    Parameters
    ----------
    folder : path of an audit
    true : dict of an image's file name to its cells, (N, 2) float, (y, x) px
    """
    one, marks = read(folder), {}
    counted = one.folder / one.about["counts"] / "predictions"
    for name, cells in true.items():
        before = formats.read(counted / f"{Path(name).stem}.csv")[0][0].points
        predicted = np.array([mark.position for mark in before]).reshape(-1, 2)
        own, found = match(cells, predicted, TOLERANCE).pairs.T
        marks[name] = np.concatenate([predicted[found], np.delete(cells, own, axis=0)])
    annotations = []
    for window in one.drawn:
        inner = marks[window["image"]][inside(marks[window["image"]], window["core"])] - window["box"][:2]
        left = [Mark(tuple(place), "live") for place in inner.tolist()]
        annotations.append(Annotation("", "", f"{window['name']}.png", points=left))
    target = Path(folder, "annotations", "points.csv")
    target.parent.mkdir(exist_ok=True)
    target.unlink(missing_ok=True)
    write(target, annotations, "CSV")
