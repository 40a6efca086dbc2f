"""Where a result comes from: seconds, peak memory, commit, and a hash of what decides the answer."""

import contextlib
import functools
import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from cellcount.errors import DISTRIBUTION
from cellcount.types import Prediction


def timed(predict: Callable[..., Prediction], image: np.ndarray, **params: Any) -> Prediction:
    """Call a method; its Prediction, with `seconds` in `meta`."""
    started = time.perf_counter()
    prediction = predict(image, **params)
    return replace(prediction, meta=prediction.meta | {"seconds": time.perf_counter() - started})


@contextlib.contextmanager
def stopwatch() -> Iterator[SimpleNamespace]:
    """Yields an object whose `seconds` is the time spent inside, once it is left."""
    watch = SimpleNamespace(seconds=np.nan)
    started = time.perf_counter()
    yield watch
    watch.seconds = time.perf_counter() - started


def provenance(
    method: str,
    image: str,
    *,
    dataset: str,
    parameters: Mapping[str, Any] | None = None,
    weights_sha256: str = "",
    split: str = "",
    chapter: str = "",
    seed: int = 0,
    profile: str = "",
    device: str = "cpu",
    seconds: float = np.nan,
) -> dict[str, Any]:
    """Where a row comes from (dict), to be joined with its counts.

    Parameters
    ----------
    method, image, dataset, weights_sha256, split, chapter, profile, device : str
        `image` is the name of the Sample.
    parameters : dict or None
    seed : int
    seconds : float

    Returns
    -------
    dict
        These, the peak memory, the commit, and `run`: a hash of what decides the answer.
    """
    common = {
        "chapter": chapter, "method": method, "parameters": json.dumps(parameters or {}, sort_keys=True, default=str),
        "weights_sha256": weights_sha256, "dataset": dataset, "image": image, "split": split,
        "seconds": round(seconds, 3), "peak_memory_mb": peak_memory_mb(), "device": device, "seed": seed,
        "profile": profile, "commit": commit(),
    }  # fmt: skip
    identity = [common[name] for name in ("method", "parameters", "weights_sha256", "dataset", "image", "seed")]
    return {"run": hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:12]} | common


def peak_memory_mb() -> int:
    """Largest resident memory of this process so far, MB."""
    try:
        import resource
    except ModuleNotFoundError:  # on Windows
        import psutil

        return round(psutil.Process().memory_info().peak_wset / 1e6)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / 1e6 if sys.platform == "darwin" else peak / 1e3)  # bytes there, kilobytes here


@functools.cache
def commit() -> str:
    """The commit that the code comes from, with "+" if files differ from it; else the package's version."""
    here = Path(__file__).resolve().parent

    def git(*arguments: str | Path) -> str:
        return subprocess.run(["git", "-C", here, *arguments], capture_output=True, text=True, check=True).stdout

    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "--", here)
        return git("rev-parse", "--short=12", "HEAD").strip() + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return f"cellcount {version(DISTRIBUTION)}"
