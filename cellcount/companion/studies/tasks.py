"""What a perfect network would answer in each task, how the answers become counts, and what the field's metrics see."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
from scipy import ndimage

from cellcount.data import phantom
from cellcount.methods.cellnet.targets import heatmap, volume
from cellcount.methods.detection.boxes import squares
from cellcount.methods.pixels import peaks
from cellcount.metrics import covered, game, match
from cellcount.types import Prediction, Sample


def unsuppressed(boxes: np.ndarray, overlap: float) -> np.ndarray:
    """Greedy non-maximum suppression of boxes that come in the order of their confidence.

    Parameters
    ----------
    boxes : (N, 4) float, (y0, x0, y1, x1) px
    overlap : float in (0, 1]
        A box is dropped if its intersection over union with one that was kept exceeds this.

    Returns
    -------
    (N,) bool
    """
    import torch
    from torchvision.ops import nms

    order = -torch.arange(len(boxes), dtype=torch.float64)
    kept = np.zeros(len(boxes), bool)
    kept[nms(torch.from_numpy(np.asarray(boxes, np.float64)), order, overlap).numpy()] = True
    return kept


def bounding_boxes(labels: np.ndarray) -> np.ndarray:
    """The box around each instance of labels (H, W) int: (N, 4) float, (y0, x0, y1, x1) px, by label."""
    found = [(y.start, x.start, y.stop, x.stop) for y, x in filter(None, ndimage.find_objects(labels))]
    return np.array(found, float).reshape(-1, 4) - 0.5


def perfect_counts(sample: Sample, *, side: float, overlap: float, sigma: float, distance: float) -> dict[str, float]:
    """The count that each kind of answer gives, if the network makes no error.

    Parameters
    ----------
    sample : Sample with masks
    side : float, px
        Of squares that stand for boxes where only centres are known.
    overlap : float
        Intersection over union above which a detector takes two boxes for one object.
    sigma : float, px
        Width of the Gaussians of heatmap and density.
    distance : float, px
        Between two peaks.

    Returns
    -------
    dict of answer to cells; "cells" is the true number
    """
    points, shape = sample.points, sample.image.shape
    answer = heatmap(points, shape, sigma)
    return {
        "cells": len(points),
        "boxes": int(unsuppressed(bounding_boxes(sample.labels), overlap).sum()),
        "squares": int(unsuppressed(squares(points, side), overlap).sum()),
        "area": ndimage.label(covered(sample))[1],
        "masks": len(np.unique(sample.labels)) - 1,
        "peaks": len(peaks(answer, threshold=0.5, distance=distance)[0]),
        "density": float(answer.sum() / volume(sigma)),
    }


def mean_of_clicks(sample: Sample, *, passes: int, seed: int, sigma: float) -> tuple[np.ndarray, float]:
    """The mean heatmap of many passes of the simulated annotator, which no answer to them beats in squared error.

    Parameters
    ----------
    sample : Sample, simulated
    passes : int
    seed : int
    sigma : float, px

    Returns
    -------
    heat : (H, W) float32
    clicks : float
        On live cells and on dead ones, mean over the passes.
    """
    clicked = [phantom.annotate(sample, seed + k).points for k in range(passes)]
    heat = np.mean([heatmap(points, sample.image.shape, sigma) for points in clicked], axis=0, dtype=np.float32)
    return heat, float(np.mean([len(points) for points in clicked]))


def ranked(true: np.ndarray, prediction: Prediction, tolerance: float) -> pd.DataFrame:
    """Precision and recall over the confidence: of the most confident point, of the two most confident, and so on.

    Parameters
    ----------
    true : (N, 2) float, (y, x) px
    prediction : Prediction
    tolerance : float, px

    Returns
    -------
    DataFrame
        Columns confidence, tp, precision, recall; one row for each number of points, `match` judging each.
    """
    order = np.argsort(-prediction.scores, kind="stable")
    numbers = np.arange(1, len(order) + 1)
    tp = np.array([match(true, prediction.points[order[:k]], tolerance).tp for k in numbers], int)
    columns = {"confidence": prediction.scores[order], "tp": tp, "precision": tp / numbers, "recall": tp / len(true)}
    return pd.DataFrame(columns)


def average_precision(curve: pd.DataFrame, *, envelope: bool = True) -> float:
    """Area under the precision over the recall.

    Parameters
    ----------
    curve : DataFrame, from `ranked`
    envelope : bool
        Take at each recall the best precision at that recall or a higher one, as PASCAL VOC and COCO do.
    """
    precision = curve.precision.to_numpy()
    if envelope:
        precision = np.maximum.accumulate(precision[::-1])[::-1]
    return float((np.diff(curve.recall, prepend=0) * precision).sum())


def rivals(sample: Sample, *, tolerance: float, seed: int, error: float = 0.2) -> dict[str, Prediction]:
    """Three made-up answers to a simulated field: two of the same points, and one of as many points as cells.

    Parameters
    ----------
    sample : Sample with points
    tolerance : float, px
    seed : int
    error : float
        Share of the cells that the first two miss; they have as many false points.

    Returns
    -------
    dict
        "A": its false points have low confidence; "B": the same points, with a confidence that says nothing;
        "C": a point for each cell, all of them farther than the tolerance from any cell.
    """
    rng = np.random.default_rng(seed)
    cells, wrong = len(sample.points), round(error * len(sample.points))
    grid = np.stack(np.mgrid[: sample.image.shape[0], : sample.image.shape[1]], axis=-1).reshape(-1, 2)
    away = ndimage.distance_transform_edt(_empty(sample)).ravel() > tolerance + 1
    free = rng.permutation(grid[away]).astype(np.float32)
    found = rng.permutation(sample.points)[wrong:]
    points = np.concatenate([found + rng.uniform(-0.3, 0.3, found.shape) * tolerance, free[:wrong]]).astype(np.float32)
    sure = np.concatenate([rng.beta(5, 2, len(found)), rng.beta(2, 5, wrong)]).astype(np.float32)
    a = Prediction(points, sure, len(points), meta={"method": "A"})
    chosen = np.ones(cells, np.float32)
    return {
        "A": a,
        "B": replace(a, scores=rng.permutation(sure), meta={"method": "B"}),
        "C": Prediction(free[wrong : wrong + cells], chosen, cells, meta={"method": "C"}),
    }


def _empty(sample):
    """(H, W) bool: False on the pixels of the cells' centres."""
    empty = np.ones(sample.image.shape, bool)
    empty[tuple(np.rint(sample.points).astype(int).T)] = False
    return empty


def judged(sample: Sample, answers: Mapping[str, Prediction], tolerance: float) -> pd.DataFrame:
    """The field's metrics of several answers to one field.

    Parameters
    ----------
    sample : Sample with points
    answers : dict of name to Prediction
    tolerance : float, px

    Returns
    -------
    DataFrame
        One row an answer: precision, recall, f1, ap, ap_segmentation (tp / (tp + fp + fn)), error (cells), game3.
    """
    lines = []
    for name, answer in answers.items():
        found = match(sample.points, answer.points, tolerance)
        line = {"answer": name, "precision": found.precision, "recall": found.recall, "f1": found.f1}
        line["ap"] = average_precision(ranked(sample.points, answer, tolerance))
        line["ap_segmentation"] = found.tp / (found.tp + found.fp + found.fn)
        line["error"] = answer.count - len(sample.points)
        line["game3"] = game(sample.points, answer.points, sample.image.shape, 3)
        lines.append(line)
    return pd.DataFrame(lines)
