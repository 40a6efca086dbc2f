"""Figures of the chapter on phase contrast, and the measured likeness that the repository holds."""

from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cellcount.companion.plots import phantoms
from cellcount.companion.studies import likeness
from cellcount.data import phantom
from cellcount.data.phantom.optics import phase_contrast, split_light
from cellcount.data.phantom.specimen import disc
from cellcount.types import Sample

COMMITTED = Path(__file__).parent.parent / "results" / "phantom-likeness.csv"


@pytest.fixture(scope="module")
def grains():
    """Two made-up fields of white noise, the second with twice the amplitude."""
    noise = np.random.default_rng(0).standard_normal((256, 256)).astype(np.float32)
    return [Sample(f"noise-{a}", (0.5 + 0.02 * a * noise).astype(np.float32)) for a in (1, 2)]


def drawn(figure):
    file = BytesIO()
    figure.savefig(file, dpi=40)
    return file.tell()


def test_disc_has_the_area_of_a_circle_and_a_flat_top():
    cell = disc(12, 0.5, 61)
    assert cell.sum() / 0.5 == pytest.approx(np.pi * 12**2, rel=0.01)
    assert (cell[30, 20:41] == 0.5).all() and cell[30, 10] == 0


def test_the_two_parts_of_the_light_add_up_to_the_image():
    beside, caught = split_light(disc(12, 0.5, 61))
    assert np.allclose(np.abs(beside - 0.7j * caught) ** 2 / 0.49, phase_contrast(disc(12, 0.5, 61), zeta=0.7))
    assert np.allclose(np.abs(beside + caught)[30, 28:33], 1, atol=1e-3)  # inside, light is neither lost nor won


def test_measure_is_tidy_and_complete(grains):
    frame = likeness.measure(grains, "noise")
    assert list(frame.columns) == ["group", "image", "quantity", "x", "value"]
    counts = frame.groupby(["image", "quantity"]).size().unstack("quantity")
    assert (counts["histogram"] == 64).all() and (counts["spectrum"] == 128).all()
    assert set(phantom.describe(grains[0])) | {"histogram", "spectrum"} == set(counts.columns)


def test_summary_is_the_median_over_images_and_keeps_what_is_unknown(grains):
    table = likeness.summary(likeness.measure(grains, "noise"))
    deviations = [float((s.image * 255).std()) for s in grains]
    assert table.loc["intensity_std", "noise"] == pytest.approx(np.mean(deviations))
    assert np.isnan(table.loc["spacing_px", "noise"])


def test_band_ratio_of_noise_to_twice_the_noise_is_a_quarter_in_every_band(grains):
    frame = pd.concat([likeness.measure([s], s.name) for s in grains])
    ratios = likeness.band_ratios(frame, [("noise-1", "noise-2")])
    assert len(ratios) == len(likeness.BANDS) - 1
    assert np.allclose(ratios["noise-1"], 0.25, rtol=1e-3)


def test_agreement_of_noise_with_twice_the_noise_is_a_factor_of_four(grains):
    frame = pd.concat([likeness.measure([s], s.name) for s in grains])
    same, alone = likeness.agreement(frame, [("noise-1", "noise-2")]).itertuples()
    assert same.factor == pytest.approx(4, rel=1e-3) and 0 < same.overlap < 1
    assert np.isnan(alone.factor)
    alike = [replace(grains[0], name="again"), grains[0]]
    assert likeness.agreement(likeness.measure(alike, "twice"), [("twice", "twice")]).overlap.min() == pytest.approx(1)


def test_committed_likeness_has_the_fields_that_the_code_names():
    frame = pd.read_csv(COMMITTED)
    found = {group: tuple(part.image.astype(str).unique()) for group, part in frame.groupby("group")}
    assert found == likeness.FIELDS
    table = likeness.summary(frame)
    assert table.loc["cells_per_megapixel"].notna().to_dict() == {"thesis, colonies": True, "thesis, sheets": False}
    shares = frame[frame.quantity == "histogram"].groupby(["group", "image"]).value.sum()
    assert np.allclose(shares, 1, atol=1e-4)


def test_stages_shows_each_step_once(grains):
    phase = disc(12, 0.5, 64)
    beside, caught = split_light(phase)
    photograph = grains[0].image[:64, :64]
    figure = phantoms.stages((phase > 0).astype(int), phase, beside, caught, phase_contrast(phase), photograph)
    panels = [axes for axes in figure.axes if axes.get_title(loc="left")]
    assert len(panels) == 6 and np.array_equal(panels[1].images[0].get_array(), phase)
    assert drawn(figure)


def test_disc_profiles_marks_halo_and_shade_off():
    x = np.arange(-40, 41)
    cell = disc(15, 0.5, 81)
    image = phase_contrast(cell)[40]
    figure = phantoms.disc_profiles([("one", x, 15, cell[40], image), ("two", x, 15, cell[40], image)])
    texts = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert texts == ["halo", "halo", "shade-off"]
    peak = next(text.xy for axes in figure.axes for text in axes.texts if text.get_text() == "halo")
    assert peak[0] > 15 and peak[1] == pytest.approx(image.max())
    assert drawn(figure)


def test_brightness_shades_the_two_ranges():
    phases = np.linspace(0, 2 * np.pi, 9)
    figure = phantoms.brightness(phases, phases, phases, phases, spread=(0.3, 1.1), rounded=(3, 6))
    (axes,) = figure.axes
    assert len(axes.texts) == len(axes.patches) == 2
    assert drawn(figure)


def test_likeness_draws_single_fields_thin_and_each_group_bold(grains):
    figure = phantoms.likeness(pd.concat([likeness.measure(grains, "a"), likeness.measure(grains[:1], "b")]))
    for axes in figure.axes:
        bold = [line.get_label() for line in axes.lines if line.get_linewidth() == 2]
        assert bold == ["a", "b"] and len(axes.lines) == 4
    assert drawn(figure)
