"""How wrong a heatmap is."""

import torch
from torch.nn import functional as F

from cellcount.methods.cellnet.settings import LOSS_NAMES, Settings
from cellcount.methods.cellnet.targets import volume

BLOCK = 32  # px of the heatmap: some seven cells


def mse(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Squared error, twice as heavy on top of a hill as on flat ground; 10 makes it about 1 at the start."""
    return 10 * (output - target) ** 2 * (1 + target)


def bce(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Binary cross-entropy of the logistic function of the output, with the hill's height as the chance of a cell."""
    return 3 * F.binary_cross_entropy_with_logits(output, target.clamp(max=1), reduction="none")


def focal(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """The same, light where the answer is already right: quality focal loss, Li et al. 2020, their beta = 2."""
    target = target.clamp(max=1)
    return 10 * (output.sigmoid() - target) ** 2 * F.binary_cross_entropy_with_logits(output, target, reduction="none")


LOSSES = dict(zip(LOSS_NAMES, (mse, bce, focal), strict=True))


def heat(output: torch.Tensor, loss: str) -> torch.Tensor:
    """The heatmap that an output (N, 1, H, W) means under a loss: itself, or its logistic function."""
    return output.clamp(min=0) if loss == "mse" else output.sigmoid()


def total(output: torch.Tensor, target: torch.Tensor, trust: torch.Tensor, settings: Settings) -> torch.Tensor:
    """The loss of a batch, each (N, 1, H, W): mean over trusted pixels, and what `count_weight` adds.

    That is the absolute error of the number of cells in blocks of 32 px: it does not care where in its block a cell
    is, as counting does not (Count-ception, Cohen et al. 2017, counts in such windows).
    """
    weight = trust.sum().clamp(min=1)
    loss = (LOSSES[settings.loss](output, target) * trust).sum() / weight
    if settings.count_weight:
        error = (heat(output, settings.loss) - target) * trust
        cells = F.avg_pool2d(error, BLOCK, BLOCK // 2) * BLOCK**2 / volume(settings.sigma)
        loss = loss + settings.count_weight * cells.abs().mean()
    return loss
