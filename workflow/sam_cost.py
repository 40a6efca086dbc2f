"""What each SAM architecture costs on a CPU: time and memory, with random weights, which cost what trained ones do.

    python workflow/sam_cost.py [vit_t vit_b ...] [--prompts 1755] [--tiles 0] [--threads 1] [--out FILE]

Each runs in a process of its own, on a simulated field of 2048 x 1536 px, the size of the thesis' images, with a
point prompt for each of `--prompts` places. `--tiles` limits how many tiles are embedded and prompted (0: all). The
library's own loop, `micro_sam.inference.batched_inference`, gets 16 of the prompts on one tile. Rows of architectures
that were measured again replace the old ones in FILE.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ARCHITECTURES = ("vit_t", "vit_b", "vit_l", "vit_h")
LIBRARY_PROMPTS = 16


def measure(architecture, prompts, tiles, threads):
    """One row (dict) for this process: seconds of CPU and of the wall, GB of memory."""
    import numpy as np
    import torch

    from cellcount.data import phantom
    from cellcount.methods.sam import backbones, session
    from cellcount.results import peak_memory_mb

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    image = phantom.simulate(0, (1536, 2048)).image
    network = backbones._build(backbones.backbone(architecture)).eval().requires_grad_(False)
    loaded = backbones.Loaded(network, "random", backbones.backbone(architecture))
    session.load = lambda *arguments: loaded  # the weights are this measurement's own
    points = np.random.default_rng(0).uniform((0, 0), image.shape, (prompts, 2)).astype(np.float32)
    run = session.Session(image, model=architecture, device="cpu", cache=True)
    if tiles:
        run.tiles = run.tiles[:tiles]
    started, clock = time.perf_counter(), time.process_time()
    run.embed()
    embedding = time.process_time() - clock
    clock = time.process_time()
    masks = run.segment(points)
    decoding = time.process_time() - clock
    wall = time.perf_counter() - started
    again = session.Session(image, model=architecture, device="cpu", cache=True)
    again.tiles = run.tiles
    clock = time.process_time()
    again.embed()
    reading = time.process_time() - clock
    assert again.embeddings.computed == 0, "the cache must be used"
    ours = peak_memory_mb()
    masks.labels()
    return {
        "architecture": architecture,
        "parameters_million": round(sum(p.numel() for p in network.parameters()) / 1e6, 1),
        "tiles": len(run.tiles), "prompts": run.decoded,
        "embedding_s_per_tile": round(embedding / len(run.tiles), 2),
        "reading_s_per_tile": round(reading / len(run.tiles), 4),
        "decoding_s_per_prompt": round(decoding / max(run.decoded, 1), 4),
        "library_s_per_prompt": round(library(run, points), 4), "peak_memory_gb": round(ours / 1e3, 2),
        "library_peak_gb": round(peak_memory_mb() / 1e3, 2), "wall_s": round(wall, 1), "threads": threads,
    }  # fmt: skip


def library(run, points):
    """CPU seconds for each prompt in micro_sam's own loop, on the run's first tile, batch as ours."""
    import numpy as np
    from micro_sam.inference import batched_inference
    from segment_anything import SamPredictor

    from cellcount.methods.sam.session import eight_bit

    window, _ = run.tiles[0]
    y0, y1, x0, x1 = window
    predictor = SamPredictor(run.loaded.sam)
    predictor.features = run.embeddings.features(window)
    pixels = eight_bit(run.image[y0:y1, x0:x1], run.embeddings.exposure)
    predictor.original_size = pixels.shape[:2]
    predictor.input_size = predictor.transform.get_preprocess_shape(
        *pixels.shape[:2], predictor.transform.target_length
    )
    predictor.is_image_set = True
    inside = points[((points >= [y0, x0]) & (points < [y1, x1])).all(axis=1)][:LIBRARY_PROMPTS] - [y0, x0]
    xy = inside[:, None, ::-1]  # batched_inference takes (x, y)
    clock = time.process_time()
    batched_inference(
        predictor, None, 16, points=xy, point_labels=np.ones((len(xy), 1), int), multimasking=True,
        return_instance_segmentation=False, verbose_embeddings=False,
    )  # fmt: skip
    return (time.process_time() - clock) / max(len(xy), 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("architectures", nargs="*", default=["vit_b"], help=f"of {', '.join(ARCHITECTURES)}")
    parser.add_argument("--prompts", type=int, default=1755, help="as many as thesis image 1 has live cells")
    parser.add_argument("--tiles", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "results" / "sam-cost.csv")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        row = measure(arguments.architectures[0], arguments.prompts, arguments.tiles, arguments.threads)
        print("ROW " + json.dumps(row))
        return
    import pandas as pd

    from cellcount.files import replacing

    for architecture in arguments.architectures:
        with tempfile.TemporaryDirectory() as cache:  # an empty one, so that embeddings are computed and not read
            command = [sys.executable, __file__, architecture, "--one", "--prompts", str(arguments.prompts)]
            command += ["--tiles", str(arguments.tiles), "--threads", str(arguments.threads)]
            environment = os.environ | {"CELLCOUNT_CACHE": cache, "OMP_NUM_THREADS": str(arguments.threads)}
            done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
        row = json.loads(next(line for line in done.stdout.splitlines() if line.startswith("ROW "))[4:])
        old = pd.read_csv(arguments.out) if arguments.out.exists() else pd.DataFrame(columns=list(row))
        table = pd.concat([old[old.architecture != architecture], pd.DataFrame([row])], ignore_index=True)
        with replacing(arguments.out) as temporary:
            table.to_csv(temporary, index=False)
        print(json.dumps(row, indent=1))


if __name__ == "__main__":
    main()
