"""The network: YOLOX of the package pixeltable-yolox, for images of one channel and annotations with gaps."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from cellcount.errors import NotAvailableError
from cellcount.methods.yolox.settings import INSTALL, Settings

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
