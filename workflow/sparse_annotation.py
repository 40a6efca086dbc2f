"""Cellpose trained with and without the ground of sparse annotation, of which nobody knows whether cells lie there.

    python workflow/sparse_annotation.py thesis results/sparse-thesis.csv.gz

The settings are those of chapter `13-cellpose` in the profile `full`, but for larger crops, and one
seed. An hour on one core.
"""

import argparse
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from cellcount import data, results
from cellcount.companion.trained import trained
from cellcount.methods import cellpose

TOLERANCE = 12.0  # px
SETTINGS = {"epochs": 500, "batch": 8, "crop": 128, "widths": (16, 32, 64, 256), "diam_mean": 15.0, "masks": "weighted"}
SETTINGS |= {"seed": 0}


def main():
    """Train, score, write after each training."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", help="a name of `cellcount data list`, or a folder")
    parser.add_argument("out", type=Path)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, mps (default: auto)")
    arguments = parser.parse_args()
    samples = [sample for sample in data.load(arguments.data) if sample.points is not None and len(sample.points) > 1]
    jobs = [(ignore, *fold) for ignore in (False, True) for fold in data.folds(samples)]
    frames = []
    for ignore, train, test in tqdm(jobs, desc="trainings", unit="network"):
        params = SETTINGS | ({"ignore": True} if ignore else {})
        weights = trained(cellpose, train, suffix=".safetensors", device=arguments.device, **params)
        about = {"dataset": arguments.data, "chapter": "13-cellpose", "profile": "full", "seed": 0}
        for sample in test:
            prediction = results.timed(cellpose.predict, sample.image, weights=weights, device=arguments.device)
            prediction.meta["method"] = "ground ignored" if ignore else "ground taken for background"
            used = params | {"train": [one.name for one in train]}
            frames.append(results.rows(sample, prediction, tolerances=[TOLERANCE], parameters=used, **about))
        results.write(pd.concat(frames), arguments.out)
    print(arguments.out)


if __name__ == "__main__":
    main()
