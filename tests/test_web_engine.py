"""The counting in the page (web/*.js), run in node: the same values, counts, intervals and messages as in Python."""

import json
import shutil
import struct
import subprocess
import zlib
from dataclasses import asdict
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image
from scipy.spatial import cKDTree
from test_data_load import needs_thesis

from cellcount.counting import _predictor
from cellcount.data import phantom, thesis
from cellcount.errors import CellcountError
from cellcount.io import crops, views
from cellcount.io.images import examined
from cellcount.methods import pixels
from cellcount.metrics import audit
from cellcount.metrics.doubt import doubts

WEB = Path(__file__).parents[1] / "web"
PARITY = Path(__file__).parent / "web" / "parity.mjs"
VENDORED = [WEB / "vendor" / name for name in ("ort.wasm.min.js", "ort-wasm-simd-threaded.wasm.gz", "geotiff.js")]
SCRIPTS = ("pixels", "likeness", "engine", "decode", "audit", "worker")
FORTY = "30"  # a field of the thesis at 40x
SIDE = 0.05  # px; two engines place the same cell no farther apart
pytestmark = [
    pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed"),
    pytest.mark.skipif(not all(path.is_file() for path in VENDORED), reason="web/vendor is not there"),
]


@pytest.fixture
def node(tmp_path):
    """A function of jobs, list of dict, that gives their results, list of dict; see tests/web/parity.mjs."""

    def run(jobs):
        (tmp_path / "jobs.json").write_text(json.dumps(jobs), "utf-8")
        command = ["node", PARITY, tmp_path / "jobs.json", tmp_path / "results.json"]
        done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8")
        assert done.returncode == 0, done.stderr
        return json.loads((tmp_path / "results.json").read_text("utf-8"))

    return run


def called(name, *args):
    """A job that calls a function of `self.cellcount`; arrays among its arguments are images."""
    image = [{"data": a.ravel().tolist(), "height": a.shape[0], "width": a.shape[1]} if isinstance(a, np.ndarray) else a
             for a in args]  # fmt: skip
    return {"what": "call", "name": name, "args": image}


# ---- parts


def test_scripts_are_plain_and_short():
    for name in SCRIPTS:
        text = (WEB / f"{name}.js").read_text("utf-8")
        assert text.startswith('"use strict";')
        assert len(text.splitlines()) <= 600, name


def test_spectrum_is_that_of_numpy(node):
    rng = np.random.default_rng(0)
    images = [
        rng.random(shape, np.float32) for shape in [(64, 48), (7, 5), (1, 1), (1, 9), (13, 22), (97, 30), (2, 35)]
    ]
    found = node([called("looks.power", image) for image in images])
    for image, power in zip(images, found, strict=True):
        expected = np.abs(np.fft.rfft2(image.astype(float))) ** 2
        np.testing.assert_allclose(np.reshape(power, expected.shape), expected, atol=1e-12 * expected.max())


def test_resampling_is_that_of_pillow(node):
    rng = np.random.default_rng(1)
    image, jobs, expected = rng.random((60, 75), np.float32), [], []
    for (height, width), box in [
        ((30, 41), (0, 0, 60, 75)),
        ((97, 130), (0, 0, 60, 75)),
        ((20, 33), (3.7, 5.2, 41.3, 70.1)),
        ((60, 75), (0, 0, 60, 75)),
        ((1, 1), (0, 0, 60, 75)),
    ]:
        jobs.append(called("pixels.resized", image, height, width, list(box)))
        swapped = box[1], box[0], box[3], box[2]
        expected.append(np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC, swapped)))
    for found, right in zip(node(jobs), expected, strict=True):
        np.testing.assert_allclose(np.reshape(found["data"], right.shape), right, atol=1e-6)


def test_quantiles_are_those_of_numpy(node):
    rng = np.random.default_rng(2)
    for size in (1, 2, 7, 1000, 200_000):
        values = rng.normal(size=size).astype(np.float32)
        found = node([called("pixels.percentiles", values.tolist(), [0.5, 16, 50, 84, 100])]) if size < 9999 else None
        if found:
            np.testing.assert_allclose(found[0], np.percentile(values, [0.5, 16, 50, 84, 100]), rtol=1e-12)
    large = (np.round(rng.random((400, 500)) * 255) / 255 - 0.2).astype(np.float32)
    found = node([called("pixels.brightnessAndContrast", large)])[0]
    assert found == pytest.approx(pixels.brightness_and_contrast(large), rel=1e-12)


