"""Counting by area in windows: the errors of one constant of cells per area, from sparse to dense.

`cellcount bench windows` writes cells and areas of thesis images 1 and 2; all scores are computed from them.
`cellcount bench flasks` measures the covered area of all 34 fields, beside the counting device's count of their flask.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from cellcount.data import thesis
from cellcount.methods.foreground import FOREGROUNDS, foreground
from cellcount.methods.pixels import block_mean, enlarged, nearest
from cellcount.metrics import by_density, covered, windows
from cellcount.types import Sample

SIDE = 128  # px of a window, which holds about 20 cells where they are dense
FIELDS = ("1", "2")  # thesis images whose annotation is on every machine
TRUE = "true foreground"
UNPROMPTED = [name for name, kind in FOREGROUNDS.items() if not kind.prompted]
REFERENCE = 20  # the objective for which the foregrounds' widths in px were chosen


def measure(
    samples: Sequence[Sample], names: Iterable[str], *, side: int = SIDE, parameters: Mapping[str, Any] = {}
) -> pd.DataFrame:
    """Cells and foreground in square windows.

    Parameters
    ----------
    samples : list of Sample with points
    names : keys of `cellcount.methods.foreground.FOREGROUNDS`, or TRUE for the one that simulated fields have
    side : int, px
        Of the windows, which cover each image from its top left; incomplete ones are left out.
    parameters : dict of name to dict, optional
        Of each foreground.

    Returns
    -------
    DataFrame
        One line for each window and foreground: image, foreground, row, column, cells, area (px of foreground),
        valid (share of the window in the trusted region).
    """
    frames = []
    for sample in samples:
        columns = sample.image.shape[1] // side
        _, valid = windows(sample.points, sample.valid, side)
        for name in names:
            params = parameters.get(name, {})
            mask = covered(sample) if name == TRUE else foreground(sample.image, name, **params)
            cells, area = windows(sample.points, mask, side)
            place = np.arange(len(cells))
            found = {"image": sample.name, "foreground": name, "row": place // columns, "column": place % columns}
            found |= {"cells": cells.astype(int), "area": area.astype(int), "valid": (valid / side**2).round(3)}
            frames.append(pd.DataFrame(found))
    return pd.concat(frames, ignore_index=True)


def trusted(frame: pd.DataFrame, least: float = 0.5) -> pd.DataFrame:
    """Lines of `measure` of windows with at least such a share of trusted region."""
    return frame[frame.valid >= least]


def constant(frame: pd.DataFrame) -> float:
    """Cells per px of foreground, over all lines."""
    return frame.cells.sum() / frame.area.sum()


def estimated(fitted: pd.DataFrame, scored: pd.DataFrame) -> pd.DataFrame:
    """`scored` with a column `estimate`, the cells by the constant of `fitted`.

    Parameters
    ----------
    fitted, scored : DataFrame of `measure`
        Of one foreground and of different images; on the same image errors cancel.

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
    """Lines of `measure` for larger windows of `rows` x `columns` windows; incomplete ones are left out."""
    frame = frame.assign(row=frame.row // rows, column=frame.column // columns)
    groups = frame.groupby(["image", "foreground", "row", "column"], sort=False)
    lines = groups.agg(cells=("cells", "sum"), area=("area", "sum"), valid=("valid", "mean"), windows=("area", "size"))
    return lines[lines.windows == rows * columns].drop(columns="windows").reset_index()


def mean_error(fitted: pd.DataFrame, scored: pd.DataFrame) -> float:
    """Mean over windows of |estimate - cells| / cells, with the mean density of the fitted windows as the constant.

    The thesis' script computes both like this; windows without cells or foreground are left out.
    """
    scored, fitted = (frame[(frame.cells > 0) & (frame.area > 0)] for frame in (scored, fitted))
    density = (fitted.cells / fitted.area).mean()
    return float((abs(density * scored.area - scored.cells) / scored.cells).mean())


def measure_thesis() -> pd.DataFrame:
    """`measure` of the thesis' images `FIELDS`, which are fetched if necessary."""
    return measure(thesis.load(FIELDS), UNPROMPTED)


def at_reference(image: np.ndarray, objective: int) -> np.ndarray:
    """A field at the scale of the 20x objective; image (H, W) float32, objective 10, 20 or 40.

    Of a field taken with a weaker objective only the centre is used, so that the result is as large as the field.
    """
    if objective >= REFERENCE:
        return block_mean(image, objective // REFERENCE)
    factor = REFERENCE // objective
    height, width = (side // factor for side in image.shape)
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    return enlarged(image[top : top + height, left : left + width], factor, image.shape, linear=True)


def survey(samples: Iterable[Sample], names: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Covered share of each field, and what is known of its flask.

    Parameters
    ----------
    samples : iterable of Sample
        With flask, objective, volume and device_count in `meta`, as those of the thesis.
    names : keys of `cellcount.methods.foreground.FOREGROUNDS`

    Yields
    ------
    dict
        image, flask, objective, volume (as in the table), device_count, device (count per volume), foreground,
        pixels (of the field at 20x), covered (share of the field), clicks (number of live cells' points, nan without
        annotation); for annotated 20x fields clicks_inside and background_inside, the shares of live cells' points and
        of background points on the foreground, else nan.
    """
    for sample in samples:
        about = sample.meta
        known = {name: about[name] for name in ("flask", "objective", "volume", "device_count")}
        known = {"image": sample.name} | known | {"device": about["device_count"] / about["volume"]}
        image = np.ascontiguousarray(at_reference(sample.image, about["objective"]), np.float32)
        for name in names:
            mask = foreground(image, name)
            found = {"foreground": name, "pixels": mask.size, "covered": round(float(mask.mean()), 5)}
            found |= {"clicks": np.nan if sample.points is None else len(sample.points)}
            for kind, points in (("clicks", sample.points), ("background", about.get("background"))):
                tested = points is not None and len(points) and mask.shape == sample.image.shape
                found[f"{kind}_inside"] = float(mask[nearest(points, mask.shape)].mean()) if tested else np.nan
            yield known | found


def survey_thesis() -> pd.DataFrame:
    """`survey` of all fields of the thesis, which are fetched if necessary."""
    return pd.DataFrame(survey(thesis.iterate(thesis.IMAGES), UNPROMPTED))
