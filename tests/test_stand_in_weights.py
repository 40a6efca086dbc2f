"""Chapters as they run where other people's weights lie: random ones of the right architecture, put in their places.

The book that CI renders has none of these weights, so this is the only place where those sections are computed. Each
chapter runs from a copy of the project whose registry knows no hashes, so that the stand-ins are vouched for as users
vouch for weights without one (`registry.weights.pin`).
"""

import os
import re
import shutil
import subprocess
import sys

import nbformat
import pytest
import stand_ins

from cellcount import registry, results
from cellcount.companion.runner.sources import root

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the project without notebooks, caches and hashes."""
    tree = tmp_path_factory.mktemp("project") / "cellcount"
    ignored = shutil.ignore_patterns(".*", "build", "*.ipynb", "__pycache__", "*.egg-info")
    shutil.copytree(root(), tree, ignore=ignored)
    table = tree / "cellcount" / "registry" / "weights.toml"
    table.write_text(re.sub(r"(?m)^(sha256|xxh128) = .*\n", "", table.read_text()))
    return tree


@pytest.fixture
def weights(tmp_path):
    """The folder of the user's weights."""
    folder = tmp_path / "data" / "weights"
    folder.mkdir(parents=True)
    return folder


def run(project, weights, chapter, *parameters):
    """The notebook's outputs as one text, and the chapter's rows; no cell may fail or warn."""
    stand_ins.vouch(sorted(file for file in weights.iterdir() if file.name != "SHA256SUMS"), weights)
    out = weights.parent / "run" / f"{chapter}.ipynb"
    places = {"CELLCOUNT_DATA": weights.parent, "CELLCOUNT_CACHE": weights.parent / "cache", "PYTHONPATH": project}
    environment = os.environ | {name: str(path) for name, path in places.items()}
    command = [sys.executable, "-m", "cellcount", "run", chapter, "--data", "phantom", "--profile", "smoke"]
    for name, value in parameters:
        command += ["-p", name, value]
    done = subprocess.run(
        [*command, "--out", out], cwd=project, env=environment, capture_output=True, text=True, timeout=1200
    )
    assert not done.returncode, done.stderr
    assert "stderr:" not in done.stderr, done.stderr
    outputs = [output for cell in nbformat.read(out, 4).cells for output in cell.get("outputs", [])]
    text = "\n".join(str(output.get("data", output)) for output in outputs)
    return text, results.table(out.with_suffix("") / "rows.csv")


def test_cellpose_runs_with_and_without_size_model(project, weights):
    for name in ("cyto2", "cyto3"):
        stand_ins.cellpose(weights, name)
    stand_ins.cellpose_size(weights, 34)
    text, rows = run(project, weights, "13-cellpose", ("tested", "1"))
    assert {"cellpose, cyto2", "cellpose, cyto3", "cellpose, trained"} == set(rows.method)
    assert rows[rows.method == "cellpose, cyto3"].weights_sha256.nunique() == 1
    text, rows = run(project, weights, "14-diameter", ("factors", "[0.5, 1.0]"), ("largest", "192"))
    assert "cyto3" in text and len(rows)


def test_stardist_runs_both(project, weights, tmp_path):
    for name, channels in (("2D_versatile_fluo", 1), ("2D_versatile_he", 3)):
        stand_ins.stardist(weights, tmp_path / name, name=name, channels=channels, threshold=0.5)
    text, rows = run(project, weights, "15-stardist")
    assert set(rows.method) == {"stardist, 2D_versatile_fluo", "stardist, 2D_versatile_he", "stardist, trained"}
    assert "not run" not in text


def test_sam_runs_in_both_chapters(project, weights):
    import torch
    from segment_anything import sam_model_registry

    torch.manual_seed(0)
    places = [weights / registry.known_weights(f"sam-{name}").filename for name in ("vit_b_lm", "vit_b")]
    torch.save(sam_model_registry["vit_b"]().state_dict(), places[0])
    text, rows = run(project, weights, "16-prompts", ("methods", "[square, small, vit_b_lm]"))
    assert set(rows.method) == {"square", "sam small", "sam vit_b_lm"}
    assert "not run" not in text
    places[0].rename(places[1])  # one of its kind is enough: each embedding takes most of a minute
    text, rows = run(project, weights, "17-backbones", ("fields", "1"))
    assert set(rows.method) == {"square", "watershed", "sam small", "sam vit_b"}
