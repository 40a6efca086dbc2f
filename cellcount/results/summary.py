"""Scores of result rows: pooled, per image, with intervals."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from cellcount.metrics import bootstrap, per_image, pooled, segmentation_scores


def summary(frame: pd.DataFrame, by: Sequence[str] = ("method", "reading", "tolerance_px")) -> pd.DataFrame:
    """Pooled and per-image scores of result rows.

    Parameters
    ----------
    frame : DataFrame of `rows`
    by : names of the columns by which rows are grouped

    Returns
    -------
    DataFrame
        One line for each group: images, n_true, n_pred, precision, recall, f1 (pooled over images), f1_low, f1_high
        (95 % bootstrap interval of the pooled F1 over images, or over parts of images for fewer than five images),
        resampled ("images" or "parts"), f1_mean (mean over images), mean_distance_px.
    """
    lines = []
    for key, group in frame.groupby(list(by), sort=False, dropna=False):
        whole, pieces = group[group.part == "all"], group[group.part != "all"]
        few = len(whole) < 5 and len(pieces) > 0
        counts, units = (part[["tp", "fp", "fn"]].to_numpy(int).T for part in (whole, pieces if few else whole))
        low, high = bootstrap(*units)
        lines.append(
            dict(zip(by, key, strict=True))
            | {"images": len(whole), "n_true": whole.n_true.sum(), "n_pred": whole.n_pred.sum()}
            | pooled(*counts)
            | {"f1_low": low, "f1_high": high, "resampled": "parts" if few else "images"}
            | {"f1_mean": per_image(*counts).mean()}
            | {"mean_distance_px": np.average(whole.mean_distance_px.fillna(0), weights=whole.tp.clip(lower=1e-9))}
        )
    return pd.DataFrame(lines)


def mask_summary(frame: pd.DataFrame, by: Sequence[str] = ("method",)) -> pd.DataFrame:
    """Scores of the masks in `mask_rows`, pooled over images.

    Returns
    -------
    DataFrame
        One line for each group: n_masks; with true masks ap50, ap75, msa, pq, sq, rq (`segmentation_scores`); with
        drawn boxes box_iou and box_half, the mean over the boxes and the share of at least .5.
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
