"""The best parameters of a foreground on training fields (for methods, see `cellcount.metrics.tuned`)."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from cellcount.errors import require
from cellcount.metrics import covered, overlap
from cellcount.metrics.tuning import combinations
from cellcount.types import Sample


def choose_foreground(
    name: str, samples: Sequence[Sample], choices: Mapping[str, Sequence[Any]], *, progress: bool = True
) -> tuple[dict[str, Any], pd.DataFrame]:
    """The parameters with which a foreground has the highest overlap with the true one.

    Parameters
    ----------
    name : key of `cellcount.methods.foreground.FOREGROUNDS`
    samples : list of Sample with labels
        Training fields; no test field.
    choices : dict of parameter name to the values to try
        threshold, shrink and smallest are applied to a map that is computed once for each choice of the others.
    progress : bool

    Returns
    -------
    best : dict of parameters
        With the highest mean IoU over the samples; pooled, a confluent field would outweigh the others.
    lines : DataFrame
        Columns image, foreground, parameters (JSON), intersection, union (px).

    Raises
    ------
    ParameterError
        If there is no sample, no value to choose from, or no such foreground.
    """
    from cellcount.methods.foreground.kinds import cut, find

    require(samples, "There is no field to choose parameters on; give at least one with masks.")
    known = find(name)
    later = {key: choices[key] for key in ("threshold", "shrink", "smallest") if key in choices}
    runs = combinations({key: values for key, values in choices.items() if key not in later})
    lines = []
    for params in tqdm(runs, desc="settings", disable=not progress or len(runs) < 5):
        for sample in samples:
            answer, true = known.answer(sample.image, **params), covered(sample)
            for rest in combinations(later):
                mask = cut(answer, **({"threshold": known.threshold, "shrink": known.shrink} | rest))
                about = {"image": sample.name, "foreground": name, "parameters": json.dumps(params | rest)}
                lines.append(about | dict(zip(("intersection", "union"), overlap(true, mask))))
    frame = pd.DataFrame(lines)
    means = (frame.intersection / frame.union.clip(lower=1)).groupby(frame.parameters, sort=False).mean()
    return json.loads(means.index[int(np.argmax(means))]), frame
