"""Weights that chapters train once, and what is noted of it."""

import importlib.util
import os
import subprocess
import sys
import time

import numpy as np
import pytest

from cellcount.companion.trained import trained, trainings
from cellcount.devices import cpu_threads
from cellcount.types import Sample

METHOD = """
import time
from pathlib import Path

VERSION = 1
calls = []


def fit(samples, *, out, device, progress, steps=1):
    calls.append(steps)
    if steps < 0:
        raise RuntimeError("interrupted")
    if steps == 99:  # slow: until there is a second process, and a little longer
        with open("trainings", "a") as file:
            file.write("training ")
        while not Path("second").exists():
            time.sleep(0.05)
        time.sleep(1)
    Path(out).write_text("weights %d" % steps)
"""
PROCESS = """
import sys
from pathlib import Path

import stardist
from cellcount.companion.trained import trained
sys.path.insert(0, sys.argv[1])
from test_trained import samples

Path(sys.argv[2]).touch()
print(trained(stardist, samples(), suffix=".zip", steps=99))
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
    assert {path.suffix for path in (tmp_path / "cache").rglob("*.*")} == {".lock"}


def test_a_version_of_its_own_for_other_weights(method):
    first = trained(method, samples(), suffix=".zip")
    method.VERSION = 2
    assert trained(method, samples(), suffix=".zip") != first and len(method.calls) == 2


def process(folder, marker):
    """Another process that needs the weights of 99 steps; it writes the file `marker` just before."""
    command = [sys.executable, "-c", PROCESS, os.path.dirname(__file__), marker]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True)


def wait_for(path):
    for _ in range(1200):
        if path.exists():
            return
        time.sleep(0.05)
    raise AssertionError(f"{path} has not appeared within a minute")


@pytest.mark.slow
def test_of_two_processes_one_trains_and_the_other_takes_its_weights(method, tmp_path):
    first = process(tmp_path, "first")
    wait_for(tmp_path / "trainings")
    second = process(tmp_path, "second")
    paths = [one.communicate(timeout=120)[0] for one in (first, second)]
    assert paths[0] == paths[1] and paths[0].strip().endswith(".zip")
    assert (tmp_path / "trainings").read_text() == "training "


@pytest.mark.slow
def test_a_process_that_was_killed_does_not_keep_the_others_waiting(method, tmp_path, monkeypatch):
    first = process(tmp_path, "first")
    wait_for(tmp_path / "trainings")
    first.kill()
    first.wait()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "second").touch()
    path = trained(method, samples(), suffix=".zip", steps=99)
    assert path.read_text() == "weights 99" and method.calls == [99]


def test_a_rerun_trains_again(method, tmp_path, monkeypatch):
    first = trained(method, samples(), suffix=".zip")
    monkeypatch.setenv("CELLCOUNT_TRAINED", str(tmp_path / "rerun"))  # as `cellcount verify --rerun` does
    again = trained(method, samples(), suffix=".zip")
    assert again.name == first.name and again.parent == tmp_path / "rerun" and len(method.calls) == 2
