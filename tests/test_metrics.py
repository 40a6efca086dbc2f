"""The metric against brute force, at its edges, and at its size."""

import itertools
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cellcount import metrics
from cellcount.errors import DataError, ParameterError
from cellcount.metrics import match

points = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=5)


def brute_force(true, predicted, tolerance):
    """Most pairs, then smallest summed distance, by trying every injection of the smaller side."""
    best = (0, 0.0)
    n, m = len(true), len(predicted)
    for k in range(1, min(n, m) + 1):
        for rows in itertools.combinations(range(n), k):
            for columns in itertools.permutations(range(m), k):
                distances = [np.hypot(*np.subtract(true[i], predicted[j])) for i, j in zip(rows, columns, strict=True)]
                if max(distances) <= tolerance and (k, -sum(distances)) > (best[0], -best[1]):
                    best = (k, sum(distances))
    return best


@settings(max_examples=150, deadline=None)
@given(points, points, st.sampled_from([1.0, 3.0, 5.0, 20.0]))
def test_match_is_optimal(true, predicted, tolerance):
    matching = match(true, predicted, tolerance)
    pairs, distance = brute_force(true, predicted, tolerance)
    assert matching.tp == pairs
    assert matching.distances.sum() == pytest.approx(distance, abs=1e-4)
    assert (matching.fp, matching.fn) == (len(predicted) - pairs, len(true) - pairs)


@settings(max_examples=100, deadline=None)
@given(points, points, st.randoms(use_true_random=False))
def test_match_is_symmetric_and_does_not_see_order(true, predicted, random):
    forward, backward = match(true, predicted, 4), match(predicted, true, 4)
    assert (forward.tp, forward.fp, forward.fn) == (backward.tp, backward.fn, backward.fp)
    assert forward.distances.sum() == pytest.approx(backward.distances.sum(), abs=1e-4)
    shuffled = random.sample(predicted, len(predicted))
    assert match(true, shuffled, 4).distances.sum() == pytest.approx(forward.distances.sum(), abs=1e-4)


def test_both_empty_is_perfect_and_one_sided_is_zero():
    nothing, something = [], [[1, 1]]
    empty = match(nothing, nothing, 5)
    assert (empty.precision, empty.recall, empty.f1) == (1, 1, 1)
    for matching in (match(something, nothing, 5), match(nothing, something, 5)):
        assert (matching.precision, matching.recall, matching.f1) == (0, 0, 0)


def test_exact_tolerance_still_matches():
    assert match([[0, 0]], [[0, 12]], 12).tp == 1
    assert match([[0, 0]], [[0, 12.001]], 12).tp == 0
    assert match([[3, 4]], [[3, 4]], 1).distances.tolist() == [0]


def test_more_pairs_beat_a_closer_pair():
    # Nearest first would pair the two in the middle and leave the outer ones alone.
    assert match([[0, 0], [0, 10]], [[0, 9], [0, 19]], 9.5).tp == 2


def test_pairs_index_true_then_predicted():
    matching = match([[0, 0], [50, 50]], [[50, 51], [200, 200], [1, 0]], 5)
    assert matching.pairs.tolist() == [[0, 2], [1, 0]]


@pytest.mark.parametrize("tolerance", [0, -1, float("nan"), float("inf")])
def test_bad_tolerance_is_refused(tolerance):
    with pytest.raises(ParameterError, match="tolerance"):
        match([[0, 0]], [[0, 0]], tolerance)


def test_bad_points_are_refused():
    with pytest.raises(DataError, match=r"\(N, 2\)"):
        match([[1, 2, 3]], [[0, 0]], 5)
    with pytest.raises(DataError, match="row 1"):
        match([[0, 0], [np.nan, 1]], [[0, 0]], 5)


