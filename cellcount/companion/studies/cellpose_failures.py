"""Two failures that kept the thesis' draft from retraining Cellpose, reproduced.

"The training just froze at the beginning": `silent_start`. "Changing the model into training mode suddenly nulls the
model's predictions": `scale_error`.
"""

import io
import logging
import tempfile
import time
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from logging.handlers import BufferingHandler
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cellcount.devices import choose_device, deterministic
from cellcount.methods.cellpose.inference import OFF, PLAIN, as_prediction, normalised, quiet
from cellcount.methods.cellpose.training import numpy_seed_kept
from cellcount.methods.cellpose.weights import load, new_model
from cellcount.types import Prediction


class Silence(NamedTuple):
    """What a user sees of a short training.

    Attributes
    ----------
    first_sign : float, s
        Time until anything was printed; nan if nothing was.
    first_step : float, s
        Time until the network saw its first crop.
    printed : str
    logged : int
        Messages to Python's logging, which drops them unless a handler is set.
    learned : float
        Largest change of a weight.
    """

    first_sign: float
    first_step: float
    printed: str
    logged: int
    learned: float


def silent_start(
    image: np.ndarray, labels: np.ndarray, *, widths: Sequence[int] = (32, 64, 128, 256), epochs: int = 1
) -> Silence:
    """Train on one image as in the library's documentation, and record what a user sees.

    Cellpose computes the flows of all masks before its first step, without a message if there is one image; its
    messages go to a logger without a handler unless `cellpose.io.logger_setup` was called; and its learning rate is 0
    in the first epoch. With a thousand cells nothing happens for minutes, and nothing is learned.

    Parameters
    ----------
    image : (H, W) float32 in [0, 1]
    labels : (H, W) int, 0 is background
    widths : see `cellcount.methods.cellpose.settings`
    epochs : int

    Returns
    -------
    Silence
    """
    from cellpose.train import train_seg

    net = new_model(widths, 30.0, choose_device("cpu")).net
    before = {name: tensor.detach().clone() for name, tensor in net.named_parameters()}
    clock, records = _Clock(), BufferingHandler(capacity=10**9)
    net.register_forward_pre_hook(lambda *_: clock.note("step"))
    logger = logging.getLogger("cellpose")
    level = logger.level
    logger.addHandler(records)
    logger.setLevel(logging.INFO)
    try:
        with tempfile.TemporaryDirectory() as folder, numpy_seed_kept(), redirect_stdout(clock), redirect_stderr(clock):
            images, masks = [normalised(image)[None].repeat(2, axis=0)], [labels.astype(np.int32)]
            options = {"normalize": OFF, "n_epochs": epochs, "batch_size": 1, "bsize": 64, "min_train_masks": 0}
            train_seg(net, train_data=images, train_labels=masks, save_path=folder, **options)
    finally:
        logger.removeHandler(records)
        logger.setLevel(level)
    trained = {name: tensor.detach() for name, tensor in net.named_parameters() if tensor.requires_grad}
    learned = max(float((tensor - before[name]).abs().max()) for name, tensor in trained.items())
    first_sign, first_step = (clock.seconds.get(event, np.nan) for event in ("sign", "step"))
    return Silence(first_sign, first_step, clock.getvalue(), len(records.buffer), learned)


class _Clock(io.StringIO):
    """A stream with the seconds until the first event of each kind; "sign" is the first text."""

    def __init__(self):
        super().__init__()
        self.start, self.seconds = time.perf_counter(), {}

    def note(self, event):
        self.seconds.setdefault(event, time.perf_counter() - self.start)

    def write(self, text):
        if text:
            self.note("sign")
        return super().write(text)


def scale_error(
    image: np.ndarray, *, weights: Path | str, diameter: float, device: str = "auto"
) -> dict[str, Prediction]:
    """Predictions of one network in four conditions, two of which make it find hardly any cell.

    Parameters
    ----------
    image : (H, W) float32 in [0, 1]
    weights : as for `predict`
    diameter : float, px
        Of the image's cells.
    device : str

    Returns
    -------
    dict of condition to Prediction
        "as trained": the image is scaled so that its cells have the diameter of the network.
        "training mode": the same after `net.train()`; the library sets the mode itself before it predicts.
        "diam_mean = diameter": the network's diameter was set to that of the image's cells, as its name suggests; the
        image is not scaled then.
        "object just trained": `train_seg` sets the diameter of the network only; the model object around it keeps its
        initial value, and without a given diameter the image is not scaled either.
    """
    loaded, gray = load(weights, choose_device(device)), normalised(image)
    model = loaded.model
    declared = model.diam_mean, model.diam_labels

    def run(**params):
        with deterministic(0), quiet():
            masks, (_, _, logit), _ = model.eval(gray, flow_threshold=loaded.flow_threshold, **params, **PLAIN)
        return as_prediction(masks, logit, weights_sha256=loaded.sha256, device=str(model.device))

    answers = {"as trained": run(diameter=diameter)}
    try:
        model.net.train()
        answers["training mode"] = run(diameter=diameter)
        model.diam_mean = float(diameter)
        answers["diam_mean = diameter"] = run(diameter=diameter)
        model.diam_mean = model.diam_labels = declared[0]  # as the object is built, and as train_seg leaves it
        answers["object just trained"] = run(diameter=None)
    finally:
        model.diam_mean, model.diam_labels = declared
        model.net.eval()
    return answers
