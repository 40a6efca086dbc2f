"""Trained weights kept on disk: chapters that need the same ones train them once."""

import hashlib
import inspect
import json
import time
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd

import cellcount.data.pseudo_masks
import cellcount.data.valid
from cellcount.devices import choose_device, cpu_threads
from cellcount.files import replacing, sha256
from cellcount.registry import cache_root
from cellcount.types import Sample

COLUMNS = ["method", "parameters", "train", "weights_sha256", "device", "threads", "seconds"]
SHARED = (cellcount.data.pseudo_masks, cellcount.data.valid)  # what training data is made with
PACKAGES = {
    "cellpose": ("cellpose", "torch"), "stardist": ("stardist",), "cellnet": ("torch",),
    "maskrcnn": ("torch", "torchvision"), "yolox": ("torch", "pixeltable-yolox"),
}  # fmt: skip
BASES = {"maskrcnn": "detection", "yolox": "detection"}  # the room beside it that a method's training is made of, too


def trained(
    method: ModuleType,
    samples: Sequence[Sample],
    *,
    suffix: str,
    device: str = "auto",
    progress: bool = True,
    **params: Any,
) -> Path:
    """Weights of `method.fit(samples, **params)`: kept ones if the same code made them from the same samples.

    Parameters
    ----------
    method : module
        With a `fit` that takes `out`, `device` and `progress`.
    samples : list of Sample
    suffix : str
        Of the weights file, as ".safetensors".
    device : str
        Not part of what tells one training from the next.
    progress : bool
    params
        Fields of the method's settings.

    Returns
    -------
    Path
        Below the cache folder; the next call with the same arguments returns at once.
    """
    name = method.__name__.rsplit(".", 1)[-1]
    described = [_code(method), [version(package) for package in PACKAGES.get(name, ())], params]
    digest = hashlib.sha256(json.dumps(described, sort_keys=True, default=str).encode())
    for sample in samples:
        digest.update(sample.name.encode())
        for array in (sample.image, sample.points, sample.valid, sample.labels):
            digest.update(b"-" if array is None else np.ascontiguousarray(array).tobytes())
    path = cache_root() / "trained" / f"{name}-{digest.hexdigest()[:24]}{suffix}"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        started = time.perf_counter()
        method.fit(samples, out=path, device=device, progress=progress, **params)
        seconds = time.perf_counter() - started
        story = {
            "method": name, "parameters": json.dumps(params, sort_keys=True, default=str),
            "train": " ".join(sample.name for sample in samples), "weights_sha256": sha256(path),
            "device": "cpu" if name == "stardist" else choose_device(device).type,
            "threads": cpu_threads(),
            "seconds": round(seconds, 1),
        }  # fmt: skip
        with replacing(_story(path)) as temporary:
            temporary.write_text(json.dumps(story))
    return path


def trainings(paths: Iterable[Path | str]) -> pd.DataFrame:
    """What it took to train weights that `trained` made: a DataFrame with a line for each that it has noted.

    Columns: method, parameters, train (names of the samples), weights_sha256, device, threads and seconds.
    """
    stories = [json.loads(_story(path).read_text()) for path in paths if _story(path).is_file()]
    return pd.DataFrame(stories, columns=COLUMNS)


def _story(path):
    return Path(path).with_suffix(".json")


def _code(method):
    """SHA-256 of the sources that decide what comes out of a training."""
    home = Path(inspect.getfile(method))
    files = sorted(home.parent.glob("*.py")) if home.name == "__init__.py" else [home]
    base = BASES.get(method.__name__.rsplit(".", 1)[-1])
    files += sorted((home.parent.parent / base).glob("*.py")) if base else []
    files += [Path(module.__file__) for module in SHARED]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
