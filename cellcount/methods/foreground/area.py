"""Counting by area: a constant number of cells per pixel of foreground."""

import json
from functools import partial
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from cellcount.errors import DISTRIBUTION, DataError, require
from cellcount.files import replacing, sha256
from cellcount.methods import weights_files
from cellcount.methods.base import parameters, predicts, ready, refuse_unknown
from cellcount.methods.foreground.kinds import find, foreground
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
        For a foreground that is segmented from prompts ("sam"); others take none.
    device : str
        For a foreground that runs a network.
    weights : path or None
        A file written by `fit`; None takes the bundled one (thesis images 1 and 2).

    Returns
    -------
    Prediction
        Without points: an area does not give the positions of its cells. `density` is the constant on the foreground
        and 0 elsewhere, and `count` its sum.

    Raises
    ------
    DataError
        If the image is not (H, W), or the weights file is missing or not one of this method's.
    """
    path = Path(weights or SHIPPED)
    about = read(path)
    name = about["foreground"]
    takes = prompts is None or find(name).prompted
    require(takes, f"foreground-area: the foreground {name!r} takes no prompts.")
    mask = foreground(image, name, prompts=prompts, device=device, **about["parameters"])
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
        With points. Score on other fields than these, where the errors cancel by construction.
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
    refuse_unknown("foreground-area", params, [*parameters(foreground), *parameters(find(name).answer)])
    annotated = samples and all(sample.points is not None for sample in samples)
    require(annotated, "foreground-area is fitted on annotated fields; leave out those without points.", DataError)
    points, area = sum(len(sample.points) for sample in samples), 0
    for sample in tqdm(samples, desc="foreground", unit="image", disable=not progress or len(samples) < 5):
        own = (prompts or {}).get(sample.name)
        area += int(foreground(sample.image, name, prompts=own, device=device, **params).sum())
    found = f"The fields have {points} points and {area} px of foreground; both must be above 0."
    require(points and area, found, DataError)
    about = {"format": FORMAT, "foreground": name, "parameters": params, "cells_per_px": points / area}
    about |= {"samples": [sample.name for sample in samples], "points": points, "area_px": area}
    about |= {"cellcount": version(DISTRIBUTION)}
    with replacing(out) as temporary:
        temporary.write_text(json.dumps(about, indent=1) + "\n")
    return Path(out)


def read(path: Path | str) -> dict[str, Any]:
    """The content of a weights file: a dict with foreground, parameters, cells_per_px, samples, points, area_px.

    Raises
    ------
    DataError
        If the file is missing or not one of this method's.
    """
    try:
        about = json.loads(weights_files.existing(path).read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not JSON ({error}); create it again.") from error
    weights_files.check_format(about, path, "JSON", FORMAT, "foreground-area")
    with weights_files.usable(path):
        find(about["foreground"])
        ratio = about["cells_per_px"]
        require(0 < ratio < 1, f"{path}: cells_per_px is {ratio}; it must be between 0 and 1.", DataError)
        return about


def context(image: Any, **params: Any) -> dict[str, Any]:
    """Empty: the foreground of a part of an image (H, W) does not depend on the rest."""
    return {}


status = partial(ready, "one constant bundled with the package, fitted on thesis images 1 and 2", "skimage")
