"""Reading images, against pixels that are known."""

import io

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from cellcount.errors import DataError, ParameterError
from cellcount.io.images import examined, read_image

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


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int16, np.uint8, np.uint16])
def test_white_may_be_zero_in_every_type(tmp_path, ramp, dtype):
    pixels = (255 - ramp) / 255 if np.dtype(dtype).kind == "f" else (255 - ramp)
    tifffile.imwrite(tmp_path / "w.tif", pixels.astype(dtype), photometric="miniswhite")
    image = read_image(tmp_path / "w.tif")
    if dtype is np.uint16:  # zero is white, and 65535 would be black: this image is all bright
        np.testing.assert_allclose(image, 1 - (255 - ramp) / 65535, atol=1e-6)
    else:
        np.testing.assert_allclose(image, ramp / 255, atol=1e-3)


@pytest.mark.parametrize("bits", [2, 4, 6, 10, 12])
@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
def test_packed_bits_have_their_own_full_scale(tmp_path, ramp, bits, photometric):
    full = 2**bits - 1
    pixels = (ramp / 255 * full).round().astype(np.uint8 if bits < 8 else np.uint16)
    stored = full - pixels if photometric == "miniswhite" else pixels
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric=photometric, bitspersample=bits)
    np.testing.assert_allclose(read_image(tmp_path / "a.tif"), pixels / full, atol=2e-2 if bits == 6 else 1e-6)


def test_16_bit_colours_of_png_are_read_whole(tmp_path, colour):
    pixels = colour.astype(np.uint16) * 16  # 12 bits, of which Pillow would keep four
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(pixels))
    np.testing.assert_allclose(read_image(tmp_path / "a.png", "blue"), pixels[..., 2] / 4095, atol=1e-6)


def test_jpeg_in_tiff_is_the_colour_that_was_stored(tmp_path):
    pixels = np.kron(np.array([[[200, 30, 90], [20, 180, 60]]], np.uint8), np.ones((16, 16, 1), np.uint8))
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=95, subsampling=0)
    options = {"photometric": "ycbcr", "compression": "jpeg", "subsampling": (1, 1), "rowsperstrip": 16}
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(iter([file.getvalue()]), shape=pixels.shape, dtype=np.uint8, **options)
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        assert tiff.pages[0].photometric == tifffile.PHOTOMETRIC.YCBCR
    for n, name in enumerate(("red", "green", "blue")):
        image = read_image(tmp_path / "a.tif", name) * 255
        assert abs(image[4, 4] - pixels[4, 4, n]) < 4 and abs(image[4, 28] - pixels[4, 28, n]) < 4


def test_content_decides_and_not_the_suffix(tmp_path, ramp):
    tifffile.imwrite(tmp_path / "a.png", ramp)
    Image.fromarray(ramp).save(tmp_path / "b.tif", format="PNG")
    for name, wanted in (("a.png", "a.tif"), ("b.tif", "b.png")):
        image, [warning] = examined(tmp_path / name)
        np.testing.assert_allclose(image, ramp / 255, atol=1e-6)
        assert f"Rename it to {wanted}" in warning


@pytest.mark.parametrize("flagged", [True, False])
def test_a_thumbnail_is_not_the_image(tmp_path, ramp, flagged):
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(ramp[:10, :15].copy(), subfiletype=int(flagged))
        writer.write(ramp)
    if flagged:
        np.testing.assert_allclose(read_image(tmp_path / "a.tif"), ramp / 255, atol=1e-6)
    else:
        with pytest.raises(DataError, match="15 x 10 px, but another one is larger"):
            read_image(tmp_path / "a.tif")


@pytest.mark.parametrize("kind", ["OME", "BigTIFF", "JPEG 2000", "ImageJ"])
def test_one_plane_in_other_kinds_of_tiff(tmp_path, ramp, kind):
    options = {
        "OME": {"metadata": {"axes": "YX"}},
        "BigTIFF": {"bigtiff": True},
        "JPEG 2000": {"compression": "jpeg2000"},
        "ImageJ": {"imagej": True, "resolution": (2, 2), "metadata": {"unit": "um"}},
    }
    path = tmp_path / ("a.ome.tif" if kind == "OME" else "a.tif")
    tifffile.imwrite(path, ramp, **options[kind])
    image, warnings = examined(path)
    np.testing.assert_allclose(image, ramp / 255, atol=1e-6)
    assert warnings == []


def test_pages_in_a_circle_end(tmp_path, ramp):
    """A damaged link from the second page to the first one, which tifffile would follow for ever."""
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as writer:
        writer.write(ramp, metadata=None)
        writer.write(ramp[:18, :20].copy(), metadata=None)
    with tifffile.TiffFile(path) as tiff:
        first, last = tiff.pages
        link = last.offset + 2 + 12 * len(last.tags)
    content = bytearray(path.read_bytes())
    assert content[link : link + 4] == bytes(4), "the end of the list of pages"
    content[link : link + 4] = first.offset.to_bytes(4, "little")
    path.write_bytes(content)
    image, [warning] = examined(path)
    np.testing.assert_allclose(image, ramp / 255, atol=1e-6)
    assert "20 x 18 px, are not" in warning
