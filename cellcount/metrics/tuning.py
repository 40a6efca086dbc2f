"""Selection of parameters and thresholds, by the same rule for every method, on images that are not scored."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from cellcount.errors import ParameterError, require
from cellcount.metrics.matching import match, scored
from cellcount.metrics.scores import pooled
from cellcount.types import Prediction, Sample

if TYPE_CHECKING:
    import pandas as pd


def combinations(grid: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """All combinations of values: {"a": [1, 2], "b": [3]} -> [{"a": 1, "b": 3}, {"a": 2, "b": 3}].

    Raises
    ------
    ParameterError
        If a parameter has no values.
    """
    empty = [name for name, values in grid.items() if not len(values)]
    require(not empty, f"There is no value to try for {', '.join(empty)}.")
    return [dict(zip(grid, values)) for values in itertools.product(*grid.values())]


def tuned(
    predict: Callable[..., Prediction],
    samples: Sequence[Sample],
    grid: Mapping[str, Sequence[Any]],
    tolerance: float,
    *,
    progress: bool = False,
) -> tuple[dict[str, Any], pd.DataFrame]:
    """The parameters with the highest F1 over whole images, pooled over the samples, and all scores.

    Whole images are used for every method: a comparison is fair only if all methods are tuned on the same reading, and
    the reading near annotations ignores false points on empty background.

    Parameters
    ----------
    predict : a method's predict, or a function with its signature
        The values of `threshold` share one run, with the lowest of them, whose points are selected by score. This is
        exact for methods in which the threshold does nothing else, such as all methods here that have one.
    samples : sequence of Sample with points
        Training images, never test images.
    grid : mapping of parameter name to the values to try; all combinations are
    tolerance : float, px
    progress : bool

    Returns
    -------
    best : dict of parameters
        Of equal ones, the first in the grid.
    tried : DataFrame
        One row per combination: its parameters, "precision", "recall" and "f1".

    Raises
    ------
    ParameterError
        If there is no sample, a sample without points, or a parameter without values.
    """
    import pandas as pd

    require(samples, "There is no image to select parameters on; give at least one annotated image.")
    everything = combinations(grid)
    runs = combinations({name: values for name, values in grid.items() if name != "threshold"})
    cuts = sorted(grid.get("threshold", []))
    counts = [[0, 0, 0] for _ in everything]
    for run in tqdm(runs, desc="settings", disable=not progress or len(runs) < 5):
        lowest = {"threshold": cuts[0]} if cuts else {}
        for sample in samples:
            if sample.points is None:
                raise ParameterError(f"{sample.name} has no annotation, so no parameter can be selected on it.")
            found = predict(sample.image, **run, **lowest)
            for setting, sums in zip(everything, counts):
                if run.items() <= setting.items():
                    points = found.points[found.scores >= setting["threshold"]] if cuts else found.points
                    points = points[scored(sample, points, tolerance)]
                    sums[:] = map(sum, zip(sums, match(sample.points, points, tolerance)[:3]))
    scores = [pooled(*sums) for sums in counts]
    best = max(range(len(scores)), key=lambda i: scores[i]["f1"])
    return everything[best], pd.DataFrame([setting | score for setting, score in zip(everything, scores)])
