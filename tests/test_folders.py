"""Three folders of a user go through `data check`, `cellcount run` and `make book`, without an edit of the project."""

import csv
import os
import shutil
import subprocess
import sys

import nbformat
import numpy as np
import pytest
import tifffile
from PIL import Image
from scipy import ndimage

from cellcount.companion.runner.sources import chapters, root, slug
from cellcount.data import phantom

MAGNIFIED = 1.8  # as with an objective of 36x instead of 20x


def write(folder, name, pixels, points):
    """One image, and its points in the folder's table."""
    folder.mkdir(exist_ok=True)
    if name.endswith(".tif"):
        tifffile.imwrite(folder / name, (pixels * 4095).astype(np.uint16), resolution=(28000, 28000), resolutionunit=3)
    else:
        Image.fromarray((pixels * 255).astype(np.uint8)).save(folder / name)
    new = not (folder / "points.csv").exists()
    with open(folder / "points.csv", "a", newline="") as file:
        table = csv.writer(file)
        table.writerows([["image", "y", "x"]] * new + [[name, *point] for point in points.round(2)])


def other_magnification(folder):
    for seed in range(4):
        sample = phantom.simulate(seed=100 + seed, size=(300, 420))
        pixels = np.clip(ndimage.zoom(sample.image, MAGNIFIED, order=1), 0, 1)
        write(folder, f"well {seed}.tif", pixels, (sample.points + 0.5) * MAGNIFIED - 0.5)


def one_image(folder):
    sample = phantom.simulate(seed=200, size=(256, 320))
    write(folder, "only.png", np.clip(sample.image, 0, 1), sample.points)


def sixty_images(folder):
    for seed in range(60):
        sample = phantom.simulate(seed=300 + seed, size=(128, 160))
        write(folder, f"{seed:02}.png", np.clip(sample.image, 0, 1), sample.points)


FOLDERS = {"one image": one_image, "other magnification": other_magnification, "sixty images": sixty_images}
WEEKLY = pytest.mark.skipif(
    os.environ.get("FOLDERS") != "all", reason="a book of ten minutes, built once a week; FOLDERS=all builds it now"
)


@pytest.mark.slow
@pytest.mark.parametrize("name", [pytest.param(name, marks=[WEEKLY] * (name != "one image")) for name in FOLDERS])
def test_a_folder_goes_through_check_run_and_book(name, tmp_path):
    folder = tmp_path / name
    FOLDERS[name](folder)
    environment = os.environ | {"OMP_NUM_THREADS": "1"}

    def call(*command):
        done = subprocess.run(command, cwd=root(), env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout

    cellcount = [sys.executable, "-m", "cellcount"]
    call(*cellcount, "data", "check", folder)
    out = tmp_path / "cellnet.ipynb"
    call(*cellcount, "run", "cellnet", "--data", folder, "--profile", "smoke", "--out", out)
    assert nbformat.read(out, as_version=4).cells
    runs, site = (root() / "build" / part / slug(str(folder)) / "smoke" for part in ("runs", "site"))
    try:
        said = call("make", f"DATA={folder}", "PROFILE=smoke", "book")
        assert f"{len(chapters())} of {len(chapters())}" in said
        for source in chapters():
            notebook = nbformat.read(runs / f"{source.stem}.ipynb", as_version=4)
            assert (site / "_build" / "html" / "book" / f"{source.stem}.html").exists()
            assert not [output for cell in notebook.cells for output in cell.get("outputs", []) if "ename" in output]
        call(*cellcount, "verify", runs, site)
    finally:
        for path in (runs, site):
            shutil.rmtree(path.parent, ignore_errors=True)
