"""From matchings of single images to one score with an interval."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike

from cellcount.errors import ParameterError
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
    """Percentile bootstrap interval of F1 over the images, or parts of images, that the counts come from.

    Whole images are resampled, since the errors inside of one are not independent. With one or two images there is
    little to resample: pass counts of parts (`parts_of`), and say so, since parts of one image are too alike and the
    interval is then a lower bound on the uncertainty over new images.

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
    if statistic not in ("pooled", "mean"):
        raise ParameterError(f"statistic={statistic!r}: choose 'pooled' or 'mean'.")
    counts = np.array([tp, fp, fn], float)  # (3, K)
    chosen = np.random.default_rng(seed).integers(counts.shape[1], size=(draws, counts.shape[1]))
    drawn = counts[:, chosen]  # (3, draws, K)
    if statistic == "pooled":
        values = _f1(drawn.sum(axis=2))
    else:
        values = _f1(drawn).mean(axis=1)
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

    A pair and a missed cell belong to the piece of the true point, a false one to that of the predicted point.

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

    def piece(points: np.ndarray) -> np.ndarray:
        index = ((points + 0.5) * parts / np.array(shape)).astype(int).clip(0, parts - 1)
        return index[:, 0] * parts + index[:, 1]

    def count(points: np.ndarray) -> np.ndarray:
        return np.bincount(piece(points), minlength=parts**2)

    found, right = matching.pairs.T
    return (
        count(true[found]),
        count(np.delete(predicted, right, axis=0)),
        count(np.delete(true, found, axis=0)),
    )
