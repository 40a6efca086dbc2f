"""The studies without learning: windows that add up, constants from other fields, settings from training fields."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scenes import scene

from cellcount.companion.studies import area, explorations
from cellcount.methods import METHODS
from cellcount.methods.foreground import foreground, kinds
from cellcount.types import Sample


def ramp(image, *, prompts=None, device="auto"):
    return image


@pytest.fixture
def field(monkeypatch):
    """64 x 96 px, of which the left half is foreground, with cells at known places."""
    monkeypatch.setitem(kinds.FOREGROUNDS, "ramp", kinds.Foreground(f"{__name__}:ramp", threshold=0.5, shrink=0))
    image = np.zeros((64, 96), np.float32)
    image[:, :48] = 1
    points = np.float32([[3, 3], [5, 40], [40, 10], [50, 20], [60, 90]])
    valid = np.ones(image.shape, bool)
    valid[32:, 64:] = False
    return Sample("a", image, points, valid=valid, labels=(image > 0.5).astype(np.int32))


def test_windows_hold_the_cells_and_the_area_of_the_field(field):
    frame = area.measure([field], ["ramp", area.TRUE], side=32)
    assert len(frame) == 2 * 2 * 3
    one = frame[frame.foreground == "ramp"]
    assert one.set_index(["row", "column"]).cells.to_dict() == {
        (0, 0): 1, (0, 1): 1, (0, 2): 0, (1, 0): 2, (1, 1): 0, (1, 2): 1,
    }  # fmt: skip
    assert one.area.tolist() == [1024, 512, 0, 1024, 512, 0]
    assert len(area.trusted(one)) == 5  # the one where nobody has clicked is left out
    truth = frame[frame.foreground == area.TRUE]
    assert truth.area.sum() == 64 * 48 + 32 * 32  # what is not valid counts as covered by cells without a mask


def test_thesis_fields_are_measured_with_the_foregrounds_that_need_no_prompt():
    for name in ("windows", "flasks"):
        measured = pd.read_csv(Path(__file__).parents[1] / "results" / f"foreground-{name}.csv")
        assert area.UNPROMPTED == list(measured.foreground.unique())


def test_estimates_come_from_the_constant_of_the_other_field(field):
    frame = area.measure([field], ["ramp"], side=32)
    own = frame[frame.column < 2]
    assert area.constant(own) == pytest.approx(4 / 3072)
    dense = own.assign(cells=3 * own.cells)
    assert area.estimated(dense, own).estimate.tolist() == pytest.approx([4, 2, 4, 2])
    assert area.estimated(own, own).estimate.sum() == pytest.approx(4)  # on their own field the errors cancel
    low, high = area.deciles(area.estimated(own, own), side=32, groups=2)
    assert low["error"] > 0 > high["error"] and low["density"] < high["density"]


def test_windows_merge_into_whole_tiles_only(field):
    frame = area.measure([field], ["ramp"], side=32)
    merged = area.merged(frame, 2, 2)  # three columns: the third fills no tile
    assert merged[["cells", "area", "row", "column"]].values.tolist() == [[4, 3072, 0, 0]]
    assert area.merged(frame, 1, 3).cells.tolist() == [2, 3]


def test_an_error_on_the_tiles_of_the_constant_flatters():
    tiles = pd.DataFrame({"cells": [10, 20, 30], "area": [100, 100, 100]})
    assert area.mean_error(tiles, tiles) == pytest.approx((10 / 10 + 0 + 10 / 30) / 3)
    assert area.mean_error(tiles.assign(cells=2 * tiles.cells), tiles) > area.mean_error(tiles, tiles)
    doubled = tiles.assign(cells=2 * tiles.cells)  # as the thesis' script did: nothing shows
    assert area.mean_error(doubled, doubled) == pytest.approx(area.mean_error(tiles, tiles))
    empty = pd.DataFrame({"cells": [0, 5], "area": [50, 0]})
    assert area.mean_error(tiles, pd.concat([tiles, empty])) == pytest.approx(area.mean_error(tiles, tiles))


def test_settings_are_chosen_on_training_fields_and_scored_on_the_others():
    train, test = [scene(0)], [scene(1), scene(2)]
    choices = {"blobs": {"sigma": [2.0, 9.0], "threshold": [0.2, 5.0]}, "tophat": {"radius": [8], "threshold": [0.1]}}
    rows, best, found = explorations.explore(train, test, choices, tolerances=[5.0, 3.0], dataset="scene")
    assert [sample.name for sample, _ in found] == 2 * [sample.name for sample in test]
    assert set(best) == {"blobs", "tophat"} and best["blobs"]["threshold"] == 0.2
    assert set(rows[rows.split == "train"].image) == {train[0].name}
    assert set(rows[rows.split == "test"].image) == {sample.name for sample in test}
    for text in rows.parameters:
        assert json.loads(text)["chosen_on"] == [train[0].name]
    first = rows[(rows.method == "blobs") & (rows.split == "train") & (rows.part == "all") & (rows.reading == "whole")]
    direct = METHODS["blobs"].predict(train[0].image, **best["blobs"])
    assert first.n_pred.tolist() == [len(direct.points)] * 2


@pytest.mark.parametrize("choices", [explorations.CHOICES, explorations.QUICK], ids=["full", "quick"])
def test_every_setting_that_is_tried_is_one_that_the_method_takes(choices):
    image = scene(0).image
    for name, values in choices.items():
        for pick in (min, max):
            found = METHODS[name].predict(image, **{key: pick(options) for key, options in values.items()})
            assert found.meta["method"] == name
    assert all(set(explorations.QUICK[name][key]) <= set(explorations.CHOICES[name][key])
               for name in choices for key in choices[name])  # fmt: skip


@pytest.mark.parametrize("objective", [10, 20, 40])
def test_fields_come_to_the_scale_of_the_20x_objective(objective):
    yy, xx = np.indices((120, 160))
    period = 24 * objective / 20  # px of a structure that is 24 px wide at 20x
    image = np.sin(2 * np.pi * xx / period).astype(np.float32) + 0 * yy
    there = area.at_reference(image, objective)
    spectrum = np.abs(np.fft.rfft(there - there.mean(), axis=1)).mean(axis=0)
    assert there.shape[1] / spectrum.argmax() == pytest.approx(24, rel=0.2)
    assert there.shape == {10: (120, 160), 20: (120, 160), 40: (60, 80)}[objective]


def test_survey_has_a_line_for_each_field_and_foreground(field):
    about = {"flask": "A", "objective": 20, "volume": 150.0, "device_count": 3e7}
    seen = Sample("1", field.image, field.points, meta=about | {"background": np.float32([[10, 80], [10, 10]])})
    unseen = Sample("2", field.image, meta=about | {"objective": 40})
    lines = list(area.survey([seen, unseen], ["ramp"]))
    assert [line["image"] for line in lines] == ["1", "2"]
    assert lines[0]["device"] == pytest.approx(2e5)
    assert lines[0]["covered"] == pytest.approx(foreground(field.image, "ramp").mean(), abs=1e-5) == 0.5
    assert lines[0]["clicks"] == 5 and lines[0]["clicks_inside"] == 0.8 and lines[0]["background_inside"] == 0.5
    assert np.isnan(lines[1]["clicks"]) and np.isnan(lines[1]["clicks_inside"])
    assert lines[1]["pixels"] == 64 * 96 / 4
