"""Uncertainty of counts: intervals with a nominal coverage, and the sampling error of a flask's count."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from cellcount.errors import require

ENOUGH = 19  # fields for a conformal rule of level .9 with one end on each side; fewer need a model of the errors
FEW = 8  # fields that tell by themselves how fields differ
SHARED = 0.05  # an assumption: relative error that all cells of a field share; some .06 on simulated fields, .02 on VGG
MORE = 3  # degrees of freedom that this assumption adds


class IntervalRule(NamedTuple):
    """Turns a count into an interval, from the errors of counts on fields of view with known cells.

    Attributes
    ----------
    low, high : float
        The true number of cells, plus 1, is between `low` and `high` times the count, plus 1, if the count is large.
    level : float
        Nominal coverage.
    fields : int
        Number of fields of view used for calibration.
    blocks : int
        Number of parts of these fields that were used as well.
    single : float
        Square of half the width that errors of single cells add, in units of the logarithm of the ratio, at a count
        of 0; at a count of n it is a share 1 / (n + 1) of that. 0: the relative width is the same for all counts.
    """

    low: float
    high: float
    level: float
    fields: int
    blocks: int = 0
    single: float = 0.0

    def interval(self, count: float) -> tuple[float, float]:
        """(low, high) cells for a count (float); not below 0."""
        low, high = self.low, self.high
        if self.single:
            middle = math.sqrt(low * high)
            factor = math.exp(math.hypot(math.log(high / low) / 2, math.sqrt(self.single / (count + 1))))
            low, high = middle / factor, middle * factor
        return max(0.0, low * (count + 1) - 1), max(0.0, high * (count + 1) - 1)


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


class _Effects(NamedTuple):
    """What parts of fields tell about x, the logarithm of a field's ratio of true to counted cells, each plus 1."""

    x: np.ndarray  # of each field
    variance: np.ndarray  # of each x
    shared: float  # tau^2: its part that a field shares, with more cells or fewer
    single: float  # phi: the part of single cells, times the count plus 1
    freedom: int  # degrees of freedom of the estimate of `shared`
    mean: float
    error: float  # standard error of the mean

    @classmethod
    def of(cls, true: ArrayLike, counts: ArrayLike, field: ArrayLike) -> "_Effects":
        true, counts = np.asarray(true, float), np.asarray(counts, float)
        of_field = np.unique(np.asarray(field), return_inverse=True)[1]
        one_each = true.shape == counts.shape == of_field.shape and true.ndim == 1
        shapes = f"true {true.shape}, counts {counts.shape}, field {of_field.shape}"
        require(one_each, f"{shapes}: give one of each for every part.")
        parts, fields = len(true), len(np.unique(of_field))
        require(parts > 1, f"{parts} part: the spread between parts needs at least two.")
        all_true, all_counted = (np.bincount(of_field, values) for values in (true, counts))
        x, inner = np.log((all_true + 1) / (all_counted + 1)), parts - fields
        ratio = np.exp(x)[of_field]
        dispersion = ((true - ratio * counts) ** 2).sum() * parts / max(inner, 1)
        single = (dispersion + 1) / ((ratio**2 * counts).sum() + 1) if inner else 0.0  # + 1: no error at all is luck
        scatter = float(x.var(ddof=1)) if fields > 1 else 0.0
        if fields >= FEW:  # a density at the border of two parts belongs to both, a click to one: phi is then too large
            single = min(single, scatter / float((1 / (all_counted + 1)).mean()))
        alone = single / (all_counted + 1)
        freedom, shared = fields - 1, max(0.0, scatter - float(alone.mean()))
        if fields < FEW:
            shared = max(shared, (freedom * shared + SHARED**2) / fields)
            freedom = freedom + MORE if fields > 1 else inner
        variance = np.maximum(shared + alone, 1e-12)
        mean, error = float(np.average(x, weights=1 / variance)), float((1 / variance).sum() ** -0.5)
        return cls(x, variance, float(shared), float(single), freedom, mean, error)


