"""Counting by area: so many cells per pixel of foreground, everywhere."""

import functools
import json
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from cellcount.errors import DISTRIBUTION, DataError, ParameterError
from cellcount.files import replacing, sha256
from cellcount.methods.base import Status, predicts, ready, refuse_unknown
from cellcount.methods.foreground.kinds import find, foreground, known_parameters
from cellcount.methods.prompts import Prompts
from cellcount.types import Prediction, Sample

FORMAT = "cellcount foreground-area 1"
SHIPPED = files("cellcount") / "weights" / "foreground-area-thesis.json"


@predicts("foreground-area", prompts="optional")
def predict(
    image: np.ndarray,
    *,
    prompts: Prompts | np.ndarray | None = None,
    device: str = "auto",
    weights: str | Path | None = None,
) -> Prediction:
    """Count the cells of one image by the area that they cover.

    Parameters
    ----------
    image : (H, W) float32 in [0, 1]
    prompts : Prompts or None
        For a foreground that is asked for by prompts ("sam"); others take none.
    device : str
        For a foreground that runs a network.
    weights : path or None
        A file written by `fit`; None takes the one shipped with the package (thesis images 1 and 2).

    Returns
    -------
    Prediction
        Without points: an area does not know where its cells are. `density` is the constant on the foreground and 0
        elsewhere, and `count` its sum.

    Raises
    ------
    DataError
        If the image is not (H, W), or the weights file is missing or not one of this method's.
    """
    path = Path(weights or SHIPPED)
    about = read(path)
    if prompts is not None and not find(about["foreground"]).prompted:
        raise ParameterError(f"foreground-area: the foreground {about['foreground']!r} takes no prompts.")
    mask = foreground(image, about["foreground"], prompts=prompts, device=device, **about["parameters"])
    density = mask.astype(np.float32) * np.float32(about["cells_per_px"])
    meta = {"method": "foreground-area", "device": "cpu", "weights_sha256": sha256(path)}
    return Prediction([], [], count=float(density.sum(dtype=float)), density=density, meta=meta)


def fit(
    samples: list[Sample],
    *,
    out: str | Path,
    name: str = "deviation",
    prompts: dict[str, np.ndarray] | None = None,
    device: str = "auto",
    progress: bool = True,
    **params: Any,
) -> Path:
    """Fit the one constant, cells per px of foreground, and write it.

    Parameters
    ----------
    samples : list of Sample
        With points. Score on other fields than these: on these the errors cancel by construction.
    out : path
        The JSON file to write.
    name : key of `cellcount.methods.foreground.kinds.FOREGROUNDS`
    prompts : dict of sample name to (N, 2) float32 (y, x) px, or None
    device : str
    progress : bool
    params
        Of `foreground`: threshold, shrink, smallest, and those of the map. Kept in the file.

    Returns
    -------
    Path of `out`

    Raises
    ------
    DataError
        If there is no annotated sample, no point, or no foreground.
    ParameterError
        If there is no such foreground, or a parameter is unknown.
    """
    refuse_unknown("foreground-area", params, known_parameters(name))
    if not samples or any(sample.points is None for sample in samples):
        raise DataError("foreground-area is fitted on annotated fields; leave out those without points.")
    points = sum(len(sample.points) for sample in samples)
    area = 0
    for sample in tqdm(samples, desc="foreground", unit="image", disable=not progress or len(samples) < 5):
        own = (prompts or {}).get(sample.name)
        area += int(foreground(sample.image, name, prompts=own, device=device, **params).sum())
    if not points or not area:
        raise DataError(f"The fields have {points} points and {area} px of foreground: no constant follows from that.")
    about = {
        "format": FORMAT,
        "foreground": name,
        "parameters": params,
        "cells_per_px": points / area,
        "samples": [sample.name for sample in samples],
        "points": points,
        "area_px": area,
        "cellcount": version(DISTRIBUTION),
    }
    with replacing(out) as temporary:
        temporary.write_text(json.dumps(about, indent=1) + "\n")
    return Path(out)


def read(path: Path | str) -> dict[str, Any]:
    """What a weights file holds: a dict with foreground, parameters, cells_per_px, samples, points, area_px.

    Raises
    ------
    DataError
        If the file is missing or not one of this method's.
    """
    path = Path(path)
    if not path.exists():
        raise DataError(f"No weights file at {path}; make one with cellcount.methods.foreground.fit.")
    return _read(path, path.stat().st_mtime_ns)


@functools.lru_cache(maxsize=16)
def _read(path, mtime):
    """As `read`; `mtime` makes a rewritten file a new one to the cache."""
    try:
        about = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise DataError(f"{path}: not JSON ({error}); write it anew.") from error
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise DataError(f"{path}: JSON, but not a weights file of foreground-area (no {FORMAT!r} in it).")
    find(about["foreground"])
    if not 0 < about["cells_per_px"] < 1:
        raise DataError(f"{path}: cells_per_px is {about['cells_per_px']}; it must lie between 0 and 1.")
    return about


def context(image: Any, **params: Any) -> dict[str, Any]:
    """Nothing: each part of an image (H, W) tells its own foreground."""
    return {}


def status() -> Status:
    """Ready: its constant comes with the package."""
    if SHIPPED.is_file():
        return ready("one constant shipped with the package, fitted on thesis images 1 and 2", "skimage")
    return Status("needs weights", f"the package's own file {SHIPPED.name} is missing: install cellcount again")
