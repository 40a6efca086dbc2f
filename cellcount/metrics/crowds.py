"""Scores as a function of crowding."""

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

RADIUS_PX = 60.0  # a diameter of about five cell spacings: large compared with a cell, small compared with a colony


def crowding(at: ArrayLike, cells: ArrayLike, radius: float = RADIUS_PX) -> np.ndarray:
    """Number of other cells within `radius` of each position: (M,) int.

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
    """Counts of a matching in classes of crowding.

    Crowding is measured in true cells: around the true point for pairs and missed cells, around the predicted point for
    false ones.

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
    places = matching.split(np.asarray(true), np.asarray(predicted))
    counts = np.array([np.histogram(crowding(at, true, radius), edges)[0] for at in places])
    lines = pd.DataFrame({"low": edges[:-1], "high": edges[1:]} | dict(zip(("tp", "fp", "fn"), counts)))
    return lines.join(pd.DataFrame([pooled(*group) for group in counts.T]))
