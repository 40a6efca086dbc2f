"""The search takes what is best on the fields it is given, and records all it has tried."""

import json

import numpy as np
import pytest

from cellcount.companion.studies import foreground_choice
from cellcount.errors import DataError, ParameterError
from cellcount.methods.foreground import kinds
from cellcount.metrics import covered, match, tuned
from cellcount.types import Prediction, Sample

IMAGE = np.zeros((100, 100), np.float32)
TRUE = np.float32([[20, 20], [20, 60], [60, 20], [60, 60]])
SAMPLE = Sample("field", IMAGE, TRUE)
CALLS = []


def method(image, *, prompts=None, device="auto", shift=0.0, threshold=0.0):
    """Finds the four cells, `shift` px off, with scores 1 to 4, and four false ones with lower scores."""
    CALLS.append((shift, threshold))
    false = np.float32([[90, 90], [90, 80], [80, 90], [90, 5]])
    points, scores = np.concatenate([TRUE + shift, false]), np.float32([4, 3, 2, 1, 0.9, 0.8, 0.7, 0.1])
    kept = scores >= threshold
    return Prediction(points[kept], scores[kept], float(kept.sum()), meta={"method": "toy"})


def test_the_best_setting_is_found_with_one_run_for_all_thresholds():
    CALLS.clear()
    grid = {"shift": [30.0, 1.0], "threshold": [0.0, 2.5, 0.95]}
    best, tried = tuned(method, [SAMPLE], grid, 5)
    assert best == {"shift": 1.0, "threshold": 0.95}
    assert CALLS == [(30.0, 0.0), (1.0, 0.0)]
    assert list(zip(tried["shift"], tried["threshold"])) == [(s, t) for s in grid["shift"] for t in grid["threshold"]]
    for line in tried.itertuples():
        direct = match(TRUE, method(IMAGE, shift=line.shift, threshold=line.threshold).points, 5)
        assert (line.precision, line.recall, line.f1) == pytest.approx((direct.precision, direct.recall, direct.f1))


def test_false_points_count_wherever_they_are_and_of_equals_the_first_is_taken():
    far = Sample("far", IMAGE, TRUE, valid=np.zeros(IMAGE.shape, bool))  # the rule is that of whole images
    assert tuned(method, [far], {"threshold": [0.0, 0.95]}, 5)[0] == {"threshold": 0.95}
    assert tuned(method, [far], {"threshold": [0.95, 1.0]}, 5)[0] == {"threshold": 0.95}


def test_counts_are_pooled_over_samples():
    empty = Sample("empty", IMAGE, np.zeros((0, 2), np.float32))
    tried = tuned(method, [SAMPLE, empty], {"threshold": [0.95]}, 5)[1]
    assert tried.precision[0] == pytest.approx(4 / 8) and tried.recall[0] == 1


def test_methods_without_a_threshold_can_be_searched():
    best, tried = tuned(method, [SAMPLE], {"shift": [9.0, 0.0]}, 5)
    assert best == {"shift": 0.0} and len(tried) == 2


def test_nothing_to_choose_on_or_from_is_refused():
    with pytest.raises(ParameterError, match="no image"):
        tuned(method, [], {"shift": [1.0]}, 5)
    with pytest.raises(ParameterError, match="for shift"):
        tuned(method, [SAMPLE], {"shift": []}, 5)
    with pytest.raises(ParameterError, match="no field"):
        foreground_choice.choose_foreground("deviation", [], {"sigma": [1.0]})
    with pytest.raises(DataError, match="masks"):
        foreground_choice.choose_foreground("deviation", [SAMPLE], {"sigma": [1.0]}, progress=False)


def test_the_foreground_that_overlaps_most_is_found(monkeypatch):
    labels = np.zeros((100, 100), np.int32)
    labels[:50] = 1
    sample = Sample("field", IMAGE, TRUE, labels=labels)
    monkeypatch.setitem(kinds.FOREGROUNDS, "ramp", kinds.Foreground(f"{__name__}:ramp", threshold=0.9, shrink=0))
    choices = {"turned": [True, False], "threshold": [0.2, 0.505, 0.8]}
    best, lines = foreground_choice.choose_foreground("ramp", [sample], choices, progress=False)
    assert best == {"turned": False, "threshold": 0.505}
    best_line = lines[lines.parameters == json.dumps(best)].iloc[0]
    assert best_line.intersection / best_line.union == 1 and len(lines) == 6
    assert covered(sample).sum() == 5000


def ramp(image, *, prompts=None, device="auto", turned=False):
    """Falls from 1 at the top to 0 at the bottom."""
    fall = np.repeat(np.linspace(1, 0, image.shape[0], dtype=np.float32)[:, None], image.shape[1], axis=1)
    return fall[::-1] if turned else fall
