"""StarDist: cells as star-convex polygons. It runs in a process of its own (see `process`)."""

import json
import zipfile
import zlib
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from cellcount import registry
from cellcount.errors import DataError, NotAvailableError, check_positive, require
from cellcount.methods import weights_files
from cellcount.methods.base import Status, need_packages, predicts, weights_status
from cellcount.methods.pixels import percentiles, stretched
from cellcount.methods.stardist.process import PROCESS
from cellcount.methods.stardist.settings import BLACK_WHITE, FORMAT, Settings, check_size, training_tiles
from cellcount.types import Prediction, Sample

__all__ = ["NAMES", "VERSION", "Settings", "about", "fit", "context", "predict", "status"]

VERSION = 1  # raise it when the same call of `fit` trains other weights (tests/test_training_versions.py)
SUFFIX = ".zip"  # of weights files
NAMES = ("2D_versatile_fluo", "2D_versatile_he")
BRIGHT = ("2D_versatile_fluo",)  # trained on bright nuclei on dark background: phase contrast is inverted for them
PACKAGES = ("stardist", "tensorflow")


def context(image: Any, **params: Any) -> dict[str, Any]:
    """Exposure of the whole image (H, W) float32, as a keyword argument of `predict` for its tiles.

    StarDist's examples map an image's 1st and 99.8th percentile to 0 and 1.
    """
    return {"exposure": percentiles(image, *BLACK_WHITE)}


@predicts("StarDist", packages=PACKAGES)
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
        By which the image is resized first: published weights expect nuclei about 20 px wide.
    invert : bool or None
        Whether to exchange bright and dark; None: for weights trained on fluorescence.
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
    _check_device(device)
    limits = {"threshold": threshold, "overlap": overlap}
    for name, share in limits.items():
        require(share is None or 0 <= share <= 1, f"{name}={share!r} must be from 0 to 1.")
    check_positive("StarDist", scale=scale)
    path = _find(weights)
    shown = stretched(image, exposure or context(image)["exposure"])
    shown = 1 - shown if (str(weights) in BRIGHT if invert is None else invert) else shown
    found = PROCESS.call("predict", image=shown, weights=str(path), scale=scale, **limits)
    own, points = dict(zip(limits, found["thresholds"])), found["points"]
    meta = {"method": "stardist", "weights_sha256": found["sha256"], "device": "cpu"}
    meta |= {name: own[name] if share is None else share for name, share in limits.items()}
    return Prediction(points, found["scores"], float(len(points)), labels=found["labels"], meta=meta)


def _find(weights):
    """Path of published weights (verified) or of a file written by `fit`."""
    if str(weights) in NAMES:
        return registry.local_weights(f"stardist-{weights}")
    return weights_files.existing(weights)


def _check_device(device):
    where = f"device={device!r}: StarDist computes where its TensorFlow does; use 'auto'."
    require(device in ("auto", "cpu"), where, NotAvailableError)


def fit(samples: list[Sample], *, out: str | Path, device: str = "auto", progress: bool = True, **params: Any) -> Path:
    """Train on annotated samples and write the weights: a zip file as StarDist publishes its own.

    Pixels where the annotation cannot be trusted (`Sample.valid`) take no part in the loss. Thresholds are chosen by
    StarDist's own search, on the tiles kept for validation.

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

    settings = Settings.of(params)
    _check_device(device)
    need_packages("StarDist", PACKAGES)
    train, validation = training_tiles(samples, settings)
    described = weights_files.described(settings, samples, {"tiles": len(train[0])}, stardist=version("stardist"))
    with tqdm(total=settings.steps, desc="StarDist", unit="step", disable=not progress, mininterval=1) as bar:

        def step(loss):
            bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
            bar.update()

        asked = {"settings": described["settings"], "out": str(Path(out).resolve())}
        about = {"format": FORMAT} | described
        PROCESS.call("fit", train=train, validation=validation, about=about, on_progress=step, **asked)
    return Path(out)


def about(path: str | Path) -> dict[str, Any]:
    """Settings, samples, losses, thresholds and versions of the training of a file written by `fit`.

    Raises
    ------
    DataError
        If the file is missing, truncated, or of another format.
    """
    try:
        with zipfile.ZipFile(path) as file:
            check_size(file)
            return json.loads(file.read("about.json")) | {"thresholds": json.loads(file.read("thresholds.json"))}
    except (OSError, KeyError, TypeError, ValueError, RecursionError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path}: not a weights file written by `stardist.fit` ({error}).") from error


def status(weights: str | None = None) -> Status:
    """Whether it can segment with these published weights; by default with any of them."""

    def found(name):
        _find(name)
        return f"weights {name}"

    return weights_status(found, [weights] if weights else NAMES, *PACKAGES)
