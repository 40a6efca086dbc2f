"""Images larger than memory: every way of storing them gives the pixels that `read_image` gives, window by window."""

import numpy as np
import pytest
import tifffile

from cellcount.errors import DataError, ParameterError
from cellcount.io import decoders, images, large
from cellcount.io.images import read_image
from cellcount.io.large import LargeImage, open_image

SHAPE = (150, 210)


def noise(*shape, high=255, seed=0):
    dtype = np.uint8 if high < 256 else np.uint16
    return np.random.default_rng(seed).integers(3, high, shape, endpoint=True).astype(dtype)


GRAY, RGB = noise(*SHAPE), noise(*SHAPE, 3)
STORED = {
    "mapped": (GRAY, {}),
    "mapped, big-endian, 12 bits": (noise(*SHAPE, high=4095), {"byteorder": ">"}),
    "mapped RGB": (RGB, {}),
    "mapped planes": (np.moveaxis(RGB, 2, 0), {"photometric": "rgb", "planarconfig": "separate"}),
    "mapped float": (GRAY.astype(np.float32) - 100, {}),
    "tiles": (GRAY, {"tile": (32, 48)}),
    "compressed tiles": (noise(*SHAPE, high=1000), {"tile": (64, 64), "compression": "zlib", "predictor": True}),
    "strips": (GRAY, {"rowsperstrip": 7, "compression": "lzw"}),
    "RGB strips": (RGB, {"rowsperstrip": 16, "compression": "zlib"}),
    "RGB planes in tiles": (
        np.moveaxis(RGB, 2, 0),
        {"photometric": "rgb", "planarconfig": "separate", "tile": (32, 32), "compression": "zlib"},
    ),
    "JPEG tiles": (RGB, {"tile": (64, 64), "compression": "jpeg", "photometric": "rgb"}),
    "RGBA": (noise(*SHAPE, 4), {"photometric": "rgb", "extrasamples": ["unassalpha"], "tile": (32, 32)}),
    "white is zero in float": (GRAY.astype(np.float32) / 255, {"photometric": "miniswhite", "tile": (32, 48)}),
    "white is zero in 12 bits": (noise(*SHAPE, high=4095), {"photometric": "miniswhite"}),
    "white is zero": (GRAY, {"photometric": "miniswhite", "rowsperstrip": 10, "compression": "zlib"}),
    "two values": (GRAY > 128, {"rowsperstrip": 10, "compression": "zlib"}),
    "palette": (GRAY, {"photometric": "palette", "colormap": noise(3, 256, high=65535), "tile": (32, 32)}),
}


@pytest.mark.parametrize("name", STORED)
@pytest.mark.parametrize("channel", ["auto", "mean"])
def test_windows_are_those_of_the_image_in_memory(tmp_path, name, channel):
    pixels, options = STORED[name]
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pixels, **options)
    whole, image = read_image(path, channel), LargeImage(path, channel, progress=False)
    assert image.shape == whole.shape == SHAPE
    for y0, y1, x0, x1 in [(0, 150, 0, 210), (0, 40, 0, 50), (31, 97, 47, 145), (100, 150, 200, 210), (5, 6, 7, 8)]:
        window = image[y0:y1, x0:x1]
        assert window.dtype == np.float32
        np.testing.assert_array_equal(window, whole[y0:y1, x0:x1])


def test_sample_and_overview_do_not_depend_on_the_bands(tmp_path, monkeypatch):
    monkeypatch.setattr(large, "SAMPLE", 1000)  # every fifth row and column
    monkeypatch.setattr(large, "OVERVIEW", 32)  # blocks of 7 px
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, GRAY)
    whole = read_image(path)
    padded = np.pad(whole, [(0, -side % 7) for side in SHAPE], mode="edge")
    expected = padded.reshape(22, 7, 30, 7).mean(axis=(1, 3))
    for band in (1, 2000, 2**24):
        monkeypatch.setattr(large, "BAND", band)
        image = LargeImage(path, progress=False)
        np.testing.assert_array_equal(image.sample, whole[::5, ::5])
        np.testing.assert_allclose(image.overview, expected, atol=1e-6)
        assert image.factor == 7


def test_only_the_rows_in_use_are_kept(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, GRAY, tile=(16, 32), compression="zlib")
    image = LargeImage(path, progress=False)
    for y in range(0, 128, 16):
        image[y : y + 20, 0:210]
        assert len(image._read.kept) == 2 * 7  # rows of tiles x tiles in a row


