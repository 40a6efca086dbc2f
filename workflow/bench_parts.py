"""What `workflow/bench.py` measures, one part in one process:

    OMP_NUM_THREADS=N python workflow/bench_parts.py PART FIELD.npz --repeats N

prints, last, one line of JSON: a list of rows with `what`, `seconds` (of each repeat) and what else is known.
Weights are random but for CellNet's own, which changes no time: a convolution takes what it takes. What follows a
network's answer (dynamics, suppression) depends on it, and is given the answer a perfect network would give.
"""

import argparse
import json
import logging
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

PATCH = 256  # px; operations are counted on one patch, and grow with the area
STEPS = 15  # of a training that is timed; it waits for the first batch in any case


def timed(function, repeats):
    """Seconds of each of `repeats` calls."""
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - started)
    return seconds


def row(what, seconds, **more):
    """One measurement: a dict; with it the largest memory that this process has held so far."""
    return {"what": what, "seconds": [round(s, 4) for s in seconds], "peak_mb": round(memory_mb())} | more


def memory_mb():
    """Largest resident memory of this process so far, MB."""
    if os.path.exists("/proc/self/status"):  # the other way counts what the process that started this one has held
        with open("/proc/self/status") as status:
            return int(status.read().split("VmHWM:")[1].split()[0]) * 1024 / 1e6
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6


def forward(what, network, x, repeats):
    """A row of a torch network's forward pass on x (1, C, H, W), with the operations that it takes."""
    import torch

    network = network.eval()
    patch = x[..., :PATCH, :PATCH]
    with torch.inference_mode():
        network(x if repeats > 2 else patch)  # the first pass loads code, and takes memory from the system
        measured = row(what, timed(lambda: network(x), repeats))
    from torch.utils.flop_counter import FlopCounterMode  # it takes memory of its own

    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(patch)
    gflop = counter.get_total_flops() / 1e9 * x[0, 0].numel() / patch[0, 0].numel()
    return measured | {"gflop": round(gflop, 1)}


def peak(field, repeats):
    """The fastest float32 matrix product of several sizes: what this machine's arithmetic can do."""
    import torch

    best = 0.0
    for n in (512, 1024, 2048, 4096):
        if n > 3 * len(field["image"]):  # a small field is a trial run
            break
        a, b = torch.rand(n, n), torch.rand(n, n)
        a @ b
        best = max(best, 2e-9 * n**3 / min(timed(lambda a=a, b=b: a @ b, repeats)))
    return [row("float32 matrix product", [], gflop_per_s=round(best, 1))]


def warm(field, repeats):
    """`cellcount.count` with all that it does: size of the cells, padding, warnings, interval."""
    import cellcount

    image = (field["image"] * 255).round().astype(np.uint8)
    cellcount.count(image, device="cpu", progress=False)
    seconds = timed(lambda: cellcount.count(image, device="cpu", progress=False), repeats)
    return [row("cellcount.count, one field, warm", seconds)]


