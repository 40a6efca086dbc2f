"""Tidy result rows: raw counts with where they come from; `rows` of points, `mask_rows` of masks."""

import contextlib
import functools
import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd

from cellcount.errors import DISTRIBUTION, DataError
from cellcount.files import replacing
from cellcount.metrics import (
    READINGS,
    bootstrap,
    box_iou,
    match,
    near,
    parts_of,
    per_image,
    pooled,
    segmentation_counts,
    segmentation_scores,
)
from cellcount.nouns import Prediction, Sample

COLUMNS = [
    "run", "chapter", "method", "parameters", "weights_sha256", "dataset", "image", "split", "reading", "part",
    "tolerance_px", "n_true", "n_pred", "count", "tp", "fp", "fn", "mean_distance_px", "seconds", "peak_memory_mb",
    "device", "seed", "profile", "commit",
]  # fmt: skip
MASK_COLUMNS = [
    "run", "chapter", "method", "parameters", "weights_sha256", "dataset", "image", "split", "against",
    "iou_threshold", "n_masks", "tp", "fp", "fn", "iou_sum", "seconds", "peak_memory_mb", "device", "seed", "profile",
    "commit",
]  # fmt: skip
NAMES = dict.fromkeys(["part", "image", "run", "weights_sha256", "split", "train"], str)  # columns that are no numbers


def timed(predict: Callable[..., Prediction], image: np.ndarray, **params: Any) -> Prediction:
    """Call a method; its Prediction, with `seconds` in `meta`."""
    started = time.perf_counter()
    prediction = predict(image, **params)
    return replace(prediction, meta=prediction.meta | {"seconds": time.perf_counter() - started})


@contextlib.contextmanager
def stopwatch() -> Iterator[SimpleNamespace]:
    """Yields an object whose `seconds` is the time spent inside, once it is left."""
    watch = SimpleNamespace(seconds=np.nan)
    started = time.perf_counter()
    yield watch
    watch.seconds = time.perf_counter() - started


def rows(
    sample: Sample,
    prediction: Prediction,
    *,
    tolerances: Iterable[float],
    dataset: str,
    parameters: Mapping[str, Any] | None = None,
    chapter: str = "",
    seed: int = 0,
    profile: str = "",
    parts: int = 4,
) -> pd.DataFrame:
    """Score one prediction.

    Parameters
    ----------
    sample : Sample
        With points.
    prediction : Prediction
    tolerances : iterable of float, px
    dataset : str
    parameters : dict or None
        What the method, and its training, were told.
    chapter, seed, profile
        Recorded.
    parts : int
        At the first tolerance, counts of parts x parts pieces of the image are added, for intervals; 0 for none.

    Returns
    -------
    DataFrame with `COLUMNS`
        `reading` is "whole" (every prediction counts: a lower bound on precision, as the annotation misses cells) or
        "near" (only predictions within 26 px of an annotated point count). `part` is "all" or the piece's number.
        `count` is the method's own; it belongs to the whole image and is missing elsewhere.

    Raises
    ------
    DataError
        If the sample has no annotation.
    """
    if sample.points is None:
        raise DataError(f"{sample.name}: cannot be scored, since nobody has annotated it.")
    common = _provenance(sample, prediction, parameters, dataset=dataset, chapter=chapter, seed=seed, profile=profile)
    close = near(prediction.points, sample.points)
    found = []
    for index, tolerance in enumerate(tolerances):
        for reading, kept in zip(READINGS, (np.ones_like(close), close), strict=True):
            points = prediction.points[kept]
            matching = match(sample.points, points, tolerance)
            row = common | {"reading": reading, "part": "all", "tolerance_px": float(tolerance)}
            count = prediction.count if reading == "whole" else np.nan
            distance = matching.distances.mean() if matching.tp else np.nan
            found.append(row | _counts(*matching[:3]) | {"count": count, "mean_distance_px": round(distance, 3)})
            if index == 0 and parts:
                pieces = parts_of(sample.points, points, matching, sample.image.shape, parts)
                found += [row | {"part": str(i)} | _counts(*piece) for i, piece in enumerate(zip(*pieces))]
    return pd.DataFrame(found, columns=COLUMNS)