def mean_ratio(true: ArrayLike, counts: ArrayLike, field: ArrayLike) -> tuple[float, float]:
    """Mean logarithm of the ratio of true to counted cells of fields, and its standard error, from parts of them.

    true, counts : (B,) float, cells; field : (B,) int or str. Model and errors as of `calibrate_parts`.
    """
    found = _Effects.of(true, counts, field)
    return found.mean, found.error


def calibrate_parts(true: ArrayLike, counts: ArrayLike, field: ArrayLike, level: float = 0.9) -> IntervalRule:
    """A rule from the counts of parts of a few fields of view, on which the method was not trained.

    The logarithm x of the ratio (true + 1) / (counted + 1) of a field has the variance tau^2 + phi / (counted + 1):
    errors shared by the whole field, which no larger count averages out, and errors of single cells, which do (random
    effects; DerSimonian & Laird 1986). phi is the dispersion of the parts about the ratio of their field, tau^2 what
    the fields scatter beyond it (both by the method of moments; from `FEW` fields on, phi is no larger than what
    explains the scatter of the fields). Fewer fields tell little about tau, and one nothing. It is then assumed not to
    be below what it would be if one further difference between fields had shown `SHARED`, and the interval, Student's t
    interval for a new field, gets `MORE` degrees of freedom than the fields give. Its centre is corrected for the
    fields' mean ratio. Fields that differ more than those that were counted, as other flasks or annotators do, are not
    covered.

    From `ENOUGH` fields on, no distribution is assumed: the rule is split conformal prediction (see `calibrate`) on
    |x - mean| / sqrt(tau^2 + phi / (counted + 1)) (Lei et al. 2018, section 5.2).

    Parameters
    ----------
    true, counts : (B,) float, cells
        In each part.
    field : (B,) int or str
        The field of view to which each part belongs.
    level : float in (0, 1)

    Returns
    -------
    IntervalRule

    Raises
    ------
    ParameterError
        If the level is out of range, or there are fewer than two parts.
    """
    require(0 < level < 1, f"level={level!r}: give a number between 0 and 1, such as 0.9.")
    found = _Effects.of(true, counts, field)
    fields = len(found.x)
    if fields >= ENOUGH:  # the mean was taken from the same fields, and lies closer to them than to a new one
        rank = min(fields, int(np.ceil((fields + 1) * level - 1e-9)))
        away = np.sort(np.abs(found.x - found.mean) / np.sqrt(found.variance))
        wide, shared = float(away[rank - 1] * np.sqrt((fields + 1) / (fields - 1))), found.shared
    else:
        from scipy import stats

        wide, shared = float(stats.t.ppf((1 + level) / 2, found.freedom)), found.shared + found.error**2
    half = wide * math.sqrt(shared)
    low, high = (float(np.exp(found.mean + sign * half)) for sign in (-1, 1))
    return IntervalRule(low, high, level, fields, len(np.asarray(true)), wide**2 * found.single)


def sampling_error(deviation: float, k: ArrayLike, population: float, level: float) -> np.ndarray:
    """Half of Student's t interval for the mean of `k` of `population` fields (Cochran 1977, section 2.7).

    Parameters
    ----------
    deviation : float
        Standard deviation between the fields.
    k : int or (K,) int, 2 or more
    population : float
        inf for a sample that is a negligible part.
    level : float in (0, 1)
    """
    from scipy.special import stdtrit  # the quantile, without all of scipy.stats

    k = np.asarray(k)
    half: np.ndarray = stdtrit(k - 1, (1 + level) / 2) * deviation * np.sqrt((1 - k / population) / k)
    return half


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
    half = sampling_error(deviation, k, fields_in_flask, level)
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
    enough = k[sampling_error(spread, k, population, level) <= precision]
    return int(enough[0]) if len(enough) else int(np.ceil(population))
