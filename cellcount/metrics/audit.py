"""A total over many windows from the few that a person has counted, however wrong the predictions are.

Windows are drawn at random in strata of similar predicted counts, so that the probability of each draw is known. From
these alone comes the interval: nothing is assumed of the model or of the images. What is rare and gross can be missed
by a small sample all the same; `AuditEstimate.unseen` says how rare.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from cellcount.errors import one_of, require

STRATA, EACH = 4, 5  # at most so many strata of windows with predicted cells, one for so many drawn windows
ESTIMATORS = ("ratio", "difference", "mean")


@dataclass(frozen=True)
class AuditEstimate:
    """The total number of cells in a population of windows.

    Attributes
    ----------
    total, low, high : float, cells
    level : float
        Of the interval: in this share of all possible draws, it contains what a person would count in all windows.
    windows, population : int
        Numbers of windows that were counted, and of all.
    counted, predicted : float, cells
        In the counted windows by the person, and in all windows by the model.
    estimator : str
        "ratio", "difference" or "mean"; "census" if all windows were counted.
    unseen : float
        Share of all windows. An error that is limited to a smaller share can have been missed by the draw, with a
        probability of (1 - level) / 2: the interval knows nothing of it.
    heaviest : float
        Share of the estimated variance that comes from one window; near 1, the interval rests on this window.
    """

    total: float
    low: float
    high: float
    level: float
    windows: int
    population: int
    counted: float
    predicted: float
    estimator: str
    unseen: float
    heaviest: float


def draw(predicted: ArrayLike, windows: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Strata of windows, and the random order in which they are drawn.

    The strata have equal sums of the square root of predicted cells + 1, near to which the standard deviation of a
    count grows; drawing equally many from each is then near the optimum (the rule of Dalenius and Hodges 1959; Cochran
    1977, 5A.7). Windows without a predicted cell are a stratum of their own: they are empty, or the model fails there
    altogether, which a few of them show. Each stratum has a random order of its own, fixed by the seed, and the strata
    take turns; after two of its windows, the one without cells no oftener than its share of the windows. The first n
    windows are therefore a stratified random sample for any n, also for a larger one later.

    Parameters
    ----------
    predicted : (N,) float, cells
    windows : int
        That are drawn first; it decides the number of strata: at most 4, one for each 5, beside that without cells.
    seed : int

    Returns
    -------
    strata : (N,) int
        The number of each window's stratum, from 0.
    order : (N,) int
        All windows, first the one that is drawn first.
    """
    predicted = np.asarray(predicted, float)
    require(predicted.ndim == 1 and len(predicted), "There is no window to draw.")
    require((predicted >= 0).all() and np.isfinite(predicted).all(), "Predicted counts are numbers from 0 on.")
    require(windows > 0, f"windows={windows!r}: give a positive number.")
    parts = min(STRATA, max(1, windows // EACH)) if np.ptp(predicted) else 1
    apart = (predicted == 0) & (parts > 1)
    rising = np.argsort(predicted, kind="stable")[apart.sum() :]
    size = np.sqrt(predicted[rising] + 1)
    strata = np.zeros(len(predicted), int)
    strata[rising] = 1 + np.minimum((np.cumsum(size) - size / 2) / size.sum() * parts, parts - 1).astype(int)
    strata = np.unique(strata, return_inverse=True)[1]
    shuffled = np.random.default_rng(seed).permutation(len(predicted))
    turn = np.empty(len(predicted))
    for stratum in range(strata.max() + 1):
        own = shuffled[strata[shuffled] == stratum]
        turn[own] = np.arange(len(own))
    slow = apart & (turn > 1)
    turn[slow] = 1 + (turn[slow] - 1) / min(1.0, (strata.max() + 1) * apart.mean())
    return strata, np.lexsort((strata, turn))


def probabilities(strata: ArrayLike, drawn: ArrayLike) -> np.ndarray:
    """(H,) float: with which probability a window of each stratum was drawn; `strata` (N,) and `drawn` (n,) int."""
    strata, drawn = np.asarray(strata), np.asarray(drawn, int)
    everything = np.bincount(strata)
    found: np.ndarray = np.bincount(strata[drawn], minlength=len(everything)) / everything
    return found


def estimate(
    predicted: ArrayLike,
    strata: ArrayLike,
    drawn: ArrayLike,
    counted: ArrayLike,
    *,
    level: float = 0.9,
    estimator: str = "ratio",
) -> AuditEstimate:
    """The total over all windows, from the counts of those that were drawn, with a design-based interval.

    ratio : the predicted total times counted / predicted cells, both weighted by 1 / probability (Cochran 1977, 6.11:
        the combined ratio estimator). It corrects any factor, such as half or twice the cells. If no cell was
        predicted in the drawn windows, it is the difference estimator.
    difference : the predicted total plus the weighted errors (Cochran 1977, 7.2), which is prediction-powered
        inference (Angelopoulos et al. 2023). It corrects any sum, and is unbiased.
    mean : the weighted counts alone, as without a model.

    The variance is that of the stratified jackknife (Jones 1974; Wolter 2007, 4.5) with finite-population
    correction, since linearisation is too short for few windows; the quantile is Student's, with the degrees of freedom
    of Satterthwaite (1946). The lower end is never below what was counted. Where the drawn windows show no variance at
    all, such as in none of them is a cell, the interval has the number of windows that can differ though none of those
    drawn does (see `AuditEstimate.unseen`), each by one cell.

    Parameters
    ----------
    predicted : (N,) float, cells
    strata : (N,) int
    drawn : (n,) int
        The windows that were counted: the first n of the order of `draw`.
    counted : (n,) float, cells
    level : float
    estimator : "ratio", "difference" or "mean"

    Returns
    -------
    AuditEstimate

    Raises
    ------
    ParameterError
        If a stratum has one counted window only, and other ones: its variance is not known.
    """
    predicted, strata = np.asarray(predicted, float), np.asarray(strata)
    drawn, counted = np.asarray(drawn, int), np.asarray(counted, float)
    one_of(estimator, ESTIMATORS, "estimator")
    require(0 < level < 1, f"level={level!r}: give a number between 0 and 1, such as 0.9.")
    require(counted.shape == drawn.shape == np.unique(drawn).shape, "Give one count for each drawn window, each once.")
    everything, own = np.bincount(strata), strata[drawn]
    taken = np.bincount(own, minlength=len(everything))
    few = int(np.argmax(taken < np.minimum(2, everything)))
    require(
        (taken >= np.minimum(2, everything)).all(),
        f"{len(drawn)} windows are too few: stratum {few + 1} of {len(everything)} has {taken[few]} of them, and the "
        "variance needs two. Count more windows.",
    )
    weights, whole = (everything / taken)[own], predicted.sum()

    def total(cells: np.ndarray, found: np.ndarray) -> np.ndarray:
        """Totals from weighted sums of counted and of predicted cells."""
        if estimator == "mean":
            return cells
        ratio = np.divide(cells, found, out=np.ones_like(cells), where=found > 0)
        slope = np.where(found > 0, ratio, 1.0) if estimator == "ratio" else 1.0
        return cells + slope * (whole - found)

    def without(values: np.ndarray) -> np.ndarray:
        """The weighted sum without each window, the others of its stratum having its weight."""
        mean = (np.bincount(own, values, len(everything)) / taken)[own]
        return (weights * values).sum() - (everything / np.maximum(taken - 1, 1))[own] * (values - mean)

    shown = predicted[drawn]
    point = float(total(np.array([weights @ counted]), np.array([weights @ shown]))[0])
    open_share = (1 - taken / everything)[own] * ((taken - 1) / taken)[own]
    parts = open_share * (total(without(counted), without(shown)) - point) ** 2
    variance, by_stratum = parts.sum(), np.bincount(own, parts, len(everything))
    least = _missed(everything, taken, (1 - level) / 2)
    if variance > 1e-12 * max(1.0, point) ** 2:
        most = max(1, int((taken - 1)[taken < everything].sum()) - (estimator == "ratio"))
        freedom = variance**2 / (by_stratum**2 / np.maximum(taken - 1, 1)).sum()
        half = special.stdtrit(min(max(freedom, 1), most), (1 + level) / 2) * np.sqrt(variance)
    else:
        variance, half = 0.0, float(least)
    census = len(drawn) == len(predicted)
    marked = float(counted.sum())
    return AuditEstimate(
        total=max(point, marked), low=float(max(point - half, marked)), high=float(max(point + half, marked)),
        level=level, windows=len(drawn), population=len(predicted), counted=marked, predicted=float(whole),
        estimator="census" if census else estimator, unseen=least / len(predicted),
        heaviest=float(parts.max() / variance) if variance else 0.0,
    )  # fmt: skip


def _missed(everything: np.ndarray, taken: np.ndarray, tail: float) -> int:
    """The largest number of windows of which the draw has none, with a probability of at least `tail`.

    Parameters
    ----------
    everything, taken : (H,) int
        Numbers of windows in the strata, and of those drawn.
    tail : float

    In one stratum it is the hypergeometric distribution's bound. Of several, windows are put where they are missed
    most easily, which is the worst case: each further one costs more in its own stratum.
    """
    costs = [-np.log1p(-n / np.arange(size, n, -1)) for size, n in zip(everything, taken, strict=True)]
    return int((np.cumsum(np.sort(np.concatenate(costs))) <= -np.log(tail)).sum())
