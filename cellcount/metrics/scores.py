"""Scores over several images, with an interval."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike

from cellcount.errors import one_of
from cellcount.metrics.matching import Matching, f1

READINGS = ("whole", "near")


def pooled(tp: ArrayLike, fp: ArrayLike, fn: ArrayLike) -> dict[str, float]:
    """Precision, recall and F1 from counts summed over images; each (K,) int. A dict of floats."""
    tp, fp, fn = (int(np.sum(counts)) for counts in (tp, fp, fn))
    return {
        "precision": tp / (tp + fp) if tp + fp else float(fn == 0),
        "recall": tp / (tp + fn) if tp + fn else float(fp == 0),
        "f1": f1(tp, fp, fn),
    }


def per_image(tp: Iterable[int], fp: Iterable[int], fn: Iterable[int]) -> np.ndarray:
    """F1 of each image, (K,) float, from counts (K,) int."""
    return np.array([f1(*counts) for counts in zip(tp, fp, fn, strict=True)])


def bootstrap(
    tp: ArrayLike,
    fp: ArrayLike,
    fn: ArrayLike,
    *,
    statistic: str = "pooled",
    level: float = 0.95,
    draws: int = 2000,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile bootstrap interval of F1 over images, or parts of images.

    Whole images are resampled, since errors within an image are not independent. With one or two images, use counts of
    parts (`parts_of`), and say so: parts of one image are similar, so the interval is then a lower bound on the
    uncertainty over new images.

    Parameters
    ----------
    tp, fp, fn : (K,) int
    statistic : "pooled" or "mean"
        F1 of the summed counts, or the mean F1 of the images.
    level : float
    draws : int
    seed : int

    Returns
    -------
    (low, high)
    """
    one_of(statistic, ("pooled", "mean"), "statistic")
    counts = np.array([tp, fp, fn], float)  # (3, K)
    chosen = np.random.default_rng(seed).integers(counts.shape[1], size=(draws, counts.shape[1]))
    drawn = counts[:, chosen]  # (3, draws, K)
    values = _f1(drawn.sum(axis=2)) if statistic == "pooled" else _f1(drawn).mean(axis=1)
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _f1(counts: np.ndarray) -> np.ndarray:
    tp, fp, fn = counts
    whole = 2 * tp + fp + fn
    return np.divide(2 * tp, whole, out=np.ones_like(whole), where=whole > 0)


def parts_of(
    true: np.ndarray, predicted: np.ndarray, matching: Matching, shape: tuple[int, ...], parts: int = 4
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Counts of a matching in parts x parts equal pieces of the image.

    Pairs and missed cells belong to the piece with the true point, false ones to the piece with the predicted point.

    Parameters
    ----------
    true, predicted : (N, 2), (M, 2) float, (y, x) px
    matching : Matching of the two
    shape : (H, W), px
    parts : int

    Returns
    -------
    tp, fp, fn : (parts**2,) int each
    """

    def count(points: np.ndarray) -> np.ndarray:
        index = ((points + 0.5) * parts / np.array(shape)).astype(int).clip(0, parts - 1)
        return np.bincount(index[:, 0] * parts + index[:, 1], minlength=parts**2)

    tp, fp, fn = map(count, matching.split(true, predicted))
    return tp, fp, fn
