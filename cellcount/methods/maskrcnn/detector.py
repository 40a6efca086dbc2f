"""Mask R-CNN: the network, from samples to weights, and from an image to detections, to points and masks.

It is torchvision's, changed so that pixels without trusted annotation are left out of the loss. torchvision's own
constructor does not allow that, and it pastes each mask into a float32 image of the tile's size. The parts have the
same names, so torchvision's weights fit.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torchvision.models import resnet
from torchvision.models.detection import mask_rcnn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.generalized_rcnn import GeneralizedRCNN
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.ops import MultiScaleRoIAlign
from torchvision.ops.misc import FrozenBatchNorm2d

from cellcount import registry
from cellcount.methods import weights_files
from cellcount.methods.base import predicts
from cellcount.methods.detection import loop
from cellcount.methods.detection.boxes import from_corner_xy, to_corner_xy
from cellcount.methods.detection.inference import most, prepare, to_points
from cellcount.methods.detection.tiles import Tile
from cellcount.methods.feeding import sent
from cellcount.methods.maskrcnn.settings import Settings
from cellcount.methods.pixels import centroids, enlarged, to_full
from cellcount.types import Prediction, Sample

CLASSES = 2  # background and cell
COCO_NAME = "maskrcnn-resnet50-coco"  # in the registry
ANCHORS = ((32,), (64,), (128,), (256,), (512,))  # px, and below their ratios: torchvision's for COCO
RATIOS = (0.5, 1.0, 2.0)
LEVELS = ["0", "1", "2", "3"]
Tensors = list[torch.Tensor]
Targets = list[dict[str, torch.Tensor]]


def build(settings: Settings) -> GeneralizedRCNN:
    """A Mask R-CNN for images of one channel, with random weights.

    Called with a list of (1, H, W) float tensors, standardised; in training also with a list of targets, each a dict of
    `boxes` (N, 4) float, (x0, y0, x1, y1) px from the corner, `labels` (N,) int64, `masks` (N, H, W) uint8 and
    `trusted` (H, W) bool. It returns a dict of losses in training, else a list of dicts of `boxes`, `scores`, `labels`
    and `masks` (N, 1, 4 * pool, 4 * pool), each mask for the area of its box.

    Parameters
    ----------
    settings : Settings
    """
    levels, sizes, ratios = LEVELS, ANCHORS, (RATIOS,) * len(ANCHORS)
    if not settings.pyramid:
        levels, sizes, ratios = ["0"], ((settings.box / settings.factor,),), ((1.0,),)
    backbone, anchors = _backbone(settings), AnchorGenerator(sizes, ratios)
    rpn = TrustingProposals(
        anchors, RPNHead(settings.channels, anchors.num_anchors_per_location()[0]),
        fg_iou_thresh=0.7, bg_iou_thresh=0.3, batch_size_per_image=256, positive_fraction=0.5,
        pre_nms_top_n={"training": settings.proposals, "testing": 1000},
        post_nms_top_n={"training": settings.proposals, "testing": 1000}, nms_thresh=0.7,
    )  # fmt: skip
    box_pool = MultiScaleRoIAlign(levels, output_size=settings.pool, sampling_ratio=settings.samples)
    mask_pool = MultiScaleRoIAlign(levels, output_size=2 * settings.pool, sampling_ratio=settings.samples)
    heads = TrustingHeads(
        box_pool, TwoMLPHead(settings.channels * settings.pool**2, settings.representation),
        FastRCNNPredictor(settings.representation, CLASSES),
        fg_iou_thresh=0.5, bg_iou_thresh=0.5,
        batch_size_per_image=settings.sampled, positive_fraction=settings.positive, bbox_reg_weights=None,
        score_thresh=0.05, nms_thresh=0.5, detections_per_img=100,
        mask_roi_pool=mask_pool,
        mask_head=mask_rcnn.MaskRCNNHeads(settings.channels, (settings.channels,) * settings.mask_layers, 1),
        mask_predictor=mask_rcnn.MaskRCNNPredictor(settings.channels, settings.hidden, CLASSES),
    )  # fmt: skip
    transform = GeneralizedRCNNTransform(min_size=0, max_size=0, image_mean=[0.0], image_std=[1.0])
    transform.resize = lambda image, target=None: (image, target)  # torchvision would enlarge a tile to 800 px
    transform.postprocess = lambda result, *_: result  # torchvision would paste each mask into an image of its own
    loop.in_float32(backbone, rpn.head)
    return GeneralizedRCNN(backbone, rpn, heads, transform).to(memory_format=torch.channels_last)


def _backbone(settings):
    """A ResNet with a feature pyramid: all of its maps, or only the finest, at a quarter of the input's resolution."""
    pretrained = settings.start == "coco"
    # The weights for COCO belong to fixed batch statistics without an epsilon.
    norm = partial(FrozenBatchNorm2d, eps=0.0) if pretrained else nn.BatchNorm2d
    body = getattr(resnet, settings.backbone)(weights=None, norm_layer=norm)
    body.conv1 = nn.Conv2d(1, 64, 7, stride=2, padding=3, bias=False)
    nn.init.kaiming_normal_(body.conv1.weight, mode="fan_out", nonlinearity="relu")
    trained = ["layer4", "layer3", "layer2", "layer1", "conv1"][: settings.trainable_layers]
    for name, parameter in body.named_parameters():
        parameter.requires_grad_(not pretrained or name.split(".")[0] in trained)
    widths = [body.inplanes // 8 * 2**i for i in range(4)]
    if settings.pyramid:
        names = {f"layer{i + 1}": level for i, level in enumerate(LEVELS)}
        return BackboneWithFPN(body, names, widths, settings.channels)
    return FinestMap(body, widths, settings.channels)


class FinestMap(BackboneWithFPN):
    """The finest map of a feature pyramid of three resolutions: those coarser than a cell are left out."""

    def __init__(self, body: nn.Module, widths: list[int], channels: int) -> None:
        super().__init__(body, {f"layer{i + 1}": LEVELS[i] for i in range(3)}, widths[:3], channels)
        self.fpn.extra_blocks = None
        for i in (1, 2):  # the coarser maps are no outputs
            self.fpn.layer_blocks[i] = nn.Identity()

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """(N, 1, H, W) float -> {"0": (N, channels, H / 4, W / 4)}."""
        return {"0": super().forward(x)["0"]}


class TrustingProposals(RegionProposalNetwork):
    """The first stage; an anchor without a cell, where the annotation is not trusted, is left out of the loss."""

    def assign_targets_to_anchors(self, anchors: Tensors, targets: Targets) -> tuple[Tensors, Tensors]:
        """As in torchvision, with label -1 (left out) for such anchors."""
        labels, boxes = super().assign_targets_to_anchors(anchors, targets)
        return _without_untrusted(labels, anchors, targets), boxes


class TrustingHeads(RoIHeads):
    """The second stage, likewise; `positive_share` is the share of cells among the boxes sampled in the last step."""

    positive_share = float("nan")

    def select_training_samples(self, proposals: Tensors, targets: Targets) -> tuple[Tensors, ...]:
        """As in torchvision."""
        self._targets = targets
        chosen = super().select_training_samples(proposals, targets)
        self.positive_share = float((torch.cat(chosen[2]) > 0).float().mean())
        return chosen

    def assign_targets_to_proposals(
        self, proposals: Tensors, gt_boxes: Tensors, gt_labels: Tensors
    ) -> tuple[Tensors, Tensors]:
        """As in torchvision, with label -1 (left out) where the annotation is not trusted."""
        matched, labels = super().assign_targets_to_proposals(proposals, gt_boxes, gt_labels)
        return matched, _without_untrusted(labels, proposals, self._targets)


def _without_untrusted(labels, boxes, targets):
    """Labels, in place, with -1 for background boxes (N, 4), (x0, y0, x1, y1) px, whose centre is not trusted."""
    for label, box, target in zip(labels, boxes, targets):
        x, y = ((box[:, :2] + box[:, 2:]) / 2).long().T
        height, width = target["trusted"].shape
        label[(label == 0) & ~target["trusted"][y.clamp(0, height - 1), x.clamp(0, width - 1)]] = -1
    return labels


def allow(network: GeneralizedRCNN, *, proposals: int, detections: int, threshold: float, nms: float) -> None:
    """Set the number of proposals of the first stage and of detections of the second, least score, largest overlap.

    These limits are attributes of the two stages: torchvision reads none of the network.
    """
    network.rpn._pre_nms_top_n["testing"] = network.rpn._post_nms_top_n["testing"] = proposals
    heads = network.roi_heads
    heads.detections_per_img, heads.score_thresh, heads.nms_thresh = detections, threshold, nms


def load_coco(network: GeneralizedRCNN, path: Path | str) -> None:
    """Fill a network with the weights pretrained on COCO, but for the two layers that predict COCO's classes.

    The weights of the first layer are summed over the colours: the same as one gray image in all three channels.

    Parameters
    ----------
    network : of `build`
    path : verified file
    """
    state = torch.load(path, map_location="cpu", weights_only=True)
    state["backbone.body.conv1.weight"] = state["backbone.body.conv1.weight"].sum(dim=1, keepdim=True)
    own = network.state_dict()
    fresh = ("roi_heads.box_predictor.", "roi_heads.mask_predictor.mask_fcn_logits.")
    network.load_state_dict(own | {name: tensor for name, tensor in state.items() if not name.startswith(fresh)})


@predicts("Mask R-CNN")
def predict(
    image: np.ndarray,
    *,
    prompts: None = None,
    device: str = "auto",
    weights: str | Path | None,
    threshold: float | None = None,
    nms: float = 0.5,
    detections: int | None = None,
    masks: bool = True,
    exposure: tuple[float, float] | None = None,
) -> Prediction:
    """Find the cells of one image.

    The points are the boxes' centres; the centroids of the masks where the network has learned instance masks.

    Parameters
    ----------
    image : (H, W) float32 in [0, 1]
        Large images go through `cellcount.tiling.tiled`: a detection takes 0.2 MB until its mask is painted.
    prompts : None
    device : str
    weights : path
        A file written by `fit`.
    threshold : float or None
        Least confidence of a detection; None takes the weights' own.
    nms : float
        Of two boxes that overlap by more than this (intersection over union) the one with the lower score is dropped.
    detections : int or None
        Most detections in the image, by their scores (torchvision's `box_detections_per_img`, there 100); None takes
        one for every square of a quarter of a box's side, more than any image can hold.
    masks : bool
        Whether to return `labels`; where masks overlap, the one with the higher score is on top.
    exposure : (float, float) or None
        Brightness and contrast of the whole image, from `context`, when `image` is only a tile.

    Returns
    -------
    Prediction

    Raises
    ------
    DataError
        If the image is not (H, W) float32, or the weights file is missing or not one of Mask R-CNN's.
    ParameterError
        If a parameter is out of range, or prompts are given.
    """
    network, settings, meta = prepare(Settings, build, weights, device, threshold, nms, detections)
    small = settings.prepared(image, exposure)
    detections = most(settings, small.shape) if detections is None else detections
    # As many proposals per area as in training: among those that it never saw there, the second stage errs.
    proposals = max(1, round(settings.proposals * small.size / settings.tile**2))
    allow(network, proposals=proposals, detections=detections, threshold=meta["threshold"], nms=nms)
    found = detect(network, small, torch.device(meta["device"]))
    points, labels = to_points(found["boxes"], settings, image.shape), None
    if masks or settings.targets == "labels":
        labels = paint(found["boxes"], found["masks"], small.shape)
        present = np.unique(labels[labels > 0])
        if settings.targets == "labels" and len(present):
            points[present - 1] = to_full(centroids(labels, present), settings.factor)
        labels = np.ascontiguousarray(enlarged(labels, settings.factor, image.shape)) if masks else None
    meta = {"method": "maskrcnn", **meta}
    return Prediction(points, found["scores"], float(len(points)), labels=labels, meta=meta)


# Of a path: settings, samples, number of points, curves and versions of a weights file; raises DataError.
about = partial(weights_files.about, format=Settings.FORMAT, label=Settings.LABEL)


@torch.inference_mode()
def detect(network: torch.nn.Module, image: np.ndarray, device: torch.device) -> dict[str, np.ndarray]:
    """Detections of one image, by descending score.

    Parameters
    ----------
    network : of `network.build`, in evaluation mode
    image : (H, W) float32
        From `Settings.prepared`.
    device : torch device

    Returns
    -------
    dict of `boxes` (N, 4) float32, (y0, x0, y1, x1) px; `scores` (N,) float32; `masks` (N, m, m) float32, for each
    part of the box the probability that it belongs to the cell
    """
    found = network([torch.from_numpy(image)[None].to(device)])[0]
    boxes, scores, masks = (found[name].cpu().numpy() for name in ("boxes", "scores", "masks"))
    return {"boxes": from_corner_xy(boxes), "scores": scores, "masks": masks[:, 0]}


def paint(boxes: np.ndarray, masks: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """One label image from many masks, each drawn into its own box: memory does not grow with their number.

    Parameters
    ----------
    boxes : (N, 4) float32, (y0, x0, y1, x1) px
        The first is on top.
    masks : (N, m, m) float32
        Probabilities, as of `detect`.
    shape : (height, width), px

    Returns
    -------
    (height, width) int32
        Value i + 1 is the mask of box i.
    """
    labels = np.zeros(shape, np.int32)
    edges = np.rint(np.clip(boxes + 0.5, 0, np.tile(shape, 2))).astype(int)
    for i, (y0, x0, y1, x1) in enumerate(edges):
        if y1 > y0 and x1 > x0:
            mask = torch.from_numpy(masks[i])[None, None]
            inside = F.interpolate(mask, size=(int(y1 - y0), int(x1 - x0)), mode="bilinear")[0, 0].numpy() > 0.5
            part = labels[y0:y1, x0:x1]
            part[inside & (part == 0)] = i + 1
    return labels


def fit(samples: list[Sample], *, out: str | Path, device: str = "auto", progress: bool = True, **params: Any) -> Path:
    """Train on annotated samples and write the weights.

    Each point becomes a square box, and the box its own mask, as in the thesis; or the samples' instance masks are
    learned. A pixel without a box is background only where the annotation can be trusted (`Sample.valid`). On a GPU,
    the weights of two trainings differ by rounding, as the gradients of the pooling are summed in any order.

    Parameters
    ----------
    samples : list of Sample
        Each with `points` (N, 2) (y, x) px and `valid`; with `labels` if targets="labels".
    out : path
        The safetensors file to write; its metadata holds the settings, the data's names, and the training curves.
    device : "auto", "cpu", "cuda", ...
    params
        Fields of `Settings`; `preset` is "thesis", the default, or "light".

    Returns
    -------
    Path of `out`

    Raises
    ------
    DataError
        If no sample has a point, or one lacks its annotation.
    ParameterError
        If a parameter is unknown or out of range.
    NotAvailableError
        If start="coco" and the weights are not on this machine and cannot be downloaded.
    """
    settings = Settings.of(params)
    pretrained = registry.fetch_weights(COCO_NAME) if settings.start == "coco" else None
    if settings.start == "auto":
        pretrained = registry.find_weights(COCO_NAME) if settings.fits_coco else None
        settings = replace(settings, start="coco" if pretrained else "scratch")

    def network():
        made = build(settings)
        if pretrained:
            load_coco(made, pretrained)
        return made

    def losses(network, images, targets):
        with fast_pooling(images[0].device):
            parts = network(images, targets)
        return parts, {"positive_share": round(network.roi_heads.positive_share, 4)}

    run = {"out": out, "device": device, "progress": progress}
    return loop.fit(samples, settings, network, tensors, losses, masks=True, targets=settings.targets, **run)


@contextmanager
def fast_pooling(device: torch.device) -> Iterator[None]:
    """On a GPU, torchvision's own kernel for RoI pooling, the gradients of which depend on the order of its threads.

    While deterministic algorithms are asked for, torchvision has one in Python, compiled anew for other sizes, which
    for each value of a mask's target reads all pixels of the tile: some 5e10 for the thesis' two tiles.
    """
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(before and device.type != "cuda", warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=True)


def tensors(batch: Sequence[Tile], device: torch.device) -> tuple[Tensors, Targets]:
    """Images and targets of a list of `Tile`, for torchvision."""
    images = [sent(tile.image, device)[None] for tile in batch]
    targets = []
    for tile in batch:
        arrays = {"boxes": to_corner_xy(tile.boxes), "labels": np.ones(len(tile.boxes), np.int64)}
        arrays |= {"masks": tile.masks, "trusted": np.ascontiguousarray(tile.trusted)}
        target = {name: sent(array, device) for name, array in arrays.items()}
        if tile.masks.ndim == 2:
            target["masks"] = filled(target["masks"], tile.image.shape)
        targets.append(target)
    return images, targets


def filled(ranges: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """Masks (N, H, W) uint8 of ranges of pixels (N, 4) int, (y0, x0, y1, x1), the last not included; shape (H, W)."""
    first, last = ranges[:, :2, None], ranges[:, 2:, None]
    axes = enumerate(torch.arange(side, device=ranges.device) for side in shape)
    rows, columns = (((first[:, i] <= at) & (at < last[:, i])).to(torch.uint8) for i, at in axes)
    return rows[:, :, None] & columns[:, None]
