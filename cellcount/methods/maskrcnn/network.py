"""The network: torchvision's Mask R-CNN, put together so that unannotated places count neither way.

torchvision's own constructor leaves no room for that, and pastes each mask into a float32 image of the tile's size.
Names of the parts are as there, so its weights fit.
"""

from functools import partial
from pathlib import Path

import torch
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

from cellcount.methods.maskrcnn.settings import Settings

CLASSES = 2  # background and cell
COCO_NAME = "maskrcnn-resnet50-coco"  # in the registry
ANCHORS = ((32,), (64,), (128,), (256,), (512,))  # px, and below their ratios: torchvision's for COCO
RATIOS = (0.5, 1.0, 2.0)
LEVELS = ["0", "1", "2", "3"]


def build(settings: Settings) -> GeneralizedRCNN:
    """A Mask R-CNN for images of one channel, with fresh weights.

    Called with a list of (1, H, W) float tensors, normalised; in training also with a list of targets, each a dict of
    `boxes` (N, 4) float, (x0, y0, x1, y1) px from the corner, `labels` (N,) int64, `masks` (N, H, W) uint8 and
    `trusted` (H, W) bool. It gives a dict of losses in training, else a list of dicts of `boxes`, `scores`, `labels`
    and `masks` (N, 1, 4 * pool, 4 * pool), each mask the inside of its box.

    Parameters
    ----------
    settings : Settings
    """
    if settings.pyramid:
        levels, ratios = LEVELS, RATIOS
        sizes, ratios = ANCHORS, (ratios,) * len(ANCHORS)
    else:
        levels, sizes, ratios = ["0"], ((settings.box / settings.factor,),), ((1.0,),)
    backbone = _backbone(settings)
    anchors = AnchorGenerator(sizes, ratios)
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
    return GeneralizedRCNN(backbone, rpn, heads, AsTheyAre()).to(memory_format=torch.channels_last)


def _backbone(settings):
    """A ResNet with a feature pyramid: all of its maps, or only the finest, a pixel of which spans 4 of the input."""
    pretrained = settings.start == "coco"
    # What COCO's network was trained with: batch statistics that stay, added without an epsilon.
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
    """The finest map of a feature pyramid, made from three resolutions: what lies coarser than a cell is left out."""

    def __init__(self, body: nn.Module, widths: list[int], channels: int) -> None:
        super().__init__(body, {f"layer{i + 1}": LEVELS[i] for i in range(3)}, widths[:3], channels)
        self.fpn.extra_blocks = None
        for i in (1, 2):  # the coarser maps are only steps on the way down
            self.fpn.layer_blocks[i] = nn.Identity()

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """(N, 1, H, W) float -> {"0": (N, channels, H / 4, W / 4)}."""
        return {"0": super().forward(x)["0"]}


class AsTheyAre(GeneralizedRCNNTransform):
    """Only collects images into a batch: they are normalised already, and keep their size, as masks do."""

    def __init__(self) -> None:
        super().__init__(min_size=0, max_size=0, image_mean=[0.0], image_std=[1.0])

    def resize(
        self, image: torch.Tensor, target: dict[str, torch.Tensor] | None = None
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor] | None]:
        """Image (1, H, W) and target, unchanged: torchvision would magnify a tile to 800 px."""
        return image, target

    def postprocess(
        self,
        result: list[dict[str, torch.Tensor]],
        image_shapes: list[tuple[int, int]],
        original_image_sizes: list[tuple[int, int]],
    ) -> list[dict[str, torch.Tensor]]:
        """Result, unchanged: torchvision would paste each mask into an image of its own."""
        return result


class TrustingProposals(RegionProposalNetwork):
    """The first stage; an anchor without a cell, where the annotation is not trusted, teaches nothing."""

    def assign_targets_to_anchors(
        self, anchors: list[torch.Tensor], targets: list[dict[str, torch.Tensor]]
    ) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """As in torchvision, with label -1 (left out) for such anchors."""
        labels, boxes = super().assign_targets_to_anchors(anchors, targets)
        for label, anchor, target in zip(labels, anchors, targets):
            label[(label == 0) & ~_trusted(anchor, target["trusted"])] = -1
        return labels, boxes


class TrustingHeads(RoIHeads):
    """The second stage, likewise; `positive_share` is that of cells among the boxes sampled in the last step."""

    positive_share = float("nan")

    def select_training_samples(
        self, proposals: list[torch.Tensor], targets: list[dict[str, torch.Tensor]]
    ) -> tuple[list[torch.Tensor], ...]:
        """As in torchvision."""
        self._targets = targets
        chosen = super().select_training_samples(proposals, targets)
        self.positive_share = float((torch.cat(chosen[2]) > 0).float().mean())
        return chosen

    def assign_targets_to_proposals(
        self, proposals: list[torch.Tensor], gt_boxes: list[torch.Tensor], gt_labels: list[torch.Tensor]
    ) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """As in torchvision, with label -1 (left out) where the annotation is not trusted."""
        matched, labels = super().assign_targets_to_proposals(proposals, gt_boxes, gt_labels)
        for label, boxes, target in zip(labels, proposals, self._targets):
            label[(label == 0) & ~_trusted(boxes, target["trusted"])] = -1
        return matched, labels


def _trusted(boxes, trusted):
    """(N,) bool: whether the centre of each box (N, 4), (x0, y0, x1, y1) from the corner, lies on trusted (H, W)."""
    x, y = ((boxes[:, :2] + boxes[:, 2:]) / 2).long().T
    height, width = trusted.shape
    return trusted[y.clamp(0, height - 1), x.clamp(0, width - 1)]


def allow(network: GeneralizedRCNN, *, proposals: int, detections: int, threshold: float, nms: float) -> None:
    """Set how much comes out: proposals of the first stage, detections of the second, least score, largest overlap.

    These limits live in the two stages, where the constructor put them: torchvision reads no attribute of the network.
    """
    for limits in (network.rpn._pre_nms_top_n, network.rpn._post_nms_top_n):
        limits["testing"] = proposals
    network.roi_heads.detections_per_img = detections
    network.roi_heads.score_thresh = threshold
    network.roi_heads.nms_thresh = nms


def load_coco(network: GeneralizedRCNN, path: Path | str) -> None:
    """Fill a network with the weights trained on COCO, but for the two layers that name COCO's classes.

    The first layer sums its weights over the three colours, which is the same as showing it one gray image three times.

    Parameters
    ----------
    network : of `build`
    path : verified file
    """
    state = torch.load(path, map_location="cpu", weights_only=True)
    state["backbone.body.conv1.weight"] = state["backbone.body.conv1.weight"].sum(dim=1, keepdim=True)
    own = network.state_dict()
    fresh = ("roi_heads.box_predictor.", "roi_heads.mask_predictor.mask_fcn_logits.")
    state = {name: tensor for name, tensor in state.items() if not name.startswith(fresh)}
    network.load_state_dict(state | {name: own[name] for name in own if name.startswith(fresh)})
