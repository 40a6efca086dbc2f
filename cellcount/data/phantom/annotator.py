"""A simulated annotator: overlooks cells, clicks beside their centres, takes some dead cells for live."""

from dataclasses import replace

import numpy as np
from scipy.spatial import cKDTree

from cellcount.errors import ParameterError
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
    """What a person would have clicked on a simulated field.

    The chance to overlook a cell grows linearly from `missed` to `missed_in_dense` with the rank of its local
    density, the number of nuclei within 60 px: in a closed sheet one loses track.

    Parameters
    ----------
    sample : Sample
        Needs `points`.
    seed : int
    missed : float in [0, 1]
        Chance to overlook the loneliest cell. The default is what a second pass over a thesis image added (8.5 %).
    missed_in_dense : float in [0, 1]
        Chance to overlook the most crowded cell.
    position_noise_px : float
        Standard deviation of a click around the nucleus, in y and in x. In the thesis points and the centres of
        independently drawn boxes lie 6 px apart in the median; 3.5 px on either side would explain that.
    dead_as_live : float in [0, 1]
        Chance to take a dead cell for a live one.

    Returns
    -------
    Sample
        With the clicks as `points`, and in `dead` those dead cells that were told apart. It has no `labels`: who
        clicks draws no masks. `meta["clicked"]` (N,) int64 holds for every point the row of the cell in
        `sample.points`, -1 for a dead one.

    Raises
    ------
    ParameterError
        If the sample has no points, or a chance is outside [0, 1], or the noise is negative.
    """
    if sample.points is None:
        raise ParameterError(f"{sample.name}: the simulated annotator needs a sample with points.")
    chances = {"missed": missed, "missed_in_dense": missed_in_dense, "dead_as_live": dead_as_live}
    for name, value in chances.items():
        if not 0 <= value <= 1:
            raise ParameterError(f"annotate: {name} is {value}; it must be from 0 to 1.")
    if position_noise_px < 0:
        raise ParameterError(f"annotate: position_noise_px is {position_noise_px}; it cannot be negative.")
    rng = np.random.default_rng(seed)
    chance = missed + (missed_in_dense - missed) * _crowding(sample.points)
    seen = np.flatnonzero(rng.random(len(sample.points)) >= chance)
    mistaken = rng.random(len(sample.dead)) < dead_as_live
    clicks = np.concatenate([sample.points[seen], sample.dead[mistaken]])
    clicks = clicks + rng.normal(0, position_noise_px, clicks.shape)
    limits = np.array(sample.image.shape) - 1
    return replace(
        sample,
        points=np.clip(clicks, 0, limits).astype(np.float32),
        dead=sample.dead[~mistaken],
        labels=None,
        meta={
            **sample.meta,
            "annotator": {**chances, "position_noise_px": position_noise_px, "seed": seed},
            "clicked": np.concatenate([seen, np.full(mistaken.sum(), -1)]),
        },
    )


def _crowding(points: np.ndarray, radius: float = 60) -> np.ndarray:
    """(N,) float64 in [0, 1]: rank of each point's number of neighbours within `radius` px."""
    if len(points) < 2:
        return np.zeros(len(points))
    tree = cKDTree(points)
    neighbours = tree.query_ball_point(points, radius, return_length=True)
    order = np.sort(neighbours)
    low, high = np.searchsorted(order, neighbours, "left"), np.searchsorted(order, neighbours, "right")
    return (low + high - 1) / 2 / (len(points) - 1)
