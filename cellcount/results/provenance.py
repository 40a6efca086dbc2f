"""Provenance of results: seconds, peak memory, commit, and a hash of everything that determines the result."""

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from cellcount.devices import peak_memory_mb
from cellcount.manifest import commit
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
