"""A simulated annotator, who misses cells, clicks away from their centres, and annotates some dead cells as live."""

from dataclasses import replace

import numpy as np
from scipy.spatial import cKDTree
from scipy.stats import rankdata

from cellcount.errors import ParameterError, require
from cellcount.types import Sample


def annotate(
    sample: Sample,
    seed: int,
    *,
    missed: float = 0.08,
    missed_in_dense: float = 0.2,
    position_noise_px: float = 3.5,
    dead_as_live: float = 0.1,
) -> Sample:
    """The annotation of a simulated field as a person would make it.

    The probability to miss a cell grows linearly from `missed` to `missed_in_dense` with the rank of its local density,
    the number of nuclei within 60 px: in a confluent layer cells are missed more often.

    Parameters
    ----------
    sample : Sample
        Needs `points`.
    seed : int
    missed : float in [0, 1]
        Probability to miss the cell with the lowest local density. The default is the share that a second pass over a
        thesis image added (8.5 %).
    missed_in_dense : float in [0, 1]
        Probability to miss the cell with the highest local density.
    position_noise_px : float
        Standard deviation of a click around the nucleus, in y and in x. The median distance between points and centres
        of independently drawn boxes in the thesis is 6 px, which 3.5 px in either would explain.
    dead_as_live : float in [0, 1]
        Probability to annotate a dead cell as live.

    Returns
    -------
    Sample
        With the clicks as `points`, and the dead cells that were recognised in `dead`. It has no `labels`, since clicks
        are no masks. `meta["clicked"]` (N,) int64 has the row of the cell in `sample.points` for every point, -1 for a
        dead cell.

    Raises
    ------
    ParameterError
        If the sample has no points, a probability is outside [0, 1], or the noise is negative.
    """
    if sample.points is None:
        raise ParameterError(f"{sample.name}: the simulated annotator needs a sample with points.")
    chances = {"missed": missed, "missed_in_dense": missed_in_dense, "dead_as_live": dead_as_live}
    for name, value in chances.items():
        require(0 <= value <= 1, f"annotate: {name} is {value}; it must be from 0 to 1.")
    require(position_noise_px >= 0, f"annotate: position_noise_px is {position_noise_px}; it must not be negative.")
    rng = np.random.default_rng(seed)
    chance = missed + (missed_in_dense - missed) * _crowding(sample.points)
    seen = np.flatnonzero(rng.random(len(sample.points)) >= chance)
    mistaken = rng.random(len(sample.dead)) < dead_as_live
    clicks = np.concatenate([sample.points[seen], sample.dead[mistaken]])
    clicks = clicks + rng.normal(0, position_noise_px, clicks.shape)
    points = np.clip(clicks, 0, np.array(sample.image.shape) - 1).astype(np.float32)
    clicked = np.concatenate([seen, np.full(mistaken.sum(), -1)])
    annotator = chances | {"position_noise_px": position_noise_px, "seed": seed}
    meta = sample.meta | {"annotator": annotator, "clicked": clicked}
    return replace(sample, points=points, dead=sample.dead[~mistaken], labels=None, meta=meta)


def _crowding(points: np.ndarray, radius: float = 60) -> np.ndarray:
    """(N,) float64 in [0, 1]: rank of each point's number of neighbours within `radius` px."""
    if len(points) < 2:
        return np.zeros(len(points))
    return (rankdata(cKDTree(points).query_ball_point(points, radius, return_length=True)) - 1) / (len(points) - 1)