def test_only_large_tiffs_are_streamed(tmp_path, monkeypatch):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, GRAY)
    assert isinstance(open_image(path)[0], np.ndarray)
    monkeypatch.setattr(large, "LARGE", GRAY.size - 1)
    assert isinstance(open_image(path)[0], LargeImage)
    (tmp_path / "b.tif").write_bytes(b"no TIFF")
    with pytest.raises(DataError, match="b.tif"):
        open_image(tmp_path / "b.tif")


def cut_off(path):
    tifffile.imwrite(path, GRAY)
    path.write_bytes(path.read_bytes()[:-5000])


def damaged(path):
    tifffile.imwrite(path, GRAY, tile=(64, 64), compression="zlib")
    with tifffile.TiffFile(path) as tiff:
        offset = tiff.pages[0].dataoffsets[5]
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(bytes(100))


def with_nan(path):
    pixels = GRAY.astype(np.float32)
    pixels[140, 3] = np.nan
    tifffile.imwrite(path, pixels)


def stack(path):
    tifffile.imwrite(path, noise(3, *SHAPE), photometric="minisblack")


def blocks(path):
    tifffile.imwrite(path, GRAY, compression="zlib", rowsperstrip=150)


# What is wrong with a file: what writes it, the kind of problem, and what the error has to name.
BAD = {
    "cut off": (cut_off, "image-truncated", "damaged"),
    "damaged": (damaged, "image-truncated", "damaged"),
    "not a number": (with_nan, "image-nan", "NaN"),
    "constant": (lambda path: tifffile.imwrite(path, np.full(SHAPE, 7, np.uint8)), "image-constant", "7"),
    "pages": (stack, "image-pages", "3"),
    "rotated": (
        lambda path: tifffile.imwrite(path, GRAY, extratags=[(274, "H", 1, 6, True)]), "image-orientation", "rotated"
    ),
    "blocks": (blocks, "image-block", "MB.*tiles"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_streamed_says_why(tmp_path, monkeypatch, name):
    monkeypatch.setattr(large, "MAX_BLOCK", 20_000)
    path = tmp_path / "a.tif"
    write, _, fact = BAD[name]
    write(path)
    with pytest.raises(DataError, match=f"a.tif: .*{fact}"):
        LargeImage(path, progress=False)


def test_bad_calls_are_refused(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, GRAY)
    with pytest.raises(ParameterError, match="ultraviolet"):
        LargeImage(path, "ultraviolet", progress=False)
    with pytest.raises(IndexError, match="step"):
        LargeImage(path, progress=False)[::2, :]


def test_the_limit_in_memory_names_the_way_out(tmp_path, monkeypatch):
    monkeypatch.setattr(decoders, "MAX_PIXELS", 1000)
    tifffile.imwrite(tmp_path / "a.tif", GRAY)
    with pytest.raises(DataError, match="cellcount count"):
        read_image(tmp_path / "a.tif")


def test_a_large_image_keeps_its_warnings(tmp_path, monkeypatch):
    """Those that the same file has in memory."""
    monkeypatch.setattr(large, "LARGE", GRAY.size - 1)
    cases = {
        "range": (GRAY.astype(np.float32) - 100, {}, "range from -97"),
        "transparency": (noise(*SHAPE, 4), {"photometric": "rgb", "extrasamples": ["unassalpha"]}, "transparent"),
        "faint": (GRAY.astype(np.uint16) % 5 + 1000, {}, "2% of the full scale"),
        "channel": (GRAY[..., None] * np.array([1, 0, 0], np.uint8), {"photometric": "rgb"}, "in the red one"),
    }
    for name, (pixels, options, words) in cases.items():
        path = tmp_path / f"{name}.tif"
        tifffile.imwrite(path, pixels, **options)
        image, warnings = open_image(path)
        assert isinstance(image, LargeImage) and len(warnings) == 1 and words in warnings[0]
        assert warnings == images.examined(path)[1]


def test_a_large_tiff_is_told_by_its_content(tmp_path, monkeypatch):
    monkeypatch.setattr(large, "LARGE", GRAY.size - 1)
    tifffile.imwrite(tmp_path / "a.png", GRAY)
    assert isinstance(open_image(tmp_path / "a.png")[0], LargeImage)
    with tifffile.TiffWriter(tmp_path / "b.tif") as writer:
        writer.write(GRAY[::2, ::2].copy(), subfiletype=1)  # a thumbnail
        writer.write(GRAY)
    np.testing.assert_array_equal(open_image(tmp_path / "b.tif")[0][0:150, 0:210], read_image(tmp_path / "b.tif"))
