"""Does a network that saw an annotator's first pass find the cells that the second pass added?"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from cellcount.data import thesis
from cellcount.methods import cellnet
from cellcount.metrics import match

TOLERANCE = 12.0  # px


def added(first: np.ndarray, second: np.ndarray, reach: float = 1.0) -> np.ndarray:
    """Points of the second pass on which the first has none: not those that it had, but took for dead.

    Parameters
    ----------
    first, second : (N, 2) and (M, 2) float, (y, x) px
        All points of the first pass, dead cells too; the live ones of the second.
    reach : float, px

    Returns
    -------
    (K, 2) float, (y, x) px
    """
    return second[cKDTree(first).query(second)[0] > reach]


def found(
    first: np.ndarray,
    new: np.ndarray,
    predicted: np.ndarray,
    shape: tuple[int, ...],
    *,
    shifts: int = 200,
    seed: int = 0,
) -> dict[str, float]:
    """How many of the added cells were predicted, and how many would be by chance.

    Parameters
    ----------
    first, new, predicted : (N, 2), (K, 2) and (M, 2) float, (y, x) px
        The first pass, what the second added, and a method's answer.
    shape : (H, W), px
    shifts : int
        For chance the added cells are moved to random places on cells of the first pass's surroundings: all by one
        vector, 30 to 80 px long, wrapped at the borders, so often.
    seed : int

    Returns
    -------
    dict
        lone : predictions that match no cell of the first pass;
        added, found : added cells, and those of them that a lone prediction matches;
        recall : found / added; chance : the same for shifted cells;
        explained : share of the lone predictions that are added cells.
    """
    lone = np.delete(predicted, match(first, predicted, TOLERANCE).pairs[:, 1], axis=0)
    hits = match(new, lone, TOLERANCE).tp
    rng = np.random.default_rng(seed)
    by_chance = []
    for _ in range(shifts):
        angle, length = rng.uniform(0, 2 * np.pi), rng.uniform(30, 80)
        moved = np.mod(new + length * np.array([np.sin(angle), np.cos(angle)]), np.array(shape))
        by_chance.append(match(moved.astype(np.float32), lone, TOLERANCE).tp)
    return {
        "lone": len(lone), "added": len(new), "found": hits, "recall": hits / len(new),
        "chance": float(np.mean(by_chance)) / len(new), "explained": hits / max(len(lone), 1),
    }  # fmt: skip


def table(weights: Mapping[str, Path | str], *, device: str = "auto") -> pd.DataFrame:
    """`found` for each weights file trained on the first pass over thesis image 1.

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
        Without the thesis data.
    """
    first = thesis.load(["1"])[0]
    second = thesis.points_plus()
    new = added(np.concatenate([first.points, first.dead]), second.points)
    lines = []
    for label, path in weights.items():
        points = cellnet.predict(first.image, weights=path, device=device, density=False).points
        lines.append({"training": label} | found(first.points, new, points, first.image.shape))
    return pd.DataFrame(lines)
