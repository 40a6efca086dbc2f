"""YOLOX of the package pixeltable-yolox, for images of one channel and annotations with gaps: network and training."""

import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from cellcount.errors import NotAvailableError
from cellcount.methods import weights_files
from cellcount.methods.base import predicts
from cellcount.methods.detection import loop
from cellcount.methods.detection.boxes import from_corner_xy, to_corner_xy
from cellcount.methods.detection.inference import most, prepare, to_points
from cellcount.methods.detection.tiles import Tile
from cellcount.methods.feeding import sent
from cellcount.methods.yolox.settings import INSTALL, Settings
from cellcount.types import Prediction, Sample

CHANNELS = {"dark2": 128, "dark3": 256, "dark4": 512, "dark5": 1024}  # of the backbone's stages, at width 1
PRIOR = 0.01  # confidence of an untrained network: almost all places are background


def build(settings: Settings) -> nn.Module:
    """A YOLOX for images of one channel, with random weights.

    Its forward takes (N, 1, H, W) float, H and W multiples of `stride(settings)`, and in training also boxes
    (N, M, 5) float: class 0, then centre and size (x, y, width, height) px from the corner, rows of zeros for none.
    It returns a dict of losses in training, else (N, places, 6): such a box, the confidence that there is an object,
    and that it is a cell.

    Parameters
    ----------
    settings : Settings

    Raises
    ------
    NotAvailableError
        If the package is not installed.
    """
    try:
        from yolox.models import YoloPafpn, YoloxHead, YoloxModule
    except ImportError as error:
        raise NotAvailableError(f"YOLOX is not installed ({error}); install it with: {INSTALL}") from error
    stages = list(CHANNELS)[:3] if settings.finest == 4 else list(CHANNELS)[1:]
    widths = [CHANNELS[name] for name in stages]
    backbone = YoloPafpn(settings.depth, settings.width, in_features=stages, in_channels=widths)
    backbone.backbone.out_features = stages
    backbone.backbone.stem.conv.conv = nn.Conv2d(4, int(64 * settings.width), 3, padding=1, bias=False)
    if "dark5" not in stages:
        backbone.backbone.dark5 = nn.Identity()
    strides = [settings.finest * 2**i for i in range(3)]
    head = YoloxHead(1, settings.width, strides=strides, in_channels=widths)
    head.initialize_biases(PRIOR)
    head.bcewithlog_loss = TrustingLoss()
    head.simota_matching = matched
    loop.in_float32(backbone, *head.cls_preds, *head.reg_preds, *head.obj_preds)
    network = YoloxModule(backbone, head)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):  # as in the package's own configuration
            module.eps, module.momentum = 1e-3, 0.03
    return network.to(memory_format=torch.channels_last)


def stride(settings: Settings) -> int:
    """How many px of the input one pixel of the coarsest feature map spans."""
    return 4 * settings.finest


