"""StarDist: cells as star-convex polygons. It runs in a process of its own (see `process`)."""

import json
import zipfile
from dataclasses import asdict
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from cellcount import registry
from cellcount.errors import DISTRIBUTION, CellcountError, DataError, NotAvailableError, ParameterError, install
from cellcount.methods.base import Status, predicts, sampled
from cellcount.methods.stardist.process import PROCESS
from cellcount.methods.stardist.settings import FORMAT, Settings, settings_from
from cellcount.types import Prediction, Sample

__all__ = ["NAMES", "Settings", "about", "fit", "context", "predict", "status"]

SUFFIX = ".zip"  # of weights files
NAMES = ("2D_versatile_fluo", "2D_versatile_he")
BRIGHT = ("2D_versatile_fluo",)  # learned from bright nuclei on dark ground: phase contrast is turned over for it


def context(image: Any, **params: Any) -> dict[str, Any]:
    """What `predict` must know of the whole image when it sees only a tile of it; image (H, W) float32.

    StarDist's examples map an image's 1st and 99.8th percentile to 0 and 1.
    """
    low, high = np.percentile(sampled(image), [1, 99.8])
    return {"exposure": (float(low), float(high))}


@predicts("StarDist")
def predict(
    image: np.ndarray,
    *,
    prompts: None = None,
    device: str = "auto",
    weights: str | Path = "2D_versatile_he",
    threshold: float | None = None,
    overlap: float | None = None,
    scale: float = 1.0,
    invert: bool | None = None,
    exposure: tuple[float, float] | None = None,
) -> Prediction:
    """Segment the cells of one image (Schmidt et al. 2018, doi:10.1007/978-3-030-00934-2_30).

    Parameters
    ----------
    image : (H, W) float32 in [0, 1]
    prompts : None
    device : "auto" or "cpu"
        It computes where its TensorFlow does.
    weights : str or path
        "2D_versatile_fluo", "2D_versatile_he", or a file written by `fit`.
    threshold, overlap : float or None
        Least probability of a polygon, and largest overlap of two (intersection over union); None takes the weights'
        own.
    scale : float
        The image is scaled by it first: published weights expect nuclei about 20 px wide.
    invert : bool or None
        Whether to turn bright and dark over; None: for weights learned from fluorescence.
    exposure : (float, float) or None
        Gray values of black and white, from `context`, when `image` is only a tile.

    Returns
    -------
    Prediction
        `points` are the masks' centres of mass, `scores` the polygons' probabilities.

    Raises
    ------
    DataError
        If the image is not (H, W) float32, or a weights file cannot be used.
    NotAvailableError
        If weights or package are not on this machine; nothing is downloaded.
    ParameterError
        If a parameter is out of range.
    """
    if device not in ("auto", "cpu"):
        raise NotAvailableError(f"device={device!r}: StarDist computes where its TensorFlow does; use 'auto'.")
    for name, share in (("threshold", threshold), ("overlap", overlap)):
        if share is not None and not 0 <= share <= 1:
            raise ParameterError(f"{name}={share!r} must be from 0 to 1.")
    if not scale > 0:
        raise ParameterError(f"scale={scale!r} must be positive.")
    path = _find(weights)
    invert = str(weights) in BRIGHT if invert is None else invert
    low, high = exposure or context(image)["exposure"]
    normalised = (image - np.float32(low)) / np.float32(high - low or 1.0)
    found = PROCESS.call(
        "predict",
        image=1 - normalised if invert else normalised,
        weights=str(path),
        threshold=threshold,
        overlap=overlap,
        scale=scale,
    )
    return Prediction(
        found["points"],
        found["scores"],
        float(len(found["points"])),
        labels=found["labels"],
        meta={
            "method": "stardist",
            "weights_sha256": found["sha256"],
            "device": "cpu",
            "threshold": found["thresholds"]["prob"] if threshold is None else threshold,
            "overlap": found["thresholds"]["nms"] if overlap is None else overlap,
        },
    )


def _find(weights):
    """Path of published weights (verified) or of a file of ours."""
    _need_package()
    if str(weights) not in NAMES:
        if not Path(weights).is_file():
            raise DataError(f"No weights file at {weights}: give one written by `stardist.fit`, or {', '.join(NAMES)}.")
        return Path(weights)
    path = registry.find_weights(f"stardist-{weights}")
    if path is None:
        size = registry.megabytes(registry.known_weights(f"stardist-{weights}").bytes)
        ways = registry.ways_to_weights(f"stardist-{weights}")
        raise NotAvailableError(f"Not on this machine: StarDist's weights {weights} ({size}). To get them, {ways}.")
    return path


def fit(samples: list[Sample], *, out: str | Path, device: str = "auto", progress: bool = True, **params: Any) -> Path:
    """Train on annotated samples and write the weights: a zip file as StarDist publishes its own.

    Ground that nobody has looked at (`Sample.valid`) takes no part in the loss. Thresholds are chosen by StarDist's
    own search, on the tiles kept for validation.

    Parameters
    ----------
    samples : list of Sample
        With points, or with labels if `masks="true"`.
    out : path
    device : "auto" or "cpu"
    params
        Fields of `Settings`.

    Returns
    -------
    Path of `out`

    Raises
    ------
    DataError
        If a sample has no annotation, or there are fewer than two tiles with cells.
    ParameterError
        If a parameter is unknown or out of range.
    NotAvailableError
        If the package is not installed.
    """
    from tqdm import tqdm

    from cellcount.methods.stardist.tiles import training_tiles

    settings = settings_from(params)
    if device not in ("auto", "cpu"):
        raise NotAvailableError(f"device={device!r}: StarDist computes where its TensorFlow does; use 'auto'.")
    _need_package()
    train, validation = training_tiles(samples, settings)
    described = {
        "format": FORMAT,
        "settings": asdict(settings),
        "samples": [sample.name for sample in samples],
        "tiles": len(train[0]),
        "cellcount": version(DISTRIBUTION),
        "stardist": version("stardist"),
    }
    with tqdm(total=settings.steps, desc="StarDist", unit="step", disable=not progress, mininterval=1) as bar:

        def step(loss):
            bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
            bar.update()

        PROCESS.call(
            "fit",
            images=train[0],
            labels=train[1],
            validation=validation,
            settings=asdict(settings),
            out=str(Path(out).resolve()),
            about=described,
            on_progress=step,
        )
    return Path(out)


def about(path: str | Path) -> dict[str, Any]:
    """What one of our weights files says of itself: settings, samples, losses, thresholds, versions.

    Raises
    ------
    DataError
        If the file is missing, torn, or not one of ours.
    """
    try:
        with zipfile.ZipFile(path) as file:
            return json.loads(file.read("about.json")) | {"thresholds": json.loads(file.read("thresholds.json"))}
    except (OSError, KeyError, zipfile.BadZipFile, json.JSONDecodeError) as error:
        raise DataError(f"{path}: not a weights file written by `stardist.fit` ({error}).") from error


def status(weights: str | None = None) -> Status:
    """Whether it can segment here with these weights; by default with any published ones."""
    lacking = []
    for name in [weights] if weights else NAMES:
        try:
            _find(name)
        except CellcountError as error:
            if find_spec("stardist") is None:
                return Status("needs package", str(error))
            lacking.append(str(error))
        else:
            return Status("ready", f"weights {name}")
    return Status("needs weights", lacking[0] if weights else f"{', '.join(NAMES)}, or your own by `fit`. {lacking[0]}")


def _need_package():
    for name in ("stardist", "tensorflow"):
        if find_spec(name) is None:
            raise NotAvailableError(f"The package {name} is not installed: {install('methods')}.")
