"""Train the weights that CellNet starts from, on simulated fields whose every cell is known: ten minutes on one core.

    python workflow/train_start.py [--out FILE]

None of these fields is in the phantom's default set.
"""

import argparse
from pathlib import Path

from cellcount.data import phantom
from cellcount.methods import cellnet
from cellcount.runner.sources import root

SEEDS = (1, 2, 3, 4)  # four fields each; the default set has seed 0
SETTINGS = {"steps": 400, "zoom": 1.4, "contrast": 1.6}  # real cells vary in more ways than simulated ones


def main():
    """Simulate, train, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=root() / "cellcount" / "weights" / "cellnet-phantom.safetensors")
    out = parser.parse_args().out
    fields = [sample for seed in SEEDS for sample in phantom.load("train", seed=seed)]
    cellnet.fit(fields, out=out, start=None, **SETTINGS)
    print(out)


if __name__ == "__main__":
    main()
