"""Scores of masks from prompts: their number, areas and overlaps, and the cells that they cover."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cellcount.methods.masks import Masks
from cellcount.metrics.segmentation import box_iou


def assigned(masks: Masks, centres: np.ndarray) -> Masks:
    """Masks of an automatic mode assigned to centres: `Masks`, one for each centre.

    Each centre gets the smallest mask that contains it, or an empty one; several centres may get the same mask.

    Parameters
    ----------
    masks : Masks
    centres : (N, 2) float, (y, x) px
    """
    areas = masks.areas
    taken = np.full(len(centres), -1)
    for mask, centre in masks.holds(centres):
        if taken[centre] < 0 or areas[mask] < areas[taken[centre]]:
            taken[centre] = mask
    return masks.take(taken)


def prompt_scores(
    masks: Masks,
    centres: np.ndarray,
    *,
    found: int | None = None,
    labels: np.ndarray | None = None,
    of: np.ndarray | None = None,
    boxes: np.ndarray | None = None,
) -> dict[str, float]:
    """Raw numbers of the masks from the prompts of one image.

    Parameters
    ----------
    masks : Masks
        Mask i belongs to centre i; overlaps are not resolved yet.
    centres : (N, 2) float, (y, x) px
    found : int or None
        Number of masks of the automatic mode. None counts the masks that are not empty.
    labels : (H, W) int or None
        True cells; 0 is background.
    of : (N,) int or None
        Label of the cell of each centre; 0 for none. None stands for i + 1.
    boxes : (K, 4) float or None
        Drawn boxes, (y0, x0, y1, x1) px.

    Returns
    -------
    dict
        n_prompts, n_masks; area_low, area_median, area_high (10th, 50th and 90th percentile, px);
        covered and contested: px in at least one, in at least two masks;
        n_own: masks that contain their centre; n_others: masks that contain another centre;
        with labels, n_true, iou_sum (over the masks, each with its cell), n_half (masks with IoU of at least .5),
        n_small and n_large (masks of less than half, and of more than twice, the area of their cell);
        with boxes, n_boxes and box_iou_sum (see `segmentation.box_iou`).
    """
    areas = masks.areas
    real = areas[areas > 0]
    coverage = masks.coverage()
    held = masks.holds(centres)
    own = held[:, 0] == held[:, 1]
    low, middle, high = np.percentile(real, [10, 50, 90]) if len(real) else (np.nan,) * 3
    scores = {
        "n_prompts": len(centres), "n_masks": len(real) if found is None else int(found), "area_low": low,
        "area_median": middle, "area_high": high, "covered": int((coverage > 0).sum()),
        "contested": int((coverage > 1).sum()), "n_own": int(own.sum()), "n_others": len(np.unique(held[~own, 0])),
    }  # fmt: skip
    if labels is not None:
        iou = masks.iou(labels, of)
        known = np.ones(len(iou), bool) if of is None else np.asarray(of) > 0
        scores |= {"n_true": int(known.sum()), "iou_sum": float(iou[known].sum()), "n_half": int((iou >= 0.5).sum())}
        own = np.arange(1, len(masks) + 1) if of is None else np.asarray(of, int)
        true = np.bincount(labels.ravel(), minlength=own.max(initial=0) + 1)[own[known]]
        scores |= {"n_small": int((areas[known] < true / 2).sum()), "n_large": int((areas[known] > 2 * true).sum())}
    if boxes is not None:
        scores |= {"n_boxes": len(boxes), "box_iou_sum": float(box_iou(boxes, masks.labels()).sum())}
    return scores


def prompt_summary(rows: Sequence[Mapping[Any, float]]) -> dict[str, float]:
    """Scores pooled over images, from several dicts of `prompt_scores`.

    Returns
    -------
    dict
        masks_per_prompt; area_low, area_median, area_high (px, means over the images); contested (share of the covered
        px); own and others (shares of the masks); iou, half, small and large (mean, shares of the cells) or nan;
        box_iou or nan.
    """

    def total(name: str) -> float:
        return float(np.nansum([row.get(name, 0) for row in rows]))  # not every image has boxes

    def share(part: str, whole: str) -> float:
        known = total(whole) and any(part in row for row in rows)  # earlier rows lack some numbers
        return total(part) / total(whole) if known else np.nan

    areas = {name: float(np.mean([row[name] for row in rows])) for name in ("area_low", "area_median", "area_high")}
    shares = {"contested": ("contested", "covered"), "own": ("n_own", "n_masks"), "others": ("n_others", "n_masks")}
    shares |= {"iou": ("iou_sum", "n_true"), "half": ("n_half", "n_true"), "box_iou": ("box_iou_sum", "n_boxes")}
    shares |= {"small": ("n_small", "n_true"), "large": ("n_large", "n_true")}
    found = {"masks_per_prompt": share("n_masks", "n_prompts")} | areas
    return found | {name: share(*pair) for name, pair in shares.items()}
