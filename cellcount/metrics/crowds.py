"""Scores apart for lonely and for crowded cells."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial import cKDTree

from cellcount.metrics.matching import Matching
from cellcount.metrics.scores import pooled
from cellcount.types import as_points

if TYPE_CHECKING:
    import pandas as pd

RADIUS_PX = 60.0  # some five spacings across: large against a cell, small against a colony


def crowding(at: ArrayLike, cells: ArrayLike, radius: float = RADIUS_PX) -> np.ndarray:
    """Number of cells within `radius` of each place, itself not counted: (M,) int.

    Parameters
    ----------
    at, cells : (M, 2) and (N, 2) float, (y, x) px
    radius : float, px
    """
    at, cells = as_points(at), as_points(cells)
    if not len(cells) or not len(at):
        return np.zeros(len(at), int)
    tree = cKDTree(cells)
    within = np.asarray(tree.query_ball_point(at, radius, return_length=True))
    return within - (tree.query(at)[0] == 0)


def by_crowding(
    true: ArrayLike, predicted: ArrayLike, matching: Matching, edges: ArrayLike, radius: float = RADIUS_PX
) -> pd.DataFrame:
    """Counts of a matching apart for places of different crowding.

    A pair and a missed cell belong to the crowding at the true point, a false one to that at the predicted point; it
    is always measured in true cells.

    Parameters
    ----------
    true, predicted : (N, 2) and (M, 2) float, (y, x) px
    matching : Matching of the two
    edges : (K + 1,) increasing numbers of neighbours; the last class includes its upper edge
    radius : float, px

    Returns
    -------
    DataFrame
        K lines: low, high (neighbours), tp, fp, fn, precision, recall, f1.
    """
    import pandas as pd

    edges = np.asarray(edges, float)
    found, right = matching.pairs.T
    places = {
        "tp": crowding(np.asarray(true)[found], true, radius),
        "fp": crowding(np.delete(predicted, right, axis=0), true, radius),
        "fn": crowding(np.delete(true, found, axis=0), true, radius),
    }
    counts = {name: np.histogram(values, edges)[0] for name, values in places.items()}
    lines = []
    for i, (low, high) in enumerate(zip(edges, edges[1:])):
        line = {name: int(values[i]) for name, values in counts.items()}
        lines.append({"low": low, "high": high} | line | pooled(*([line[name]] for name in ("tp", "fp", "fn"))))
    return pd.DataFrame(lines)
