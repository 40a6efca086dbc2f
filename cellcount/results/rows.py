"""Tidy result rows: raw counts with their provenance; `rows` for points, `mask_rows` for masks."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cellcount.errors import DataError, require
from cellcount.files import as_cell, from_cell, replacing
from cellcount.metrics import READINGS, box_iou, match, near, parts_of, scored, segmentation_counts
from cellcount.results.provenance import provenance
from cellcount.types import Prediction, Sample

ORIGIN = ["run", "chapter", "method", "parameters", "weights_sha256", "dataset", "image", "split"]
COST = ["seconds", "peak_memory_mb", "device", "seed", "profile", "commit"]
SCORES = ["reading", "part", "tolerance_px", "n_true", "n_pred", "count", "tp", "fp", "fn", "mean_distance_px"]
COLUMNS = [*ORIGIN, *SCORES, *COST]
MASK_COLUMNS = [*ORIGIN, "against", "iou_threshold", "n_masks", "tp", "fp", "fn", "iou_sum", *COST]
NAMES = dict.fromkeys(["part", "image", "run", "weights_sha256", "split", "train"], str)  # columns that are no numbers


def rows(
    sample: Sample, prediction: Prediction, *, tolerances: Iterable[float], parts: int = 4, **about: Any
) -> pd.DataFrame:
    """Score the points of one prediction.

    Parameters
    ----------
    sample : Sample
        With points.
    prediction : Prediction
    tolerances : iterable of float, px
    parts : int
        At the first tolerance, counts of parts x parts pieces of the image are added, for intervals; 0 for none.
    **about
        `dataset`, `parameters`, `chapter`, `seed` and `profile`, as in `provenance`.

    Returns
    -------
    DataFrame with `COLUMNS`
        `reading` is "whole" (every prediction counts: a lower bound on precision, as the annotation misses cells) or
        "near" (only predictions within 26 px of an annotated point count). `part` is "all" or the number of a piece.
        `count` is the method's own; it belongs to the whole image and is missing elsewhere. If only regions of the
        image were annotated, "whole" means these.

    Raises
    ------
    DataError
        If the sample has no annotation.
    """
    if sample.points is None:
        raise DataError(f"{sample.name}: cannot be scored without annotation.")
    origin = _origin(sample, prediction, about)
    close = near(prediction.points, sample.points)
    found = []
    for index, tolerance in enumerate(tolerances):
        whole = scored(sample, prediction.points, tolerance)
        for reading, kept in zip(READINGS, (whole, whole & close), strict=True):
            points = prediction.points[kept]
            matching = match(sample.points, points, tolerance)
            row = origin | {"reading": reading, "part": "all", "tolerance_px": float(tolerance)}
            count = prediction.count if reading == "whole" and whole.all() else np.nan
            distance = matching.distances.mean() if matching.tp else np.nan
            found.append(row | _counts(*matching[:3]) | {"count": count, "mean_distance_px": round(distance, 3)})
            if index == 0 and parts:
                pieces = parts_of(sample.points, points, matching, sample.image.shape, parts)
                found += [row | {"part": str(i)} | _counts(*piece) for i, piece in enumerate(zip(*pieces))]
    return pd.DataFrame(found, columns=COLUMNS)


def mask_rows(sample: Sample, prediction: Prediction, **about: Any) -> pd.DataFrame:
    """Score the masks of one prediction.

    Parameters
    ----------
    sample : Sample
    prediction : Prediction
        With labels.
    **about
        As in `rows`.

    Returns
    -------
    DataFrame with `MASK_COLUMNS`
        `against` "masks", if the sample has true masks: a row for each threshold of `segmentation_counts`, with the
        sum of the pairs' intersections over unions. "boxes", if the sample has drawn boxes: one row, in which tp are
        the boxes with an intersection over union of at least .5 (`box_iou`) and `iou_sum` is the sum over all boxes; a
        mask without a box is no error, so fp is missing. "nothing": one row with only the number of masks.

    Raises
    ------
    DataError
        If the prediction has no masks.
    """
    if prediction.labels is None:
        raise DataError(f"{sample.name}: the prediction has no masks to be scored.")
    origin = _origin(sample, prediction, about) | {"n_masks": len(prediction.points)}
    found = []
    if sample.labels is not None:
        counts = segmentation_counts(sample.labels, prediction.labels, valid=sample.valid)
        found += [origin | {"against": "masks"} | row for row in counts]
    if sample.boxes is not None:
        agreement = box_iou(sample.boxes, prediction.labels)
        half = int((agreement >= 0.5).sum())
        row = {"against": "boxes", "iou_threshold": 0.5, "tp": half, "fn": len(agreement) - half}
        found.append(origin | row | {"iou_sum": float(agreement.sum())})
    return pd.DataFrame(found or [origin | {"against": "nothing"}], columns=MASK_COLUMNS)


def _origin(sample: Sample, prediction: Prediction, about: dict[str, Any]) -> dict[str, Any]:
    """The provenance that all rows of one prediction share."""
    meta = {name: prediction.meta[name] for name in ("weights_sha256", "seconds", "device") if name in prediction.meta}
    return provenance(prediction.meta.get("method", ""), sample.name, split=sample.split, **meta, **about)


def _counts(tp: int, fp: int, fn: int) -> dict[str, int]:
    tp, fp, fn = int(tp), int(fp), int(fn)
    return {"tp": tp, "fp": fp, "fn": fn, "n_true": tp + fn, "n_pred": tp + fp}


def write(frame: pd.DataFrame, path: Path | str) -> Path:
    """Write rows as CSV, compressed if the name ends in .gz, completely or not at all; returns the path."""
    compression = {"method": "gzip", "mtime": 0} if str(path).endswith(".gz") else None  # no time: equal bytes
    with replacing(path) as temporary:
        frame = frame.assign(**{name: frame[name].map(as_cell) for name in _texts(frame)})
        frame.to_csv(temporary, index=False, compression=compression)
    return Path(path)


def read(path: Path | str) -> pd.DataFrame:
    """Rows from CSV.

    Raises
    ------
    DataError
        If the file is missing or lacks a column.
    """
    frame = table(path)
    lacking = ", ".join(name for name in COLUMNS if name not in frame)
    require(not lacking, f"{path}: not a result file of this version, without {lacking}. Compute it again.", DataError)
    return frame


def table(path: Path | str) -> pd.DataFrame:
    """A committed table of any columns: a DataFrame. Raises DataError if the file is missing."""
    missing = f"No result file at {path}; `make results` computes the committed ones."
    require(Path(path).exists(), missing, DataError)
    frame = pd.read_csv(path, dtype=NAMES)
    return frame.assign(**{name: frame[name].map(_text) for name in _texts(frame)})


def _texts(frame: pd.DataFrame) -> list[str]:
    """The columns that may have text."""
    return [str(name) for name in frame if not pd.api.types.is_numeric_dtype(frame[name])]


def _text(value: Any) -> Any:
    return from_cell(value) if isinstance(value, str) else value
