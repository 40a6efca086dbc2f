"""Counting at any magnification, without padding, and with a warning where an image is unlike the training images."""

import io
from dataclasses import replace

import numpy as np
import pytest
import tifffile
from PIL import Image
from scipy import ndimage

import cellcount
from cellcount.cli import main
from cellcount.companion.studies.magnification import UNLIKE, others, padded, resized, warned
from cellcount.data import phantom
from cellcount.errors import ParameterError
from cellcount.io import large, views
from cellcount.io.views import View, padding
from cellcount.metrics import match
from cellcount.types import Prediction


def f1(true, found, tolerance):
    return 2 * match(true, found, tolerance).tp / max(len(true) + len(found), 1)


@pytest.fixture(scope="module")
def field():
    return phantom.simulate(seed=(7, 0), size=(512, 640), confluence=0.7)


@pytest.fixture(scope="module")
def counted(field):
    return cellcount.count(field.image)


# Scale.
@pytest.mark.parametrize("factor", [0.4, 0.63, 1.6, 2.5])
def test_cells_of_any_size_are_counted(field, counted, factor):
    found = cellcount.count(resized(field.image, factor))
    assert abs(found.count / len(field.points) - 1) < 0.1
    steps = np.divide(field.image.shape, found.shape)
    points = (found.points + 0.5) * steps.astype(np.float32) - 0.5
    assert f1(field.points, points, 10) > f1(field.points, counted.points, 10) - 0.05
    assert found.prediction.meta["cell_width_px"] == pytest.approx(34 * factor, rel=0.35)
    assert not warned(found) and found.interval is not None


def test_fields_at_the_training_images_scale_are_left_as_they_are(field, counted):
    from cellcount.methods import cellnet

    assert counted.prediction.meta["scale"] == 1 and not counted.warnings
    np.testing.assert_array_equal(counted.points, cellnet.predict(field.image).points)
    assert counted.interval[0] < counted.count < counted.interval[1]


def test_a_given_width_is_used_and_none_leaves_the_image_as_it_is(field):
    double = resized(field.image, 2)
    told, left = cellcount.count(double, cell_width=67.0), cellcount.count(double, cell_width=None)
    assert told.prediction.meta["scale"] == pytest.approx(0.5) and left.prediction.meta["scale"] == 1
    assert abs(told.count / len(field.points) - 1) < 0.1 < abs(left.count / len(field.points) - 1)
    assert not told.warnings and "its cells seem to be about" in left.warnings[0]
    for wrong in (0, -3.0, np.nan, np.inf, "wide", True):
        with pytest.raises(ParameterError, match="cell_width=.*must be positive"):
            cellcount.count(double, cell_width=wrong)
    for wrong in (0.01, 1e6):
        with pytest.raises(ParameterError, match="the image would be resampled by .*less than 10"):
            cellcount.count(double, cell_width=wrong)
    with pytest.raises(ParameterError, match="pixel_size_um=-1"):
        cellcount.count(double, pixel_size_um=-1)
    with pytest.raises(ParameterError, match="blobs does not know the width of its cells"):
        cellcount.count(double, method="blobs", cell_width=30.0)


def test_the_density_keeps_its_sum_when_an_image_is_resampled(field):
    found = cellcount.count(resized(field.image, 2), cell_width=67.0)
    assert found.prediction.density.shape == found.shape
    assert found.prediction.density.sum() == pytest.approx(found.summary()["density_sum"], rel=1e-3)
    assert found.prediction.density.sum() == pytest.approx(len(field.points), rel=0.25)


def test_windows_of_a_resampled_view_fit_together(field):
    view = View(field.image).at(0.7)
    whole = view[: view.shape[0], : view.shape[1]]
    np.testing.assert_allclose(view[40:200, 33:301], whole[40:200, 33:301], atol=2e-3)
    assert whole.shape == (358, 448)