def mask_rows(
    sample: Sample,
    prediction: Prediction,
    *,
    dataset: str,
    parameters: Mapping[str, Any] | None = None,
    chapter: str = "",
    seed: int = 0,
    profile: str = "",
) -> pd.DataFrame:
    """Score the masks of one prediction.

    Parameters
    ----------
    sample : Sample
    prediction : Prediction
        With labels.
    dataset, parameters, chapter, seed, profile
        As of `rows`.

    Returns
    -------
    DataFrame with `MASK_COLUMNS`
        `against` "masks", where the sample has true ones: a row for each threshold of `segmentation_counts`, with the
        sum of the pairs' intersections over unions. "boxes", where the sample has drawn ones: one row, whose tp are
        the boxes that agree with a mask by half (`box_iou`), and whose sum is that over all boxes; a mask without a
        box is no error, so fp is missing. "nothing": one row that has the number of masks only.

    Raises
    ------
    DataError
        If the prediction has no masks.
    """
    if prediction.labels is None:
        raise DataError(f"{sample.name}: the prediction has no masks that could be scored.")
    common = _provenance(sample, prediction, parameters, dataset=dataset, chapter=chapter, seed=seed, profile=profile)
    common["n_masks"] = len(prediction.points)
    found = []
    if sample.labels is not None:
        counts = segmentation_counts(sample.labels, prediction.labels, valid=sample.valid)
        found += [common | {"against": "masks"} | row for row in counts]
    if sample.boxes is not None:
        agreement = box_iou(sample.boxes, prediction.labels)
        half = int((agreement >= 0.5).sum())
        row = {"against": "boxes", "iou_threshold": 0.5, "tp": half, "fn": len(agreement) - half}
        found.append(common | row | {"iou_sum": float(agreement.sum())})
    return pd.DataFrame(found or [common | {"against": "nothing"}], columns=MASK_COLUMNS)


def _provenance(
    sample: Sample,
    prediction: Prediction,
    parameters: Mapping[str, Any] | None,
    *,
    dataset: str,
    chapter: str,
    seed: int,
    profile: str,
) -> dict[str, Any]:
    """What all rows of one prediction share."""
    meta = prediction.meta
    return provenance(
        meta.get("method", ""), sample.name, dataset=dataset, parameters=parameters, chapter=chapter, seed=seed,
        weights_sha256=meta.get("weights_sha256", ""), split=sample.split, seconds=meta.get("seconds", np.nan),
        device=meta.get("device", "cpu"), profile=profile,
    )  # fmt: skip


def provenance(
    method: str,
    image: str,
    *,
    dataset: str,
    parameters: Mapping[str, Any] | None = None,
    weights_sha256: str = "",
    split: str = "",
    chapter: str = "",
    seed: int = 0,
    profile: str = "",
    device: str = "cpu",
    seconds: float = np.nan,
) -> dict[str, Any]:
    """Where a row comes from (dict), to be joined with its counts.

    Parameters
    ----------
    method, image, dataset, weights_sha256, split, chapter, profile, device : str
        `image` is the name of the Sample.
    parameters : dict or None
    seed : int
    seconds : float

    Returns
    -------
    dict
        These, the peak memory, the commit, and `run`: a hash of what decides the answer.
    """
    common = {
        "chapter": chapter, "method": method, "parameters": json.dumps(parameters or {}, sort_keys=True, default=str),
        "weights_sha256": weights_sha256, "dataset": dataset, "image": image, "split": split,
        "seconds": round(seconds, 3), "peak_memory_mb": peak_memory_mb(), "device": device, "seed": seed,
        "profile": profile, "commit": commit(),
    }  # fmt: skip
    identity = [common[name] for name in ("method", "parameters", "weights_sha256", "dataset", "image", "seed")]
    return {"run": hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:12]} | common


def _counts(tp: int, fp: int, fn: int) -> dict[str, int]:
    tp, fp, fn = int(tp), int(fp), int(fn)
    return {"tp": tp, "fp": fp, "fn": fn, "n_true": tp + fn, "n_pred": tp + fp}


