"""Scores and errors of counts as a function of crowding and cell density."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial import cKDTree

from cellcount.errors import require
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


def windows(
    points: np.ndarray, density: np.ndarray, side: int, region: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Counts in square windows.

    Parameters
    ----------
    points : (N, 2) float32, (y, x) px
    density : (H, W) float, cells per px
        A method's estimate; its sum over a window is the count.
    side : int, px
        Windows of this side cover the image from its top left corner; the remaining border is left out.
    region : (H, W) bool, optional
        Windows with less than half of their area inside it are left out.

    Returns
    -------
    true, predicted : (K,) float
        Cells per window.

    Raises
    ------
    ParameterError
        If no window fits into the image.
    """
    rows, columns = (length // side for length in density.shape)
    require(rows * columns, f"No window of {side} px fits into an image of {density.shape} px.")

    def total(image: np.ndarray) -> np.ndarray:
        cut = image[: rows * side, : columns * side].reshape(rows, side, columns, side)
        return cut.sum(axis=(1, 3), dtype=float).ravel()

    edges = [np.arange(n + 1) * side - 0.5 for n in (rows, columns)]
    true = np.histogramdd(points, bins=edges)[0].ravel()
    kept = np.ones(len(true), bool) if region is None else total(region) >= side**2 / 2
    return true[kept], total(density)[kept]


def by_density(
    density: np.ndarray, true: np.ndarray, predicted: np.ndarray, groups: int = 10
) -> list[dict[str, float]]:
    """Errors in groups of about equally many windows, from the sparsest to the densest.

    Parameters
    ----------
    density : (K,) float
        The windows are ordered by it.
    true, predicted : (K,) float, cells per window
    groups : int
        10 gives deciles.

    Returns
    -------
    list of dict, one for each group that has windows
        group, windows, density (mean), true and predicted (mean, cells), error (mean of predicted - true, cells),
        relative (error over the mean of true; nan where that is 0).
    """
    order = np.argsort(density, kind="stable")
    lines = []
    for group, chosen in enumerate(np.array_split(order, groups)):
        if not len(chosen):
            continue
        means = {"density": density[chosen].mean(), "true": true[chosen].mean(), "predicted": predicted[chosen].mean()}
        error = means["predicted"] - means["true"]
        relative = error / means["true"] if means["true"] else np.nan
        lines.append({"group": group + 1, "windows": len(chosen)} | means | {"error": error, "relative": relative})
    return lines
