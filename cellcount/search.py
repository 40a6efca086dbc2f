"""Parameters for methods that do not learn: the best of a grid, on training fields, by the one metric."""

import itertools
import json
from dataclasses import replace

import numpy as np
import pandas as pd
from tqdm import tqdm

from cellcount import results
from cellcount.errors import ParameterError
from cellcount.metrics import covered, overlap, pooled


def grid(choices):
    """All combinations: {"a": [1, 2], "b": [3]} -> [{"a": 1, "b": 3}, {"a": 2, "b": 3}].

    Raises
    ------
    ParameterError
        If a parameter has no value to choose from.
    """
    empty = [name for name, values in choices.items() if not len(values)]
    if empty:
        raise ParameterError(f"There is nothing to choose from for {', '.join(empty)}.")
    return [dict(zip(choices, values)) for values in itertools.product(*choices.values())]


def choose(predict, samples, choices, *, tolerance, reading="near", progress=True, **recorded):
    """The parameters of a method that find the most on some samples.

    Parameters
    ----------
    predict : a method's predict
        Each value of `threshold` is tried without another run: the scores of the lowest one are cut. That is exact for
        methods whose threshold does just that, as all classical ones here.
    samples : list of Sample with points
        Training fields: none that is tested on.
    choices : dict of parameter name to the values to try
    tolerance : float, px
    reading : "near" or "whole"
        Where clicks are sparse, "whole" would favour settings that find few cells.
    progress : bool
    recorded
        For `cellcount.results.rows`: dataset (needed), chapter, seed, profile.

    Returns
    -------
    best : dict of parameters
        Of the highest F1 pooled over the samples; of equals, the first in the grid.
    rows : DataFrame of `cellcount.results.rows`
        Every setting, in both readings.

    Raises
    ------
    ParameterError
        If there is no sample, or nothing to choose from.
    """
    if not samples:
        raise ParameterError("There is no field to choose parameters on.")
    cuts = sorted(choices.get("threshold", []))
    runs = grid({name: values for name, values in choices.items() if name != "threshold"})
    frames = []
    for params in tqdm(runs, desc="settings", disable=not progress or len(runs) < 5):
        lowest = {"threshold": cuts[0]} if cuts else {}
        for sample in samples:
            found = results.timed(predict, sample.image, **params, **lowest)
            for threshold in cuts or [None]:
                described = params if threshold is None else params | {"threshold": threshold}
                part = found if threshold is None else _cut(found, threshold)
                frames.append(
                    results.rows(sample, part, tolerances=[tolerance], parameters=described, parts=0, **recorded)
                )
    rows = pd.concat(frames, ignore_index=True)
    sums = rows[rows.reading == reading].groupby("parameters", sort=False)[["tp", "fp", "fn"]].sum()
    scores = [pooled(*counts)["f1"] for counts in sums.to_numpy()]
    return json.loads(sums.index[int(np.argmax(scores))]), rows


def _cut(prediction, threshold):
    kept = prediction.scores >= threshold
    return replace(
        prediction, points=prediction.points[kept], scores=prediction.scores[kept], count=float(kept.sum()), labels=None
    )


def choose_foreground(name, samples, choices, *, progress=True):
    """The settings of a foreground that overlap most with the true one.

    Parameters
    ----------
    name : key of `cellcount.methods.foreground.FOREGROUNDS`
    samples : list of Sample with labels
        Training fields: none that is tested on.
    choices : dict of parameter name to the values to try
        threshold, shrink and smallest act on a map that is made once for each setting of the other parameters.
    progress : bool

    Returns
    -------
    best : dict of parameters
        Of the highest mean IoU over the samples: pooled, a field full of cells would outweigh the others.
    lines : DataFrame
        Columns image, foreground, parameters (JSON), intersection, union (px).

    Raises
    ------
    ParameterError
        If there is no sample, nothing to choose from, or no such foreground.
    """
    from cellcount.methods.foreground.masks import cut, find

    if not samples:
        raise ParameterError("There is no field to choose parameters on.")
    known = find(name)
    later = {key: choices[key] for key in ("threshold", "shrink", "smallest") if key in choices}
    runs = grid({key: values for key, values in choices.items() if key not in later})
    lines = []
    for params in tqdm(runs, desc="settings", disable=not progress or len(runs) < 5):
        for sample in samples:
            answer, true = known.answer(sample.image, **params), covered(sample)
            for rest in grid(later):
                mask = cut(answer, **({"threshold": known.threshold, "shrink": known.shrink} | rest))
                about = {"image": sample.name, "foreground": name, "parameters": json.dumps(params | rest)}
                lines.append(about | dict(zip(("intersection", "union"), overlap(true, mask))))
    frame = pd.DataFrame(lines)
    means = (frame.intersection / frame.union.clip(lower=1)).groupby(frame.parameters, sort=False).mean()
    return json.loads(means.index[int(np.argmax(means))]), frame