def test_a_file_larger_than_memory_is_resampled_window_by_window(field, tmp_path, monkeypatch):
    pixels = np.round(resized(field.image, 2) * 255).astype(np.uint8)
    tifffile.imwrite(tmp_path / "field.tif", pixels)
    expected = cellcount.count(tmp_path / "field.tif")
    for module in (large, views):
        monkeypatch.setattr(module, "LARGE", 10_000)
    found = cellcount.count(tmp_path / "field.tif")
    assert found.prediction.meta["scale"] == pytest.approx(expected.prediction.meta["scale"], rel=0.1)
    assert f1(expected.points, found.points, 8) > 0.95  # another part of it tells the size


def test_masks_return_to_the_pixels_of_the_image():
    view = View(np.random.default_rng(0).random((40, 60), np.float32)).at(0.5)
    labels = np.zeros(view.shape, np.int32)
    labels[5:10, 5:10] = 1
    back = view.back(Prediction(np.array([[7.0, 7.0]]), np.ones(1), 1.0, labels=labels))
    assert back.labels.shape == (40, 60) and back.labels[10:20, 10:20].all() and back.labels.sum() == 100
    np.testing.assert_allclose(back.points, [[14.5, 14.5]])


# Padding.
PADDED = [f"{name}, {width} px" for name in ("black", "gray", "white") for width in (20, 50, 200)]


@pytest.mark.parametrize("name", [*PADDED, "black, two sides", "rotated"])
def test_padding_does_not_change_the_count(field, counted, name):
    image = padded(field.image)[name]
    found = cellcount.count(image)
    assert abs(found.count / counted.count - 1) < 0.05
    assert not warned(found)
    y, x = np.rint(found.points).astype(int).T
    assert not padding(image)[y, x].any()


def test_what_is_outside_of_a_round_field_is_left_out(field, counted):
    image = padded(field.image)["round field"]
    y, x = np.rint(counted.points).astype(int).T
    assert abs(cellcount.count(image).count / (image > 0)[y, x].sum() - 1) < 0.05


def test_padding_in_a_jpeg_is_found(field, counted):
    file = io.BytesIO()
    Image.fromarray(np.round(np.pad(field.image, 60) * 255).astype(np.uint8)).save(file, "JPEG", quality=85)
    assert abs(cellcount.count(np.asarray(Image.open(file))).count / counted.count - 1) < 0.05


def test_other_methods_leave_padding_out_too(field):
    plain, padded = (cellcount.count(one, method="blobs") for one in (field.image, np.pad(field.image, 100)))
    assert abs(padded.count / plain.count - 1) < 0.05
    area, more = (cellcount.count(one, method="foreground-area") for one in (field.image, np.pad(field.image, 100)))
    assert abs(more.count / area.count - 1) < 0.15


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((100, 100), np.float32), np.random.default_rng(0).random((100, 100), np.float32),
        np.zeros((5, 900), np.float32), np.pad(np.random.default_rng(0).random((100, 100), np.float32), 4),
    ],
    ids=["constant", "noise", "flat strip", "thin margin"],
)  # fmt: skip
def test_what_is_no_padding(image):
    assert padding(image) is None


def test_a_dark_ground_that_ends_in_black_is_no_padding():
    spots = np.zeros((200, 200), np.float32)
    spots[40::60, 40::60] = 1
    assert (
        padding(np.round(ndimage.gaussian_filter(spots, 6) * 300 * 255).clip(0, 255).astype(np.float32) / 255) is None
    )


def test_the_constant_ground_of_small_objects_is_no_padding():
    squares = np.zeros((200, 200), np.float32)
    for y, x in ((30, 40), (90, 120), (150, 60)):
        squares[y : y + 20, x : x + 20] = 1
    assert padding(squares) is None


def test_saturated_cells_are_no_padding(field):
    image = field.image.copy()
    image[100:140, 100:140] = 1
    assert padding(image) is None


# Images of something else.
@pytest.fixture(scope="module")
def unlike(field):
    return {name: cellcount.count(image) for name, image in others(field).items()}


