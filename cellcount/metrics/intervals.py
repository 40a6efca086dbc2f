"""How sure a count is: intervals with a promised coverage, and what a flask's count owes to its few fields."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from cellcount.errors import ParameterError


class IntervalRule(NamedTuple):
    """Turns a count into an interval, by what counts like it were off on fields with known cells.

    Attributes
    ----------
    low, high : float
        The true number of cells, plus 1, is between `low` and `high` times the count, plus 1.
    level : float
        Promised coverage.
    fields : int
        Fields that it was calibrated on.
    """

    low: float
    high: float
    level: float
    fields: int

    def interval(self, count: float) -> tuple[float, float]:
        """(low, high) cells for a count (float); not below 0."""
        return max(0.0, self.low * (count + 1) - 1), max(0.0, self.high * (count + 1) - 1)


def calibrate(true: ArrayLike, counts: ArrayLike, level: float = 0.9) -> IntervalRule:
    """Split conformal prediction on the ratio of true to counted cells (Vovk et al. 2005; Lei et al. 2018).

    Whatever the method and its errors, a new field's count falls outside of its interval with at most the chance
    1 - level, on average over calibration sets, if the field is of the kind of those calibrated on. Each end may be
    missed in half of these cases. It promises nothing for fields of another kind.

    Parameters
    ----------
    true, counts : (K,) float, cells
        On fields that the method was not trained on.
    level : float in (0, 1)

    Returns
    -------
    IntervalRule

    Raises
    ------
    ParameterError
        If the level is out of range, or there are too few fields for it (19 for a level of .9).

    Examples
    --------
    >>> rule = calibrate(true=range(90, 130), counts=[100] * 40, level=0.9)
    >>> rule.interval(100)
    (90.0, 129.0)
    """
    true, counts = np.asarray(true, float), np.asarray(counts, float)
    if not 0 < level < 1:
        raise ParameterError(f"level={level!r}: give a number between 0 and 1, such as 0.9.")
    if true.shape != counts.shape or true.ndim != 1:
        raise ParameterError(f"true {true.shape} and counts {counts.shape}: give one of each for every field.")
    n, tail = len(true), (1 - level) / 2
    rank = int(np.floor((n + 1) * tail + 1e-9))
    if rank < 1:
        needed = int(np.ceil(1 / tail - 1 - 1e-9))
        raise ParameterError(f"{n} fields are too few to calibrate at level {level:g}: it takes {needed}.")
    ratios = np.sort((true + 1) / (counts + 1))
    return IntervalRule(float(ratios[rank - 1]), float(ratios[n - rank]), level, n)


def flask_count(counts: ArrayLike, *, fields_in_flask: float, level: float = 0.95) -> dict[str, float]:
    """A flask's number of cells from the counts of a few of its fields.

    The mean count has Student's t interval, as in a survey of a finite population (Cochran 1977): the spread between
    fields counts, and what was seen of the flask is known. The errors of the counts themselves are part of the spread
    if they are independent from field to field; a bias that all fields share is not.

    Parameters
    ----------
    counts : (K,) float, cells per field, K >= 2
        Of fields chosen blindly: fields picked for being full or pretty say nothing about the flask.
    fields_in_flask : float
        The flask's area over a field's area.
    level : float

    Returns
    -------
    dict
        total, low, high : cells in the flask;
        spread : standard deviation between fields, as a share of their mean;
        poisson : what it would be if cells lay at random, 1 / sqrt(mean);
        fields_for_10_percent : fields needed for an interval of +- 10 % at this spread.

    Raises
    ------
    ParameterError
        With fewer than two fields, or more fields than the flask has.
    """
    counts = np.asarray(counts, float)
    k = len(counts)
    if k < 2:
        raise ParameterError(f"{k} field: the spread between fields takes at least two.")
    if fields_in_flask < k:
        raise ParameterError(f"{k} fields were counted, but the flask has only {fields_in_flask:g}.")
    if not 0 < level < 1:
        raise ParameterError(f"level={level!r}: give a number between 0 and 1.")
    mean, deviation = counts.mean(), counts.std(ddof=1)
    half = stats.t.ppf((1 + level) / 2, k - 1) * deviation / np.sqrt(k) * np.sqrt(1 - k / fields_in_flask)
    spread = deviation / mean if mean else np.nan
    return {
        "total": mean * fields_in_flask,
        "low": max(0.0, mean - half) * fields_in_flask,
        "high": (mean + half) * fields_in_flask,
        "spread": spread,
        "poisson": 1 / np.sqrt(mean) if mean else np.nan,
        "fields_for_10_percent": _fields_needed(spread, fields_in_flask, level, 0.1),
    }


def _fields_needed(spread: float, population: float, level: float, precision: float) -> float:
    """Least number of fields with a half interval of at most `precision` of the mean; nan if the spread is unknown."""
    if not np.isfinite(spread):
        return np.nan
    k = np.arange(2, int(min(population, 10_000)) + 1)
    half = stats.t.ppf((1 + level) / 2, k - 1) * spread / np.sqrt(k) * np.sqrt(1 - k / population)
    enough = k[half <= precision]
    return int(enough[0]) if len(enough) else int(np.ceil(population))
