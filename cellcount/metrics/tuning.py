"""The one rule that chooses parameters and thresholds, for every method, on images that are not scored."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from cellcount.errors import ParameterError
from cellcount.metrics.matching import match
from cellcount.metrics.scores import pooled
from cellcount.types import Prediction, Sample

if TYPE_CHECKING:
    import pandas as pd


def combinations(grid: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """All combinations of values: {"a": [1, 2], "b": [3]} -> [{"a": 1, "b": 3}, {"a": 2, "b": 3}].

    Raises
    ------
    ParameterError
        If a parameter has no value to choose from.
    """
    empty = [name for name, values in grid.items() if not len(values)]
    if empty:
        raise ParameterError(f"No value to choose from for {', '.join(empty)}.")
    return [dict(zip(grid, values)) for values in itertools.product(*grid.values())]


def tuned(
    predict: Callable[..., Prediction],
    samples: Sequence[Sample],
    grid: Mapping[str, Sequence[Any]],
    tolerance: float,
    *,
    progress: bool = False,
) -> tuple[dict[str, Any], pd.DataFrame]:
    """The parameters with the highest F1 over whole images, pooled over the samples, and the scores of all.

    Whole images, for every method: a comparison is fair only if all are tuned by one reading, and near annotations a
    false point on empty background would cost nothing.

    Parameters
    ----------
    predict : a method's predict, or a function with its signature
        Each value of `threshold` is tried without another run: the scores of the lowest one are cut. That is exact for
        methods whose threshold does just that, as all here that have one.
    samples : sequence of Sample with points
        Training images: none that is tested on.
    grid : mapping of parameter name to the values to try; all combinations are
    tolerance : float, px
    progress : bool

    Returns
    -------
    best : dict of parameters
        Of equals, the first in the grid.
    tried : DataFrame
        One row a combination: its parameters, "precision", "recall" and "f1".

    Raises
    ------
    ParameterError
        If there is no sample, one without points, or no value to choose from.
    """
    import pandas as pd

    if not samples:
        raise ParameterError("There is no image to choose parameters on; give at least one annotated image.")
    everything = combinations(grid)
    runs = combinations({name: values for name, values in grid.items() if name != "threshold"})
    cuts = sorted(grid.get("threshold", []))
    counts = [[0, 0, 0] for _ in everything]
    for run in tqdm(runs, desc="settings", disable=not progress or len(runs) < 5):
        lowest = {"threshold": cuts[0]} if cuts else {}
        for sample in samples:
            if sample.points is None:
                raise ParameterError(f"{sample.name} has no annotation, so no parameter can be chosen on it.")
            found = predict(sample.image, **run, **lowest)
            for setting, sums in zip(everything, counts):
                if run.items() <= setting.items():
                    points = found.points[found.scores >= setting["threshold"]] if cuts else found.points
                    sums[:] = map(sum, zip(sums, match(sample.points, points, tolerance)[:3]))
    scores = [pooled(*sums) for sums in counts]
    best = max(range(len(scores)), key=lambda i: scores[i]["f1"])
    return everything[best], pd.DataFrame([setting | score for setting, score in zip(everything, scores)])
