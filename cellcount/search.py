"""Parameters for methods that do not learn: the best of a grid, on training fields, by the one metric."""

import itertools
import json

import numpy as np
import pandas as pd
from tqdm import tqdm

from cellcount.errors import ParameterError
from cellcount.metrics import covered, inside, match, overlap, pooled


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


def choose(predict, samples, choices, *, tolerance, progress=True):
    """The parameters of a method that find the most on some samples.

    Predictions outside of a sample's `valid` region count neither for nor against: where clicks are sparse, the
    reading "whole" would favour settings that find few cells, and "near" would never mind a false point on bare ground.

    Parameters
    ----------
    predict : a method's predict
        Each value of `threshold` is tried without another run: the scores of the lowest one are cut. That is exact for
        methods whose threshold does just that, as all classical ones here.
    samples : list of Sample with points
        Training fields: none that is tested on.
    choices : dict of parameter name to the values to try
    tolerance : float, px
    progress : bool

    Returns
    -------
    best : dict of parameters
        Of the highest F1 pooled over the samples; of equals, the first in the grid.
    lines : DataFrame
        Every setting on every sample: image, parameters (JSON), tp, fp, fn.

    Raises
    ------
    ParameterError
        If there is no sample, or nothing to choose from.
    """
    if not samples:
        raise ParameterError("There is no field to choose parameters on.")
    cuts = sorted(choices.get("threshold", [])) or [None]
    runs = grid({name: values for name, values in choices.items() if name != "threshold"})
    lines = []
    for params in tqdm(runs, desc="settings", disable=not progress or len(runs) < 5):
        lowest = {} if cuts[0] is None else {"threshold": cuts[0]}
        for sample in samples:
            found = predict(sample.image, **params, **lowest)
            trusted = inside(found.points, sample.valid)
            for threshold in cuts:
                kept = trusted if threshold is None else trusted & (found.scores >= threshold)
                described = params if threshold is None else params | {"threshold": threshold}
                counts = match(sample.points, found.points[kept], tolerance)[:3]
                about = {"image": sample.name, "parameters": json.dumps(described)}
                lines.append(about | dict(zip(("tp", "fp", "fn"), counts)))
    frame = pd.DataFrame(lines)
    sums = frame.groupby("parameters", sort=False)[["tp", "fp", "fn"]].sum()
    scores = [pooled(*counts)["f1"] for counts in sums.to_numpy()]
    return json.loads(sums.index[int(np.argmax(scores))]), frame


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