def test_padding_and_peaks_are_those_of_python(node):
    rng = np.random.default_rng(3)
    image = rng.random((150, 170), np.float32)
    black, disc = image.copy(), image.copy()
    black[:, :70] = 0
    disc[np.hypot(*np.mgrid[-75:75, -85:85]) > 70] = 1
    images = [image, black, disc, np.zeros((80, 80), np.float32), image[:5, :5]]
    for one, found in zip(images, node([called("pixels.padding", one) for one in images]), strict=True):
        expected = views.padding(one)
        assert (found is None) == (expected is None)
        if found is not None:
            np.testing.assert_array_equal(np.reshape(found, one.shape) > 0, expected)
    flat = np.round(rng.random((60, 70), np.float32), 1)  # with plateaus
    for heat in (flat, image):
        found = node([called("pixels.peaks", heat, 0.3, 4.01)])[0]
        points, scores = pixels.peaks(heat, threshold=0.3, distance=4.01)
        np.testing.assert_allclose(np.reshape(found["points"], (-1, 2)), points, atol=1e-4)
        np.testing.assert_array_equal(np.float32(found["scores"]), scores)


def test_numbers_are_written_as_python_does(node):
    numbers = [0.125, 0.375, 2.5, 3.5, 0.145, 1e-7, 16.75, 1234.5, 335.0, 0.00012345, 1e6, 65535.0, 1.0]
    fixed, general = (
        node([called(f"looks.{name}", number, digits) for number in numbers])
        for name, digits in (("fixed", 2), ("general", 3))
    )
    assert fixed == [f"{number:.2f}" for number in numbers]
    assert general == [f"{number:.3g}" for number in numbers]


