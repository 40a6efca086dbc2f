"""The phantom: reproducible, true to its own labels, and shaped by optics as a phase-contrast image is."""

import numpy as np
import pandas as pd
import pytest
from scipy.spatial import cKDTree

from cellcount.data import phantom
from cellcount.data.phantom.optics import APERTURE, RING_TRANSMISSION, phase_contrast, photograph
from cellcount.errors import ParameterError
from cellcount.types import Sample


@pytest.fixture(scope="module")
def field():
    return phantom.simulate(7, (288, 320), confluence=0.75)


@pytest.fixture(scope="module")
def sheet():
    return phantom.simulate(8, (256, 256), confluence=1.0)


def disk(radius, shape=(201, 201)):
    y, x = np.indices(shape)
    return np.hypot(y - shape[0] // 2, x - shape[1] // 2) <= radius


def test_same_seed_same_bytes():
    first, again, other = (phantom.simulate(seed, (96, 112), confluence=1.0) for seed in (8, 8, 9))
    for name in ("image", "points", "labels", "valid", "dead"):
        assert getattr(again, name).tobytes() == getattr(first, name).tobytes(), name
    assert not np.array_equal(other.image, first.image)


@pytest.mark.parametrize("name", ["field", "sheet"])
def test_every_cell_has_one_point_inside_its_own_mask(name, request):
    sample = request.getfixturevalue(name)
    count = len(sample.points)
    assert count > 20
    assert np.array_equal(np.unique(sample.labels), np.arange(count + 1))
    at = tuple(np.rint(sample.points).astype(int).T)
    assert np.array_equal(sample.labels[at], np.arange(1, count + 1))
    assert sample.labels.dtype == np.int32


def test_cells_cut_by_the_border_are_neither_right_nor_wrong(field):
    assert not field.valid.all()
    assert (field.labels[~field.valid] == 0).all()
    edge = np.zeros(field.labels.shape, bool)
    edge[80:-80, 80:-80] = True  # no cell reaches in farther
    assert field.valid[edge].all()


def test_image_is_eight_bit_gray_in_unit_range(field):
    gray = field.image * 255
    assert field.image.shape == field.labels.shape == (288, 320)
    assert np.allclose(gray, np.rint(gray), atol=1e-4)
    assert 0 <= field.image.min() and field.image.max() <= 1


def test_spacing_size_and_intensity_are_those_of_the_thesis_images(field):
    found = phantom.describe(field)
    assert 20 <= found["spacing_px"] <= 31
    assert 34 <= found["box_long_px"] <= 52
    assert 27 <= found["box_short_px"] <= 40
    assert 155 <= found["intensity_mean"] <= 182
    assert 20 <= found["intensity_std"] <= 38


def test_confluence_sets_coverage(sheet):
    sparse = phantom.simulate(8, (256, 256), confluence=0.3)
    covered = (sheet.labels > 0) | ~sheet.valid
    assert covered.mean() > 0.9
    assert ((sparse.labels > 0) | ~sparse.valid).mean() < 0.6
    assert len(sparse.points) < 0.7 * len(sheet.points)


def test_dead_cells_hide_no_live_nucleus():
    sample = phantom.simulate(4, (256, 256), dead=100)
    assert len(sample.dead) > 2
    assert cKDTree(sample.points).query(sample.dead)[0].min() > 13


def test_a_nearly_bare_ground_is_no_error():
    sample = phantom.simulate(5, (64, 64), confluence=1e-4)
    assert len(sample.points) < 3 and sample.image.shape == (64, 64)


def test_no_rounded_cells_if_none_are_asked_for():
    none = phantom.simulate(3, (128, 128), rounded=0)
    assert len(none.meta["rounded"]) == len(none.points) and not none.meta["rounded"].any()


def test_default_set_names_and_splits():
    samples = phantom.load(fields=1, size=(96, 96))
    assert [(s.name, s.split) for s in samples] == [
        (f"phantom-{split}-0", split) for split in ("train", "validation", "test")
    ]
    (alone,) = phantom.load("test", fields=1, size=(96, 96))
    assert np.array_equal(alone.image, samples[2].image)
    (reseeded,) = phantom.load("test", fields=1, size=(96, 96), seed=1)
    assert not np.array_equal(alone.image, reseeded.image)


@pytest.mark.parametrize(
    "call",
    [
        lambda: phantom.simulate(0, (40, 200)),
        lambda: phantom.simulate(0, (64, 64), confluence=0),
        lambda: phantom.simulate(0, (64, 64), rounded=1.5),
        lambda: phantom.load("holdout"),
        lambda: phantom.load(fields=0),
    ],
)
def test_impossible_parameters_are_refused(call):
    with pytest.raises(ParameterError, match="phantom"):
        call()


# Optics


@pytest.mark.parametrize("phase", [0.0, 0.7, 9.0])
def test_a_flat_specimen_gives_a_uniform_field_of_intensity_one(phase):
    assert np.allclose(phase_contrast(np.full((64, 80), phase)), 1, atol=1e-12)


def test_a_thin_disk_is_dark_and_its_surroundings_bright():
    image = phase_contrast(0.3 * disk(12))
    inside, ring, far = disk(8), disk(16) & ~disk(14), ~disk(90)
    assert image[inside].mean() < 0.85
    assert image[ring].mean() > 1.1
    assert image[far].mean() == pytest.approx(1, abs=0.01)


def test_contrast_changes_sign_with_the_phase():
    dense, hollow = (phase_contrast(sign * 0.1 * disk(12))[100, 100] for sign in (1, -1))
    assert dense < 1 < hollow


def test_small_phases_follow_the_linear_model():
    from scipy.ndimage import gaussian_filter

    phase = 0.01 * gaussian_filter(np.random.default_rng(0).standard_normal((96, 96)), 2)
    seen = gaussian_filter(phase, APERTURE)
    blur = ((5.0, 0.8), (12.0, 0.2))
    passed = seen - sum(share * gaussian_filter(seen, sigma) for sigma, share in blur)
    image = phase_contrast(phase, blur=blur)
    assert np.allclose(image, 1 - 2 * passed / RING_TRANSMISSION, atol=1e-4)
    assert np.abs(image - 1).max() > 1e-3


def test_whole_waves_make_no_difference():
    phase = 0.4 * disk(10)
    assert np.allclose(phase_contrast(phase), phase_contrast(phase + 2 * np.pi * disk(40)), atol=1e-9)


def test_shade_off_the_middle_of_a_wide_object_is_paler_than_its_border():
    image = phase_contrast(0.3 * disk(60))
    assert image[100, 100] > image[disk(57) & ~disk(53)].mean()


def test_optics_refuses_what_is_no_phase_ring():
    with pytest.raises(ParameterError, match="zeta"):
        phase_contrast(np.zeros((8, 8)), zeta=0)
    with pytest.raises(ParameterError, match="1"):
        phase_contrast(np.zeros((8, 8)), blur=((3, 0.5),))


def test_camera_noise_and_compression():
    flat = np.ones((128, 128))
    quiet, loud, coarse = (
        photograph(np.random.default_rng(0), flat, gradient=0, shade=0, **options).astype(float)
        for options in ({"noise": 0}, {"noise": 4, "quality": 100}, {"noise": 4, "quality": 5})
    )
    assert np.ptp(quiet) == 0
    assert 3 < loud.std() < 8
    assert coarse.std() < 0.7 * loud.std()


# Statistics


def test_spectrum_finds_a_grating_and_integrates_to_the_variance():
    x = np.arange(512) * np.ones((512, 1))
    frequency, power = phantom.radial_power_spectrum(0.5 + 0.1 * np.sin(2 * np.pi * x / 16))
    assert frequency[np.argmax(power)] == pytest.approx(1 / 16)
    noise = 0.5 + 0.02 * np.random.default_rng(0).standard_normal((512, 512))
    frequency, power = phantom.radial_power_spectrum(noise)
    assert power.mean() == pytest.approx((0.02 * 255) ** 2, rel=0.05)  # white: the density is the variance


def test_histogram_sums_to_one_and_finds_the_gray_value():
    centres, share = phantom.intensity_histogram(np.full((10, 10), 100 / 255), bins=51)
    assert share.sum() == pytest.approx(1)
    assert abs(centres[np.argmax(share)] - 100) <= 2.5


def test_describe_says_nan_where_nothing_is_known():
    found = phantom.describe(Sample("bare", np.full((64, 64), 0.5, np.float32)))
    assert np.isnan([found["spacing_px"], found["cells_per_megapixel"], found["box_long_px"]]).all()
    assert found["intensity_mean"] == pytest.approx(127.5)


# Annotator


@pytest.fixture
def crowd():
    """A made-up sample: 400 cells crowded on the left and 400 thinly spread on the right, 100 dead."""
    rng = np.random.default_rng(0)
    crowded, thin = rng.uniform((20, 20), (980, 320), (400, 2)), rng.uniform((20, 400), (980, 1980), (400, 2))
    points = np.concatenate([crowded, thin])
    return Sample("crowd", np.zeros((1000, 2000), np.float32), points, dead=rng.uniform(50, 950, (100, 2)))


def test_annotator_without_faults_changes_nothing(crowd):
    same = phantom.annotate(crowd, 0, missed=0, missed_in_dense=0, position_noise_px=0, dead_as_live=0)
    assert np.array_equal(same.points, crowd.points) and np.array_equal(same.dead, crowd.dead)


def test_annotator_misses_more_in_a_crowd(crowd):
    clicks = phantom.annotate(crowd, 1, missed=0.05, missed_in_dense=0.5, dead_as_live=0)
    seen = np.isin(np.arange(800), clicks.meta["clicked"])
    assert 1 - seen.mean() == pytest.approx(0.275, abs=0.06)
    assert (~seen[:400]).mean() > 1.7 * (~seen[400:]).mean()
    assert clicks.labels is None


def test_annotator_clicks_beside_the_nucleus(crowd):
    clicks = phantom.annotate(crowd, 2, missed=0, missed_in_dense=0, position_noise_px=3, dead_as_live=0)
    assert (clicks.points - crowd.points).std() == pytest.approx(3, rel=0.1)
    assert abs((clicks.points - crowd.points).mean()) < 0.3


def test_annotator_takes_some_dead_cells_for_live(crowd):
    clicks = phantom.annotate(crowd, 3, missed=0, missed_in_dense=0, position_noise_px=0, dead_as_live=0.5)
    mistaken = clicks.points[clicks.meta["clicked"] == -1]
    assert 30 < len(mistaken) < 70
    assert len(mistaken) + len(clicks.dead) == 100
    assert cKDTree(crowd.dead).query(mistaken)[0].max() == 0


def test_annotator_is_seeded_and_checks_its_parameters(crowd):
    assert np.array_equal(phantom.annotate(crowd, 4).points, phantom.annotate(crowd, 4).points)
    assert len(phantom.annotate(crowd, 4).points) != len(phantom.annotate(crowd, 5).points)
    with pytest.raises(ParameterError, match="missed.*2"):
        phantom.annotate(crowd, 0, missed=2)
    with pytest.raises(ParameterError, match="position_noise_px"):
        phantom.annotate(crowd, 0, position_noise_px=-1)
    with pytest.raises(ParameterError, match="points"):
        phantom.annotate(Sample("bare", np.zeros((64, 64), np.float32)), 0)


def test_spectra_of_small_and_large_fields_are_compared_at_common_frequencies():
    from cellcount.companion.studies import likeness

    fields = {"large": (256, 256), "small": (96, 128)}
    frames = [
        likeness.measure([phantom.simulate(seed=i, size=size) for i in (1, 2)], group) for group, size in fields.items()
    ]
    found = likeness.agreement(pd.concat(frames), [("large", "small")]).set_index("fields").factor
    assert 1 < found["large with small"] < 2 * found["small with each other"]
