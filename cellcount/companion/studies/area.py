"""Counting by area, window by window: what one constant gets wrong, and where.

`cellcount bench windows` measures thesis images 1 and 2. The file holds cells and areas per window; every score is computed from these.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from cellcount import data
from cellcount.methods.foreground import FOREGROUNDS, foreground
from cellcount.metrics import by_density, covered, windows
from cellcount.types import Sample

SIDE = 128  # px of a window: about 20 cells where they are dense
FIELDS = ("1", "2")  # of the thesis, all that is annotated on every machine
TRUE = "true foreground"


def measure(
    samples: Sequence[Sample],
    names: Iterable[str],
    *,
    side: int = SIDE,
    parameters: Mapping[str, Mapping[str, Any]] | None = None,
) -> pd.DataFrame:
    """Cells and foreground in square windows.

    Parameters
    ----------
    samples : list of Sample with points
    names : keys of `cellcount.methods.foreground.FOREGROUNDS`, or TRUE for the one that simulated fields have
    side : int, px
        Windows of this side cover each image from its top left; what does not fill one is left out.
    parameters : dict of name to dict, optional
        For `foreground`.

    Returns
    -------
    DataFrame
        One line for each window and foreground: image, foreground, row, column, cells, area (px of foreground),
        valid (share of the window where the annotation is trusted).
    """
    frames = []
    for sample in samples:
        columns = sample.image.shape[1] // side
        _, valid = windows(sample.points, sample.valid, side)
        for name in names:
            own = (parameters or {}).get(name, {})
            mask = covered(sample) if name == TRUE else foreground(sample.image, name, **own)
            cells, area = windows(sample.points, mask, side)
            place = np.arange(len(cells))
            frames.append(
                pd.DataFrame(
                    {
                        "image": sample.name, "foreground": name, "row": place // columns, "column": place % columns,
                        "cells": cells.astype(int), "area": area.astype(int), "valid": (valid / side**2).round(3),
                    }
                )
            )  # fmt: skip
    return pd.concat(frames, ignore_index=True)


def trusted(frame: pd.DataFrame, least: float = 0.5) -> pd.DataFrame:
    """Lines of `measure` for windows of which at least such a share is annotated."""
    return frame[frame.valid >= least]


def constant(frame: pd.DataFrame) -> float:
    """Cells per px of foreground, over all lines."""
    return frame.cells.sum() / frame.area.sum()


def estimated(fitted: pd.DataFrame, scored: pd.DataFrame) -> pd.DataFrame:
    """`scored` with a column `estimate`, the cells by the constant of `fitted`.

    Parameters
    ----------
    fitted, scored : DataFrame of `measure`
        Of one foreground, and of different images: else errors cancel.

    Returns
    -------
    DataFrame
    """
    return scored.assign(estimate=constant(fitted) * scored.area)


def deciles(frame: pd.DataFrame, *, side: int = SIDE, groups: int = 10) -> list[dict[str, float]]:
    """Errors of the count from the sparsest to the densest tenth of the windows.

    Parameters
    ----------
    frame : DataFrame of `estimated`
    side : int, px
        Of the windows.
    groups : int

    Returns
    -------
    list of dict, as of `cellcount.metrics.by_density`
    """
    cells = frame.cells.to_numpy(float)
    return by_density(cells / side**2, cells, frame.estimate.to_numpy(float), groups)


def merged(frame: pd.DataFrame, rows: int, columns: int) -> pd.DataFrame:
    """Lines of `measure` with `rows` x `columns` windows made one; those that do not fill one are left out.

    The valid share is that of the merged window.
    """
    frame = frame.assign(row=frame.row // rows, column=frame.column // columns)
    groups = frame.groupby(["image", "foreground", "row", "column"], sort=False)
    lines = groups.agg(cells=("cells", "sum"), area=("area", "sum"), valid=("valid", "mean"), windows=("area", "size"))
    return lines[lines.windows == rows * columns].drop(columns="windows").reset_index()


def mean_error(fitted: pd.DataFrame, scored: pd.DataFrame) -> float:
    """Mean over windows of |estimate - cells| / cells, the constant being the mean of the fitted windows' densities.

    That is how the thesis' script computed both.
    """
    scored, fitted = (frame[(frame.cells > 0) & (frame.area > 0)] for frame in (scored, fitted))
    density = (fitted.cells / fitted.area).mean()
    return float((abs(density * scored.area - scored.cells) / scored.cells).mean())


def measure_thesis() -> pd.DataFrame:
    """`measure` of the thesis' images `FIELDS`, fetched if need be."""
    return measure(data.load("thesis", names=FIELDS), FOREGROUNDS)
