"""The benchmark's own arithmetic; the times themselves are no test's business."""

import importlib.util
import json
import socket
import sys

import numpy as np
import pandas as pd
import pytest
import tifffile

from cellcount.companion.runner.sources import root


@pytest.fixture(scope="module")
def bench():
    spec = importlib.util.spec_from_file_location("bench", root() / "workflow" / "bench.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def rows(bench, **ours):
    return [
        {"part": "peak", "what": "float32 matrix product", "seconds": [], "gflop_per_s": 80.0, "peak_mb": 300},
        {"part": "cellnet", "what": bench.CELLNET, "seconds": [0.6, 0.4, 0.5], "megapixels": 3.0, "peak_mb": 700}
        | ours,
        {"part": "cellnet", "what": "CellNet, its network", "seconds": [0.4], "gflop": 16.0, "megapixels": 3.0},
        {"part": "cellpose", "what": "Cellpose 3, its network", "seconds": [28.0, 30.0], "megapixels": 3.0},
        {"part": "published", "what": "published", "error": "no memory"},
        {"part": "stream", "what": "time of streaming over area", "exponent": 1.3},
    ]


def test_medians_rates_ratios_and_promises(bench):
    frame = bench.table(rows(bench)).set_index("what")
    ours, network, cellpose = (frame.loc[n] for n in (bench.CELLNET, "CellNet, its network", "Cellpose 3, its network"))
    assert (ours.seconds, ours.repeats, ours.megapixels_per_s, ours.times_cellnet) == (0.5, 3, 6.0, 1.0)
    assert (network.gflop_per_s, network.share_of_peak) == (40.0, 0.5)
    assert cellpose.times_cellnet == 58 and cellpose.kept == ours.kept == "yes"
    assert frame.loc["published"].kept == "no" and frame.loc["published"].error == "no memory"
    assert frame.loc["time of streaming over area"].kept == "no"
    assert frame.loc["float32 matrix product"].kept == ""
    alone = bench.table(rows(bench)[3:4]).iloc[0]
    assert alone.promise == "times_cellnet >= 40" and alone.kept == ""


def test_a_promise_is_broken_by_memory_or_by_a_ratio(bench):
    frame = bench.table(rows(bench, seconds=[0.9], peak_mb=1200)).set_index("what")
    assert frame.loc[bench.CELLNET].kept == "no" and "peak_mb <= 1000" in frame.loc[bench.CELLNET].promise
    assert frame.loc["Cellpose 3, its network"].kept == "no"


def test_every_promise_and_every_part_is_one_that_is_measured(bench, monkeypatch):
    monkeypatch.syspath_prepend(root() / "workflow")
    parts = importlib.import_module("bench_parts").PARTS
    assert set(bench.NETWORKS) == set(parts)
    kept = [pd.read_csv(root() / "results" / name) for name in ("bench.csv", "feeding.csv")]
    assert set(bench.PROMISES) <= set(pd.concat(kept).what)


def test_a_command_is_timed_with_its_own_memory_and_its_error(bench):
    seconds, _, text, reason = bench.run(["-c", "print('done')"])
    assert 0 < seconds < 60 and (text, reason) == ("done", "")
    assert bench.run(["-c", "raise ValueError('of this kind')"])[3] == "ValueError: of this kind"
    assert bench.run(["-c", "import sys; sys.exit(3)"])[3] == "ended with code 3"
    # In a process of its own: this one has held more than the command will.
    code = "import bench; print([bench.run(['-c', f'x = bytes(1) * {n}'])[1] for n in (100_000_000, 300_000_000)])"
    small, large = json.loads(bench.run(["-c", code], PYTHONPATH=str(root() / "workflow"))[2])
    assert 100 <= small < 200 and 300 <= large < 400


def test_the_large_image_is_made_of_the_field(bench, tmp_path):
    field = np.random.default_rng(0).random((30, 40)).astype(np.float32)
    np.savez(tmp_path / "field.npz", image=field)
    bench._tiff(tmp_path / "big.tif", tmp_path / "field.npz", 100)
    pixels = tifffile.imread(tmp_path / "big.tif")
    assert pixels.shape == (100, 100) and pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels[60:90, 40:80], (field * 255).astype(np.uint8))
    np.testing.assert_array_equal(pixels[90:, 80:], pixels[:10, :20])


def test_the_machine_is_described_without_its_name(bench):
    words = bench.machine() + bench.versions()
    assert socket.gethostname() not in words and "GiB" in words and "torch" in words
    assert f"python {sys.version_info.major}.{sys.version_info.minor}" in words
