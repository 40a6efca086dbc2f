"""How good masks are: against true masks, where they are known, and against drawn boxes.

The matching of masks is StarDist's (`stardist.matching`, Schmidt et al. 2018); importing it loads no TensorFlow.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy import ndimage
from scipy.optimize import linear_sum_assignment

from cellcount.errors import DataError

IOU_THRESHOLDS = tuple(round(0.5 + 0.05 * i, 2) for i in range(10))  # .5 to .95, as in COCO


def segmentation_counts(
    true: np.ndarray,
    predicted: np.ndarray,
    *,
    valid: np.ndarray | None = None,
    thresholds: Sequence[float] = IOU_THRESHOLDS,
) -> list[dict[str, float]]:
    """Match predicted to true masks, one to one, at several thresholds of their intersection over union.

    Parameters
    ----------
    true, predicted : (H, W) int, 0 is background
    valid : (H, W) bool, optional
        A predicted mask that lies mostly where this is False counts neither as right nor as wrong: on a simulated
        field these are cells whose nucleus lies outside.
    thresholds : tuple of float

    Returns
    -------
    list of dict, one for each threshold
        "iou_threshold", "tp", "fp", "fn", and "iou_sum", the sum of the intersections over unions of the pairs.

    Raises
    ------
    DataError
        If the two differ in shape.
    """
    from stardist.matching import matching

    if true.shape != predicted.shape:
        raise DataError(f"true masks have shape {true.shape}, predicted ones {predicted.shape}.")
    if valid is not None:
        predicted = without(predicted, ~valid)
    found = matching(true.astype(np.int32), predicted.astype(np.int32), thresh=tuple(thresholds))
    return [
        {
            "iou_threshold": threshold,
            "tp": int(m.tp),
            "fp": int(m.fp),
            "fn": int(m.fn),
            "iou_sum": float(m.mean_matched_score * m.tp),
        }
        for threshold, m in zip(thresholds, found, strict=True)
    ]


def segmentation_scores(counts: Iterable[Mapping[Any, float]]) -> dict[str, float]:
    """Scores of one image, or pooled over several.

    Parameters
    ----------
    counts : iterable of dict, as `segmentation_counts` gives them; those of several images are added up

    Returns
    -------
    dict
        "ap50", "ap75" : average precision at one threshold, tp / (tp + fp + fn), as Cellpose and StarDist define it;
        "msa" : its mean over all thresholds (mean segmentation accuracy);
        "pq", "sq", "rq" : panoptic quality at .5, the product of the pairs' mean intersection over union and of the
        F1 of the masks (Kirillov et al. 2019, doi:10.1109/CVPR.2019.00963). An image without any mask scores 1.
    """
    sums: dict[float, np.ndarray] = {}
    for row in counts:
        total = sums.setdefault(row["iou_threshold"], np.zeros(4))
        total += [row["tp"], row["fp"], row["fn"], row["iou_sum"]]

    def ap(threshold: float) -> float:
        tp, fp, fn, _ = sums[threshold]
        return float(tp / (tp + fp + fn)) if tp + fp + fn else 1.0

    tp, fp, fn, iou = sums[0.5]
    sq = iou / tp if tp else float(fp + fn == 0)
    rq = 2 * tp / (2 * tp + fp + fn) if tp + fp + fn else 1.0
    scores = {"ap50": ap(0.5), "msa": float(np.mean([ap(threshold) for threshold in sums]))}
    if 0.75 in sums:
        scores["ap75"] = ap(0.75)
    return scores | {"pq": float(sq * rq), "sq": float(sq), "rq": float(rq)}


def paired_iou(true: np.ndarray, predicted: np.ndarray, count: int) -> np.ndarray:
    """Intersection over union of masks that belong together by their number, as pseudo-masks and true masks do.

    Parameters
    ----------
    true, predicted : (H, W) int
        0 is background, i + 1 the mask of cell i.
    count : int, of cells

    Returns
    -------
    (count,) float; 0 where one of the two has no mask
    """
    size = count + 1
    both = np.bincount((true.astype(np.int64) * size + predicted).ravel(), minlength=size * size).reshape(size, size)
    shared = np.diag(both)[1:]
    either = both.sum(axis=0)[1:] + both.sum(axis=1)[1:] - shared
    return shared / np.maximum(either, 1)


def box_iou(boxes: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """How well masks agree with drawn boxes, by their bounding boxes.

    Each drawn box gets at most one mask, so that the sum over all is largest (Kuhn 1955). Masks left over say
    nothing: not every cell has a box.

    Parameters
    ----------
    boxes : (K, 4) float, (y0, x0, y1, x1) px
    labels : (H, W) int, 0 is background

    Returns
    -------
    (K,) float
        Intersection over union of each drawn box with its mask's; 0 where none is left for it.
    """
    boxes = np.asarray(boxes, float)
    # A pixel reaches half a px around its centre, and a slice ends one behind its last.
    found = [
        (rows.start - 0.5, columns.start - 0.5, rows.stop - 0.5, columns.stop - 0.5)
        for rows, columns in (s for s in ndimage.find_objects(labels) if s is not None)
    ]
    agreement = np.zeros(len(boxes))
    if not found or not len(boxes):
        return agreement
    bounds = np.array(found)
    low = np.maximum(boxes[:, None, :2], bounds[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], bounds[None, :, 2:])
    shared = np.prod(np.clip(high - low, 0, None), axis=2)
    areas = [np.prod(b[:, 2:] - b[:, :2], axis=1) for b in (boxes, bounds)]
    iou = shared / (areas[0][:, None] + areas[1][None] - shared)
    drawn, taken = linear_sum_assignment(iou, maximize=True)
    agreement[drawn] = iou[drawn, taken]
    return agreement


def without(labels: np.ndarray, region: np.ndarray) -> np.ndarray:
    """`labels` (H, W) int without the masks of which more than half lies in `region` (H, W) bool."""
    size = np.bincount(labels.ravel())
    outside = np.bincount(labels[region], minlength=len(size))
    return np.where((outside * 2 > size)[labels], 0, labels)
