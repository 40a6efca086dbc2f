"""CellNet's design, one choice changed at a time under the same budget of training."""

import tempfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cellcount import data, results
from cellcount.companion.studies.jobs import run_jobs, spread
from cellcount.data import phantom
from cellcount.methods import cellnet
from cellcount.metrics import default_tolerance

BASE = "as it is"
VARIANTS = {  # group -> name -> settings that differ from the base
    "base": {BASE: {}},
    "target": {
        "largest instead of sum": {"target": "peak"},
        "repel coding": {"target": "repel"},
        "hills 0.7 as wide": {"sigma": 0.7},  # factors of the base's
        "hills 1.4 as wide": {"sigma": 1.4},
    },
    "loss": {
        "cross-entropy": {"loss": "bce"},
        "focal": {"loss": "focal"},
        "with local counts": {"count_weight": 0.3},
    },
    "resolution": {
        "half the pixels seen": {"detail": 1},
        "heatmap twice as fine": {"factor": 1, "detail": 1},
        "heatmap twice as coarse": {"factor": 4, "detail": 4},
    },
    "augmentation": {
        "no scaling": {"zoom": 1.0},
        "no contrast": {"contrast": 1.0},
    },
    "labels": {"clicks mended": {"rounds": 3}},
    "encoder": {
        "resnet18": {"encoder": "resnet18", "detail": 1},
        "mobilenet_v2": {"encoder": "mobilenet_v2", "detail": 1},
        "mit_b0": {"encoder": "mit_b0", "detail": 1},
        "efficientnet_lite0": {"encoder": "tu-efficientnet_lite0", "detail": 1},
        "efficientnet_lite0, ImageNet": {"encoder": "tu-efficientnet_lite0", "detail": 1, "imagenet": True},
    },
}
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
    """Train every variant on every fold of a data set, and test it.

    On the phantom the network is trained on what a simulated annotator clicked, with all of his faults, and tested on
    the true cells.

    Parameters
    ----------
    out : path of the CSV to write
    dataset : str
        "phantom", "thesis", or whatever else `data.load` knows.
    variants : list of names in `VARIANTS`, or None for all
    seed : int
    device : str
    fields : int or None
        At most so many training and test fields of each fold.
    progress : bool
    params
        Settings of CellNet, before those of `SETTINGS`.

    Returns
    -------
    DataFrame of `results.rows` with a column for each argument of the job, and `averaging`, `share` (of the network's
    own threshold), `counted` (by the sum of the density; cells), `train_seconds`, `parameters_million`.
    """
    known = {name: changed for group in VARIANTS.values() for name, changed in group.items()}
    settings = SETTINGS | params

    def work(variant, dataset, seed, settings, fields, **_):
        samples = [s for s in data.load(dataset) if s.points is not None]
        frames = []
        for train, test in data.folds(samples):
            train, test = train[:fields], test[:fields]
            if dataset == "phantom":
                train = [phantom.annotate(s, seed + i) for i, s in enumerate(train)]
            changed = _relative(known[variant], settings, train)
            frames.append(_train_and_test(train, test, settings | changed, dataset, seed, device, variant == BASE))
        return pd.concat(frames, ignore_index=True)

    jobs = [
        {"study": "design", "variant": name, "dataset": dataset, "seed": seed, "settings": settings, "fields": fields}
        for name in variants or known
    ]
    return spread(run_jobs(jobs, work, out=out, progress=progress))


def _relative(changed, settings, train):
    """A variant's settings, with sigma as a factor of what the base takes from the training fields."""
    from cellcount.methods.cellnet.settings import settings_from

    if "sigma" not in changed:
        return changed
    base = settings_from(settings).filled(train).sigma
    return changed | {"sigma": round(changed["sigma"] * base, 3)}


def _train_and_test(train, test, settings, dataset, seed, device, averages):
    """Rows of one training: at shares of its threshold, and (`averages`) for averages over symmetries."""
    frames = []
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "design.safetensors"
        with results.stopwatch() as watch:
            cellnet.fit(train, out=weights, start=None, device=device, progress=False, seed=seed, **settings)
        about = cellnet.about(weights)
        own = about["settings"]["threshold"]
        for sample in test:
            tolerance = float(round(default_tolerance(sample.points)))
            for averaging in AVERAGING if averages else (1,):
                lowest = results.timed(
                    cellnet.predict, sample.image, weights=weights, device=device, threshold=min(SHARES) * own,
                    averaging=averaging,
                )  # fmt: skip
                for share in SHARES:
                    prediction = _above(lowest, share * own)
                    rows = results.rows(
                        sample, prediction, tolerances=[tolerance], dataset=dataset, parameters=settings,
                        chapter="design", seed=seed, parts=0,
                    )  # fmt: skip
                    density = np.nan if prediction.density is None else float(prediction.density.sum(dtype=float))
                    frames.append(
                        rows.assign(
                            averaging=averaging, share=share, counted=density, train_seconds=round(watch.seconds, 1),
                            parameters_million=round(about["parameters"] / 1e6, 2),
                        )
                    )  # fmt: skip
    return pd.concat(frames, ignore_index=True)


def _above(prediction, threshold):
    """The prediction that a higher threshold gives: peaks do not depend on it, only which of them are kept."""
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
        group, variant, f1_near, f1_whole (pooled over fields), f1_best (near, at the best of `SHARES`: what another
        threshold could add), count_error, density_error (summed over fields, relative), millions of parameters,
        seconds of training and of one image.
    """
    groups = {name: group for group, names in VARIANTS.items() for name in names}
    frame = frame[frame.averaging == 1]
    lines = []
    for variant, rows in frame.groupby("variant", sort=False):
        near, whole = rows[rows.reading == "near"], rows[(rows.reading == "whole") & (rows.share == 1)]
        f1 = {share: _f1(part) for share, part in near.groupby("share")}
        lines.append(
            {"group": groups[variant], "variant": variant, "f1_near": f1[1.0], "f1_whole": _f1(whole)}
            | {"f1_best": max(f1.values()), "count_error": whole["count"].sum() / whole.n_true.sum() - 1}
            | {"density_error": whole.counted.sum(min_count=1) / whole.n_true.sum() - 1}
            | {"parameters_million": rows.parameters_million.iloc[0], "train_seconds": rows.train_seconds.mean()}
            | {"seconds": whole.seconds.median()}
        )
    return pd.DataFrame(lines)


def averaging_table(frame: pd.DataFrame) -> pd.DataFrame:
    """F1 near annotations (pooled, own threshold) and median seconds for each number of symmetries averaged over.

    frame : DataFrame of `ablation` -> DataFrame with averaging, f1_near, f1_whole, seconds
    """
    own = frame[(frame.variant == BASE) & (frame.share == 1)]
    return pd.DataFrame(
        [
            {
                "averaging": n,
                "f1_near": _f1(rows[rows.reading == "near"]),
                "f1_whole": _f1(rows[rows.reading == "whole"]),
            }
            | {"seconds": rows.seconds.median()}
            for n, rows in own.groupby("averaging")
        ]
    )


def _f1(rows):
    tp, fp, fn = (rows[name].sum() for name in ("tp", "fp", "fn"))
    return 2 * tp / (2 * tp + fp + fn)
