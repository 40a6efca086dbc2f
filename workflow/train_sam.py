"""Train the small SAM that is bundled with the package, on simulated fields; after an interruption it continues.

    python workflow/train_sam.py [--steps 4000] [--threads 1] [--out FILE] [--stop STEP]

Some two hours on one core, of which the fields are six minutes. The state beside FILE (suffix .state) may be deleted at
the end.
"""

import argparse
from pathlib import Path

import numpy as np
from tqdm import tqdm

from cellcount.data import phantom
from cellcount.data.phantom.cache import cached
from cellcount.methods import sam
from cellcount.methods.sam.small import SHIPPED

SEEDS = 50_000  # of the first training field; those of the default set are below 4000


def training_fields(n, size=(512, 512), seed=0):
    """A list of n Samples, none of which is in the default set: from open colonies to closed sheets."""
    fields = []
    for i in tqdm(range(n), desc="training fields", unit="field"):
        rng = np.random.default_rng([seed, SEEDS + i])
        # Thin, granular, crowded cells where the sheet is closed, as in the default set; here with all in between.
        closed = 1.0 if i % 5 == 4 else rng.uniform(0, 0.9)
        look = {"confluence": 0.4 + 0.6 * closed, "spacing": 22 - 2 * closed, "thickness": 0.58 - 0.16 * closed}
        look |= {"granularity": 0.9 + 0.35 * closed, "haze": 0.1 * closed**2}
        look = {name: round(float(value), 3) for name, value in look.items()}
        fields.append(cached(phantom.simulate, (seed, SEEDS + i), size, name=f"sam-train-{i}", split="train", **look))
    return fields


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(SHIPPED))
    parser.add_argument("--fields", type=int, default=96)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--stop", type=int, help="stop before this step, to continue later")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    import torch

    torch.set_num_threads(arguments.threads)
    torch.set_flush_denormal(True)
    sam.fit(
        training_fields(arguments.fields),
        out=arguments.out,
        validation=phantom.load("validation", size=(256, 256)),
        stop=arguments.stop,
        steps=arguments.steps,
        device="cpu",
    )
    about = sam.about(arguments.out)
    print(f"{arguments.out}: {about['steps done']} steps; {about['scores'][-1:] or 'not scored yet'}")


if __name__ == "__main__":
    main()
