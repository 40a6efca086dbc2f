"""Weights that chapters train once, and what is noted of it."""

import importlib.util
import os

import numpy as np
import pytest

from cellcount.companion.trained import trained, trainings
from cellcount.devices import cpu_threads
from cellcount.types import Sample

METHOD = """
from pathlib import Path

calls = []


def fit(samples, *, out, device, progress, steps=1):
    calls.append(steps)
    if steps < 0:
        raise RuntimeError("interrupted")
    Path(out).write_text("weights %d" % steps)
"""


@pytest.fixture
def method(tmp_path, monkeypatch):
    """A module with a `fit` that counts its calls, and an empty cache."""
    monkeypatch.setenv("CELLCOUNT_CACHE", str(tmp_path / "cache"))
    (tmp_path / "stardist.py").write_text(METHOD)
    spec = importlib.util.spec_from_file_location("stardist", tmp_path / "stardist.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def samples(value=0.5, name="a"):
    return [Sample(name, np.full((8, 8), value, np.float32), np.float32([[2, 3]]))]


def test_weights_are_trained_once_for_the_same_samples_and_settings(method):
    first = trained(method, samples(), suffix=".zip", steps=2)
    assert trained(method, samples(), suffix=".zip", steps=2) == first and method.calls == [2]
    others = [trained(method, *arguments, suffix=".zip", steps=steps) for arguments, steps in (
        ((samples(),), 3), ((samples(0.6),), 2), ((samples(name="b"),), 2),
    )]  # fmt: skip
    assert len({first, *others}) == 4 and method.calls == [2, 3, 2, 2]


def test_what_a_training_took_is_noted_beside_the_weights(method, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    paths = [trained(method, samples(), suffix=".zip", steps=steps) for steps in (1, 2)]
    lines = trainings(paths)
    assert lines.parameters.tolist() == ['{"steps": 1}', '{"steps": 2}'] and (lines.threads == 1).all()
    assert (lines.method == "stardist").all() and (lines.train == "a").all() and (lines.device == "cpu").all()
    assert lines.weights_sha256.nunique() == 2 and (lines.seconds >= 0).all()
    paths[0].with_suffix(".json").unlink()  # as of weights from before it was noted
    assert len(trainings(paths)) == 1 and list(trainings([]).columns) == list(lines.columns)


@pytest.mark.parametrize(("said", "taken"), [("3", 3), (" 2,1", 2), ("", None), ("0", None), ("all", None)])
def test_threads_are_those_that_the_environment_allows(said, taken, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", said)
    assert cpu_threads() == (taken or os.cpu_count())


def test_an_interrupted_training_leaves_nothing_to_be_taken_for_weights(method, tmp_path):
    with pytest.raises(RuntimeError, match="interrupted"):
        trained(method, samples(), suffix=".zip", steps=-1)
    assert not list((tmp_path / "cache").rglob("*.*"))
