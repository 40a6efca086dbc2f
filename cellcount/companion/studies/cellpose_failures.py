"""Two failures that stopped the thesis' draft from retraining Cellpose, each made to happen again.

"The training just froze at the beginning": `silent_start`. "Changing the model into training mode suddenly nulls the
model's predictions": `scale_error`.
"""

import io
import logging
import tempfile
import time
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cellcount.devices import choose_device, deterministic
from cellcount.methods.cellpose.inference import GRAY, OFF, as_prediction, normalised, quiet
from cellcount.methods.cellpose.training import numpy_seed_kept
from cellcount.methods.cellpose.weights import load, new_model
from cellcount.types import Prediction


class Silence(NamedTuple):
    """What a training run of one epoch looks like from outside.

    Attributes
    ----------
    first_sign : float, s
        Until anything was printed; nan if nothing ever was.
    first_step : float, s
        Until the network saw its first crop.
    total : float, s
    printed : str
    logged : int
        Messages given to Python's logging, which drops them: nobody has told it where to write.
    learned : float
        Largest change of a weight by the epoch.
    """

    first_sign: float
    first_step: float
    total: float
    printed: str
    logged: int
    learned: float


def silent_start(
    image: np.ndarray,
    labels: np.ndarray,
    *,
    widths: Sequence[int] = (32, 64, 128, 256),
    epochs: int = 1,
    device: str = "cpu",
) -> Silence:
    """Train as the library's documentation shows it, on one image, and watch what can be seen of it.

    Cellpose computes the flows of all masks before its first step, without a word when there is one image; its
    messages go to a logger that has no handler unless `cellpose.io.logger_setup` was called; and its learning rate
    is 0 in the first epoch. On an image with a thousand cells, nothing happens for minutes, and nothing is learned.

    Parameters
    ----------
    image : (H, W) float32 in [0, 1]
    labels : (H, W) int, 0 is background
    widths : see `cellcount.methods.cellpose.settings`
    epochs : int
    device : str

    Returns
    -------
    Silence
    """
    from cellpose.train import train_seg

    net = new_model(widths, 30.0, choose_device(device)).net
    before = {name: tensor.clone() for name, tensor in net.named_parameters()}
    clock, records = _Clock(), _Counter()
    hook = net.register_forward_pre_hook(lambda *_: clock.step())
    logger = logging.getLogger("cellpose")
    level = logger.level
    logger.addHandler(records)
    logger.setLevel(logging.INFO)
    try:
        with (
            tempfile.TemporaryDirectory() as scratch,
            numpy_seed_kept(),
            redirect_stdout(clock),
            redirect_stderr(clock),
        ):
            train_seg(
                net,
                train_data=[normalised(image)[None].repeat(2, axis=0)],
                train_labels=[labels.astype(np.int32)],
                normalize=OFF,
                n_epochs=epochs,
                batch_size=1,
                bsize=64,
                save_path=scratch,
                min_train_masks=0,
            )
    finally:
        hook.remove()
        logger.removeHandler(records)
        logger.setLevel(level)
    learned = max(
        float((tensor.detach() - before[name].detach()).abs().max())
        for name, tensor in net.named_parameters()
        if tensor.requires_grad
    )
    return Silence(clock.first_sign, clock.first_step, clock.now(), clock.getvalue(), records.count, learned)


class _Clock(io.StringIO):
    """A stream that remembers when it was first written to, and when the first step was made; seconds."""

    def __init__(self):
        super().__init__()
        self.start = time.perf_counter()
        self.first_sign = self.first_step = np.nan

    def now(self):
        return time.perf_counter() - self.start

    def write(self, text):
        if text and np.isnan(self.first_sign):
            self.first_sign = self.now()
        return super().write(text)

    def step(self):
        if np.isnan(self.first_step):
            self.first_step = self.now()


class _Counter(logging.Handler):
    """Counts messages."""

    count = 0

    def emit(self, record):
        self.count += 1


def scale_error(
    image: np.ndarray, *, weights: Path | str, diameter: float, device: str = "auto"
) -> dict[str, Prediction]:
    """What the same network says of an image in four conditions, two of which null its answer.

    Parameters
    ----------
    image : (H, W) float32 in [0, 1]
    weights : as of `predict`
    diameter : float, px
        Of the image's cells.
    device : str

    Returns
    -------
    dict of condition to Prediction
        "as trained": the image is scaled so that its cells have the network's size.
        "training mode": the same after `net.train()`; the library sets the mode itself before it predicts.
        "diam_mean = diameter": the network's size was declared to be that of the image's cells (it looks like the
        place to say how large they are), so nothing is scaled.
        "object just trained": `train_seg` notes the cells' size in the network only; the model object around it
        still has its first value, and without a given diameter the image is not scaled either.
    """
    loaded = load(weights, choose_device(device))
    model = loaded.model
    gray = normalised(image)
    declared = model.diam_mean, model.diam_labels

    def run(**params):
        with deterministic(0), quiet():
            masks, (_, _, logit), _ = model.eval(
                gray, channels=GRAY, normalize=OFF, flow_threshold=loaded.flow_threshold, **params
            )
        return as_prediction(masks, logit, weights_sha256=loaded.sha256, device=str(model.device))

    answers = {"as trained": run(diameter=diameter)}
    try:
        model.net.train()
        answers["training mode"] = run(diameter=diameter)
        model.diam_mean = float(diameter)
        answers["diam_mean = diameter"] = run(diameter=diameter)
        model.diam_mean = declared[0]
        model.diam_labels = declared[0]  # as the object is built, and as train_seg leaves it
        answers["object just trained"] = run(diameter=None)
    finally:
        model.diam_mean, model.diam_labels = declared
        model.net.eval()
    return answers
