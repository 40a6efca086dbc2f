"""The sweep of Cellpose's diameter: what a run of the chapter, or a kept one, says at each diameter."""

import numpy as np
import pandas as pd

from cellcount import metrics

DRAFT = {  # the five diameters that the thesis' draft tried: label to (factor of the automatic one, px added to it)
    "automatic": (1.0, 0.0), "2 px less": (1.0, -2.0), "2 px more": (1.0, 2.0), "a third": (1 / 3, 0.0),
    "three times": (3.0, 0.0),
}  # fmt: skip


def disc(labels: np.ndarray) -> float:
    """Diameter (px) of a disc with the median area of the masks of labels (H, W) int; nan if there is none."""
    areas = np.bincount(labels.ravel())[1:]
    return float(2 * np.sqrt(np.median(areas[areas > 0]) / np.pi)) if areas.any() else np.nan


def table(rows: pd.DataFrame) -> pd.DataFrame:
    """Scores of a sweep, pooled over its fields, in the reading of the whole image.

    Parameters
    ----------
    rows : DataFrame
        `results.rows` with the columns diameter (px), flow_threshold and size_px (`disc` of the masks).

    Returns
    -------
    DataFrame
        One line for each diameter and flow_threshold: tp, fp, fn, count, size_px (mean over the fields that have
        masks), precision, recall, f1, and relative, the count for each annotated cell.
    """
    whole = rows[rows.reading == "whole"].groupby(["diameter", "flow_threshold"], as_index=False)
    sums = whole.agg({"tp": "sum", "fp": "sum", "fn": "sum", "count": "sum", "size_px": "mean"})
    scores = pd.DataFrame([metrics.pooled(*counts) for counts in sums[["tp", "fp", "fn"]].to_numpy()])
    return pd.concat([sums, scores], axis=1).assign(relative=sums["count"] / (sums.tp + sums.fn))


def known(rows: pd.DataFrame) -> dict[str, float]:
    """The fields' mean automatic and, where it is known, true diameter (px): a dict with "automatic" and "true".

    `rows` have the columns image, automatic_px and true_px.
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
        One of those that were swept.

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
    """How suddenly the number of masks changes near the automatic diameter, at each limit.

    Parameters
    ----------
    swept : DataFrame, of `table`
    automatic, reach : float, px
        Diameters within `reach` of the automatic one are looked at.

    Returns
    -------
    DataFrame
        One line for each flow_threshold: `steepest`, the largest change of the count from one diameter to the next,
        for each px between them, as a share of the largest count of these diameters; nan if there is none.
    """
    lines = []
    close = swept[(swept.diameter - automatic).abs() <= reach].sort_values("diameter")
    for threshold, group in close.groupby("flow_threshold"):
        changes = np.abs(np.diff(group["count"]) / np.diff(group.diameter))
        most = group["count"].max()
        steep = float(changes.max() / most) if len(changes) and most else np.nan
        lines.append({"flow_threshold": threshold, "steepest": steep})
    return pd.DataFrame(lines, columns=["flow_threshold", "steepest"])
