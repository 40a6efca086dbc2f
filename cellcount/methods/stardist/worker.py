"""The functions that run in StarDist's own process. This module must not import torch."""

import functools
import json
import os
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cellcount.errors import DataError
from cellcount.files import replacing, sha256
from cellcount.methods.pixels import centroids
from cellcount.methods.stardist.process import answer
from cellcount.methods.stardist.settings import check_size
from cellcount.methods.weights_files import cached
from cellcount.types import visible

Part = tuple[Sequence[np.ndarray], Sequence[np.ndarray]]  # images and labels
Report = Callable[[float], None]
FILES = ("config.json", "thresholds.json", "weights_best.h5")
EPOCH = 50  # steps between two validations


def predict(
    image: np.ndarray, weights: str, threshold: float | None, overlap: float | None, scale: float
) -> dict[str, Any]:
    """Instances of one image (H, W) float32, normalised: a dict of arrays, for `cellcount.methods.stardist`."""
    model = _load(weights)
    channels = model.config.n_channel_in
    stacked = image if channels == 1 else np.repeat(image[..., None], channels, axis=2)  # weights for H&E: RGB
    scales = None if scale == 1 else (scale, scale, 1)[: stacked.ndim]
    options = {"axes": "YX" if channels == 1 else "YXC", "prob_thresh": threshold, "nms_thresh": overlap}
    options |= {"n_tiles": None, "show_tile_progress": False, "verbose": False}
    labels, found = model.predict_instances(stacked, scale=scales, **options)
    points = centres(labels, np.asarray(found["points"], np.float32).reshape(-1, 2))
    thresholds = (model.thresholds.prob, model.thresholds.nms)
    answer = {"labels": labels.astype(np.int32), "points": points, "scores": np.asarray(found["prob"], np.float32)}
    return answer | {"thresholds": thresholds, "sha256": sha256(weights)}


def centres(labels: np.ndarray, origins: np.ndarray) -> np.ndarray:
    """(M, 2) float32: centre of mass of mask i + 1, (y, x) px, or the polygon's origin where others hide the mask."""
    seen = visible(labels, len(origins))
    points = origins.copy()
    points[seen] = centroids(labels, np.flatnonzero(seen) + 1)
    return points


@cached(2)
def _load(path):
    """The model of a zip file with a configuration, thresholds and weights, as StarDist publishes its own."""
    from stardist.models import StarDist2D

    _limit_threads()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "model"
        try:
            with zipfile.ZipFile(path) as file:
                check_size(file)
                for name in FILES:  # whatever else is in it
                    file.extract(name, folder)
        except (zipfile.BadZipFile, KeyError, zlib.error) as error:
            raise DataError(f"{path}: not a StarDist model, or truncated ({error}); create it again.") from error
        model = StarDist2D(None, name="model", basedir=scratch)
        model.basedir = None  # so that it writes nothing
        return model


def fit(
    train: Part, validation: Part, settings: Mapping[str, Any], out: str, about: dict[str, Any], report: Report
) -> None:
    """Train, choose the thresholds, write the zip file.

    Parameters
    ----------
    train, validation : (images, labels), lists of (H, W) float32 and int32
        Labels are -1 where the annotation cannot be trusted.
    settings : dict of `cellcount.methods.stardist.Settings`
    out : str
    about : dict
        Written as about.json, with "losses" and "validation_losses", one for each epoch of 50 steps.
    report : function
        Gets the loss after every step.
    """
    import keras
    import tensorflow
    from stardist.models import Config2D, StarDist2D

    _limit_threads()
    keras.utils.set_random_seed(settings["seed"])
    filters, patch, per_epoch = settings["filters"], settings["patch"], min(EPOCH, settings["steps"])
    network = {"n_channel_in": 1, "n_rays": settings["rays"], "grid": (settings["grid"], settings["grid"])}
    network |= {"unet_n_filter_base": filters, "unet_n_depth": settings["depth"], "net_conv_after_unet": 4 * filters}
    steps = {"train_epochs": -(-settings["steps"] // per_epoch), "train_steps_per_epoch": per_epoch}
    steps |= {"train_patch_size": (patch, patch), "train_batch_size": settings["batch"], "train_tensorboard": False}
    rate = {"train_learning_rate": settings["learning_rate"]}
    rate |= {"train_reduce_lr": {"factor": 0.5, "patience": 3, "min_delta": 0}}
    config = Config2D(**network, **steps, **rate)
    with tempfile.TemporaryDirectory() as scratch:
        model = StarDist2D(config, name="model", basedir=scratch)
        model.prepare_for_training()
        step = keras.callbacks.LambdaCallback(on_train_batch_end=lambda _, logs: report(float(logs["loss"])))
        model.callbacks.append(step)
        history = model.train(*train, validation_data=validation, augmenter=_augment, seed=settings["seed"])
        shown = [np.maximum(label, 0) for label in validation[1]]
        model.optimize_thresholds(validation[0], shown, optimize_kwargs={"verbose": 0})
        names = {"losses": "loss", "validation_losses": "val_loss"}
        losses = {name: [round(float(v), 5) for v in history.history[theirs]] for name, theirs in names.items()}
        _pack(Path(scratch) / "model", out, json.dumps(about | losses | {"tensorflow": tensorflow.__version__}))


def _augment(image, label):
    """One of the eight symmetries of the square, with random brightness and contrast."""
    turns = np.random.randint(4)
    image, label = np.rot90(image, turns), np.rot90(label, turns)
    if np.random.rand() < 0.5:
        image, label = image[::-1], label[::-1]
    image = image * np.random.uniform(0.7, 1.3) + np.random.uniform(-0.2, 0.2)
    return np.ascontiguousarray(image), np.ascontiguousarray(label)


def _pack(folder, out, about):
    """One zip file of StarDist's files; the same bytes for the same content."""
    with replacing(out) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as file:
        for name in FILES:
            file.writestr(zipfile.ZipInfo(name), (folder / name).read_bytes(), zipfile.ZIP_DEFLATED)
        file.writestr(zipfile.ZipInfo("about.json"), about, zipfile.ZIP_DEFLATED)


@functools.cache
def _limit_threads():
    """Obey OMP_NUM_THREADS, as torch does; TensorFlow accepts it only before its first operation."""
    import tensorflow

    allowed = os.environ.get("OMP_NUM_THREADS", "")
    if allowed.isdigit() and int(allowed):
        tensorflow.config.threading.set_intra_op_parallelism_threads(int(allowed))
        tensorflow.config.threading.set_inter_op_parallelism_threads(1)


if __name__ == "__main__":
    answer({"predict": predict, "fit": fit})
