"""NuclePhaser's four networks on annotated fields: as they are, with a threshold from a known count, and tuned.

    python workflow/zero_shot.py thesis results/nuclephaser-thesis.csv [--weights WHEEL] [--device auto]

Thresholds and scales are chosen on training fields and scored on the others. A minute for each field on one core.
"""

import argparse
import functools
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from cellcount import data, metrics, results
from cellcount.methods import nuclephaser

TOLERANCE = 12.0  # px
TRAINED_ON = 2  # fields to choose on, at most
GRID = {"scale": [0.75, 1.0], "threshold": [round(0.05 * i, 2) for i in range(2, 11)]}
LOWEST = 0.02  # threshold of the search for a known count


def known_count(predict, samples):
    """The threshold at which these fields have as many detections as annotated cells."""
    cells = sum(len(sample.points) for sample in samples)
    scores = np.sort(np.concatenate([predict(sample.image, threshold=LOWEST).scores for sample in samples]))[::-1]
    return float(scores[min(cells, len(scores)) - 1])


def main():
    """Detect, score, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", help="a name of `cellcount data list`, or a folder")
    parser.add_argument("out", type=Path)
    parser.add_argument("--weights", type=Path, help="napari-nuclephaser's wheel (default: the installed package)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, mps (default: auto)")
    arguments = parser.parse_args()
    samples = [sample for sample in data.load(arguments.data) if sample.points is not None and len(sample.points) > 1]
    jobs = [(network, fold) for network in nuclephaser.NETWORKS for fold in data.folds(samples)]
    frames = []
    for network, (train, test) in tqdm(jobs, desc="NuclePhaser", unit="fold"):
        predict = functools.partial(
            nuclephaser.predict, weights=arguments.weights, device=arguments.device, network=network
        )
        train = train[:TRAINED_ON]
        ways = {"as it is": {}, "known count": {"threshold": known_count(predict, train)}}
        ways["tuned"] = metrics.tuned(predict, train, GRID, TOLERANCE)[0]
        for way, params in ways.items():
            for sample in test:
                prediction = results.timed(predict, sample.image, **params)
                prediction.meta["method"] = f"{network}, {way}"
                used = {name: prediction.meta[name] for name in ("network", "scale", "threshold")}
                if params:
                    used["chosen on"] = [one.name for one in train]
                about = {"dataset": arguments.data, "chapter": "15-pretrained", "profile": "full", "seed": 0}
                frames.append(results.rows(sample, prediction, tolerances=[TOLERANCE], parameters=used, **about))
    print(results.write(pd.concat(frames), arguments.out))


if __name__ == "__main__":
    main()
