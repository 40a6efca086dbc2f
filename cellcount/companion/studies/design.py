"""CellNet's design, one choice changed at a time under the same budget of training."""

import itertools
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cellcount import data, results
from cellcount.companion.studies.jobs import cellnet_weights, run_jobs, spread
from cellcount.data import phantom
from cellcount.methods import cellnet
from cellcount.metrics import default_tolerance, f1

BASE = "as it is"
VARIANTS = {  # group -> name -> settings that differ from the base; sigma as a factor of the base's
    "base": {BASE: {}},
    "target": {
        "largest instead of sum": {"target": "peak"},
        "repel coding": {"target": "repel"},
        "hills 0.7 as wide": {"sigma": 0.7},
        "hills 1.4 as wide": {"sigma": 1.4},
    },
    "loss": {"cross-entropy": {"loss": "bce"}, "focal": {"loss": "focal"}, "with local counts": {"count_weight": 0.3}},
    "resolution": {
        "half the pixels seen": {"detail": 1},
        "heatmap twice as fine": {"factor": 1, "detail": 1},
        "heatmap twice as coarse": {"factor": 4, "detail": 4},
    },
    "augmentation": {"no scaling": {"zoom": 1.0}, "no contrast": {"contrast": 1.0}},
    "labels": {"clicks mended": {"rounds": 3}},
    "encoder": {
        "resnet18": {"encoder": "resnet18", "detail": 1},
        "mobilenet_v2": {"encoder": "mobilenet_v2", "detail": 1},
        "mit_b0": {"encoder": "mit_b0", "detail": 1},
        "efficientnet_lite0": {"encoder": "tu-efficientnet_lite0", "detail": 1},
        "efficientnet_lite0, ImageNet": {"encoder": "tu-efficientnet_lite0", "detail": 1, "imagenet": True},
    },
}
SETTINGS_OF = {name: changed for group in VARIANTS.values() for name, changed in group.items()}
SETTINGS = {"factor": 2, "detail": 2, "crop": 128, "batch": 8, "steps": 400}
SHARES = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)  # of the network's own threshold
AVERAGING = (1, 2, 4, 8)


def ablation(
    *,
    out: Path | str,
    dataset: str = "phantom",
    variants: Iterable[str] | None = None,
    seed: int = 0,
    device: str = "auto",
    fields: int | None = None,
    progress: bool = True,
    **params: Any,
) -> pd.DataFrame:
    """Train and test every variant on every fold of a data set.

    On the phantom the network is trained on the faulty points of a simulated annotator, and tested on the true cells.

    Parameters
    ----------
    out : path of the CSV to write
    dataset : str
        "phantom", "thesis", or another name or folder for `data.load`.
    variants : list of names in `VARIANTS`, or None for all
    seed : int
    device : str
    fields : int or None
        At most so many training and test fields of each fold.
    progress : bool
    params
        Settings of CellNet that replace those of `SETTINGS`.

    Returns
    -------
    DataFrame of `results.rows` with a column for each argument of the job, and `averaging`, `share` (of the network's
    own threshold), `counted` (by the sum of the density; cells), `train_seconds`, `parameters_million`.
    """
    settings = SETTINGS | params

    def work(variant, dataset, seed, settings, fields, **_):
        samples = [s for s in data.load(dataset) if s.points is not None]
        frames = []
        for train, test in data.folds(samples):
            train, test = train[:fields], test[:fields]
            if dataset == "phantom":
                train = [phantom.annotate(s, seed + i) for i, s in enumerate(train)]
            averaging, own = AVERAGING if variant == BASE else (1,), _settings(variant, settings, train)
            frames += _train_and_test(train, test, own, dataset, seed, device, averaging)
        return pd.concat(frames, ignore_index=True)

    common = {"study": "design", "dataset": dataset, "seed": seed, "settings": settings, "fields": fields}
    jobs = [common | {"variant": name} for name in variants or SETTINGS_OF]
    return spread(run_jobs(jobs, work, out=out, progress=progress))


