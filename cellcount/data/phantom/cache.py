"""Simulated fields cached on disk: all chapters use the same ones, and each takes seconds to compute."""

import functools
import hashlib
import json
import logging
import zipfile
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from cellcount.files import replacing
from cellcount.registry import cache_root
from cellcount.types import Sample

log = logging.getLogger(__name__)
ARRAYS = ("points", "valid", "labels", "dead")
MADE_WITH = ("numpy", "scipy", "scikit-image", "pillow")  # other releases may give other values


def cached(simulate: Callable[..., Sample], seed: int | Sequence[int], size: tuple[int, int], **params: Any) -> Sample:
    """`simulate(seed, size, **params)`, from the cache folder if the same code has computed it before.

    Parameters
    ----------
    simulate : `cellcount.data.phantom.simulate`
    seed, size, params : its arguments

    Returns
    -------
    Sample
        The same values as without a cache. Nothing is stored if the folder cannot be written.
    """
    key = hashlib.sha256(json.dumps([_code(), seed, size, params], default=list).encode()).hexdigest()[:24]
    path = cache_root() / "phantom" / f"{key}.npz"
    try:
        return _read(path, seed)
    except FileNotFoundError:
        pass
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        log.warning("%s cannot be read (%s); it is computed again.", path, error)
    sample = simulate(seed, size, **params)
    try:
        _write(sample, path)
    except OSError as error:
        log.warning("The cache folder cannot be written (%s): simulated fields are computed each time.", error)
    return sample


@functools.cache
def _code() -> list[str]:
    """What determines the values besides the arguments: the simulation's source code, and its libraries."""
    source = b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))
    return [hashlib.sha256(source).hexdigest(), *(f"{name} {version(name)}" for name in MADE_WITH)]


def _write(sample: Sample, path: Path) -> None:
    meta = {key: value for key, value in sample.meta.items() if key != "rounded"}
    arrays = {name: getattr(sample, name) for name in ARRAYS} | {"rounded": sample.meta["rounded"]}
    gray = np.rint(sample.image * 255).astype(np.uint8)  # the pixels of a JPEG: nothing is lost
    about = json.dumps([sample.name, sample.split, sample.pixel_size_um, meta])
    with replacing(path) as temporary:
        np.savez_compressed(temporary, gray=gray, about=about, **arrays)


def _read(path: Path, seed: int | Sequence[int]) -> Sample:
    with np.load(path, allow_pickle=False) as stored:
        name, split, pixel_size_um, meta = json.loads(str(stored["about"]))
        image, arrays = stored["gray"].astype(np.float32) / 255, {name: stored[name] for name in ARRAYS}
        meta |= {"seed": seed, "rounded": stored["rounded"]}
    return Sample(name, image, pixel_size_um=pixel_size_um, split=split, meta=meta, **arrays)
