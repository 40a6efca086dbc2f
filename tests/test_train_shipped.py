"""The recipe of the bundled weights, from teachers to the student, in a few steps."""

import sys

import numpy as np
import pytest
import stand_ins

from cellcount import registry
from cellcount.companion.runner.sources import root
from cellcount.data import phantom
from cellcount.methods import cellnet, nuclephaser
from cellcount.methods.cellnet.checkpoint import PHANTOM
from cellcount.metrics import match
from cellcount.types import Sample

TINY = {"steps": 2, "batch": 2, "crop": 32, "progress": False}


@pytest.fixture
def recipe(monkeypatch):
    monkeypatch.syspath_prepend(root() / "workflow")
    monkeypatch.delitem(sys.modules, "train_shipped", raising=False)
    import train_shipped

    return train_shipped


@pytest.fixture
def published(tmp_path, monkeypatch):
    """One file in the place of each of the four networks."""
    file = stand_ins.nuclephaser(tmp_path / "net.pt")
    for name in nuclephaser.NETWORKS:
        entry = f"nuclephaser-{name}"
        monkeypatch.setitem(registry.WEIGHTS, entry, stand_ins.known_as(entry, file))
    return file


@pytest.mark.slow
@pytest.mark.parametrize("own", [False, True], ids=["with NuclePhaser", "own"])
def test_teachers_label_what_nobody_clicked_and_a_student_learns_it(recipe, published, tmp_path, own):
    first, second = (phantom.simulate(seed=seed, size=(150, 170), name=f"field-{seed}") for seed in (1, 2))
    others = [Sample(second.name, second.image)]
    out = tmp_path / "student.safetensors"
    about = {"simulated": [PHANTOM], "folder": tmp_path, "own": own, "wheel": published, "device": "cpu"}
    assert recipe.train([first], others, out, **about, **TINY) == out
    described = cellnet.about(out)
    assert set(described["samples"]) == {first.name, second.name} and described["settings"]["zoom"] == 1.6
    assert (tmp_path / "clicks-1.safetensors").exists() == own
    assert len(cellnet.predict(first.image, device="cpu", weights=out).points)  # it begins with simulated cells


@pytest.mark.slow
def test_a_teacher_of_simulated_fields_is_trained_with_another_seed(recipe, tmp_path):
    kinds = [recipe.train_start.train(tmp_path / f"{seed}.safetensors", seed=seed, fields=1, **TINY) for seed in (1, 2)]
    assert [cellnet.about(path)["settings"]["seed"] for path in kinds] == [1, 2]
    assert kinds[0].read_bytes() != kinds[1].read_bytes()


def test_detections_of_turned_fields_lie_on_those_of_the_field(recipe, published):
    """Half a pixel's mistake in turning would blur the mean, and lower its peaks."""
    image = np.full((121, 140), 0.6, np.float32)
    yy, xx = np.indices(image.shape)
    cells = np.float32([[30, 40], [60.5, 100], [95, 62]])
    for y, x in cells:
        image -= np.float32(0.3) * np.exp(-((yy - y) ** 2 + (xx - x) ** 2) / 40).astype(np.float32)
    found = recipe.detected(image, published, "cpu")
    assert match(cells, found.points[found.scores > 0.5], 2.0).f1 == 1
