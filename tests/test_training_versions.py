"""A method whose trainings give other weights than before has another VERSION: the fingerprint of each is stored.

    python tests/test_training_versions.py --store cellnet

stores the fingerprint of a tiny training, after VERSION was raised in `cellcount/methods/cellnet/__init__.py`. Weights
that `cellcount.companion.trained` keeps are identified by that number, so a forgotten one would keep outdated weights.
"""

import io
import json
import sys
import tempfile
import zipfile
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from cellcount.companion.trained import PACKAGES
from cellcount.data import phantom
from cellcount.methods import METHODS

STORED = Path(__file__).with_name("training_versions.json")
# Instruction sets from SSE4 to AVX-512, and one thread or two, change a fingerprint by up to 2e-4: Adam divides each
# gradient by its own size, and so amplifies the rounding errors of those that are almost 0. That is why the detectors
# take two steps only. A learning rate that is 2 % higher changes it by 2e-2.
TOLERANCE = 1e-3
# YOLOX assigns each box to whole places of its grid, which a rounding error can change: 1.7e-3 and 2.1e-3 between an
# Intel and an AMD processor.
COARSE = {"yolox": 5e-3}
TINY = {
    "cellnet": {"start": None, "widths": (8, 8), "crop": 32, "batch": 2, "steps": 3, "rounds": 1, "count_weight": 0.1},
    "cellpose": {"widths": (4, 8, 8, 256), "tile": 128, "trusted": 0.0, "crop": 64, "batch": 2, "epochs": 3,
                 "size_crop": 64, "size_epochs": 1},
    "stardist": {"filters": 4, "depth": 1, "patch": 64, "rays": 8, "tile": 64, "batch": 2, "steps": 3},
    "maskrcnn": {"preset": "light", "tile": 64, "channels": 16, "representation": 16, "hidden": 8, "batch": 2,
                 "epochs": 1, "epoch_steps": 2},
    "yolox": {"preset": "light", "tile": 64, "width": 0.125, "batch": 2, "epochs": 1, "epoch_steps": 2},
}  # fmt: skip
SLOW = ("cellpose", "stardist", "yolox")


def arrays(path):
    """Floating-point arrays of a weights file by name."""
    if path.suffix == ".zip":
        import h5py

        found = {}
        with zipfile.ZipFile(path) as file, h5py.File(io.BytesIO(file.read("weights_best.h5"))) as weights:
            weights.visititems(lambda name, one: found.update({name: one[()]} if isinstance(one, h5py.Dataset) else {}))
    else:
        found = load_file(path)
    return {name: array.astype(float) for name, array in found.items() if np.issubdtype(array.dtype, np.floating)}


def fingerprint(name):
    """Losses of a tiny training, and the norm of the change of its convolution kernels.

    The initial kernels come from a training whose learning rate is almost 0. Keras names its layers otherwise in each
    training of one process, so for StarDist the biases are taken, which are 0 initially.
    """
    method, samples = METHODS[name], [phantom.simulate(seed=3, size=(128, 128))]
    with tempfile.TemporaryDirectory() as folder:

        def trained(file, **params):
            path = Path(folder) / f"{file}{getattr(method, 'SUFFIX', '.safetensors')}"
            return method.fit(samples, out=path, device="cpu", progress=False, **TINY[name] | params)

        end = trained("end")
        about, after = method.about(end), arrays(end)
        if name == "stardist":
            changes = [array for array in after.values() if array.ndim == 1]
        else:
            before = arrays(trained("start", learning_rate=1e-12))
            changes = [array - before[key] for key, array in after.items() if array.ndim > 1]
    change = np.sqrt(sum((array**2).sum() for array in changes))
    return {"losses": about.get("losses") or about["curves"]["loss"], "change": float(f"{change:.6g}")}


def record(name):
    """What is stored of a method: plain JSON."""
    method = METHODS[name]
    packages = {package: version(package) for package in PACKAGES[name]}
    defaults = json.loads(json.dumps(asdict(method.Settings())))
    return {"version": method.VERSION, "packages": packages, "defaults": defaults, **fingerprint(name)}


def differs(stored, found, tolerance=TOLERANCE):
    """The parts of a record in which a training differs from the stored one."""
    parts = ["defaults"] if stored["defaults"] != found["defaults"] else []
    for part in ("losses", "change"):
        if np.shape(stored[part]) != np.shape(found[part]) or not np.allclose(found[part], stored[part], tolerance, 0):
            parts.append(part)
    return parts


def advice(name, parts):
    return (
        f"The same call of {name}.fit trains other weights than version {METHODS[name].VERSION} ({', '.join(parts)}): "
        f"raise VERSION in cellcount/methods/{name}/__init__.py, so that kept weights are trained again, and store its "
        f"fingerprint: python tests/test_training_versions.py --store {name}"
    )


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in TINY])
def test_other_weights_have_another_version(name):
    stored, found = json.loads(STORED.read_text())[name], record(name)
    if stored["packages"] != found["packages"]:
        pytest.skip(f"stored with {stored['packages']}, here are {found['packages']}")
    if stored["version"] != found["version"]:
        pytest.fail(f"Store the new version's fingerprint: python tests/test_training_versions.py --store {name}")
    parts = differs(stored, found, COARSE.get(name, TOLERANCE))
    assert not parts, f"{advice(name, parts)}\nstored: {stored}\nfound: {found}"


def test_every_method_whose_weights_are_kept_has_a_version():
    assert set(TINY) == set(PACKAGES) == set(json.loads(STORED.read_text()))
    assert all(isinstance(METHODS[name].VERSION, int) for name in TINY)


def store(names):
    """Write the records of these methods; refuse other weights under the same version. A new setting alone is none."""
    known = json.loads(STORED.read_text()) if STORED.exists() else {}
    for name in names:
        found, before = record(name), known.get(name)
        if before:
            before["defaults"] = found["defaults"] | before["defaults"]
        if before and all(before[part] == found[part] for part in ("version", "packages")) and differs(before, found):
            raise SystemExit(advice(name, differs(before, found)))
        known[name] = found
    STORED.write_text(json.dumps(known, indent=1) + "\n")


if __name__ == "__main__":
    if sys.argv[1:2] != ["--store"]:
        raise SystemExit(__doc__)
    store(sys.argv[2:] or TINY)
