"""The loss of the small SAM."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from cellcount.methods.sam.small import Settings

FOCAL = 20.0  # times the dice loss: Kirillov et al. 2023, appendix A


def dense_head(settings: Settings) -> nn.Module:
    """A layer that classifies each 2 x 2 px as cell or not, and as border or not.

    It is used in training only: it gives the image encoder a target on every cell, while prompts ask for few at a time.
    """
    return nn.Sequential(nn.Conv2d(settings.prompt_width, 2 * 16, 1), nn.PixelShuffle(4))


def dense_loss(logits: torch.Tensor, labels: Sequence[np.ndarray]) -> torch.Tensor:
    """Cross-entropy of `dense_head`'s logits (N, 2, h, w) with the cells and borders of N label images (S, S) int."""
    labels = torch.from_numpy(np.stack([np.ascontiguousarray(array) for array in labels])).to(logits.device)
    border = torch.zeros_like(labels, dtype=torch.bool)
    for axis in (1, 2):
        step = labels.diff(dim=axis) != 0
        length = labels.shape[axis] - 1
        border.narrow(axis, 0, length).logical_or_(step)
        border.narrow(axis, 1, length).logical_or_(step)
    target = F.avg_pool2d(torch.stack([labels > 0, border], dim=1).float(), labels.shape[-1] // logits.shape[-1])
    return F.binary_cross_entropy_with_logits(logits, target)


def mask_loss(
    logits: torch.Tensor, iou: torch.Tensor, targets: np.ndarray, ambiguous: np.ndarray
) -> tuple[torch.Tensor, torch.Tensor]:
    """Focal and dice loss of the masks, and the squared error of their predicted IoU.

    An ambiguous prompt trains the best of its three masks, any other the single one, and each of these masks the
    prediction of its own IoU.

    Parameters
    ----------
    logits : (n, 4, h, w) tensor
    iou : (n, 4) tensor
        Predicted.
    targets : (n, S, S) bool array
    ambiguous : (n,) bool array

    Returns
    -------
    (n,) tensor of losses, and (n, h, w) logits of the masks that they belong to
    """
    target = torch.from_numpy(targets).to(logits.device).float()[:, None]
    target = F.avg_pool2d(target, targets.shape[-1] // logits.shape[-1])
    share = torch.sigmoid(logits)
    entropy = F.binary_cross_entropy_with_logits(logits, target.expand_as(logits), reduction="none")
    focal = (entropy * (share - target) ** 2).mean(dim=(2, 3))
    dice = 1 - (2 * (share * target).sum(dim=(2, 3)) + 1) / (share.sum(dim=(2, 3)) + target.sum(dim=(2, 3)) + 1)
    with torch.no_grad():
        inside, true = logits > 0, target > 0.5
        real = (inside & true).sum(dim=(2, 3)) / (inside | true).sum(dim=(2, 3)).clamp(min=1)
    losses = FOCAL * focal + dice
    three = torch.from_numpy(ambiguous).to(logits.device)
    best = torch.where(three, losses[:, 1:].argmin(dim=1) + 1, 0)
    rows = torch.arange(len(logits), device=logits.device)
    judged = ((torch.arange(4, device=logits.device) > 0) == three[:, None]).float()
    guess = ((iou - real) ** 2 * judged).sum(dim=1) / judged.sum(dim=1)
    return losses[rows, best] + guess, logits[rows, best].detach()


def enlarged(logits: torch.Tensor, side: int) -> np.ndarray:
    """(n, h, w) logits of a square tile upsampled to its full resolution: (n, side, side) numpy array."""
    return F.interpolate(logits[:, None], (side, side), mode="bilinear")[:, 0].cpu().numpy()
