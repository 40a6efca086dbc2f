"""Simulated fields kept on disk: every chapter asks for the same ones, and each takes seconds to make."""

import functools
import hashlib
import json
import logging
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from cellcount.files import replacing
from cellcount.registry import cache_root
from cellcount.types import Sample

log = logging.getLogger(__name__)
ARRAYS = ("points", "valid", "labels", "dead")
MADE_WITH = ("numpy", "scipy", "scikit-image", "pillow")  # other releases may give other bytes


def cached(simulate: Callable[..., Sample], seed: int | Sequence[int], size: tuple[int, int], **params: Any) -> Sample:
    """`simulate(seed, size, **params)`, from the cache folder if it was made before by the same code.

    Parameters
    ----------
    simulate : `cellcount.data.phantom.simulate`
    seed, size, params : its arguments

    Returns
    -------
    Sample
        The same bytes as without a cache. Where the folder cannot be written, nothing is kept.
    """
    key = hashlib.sha256(json.dumps([_code(), seed, size, params], default=list).encode()).hexdigest()[:24]
    path = cache_root() / "phantom" / f"{key}.npz"
    try:
        return _read(path)
    except FileNotFoundError:
        pass
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        log.warning("%s cannot be read (%s); it is made anew.", path, error)
    sample = simulate(seed, size, **params)
    try:
        _write(sample, path)
    except OSError as error:
        log.warning("The cache folder cannot be written (%s): simulated fields are made anew each time.", error)
    return sample


@functools.cache
def _code() -> list[str]:
    """What decides the bytes besides the arguments: the simulation's source, and the libraries under it."""
    source = b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))
    return [hashlib.sha256(source).hexdigest(), *(f"{name} {version(name)}" for name in MADE_WITH)]


def _write(sample: Sample, path: Path) -> None:
    about = {
        "name": sample.name, "split": sample.split, "pixel_size_um": sample.pixel_size_um,
        "meta": {key: value for key, value in sample.meta.items() if key != "rounded"},
    }  # fmt: skip
    arrays = {name: getattr(sample, name) for name in ARRAYS}
    gray = np.rint(sample.image * 255).astype(np.uint8)  # a JPEG's pixels: nothing is lost
    with replacing(path) as temporary:
        np.savez_compressed(temporary, gray=gray, rounded=sample.meta["rounded"], about=json.dumps(about), **arrays)


def _read(path: Path) -> Sample:
    with np.load(path, allow_pickle=False) as stored:
        about = json.loads(str(stored["about"]))
        image = stored["gray"].astype(np.float32) / 255
        sample = Sample(about["name"], image, **{name: stored[name] for name in ARRAYS})
        meta = about["meta"] | {"rounded": stored["rounded"]}
    meta["seed"] = tuple(meta["seed"]) if isinstance(meta["seed"], list) else meta["seed"]
    return replace(sample, split=about["split"], pixel_size_um=about["pixel_size_um"], meta=meta)
