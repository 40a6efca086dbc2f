"""Numbers about annotations: how many, how dense, how far apart, and how far two of them agree.

`cellcount bench annotations` measures the thesis data (results/thesis-annotations.csv): numbers without coordinates,
so that the book can speak of the real images on a machine that does not have them.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from cellcount import registry
from cellcount.data import thesis
from cellcount.data.valid import background
from cellcount.errors import DataError, NotAvailableError
from cellcount.io import labelstudio
from cellcount.io.points import positions, read
from cellcount.io.problems import raise_errors
from cellcount.types import Sample

# Live cells in upstream's points2.json. Image 4 is held out of the local cut of that file, so this one count is known
# from the description of the data and not from points.
IMAGE_4_LIVE = 974


def of_sample(sample: Sample) -> dict[str, float]:
    """Numbers about the points of one sample.

    Parameters
    ----------
    sample : Sample with points

    Returns
    -------
    dict of str to float
        live, dead : cells; cells_per_megapixel; neighbour_p25, neighbour_median, neighbour_p75 : distance to the
        nearest other live cell, px (nan below two cells); trusted_share : of the image's area; background_share.

    Raises
    ------
    DataError
        If the sample has no points.
    """
    points = sample.points
    if points is None:
        raise DataError(f"{sample.name}: there are no numbers about points that nobody has made.")
    distances = np.full(1, np.nan)
    if len(points) > 1:
        distances = cKDTree(points).query(points, k=2)[0][:, 1]
    low, middle, high = np.quantile(distances, [0.25, 0.5, 0.75])
    return {
        "live": len(points),
        "dead": len(sample.dead),
        "cells_per_megapixel": len(points) / (sample.image.size / 1e6),
        "neighbour_p25": low,
        "neighbour_median": middle,
        "neighbour_p75": high,
        "trusted_share": sample.valid.mean(),
        "background_share": background(sample.image).mean(),
    }


def points_and_boxes(points: np.ndarray, boxes: np.ndarray) -> dict[str, float]:
    """How far points agree with boxes that were drawn without looking at them.

    Parameters
    ----------
    points : (N, 2) float, (y, x) px
    boxes : (K, 4) float, (y0, x0, y1, x1) px, K >= 1

    Returns
    -------
    dict of str to float
        boxes; boxes_with_point; box_long_median, box_short_median : px; box_point_distance : median distance of a
        box's centre to the nearest point inside of it, px (nan if no box holds a point).
    """
    sides = np.sort(boxes[:, 2:] - boxes[:, :2], axis=1)
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    distances = []
    for (y0, x0, y1, x1), centre in zip(boxes, centres, strict=True):
        held = points[((points >= [y0, x0]) & (points <= [y1, x1])).all(axis=1)]
        if len(held):
            distances.append(np.linalg.norm(held - centre, axis=1).min())
    short, long = np.median(sides, axis=0)
    return {
        "boxes": len(boxes),
        "boxes_with_point": len(distances),
        "box_long_median": long,
        "box_short_median": short,
        "box_point_distance": np.median(distances) if distances else np.nan,
    }


def second_pass(first: np.ndarray, second: np.ndarray, same: float = 1.0) -> dict[str, float]:
    """What a second pass over an annotated image added.

    Parameters
    ----------
    first, second : (N, 2), (M, 2) float, (y, x) px
        `first` holds all marks of the first pass, dead cells too; `second` the live cells of the second.
    same : float, px
        Marks closer than this are one mark.

    Returns
    -------
    dict of str to float
        second_live : cells; added : those that the first pass had not marked at all.
    """
    new = cKDTree(first).query(second)[0] > same
    return {"second_live": len(second), "added": int(new.sum())}


def exports() -> pd.DataFrame:
    """Live and dead cells in each of the thesis' exports: DataFrame with file, image, quantity, value."""
    lines = []
    points2 = thesis.POINTS if registry.find("thesis", thesis.POINTS) else thesis.POINTS_CUT
    for label, path in (("points.json", "annotations/points.json"), ("points2.json", points2)):
        annotations, problems = read(registry.fetch_file("thesis", path))
        raise_errors(problems)
        for annotation in annotations:
            image = labelstudio.UPLOAD_PREFIX.sub("", annotation.image).rsplit(".", 1)[0]
            for role in ("live", "dead"):
                lines.append((label, image, role, len(positions(annotation.points, role))))
    if points2 == thesis.POINTS_CUT:
        lines.append(("points2.json", "4", "live", IMAGE_4_LIVE))
    return pd.DataFrame(lines, columns=["file", "image", "quantity", "value"])


def thesis_statistics() -> pd.DataFrame:
    """All numbers about the thesis' annotation: DataFrame with file, image, quantity, value.

    `file` is the export that a count was made in, and empty for what was measured on the points used.

    Raises
    ------
    NotAvailableError
        If the data is not on this machine and cannot be fetched.
    """
    lines: list[tuple[str, str, str, float]] = []

    def add(image: str, numbers: Mapping[str, float]) -> None:
        lines.extend(("", image, quantity, round(float(value), 4)) for quantity, value in numbers.items())

    samples = {sample.name: sample for sample in thesis.load(["1", "2"])}
    for name, sample in samples.items():
        add(name, of_sample(sample))
    first, again = samples["1"], thesis.points_plus().points
    if first.points is None or first.boxes is None or again is None or "background" not in first.meta:
        raise NotAvailableError("Boxes or background of image 1 are not here: run `cellcount data fetch thesis`.")
    add("1", points_and_boxes(first.points, first.boxes))
    add("1", second_pass(np.concatenate([first.points, first.dead]), again))
    marked = np.rint(first.meta["background"]).astype(int)
    add("1", {"background_points": len(marked), "background_found": background(first.image)[tuple(marked.T)].sum()})
    return pd.concat(
        [exports(), pd.DataFrame(lines, columns=["file", "image", "quantity", "value"])], ignore_index=True
    )
