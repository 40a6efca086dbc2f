"""Foreground: optics undone, texture measured, masks tidied; and the count by area with its one constant."""

import json

import numpy as np
import pytest

from cellcount.data import phantom
from cellcount.data.phantom.optics import phase_contrast
from cellcount.data.phantom.specimen import disc
from cellcount.errors import DataError, ParameterError
from cellcount.methods import foreground as area
from cellcount.methods.foreground import FOREGROUNDS, cut, foreground, kinds
from cellcount.methods.foreground.restoration import restore, transfer
from cellcount.methods.foreground.texture import deviation, relative_light
from cellcount.metrics import by_density, covered, iou, overlap, windows
from cellcount.tiling import tiled
from cellcount.types import Sample


@pytest.fixture(scope="module")
def field():
    return phantom.simulate((7, 1), (256, 256), confluence=0.6)


@pytest.mark.parametrize("name", [name for name in FOREGROUNDS if name != "sam"])  # which wants prompts
def test_overlaps_with_the_true_foreground_of_a_simulated_field(field, name):
    found = foreground(field.image, name)
    assert found.shape == field.image.shape and found.dtype == bool
    everything = covered(field).mean()
    assert iou(covered(field), found) >= 0.85 > everything


def test_restoration_undoes_the_optics_of_a_thin_disc():
    phase = disc(40, 0.4, 241)
    light = (0.65 * phase_contrast(phase)).astype(np.float32)
    assert light[120, 120] == pytest.approx(0.65, rel=0.1)  # shade-off: the middle is as gray as the ground
    restored = restore(light, smooth=0.02, sparse=1e-4, factor=1, iterations=200)
    assert restored[phase > 0.39].mean() == pytest.approx(0.4, rel=0.1)
    assert restored[120, 120] > 0.3
    assert restored[phase == 0].mean() < 0.005
    assert iou(phase > 0.2, restored > 0.1) > 0.9


def test_the_microscope_loses_the_mean_and_what_is_finer_than_its_blur():
    kernel = transfer((64, 64))
    assert kernel[0, 0] == pytest.approx(0, abs=1e-6)
    assert kernel[0].argmax() in range(4, 12)
    assert kernel[0, 32] < 0.05
    wide = transfer((64, 64), width=2.0)
    assert wide[0, 2] > 2 * kernel[0, 2]  # a wider low-pass leaves broader things to the image


@pytest.mark.parametrize("shape", [(97, 130), (64, 65)])
def test_restoration_keeps_the_shape_of_odd_images_and_the_place_of_things(shape):
    phase = np.zeros(shape)
    phase[30:42, 20:32] = 0.5
    restored = restore((0.6 * phase_contrast(phase)).astype(np.float32))
    assert restored.shape == shape and restored.dtype == np.float32
    centre = np.array(np.nonzero(restored > 0.1)).mean(axis=1)
    np.testing.assert_allclose(centre, [35.5, 25.5], atol=0.6)


def test_neither_gain_nor_slanting_light_change_the_texture(field):
    slant = np.linspace(0.8, 1.0, field.image.shape[1], dtype=np.float32)
    assert iou(deviation(field.image) > 0.025, deviation(field.image * 0.6 * slant) > 0.025) > 0.97
    assert relative_light(0.3 * field.image) == pytest.approx(relative_light(field.image), rel=1e-5)


def test_cut_tidies_and_shrinks():
    answer = np.zeros((60, 60))
    answer[10:40, 10:40] = 1
    answer[20:24, 20:24] = 0  # a hole
    answer[50:53, 50:53] = 1  # a crumb
    mask = cut(answer, 0.5, smallest=20)
    assert mask.sum() == 900 and not mask[51, 51] and mask[21, 21]
    assert cut(answer, 0.5, smallest=20, shrink=3).sum() == 24**2
    assert cut(answer, 0.5, smallest=0).sum() == 900 - 16 + 9
    assert (cut(answer, "otsu", smallest=20) == mask).all()
    assert not cut(np.zeros((9, 9)), "otsu").any()


def test_any_function_can_join_and_gets_its_prompts(monkeypatch, tmp_path):
    seen = []

    def prompted(image, *, prompts=None, device="auto", radius=5):
        seen.append((prompts.tolist(), device))
        yy, xx = np.indices(image.shape)
        return np.max([np.hypot(yy - y, xx - x) <= radius for y, x in prompts], axis=0).astype(np.float32)

    monkeypatch.setitem(kinds.FOREGROUNDS, "prompted", kinds.Foreground("here:prompted", 0.5, 0, prompted=True))
    monkeypatch.setattr(kinds.importlib, "import_module", lambda name: type("here", (), {"prompted": prompted}))
    image, points = np.zeros((64, 64), np.float32), np.float32([[20, 20], [40, 44]])
    mask = foreground(image, "prompted", prompts=points, device="cpu", radius=8, smallest=10)
    assert mask[20, 20] and mask[40, 44] and not mask[20, 44]
    assert seen == [(points.tolist(), "cpu")]
    sample = Sample("a", image, points)
    out = area.fit([sample], out=tmp_path / "a.json", name="prompted", prompts={"a": points}, radius=8, smallest=10)
    found = area.predict(image, prompts=points, weights=out)
    assert found.count == pytest.approx(2, rel=1e-5)
    with pytest.raises(ParameterError, match="haze.*deviation"):
        foreground(image, "haze")


