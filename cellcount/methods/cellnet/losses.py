"""Losses of a heatmap."""

import torch
from torch.nn import functional as F

from cellcount.methods.cellnet.settings import LOSS_NAMES, Settings
from cellcount.methods.cellnet.targets import volume

BLOCK = 32  # px of the heatmap: some seven cells


def mse(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Squared error, twice as heavy on top of a peak as on background; 10 makes it about 1 at the start."""
    return 10 * (output - target) ** 2 * (1 + target)


def bce(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Binary cross-entropy of the logistic function of the output; the target's height is the probability of a cell."""
    return 3 * F.binary_cross_entropy_with_logits(output, target.clamp(max=1), reduction="none")


def focal(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """The same, weighted by the squared error: quality focal loss (Li et al. 2020) with their beta = 2."""
    target = target.clamp(max=1)
    return 10 * (output.sigmoid() - target) ** 2 * F.binary_cross_entropy_with_logits(output, target, reduction="none")


LOSSES = dict(zip(LOSS_NAMES, (mse, bce, focal), strict=True))


def heat(output: torch.Tensor, loss: str) -> torch.Tensor:
    """The heatmap of an output (N, 1, H, W) of a network trained with a loss: itself, or its logistic function."""
    return output.clamp(min=0) if loss == "mse" else output.sigmoid()


def total(output: torch.Tensor, target: torch.Tensor, trust: torch.Tensor, settings: Settings) -> torch.Tensor:
    """The loss of a batch, each (N, 1, H, W): mean over trusted pixels, plus `count_weight` times that of counts.

    The latter is the absolute error of the number of cells in blocks of 32 px: like a count, it does not depend on
    where in its block a cell is (Count-ception, Cohen et al. 2017, counts in such windows).
    """
    weight = trust.sum().clamp(min=1)
    loss = (LOSSES[settings.loss](output, target) * trust).sum() / weight
    if settings.count_weight:
        error = (heat(output, settings.loss) - target) * trust
        cells = F.avg_pool2d(error, BLOCK, BLOCK // 2) * BLOCK**2 / volume(settings.sigma)
        loss = loss + settings.count_weight * cells.abs().mean()
    return loss
