"""Statistics of annotations: number, density and spacing of points, and the agreement of two annotations.

`cellcount bench annotations` writes those of the thesis, for machines without its data.
"""

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree
from scipy.stats import rankdata

from cellcount import registry
from cellcount.data import thesis
from cellcount.data.valid import background
from cellcount.errors import DataError, NotAvailableError, require
from cellcount.io.points import positions
from cellcount.metrics import crowding, near
from cellcount.types import Sample

# Live cells of image 4 in upstream's points2.json, from the description of the data: the local file lacks image 4.
IMAGE_4_LIVE = 974
COLUMNS = ["file", "image", "quantity", "value"]


def of_sample(sample: Sample) -> dict[str, float]:
    """Statistics of the points of one sample.

    Parameters
    ----------
    sample : Sample with points

    Returns
    -------
    dict of str to float
        live, dead : cells; cells_per_megapixel; neighbour_p25, neighbour_median, neighbour_p75 : distance to the
        nearest other live cell, px (nan for fewer than two); trusted_share, background_share : of the image's area.

    Raises
    ------
    DataError
        If the sample has no points.
    """
    points = sample.points
    known = points is not None
    require(known, f"{sample.name}: it has no annotation, and so no statistics of points.", DataError)
    distances = cKDTree(points).query(points, k=2)[0][:, 1] if len(points) > 1 else np.full(1, np.nan)
    low, middle, high = np.quantile(distances, [0.25, 0.5, 0.75])
    cells = {"live": len(points), "dead": len(sample.dead)}
    cells |= {"cells_per_megapixel": len(points) / (sample.image.size / 1e6)}
    spacing = {"neighbour_p25": low, "neighbour_median": middle, "neighbour_p75": high}
    shares = {"trusted_share": sample.valid.mean(), "background_share": background(sample.image).mean()}
    return cells | spacing | shares


def points_and_boxes(points: np.ndarray, boxes: np.ndarray) -> dict[str, float]:
    """Agreement of points with boxes that were drawn independently.

    Parameters
    ----------
    points : (N, 2) float, (y, x) px
    boxes : (K, 4) float, (y0, x0, y1, x1) px, K >= 1

    Returns
    -------
    dict of str to float
        boxes; boxes_with_point; box_long_median, box_short_median : px; box_point_distance : median distance from the
        centre of a box to the nearest point in it, px (nan if no box contains a point).
    """
    sides = np.sort(boxes[:, 2:] - boxes[:, :2], axis=1)
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    distances = []
    for (y0, x0, y1, x1), centre in zip(boxes, centres, strict=True):
        held = points[((points >= [y0, x0]) & (points <= [y1, x1])).all(axis=1)]
        if len(held):
            distances.append(np.linalg.norm(held - centre, axis=1).min())
    short, long = np.median(sides, axis=0)
    found = {"boxes": len(boxes), "boxes_with_point": len(distances)}
    found |= {"box_long_median": long, "box_short_median": short}
    return found | {"box_point_distance": np.median(distances) if distances else np.nan}


def added(first: np.ndarray, second: np.ndarray, reach: float = 1.0) -> np.ndarray:
    """Points of a second pass that the first pass has marked neither as live nor as dead.

    Parameters
    ----------
    first, second : (N, 2) and (M, 2) float, (y, x) px
        All points of the first pass, dead cells too; live cells of the second.
    reach : float, px
        Points no farther apart are the same cell.

    Returns
    -------
    (K, 2) float, (y, x) px
    """
    return second[cKDTree(first).query(second)[0] > reach]


def second_pass(first: Sample, again: np.ndarray) -> dict[str, float]:
    """What a second pass says about the cells that the first has overlooked.

    Parameters
    ----------
    first : Sample with points
    again : (M, 2) float, (y, x) px
        Live cells of the second pass.

    Returns
    -------
    dict of str to float
        second_live; added : cells that the first pass has marked neither as live nor as dead; added_near : of these,
        cells in the reading *near annotations*; added_share_1 to added_share_4 : the share of the second pass' cells
        that was added, from the loneliest to the most crowded quarter of them (nan for an empty one).
    """
    new = added(np.concatenate([first.points, first.dead]), again)
    neighbours = rankdata(crowding(again, again)) / len(again)
    is_new = cKDTree(new).query(again)[0] == 0 if len(new) else np.zeros(len(again), bool)
    quarter = np.clip(np.ceil(4 * neighbours), 1, 4)
    groups = {f"added_share_{i}": is_new[quarter == i] for i in (1, 2, 3, 4)}
    shares = {name: group.mean() if len(group) else np.nan for name, group in groups.items()}
    return {"second_live": len(again), "added": len(new), "added_near": near(new, first.points).sum()} | shares


def exports() -> pd.DataFrame:
    """Numbers of live and dead cells in the thesis' exports: DataFrame with file, image, quantity, value."""
    lines = []
    points2 = thesis.POINTS if registry.find("thesis", thesis.POINTS) else thesis.POINTS_CUT
    for label, path in (("points.json", "annotations/points.json"), ("points2.json", points2)):
        for image, annotation in thesis.marks(path).items():
            lines += [(label, image, role, len(positions(annotation.points, role))) for role in ("live", "dead")]
    if points2 == thesis.POINTS_CUT:
        lines.append(("points2.json", "4", "live", IMAGE_4_LIVE))
    return pd.DataFrame(lines, columns=COLUMNS)


def thesis_statistics() -> pd.DataFrame:
    """All statistics of the thesis' annotations: DataFrame with file, image, quantity, value.

    `file` is the export that was counted, or empty for statistics of the points in use.

    Raises
    ------
    NotAvailableError
        If the data is not on this machine and cannot be fetched.
    """
    samples = {sample.name: sample for sample in thesis.load(["1", "2"])}
    first, again = samples["1"], thesis.points_plus().points
    here = first.points is not None and first.boxes is not None and again is not None and "background" in first.meta
    way = "run `cellcount data fetch thesis`."
    require(here, f"Boxes or background of image 1 are not here: {way}", NotAvailableError)
    marked = np.rint(first.meta["background"]).astype(int)
    hit_again = points_and_boxes(again, first.boxes)["boxes_with_point"]
    found = [
        *((name, of_sample(sample)) for name, sample in samples.items()),
        ("1", points_and_boxes(first.points, first.boxes)),
        ("1", second_pass(first, again) | {"boxes_with_second": hit_again}),
        ("1", {"background_points": len(marked), "background_found": background(first.image)[tuple(marked.T)].sum()}),
    ]
    lines = [("", image, name, round(float(value), 4)) for image, values in found for name, value in values.items()]
    return pd.concat([exports(), pd.DataFrame(lines, columns=COLUMNS)], ignore_index=True)
