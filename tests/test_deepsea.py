"""DeepSea with the weights of its package."""

from dataclasses import replace

import numpy as np
import pytest

from cellcount import data, registry
from cellcount.errors import DataError, ParameterError
from cellcount.methods import deepsea
from cellcount.metrics import match, tuned


@pytest.fixture(scope="module")
def field():
    return data.load("phantom", split="train", fields=1)[0].crop(0, 0, 200, 216)


def test_it_is_ready_wherever_its_package_is():
    assert deepsea.status().state == "ready"


@pytest.mark.parametrize("scale", [0.5, 1.0, 1.7])
def test_masks_points_and_scores_belong_together(field, scale):
    prediction = deepsea.predict(field.image, device="cpu", scale=scale)
    assert prediction.labels.shape == field.image.shape
    count = len(prediction.points)
    assert count > 3 and prediction.labels.max() == count == prediction.count
    assert ((prediction.scores > 0.5) & (prediction.scores <= 1)).all()
    for i in (0, count // 2, count - 1):
        ys, xs = np.nonzero(prediction.labels == i + 1)
        np.testing.assert_allclose(prediction.points[i], [ys.mean(), xs.mean()], atol=0.6)


@pytest.mark.parametrize("scale", [0.3, 0.5, 1.0, 2.0, 2.7])
def test_points_do_not_shift_with_the_scale(monkeypatch, scale):
    """A pixel's centre lies at half its width at every scale; half a pixel's mistake would show."""
    y, x, radius = 60.2, 41.7, 15.0

    def drawn(image, scale, device):
        yy, xx = np.indices([round(side * scale) for side in image.shape])
        inside = np.hypot(yy + 0.5 - (y + 0.5) * scale, xx + 0.5 - (x + 0.5) * scale) <= radius * scale
        return inside.astype(np.float32)

    monkeypatch.setattr(deepsea, "_probability", drawn)
    prediction = deepsea.predict(np.zeros((120, 100), np.float32), device="cpu", scale=scale)
    np.testing.assert_allclose(prediction.points, [[y, x]], atol=0.1 / min(1, scale))
    assert (prediction.labels > 0).sum() == pytest.approx(np.pi * radius**2, rel=0.06)


def test_the_scale_is_chosen_on_annotated_fields(field):
    best, tried = tuned(deepsea.predict, [field], {"scale": [0.25, 1.0]}, tolerance=12)
    assert list(tried.scale) == [0.25, 1.0]
    assert best["scale"] == tried.scale[tried.f1.idxmax()]
    points = deepsea.predict(field.image, device="cpu", scale=1.0).points
    assert tried.f1[1] == pytest.approx(match(field.points, points, 12).f1)


@pytest.mark.parametrize("shape", [(1, 1), (5, 70), (33, 34)])
def test_images_of_any_shape(shape):
    prediction = deepsea.predict(np.random.default_rng(0).random(shape, np.float32), device="cpu")
    assert prediction.labels.shape == shape and prediction.points.shape == (len(prediction.scores), 2)


def test_a_constant_image_has_no_cell():
    assert deepsea.predict(np.full((64, 64), 0.5, np.float32), device="cpu").count in (0, 1)


def test_other_weights_than_the_registered_ones_are_refused(field, monkeypatch):
    monkeypatch.setitem(registry.WEIGHTS, "deepsea", replace(registry.WEIGHTS["deepsea"], sha256="0" * 64))
    with pytest.raises(DataError, match="not the registered file"):
        deepsea.predict(field.image, device="cpu")
    assert deepsea.status().state == "needs weights"


def test_bad_calls_are_refused(field):
    with pytest.raises(DataError, match=r"\(H, W\) float32"):
        deepsea.predict(field.image.astype(float))
    with pytest.raises(ParameterError, match="scale=0"):
        deepsea.predict(field.image, scale=0)
    with pytest.raises(ParameterError, match="no prompts"):
        deepsea.predict(field.image, prompts=[[1, 1]])
