"""Build the wheel, install it alone into an empty environment of each Python that is here, and count an image there.

    python workflow/try_wheel.py

Run in the development environment, whose torch says what the count must be. Fails on a wrong count, a point that is
off by more than 1e-3 px, an installation that is too large, or a package that counting must not import.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from cellcount.data import phantom
from cellcount.devices import choose_device
from cellcount.io.images import read_image
from cellcount.methods.cellnet.checkpoint import SHIPPED
from cellcount.methods.cellnet.torch_engine import TorchEngine
from cellcount.methods.pixels import peaks, to_full

ROOT = Path(__file__).resolve().parent.parent
MINORS = (11, 12, 13)
LARGEST = 500  # MB
TRIAL = """
import json, sys
import cellcount
result = cellcount.count("field.png")
result.to_csv("python.csv")
result.save_overlay("python.png")
heavy = sorted({"torch", "pandas", "matplotlib", "skimage", "sklearn"} & set(sys.modules))
print(json.dumps({"count": result.count, "points": result.points.tolist(), "from": cellcount.__file__, "heavy": heavy}))
"""


def pythons() -> list[str]:
    """A Python of each minor version that this package is for, as far as they are on the path or in pyenv."""
    found = []
    for minor in MINORS:
        pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
        candidates = [shutil.which(f"python3.{minor}"), *sorted(pyenv.glob(f"3.{minor}.*/bin/python"))]
        works = [str(one) for one in candidates if one and _runs(one)]
        found += works[:1]
        if not works:
            print(f"Python 3.{minor} is not on this machine: not tried")
    return found


def _runs(python) -> bool:
    return subprocess.run([python, "-c", "import venv, ensurepip"], capture_output=True).returncode == 0


def expected(image: np.ndarray) -> np.ndarray:
    """The points (N, 2) float32, (y, x) px, that torch finds on an image (H, W) float32."""
    engine = TorchEngine(Path(str(SHIPPED)), choose_device("cpu"), 1)
    settings = engine.settings
    heat = engine.heats([image], None)[0]
    points, _ = peaks(heat, threshold=settings.threshold, distance=settings.peak_distance)
    points = to_full(points, settings.factor)
    return points[((points > -0.5) & (points < np.array(image.shape) - 0.5)).all(axis=1)]


def tried(python: str, wheel: Path, folder: Path, points: np.ndarray) -> str:
    """What came of one Python, in a line. Raises SystemExit if anything is wrong."""
    started = time.perf_counter()
    environment = folder / "environment"
    # Neither the checkout nor what surrounds this process may be found from there.
    outside = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    call = {"cwd": folder, "env": outside, "check": True}
    subprocess.run([python, "-m", "venv", environment], **call)
    bin = environment / ("Scripts" if os.name == "nt" else "bin")
    install = [bin / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", wheel]
    done = subprocess.run(install, cwd=folder, env=outside, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{python}: the wheel cannot be installed:\n{done.stderr}")
    size = sum(file.lstat().st_blocks * 512 for file in environment.rglob("*") if not file.is_symlink()) / 1e6
    answer = json.loads(subprocess.run([bin / "python", "-c", TRIAL], capture_output=True, text=True, **call).stdout)
    subprocess.run([bin / "cellcount", "count", "field.png", "--out", "counts"], stdout=subprocess.DEVNULL, **call)
    written = json.loads((folder / "counts" / "summary.json").read_text())["images"][0]
    version = subprocess.run([bin / "python", "--version"], capture_output=True, text=True, **call).stdout.strip()
    found = np.float32(answer["points"])
    problems = []
    if not Path(answer["from"]).is_relative_to(environment.resolve()):
        problems.append(f"it imported {answer['from']}")
    if answer["heavy"]:
        problems.append(f"counting imported {', '.join(answer['heavy'])}")
    if not len(found) == answer["count"] == written["count"] == len(points):
        problems.append(f"{answer['count']:.0f} cells, the command {written['count']:.0f}, torch {len(points)}")
    elif (off := np.abs(found - points).max()) > 1e-3:
        problems.append(f"a point is {off:.4f} px off")
    if size >= LARGEST:
        problems.append(f"{size:.0f} MB installed, the limit is {LARGEST}")
    if problems:
        raise SystemExit(f"{version}: " + "; ".join(problems))
    return f"{version}: {len(found)} cells as with torch, {size:.0f} MB, {time.perf_counter() - started:.0f} s"


def main() -> None:
    """Try all."""
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch).resolve()
        build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
        source = scratch / "source"  # setuptools leaves its traces where it builds
        subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", ROOT, source], check=True)
        subprocess.run([*build, "--wheel-dir", scratch, source], check=True)
        wheel = next(scratch.glob("*.whl"))
        field = phantom.simulate(seed=1, size=(512, 600)).image
        for i, python in enumerate(pythons()):
            folder = scratch / f"python-{i}"
            folder.mkdir()
            Image.fromarray(np.rint(field * 255).astype(np.uint8)).save(folder / "field.png")
            print(tried(python, wheel, folder, expected(read_image(folder / "field.png"))), flush=True)
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
