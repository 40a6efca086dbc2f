"""Reading images, against pixels that are known."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from cellcount.errors import DataError, ParameterError
from cellcount.io.images import read_image

SHAPE = (20, 30)


@pytest.fixture
def ramp():
    """(20, 30) uint8 with every gray value."""
    return np.linspace(0, 255, 600).round().astype(np.uint8).reshape(SHAPE)


@pytest.fixture
def colour(ramp):
    return np.dstack([ramp, ramp[::-1], ramp[:, ::-1]])


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "tiff"])
def test_8_bit_gray_is_exact(tmp_path, ramp, suffix):
    Image.fromarray(ramp).save(tmp_path / f"a.{suffix}")
    image = read_image(tmp_path / f"a.{suffix}")
    assert image.dtype == np.float32 and image.shape == SHAPE
    np.testing.assert_allclose(image, ramp / 255, atol=1e-6)


def test_jpeg_keeps_gray_values(tmp_path, ramp):
    Image.fromarray(ramp).save(tmp_path / "a.JPG", quality=95)
    assert np.abs(read_image(tmp_path / "a.JPG") - ramp / 255).max() < 0.03


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bit_files_are_scaled_by_the_bit_depth_that_they_hold(tmp_path, ramp, bits, suffix):
    full = 2**bits - 1
    pixels = (ramp / 255 * full).round().astype(np.uint16)
    if suffix == "png":
        Image.fromarray(pixels).save(tmp_path / "a.png")
    else:
        tifffile.imwrite(tmp_path / "a.tif", pixels, compression="lzw")
    np.testing.assert_allclose(read_image(tmp_path / f"a.{suffix}"), pixels / full, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_float_images_within_0_and_1_stay(tmp_path, ramp, dtype):
    tifffile.imwrite(tmp_path / "a.tif", (ramp / 510).astype(dtype))
    np.testing.assert_allclose(read_image(tmp_path / "a.tif"), ramp / 510, atol=1e-3)


def test_float_images_with_negative_values_are_stretched(tmp_path, ramp):
    tifffile.imwrite(tmp_path / "a.tif", ramp.astype(np.float32) - 100)
    np.testing.assert_allclose(read_image(tmp_path / "a.tif"), ramp / 255, atol=1e-6)


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("channel, index", [("auto", 1), ("red", 0), ("green", 1), ("blue", 2)])
def test_channels(tmp_path, colour, suffix, channel, index):
    Image.fromarray(colour).save(tmp_path / f"a.{suffix}")
    image = read_image(tmp_path / f"a.{suffix}", channel)
    np.testing.assert_allclose(image, colour[..., index] / 255, atol=1e-6)


def test_mean_of_channels(tmp_path, colour):
    Image.fromarray(colour).save(tmp_path / "a.png")
    np.testing.assert_allclose(read_image(tmp_path / "a.png", "mean"), colour.mean(2) / 255, atol=1e-6)


def test_channel_of_a_gray_image_is_the_image(tmp_path, ramp):
    Image.fromarray(ramp).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png", "blue"), read_image(tmp_path / "a.png"))


def test_transparency_is_dropped(tmp_path, colour, ramp):
    Image.fromarray(np.dstack([colour, ramp])).save(tmp_path / "a.png")
    np.testing.assert_allclose(read_image(tmp_path / "a.png"), colour[..., 1] / 255, atol=1e-6)
    tifffile.imwrite(tmp_path / "a.tif", np.dstack([colour, ramp]), photometric="rgb", extrasamples=["unassalpha"])
    np.testing.assert_allclose(read_image(tmp_path / "a.tif"), colour[..., 1] / 255, atol=1e-6)


def test_palettes(tmp_path, colour, ramp):
    gray = Image.fromarray(ramp).convert("P")
    gray.save(tmp_path / "gray.png")
    np.testing.assert_allclose(read_image(tmp_path / "gray.png", "red"), ramp / 255, atol=1e-6)
    few = (colour // 128 * 255).astype(np.uint8)
    Image.fromarray(few).convert("P", palette=Image.Palette.ADAPTIVE).save(tmp_path / "colour.png")
    np.testing.assert_allclose(read_image(tmp_path / "colour.png", "blue"), few[..., 2] / 255, atol=0.01)
    Image.fromarray(few).convert("P", palette=Image.Palette.ADAPTIVE).save(tmp_path / "colour.tif")
    np.testing.assert_allclose(read_image(tmp_path / "colour.tif", "blue"), few[..., 2] / 255, atol=0.01)


def test_planar_and_white_is_zero_tiffs(tmp_path, colour, ramp):
    tifffile.imwrite(tmp_path / "p.tif", np.moveaxis(colour, 2, 0), photometric="rgb", planarconfig="separate")
    np.testing.assert_allclose(read_image(tmp_path / "p.tif", "blue"), colour[..., 2] / 255, atol=1e-6)
    tifffile.imwrite(tmp_path / "w.tif", 255 - ramp, photometric="miniswhite")
    np.testing.assert_allclose(read_image(tmp_path / "w.tif"), ramp / 255, atol=1e-6)


def test_a_pyramid_is_one_image(tmp_path, ramp):
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(np.kron(ramp, np.ones((4, 4), np.uint8)), subifds=1, tile=(16, 16))
        writer.write(np.kron(ramp, np.ones((2, 2), np.uint8)), subfiletype=1, tile=(16, 16))
    assert read_image(tmp_path / "a.tif").shape == (80, 120)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_stored_orientation_is_applied(tmp_path, ramp, orientation, suffix):
    # the reference is Pillow's own list of transpositions, written out as array operations
    turns = {
        1: lambda a: a,
        2: np.fliplr,
        3: lambda a: np.rot90(a, 2),
        4: np.flipud,
        5: lambda a: a.T,
        6: lambda a: np.rot90(a, -1),
        7: lambda a: np.rot90(a, 2).T,
        8: np.rot90,
    }
    if suffix == "png":
        exif = Image.Exif()
        exif[274] = orientation
        Image.fromarray(ramp).save(tmp_path / "a.png", exif=exif)
    else:
        tifffile.imwrite(tmp_path / "a.tif", ramp, extratags=[(274, "H", 1, orientation, True)])
    np.testing.assert_allclose(read_image(tmp_path / f"a.{suffix}"), turns[orientation](ramp) / 255, atol=1e-6)


def test_pillows_own_limit_is_left_alone(tmp_path, ramp):
    before = Image.MAX_IMAGE_PIXELS
    Image.fromarray(ramp).save(tmp_path / "a.png")
    read_image(tmp_path / "a.png")
    assert Image.MAX_IMAGE_PIXELS == before


def test_missing_file_and_unknown_channel(tmp_path):
    with pytest.raises(DataError, match="absent.png"):
        read_image(tmp_path / "absent.png")
    with pytest.raises(ParameterError, match="ultraviolet.*green"):
        read_image(tmp_path / "absent.png", "ultraviolet")
