"""All that takes prompts under one call, and what is said where it cannot run."""

import numpy as np
import pytest

from cellcount import cli, registry
from cellcount.errors import ParameterError
from cellcount.methods import prompts
from cellcount.methods.promptable import promptable

CENTRES = np.float32([[30, 60], [70, 25]])


@pytest.fixture(autouse=True)
def nothing_here(tmp_path, monkeypatch):
    monkeypatch.setenv("CELLCOUNT_DATA", str(tmp_path))
    monkeypatch.setenv("CELLCOUNT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("CELLCOUNT_OFFLINE", "1")
    monkeypatch.delenv("MICROSAM_CACHEDIR", raising=False)


def test_the_square_looks_at_nothing_but_the_centre():
    image = np.zeros((100, 100), np.float32)
    for kind in ("point", "cross", "box"):
        masks = promptable("square").open(image)(prompts.MAKERS[kind](CENTRES))
        assert masks.areas.tolist() == [36 * 36, 36 * 36]
        assert masks.windows[0].tolist() == [12, 48, 42, 78]  # (y0, y1, x0, x1) around (30, 60)


def test_the_watershed_listens_to_the_prompt():
    image = np.random.default_rng(0).uniform(0, 1, (100, 100)).astype(np.float32)
    ask = promptable("watershed").open(image)
    assert ask(prompts.cross(CENTRES)).areas.sum() < ask(prompts.point(CENTRES)).areas.sum()


def test_what_cannot_run_says_so_in_a_tables_words():
    assert "weights" in promptable("vit_b_lm").note
    assert promptable("square").note == promptable("watershed").note == ""
    with pytest.raises(ParameterError, match="vit_q.*square, watershed, vit_b"):
        promptable("vit_q")


def test_weights_are_listed_with_size_licence_and_hash(capsys):
    assert cli.main(["weights", "list"]) == 0
    entry = registry.known_weights("sam-vit_b")
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("sam-vit_b "))
    assert all(fact in line for fact in (registry.megabytes(entry.bytes), "Apache-2.0", "missing"))
    assert cli.main(["weights", "list", "--verbose"]) == 0
    shown = capsys.readouterr().out
    assert entry.sha256 in shown and registry.known_weights("sam-vit_b_lm").xxh128 in shown


def test_weights_are_not_fetched_without_a_network(capsys):
    assert cli.main(["weights", "fetch", "sam-vit_b"]) == 4
    said = capsys.readouterr().err
    assert "375.0 MB" in said and "CELLCOUNT_DATA" in said and "sam_vit_b_01ec64.pth" in said
    assert cli.main(["weights", "fetch", "sam-vit_q"]) == 2
    assert "sam-vit_b" in capsys.readouterr().err


def test_weights_that_are_here_are_found_and_not_fetched(tmp_path, monkeypatch, capsys):
    from dataclasses import replace

    path = tmp_path / "weights" / "sam_vit_b_01ec64.pth"
    path.parent.mkdir()
    path.write_bytes(b"numbers")
    entry = replace(registry.known_weights("sam-vit_b"), sha256=registry.digest(path))
    monkeypatch.setitem(registry.WEIGHTS, "sam-vit_b", entry)
    assert cli.main(["weights", "fetch", "sam-vit_b"]) == 0
    assert capsys.readouterr().out.strip() == str(path)