# ---- files


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def interlaced(values, depth):
    """The bytes of an interlaced gray PNG file, which Pillow does not write."""
    rows = b""
    passes = (0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)
    for y, x, down, across in passes:
        for row in values[y::down, x::across]:
            bits = np.unpackbits(row.astype(">u2")[:, None].view(np.uint8), axis=1)[:, -depth:]
            rows += b"\0" + np.packbits(bits).tobytes() if len(row) else b""
    header = struct.pack(">IIBBBBB", *values.shape[::-1], depth, 0, 0, 0, 1)
    parts = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def files(folder):
    """Images of many kinds, and files that are none: their paths."""
    rng = np.random.default_rng(0)
    gray = rng.integers(20, 230, (45, 61), np.uint8)
    rgb = rng.integers(0, 255, (45, 61, 3), np.uint8)
    deep, deeper = rng.integers(0, 4000, (45, 61), np.uint16), rng.integers(0, 60000, (45, 61, 3), np.uint16)
    alpha, real = rng.integers(0, 255, (45, 61, 1), np.uint8), rng.random((45, 61), np.float32)
    flat, turned = rgb.copy(), Image.Exif()
    flat[..., 1], turned[0x0112] = 9, 6
    pictures = {
        "gray.png": (gray, {}), "rgb.png": (rgb, {}), "rgba.png": (np.dstack([rgb, alpha]), {}), "flat.png": (flat, {}),
        "opaque.png": (np.dstack([rgb, alpha * 0 + 255]), {}), "deep.png": (deep, {}), "one.png": (gray > 120, {}),
        "turned.png": (gray, {"exif": turned}), "tiny.png": (gray[:10], {}), "constant.png": (gray * 0 + 7, {}),
        "two.png": ((gray > 100).astype(np.uint8) * 200, {}), "faint.png": (gray % 4 + 100, {}),
        "bilevel.tif": (gray, {"compression": "tiff_lzw"}),
    }  # fmt: skip
    for name, (array, options) in pictures.items():
        Image.fromarray(array).save(folder / name, **options)
    Image.fromarray(np.dstack([gray, alpha]), "LA").save(folder / "la.png")
    Image.fromarray(rgb).quantize(50).save(folder / "palette.png")
    Image.fromarray(rgb).quantize(50).save(folder / "holes.png", transparency=3)
    Image.fromarray(gray).convert("P").save(folder / "grays.png")
    Image.fromarray(gray).save(folder / "moving.png", save_all=True, append_images=[Image.fromarray(255 - gray)])
    for name, array in {"rgb16": deeper, "rgba16": np.dstack([deeper, deep]), "la16": np.dstack([deep, deep])}.items():
        (folder / f"{name}.png").write_bytes(imagecodecs.png_encode(array))
    for depth, array in {1: gray > 120, 2: gray >> 6, 4: gray >> 4, 8: gray, 16: deep}.items():
        (folder / f"interlaced{depth}.png").write_bytes(interlaced(array, depth))
    whole = (folder / "rgb.png").read_bytes()
    for name, content in {
        "cut.png": whole[:2000], "text.png": b"hello there, no image", "web.png": b"<!DOCTYPE html>" + bytes(40),
        "empty.png": b"", "other.gif": b"GIF89a", "png.tif": whole, "git.png": b"version https://git-lfs.github.com",
    }.items():  # fmt: skip
        (folder / name).write_bytes(content)
    holes, infinite = real.copy(), real.copy()
    holes[2, 2], infinite[2, 2] = np.nan, np.inf
    contiguous = {"photometric": "minisblack", "extrasamples": ["unassalpha"], "planarconfig": "contig"}
    tiffs = {
        "u8": (gray, {}), "u16": (deep, {}), "full": (deep * 16, {}), "i16": (deep.astype(np.int16) - 2000, {}),
        "i16p": (deep.astype(np.int16), {}), "f32": (real, {}), "f32r": (real * 7 - 2, {}), "f32h": (real * 900, {}),
        "f64": (real.astype(float), {}), "f16": (real.astype(np.float16), {}), "u32": (deep.astype(np.uint32) * 20, {}),
        "same": (real * 0 + np.float32(0.4), {}), "nan": (holes, {}), "inf": (infinite, {}), "over": (real * 3e38, {}),
        "rgb": (rgb, {"photometric": "rgb"}), "rgb16": (deeper, {"photometric": "rgb"}),
        "planar": (np.moveaxis(rgb, -1, 0), {"photometric": "rgb", "planarconfig": "separate"}),
        "rgba": (np.dstack([rgb, alpha]), {"photometric": "rgb", "extrasamples": ["unassalpha"]}),
        "ga": (np.dstack([gray, alpha]), contiguous), "zlib": (real, {"compression": "zlib", "predictor": 3}),
        "lzw": (deep, {"compression": "lzw", "predictor": True}),
        "packbits": (deep, {"compression": "packbits"}), "zstd": (deep, {"compression": "zstd"}),
        "tiled": (deep, {"tile": (16, 32), "compression": "zlib"}), "big": (deep, {"bigtiff": True}),
        "strips": (deep, {"byteorder": ">", "rowsperstrip": 2}),
        "motorola": (real, {"byteorder": ">", "tile": (16, 16)}),
        "white": (gray, {"photometric": "miniswhite"}), "white16": (deep, {"photometric": "miniswhite"}),
        "palette": (gray, {"photometric": "palette", "colormap": deeper.reshape(3, -1)[:, :256], "byteorder": ">"}),
        "stack": (np.stack([gray] * 3), {"photometric": "minisblack"}),
        "imagej": (np.stack([gray] * 3), {"imagej": True}),
        "rois": (gray, {"imagej": True, "metadata": {"Overlays": [b"Iout" + bytes(60)]}}),
        "cmyk": (np.dstack([rgb, alpha]), {"photometric": "separated"}), "complex": (real.astype(np.complex64), {}),
        **{f"turn{turn}": (gray, {"extratags": [(274, 3, 1, turn, True)]}) for turn in range(2, 9)},
    }  # fmt: skip
    for name, (array, options) in tiffs.items():
        tifffile.imwrite(folder / f"{name}.tif", array, **options)
    for name, sizes in {"thumbnail": [20, 45], "others": [45, 20]}.items():
        with tifffile.TiffWriter(folder / f"{name}.tif") as tiff:
            for side in sizes:
                tiff.write(gray[:side, :side])
    (folder / "u8.png").write_bytes((folder / "u8.tif").read_bytes())
    return sorted(folder.iterdir())


@pytest.mark.slow
def test_files_are_read_as_in_python(node, tmp_path):
    (tmp_path / "files").mkdir()
    jobs, expected = [], []
    for path in files(tmp_path / "files"):
        for channel in ("auto", "red", "mean") if path.stem in ("rgb", "flat", "rgb16") else ("auto",):
            out = tmp_path / f"{path.name}.{channel}.raw"
            jobs.append({"what": "decode", "file": str(path), "name": path.name, "channel": channel, "out": str(out)})
            try:
                expected.append(examined(path, channel))
            except CellcountError as error:
                expected.append(str(error))
    assert len(jobs) > 80
    for job, right, found in zip(jobs, expected, node(jobs), strict=True):
        if isinstance(right, str):
            assert found == {"error": right, "user": True}, job["name"]
            continue
        image, warnings = right
        assert found.get("warnings") == warnings, (job["name"], found)
        assert (found["height"], found["width"]) == image.shape
        np.testing.assert_array_equal(np.fromfile(job["out"], np.float32).reshape(image.shape), image, job["name"])


# ---- audits


