"""Trained weights kept on disk, so that chapters which need the same ones train them once."""

import hashlib
import json
import os
import time
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from filelock import FileLock

from cellcount.devices import choose_device, cpu_threads
from cellcount.files import replacing, sha256
from cellcount.registry import cache_root
from cellcount.types import Sample

COLUMNS = ["method", "parameters", "train", "weights_sha256", "device", "threads", "seconds"]
PACKAGES = {  # whose versions decide what is trained
    "cellnet": ("torch",),
    "cellpose": ("cellpose", "torch"),
    "maskrcnn": ("torch", "torchvision"),
    "stardist": ("stardist",),
    "yolox": ("torch", "pixeltable-yolox"),
}


def trained(
    method: Any, samples: Sequence[Sample], *, suffix: str, device: str = "auto", progress: bool = True, **params: Any
) -> Path:
    """Weights of `method.fit(samples, **params)`, trained only if no earlier call has trained them.

    They are identified by the method's `VERSION`, its packages' versions, the parameters and the samples. Of processes
    that need the same weights at the same time one trains, and the others wait for it.

    Parameters
    ----------
    method : module
        With `VERSION`, and a `fit` that takes `out`, `device` and `progress`.
    samples : list of Sample
    suffix : str
        Of the weights file, as ".safetensors".
    device : str
        Weights trained on another device are the same.
    progress : bool
    params
        Fields of the method's settings.

    Returns
    -------
    Path
        In the cache folder.
    """
    name = method.__name__.rsplit(".", 1)[-1]
    described = [method.VERSION, [version(package) for package in PACKAGES.get(name, ())], params]
    digest = hashlib.sha256(json.dumps(described, sort_keys=True, default=str).encode())
    for sample in samples:
        digest.update(sample.name.encode())
        for array in (sample.image, sample.points, sample.valid, sample.labels):
            digest.update(b"-" if array is None else np.ascontiguousarray(array).tobytes())
    folder = Path(os.environ.get("CELLCOUNT_TRAINED") or cache_root() / "trained")  # another one to train again
    path = folder / f"{name}-{digest.hexdigest()[:24]}{suffix}"
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):  # the system releases it when its process ends, however that ends
        if not path.is_file():
            started = time.perf_counter()
            method.fit(samples, out=path, device=device, progress=progress, **params)
            place = "cpu" if name == "stardist" else choose_device(device).type
            story = {"method": name, "parameters": json.dumps(params, sort_keys=True, default=str)}
            story |= {"train": " ".join(sample.name for sample in samples), "weights_sha256": sha256(path)}
            story |= {"device": place, "threads": cpu_threads(), "seconds": round(time.perf_counter() - started, 1)}
            with replacing(path.with_suffix(".json")) as temporary:
                temporary.write_text(json.dumps(story))
    return path


def trainings(paths: Iterable[Path | str]) -> pd.DataFrame:
    """How the weights at these paths, from `trained`, were made: one line for each with a record.

    Returns
    -------
    DataFrame with method, parameters, train (names of the samples), weights_sha256, device, threads and seconds
    """
    records = [Path(path).with_suffix(".json") for path in paths]
    return pd.DataFrame([json.loads(file.read_text()) for file in records if file.is_file()], columns=COLUMNS)
