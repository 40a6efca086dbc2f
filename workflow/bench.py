"""Time and memory of what the project promises, each measured in a process of its own: printed, and build/bench.csv."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

from cellcount.files import replacing
from cellcount.runner.sources import root

IMAGE = """
from PIL import Image
from cellcount.data import phantom
image = phantom.simulate(seed=0, size=(1536, 2048)).image
Image.fromarray((255 * image).round().astype("uint8")).save({path!r})
"""
MATCH = """
import numpy as np
from cellcount.metrics import match
rng = np.random.default_rng(0)
true, found = (rng.uniform(0, 2000, (5000, 2)).astype(np.float32) for _ in range(2))
match(true, found, 12)
"""
PHANTOM = "import os; os.environ['CELLCOUNT_CACHE'] = {cache!r}; from cellcount.data import phantom; phantom.load()"


def measure(what, command, seconds, gigabytes):
    """One row (dict): the command's wall time and peak memory beside the promised ones."""
    start = time.perf_counter()
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        log.seek(0)
        lines = log.read().decode(errors="replace").strip().splitlines() or [""]
        reason = next((line for line in reversed(lines) if "rror" in line), lines[-1])
    took, peak = time.perf_counter() - start, usage.ru_maxrss / 2**20  # ru_maxrss is in KiB on Linux
    kept = process.returncode == 0 and took <= seconds and peak <= gigabytes
    return {
        "what": what, "seconds": round(took, 2), "promised seconds": seconds,
        "CPU seconds": round(usage.ru_utime + usage.ru_stime, 2), "peak GiB": round(peak, 2),
        "promised GiB": gigabytes, "kept": kept, "error": reason if process.returncode else "",
    }  # fmt: skip


def main():
    python = sys.executable
    load = os.getloadavg()[0]  # before the first measurement
    with tempfile.TemporaryDirectory() as folder:
        image = str(Path(folder) / "field.png")
        subprocess.run([python, "-c", IMAGE.format(path=image)], check=True)
        count = [python, "-m", "cellcount.cli", "count", image, "--out", folder]
        rows = [
            measure("cellcount count, 2048 x 1536, cold", count, 6, 1.5),
            measure("matching 5000 x 5000 points", [python, "-c", MATCH], 5, 2),
            measure("default phantom set", [python, "-c", PHANTOM.format(cache=folder)], 60, 4),
        ]
    table = pd.DataFrame(rows)
    table["load"] = round(load, 1)
    if load > 0.5:
        print(f"Other work is running here (load {load:.1f}): the seconds say little, compare them with the CPU's.")
    print(table.to_string(index=False))
    with replacing(root() / "build" / "bench.csv") as temporary:
        table.to_csv(temporary, index=False)
    return 0 if table["kept"].all() else 1


if __name__ == "__main__":
    sys.exit(main())