def test_audits_are_those_of_python(node):
    rng = np.random.default_rng(0)
    jobs, expected = [], []
    for seed in range(60):
        n, windows = int(rng.integers(2, 300)), int(rng.integers(2, 60))
        predicted = rng.poisson(rng.gamma(1, 10, n)) * (rng.random(n) > 0.7 * rng.random()) * (seed % 17 > 0)
        strata, order = audit.draw(predicted, windows, seed)
        shuffled = np.random.default_rng(seed).permutation(n)
        jobs.append(called("audit.draw", predicted.tolist(), windows, seed, shuffled.tolist()))
        expected.append({"strata": strata.tolist(), "order": order.tolist()})
        drawn = order[:windows]
        counted = predicted[drawn] if seed % 23 == 0 else rng.poisson(predicted[drawn] * rng.uniform(0.5, 1.5))
        for estimator in audit.ESTIMATORS:
            options = {"level": (0.9, 0.95)[seed % 2], "estimator": estimator}
            jobs.append(called("audit.estimate", *(a.tolist() for a in (predicted, strata, drawn, counted)), options))
            try:
                expected.append(asdict(audit.estimate(predicted, strata, drawn, counted, **options)))
            except CellcountError as error:
                expected.append({"error": str(error), "user": True})
    for height, width, side in [(1536, 2048, 448), (333, 777, 64), (64, 64, 64), (65, 200, 64)]:
        jobs.append(called("audit.cut", height, width, side))
        expected.append([list(box) for box in crops.cut((height, width), side)])
    for found, right in zip(node(jobs), expected, strict=True):
        if isinstance(right, dict) and "total" in right:
            for name, value in right.items():
                assert found[name] == (value if isinstance(value, str) else pytest.approx(value, rel=1e-9, abs=1e-9)), (
                    name
                )
        else:
            assert found == right


def test_draws_are_random(node):
    predicted = [5.0] * 12
    draws = node([called("audit.draw", predicted, 5, seed) for seed in range(2000)])
    first = np.bincount([draw["order"][0] for draw in draws], minlength=12)
    assert ((first - 2000 / 12) ** 2 / (2000 / 12)).sum() < 31.3  # chi-squared of 11 degrees, p = .001
    pairs = np.bincount([12 * draw["order"][0] + draw["order"][1] for draw in draws], minlength=144)
    assert (pairs > 0).sum() == 132


def test_windows_hold_all_points(node):
    points = np.random.default_rng(0).uniform(-0.5, 299, (500, 2)).round(2)
    given = [
        {"height": 300, "width": 300, "points": points.ravel().tolist()},
        {"height": 90, "width": 64, "points": []},
    ]
    found = node([called("audit.population", given, 20)])[0]
    first = [one for one in found["windows"] if one["image"] == 0]
    assert [one["predicted"] for one in first] == crops.held(points, [one["box"] for one in first]).tolist()
    assert sum(one["predicted"] for one in found["windows"]) == 500


# ---- counts


def resized(image, scale):
    height, width = (round(side * scale) for side in image.shape)
    picture = Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC)
    return np.clip(np.asarray(picture), 0, 1)


def fields():
    """Simulated fields of many kinds, {name: (H, W) float32}."""
    rng = np.random.default_rng(0)
    field = phantom.simulate(7, (512, 640)).image
    margin, eyepiece = field.copy(), field.copy()
    margin[:, :100], margin[-60:] = 0, 0
    away = np.hypot(*np.mgrid[-256:256, -320:320])
    eyepiece[away > 250] = 0
    found = {
        "plain": field,
        "sparse": phantom.simulate(1, (384, 384), confluence=0.3).image,
        "dense": phantom.simulate(2, (480, 420), confluence=1.0, **phantom.CONFLUENT).image,
        "tall": phantom.simulate(3, (700, 300), confluence=0.72).image,
        **{f"x{scale}": resized(field, scale) for scale in (0.5, 0.7, 1.4, 2)},
        "crop": field[100:301, 51:300],
        "odd": field[:503, :631],
        "small": field[:64, :64],
        "tiny": field[:30, :40],
        "pixel": field[:1, :1],
        "dark": field * 0,
        "noise": rng.random((300, 400), np.float32),
        "noisy": np.clip(field + rng.normal(0, 0.08, field.shape), 0, 1),
        "margin": margin,
        "eyepiece": eyepiece,
        "vignette": field * np.clip(1 - 0.6 * (away / 400) ** 2, 0.1, 1),
        "eight bits": np.round(field * 255) / 255,
        "inverted": 1 - field,
        "faint": field * 0.3 + 0.02,
    }
    return {name: np.ascontiguousarray(image, np.float32) for name, image in found.items()}