def cellnet(field, repeats):
    """CellNet as it is called, and its network alone."""
    import torch

    from cellcount.methods import cellnet
    from cellcount.methods.cellnet.checkpoint import SHIPPED
    from cellcount.methods.cellnet.torch_engine import load_weights

    image, device = field["image"], torch.device("cpu")
    network, settings, _ = load_weights(SHIPPED, device)
    x = torch.from_numpy(settings.prepared(image))[None, None]
    x = x[..., : x.shape[2] // 32 * 32, : x.shape[3] // 32 * 32].contiguous(memory_format=torch.channels_last)
    cellnet.predict(image, device="cpu")
    whole = row("CellNet, image to points", timed(lambda: cellnet.predict(image, device="cpu"), repeats))
    return [whole, forward("CellNet, its network", network, x, repeats)]


def published(field, repeats):
    """The published CellNet's architecture at full resolution: as written, and with our memory layout."""
    import segmentation_models_pytorch as smp
    import torch

    network = smp.UnetPlusPlus(
        "tu-mobilenetv3_large_100", encoder_weights=None, decoder_attention_type="scse", in_channels=1,
        activation="sigmoid",
    )  # fmt: skip
    x = torch.from_numpy(field["image"])[None, None]
    rows = [forward("published CellNet's network", network, x, repeats)]
    network, x = (part.to(memory_format=torch.channels_last) for part in (network, x))
    return [*rows, forward("published CellNet's network, channels last", network, x, repeats)]


def cellpose(field, repeats):
    """Cellpose 3 as the library runs it: its network (224 px tiles, cells of 30 px), and its dynamics on true flows."""
    from cellpose import core, dynamics
    from cellpose.models import CellposeModel

    network = CellposeModel(gpu=False, pretrained_model=False, model_type=None).net
    image, labels = field["image"], field["labels"]
    stack = np.stack([image, np.zeros_like(image)], axis=-1)[None]  # planes, y, x, channels: cells and no nuclei
    core.run_net(network, stack[:, :PATCH, :PATCH])
    rows = [row("Cellpose 3, its network", timed(lambda: core.run_net(network, stack), repeats))]
    flows = 5 * dynamics.masks_to_flows(labels.astype(int)).astype(np.float32)  # the network is trained on 5 x
    probability = np.where(labels > 0, 6, -6).astype(np.float32)

    def follow():
        masks = dynamics.resize_and_compute_masks(flows, probability, niter=200, flow_threshold=0.4)
        assert masks.max() > 0.5 * labels.max()

    return [*rows, row("Cellpose 3, its dynamics", timed(follow, repeats))]


def stardist(field, repeats):
    """StarDist with the settings of its pretrained models (32 rays, grid 2): network, and suppression on true rays."""
    import tensorflow as tf

    threads = int(os.environ["OMP_NUM_THREADS"])
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    import stardist.geometry
    from stardist.models import Config2D, StarDist2D
    from stardist.nms import non_maximum_suppression
    from stardist.utils import edt_prob

    grid, image, labels = (2, 2), field["image"], field["labels"]
    model = StarDist2D(Config2D(n_rays=32, grid=grid), name=None, basedir=None)
    model.predict(image, show_tile_progress=False)
    rows = [row("StarDist, its network", timed(lambda: model.predict(image, show_tile_progress=False), repeats))]
    rays = stardist.geometry.star_dist(labels, n_rays=32, grid=grid)
    probability = edt_prob(labels)[:: grid[0], :: grid[1]]

    def suppress():
        points, scores, kept = non_maximum_suppression(rays, probability, grid=grid, prob_thresh=0.5, nms_thresh=0.4)
        stardist.geometry.polygons_to_label(kept, points, shape=image.shape, prob=scores)
        assert len(points) > 0.5 * labels.max()

    return [*rows, row("StarDist, its suppression", timed(suppress, repeats))]


def deepsea(field, repeats):
    """DeepSea's segmentation network at full resolution."""
    import torch
    from deepsea.model import DeepSeaSegmentation

    x = torch.from_numpy(field["image"])[None, None].to(memory_format=torch.channels_last)
    network = DeepSeaSegmentation(n_channels=1, n_classes=2).to(memory_format=torch.channels_last)
    return [forward("DeepSea, its network", network, x, repeats)]


def matching(field, repeats):
    """The metric on 5,000 predictions for 5,000 cells, as dense as on the thesis' images."""
    from cellcount.metrics import match

    rng = np.random.default_rng(0)
    true, found = (rng.uniform(0, 2000, (5000, 2)).astype(np.float32) for _ in range(2))
    return [row("matching 5,000 x 5,000 points", timed(lambda: match(true, found, 12), repeats))]


def feeding(field, repeats):
    """Steps of trainings as in the book's profile `laptop`, and the share of their time spent waiting for batches."""
    from cellcount.methods import METHODS
    from cellcount.methods.pixels import centroids
    from cellcount.types import Sample

    points = centroids(field["labels"], np.arange(1, field["labels"].max() + 1))
    sample, records = Sample("field", field["image"], points), []
    heard = logging.getLogger("cellcount.methods.feeding")
    heard.setLevel(logging.INFO)
    heard.addFilter(lambda record: records.append(record))  # it gives None: nothing is printed
    trainings = {
        "cellnet": ("CellNet", {"start": None, "crop": 128}, "steps"),
        "maskrcnn": ("Mask R-CNN", {"preset": "light", "epochs": 1, "batch": 4}, "epoch_steps"),
        "yolox": ("YOLOX", {"preset": "light", "epochs": 1, "batch": 8}, "epoch_steps"),
    }
    rows = []
    for name, (label, params, steps) in trainings.items():
        records.clear()
        with tempfile.TemporaryDirectory() as folder:
            for _ in range(repeats):
                out, run = Path(folder) / "weights.safetensors", {"device": "cpu", "progress": False, steps: STEPS}
                METHODS[name].fit([sample], out=out, **run, **params)
        waited = statistics.median(record.waited / record.lasted for record in records)
        seconds = [record.lasted / STEPS for record in records]
        rows.append(row(f"{label}, a training step", seconds, waited=round(waited, 4)))
    return rows


PARTS = {
    part.__name__: part for part in (warm, peak, cellnet, published, cellpose, stardist, deepsea, matching, feeding)
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("field", help="npz with image (H, W) float32 and labels (H, W) int32")
    parser.add_argument("--repeats", type=int, required=True)
    arguments = parser.parse_args()
    with np.load(arguments.field) as stored:
        field = {name: stored[name] for name in stored.files}
    rows = PARTS[arguments.part](field, arguments.repeats)
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
