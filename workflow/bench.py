"""Time and memory of what the project promises, in one run, each part in a process of its own.

    python workflow/bench.py [--only PART ...] [--big] [--threads N] [--small]

prints a table and writes results/bench.csv (build/bench.csv for some parts or small images). Everything computes on
one simulated field of 2048 x 1536 px with the same number of threads. Peak memory is that of a part's process,
libraries included. The exit code is 1 if a promise is not kept.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import tifffile
from PIL import Image
from tqdm import tqdm

from cellcount.companion.runner.sources import root
from cellcount.devices import machine
from cellcount.results import commit, write

# part: repeats. The networks that take half a minute run twice.
NETWORKS = {
    "warm": 7, "peak": 5, "cellnet": 7, "published": 2, "cellpose": 2, "stardist": 3, "deepsea": 2, "matching": 3,
    "feeding": 3,
}  # fmt: skip
SAME_IMAGE = ("warm", "cellnet", "published", "cellpose", "stardist", "deepsea")
PARTS = (*NETWORKS, "count", "folder", "phantom", "stream")
CELLNET = "CellNet, image to points"
SIDES, BIG = (8704, 12288, 17408), 30_000  # px of the streamed squares; their areas are as 1, 2, 4 and 12
FIELDS, COLD = 100, 5  # of the folder; repeats of the first count of a field
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")
PROMISES = {
    CELLNET: [("peak_mb", "<=", 1000)],
    "published CellNet's network": [("times_cellnet", ">=", 60)],
    "Cellpose 3, its network": [("times_cellnet", ">=", 40)],
    "matching 5,000 x 5,000 points": [("seconds", "<=", 5), ("peak_mb", "<=", 2000)],
    "cellcount.count, one field, warm": [("seconds", "<=", 0.5), ("peak_mb", "<=", 900)],
    "cellcount count, one field, cold": [("seconds", "<=", 2.5), ("peak_mb", "<=", 900)],
    f"cellcount count, folder of {FIELDS}": [("megapixels_per_s", ">=", 3.77), ("peak_mb", "<=", 900)],  # 1.2 fields/s
    **{f"{name}, a training step": [("waited", "<=", 0.1)] for name in ("CellNet", "Mask R-CNN", "YOLOX")},
    "default phantom set": [("seconds", "<=", 60), ("peak_mb", "<=", 4000)],
    **{f"cellcount count, {side:,} x {side:,} px": [("peak_mb", "<=", 2000)] for side in (*SIDES, BIG)},
    "time of streaming over area": [("area_exponent", "<=", 1.1)],  # 1 is linear
}
FIELD = """
import sys, numpy as np
from cellcount.data import phantom
sample = phantom.simulate(seed=0, size=(int(sys.argv[2]), int(sys.argv[3])))
np.savez(sys.argv[1], image=sample.image, labels=sample.labels)
"""
PHANTOM = "from cellcount.data import phantom; phantom.load()"
STREAM = """
import sys
from cellcount.cli import main
from cellcount.io import large
large.LARGE = min(large.LARGE, int(sys.argv[1]))
sys.exit(main(sys.argv[2:]))
"""


def run(command, **environment):
    """Run a command: (seconds, peak resident memory in MB, standard output, "" or why it failed).

    The system counts a child's memory from what its parent held when starting it: some 150 MB of this program.
    """
    started = time.perf_counter()
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as log:
        command = [sys.executable, *map(str, command)]
        process = subprocess.Popen(command, stdout=out, stderr=log, env=os.environ | environment)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - started
        out.seek(0), log.seek(0)
        text, lines = (file.read().decode(errors="replace").strip() for file in (out, log))
    reason = ""
    if process.returncode:
        lines = lines.splitlines() or [f"ended with code {process.returncode}"]
        reason = next((line for line in reversed(lines) if "rror" in line), lines[-1])
    peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6  # bytes there, KiB here
    return seconds, round(peak), text, reason


def networks(part, field, megapixels):
    """Rows (dict) of one part of `bench_parts`."""
    _, _, text, reason = run([root() / "workflow" / "bench_parts.py", part, field, "--repeats", NETWORKS[part]])
    if reason:
        return [{"what": part, "error": reason}]
    more = {"megapixels": megapixels} if part in SAME_IMAGE else {}
    return [one | more for one in json.loads(text.splitlines()[-1])]


def command(what, arguments, megapixels=np.nan, **environment):
    """A row of a whole Python command."""
    seconds, peak, _, reason = run(arguments, **environment)
    return {"what": what, "seconds": [seconds], "peak_mb": peak, "error": reason, "megapixels": megapixels}


def count(images, out):
    """The arguments of `cellcount count`."""
    return ["-m", "cellcount", "count", images, "--device", "cpu", "--out", out]


def stream(field, folder, sides):
    """Rows of `cellcount count` on TIFF files larger than memory, tiled with the field; the last is of their times."""
    rows, seconds = [], []
    for side in sides:
        path = folder / f"{side}.tif"
        _tiff(path, field, side)
        arguments = ["-c", STREAM, side**2 - 1, "count", path, "--device", "cpu", "--out", folder]
        rows.append(command(f"cellcount count, {side:,} x {side:,} px", arguments, side**2 / 1e6))
        path.unlink()
        if not rows[-1]["error"]:
            seconds.append(json.loads((folder / "summary.json").read_text())["images"][0]["seconds"])
    if len(seconds) == len(sides) > 1:
        slope = np.polyfit(np.log([side**2 for side in sides]), np.log(seconds), 1)[0]
        rows.append({"what": "time of streaming over area", "exponent": round(float(slope), 3)})
    return rows


def _tiff(path, field, side):
    """An uncompressed 8-bit TIFF, side x side px, filled with copies of the field.

    It is written strip by strip: what this process has ever held counts as memory of those that it starts.
    """
    with np.load(field) as stored:
        gray = (stored["image"] * 255).astype(np.uint8)
    strip = np.tile(gray, (1, -(-side // gray.shape[1])))[:, :side]
    strips = (strip[: side - y] for y in range(0, side, len(strip)))
    tifffile.imwrite(path, strips, shape=(side, side), dtype=np.uint8, rowsperstrip=len(strip))


def table(rows):
    """DataFrame of the rows: medians, rates, ratios to CellNet, and whether what is promised is kept."""
    seconds = {row["what"]: statistics.median(row["seconds"]) for row in rows if row.get("seconds")}
    fastest = next((row["gflop_per_s"] for row in rows if "gflop_per_s" in row), np.nan)
    lines = []
    for row in rows:
        took = seconds.get(row["what"], np.nan)
        rate = row.get("gflop_per_s", row.get("gflop", np.nan) / took)
        line = {
            "what": row["what"],
            "seconds": round(took, 3),
            "repeats": len(row.get("seconds", ())),
            "megapixels_per_s": round(row.get("megapixels", np.nan) / took, 3),
            "times_cellnet": round(took / seconds.get(CELLNET, np.nan), 1) if row["part"] in SAME_IMAGE else np.nan,
            "peak_mb": row.get("peak_mb", np.nan),
            "gflop": row.get("gflop", np.nan),
            "gflop_per_s": round(rate, 1),
            "share_of_peak": round(rate / fastest, 3),
            "area_exponent": row.get("exponent", np.nan),
            "waited": row.get("waited", np.nan),
        }
        promise, kept = _promised(line)
        error = row.get("error", "")
        lines.append(line | {"promise": promise, "kept": "no" if error else kept, "error": error})
    return pd.DataFrame(lines)


def _promised(line):
    """(what is promised of a row, in words; "yes" or "no", whether it is kept, or "" where nothing can be said)."""
    said, kept = [], []
    for column, sign, value in PROMISES.get(line["what"], ()):
        said.append(f"{column} {sign} {value:g}")
        if not np.isnan(line[column]):  # a ratio needs CellNet's time of the same run
            kept.append(line[column] <= value if sign == "<=" else line[column] >= value)
    return ", ".join(said), ("yes" if all(kept) else "no") if kept else ""


def versions():
    """Python and the packages that were timed, in words."""
    found = [f"python {platform.python_version()}"]
    for name in (
        "cellcount",
        "torch",
        "segmentation-models-pytorch",
        "cellpose",
        "stardist",
        "tensorflow-cpu",
        "deepsea",
    ):
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"no {name}")
    return ", ".join(found)


def measure(parts, size, sides, folder):
    """The rows of all parts, with a progress bar; `folder` is for what lies between."""
    field, image, out = folder / "field.npz", folder / "field.png", folder / "counts"
    failed = run(["-c", FIELD, field, *size])[3]
    if failed:
        raise SystemExit(f"error: the field could not be simulated ({failed})")
    megapixels = size[0] * size[1] / 1e6
    with np.load(field) as stored:
        pixels = Image.fromarray((255 * stored["image"]).round().astype(np.uint8))
    fields = [folder / "fields" / f"{number}.png" for number in range(FIELDS)]
    fields[0].parent.mkdir()
    for path in (image, *fields):
        pixels.save(path)
    rows = []
    for part in (bar := tqdm(parts, unit="part")):
        bar.set_postfix_str(part)
        if part in NETWORKS:
            found = networks(part, field, megapixels)
        elif part == "count":
            tries = [
                command("cellcount count, one field, cold", count(image, folder / f"{i}"), megapixels)
                for i in range(COLD)
            ]
            seconds, peak = zip(*((*one["seconds"], one["peak_mb"]) for one in tries), strict=True)
            found = [tries[-1] | {"seconds": list(seconds), "peak_mb": max(peak)}]
        elif part == "folder":
            found = [command(f"cellcount count, folder of {FIELDS}", count(fields[0].parent, out), FIELDS * megapixels)]
        elif part == "phantom":
            found = [command("default phantom set", ["-c", PHANTOM], CELLCOUNT_CACHE=str(folder / "cache"))]
        else:
            found = stream(field, folder, sides)
        rows += [{"part": part} | one for one in found]
    return rows


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--big", action="store_true", help=f"stream {BIG:,} x {BIG:,} px, too: 0.9 GB on disk")
    parser.add_argument("--threads", type=int, default=psutil.cpu_count(logical=False), help="default: all cores")
    parser.add_argument("--small", action="store_true", help="small images, to see whether everything runs")
    arguments = parser.parse_args(argv)
    os.environ |= {name: str(arguments.threads) for name in THREADS}
    load = os.getloadavg()[0]  # before the first measurement
    size = (192, 256) if arguments.small else (1536, 2048)
    sides = (512, 768, 1024) if arguments.small else SIDES + (BIG,) * arguments.big
    with tempfile.TemporaryDirectory() as folder:
        frame = table(measure(arguments.only, size, sides, Path(folder)))
    print(frame.dropna(axis=1, how="all").to_string(index=False, na_rep=""))
    if load > 0.5:
        print(f"Other work is running here (load {load:.1f}): the seconds say little.")
    common = {
        "threads": arguments.threads, "load_before": round(load, 1), "machine": machine(), "versions": versions(),
        "commit": commit(),
    }  # fmt: skip
    whole = arguments.only == PARTS and not arguments.small
    out = write(frame.assign(**common), root() / ("results" if whole else "build") / "bench.csv")
    print(f"{common['machine']}; {arguments.threads} threads; {out.relative_to(root())}")
    return 1 if (frame["kept"] == "no").any() else 0


if __name__ == "__main__":
    sys.exit(main())
