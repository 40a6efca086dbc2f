"""Errors of counts as a function of cell density."""

import numpy as np

from cellcount.errors import require


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
