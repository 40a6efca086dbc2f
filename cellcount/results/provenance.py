"""Provenance of results: seconds, peak memory, commit, and a hash of everything that determines the result."""

import functools
import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from cellcount.errors import DISTRIBUTION
from cellcount.types import Prediction


def timed(predict: Callable[..., Prediction], image: np.ndarray, **params: Any) -> Prediction:
    """The Prediction of a method on an image (H, W), with its `seconds` in `meta`."""
    started = time.perf_counter()
    prediction = predict(image, **params)
    return replace(prediction, meta=prediction.meta | {"seconds": time.perf_counter() - started})


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
    """Provenance of a row of results.

    Parameters
    ----------
    method, dataset, weights_sha256, split, chapter, profile, device : str
    image : str
        Name of the Sample.
    parameters : dict or None
        Those of the method and of its training.
    seed : int
    seconds : float

    Returns
    -------
    dict
        These, the peak memory, the commit, and `run`: a hash of everything that determines the result.
    """
    described = json.dumps(parameters or {}, sort_keys=True, default=str)
    identity = [method, described, weights_sha256, dataset, image, seed]
    return {
        "run": hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:12],
        "chapter": chapter, "method": method, "parameters": described, "weights_sha256": weights_sha256,
        "dataset": dataset, "image": image, "split": split, "seconds": round(seconds, 3),
        "peak_memory_mb": peak_memory_mb(), "device": device, "seed": seed, "profile": profile, "commit": commit(),
    }  # fmt: skip


def peak_memory_mb() -> int:
    """Largest resident memory of this process so far, MB."""
    try:
        import resource
    except ModuleNotFoundError:  # on Windows
        import psutil

        return round(psutil.Process().memory_info().peak_wset / 1e6)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / 1e6 if sys.platform == "darwin" else peak / 1e3)  # bytes on macOS, kilobytes on Linux


@functools.cache
def commit() -> str:
    """The commit of the code, with "+" if files differ from it; the package's version outside of a clone."""
    here = Path(__file__).resolve().parent

    def git(*arguments: str | Path) -> str:
        return subprocess.run(["git", "-C", here, *arguments], capture_output=True, text=True, check=True).stdout

    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "--", here)
        return git("rev-parse", "--short=12", "HEAD").strip() + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return f"cellcount {version(DISTRIBUTION)}"
