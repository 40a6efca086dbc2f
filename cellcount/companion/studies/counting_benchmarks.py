"""The counting benchmarks of the literature, VGG cells, MBM and ADI, in their usual protocols and by one rule.

The rule: CellNet is trained from scratch at full resolution with `SETTINGS`. The width of its peaks follows the spacing
of the dots in the training images (`cellnet.Settings.filled`). The count is the sum of its density, averaged over
eight symmetries and scaled to the dots of the training images (`ASKED`). Nothing depends on the benchmark but the
channel, which depends on the stain, and no test image is used before it is tested.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from cellcount import results
from cellcount.companion.studies.jobs import cellnet_weights, run_jobs, spread
from cellcount.data import vgg
from cellcount.data.folder import load_folder
from cellcount.errors import DataError, one_of, require
from cellcount.methods import cellnet
from cellcount.types import Sample

SETTINGS = {  # of CellNet: small overlapping cells, all annotated, counted by their density
    "factor": 1, "widths": [32, 64, 96], "count_weight": 0.3, "crop": 128, "zoom": 1.1, "steps": 3000,
}  # fmt: skip
ASKED = {"averaging": 8, "count": "density"}  # the sum of the density, averaged over the eight symmetries


@dataclass(frozen=True)
class Protocol:
    """A benchmark as the literature uses it.

    Attributes
    ----------
    title : str
    images : int, as published
    size : (height, width) px of each
    cells : mean and standard deviation of the cells in an image
    train : int, usual training images in a draw, N
    files : str, an image and its dots
    tested : str, the test images of a draw
    channel : str, see `cellcount.io.images.read_image`
    tolerance : float, px; points are only recorded, the benchmark is about counts
    published : tuple of (label, N, mean absolute error in cells)
        Of MBM and ADI those of Mohammed & Tavanapong 2026 (PMLR 333:688-702), Table 2, and before pruning Table 4.
    """

    title: str
    images: int
    size: tuple[int, int]
    cells: tuple[float, float]
    train: int
    files: str
    tested: str
    channel: str
    tolerance: float
    published: tuple[tuple[str, int, float], ...]

    @property
    def record(self) -> tuple[str, int, float]:
        """The lowest of these published errors: (label, N, cells)."""
        return min(self.published, key=lambda one: one[2])


PROTOCOLS = {
    "vgg": Protocol(
        "VGG cells", 200, (256, 256), (174, 64), 50, "001cell.png, 001dots.png", "101-200", vgg.CHANNEL, 4.0,
        (
            ("Lempitsky & Zisserman 2010", 32, 3.5),
            ("FCRN-A, Xie et al. 2018", 32, 2.9),
            ("FCRN-A, Xie et al. 2018", 64, 2.9),
            ("U-Net, Falk et al. 2019", 64, 2.8),
            ("Count-ception, Cohen et al. 2017", 32, 2.4),
            ("Count-ception, Cohen et al. 2017", 50, 2.3),
        ),
    ),
    # Nuclei, blue by hematoxylin, on pink: hematoxylin absorbs red and green light, eosin green light (Ruifrok &
    # Johnston 2001). So only in red are nuclei dark and the rest bright.
    "mbm": Protocol(
        "MBM", 44, (600, 600), (126, 33), 15, "X_000.png, X_dots_000.png", "all others", "red", 12.0,
        (("CSRNet", 15, 6.19), ("CountXplain", 15, 6.94), ("Proto4DME", 15, 5.83)),
    ),
    # Pale adipocytes between membranes, pink by eosin: those absorb green light only.
    "adi": Protocol(
        "ADI", 200, (150, 150), (165, 44), 50, "images/X.jpeg, annotations/X.jpeg", "all others", "green", 4.0,
        (("CSRNet", 50, 12.37), ("CountXplain", 50, 7.71), ("Proto4DME", 50, 10.01)),
    ),
}  # fmt: skip


def load(name: str, folder: Path | str | None = None) -> tuple[list[Sample], list[str]]:
    """The images of a benchmark, and what about them is not as published.

    Parameters
    ----------
    name : "vgg", "mbm" or "adi"
    folder : path
        As published, or with any annotations that `cellcount data check` knows. None: VGG cells, fetched.

    Returns
    -------
    samples : list of Sample
        Those with annotations. `split` is "train", of which draws are made, but for VGG cells 101-200: "test".
    notes : list of str
        A sentence for each difference.

    Raises
    ------
    ParameterError
        If the name is unknown, or no folder is given for MBM or ADI.
    DataError
        If the folder has errors, such as dots without an image or of another size, or only regions are annotated.
    """
    one_of(name, PROTOCOLS, "benchmark")
    protocol = PROTOCOLS[name]
    if name == "vgg":
        samples = vgg.load(folder=folder)
    else:
        require(folder is not None, f"{protocol.title} is not fetched: give its folder ({protocol.files}).")
        assert folder is not None
        samples = [replace(sample, split="train") for sample in load_folder(folder, protocol.channel)]
    known = [sample for sample in samples if sample.points is not None]
    partly = ", ".join(sample.name for sample in known if not sample.valid.all())
    require(not partly, f"{folder}: a count needs the whole image annotated, not parts, as of {partly}.", DataError)
    sizes = [f"{s.name} ({s.image.shape[1]} x {s.image.shape[0]})" for s in known if s.image.shape != protocol.size]
    notes, published = [], f"{protocol.size[1]} x {protocol.size[0]} px were published"
    if len(known) != protocol.images:
        bare = f", and {len(samples) - len(known)} without dots, left out" if len(samples) > len(known) else ""
        notes.append(f"{len(known)} images with dots are here{bare}; {protocol.images} were published.")
    elif abs(np.mean(counts := [len(sample.points) for sample in known]) / protocol.cells[0] - 1) > 0.02:
        said = "{:.0f} ± {:.0f}".format
        here = f"{said(np.mean(counts), np.std(counts))} cells in an image were found"
        notes.append(f"{here}; {said(*protocol.cells)} were published. Are all dots read?")
    if name == "vgg" and not any(sample.split == "test" for sample in known):
        notes.append("None of 101-200 is here: the others of 001-100 are tested, which is not the usual protocol.")
    if sizes:
        notes.append(f"{len(sizes)} images have another size than published, such as {sizes[0]}; {published}.")
    return known, notes


def draws(samples: Sequence[Sample], train: int, seed: int) -> tuple[list[Sample], list[Sample]]:
    """One draw of a protocol: training on `train` random images of the split "train", test on those of "test".

    Without test images (MBM, ADI, only 001-100 of VGG cells) the others of the split "train" are tested.

    Parameters
    ----------
    samples : list of Sample
        Of `load`.
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
    here = f"{len(pool)} images to draw from and {len(test)} other test images are here. Ask for fewer."
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
    protocol: str = "vgg",
    dataset: str = "",
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
    protocol : a name of `PROTOCOLS`
    dataset : str
        Recorded; that of the protocol by default.
    device : str
    progress : bool
    params
        Settings of CellNet that replace those of `SETTINGS`.

    Returns
    -------
    DataFrame of `results.rows` with a column for each argument of the job

    Raises
    ------
    DataError
        If there are too few images, or `out` has these draws with other test images.
    """
    settings = SETTINGS | params
    dataset = dataset or (vgg.NAME if protocol == "vgg" else protocol)
    recorded = {"tolerances": [PROTOCOLS[protocol].tolerance], "dataset": dataset, "chapter": protocol, "parts": 0}

    def work(draw, train, settings, **_):
        drawn, test = draws(samples, train, draw)
        about = recorded | {"seed": draw, "parameters": settings | {"train": len(drawn)} | ASKED}
        frames = []
        with cellnet_weights(drawn, device=device, progress=progress, seed=draw, **settings) as weights:
            for sample in tqdm(test, desc="test images", unit="image", delay=2, disable=not progress):
                prediction = results.timed(cellnet.predict, sample.image, weights=weights, device=device, **ASKED)
                frames.append(results.rows(sample, prediction, **about))
        return pd.concat(frames, ignore_index=True)

    jobs = [{"study": protocol, "train": train, "draw": draw, "settings": settings} for draw in range(draws_n)]
    tests = {job["draw"]: {sample.name for sample in draws(samples, train, job["draw"])[1]} for job in jobs}
    frame = spread(run_jobs(jobs, work, out=out, progress=False))
    other = [draw for draw, rows in frame.groupby("draw") if set(rows.image) != tests[draw]]
    require(not other, f"{out} has rows of other test images. Choose another file with --out.", DataError)
    return frame


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


def protocols() -> pd.DataFrame:
    """The table of the protocols, one line for each."""
    return pd.DataFrame(
        {
            "benchmark": one.title,
            "images": one.images,
            "size (px)": f"{one.size[1]} x {one.size[0]}",
            "cells": f"{one.cells[0]:.0f} ± {one.cells[1]:.0f}",
            "files": one.files,
            "channel": one.channel,
            "N": one.train,
            "tested": one.tested,
        }
        for one in PROTOCOLS.values()
    )
