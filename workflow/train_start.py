"""Train the weights that CellNet starts from, on simulated fields whose every cell is known: 25 minutes on 2 cores.

    python workflow/train_start.py [--device auto] [--out FILE] [--seed 0]

None of these fields is in the phantom's default set.
"""

import argparse
from pathlib import Path

import numpy as np
from tqdm import tqdm

from cellcount.companion.runner.sources import root
from cellcount.data.phantom import simulate
from cellcount.data.phantom.cache import cached
from cellcount.methods import cellnet

FIELDS = 96
SEEDS = 60_000  # of the first field; the default set has its own below 4000
SETTINGS = {"steps": 1500, "crop": 128, "zoom": 1.4, "contrast": 1.6}
SHEETS = 4  # every so many-th field is a closed sheet
RANGES = {  # of the phantom's parameters: wider than those of its default set, as real cells vary in more ways
    "confluence": (0.4, 0.95), "spacing": (18, 25), "thickness": (0.32, 0.7), "granularity": (0.6, 1.7),
    "cracks": (0.2, 2.5), "haze": (0, 0.15), "rounded": (0.01, 0.2), "dead": (0, 40), "noise": (0.5, 2.0),
}  # fmt: skip


def field(index):
    """One simulated field of 512 x 512 px, unlike any other: a Sample, from the cache if it was made before."""
    rng = np.random.default_rng([0, SEEDS + index])
    sheet = index % SHEETS == SHEETS - 1
    ranges = RANGES | ({"spacing": (17, 21)} if sheet else {})
    look = {"confluence": 1.0} if sheet else {}
    look |= {name: round(float(rng.uniform(*ends)), 3) for name, ends in ranges.items() if name not in look}
    return cached(simulate, (0, SEEDS + index), (512, 512), name=f"start-{index}", split="train", **look)


def train(out, *, seed=0, device="auto", fields=FIELDS, **settings):
    """Train on the first `fields` simulated fields, with `settings` other than SETTINGS; returns the path `out`."""
    made = [field(index) for index in tqdm(range(fields), desc="fields", unit="field")]
    return cellnet.fit(made, out=out, start=None, device=device, seed=seed, **SETTINGS | settings)


def main():
    """Simulate, train, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=root() / "cellcount" / "weights" / "cellnet-phantom.safetensors")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, mps (default: auto)")
    parser.add_argument("--seed", type=int, default=0, help="of the training; the fields are the same (default: 0)")
    arguments = parser.parse_args()
    print(train(arguments.out, seed=arguments.seed, device=arguments.device))


if __name__ == "__main__":
    main()
