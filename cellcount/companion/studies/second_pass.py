"""How many of the cells added in an annotator's second pass a network finds that was trained on the first."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from cellcount.companion.studies.annotations import added
from cellcount.data import thesis
from cellcount.methods import cellnet
from cellcount.metrics import match

TOLERANCE = 12.0  # px


def found(
    first: np.ndarray, new: np.ndarray, predicted: np.ndarray, shape: tuple[int, ...], shifts: int = 200, seed: int = 0
) -> dict[str, float]:
    """How many of the added cells were predicted, and how many are expected by chance.

    Parameters
    ----------
    first, new, predicted : (N, 2), (K, 2) and (M, 2) float, (y, x) px
        The first pass, the cells that the second pass added, and predictions.
    shape : (H, W), px
    shifts : int
        Repetitions for chance: all added cells are shifted by one random vector of 30 to 80 px, wrapped at the borders.
    seed : int

    Returns
    -------
    dict
        lone : predictions that match no cell of the first pass;
        added, found : added cells, and those that match a lone prediction;
        recall : found / added; chance : the same for shifted cells, mean;
        explained : share of the lone predictions that match added cells.
    """
    lone = np.delete(predicted, match(first, predicted, TOLERANCE).pairs[:, 1], axis=0)
    hits = match(new, lone, TOLERANCE).tp
    rng = np.random.default_rng(seed)
    by_chance = []
    for _ in range(shifts):
        angle, length = rng.uniform(0, 2 * np.pi), rng.uniform(30, 80)
        moved = np.mod(new + length * np.array([np.sin(angle), np.cos(angle)]), np.array(shape))
        by_chance.append(match(moved.astype(np.float32), lone, TOLERANCE).tp)
    found = {"lone": len(lone), "added": len(new), "found": hits, "recall": hits / len(new)}
    return found | {"chance": float(np.mean(by_chance)) / len(new), "explained": hits / max(len(lone), 1)}


def table(weights: Mapping[str, Path | str], *, device: str = "auto") -> pd.DataFrame:
    """`found` for weights files trained on the first pass over thesis image 1.

    Parameters
    ----------
    weights : dict of label to path
    device : str

    Returns
    -------
    DataFrame with a line for each label

    Raises
    ------
    NotAvailableError
        If the thesis data is not available.
    """
    first = thesis.load(["1"])[0]
    second = thesis.points_plus()
    new = added(np.concatenate([first.points, first.dead]), second.points)
    lines = []
    for label, path in weights.items():
        points = cellnet.predict(first.image, weights=path, device=device, density=False).points
        lines.append({"training": label} | found(first.points, new, points, first.image.shape))
    return pd.DataFrame(lines)