def summary(frame: pd.DataFrame, by: Sequence[str] = ("method", "reading", "tolerance_px")) -> pd.DataFrame:
    """Pooled and per-image scores of result rows.

    Parameters
    ----------
    frame : DataFrame of `rows`
    by : column names that tell one line of the summary from the next

    Returns
    -------
    DataFrame
        One line for each group: images, n_true, n_pred, precision, recall, f1 (pooled over images), f1_low, f1_high
        (95 % bootstrap of the pooled F1 over images; over the parts of the images if there are fewer than five
        images), resampled ("images" or "parts"), f1_mean (mean over images), mean_distance_px.
    """
    lines = []
    for key, group in frame[frame.part == "all"].groupby(list(by), sort=False, dropna=False):
        counts = [group[name].to_numpy(int) for name in ("tp", "fp", "fn")]
        units, unit = counts, "images"
        if len(group) < 5:
            same = np.logical_and.reduce([frame[name] == value for name, value in zip(by, key, strict=True)])
            pieces = frame[same & (frame.part != "all")]
            if len(pieces):
                units, unit = [pieces[name].to_numpy(int) for name in ("tp", "fp", "fn")], "parts"
        low, high = bootstrap(*units)
        lines.append(
            dict(zip(by, key, strict=True))
            | {"images": len(group), "n_true": group.n_true.sum(), "n_pred": group.n_pred.sum()}
            | pooled(*counts)
            | {"f1_low": low, "f1_high": high, "resampled": unit, "f1_mean": per_image(*counts).mean()}
            | {"mean_distance_px": np.average(group.mean_distance_px.fillna(0), weights=group.tp.clip(lower=1e-9))}
        )
    return pd.DataFrame(lines)


def mask_summary(frame: pd.DataFrame, by: Sequence[str] = ("method",)) -> pd.DataFrame:
    """Scores of masks, pooled over images, of `mask_rows`.

    Returns
    -------
    DataFrame
        One line for each group: n_masks; where masks are known ap50, ap75, msa, pq, sq, rq (`segmentation_scores`);
        where boxes are drawn box_iou and box_half, the mean over the boxes and the share of at least .5.
    """
    lines = []
    for key, group in frame.groupby(list(by), sort=False, dropna=False):
        line = dict(zip(by, key, strict=True))
        line["n_masks"] = int(group.drop_duplicates(["run", "image"]).n_masks.sum())
        known = group[group.against == "masks"]
        if len(known):
            line |= segmentation_scores(known[["iou_threshold", "tp", "fp", "fn", "iou_sum"]].to_dict("records"))
        boxed = group[group.against == "boxes"]
        if len(boxed):
            boxes = (boxed.tp + boxed.fn).sum()
            line |= {"box_iou": boxed.iou_sum.sum() / boxes, "box_half": boxed.tp.sum() / boxes}
        lines.append(line)
    return pd.DataFrame(lines)


def write(frame: pd.DataFrame, path: Path | str) -> Path:
    """Write rows as CSV, through a temporary file; returns the path."""
    with replacing(path) as temporary:
        frame.to_csv(temporary, index=False)
    return Path(path)


def read(path: Path | str) -> pd.DataFrame:
    """Rows from CSV.

    Raises
    ------
    DataError
        If the file is missing or lacks a column.
    """
    frame = table(path)
    lacking = [name for name in COLUMNS if name not in frame]
    if lacking:
        raise DataError(f"{path}: not a result file of this version; it lacks {', '.join(lacking)}. Compute it anew.")
    return frame


def table(path: Path | str) -> pd.DataFrame:
    """A committed table of any columns: a DataFrame. Raises DataError if the file is missing."""
    path = Path(path)
    if not path.exists():
        raise DataError(f"No result file at {path}; `make results` computes the committed ones.")
    return pd.read_csv(path, dtype=NAMES)


def kept_name(chapter: str, dataset: str, part: str = "") -> str:
    """File name in `results/` for what a run of a chapter ("cellpose") on a dataset left: its rows, or another part."""
    return f"{chapter}-{dataset}{f'-{part}' if part else ''}.csv"


def peak_memory_mb() -> int:
    """Largest resident memory of this process so far, MB."""
    try:
        import resource
    except ModuleNotFoundError:  # on Windows
        import psutil

        return round(psutil.Process().memory_info().peak_wset / 1e6)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / 1e6 if sys.platform == "darwin" else peak / 1e3)  # bytes there, kilobytes here


@functools.cache
def commit() -> str:
    """The commit that the code comes from, with "+" if files differ from it; else the package's version."""
    here = Path(__file__).resolve().parent

    def git(*arguments: str | Path) -> str:
        return subprocess.run(["git", "-C", here, *arguments], capture_output=True, text=True, check=True).stdout

    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "--", here)
        return git("rev-parse", "--short=12", "HEAD").strip() + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return f"cellcount {version(DISTRIBUTION)}"
