"""Quality of masks: against true masks, where these are known, drawn boxes, and annotated points.

The matching of masks is StarDist's (`stardist.matching`, Schmidt et al. 2018); importing it loads no TensorFlow.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import ndimage
from scipy.optimize import linear_sum_assignment

from cellcount.errors import DataError, require
from cellcount.metrics.matching import f1, match
from cellcount.types import Prediction, Sample

IOU_THRESHOLDS = tuple(round(0.5 + 0.05 * i, 2) for i in range(10))  # .5 to .95, as in COCO


def segmentation_counts(
    true: np.ndarray,
    predicted: np.ndarray,
    *,
    valid: np.ndarray | None = None,
    thresholds: Sequence[float] = IOU_THRESHOLDS,
) -> list[dict[str, float]]:
    """Match predicted with true masks, one to one, at several thresholds of their intersection over union.

    Parameters
    ----------
    true, predicted : (H, W) int, 0 is background
    valid : (H, W) bool, optional
        Predicted masks mostly outside are ignored: in a simulated field these are cells with their nucleus outside.
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

    same = true.shape == predicted.shape
    require(same, f"true masks have shape {true.shape}, predicted ones {predicted.shape}.", DataError)
    if valid is not None:
        predicted = without(predicted, ~valid)
    found = matching(true.astype(np.int32), predicted.astype(np.int32), thresh=tuple(thresholds))
    counts = [{name: int(getattr(one, name)) for name in ("tp", "fp", "fn")} for one in found]
    sums = [{"iou_sum": float(one.mean_matched_score * one.tp)} for one in found]
    return [{"iou_threshold": at} | count | total for at, count, total in zip(thresholds, counts, sums, strict=True)]


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
    ap = {at: float(tp / (tp + fp + fn)) if tp + fp + fn else 1.0 for at, (tp, fp, fn, _) in sums.items()}
    tp, fp, fn, iou = sums[0.5]
    sq, rq = iou / tp if tp else float(fp + fn == 0), f1(tp, fp, fn)
    scores = {"ap50": ap[0.5], "msa": float(np.mean([*ap.values()]))} | ({"ap75": ap[0.75]} if 0.75 in ap else {})
    return scores | {"pq": float(sq * rq), "sq": float(sq), "rq": float(rq)}


def paired_iou(true: np.ndarray, predicted: np.ndarray, count: int) -> np.ndarray:
    """Intersection over union of masks with the same number, such as pseudo-masks and true masks.

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
    """Agreement of the bounding boxes of masks with drawn boxes.

    Each drawn box is assigned at most one mask, so that the sum over all is largest (Kuhn 1955). Masks without a box
    are ignored: not every cell has a drawn box.

    Parameters
    ----------
    boxes : (K, 4) float, (y0, x0, y1, x1) px
    labels : (H, W) int, 0 is background

    Returns
    -------
    (K,) float
        Intersection over union of each drawn box with that of its mask; 0 without a mask.
    """
    boxes = np.asarray(boxes, float)
    slices = [pair for pair in ndimage.find_objects(labels) if pair is not None]
    agreement = np.zeros(len(boxes))
    if not slices or not len(boxes):
        return agreement
    # A pixel extends half a px around its centre, and a slice ends one after its last.
    bounds = np.array([(y.start, x.start, y.stop, x.stop) for y, x in slices]) - 0.5
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


def overlap(true: ArrayLike, predicted: ArrayLike) -> tuple[int, int]:
    """Intersection and union of two regions, px: their ratio is the IoU (Jaccard index), also when summed over images.

    Parameters
    ----------
    true, predicted : (H, W) bool

    Returns
    -------
    intersection, union : int

    Raises
    ------
    ParameterError
        If the shapes differ.
    """
    true, predicted = np.asarray(true, bool), np.asarray(predicted, bool)
    require(true.shape == predicted.shape, f"regions of {true.shape} and {predicted.shape} px cannot be compared.")
    return int((true & predicted).sum()), int((true | predicted).sum())


def iou(true: ArrayLike, predicted: ArrayLike) -> float:
    """Intersection over union of two regions, (H, W) bool each; 1 if both are empty."""
    intersection, union = overlap(true, predicted)
    return intersection / union if union else 1.0


def covered(sample: Sample) -> np.ndarray:
    """The area covered by the cells of a Sample with masks, (H, W) bool.

    Cells whose nucleus is outside the image have no mask, but cover area: simulated fields are not `valid` there.

    Raises
    ------
    DataError
        If the sample has no masks: only simulated fields have masks.
    """
    if sample.labels is None:
        raise DataError(f"{sample.name}: without masks the covered area is unknown; use simulated fields.")
    return (sample.labels > 0) | ~sample.valid


class Outcomes(NamedTuple):
    """Indices by class, (n,) int each: of masks (mask i has the label i + 1) or, for `missed`, of annotated points.

    `found` masks contain one annotated point and are matched. `merged` masks contain two or more. `holes` contain none
    and are mostly on background; `unexplained` masks contain none and are on something else. `missed` points are
    neither matched nor inside a mask.
    """

    found: np.ndarray
    merged: np.ndarray
    holes: np.ndarray
    unexplained: np.ndarray
    missed: np.ndarray


def mask_outcomes(sample: Sample, prediction: Prediction, background: np.ndarray, tolerance: float) -> Outcomes:
    """Classify masks and annotated points.

    Parameters
    ----------
    sample : Sample with points
    prediction : Prediction with labels
    background : (H, W) bool
        Where no cell is.
    tolerance : float, px

    Returns
    -------
    Outcomes

    Raises
    ------
    DataError
        If there is no annotation, or the prediction has no masks.
    """
    if sample.points is None or prediction.labels is None:
        raise DataError(f"{sample.name}: annotated points and predicted masks are needed to classify them.")
    count = len(prediction.points)
    at = np.rint(sample.points).astype(int).clip(0, np.array(sample.image.shape) - 1)
    under = prediction.labels[tuple(at.T)]
    held = np.bincount(under, minlength=count + 1)[1:]
    matching = match(sample.points, prediction.points, tolerance)
    matched = np.zeros(count, bool)
    matched[matching.pairs[:, 1]] = True
    area = np.bincount(prediction.labels.ravel(), minlength=count + 1)[1:]
    empty = np.bincount(prediction.labels[background], minlength=count + 1)[1:] * 2 > area
    false = (held == 0) & ~matched & (area > 0)
    missed = np.setdiff1d(np.flatnonzero(under == 0), matching.pairs[:, 0])
    kinds = ((held == 1) & matched, held > 1, false & empty, false & ~empty)
    return Outcomes._make([*map(np.flatnonzero, kinds), missed])
