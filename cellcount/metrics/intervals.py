"""Uncertainty of counts: intervals with a nominal coverage, and the sampling error of a flask's count."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from cellcount.errors import require


class IntervalRule(NamedTuple):
    """Turns a count into an interval, from the errors of counts on fields of view with known cells.

    Attributes
    ----------
    low, high : float
        The true number of cells, plus 1, is between `low` and `high` times the count, plus 1.
    level : float
        Nominal coverage.
    fields : int
        Number of fields of view used for calibration.
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

    For any method and any distribution of its errors, the true number of cells in a new field is outside its interval
    with a probability of at most 1 - level, on average over calibration sets, if the field is exchangeable with the
    calibration fields. Half of this probability is assigned to each end. Nothing is guaranteed for other fields.

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
        If the level is out of range, or there are too few fields for it (a level of .9 needs 19).

    Examples
    --------
    >>> rule = calibrate(true=range(90, 130), counts=[100] * 40, level=0.9)
    >>> rule.interval(100)
    (90.0, 129.0)
    """
    true, counts = np.asarray(true, float), np.asarray(counts, float)
    require(0 < level < 1, f"level={level!r}: give a number between 0 and 1, such as 0.9.")
    one_each = true.shape == counts.shape and true.ndim == 1
    require(one_each, f"true {true.shape} and counts {counts.shape}: give one of each for every field.")
    n, tail = len(true), (1 - level) / 2
    rank = int(np.floor((n + 1) * tail + 1e-9))
    needed = int(np.ceil(1 / tail - 1 - 1e-9))
    require(rank >= 1, f"{n} fields are too few to calibrate at level {level:g}: {needed} are needed.")
    ratios = np.sort((true + 1) / (counts + 1))
    return IntervalRule(float(ratios[rank - 1]), float(ratios[n - rank]), level, n)


def flask_count(counts: ArrayLike, *, fields_in_flask: float, level: float = 0.95) -> dict[str, float]:
    """A flask's number of cells from the counts of some of its fields of view.

    The mean count has Student's t interval for a sample from a finite population (Cochran 1977), from the standard
    deviation between fields. Errors of the counts are included as far as they are independent between fields; a bias
    shared by all fields is not.

    Parameters
    ----------
    counts : (K,) float, cells per field, K >= 2
        Of fields chosen at random: fields chosen because they look full or good are not representative.
    fields_in_flask : float
        Area of the flask divided by the area of a field.
    level : float

    Returns
    -------
    dict
        total, low, high : cells in the flask;
        spread : coefficient of variation between fields;
        poisson : the same if cells were distributed at random, 1 / sqrt(mean);
        fields_for_10_percent : fields needed for an interval of +- 10 % at this spread.

    Raises
    ------
    ParameterError
        With fewer than two fields, or more than the flask has.
    """
    counts = np.asarray(counts, float)
    k = len(counts)
    require(k > 1, f"{k} field: the spread between fields needs at least two.")
    require(fields_in_flask >= k, f"{k} fields were counted, but the flask has only {fields_in_flask:g}.")
    require(0 < level < 1, f"level={level!r}: give a number between 0 and 1.")
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
    """Smallest number of fields with a half interval of at most `precision` of the mean; nan if `spread` is."""
    if not np.isfinite(spread):
        return np.nan
    k = np.arange(2, int(min(population, 10_000)) + 1)
    half = stats.t.ppf((1 + level) / 2, k - 1) * spread / np.sqrt(k) * np.sqrt(1 - k / population)
    enough = k[half <= precision]
    return int(enough[0]) if len(enough) else int(np.ceil(population))
