"""Intervals on counts keep their promise; crowding and flasks count what they say."""

import numpy as np
import pytest

from cellcount.errors import ParameterError
from cellcount.metrics import by_crowding, calibrate, coverage, crowding, flask_count, match


def fields(rng, n, bias=1.3):
    """True counts, and those of a method that is biased and scatters in proportion."""
    true = rng.integers(20, 400, n).astype(float)
    return true, true * bias * np.exp(rng.normal(0, 0.15, n))


def test_intervals_cover_as_promised_whatever_the_bias():
    rng = np.random.default_rng(0)
    for bias in (0.5, 1.0, 2.0):
        covered = []
        for _ in range(40):
            rule = calibrate(*fields(rng, 60, bias), level=0.9)
            true, counts = fields(rng, 200, bias)
            covered.append(coverage(true, np.array([rule.interval(c) for c in counts])))
        assert 0.88 < np.mean(covered) < 0.93


def test_intervals_fail_on_fields_of_another_kind():
    rng = np.random.default_rng(0)
    rule = calibrate(*fields(rng, 100, bias=1.0))
    true, counts = fields(rng, 200, bias=2.0)
    assert coverage(true, np.array([rule.interval(c) for c in counts])) < 0.2


def test_calibration_says_what_it_lacks():
    with pytest.raises(ParameterError, match="19"):
        calibrate([1.0] * 18, [1.0] * 18)
    assert calibrate([1.0] * 19, [1.0] * 19).fields == 19
    with pytest.raises(ParameterError, match="level=90"):
        calibrate([1.0] * 30, [1.0] * 30, level=90)
    with pytest.raises(ParameterError, match="29"):
        calibrate([1.0] * 30, [1.0] * 29)
    assert calibrate(np.zeros(40), np.zeros(40)).interval(0) == (0.0, 0.0)


def test_flask_interval_covers_the_flask():
    """Flasks of 200 unlike fields: the interval from 6 of them covers the total in 95 % of cases."""
    rng = np.random.default_rng(1)
    hits = []
    for _ in range(400):
        flask = rng.gamma(30, 10, 200)
        answer = flask_count(rng.choice(flask, 6, replace=False), fields_in_flask=200)
        hits.append(answer["low"] <= flask.sum() <= answer["high"])
    assert 0.92 < np.mean(hits) < 0.98  # skewed flasks have less: the t interval is symmetric


def test_flask_count_of_the_whole_flask_is_certain():
    answer = flask_count([10, 20, 30], fields_in_flask=3)
    assert answer["total"] == answer["low"] == answer["high"] == pytest.approx(60)
    assert answer["spread"] == pytest.approx(0.5)
    assert answer["poisson"] == pytest.approx(1 / np.sqrt(20))
    many = flask_count([95, 105, 100, 98], fields_in_flask=1000)["fields_for_10_percent"]
    assert many < flask_count([50, 150, 100, 120], fields_in_flask=1000)["fields_for_10_percent"]
    with pytest.raises(ParameterError, match="two"):
        flask_count([5], fields_in_flask=10)
    with pytest.raises(ParameterError, match="2"):
        flask_count([5, 6, 7], fields_in_flask=2)


def test_crowding_counts_neighbours_but_not_the_cell_itself():
    cells = np.array([[0.0, 0], [0, 10], [0, 20], [300, 300]])
    assert crowding(cells, cells, 15).tolist() == [1, 2, 1, 0]
    assert crowding([[0, 5]], cells, 6).tolist() == [2]
    assert crowding([], cells).tolist() == [] and crowding([[1, 1]], []).tolist() == [0]


def test_errors_are_counted_where_they_lie():
    lonely = np.array([[500.0, 500], [500, 900], [900, 500]])
    crowd = np.stack(np.meshgrid(np.arange(0, 100, 20.0), np.arange(0, 100, 20.0)), -1).reshape(-1, 2)
    true = np.concatenate([lonely, crowd])
    predicted = np.concatenate([lonely, [[700.0, 700]], crowd[:20]])
    matching = match(true, predicted, 5)
    table = by_crowding(true, predicted, matching, [0, 3, 100])
    assert table[["tp", "fp", "fn"]].to_numpy().tolist() == [[3, 1, 0], [20, 0, 5]]
    assert table.recall.tolist() == [1, 0.8] and table.precision.tolist() == [0.75, 1]
    assert table[["tp", "fp", "fn"]].sum().tolist() == list(matching[:3])
