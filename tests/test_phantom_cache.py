"""Fields from the cache are the fields that the simulation makes."""

import numpy as np
import pytest

from cellcount.data import phantom


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CELLCOUNT_CACHE", str(tmp_path))
    return tmp_path / "phantom"


def load():
    return phantom.load("validation", fields=1, size=(96, 128))[0]


def same(first, second):
    for name in ("image", "points", "valid", "labels", "dead"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    np.testing.assert_array_equal(first.meta["rounded"], second.meta["rounded"])
    without = [{k: v for k, v in s.meta.items() if k != "rounded"} for s in (first, second)]
    assert without[0] == without[1]
    assert (first.name, first.split, first.pixel_size_um) == (second.name, second.split, second.pixel_size_um)


def test_a_kept_field_is_the_made_one(cache, monkeypatch):
    made = load()
    assert len(list(cache.iterdir())) == 1
    monkeypatch.setattr(phantom, "simulate", None)  # asking it again would fail
    same(made, load())


def test_a_damaged_file_is_made_anew(cache, caplog):
    made = load()
    (kept,) = cache.iterdir()
    kept.write_bytes(kept.read_bytes()[:500])
    same(made, load())
    assert "computed again" in caplog.text


def test_other_arguments_give_other_fields(cache):
    load()
    phantom.load("validation", fields=1, size=(96, 128), seed=1)
    assert len(list(cache.iterdir())) == 2


def test_a_folder_that_cannot_be_written_does_not_stop_it(tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CELLCOUNT_CACHE", str(tmp_path / "file"))
    assert len(load().points)
    assert "cannot be written" in caplog.text or "computed again" in caplog.text
