"""The counting benchmark of the literature, VGG cells, in its usual protocol."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cellcount import results
from cellcount.companion.studies.jobs import run_jobs, spread
from cellcount.data import vgg
from cellcount.errors import DataError
from cellcount.methods import cellnet
from cellcount.types import Sample

SETTINGS = {  # of CellNet: small cells, overlapping, all of them annotated, counted by their density
    "factor": 1, "widths": [32, 64, 96], "count_weight": 0.3, "crop": 128, "zoom": 1.1, "steps": 3000,
}  # fmt: skip
TOLERANCE = 4.0  # px; half of the median distance of neighbours. Recorded only: the benchmark is about counts


def draws(samples: Sequence[Sample], train: int, seed: int) -> tuple[list[Sample], list[Sample]]:
    """One draw of the protocol: `train` of images 001-100 at random, tested on 101-200.

    Without images above 100 it is tested on those of 001-100 that were not drawn: cross-validation.

    Parameters
    ----------
    samples : list of Sample
        Of `data.vgg.load`.
    train : int
    seed : int

    Returns
    -------
    (train, test), each a list of Sample

    Raises
    ------
    DataError
        If there are too few images.
    """
    pool = [sample for sample in samples if sample.split == "train"]
    test = [sample for sample in samples if sample.split == "test"]
    if len(pool) < train or (not test and len(pool) == train):
        raise DataError(
            f"{train} training images asked for, and {len(pool)} of 001-100 and {len(test)} of 101-200 are here: "
            "some must be left to test on."
        )
    chosen = set(np.random.default_rng(seed).permutation(len(pool))[:train].tolist())
    drawn = [sample for i, sample in enumerate(pool) if i in chosen]
    return drawn, test or [sample for i, sample in enumerate(pool) if i not in chosen]


def bench(
    samples: Sequence[Sample],
    *,
    train: int,
    draws_n: int,
    out: Path | str,
    dataset: str = vgg.NAME,
    device: str = "auto",
    progress: bool = True,
    **params: Any,
) -> pd.DataFrame:
    """Train on several draws, and count.

    Parameters
    ----------
    samples : list of Sample
    train : int
        Images in a draw, N in the literature's tables.
    draws_n : int
        Draws, with the seeds 0, 1, ...
    out : path of the CSV to write
    dataset : str
        Recorded.
    device : str
    params
        Settings of CellNet, before those of `SETTINGS`.

    Returns
    -------
    DataFrame of `results.rows` with a column for each argument of the job
    """
    settings = SETTINGS | params

    def work(draw, **job):
        return _draw(samples, job["train"], draw, settings, dataset, device, progress)

    jobs = [{"study": "vgg", "train": train, "draw": draw, "settings": settings} for draw in range(draws_n)]
    return spread(run_jobs(jobs, work, out=out, progress=False))


def _draw(samples, train, draw, settings, dataset, device, progress):
    """Rows of one draw: every test image counted by the sum of its density, averaged over the eight symmetries."""
    drawn, test = draws(samples, train, draw)
    frames = []
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "vgg.safetensors"
        cellnet.fit(drawn, out=weights, start=None, device=device, progress=progress, seed=draw, **settings)
        for sample in test:
            prediction = results.timed(
                cellnet.predict, sample.image, weights=weights, device=device, averaging=8, count="density"
            )
            described = settings | {"train": len(drawn), "averaging": 8, "count": "density"}
            frames.append(
                results.rows(
                    sample, prediction, tolerances=[TOLERANCE], dataset=dataset, parameters=described, chapter="vgg",
                    seed=draw, parts=0,
                )
            )  # fmt: skip
    return pd.concat(frames, ignore_index=True)


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """Mean absolute error of each draw, and their mean and spread.

    Parameters
    ----------
    frame : DataFrame of `bench`

    Returns
    -------
    DataFrame
        One line for each number of training images: train, draws, images (tested, per draw), mae (mean over draws,
        cells), sd (of the draws' MAE, cells), bias (cells), mae_peaks (cells, counting peaks instead).
    """
    whole = frame[(frame.reading == "whole") & (frame.part == "all")]
    whole = whole.assign(error=whole["count"] - whole.n_true, of_peaks=(whole.n_pred - whole.n_true).abs())
    whole["mae"] = whole.error.abs()
    lines = []
    for train, group in whole.groupby("train"):
        each = group.groupby("draw")[["mae", "error", "of_peaks"]].mean()
        lines.append(
            {"train": train, "draws": len(each), "images": len(group) // len(each), "mae": each.mae.mean()}
            | {"sd": each.mae.std(), "bias": each.error.mean(), "mae_peaks": each.of_peaks.mean()}
        )
    return pd.DataFrame(lines)
