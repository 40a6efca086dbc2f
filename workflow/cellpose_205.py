"""Two failures of the thesis draft with Cellpose 2.0.5, the version that it used.

    pip install --no-deps --target OLD cellpose==2.0.5
    python workflow/cellpose_205.py OLD results/claims-cellpose-2.0.5.csv

The old package is pure Python and runs in this project's environment. Its network gets the weights that `13-cellpose`
trains from clicks with its own parameters for a laptop (train them first: `cellcount run cellpose --profile laptop`).
"""

import csv
import io
import logging
import sys
import tempfile
from contextlib import redirect_stderr, redirect_stdout
from logging.handlers import BufferingHandler
from pathlib import Path

OLD, OUT = sys.argv[1:3]
sys.path.insert(0, OLD)

import cellpose  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from cellpose.models import CellposeModel  # noqa: E402
from cellpose.resnet_torch import CPnet  # noqa: E402

from cellcount.data import phantom  # noqa: E402
from cellcount.methods import weights_files  # noqa: E402
from cellcount.methods.cellpose.settings import FORMAT  # noqa: E402
from cellcount.registry import cache_root  # noqa: E402

VERSION = "2.0.5"
assert Path(cellpose.__file__).is_relative_to(Path(OLD).resolve()), cellpose.__file__
torch.set_num_threads(1)


def model(widths: list[int], diam_mean: float) -> CellposeModel:
    """A model with random weights and narrower layers than the library's."""
    made = CellposeModel(gpu=False, pretrained_model=False, model_type=None, diam_mean=diam_mean)
    made.mkldnn = False
    made.net = CPnet([2, *widths], 3, sz=3, residual_on=True, style_on=True, mkldnn=False, diam_mean=diam_mean)
    return made


def first_epoch() -> dict[str, float]:
    """What an epoch of training changes, and what a user sees of it."""
    part = phantom.load("train", fields=2)[1].crop(0, 0, 256, 256)
    trained = model([8, 16, 32, 256], 30.0)
    before = {name: tensor.detach().clone() for name, tensor in trained.net.named_parameters()}
    logger, records, shown = logging.getLogger("cellpose"), BufferingHandler(10**9), io.StringIO()
    logger.addHandler(records)
    logger.setLevel(logging.INFO)
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(shown), redirect_stderr(shown):
        image = part.image[None].repeat(2, axis=0)
        trained.train(
            [image], [part.labels], channels=None, normalize=False, save_path=folder, n_epochs=1, min_train_masks=0
        )
    learned = [
        float((tensor.detach() - before[name]).abs().max())
        for name, tensor in trained.net.named_parameters()
        if tensor.requires_grad
    ]
    found = {"learned_in_first_epoch": max(learned), "loss_lines_printed": shown.getvalue().lower().count("loss")}
    return found | {"messages_logged": len(records.buffer), "object_knows_diameter": trained.diam_labels != 30.0}


def conditions() -> dict[str, float]:
    """Masks of one network with and without the limit on flows, after `net.train()`, and with a mistaken scale."""
    files = [
        weights_files.read(path, FORMAT, "Cellpose")
        for path in (cache_root() / "trained").glob("cellpose-*.safetensors")
    ]
    about, tensors = max(files, key=lambda file: file[0]["settings"]["epochs"])
    settings = about["settings"]
    state = {name.removeprefix("net."): tensor for name, tensor in tensors.items() if name.startswith("net.")}
    sample = phantom.load("test", fields=2)[1].crop(128, 128, 320, 320)
    low, high = (float(torch.quantile(torch.from_numpy(sample.image), q)) for q in (0.01, 0.99))
    image = np.stack([(sample.image - low) / (high - low), np.zeros_like(sample.image)])  # gray, and no nuclear stain

    def masks(flow_threshold: float, train: bool = False, declared: float = settings["diam_mean"]) -> int:
        made = model(settings["widths"], settings["diam_mean"])
        made.net.load_state_dict(state)
        made.diam_mean = declared
        if train:
            made.net.train()
        size = float(state["diam_labels"])
        options = {"channels": None, "channel_axis": 0, "diameter": size, "normalize": False, "resample": False}
        return int(made.eval(image, flow_threshold=flow_threshold, **options)[0].max())

    return {
        "cells": len(sample.points), "epochs": settings["epochs"], "masks_kept_all": masks(0.0),
        "masks_training_mode": masks(0.0, train=True), "masks_default_flow_threshold": masks(0.4),
        "masks_diam_mean_as_diameter": masks(0.0, declared=float(state["diam_labels"])),
    }  # fmt: skip


with open(OUT, "w", newline="") as file:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["quantity", "value", "library", "version"])
    writer.writerows(
        (name, float(value), "cellpose", VERSION) for name, value in (first_epoch() | conditions()).items()
    )
print(Path(OUT).read_text())