def test_the_constant_is_cells_over_area_and_the_count_its_product(field, tmp_path):
    half = field.crop(0, 0, 256, 128)
    out = area.fit([half], out=tmp_path / "area.json", name="deviation", sigma=2.0)
    about = area.read(out)
    covered_px = foreground(half.image, "deviation", sigma=2.0).sum()
    assert about["cells_per_px"] == pytest.approx(len(half.points) / covered_px)
    assert area.predict(half.image, weights=out).count == pytest.approx(len(half.points), rel=1e-5)
    found = area.predict(field.image, weights=out)
    expected = about["cells_per_px"] * foreground(field.image, "deviation", sigma=2.0).sum()
    assert found.count == pytest.approx(expected, rel=1e-5)
    assert found.points.shape == (0, 2) and found.density.sum(dtype=float) == pytest.approx(found.count)


def test_tiles_count_about_the_same(tmp_path):
    field = phantom.simulate((7, 2), (256, 384), confluence=0.6)
    out = area.fit([field], out=tmp_path / "area.json")
    parts = tiled(area.predict, tile=256, overlap=64, context=area.context)(field.image, weights=out)
    assert parts.count == pytest.approx(len(field.points), rel=0.03)


def test_the_shipped_constant_is_of_the_order_of_a_cell():
    assert area.status().state == "ready"
    about = area.read(area.area.SHIPPED)
    assert about["samples"] == ["1", "2"]
    assert 300 < 1 / about["cells_per_px"] < 3000  # px per cell


def test_what_cannot_be_fitted_or_read_is_refused(tmp_path, field):
    with pytest.raises(DataError, match="a"):
        area.fit([Sample("a", field.image)], out=tmp_path / "no.json")
    with pytest.raises(DataError, match="0 points"):
        area.fit([Sample("a", field.image, np.zeros((0, 2)))], out=tmp_path / "no.json", name="deviation")
    assert not (tmp_path / "no.json").exists()
    with pytest.raises(DataError, match="no.json"):
        area.predict(field.image, weights=tmp_path / "no.json")
    bad = tmp_path / "bad.json"
    for text in ("{", "{}", "[1]"):
        bad.write_text(text)
        with pytest.raises(DataError, match="bad.json"):
            area.read(bad)
        bad.unlink()
    good = {"format": area.area.FORMAT, "foreground": "deviation", "parameters": {}, "cells_per_px": 2.0}
    bad.write_text(json.dumps(good))
    with pytest.raises(DataError, match="cells_per_px|2.0"):
        area.read(bad)
    with pytest.raises(DataError, match=r"\(H, W\)"):
        area.predict(np.zeros((4, 4, 3), np.float32))


def test_counts_of_windows():
    density = np.zeros((25, 40))
    density[:10, :10] = 0.02
    points = np.float32([[0, 0], [9.4, 9.4], [9.6, 5], [24, 39]])
    true, predicted = windows(points, density, 10)
    assert true.tolist() == [2, 0, 0, 0, 1, 0, 0, 0]  # the last rows fill no window
    assert predicted == pytest.approx([2, 0, 0, 0, 0, 0, 0, 0])
    region = np.zeros((25, 40), bool)
    region[:, :15] = True
    assert [len(part) for part in windows(points, density, 10, region)] == [4, 4]
    with pytest.raises(ParameterError, match="50 px"):
        windows(points, density, 50)


def test_errors_by_density():
    true = np.arange(1.0, 21)
    lines = by_density(true, true, np.full(20, 10.5), groups=10)
    assert [line["windows"] for line in lines] == [2] * 10
    assert lines[0]["error"] == 9 and lines[-1]["error"] == -9
    assert lines[0]["relative"] == 6 and sum(line["error"] for line in lines) == 0
    assert len(by_density(true[:3], true[:3], true[:3], groups=10)) == 3
    assert np.isnan(by_density(np.zeros(1), np.zeros(1), np.ones(1), groups=1)[0]["relative"])


def test_overlap_of_regions():
    one, two = np.zeros((4, 4), bool), np.zeros((4, 4), bool)
    assert iou(one, two) == 1
    one[:2], two[1:3] = True, True
    assert overlap(one, two) == (4, 12) and iou(one, two) == pytest.approx(1 / 3)
    with pytest.raises(ParameterError, match=r"\(2, 4\)"):
        iou(one, two[:2])
