"""Methods without training: parameters are chosen on training fields, and scored on others.

`cellcount bench explorations` chooses on thesis image 1 and scores on image 2, and the other way round. Rows of the
image that was chosen on are kept, too: they show how much the choice flatters.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from cellcount import data, results
from cellcount.companion.studies.jobs import run_jobs
from cellcount.methods import METHODS
from cellcount.metrics import tuned
from cellcount.types import Prediction, Sample

Choices = Mapping[str, Mapping[str, Sequence[Any]]]  # method to parameter to values
CHAPTER = "11-explorations"
TOLERANCE = 12.0  # px, half the cells' spacing on the thesis' images
TRAIN, TEST = "1", "2"  # thesis images

# Values to try. All thresholds together cost one run of a method; `distance` is about half the cells' spacing.
THRESHOLDS = {
    "blobs": [0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6],
    "laplacian": [0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.2, 1.5],
    "tophat": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0],
    "bandpass": [0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8],
    "symmetry": [0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4],
    "clusters": [0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7],
    "watershed": [0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6],
}
OTHERS = {
    "blobs": {"sigma": [3.0, 4.0, 5.0, 6.0, 7.0], "distance": [8.0, 11.0]},
    "laplacian": {"smallest": [5.0, 6.0], "largest": [7.0, 9.0], "scales": [3], "distance": [8.0, 11.0]},
    "tophat": {"radius": [8, 12, 16], "sigma": [2.0, 3.0, 4.0], "distance": [11.0]},
    "bandpass": {"shortest": [20.0, 25.0], "longest": [50.0, 80.0], "order": [1, 2], "distance": [11.0]},
    "symmetry": {"wavelength": [20.0, 25.0, 30.0], "scales": [2, 3], "noise": [0.2, 0.4], "distance": [11.0]},
    "clusters": {"clusters": [4, 6, 8], "kept": [1, 2], "sigma": [4.0], "distance": [11.0]},
    "watershed": {"sigma": [4.0, 5.0, 6.0], "texture": [0.02, 0.04, 0.06], "smallest": [60], "distance": [8.0]},
}
FEWER = {  # for pages that must be computed quickly: the parameters that matter most
    "blobs": {"sigma": [4.0, 5.0, 6.0], "distance": [11.0]},
    "laplacian": {"smallest": [5.0], "distance": [11.0]},
    "tophat": {"radius": [8, 12], "sigma": [3.0]},
    "bandpass": {"shortest": [20.0], "order": [2]},
    "symmetry": {"wavelength": [20.0, 25.0], "scales": [2], "noise": [0.2]},
    "clusters": {"clusters": [4, 6], "kept": [1]},
    "watershed": {"sigma": [4.0, 5.0], "texture": [0.04]},
}
CHOICES = {name: values | {"threshold": THRESHOLDS[name]} for name, values in OTHERS.items()}
QUICK = {name: values | FEWER[name] for name, values in CHOICES.items()}


def explore(
    train: Sequence[Sample], test: Sequence[Sample], choices: Choices, *, tolerances: Sequence[float], **about: Any
) -> tuple[pd.DataFrame, dict[str, dict[str, Any]], list[tuple[Sample, Prediction]]]:
    """Choose the parameters of each method on training samples, and score it on these and on test samples.

    Parameters
    ----------
    train, test : list of Sample with points
    choices : dict of method to dict of parameter to values
    tolerances : list of float, px
        The first is that for the choice of parameters.
    about
        dataset, seed and profile, which `results.rows` records.

    Returns
    -------
    rows : DataFrame
        Of `cellcount.results.rows`, `split` being "train" or "test".
    best : dict of method to dict of parameters
    found : list of (Sample, Prediction), of the test samples
    """
    frames, best, found = [], {}, []
    recorded = {"tolerances": tolerances, "chapter": CHAPTER} | about
    for name, values in choices.items():
        predict = METHODS[name].predict
        best[name], _ = tuned(predict, train, values, tolerances[0])
        described = best[name] | {"chosen_on": [sample.name for sample in train]}
        for split, samples in (("train", train), ("test", test)):
            for sample in samples:
                prediction = results.timed(predict, sample.image, **best[name])
                frames.append(results.rows(replace(sample, split=split), prediction, parameters=described, **recorded))
                found += [(sample, prediction)] if split == "test" else []
    return pd.concat(frames, ignore_index=True), best, found


def explore_thesis(path: Path | str) -> pd.DataFrame:
    """`explore` the thesis' images 1 and 2 both ways, fetched if necessary; jobs already in `path` are not repeated."""
    fields = {name: data.load("thesis", names=[name]) for name in (TRAIN, TEST)}

    def work(method, choices, train=TRAIN):
        test, tolerances = TRAIN if train == TEST else TEST, [TOLERANCE, 8.0, 16.0]
        about = {"tolerances": tolerances, "dataset": "thesis", "profile": "full"}
        return explore(fields[train], fields[test], {method: choices}, **about)[0]

    jobs = [{"method": name, "choices": values} for name, values in CHOICES.items()]
    return run_jobs([*jobs, *(job | {"train": TEST} for job in jobs)], work, out=path)