def in_python(image, **options):
    """What Python finds in gray values in [0, 1], as they are: the prediction, and its warnings, or an error."""
    try:
        return _predictor(device="cpu", progress=False, **options)(image)
    except CellcountError as error:
        return str(error)


def compare(node, tmp_path, images, options=({},)):
    """Count images in both ways, assert that the results agree; numbers of cells, and of those that differ."""
    jobs, expected, cells, differing = [], [], 0, 0
    for number, image in enumerate(images.values()):
        image.tofile(tmp_path / f"{number}.raw")
        for one in options:
            given = {{"cell_width": "cellWidth"}.get(name, name): value for name, value in one.items()}
            jobs.append({"what": "count", "file": str(tmp_path / f"{number}.raw"), "height": image.shape[0],
                         "width": image.shape[1], "options": given, "thresholds": [0.3], "doubts": True})  # fmt: skip
            expected.append((in_python(image, **one), in_python(image, threshold=0.3, **one)))
    names = [f"{name} {one}" for name in images for one in options]
    for name, (right, lower), found in zip(names, expected, node(jobs), strict=True):
        if isinstance(right, str):
            assert found == {"error": right, "user": True}, name
            continue
        prediction, warnings = right
        assert found["warnings"] == list(warnings), name
        assert round(found["scale"], 4) == pytest.approx(prediction.meta["scale"], abs=2e-4), name
        assert found["padding"] == pytest.approx(prediction.meta.get("padding", 0), abs=1e-4), name
        assert (found["interval"] is None) == (prediction.count_interval is None), name
        width = prediction.meta["cell_width_px"]
        assert found["cellWidth"] == (width if width is None else pytest.approx(width, abs=0.1)), name
        points = np.reshape(found["points"], (-1, 2))
        other = differences(prediction.points, points)
        cells, differing = cells + len(prediction.points), differing + other
        if not other and prediction.count_interval:
            assert found["interval"] == pytest.approx(prediction.count_interval, rel=1e-9), name
        assert abs(found["others"][0]["count"] - lower[0].count) <= max(1, 1e-3 * lower[0].count), name
        assert found["others"][0]["interval"] is None
        assert np.all(np.diff([one["doubt"] for one in found["doubts"]]) <= 0)
    return cells, differing


def differences(right, found):
    """How many points (N, 2) and (M, 2), px, have no counterpart."""
    if not len(right) or not len(found):
        return len(right) + len(found)
    return sum(int((cKDTree(a).query(b)[0] > SIDE).sum()) for a, b in ((right, found), (found, right)))


@pytest.mark.slow
def test_fields_are_counted_as_in_python(node, tmp_path):
    cells, differing = compare(node, tmp_path, fields())
    assert cells > 3000
    assert differing <= cells / 1000
    print(f"{differing} of {cells} points differ")


@pytest.mark.slow
def test_widths_are_obeyed_as_in_python(node, tmp_path):
    image = {"field": phantom.simulate(7, (300, 340)).image}
    options = [{"cell_width": width} for width in (None, 40.0, 15.0, 33.5, 2.0, -1.5)]
    cells, differing = compare(node, tmp_path, image, options)
    assert differing <= cells / 1000


@pytest.mark.slow
def test_large_images_are_counted_in_tiles_as_in_python(node, tmp_path):
    field = np.tile(phantom.simulate(5, (420, 800)).image, (1, 5))[:, :3700]
    cells, differing = compare(node, tmp_path, {"wide": np.ascontiguousarray(field)})
    assert differing <= cells / 1000


@pytest.mark.slow
def test_doubt_adds_up_to_that_of_python(node, tmp_path):
    image = phantom.simulate(7, (512, 640)).image
    image.tofile(tmp_path / "image.raw")
    job = {"what": "count", "file": str(tmp_path / "image.raw"), "height": 512, "width": 640, "doubts": True}
    found = node([job])[0]["doubts"]
    (counted, _), threshold = in_python(image), 0.512
    low, _ = in_python(image, threshold=threshold / 2)
    whole = doubts(counted.points, [(0, 0, 512, 640)], peaks=low.points, scores=low.scores, threshold=threshold)[0]
    assert sum(one["doubt"] for one in found) == pytest.approx(whole.total, rel=1e-3)
    assert all(one["counted"] == (one["score"] >= np.float32(threshold)) for one in found)


@pytest.mark.slow
@needs_thesis
def test_thesis_fields_are_counted_as_in_python(node, tmp_path):
    samples = thesis.load(["1", "2", FORTY])
    cells, differing = compare(node, tmp_path, {sample.name: sample.image for sample in samples})
    print(f"{differing} of {cells} points differ")
    assert differing <= cells / 1000
