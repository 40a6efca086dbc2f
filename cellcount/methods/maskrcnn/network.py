"""The network: torchvision's Mask R-CNN, changed so that pixels without trusted annotation are left out of the loss.

torchvision's own constructor does not allow that, and it pastes each mask into a float32 image of the tile's size.
The parts have the same names, so torchvision's weights fit.
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