class TrustingLoss(nn.Module):
    """Binary cross entropy of logits, in which background counts only where the annotation is trusted."""

    def __init__(self) -> None:
        super().__init__()
        self.trusted: torch.Tensor | None = None

    def watch(self, trusted: torch.Tensor, strides: Sequence[int]) -> None:
        """Set where the annotation of the next batch is trusted: (N, H, W) bool; strides of the three feature maps."""
        # A pixel of a feature map has the trust of the middle of its input px.
        maps = [trusted[:, step // 2 :: step, step // 2 :: step].flatten(1) for step in strides]
        self.trusted = torch.cat(maps, dim=1).reshape(-1, 1)

    def forward(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Loss of each of the (K, 1) logits: all places of the batch, or (their class) only those with a cell."""
        loss = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
        if self.trusted is not None and len(loss) == len(self.trusted):
            loss = loss * (self.trusted | (targets > 0))
        return loss


def matched(
    cost: torch.Tensor, iou: torch.Tensor, classes: torch.Tensor, number: int, candidates: torch.Tensor
) -> tuple[int, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Which places learn which box: the package's own answer, without a loop over the boxes that waits for the GPU.

    Each box gets the places of the least cost, as many as the sum of its ten largest overlaps; of boxes that share
    a place, it learns the cheapest (SimOTA, Ge et al. 2021, section 2.1).

    Parameters
    ----------
    cost, iou : (N, K) float32
        Of each box with each candidate.
    classes : (N,) float32
    number : int
        N, 1 or more.
    candidates : (places,) bool
        K of which are True; afterwards, in place, those that learn a box.

    Returns
    -------
    int, their number M; (M,) their classes; (M,) overlaps; (M,) int64 numbers of their boxes
    """
    most = min(10, iou.shape[1])
    if not most:  # nothing lies on a candidate
        return 0, classes.new_zeros(0), iou.new_zeros(0), torch.zeros(0, dtype=torch.long, device=cost.device)
    wanted = torch.topk(iou, most, dim=1).values.sum(dim=1).int().clamp(min=1)
    nearest = torch.topk(cost, most, dim=1, largest=False).indices
    chosen = torch.zeros_like(cost, dtype=torch.bool)
    chosen.scatter_(1, nearest, torch.arange(most, device=cost.device) < wanted[:, None])
    cheapest = torch.zeros_like(chosen).scatter_(0, cost.argmin(dim=0, keepdim=True), True)
    chosen = torch.where(chosen.sum(dim=0) > 1, cheapest, chosen)
    learning = chosen.any(dim=0)
    candidates[candidates.clone()] = learning
    boxes = chosen[:, learning].int().argmax(dim=0)
    overlaps = (chosen * iou).sum(dim=0)[learning]
    return len(boxes), classes[boxes], overlaps, boxes


@predicts("YOLOX")
def predict(
    image: np.ndarray,
    *,
    prompts: None = None,
    device: str = "auto",
    weights: str | Path | None,
    threshold: float | None = None,
    nms: float = 0.5,
    detections: int | None = None,
    exposure: tuple[float, float] | None = None,
) -> Prediction:
    """Find the cells of one image: the centres of the boxes.

    Parameters
    ----------
    image : (H, W) float32 in [0, 1]
    prompts : None
    device : str
    weights : path
        A file written by `fit`.
    threshold : float or None
        Least confidence of a detection; None takes the weights' own.
    nms : float
        Of two boxes that overlap by more than this (intersection over union) the one with the lower score is dropped.
    detections : int or None
        Most detections in the image, by their scores; None takes more than any image can hold.
    exposure : (float, float) or None
        Brightness and contrast of the whole image, from `context`, when `image` is only a tile.

    Returns
    -------
    Prediction

    Raises
    ------
    DataError
        If the image is not (H, W) float32, or the weights file is missing or not one of YOLOX's.
    ParameterError
        If a parameter is out of range, or prompts are given.
    NotAvailableError
        If the package is not installed.
    """
    network, settings, meta = prepare(Settings, build, weights, device, threshold, nms, detections)
    small = settings.prepared(image, exposure)
    device = torch.device(meta["device"])
    boxes, scores = detect(network, small, device, stride(settings), threshold=meta["threshold"], nms=nms)
    kept = slice(most(settings, small.shape) if detections is None else detections)
    points = to_points(boxes[kept], settings, image.shape)
    return Prediction(points, scores[kept], float(len(points)), meta={"method": "yolox", **meta})


# Of a path: settings, samples, number of points, curves and versions of a weights file; raises DataError.
about = partial(weights_files.about, format=Settings.FORMAT, label=Settings.LABEL)


@torch.inference_mode()
def detect(
    network: torch.nn.Module, image: np.ndarray, device: torch.device, step: int, *, threshold: float, nms: float
) -> tuple[np.ndarray, np.ndarray]:
    """Detections of one image, by descending score.

    Parameters
    ----------
    network : of `network.build`, in evaluation mode
    image : (H, W) float32
        From `Settings.prepared`.
    device : torch device
    step : int, px
        The sides are padded to a multiple of it.
    threshold, nms : float
        Least confidence, and largest intersection over union.

    Returns
    -------
    boxes : (N, 4) float32, (y0, x0, y1, x1) px
    scores : (N,) float32
    """
    from yolox.utils import postprocess

    padded = np.pad(image, [(0, -side % step) for side in image.shape])
    x = torch.from_numpy(padded)[None, None].contiguous(memory_format=torch.channels_last)
    found = postprocess(network(x.to(device)), 1, conf_thre=threshold, nms_thre=nms)[0]
    if found is None:
        return np.zeros((0, 4), np.float32), np.zeros(0, np.float32)
    found = found.cpu().numpy()
    return from_corner_xy(found[:, :4]), found[:, 4] * found[:, 5]


def fit(samples: list[Sample], *, out: str | Path, device: str = "auto", progress: bool = True, **params: Any) -> Path:
    """Train on annotated samples, from scratch, and write the weights.

    Each point becomes a square box, as for Mask R-CNN. A pixel without a box is background only where the
    annotation can be trusted (`Sample.valid`).

    Parameters
    ----------
    samples : list of Sample
        Each with `points` (N, 2) (y, x) px and `valid`.
    out : path
        The safetensors file to write; its metadata holds the settings, the data's names, and the training curves.
    device : "auto", "cpu", "cuda", ...
    params
        Fields of `Settings`; `preset` is "s", the default, or "light".

    Returns
    -------
    Path of `out`

    Raises
    ------
    DataError
        If no sample has a point, or one has no annotation at all.
    ParameterError
        If a parameter is unknown or out of range.
    NotAvailableError
        If the package is not installed.
    """
    settings = Settings.of(params)

    def losses(network, images, boxes, trusted):
        network.head.bcewithlog_loss.watch(trusted, network.head.strides)
        parts = network(images, boxes)
        names = {"loss_box": "iou_loss", "loss_objectness": "conf_loss", "loss_class": "cls_loss"}
        return {name: parts[theirs] for name, theirs in names.items()}, {}

    # The package gives a GPU's memory back to the system after each tile, and takes it again for the next.
    with warnings.catch_warnings(), patch("torch.cuda.empty_cache"):
        warnings.filterwarnings("ignore", message=".*torch.cuda.amp.autocast.*")  # in each step of the package
        parts = partial(build, settings), partial(tensors, step=stride(settings)), losses
        return loop.fit(samples, settings, *parts, out=out, device=device, progress=progress)


def tensors(batch: Sequence[Tile], device: torch.device, step: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A list of `Tile` as the network takes it, padded to one size, a multiple of `step` px.

    Returns
    -------
    images : (N, 1, H, W) float
    boxes : (N, M, 5) float
        Class 0, then centre and size, (x, y, width, height) px from the corner; padded with rows of zeros.
    trusted : (N, H, W) bool
    """
    height, width = (-(-max(tile.image.shape[i] for tile in batch) // step) * step for i in (0, 1))
    images = np.zeros((len(batch), 1, height, width), np.float32)
    trusted = np.zeros((len(batch), height, width), bool)
    boxes = np.zeros((len(batch), max(1, *(len(tile.boxes) for tile in batch)), 5), np.float32)
    for i, tile in enumerate(batch):
        rows, columns = tile.image.shape
        images[i, 0, :rows, :columns], trusted[i, :rows, :columns] = tile.image, tile.trusted
        corners = to_corner_xy(tile.boxes)
        boxes[i, : len(corners), 1:3] = (corners[:, :2] + corners[:, 2:]) / 2
        boxes[i, : len(corners), 3:5] = corners[:, 2:] - corners[:, :2]
    images = sent(images, device).contiguous(memory_format=torch.channels_last)
    return images, sent(boxes, device), sent(trusted, device)
