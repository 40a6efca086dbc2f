"""A training that was killed goes on from its state, and gives the weights of one that was not."""

from contextlib import contextmanager

import pytest
from scenes import masks_scene, scene
from test_training_versions import TINY

from cellcount import counting, manifest
from cellcount.files import TEMPORARY, sha256
from cellcount.methods import METHODS, resuming

TRAININGS = {
    # Mended twice, and with a second network for the calibration.
    "cellnet": TINY["cellnet"] | {"steps": 8, "rounds": 2, "folds": 2},
    "maskrcnn": TINY["maskrcnn"] | {"epoch_steps": 4},
    "yolox": TINY["yolox"] | {"epoch_steps": 4},
}
SAMPLES = {"cellnet": [scene(0), scene(1)], "maskrcnn": [masks_scene(0)], "yolox": [masks_scene(0)]}


class Killed(BaseException):
    """What no code of a training catches."""


@pytest.fixture
def dies(monkeypatch):
    """dies(n): trainings write their state at each step, and end after so many writings; None: at none.

    It returns a list of whether each network that was trained since began from a state.
    """
    monkeypatch.setattr(resuming, "SECONDS", 0.0)
    write, read = resuming.State.write, resuming.State.read
    left, taken = [], []

    def reads(self, tell=False):
        found = read(self, tell)
        taken.append(found is not None)
        return found

    def writes(self, more):
        write(self, more)
        left.append(None)
        if len(left) == wanted:
            raise Killed

    def set_to(number):
        nonlocal wanted
        wanted = number
        left.clear()
        taken.clear()
        return taken

    wanted = None
    monkeypatch.setattr(resuming.State, "write", writes)
    monkeypatch.setattr(resuming.State, "read", reads)
    return set_to


def fit(method, out, **params):
    asked = TRAININGS[method] | params
    return METHODS[method].fit(SAMPLES[method], out=out, device="cpu", progress=False, **asked)


def hidden(folder):
    return list(folder.glob(f"{TEMPORARY}*"))


@pytest.mark.parametrize(
    "method", ["cellnet", "maskrcnn", pytest.param("yolox", marks=pytest.mark.slow)]
)  # fmt: skip
def test_a_killed_training_ends_with_the_same_weights(method, dies, tmp_path):
    dies(None)
    whole = sha256(fit(method, tmp_path / "whole.safetensors"))
    assert hidden(tmp_path) == []
    out, kills = tmp_path / "w.safetensors", 0
    for after in (1, 2, 1, 3, 2):
        taken = dies(after)
        try:
            fit(method, out)
            break
        except Killed:
            assert taken[0] == (kills > 0), "the first call begins anew, and the others go on"
            kills += 1
            assert not out.exists() and hidden(tmp_path)
    dies(None)
    assert kills >= 3 and sha256(fit(method, out)) == whole
    assert hidden(tmp_path) == []


@pytest.mark.parametrize("change", [{"seed": 1}, {"learning_rate": 1e-4}])
def test_a_training_with_other_settings_begins_anew(change, dies, tmp_path):
    dies(None)
    whole = sha256(fit("cellnet", tmp_path / "whole.safetensors", **change))
    dies(3)
    with pytest.raises(Killed):
        fit("cellnet", tmp_path / "w.safetensors")
    dies(None)
    assert sha256(fit("cellnet", tmp_path / "w.safetensors", **change)) == whole


def test_another_version_of_a_method_begins_anew(dies, monkeypatch, tmp_path):
    dies(3)
    with pytest.raises(Killed):
        fit("cellnet", tmp_path / "w.safetensors")
    monkeypatch.setattr(METHODS["cellnet"], "VERSION", 1000)
    taken = dies(None)
    fit("cellnet", tmp_path / "w.safetensors")
    assert not any(taken)


def test_the_state_stays_until_all_files_are_written(dies, monkeypatch, tmp_path):
    def killed(*_):
        raise Killed

    out, asked = tmp_path / "w.safetensors", TRAININGS["cellnet"] | {"folds": 0}
    with monkeypatch.context() as changed:
        changed.setattr(METHODS["cellnet"], "export", killed)
        changed.setattr(manifest.Clock, "spent", lambda _: (1000.0, 2000.0))
        with pytest.raises(Killed):
            counting.train(SAMPLES["cellnet"], out=out, device="cpu", progress=False, **asked)
    first, taken = sha256(out), dies(None)
    counting.train(SAMPLES["cellnet"], out=out, device="cpu", progress=False, **asked)
    assert taken == [True] and sha256(out) == first and hidden(tmp_path) == []
    (run,) = manifest.read(out.with_suffix(manifest.SUFFIX))["runs"]
    assert run["seconds"] > 1000 and run["core_seconds"] > 2000, "those of the killed call are in it"


@pytest.mark.parametrize("content", [b"", b"no state", None])
def test_a_damaged_state_is_not_read(content, dies, tmp_path):
    dies(None)
    whole = sha256(fit("cellnet", tmp_path / "whole.safetensors"))
    dies(3)
    with pytest.raises(Killed):
        fit("cellnet", tmp_path / "w.safetensors")
    (path,) = hidden(tmp_path)
    if content is None:  # one bit
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
    path.write_bytes(content)
    taken = dies(None)
    assert sha256(fit("cellnet", tmp_path / "w.safetensors")) == whole and not any(taken)


def test_a_state_that_cannot_be_written_ends_no_training(monkeypatch, tmp_path):
    monkeypatch.setattr(resuming, "SECONDS", 0.0)

    @contextmanager
    def full(path):
        yield path
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(resuming, "replacing", full)
    assert fit("cellnet", tmp_path / "w.safetensors").exists()
