"""The counting benchmark of the literature, VGG cells, in its usual protocol."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cellcount import results
from cellcount.companion.studies.jobs import cellnet_weights, run_jobs, spread
from cellcount.data import vgg
from cellcount.errors import DataError, require
from cellcount.methods import cellnet
from cellcount.types import Sample

SETTINGS = {  # of CellNet: small overlapping cells, all annotated, counted by their density
    "factor": 1, "widths": [32, 64, 96], "count_weight": 0.3, "crop": 128, "zoom": 1.1, "steps": 3000,
}  # fmt: skip
TOLERANCE = 4.0  # px; half the median distance of neighbours. Only recorded: the benchmark is about counts


def draws(samples: Sequence[Sample], train: int, seed: int) -> tuple[list[Sample], list[Sample]]:
    """One draw of the protocol: training on `train` random images of 001-100, test on 101-200.

    Without images above 100 the others of 001-100 are the test images: cross-validation.

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
    here = f"{len(pool)} of the images 001-100 and {len(test)} of 101-200 are here. Ask for fewer."
    enough = len(pool) >= train + (not test)
    require(enough, f"{train} training images do not leave any test image: {here}", DataError)
    order = np.random.default_rng(seed).permutation(len(pool))
    drawn, others = ([pool[i] for i in sorted(part)] for part in (order[:train], order[train:]))
    return drawn, test or others


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
    """Train on several draws, and count the test images of each.

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
        Settings of CellNet that replace those of `SETTINGS`.

    Returns
    -------
    DataFrame of `results.rows` with a column for each argument of the job
    """
    settings = SETTINGS | params
    asked = {"averaging": 8, "count": "density"}  # the sum of the density, averaged over the eight symmetries

    def work(draw, train, settings, **_):
        drawn, test = draws(samples, train, draw)
        recorded = {"tolerances": [TOLERANCE], "dataset": dataset, "chapter": "vgg", "seed": draw, "parts": 0}
        recorded |= {"parameters": settings | {"train": len(drawn)} | asked}
        frames = []
        with cellnet_weights(drawn, device=device, progress=progress, seed=draw, **settings) as weights:
            for sample in test:
                prediction = results.timed(cellnet.predict, sample.image, weights=weights, device=device, **asked)
                frames.append(results.rows(sample, prediction, **recorded))
        return pd.concat(frames, ignore_index=True)

    jobs = [{"study": "vgg", "train": train, "draw": draw, "settings": settings} for draw in range(draws_n)]
    return spread(run_jobs(jobs, work, out=out, progress=False))


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
    each = whole.groupby(["train", "draw"])[["mae", "error", "of_peaks"]].mean().groupby("train")
    means, images = each.mean(), whole.groupby("train").size() // each.size()
    columns = {"draws": each.size(), "images": images, "mae": means.mae, "sd": each.mae.std(), "bias": means.error}
    return pd.DataFrame(columns | {"mae_peaks": means.of_peaks}).reset_index()