@pytest.mark.parametrize(
    "name",
    [
        "gray, noise of 1 gray value", "gray, noise of 3 gray values", "gray, noise of 30 gray values", "pure noise",
        "smooth noise", "a gradient", "fluorescence", "stained tissue", "brightfield", "negative", "out of focus",
        "much noise",
    ],
)  # fmt: skip
def test_what_is_no_phase_contrast_of_cells_gets_a_warning_and_no_interval(unlike, name):
    found = unlike[name]
    assert sum(UNLIKE in one for one in found.warnings) == 1
    assert found.interval is None and found.summary()["warnings"]


def test_the_warning_names_the_kind_of_image_it_suggests(unlike):
    assert "like fluorescence" in " ".join(unlike["fluorescence"].warnings)
    assert "stained" in " ".join(unlike["stained tissue"].warnings)
    assert "hardly a cell" in " ".join(unlike["a gradient"].warnings)


@pytest.mark.parametrize("confluence", [0.1, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("gray", [lambda image: image, lambda image: 0.4 + 0.2 * image, lambda image: 0.7 * image])
def test_simulated_fields_get_no_warning(confluence, gray):
    field = phantom.simulate(seed=(8, int(100 * confluence)), size=(512, 640), confluence=confluence)
    found = cellcount.count(gray(field.image).astype(np.float32))
    assert found.warnings == () and found.interval is not None


def test_a_confluent_field_and_a_small_one_get_no_warning():
    assert not cellcount.count(phantom.simulate(1, (512, 512), confluence=1.0, **phantom.CONFLUENT).image).warnings
    assert not cellcount.count(phantom.simulate(1, (96, 96), confluence=0.7).image).warnings


def test_the_command_line_says_it_all(field, tmp_path, capsys):
    Image.fromarray(np.round(resized(field.image, 2) * 255).astype(np.uint8)).save(tmp_path / "double.png")
    Image.fromarray(np.round(others(field)["gray, noise of 3 gray values"] * 255).astype(np.uint8)).save(
        tmp_path / "noise.png"
    )
    assert (
        main(["count", str(tmp_path / "double.png"), str(tmp_path / "noise.png"), "--out", str(tmp_path / "out")]) == 0
    )
    out, err = capsys.readouterr()
    line = next(line for line in out.splitlines() if "double.png" in line)
    assert "(90 %: " in line and "px wide: the image was reduced to 0." in line
    assert f"noise.png: The image {UNLIKE}" in err and "90 %" not in next(
        x for x in out.splitlines() if "noise.png" in x
    )
    assert UNLIKE in (tmp_path / "out" / "summary.json").read_text()
    assert UNLIKE in (tmp_path / "out" / "counts.csv").read_text()
    assert main(["count", str(tmp_path / "double.png"), "--cell-width", "none", "--out", str(tmp_path / "out")]) == 0
    assert "counted before" not in capsys.readouterr().out  # another setting
    assert main(["count", str(tmp_path / "double.png"), "--pixel-size", "0", "--out", str(tmp_path / "out")]) == 2
    assert "pixel_size_um=0.0 must be positive" in capsys.readouterr().err


def test_weights_with_an_incomplete_entry_count_without_looking(field, tmp_path):
    from cellcount.methods.cellnet.calibration import amended
    from cellcount.methods.cellnet.checkpoint import SHIPPED

    own = amended(SHIPPED, tmp_path / "own.safetensors", looks={"wavelength": 20.0})
    assert cellcount.count(field.image, weights=own).prediction.meta["scale"] == 1


def test_training_on_mixed_magnifications_is_told():
    from cellcount.cli.train import mixed_sizes

    one, other = (phantom.simulate(seed, (256, 256), confluence=0.6) for seed in (1, 2))
    double = replace(
        other, name="double", image=resized(other.image, 2), points=2 * other.points, valid=None, labels=None
    )
    assert mixed_sizes([one, other]) == "" and mixed_sizes([]) == ""
    assert "in double and" in mixed_sizes([one, double])