@pytest.mark.parametrize("side", [1000, pytest.param(300, marks=pytest.mark.slow)])
def test_five_thousand_points(side):
    """In a process of its own, since the peak memory of this one is not the metric's; limits of time and memory."""
    code = f"""
import resource, time, numpy as np
from cellcount.metrics import match
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
rng = np.random.default_rng(0)
matching = match(rng.uniform(0, {side}, (5000, 2)), rng.uniform(0, {side}, (5000, 2)), 12)
print(matching.tp, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1e6)
"""
    tp, gigabytes = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    ).stdout.split()
    assert int(tp) > 3000
    assert float(gigabytes) < 2


def test_default_tolerance_is_half_the_spacing():
    grid = np.stack(np.meshgrid([0, 24, 48], [0, 24, 48]), -1).reshape(-1, 2)
    assert metrics.default_tolerance(grid) == 12
    with pytest.raises(ParameterError, match="two"):
        metrics.default_tolerance([[0, 0]])


def test_near_keeps_what_lies_within_reach_of_an_annotation():
    kept = metrics.near([[0, 26], [0, 27], [100, 100]], [[0, 0]], radius=26)
    assert kept.tolist() == [True, False, False]
    assert not metrics.near([[0, 0]], []).any()


def test_inside_uses_the_nearest_pixel_and_drops_what_is_off_the_image():
    region = np.array([[True, False], [False, True]])
    kept = metrics.inside([[0.4, 0.4], [0, 1], [1, 1], [-1, 0], [0, 9]], region)
    assert kept.tolist() == [True, False, True, False, False]


def test_count_errors():
    errors = metrics.count_errors([100, 0, 50], [110, 0, 40])
    assert errors["bias"] == 0
    assert errors["mae"] == pytest.approx(20 / 3)
    assert errors["relative"] == pytest.approx((0.1 + 0.2) / 2)
    assert errors["smape"] == pytest.approx((20 / 210 + 20 / 90) / 3)
    with pytest.raises(ParameterError):
        metrics.count_errors([1], [1, 2])


def test_game_grows_with_level_where_errors_cancel():
    true, predicted = [[10, 10], [10, 20]], [[90, 90], [90, 80]]
    assert metrics.game(true, predicted, (100, 100), 0) == 0
    assert metrics.game(true, predicted, (100, 100), 1) == 4


def test_game_of_a_density_equals_that_of_its_points():
    rng = np.random.default_rng(0)
    true, predicted = rng.integers(0, 64, (30, 2)), rng.integers(0, 64, (25, 2))
    density = np.zeros((64, 64), np.float32)
    np.add.at(density, tuple(predicted.T), 1)
    for level in range(3):
        assert metrics.game(true, density, (64, 64), level) == metrics.game(true, predicted, (64, 64), level)


def test_coverage_counts_the_ends():
    assert metrics.coverage([10, 20, 30], [[10, 12], [21, 30], [25, 30]]) == pytest.approx(2 / 3)


def test_pooled_uses_real_numbers_of_points():
    scores = metrics.pooled([8, 0], [2, 10], [0, 0])
    assert scores["precision"] == pytest.approx(8 / 20)
    assert scores["recall"] == 1


def test_bootstrap_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(1)
    hits = []
    for seed in range(200):
        tp = rng.binomial(100, 0.8, size=20)
        low, high = metrics.bootstrap(tp, 100 - tp, 100 - tp, seed=seed, draws=400)
        hits.append(low <= 0.8 <= high)
    assert 0.85 < np.mean(hits) <= 1


def test_parts_add_up():
    rng = np.random.default_rng(2)
    true, predicted = rng.uniform(0, 100, (80, 2)), rng.uniform(0, 100, (70, 2))
    matching = match(true, predicted, 8)
    parts = metrics.parts_of(true, predicted, matching, (100, 100), parts=4)
    assert [int(part.sum()) for part in parts] == [matching.tp, matching.fp, matching.fn]


def test_matching_does_not_import_what_other_metrics_need():
    code = (
        "import sys; from cellcount.metrics import match; print(sorted({'scipy.stats', 'pandas'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
