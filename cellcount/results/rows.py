"""Tidy result rows: raw counts with where they come from; `rows` of points, `mask_rows` of masks."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cellcount.errors import DataError
from cellcount.files import replacing
from cellcount.metrics import READINGS, box_iou, match, near, parts_of, segmentation_counts
from cellcount.results.provenance import provenance
from cellcount.types import Prediction, Sample

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


def _counts(tp: int, fp: int, fn: int) -> dict[str, int]:
    tp, fp, fn = int(tp), int(fp), int(fn)
    return {"tp": tp, "fp": fp, "fn": fn, "n_true": tp + fn, "n_pred": tp + fp}


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
