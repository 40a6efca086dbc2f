"""Cellpose at many diameters and flow thresholds, and what the scores say about the diameter."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pandas as pd

from cellcount import metrics
from cellcount.methods.cellpose.inference import MASK_SIZE, as_prediction, flow, quiet
from cellcount.types import Prediction

DRAFT = {  # the five diameters in the thesis' draft: label to (factor of the automatic diameter, px added to it)
    "automatic": (1.0, 0.0), "2 px less": (1.0, -2.0), "2 px more": (1.0, 2.0), "a third": (1 / 3, 0.0),
    "three times": (3.0, 0.0),
}  # fmt: skip


def sweep(
    image: np.ndarray, diameters: Iterable[float], flow_thresholds: Iterable[float], **params: Any
) -> Iterator[tuple[float, float, Prediction]]:
    """Predictions of Cellpose at every pair of a diameter and a flow threshold, each equal to that of `predict`.

    The network runs once for each diameter, and the masks are made once; a flow threshold only removes masks.

    Parameters
    ----------
    image : (H, W) float32 in [0, 1]
    diameters : iterable of float, px
    flow_thresholds : iterable of float
        0 keeps every mask.
    params
        device, weights and exposure, as for `cellcount.methods.cellpose.flow`.

    Yields
    ------
    (diameter, flow_threshold, Prediction)
    """
    from cellpose.dynamics import compute_masks
    from cellpose.metrics import flow_error
    from cellpose.utils import fill_holes_and_remove_small_masks

    for diameter in diameters:
        flows = flow(image, diameter=diameter, **params)
        model = flows.loaded.model
        steps = flows.diameter / model.diam_mean * 200  # as in CellposeModel.eval
        with quiet():
            masks = compute_masks(flows.flow, flows.logit, niter=steps, flow_threshold=0, device=model.device)
        errors = flow_error(masks, flows.flow, model.device)[0] if masks.any() else np.zeros(0)
        meta = {"diameter": float(diameter), "weights_sha256": flows.loaded.sha256, "device": str(model.device)}
        for threshold in flow_thresholds:
            kept = masks.copy()
            if threshold > 0:
                kept[np.isin(kept, 1 + np.flatnonzero(errors > threshold))] = 0
            kept = fill_holes_and_remove_small_masks(kept, min_size=MASK_SIZE)
            yield diameter, threshold, as_prediction(kept, flows.logit, flow_threshold=threshold, **meta)


def disc(labels: np.ndarray) -> float:
    """Diameter (px) of a disc with the median area of the masks in labels (H, W) int; nan without masks."""
    areas = np.bincount(labels.ravel())[1:]
    return float(2 * np.sqrt(np.median(areas[areas > 0]) / np.pi)) if areas.any() else np.nan


def table(rows: pd.DataFrame) -> pd.DataFrame:
    """Scores of a sweep on whole images, pooled over its fields.

    Parameters
    ----------
    rows : DataFrame
        `results.rows` with the columns diameter (px), flow_threshold and size_px (`disc` of the masks).

    Returns
    -------
    DataFrame
        One line for each diameter and flow_threshold: tp, fp, fn, count, size_px (mean over the fields that have
        masks), precision, recall, f1, and relative, the count divided by the number of annotated cells.
    """
    whole = rows[rows.reading == "whole"].groupby(["diameter", "flow_threshold"], as_index=False)
    sums = whole.agg({"tp": "sum", "fp": "sum", "fn": "sum", "count": "sum", "size_px": "mean"})
    scores = pd.DataFrame([metrics.pooled(*counts) for counts in sums[["tp", "fp", "fn"]].to_numpy()])
    return pd.concat([sums, scores], axis=1).assign(relative=sums["count"] / (sums.tp + sums.fn))


def known(rows: pd.DataFrame) -> dict[str, float]:
    """Means over the fields of the automatic and, if known, the true diameter (px): a dict with "automatic" and "true".

    rows : DataFrame with the columns image, automatic_px and true_px
    """
    means = rows.groupby("image")[["automatic_px", "true_px"]].first().mean()
    found = {label: float(means[f"{label}_px"]) for label in ("automatic", "true")}
    return {label: value for label, value in found.items() if np.isfinite(value)}


def draft(swept: pd.DataFrame, automatic: float, flow_threshold: float) -> pd.DataFrame:
    """The lines of a sweep's `table` that are nearest to the draft's five diameters.

    Parameters
    ----------
    swept : DataFrame, of `table`
    automatic : float, px
    flow_threshold : float
        One of the sweep.

    Returns
    -------
    DataFrame
        Five lines of `swept`, in the order of `DRAFT`, with their label in the column `asked`.
    """
    found = swept[swept.flow_threshold == flow_threshold]
    wanted = [automatic * factor + offset for factor, offset in DRAFT.values()]
    lines = found.iloc[[int((found.diameter - diameter).abs().to_numpy().argmin()) for diameter in wanted]]
    return lines.assign(asked=list(DRAFT))


def steepest(swept: pd.DataFrame, automatic: float, reach: float = 4.0) -> pd.DataFrame:
    """The steepest change of the number of masks near the automatic diameter, at each flow threshold.

    Parameters
    ----------
    swept : DataFrame, of `table`
    automatic, reach : float, px
        Only diameters within `reach` of the automatic one are used.

    Returns
    -------
    DataFrame
        One line for each flow_threshold: `steepest`, the largest change of the count per px between two successive
        diameters, relative to the largest count of these diameters; nan if undefined.
    """
    lines = []
    close = swept[(swept.diameter - automatic).abs() <= reach].sort_values("diameter")
    for threshold, group in close.groupby("flow_threshold"):
        changes = np.abs(np.diff(group["count"]) / np.diff(group.diameter))
        most = group["count"].max()
        steep = float(changes.max() / most) if len(changes) and most else np.nan
        lines.append({"flow_threshold": threshold, "steepest": steep})
    return pd.DataFrame(lines, columns=["flow_threshold", "steepest"])
