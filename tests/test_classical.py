"""Methods that learn nothing: they find dark discs, whatever the light, the same in tiles, and say what is wrong."""

import numpy as np
import pytest

from cellcount.errors import DataError, ParameterError
from cellcount.methods import METHODS
from cellcount.methods.classical import bandpass, clusters, symmetry, watershed
from cellcount.methods.pixels import square_peaks
from cellcount.metrics import match
from cellcount.tiling import tiled

# Thresholds for the scene below, whose discs are far more regular than cells.
PARAMS = {
    "laplacian": {"threshold": 1.0},
    "tophat": {"threshold": 0.5},
    "bandpass": {"threshold": 0.5},
    "symmetry": {"threshold": 0.2},
    "clusters": {"kept": 2, "threshold": 0.3},
    "watershed": {"threshold": 0.1},
}


def scene(shape=(192, 224), spacing=32, radius=7, seed=0):
    """Dark discs with a bright ring, as phase contrast shows them, on noisy ground: image (H, W), centres (N, 2)."""
    rng = np.random.default_rng(seed)
    centres = np.mgrid[16 : shape[0] - 12 : spacing, 16 : shape[1] - 12 : spacing].reshape(2, -1).T
    centres = centres + rng.uniform(-4, 4, centres.shape)
    image = rng.normal(0.6, 0.01, shape)
    yy, xx = np.indices(shape)
    for y, x in centres:
        distance = np.hypot(yy - y, xx - x)
        image -= 0.25 / (1 + np.exp(distance - radius))
        image += 0.1 * np.exp(-(((distance - radius - 4) / 2) ** 2))
    return image.astype(np.float32), centres


IMAGE, CENTRES = scene()


@pytest.fixture(params=PARAMS, scope="module")
def name(request):
    return request.param


@pytest.fixture(scope="module")
def prediction(name):
    return METHODS[name].predict(IMAGE, **PARAMS[name])


def test_finds_every_disc_and_nothing_else(prediction):
    matching = match(CENTRES, prediction.points, 5)
    assert matching[:3] == (len(CENTRES), 0, 0)
    assert prediction.count == len(CENTRES)
    assert (np.diff(prediction.scores) <= 0).all()


def test_the_gain_of_the_camera_does_not_matter(name, prediction):
    dim = METHODS[name].predict(0.5 * IMAGE, **PARAMS[name])
    assert match(prediction.points, dim.points, 1)[:3] == (len(CENTRES), 0, 0)


def test_a_higher_threshold_only_cuts_the_lowest_scores(name, prediction):
    middle = float(np.sort(prediction.scores)[len(prediction.scores) // 2])
    higher = METHODS[name].predict(IMAGE, **PARAMS[name] | {"threshold": middle})
    kept = prediction.scores >= middle
    assert 0 < kept.sum() < len(kept)
    np.testing.assert_allclose(higher.points, prediction.points[kept])


def test_an_even_image_has_no_cells(name):
    found = METHODS[name].predict(np.full((96, 96), 0.5, np.float32), **PARAMS[name])
    assert found.points.shape == (0, 2) and found.count == 0


def test_wrong_input_is_refused(name):
    predict = METHODS[name].predict
    with pytest.raises(DataError, match=r"\(4, 4, 3\)"):
        predict(np.zeros((4, 4, 3), np.float32))
    with pytest.raises(ParameterError, match="no prompts"):
        predict(IMAGE, prompts=np.zeros((1, 2)))
    with pytest.raises(ParameterError, match="distance=0"):
        predict(IMAGE, distance=0)


def test_tiles_give_the_same_cells(name):
    image, centres = scene((256, 384), seed=1)
    method = METHODS[name]
    parts = tiled(method.predict, tile=256, overlap=64, context=method.context)(image, **PARAMS[name])
    assert match(centres, parts.points, 5)[:3] == (len(centres), 0, 0)


def test_a_plateau_is_one_peak():
    answer = np.zeros((30, 30), np.float32)
    answer[10:13, 10:14] = 1
    points, scores = square_peaks(answer, threshold=0.5, distance=3)
    np.testing.assert_allclose(points, [[11, 11.5]])
    assert scores.tolist() == [1]


def test_bandpass_lets_only_its_band_through():
    x = np.arange(256, dtype=np.float32)

    def gain(period, **params):
        wave = np.tile(np.cos(2 * np.pi * x / period), (128, 1)).astype(np.float32)
        return np.abs(bandpass.answer(wave, contrast=1.0, **params)[:, 64:192]).max()

    assert gain(28) > 0.75 and gain(6) < 0.05 and gain(200) < 0.1
    assert gain(28, order=8) > 0.95 and gain(13, order=8) < 0.1
    with pytest.raises(ParameterError, match="order=16|8"):
        bandpass.predict(IMAGE, order=16)
    with pytest.raises(ParameterError, match="shortest"):
        bandpass.predict(IMAGE, shortest=50, longest=20)


def test_local_phase_of_a_wave_is_its_phase():
    x = np.arange(200)
    wave = np.tile(np.cos(2 * np.pi * x / 20), (120, 1)).astype(np.float32)
    even, odd = symmetry.monogenic(wave, 20)
    inner = np.s_[30:90, 60:140]
    np.testing.assert_allclose(even[inner], wave[inner], atol=0.03)
    np.testing.assert_allclose(odd[inner], np.abs(np.tile(np.sin(2 * np.pi * x / 20), (120, 1)))[inner], atol=0.03)


def test_symmetry_is_the_same_for_faint_and_strong_cells():
    image, centres = scene()
    left = np.arange(image.shape[1]) < image.shape[1] // 2
    ground = 0.6
    uneven = np.where(left, ground + 0.4 * (image - ground), image).astype(np.float32)
    answer = symmetry.answer(uneven, noise=0.02)
    at = tuple(np.rint(centres).astype(int).T)
    faint, strong = (np.median(answer[at][side]) for side in (centres[:, 1] < 100, centres[:, 1] > 124))
    assert faint == pytest.approx(strong, rel=0.1)


def test_the_deepest_cluster_lies_in_the_discs():
    labels = clusters.segment(IMAGE, clusters=4)
    assert set(np.unique(labels)) == {0, 1, 2, 3}
    at = tuple(np.rint(CENTRES).astype(int).T)
    assert (labels[at] == 0).mean() > 0.9 > 0.3 > (labels == 0).mean()


def test_basins_of_the_watershed_belong_to_their_points():
    found = watershed.predict(IMAGE, **PARAMS["watershed"])
    at = tuple(np.rint(found.points).astype(int).T)
    assert found.labels[at].tolist() == list(range(1, len(found.points) + 1))
    assert set(np.unique(found.labels)) == set(range(len(found.points) + 1))
