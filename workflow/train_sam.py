"""Train the small SAM that the package ships, on simulated fields; killed and called again, it goes on.

    python workflow/train_sam.py [--steps 4000] [--threads 1] [--out FILE] [--stop STEP]

Some two hours on one core, of which the fields are six minutes. The state beside FILE (suffix .state) may be deleted at
the end.
"""

import argparse
from pathlib import Path

from cellcount.data import phantom
from cellcount.methods import sam
from cellcount.methods.sam.small import SHIPPED
from cellcount.methods.sam.training import training_fields


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(SHIPPED))
    parser.add_argument("--fields", type=int, default=96)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--stop", type=int, help="stop before this step, to go on later")
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
