"""Sample and Prediction refuse what would hurt later."""

import numpy as np
import pytest

from cellcount.errors import DataError
from cellcount.files import replacing
from cellcount.types import Prediction, Sample, as_points

IMAGE = np.zeros((20, 30), np.float32)


def test_a_sample_trusts_its_whole_annotation_unless_told():
    sample = Sample("a", IMAGE, [[1, 2]])
    assert sample.valid.all() and sample.valid.shape == IMAGE.shape
    assert sample.points.dtype == np.float32 and sample.dead.shape == (0, 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"image": np.zeros((4, 4, 3), np.float32)}, r"a: .*\(H, W\) float32"),
        ({"image": np.zeros((4, 4))}, "float64"),
        ({"image": IMAGE, "points": [[1, 2, 3]]}, "a: points"),
        ({"image": IMAGE, "points": [[1, np.inf]]}, "row 0"),
        ({"image": IMAGE, "valid": np.ones((3, 3), bool)}, r"valid has shape \(3, 3\)"),
        ({"image": IMAGE, "labels": np.ones((3, 3), np.int32)}, r"labels has shape \(3, 3\)"),
    ],
)
def test_bad_samples_are_refused(arguments, message):
    with pytest.raises(DataError, match=message):
        Sample("a", **arguments)


def test_crop_shifts_and_drops():
    sample = Sample(
        "a",
        IMAGE,
        [[5, 5], [9.4, 14.4], [9.6, 14.4]],
        dead=[[6, 6], [0, 0]],
        boxes=np.float32([[4, 4, 8, 10], [0, 0, 2, 2]]),
    )
    part = sample.crop(4, 4, 6, 12)
    assert part.image.shape == (6, 12)
    np.testing.assert_allclose(part.points, [[1, 1], [5.4, 10.4]], atol=1e-5)
    assert part.dead.tolist() == [[2, 2]] and part.boxes.tolist() == [[0, 0, 4, 6]]


def test_prediction_wants_a_score_for_each_point():
    with pytest.raises(ValueError, match="2.*1"):
        Prediction([[0, 0], [1, 1]], [1], 2.0)
    assert Prediction([], [], 0.0).points.shape == (0, 2)


def test_as_points_of_nothing():
    assert as_points([]).shape == (0, 2)


def test_an_interrupted_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), replacing(path) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]