def _settings(variant, settings, train):
    """The settings of a variant, with sigma as a factor of what the base takes from the training fields."""
    from cellcount.methods.cellnet.settings import Settings

    changed = SETTINGS_OF[variant]
    if "sigma" in changed:
        changed = {"sigma": round(changed["sigma"] * Settings.of(settings).filled(train).sigma, 3)}
    return settings | changed


def _train_and_test(train, test, settings, dataset, seed, device, averages):
    """Rows of one training: at shares of its threshold, averaged over several numbers of symmetries."""
    frames = []
    recorded = {"dataset": dataset, "parameters": settings, "chapter": "design", "seed": seed, "parts": 0}
    started = time.perf_counter()
    with cellnet_weights(train, device=device, progress=False, seed=seed, **settings) as weights:
        about = cellnet.about(weights)
        own = about["settings"]["threshold"]
        trained = {"train_seconds": round(time.perf_counter() - started, 3)}
        trained |= {"parameters_million": round(about["parameters"] / 1e6, 2)}
        for sample, averaging in itertools.product(test, averages):
            asked = {"weights": weights, "device": device, "threshold": min(SHARES) * own, "averaging": averaging}
            lowest = results.timed(cellnet.predict, sample.image, **asked)
            tolerances = [float(round(default_tolerance(sample.points)))]
            density = np.nan if lowest.density is None else float(lowest.density.sum(dtype=float))
            for share in SHARES:
                rows = results.rows(sample, _above(lowest, share * own), tolerances=tolerances, **recorded)
                frames.append(rows.assign(averaging=averaging, share=share, counted=density, **trained))
    return frames


def _above(prediction, threshold):
    """The prediction at a higher threshold, which only removes peaks."""
    kept = prediction.scores >= threshold
    return replace(prediction, points=prediction.points[kept], scores=prediction.scores[kept], count=float(kept.sum()))


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """One line for each variant, at its own threshold and without averaging.

    Parameters
    ----------
    frame : DataFrame of `ablation`

    Returns
    -------
    DataFrame
        group, variant, f1_near, f1_whole (pooled over fields), f1_best (near annotations, at the best of `SHARES`),
        count_error, density_error (of counts summed over fields, relative), millions of parameters, seconds of
        training and of one image.
    """
    groups = {name: group for group, names in VARIANTS.items() for name in names}
    lines = []
    for variant, rows in frame[frame.averaging == 1].groupby("variant", sort=False):
        near, whole = rows[rows.reading == "near"], rows[(rows.reading == "whole") & (rows.share == 1)]
        scores = {share: _f1(part) for share, part in near.groupby("share")}
        line = {"group": groups[variant], "variant": variant}
        line |= {"f1_near": scores[1.0], "f1_whole": _f1(whole), "f1_best": max(scores.values())}
        counts = {"count_error": whole["count"].sum(), "density_error": whole.counted.sum(min_count=1)}
        line |= {name: count / whole.n_true.sum() - 1 for name, count in counts.items()}
        line |= {"parameters_million": rows.parameters_million.iloc[0], "train_seconds": rows.train_seconds.mean()}
        lines.append(line | {"seconds": whole.seconds.median()})
    return pd.DataFrame(lines)


def averaging_table(frame: pd.DataFrame) -> pd.DataFrame:
    """F1 of the base, pooled at its own threshold, for each number of symmetries averaged over.

    frame : DataFrame of `ablation` -> DataFrame with averaging, f1_near, f1_whole, seconds (median of an image)
    """
    lines = []
    for averaging, rows in frame[(frame.variant == BASE) & (frame.share == 1)].groupby("averaging"):
        scores = {f"f1_{reading}": _f1(rows[rows.reading == reading]) for reading in ("near", "whole")}
        lines.append({"averaging": averaging} | scores | {"seconds": rows.seconds.median()})
    return pd.DataFrame(lines)


def _f1(rows):
    return f1(*rows[["tp", "fp", "fn"]].sum())
