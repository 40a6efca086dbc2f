"""Choosing a method's parameters on annotated images, so that no test image has a say in it."""

import itertools

import numpy as np

from cellcount.metrics.matching import match, near
from cellcount.metrics.scores import pooled


def tuned(predict, samples, grid, tolerance):
    """The parameters with the best F1 near the annotation, pooled over samples, and every score.

    Parameters
    ----------
    predict : a method's predict, or a function with its signature
    samples : list of Sample with points
    grid : dict of parameter name to the values to try; all combinations are
    tolerance : float, px

    Returns
    -------
    (best, tried)
        A dict of parameters, and a list of dicts: the parameters, and "precision", "recall", "f1".
    """
    tried = []
    for values in itertools.product(*grid.values()):
        params = dict(zip(grid, values, strict=True))
        counts = []
        for sample in samples:
            points = predict(sample.image, **params).points
            counts.append(match(sample.points, points[near(points, sample.points)], tolerance)[:3])
        tried.append(params | pooled(*np.transpose(counts)))
    best = max(tried, key=lambda row: row["f1"])
    return {name: best[name] for name in grid}, tried
