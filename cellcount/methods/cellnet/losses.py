"""How wrong a heatmap is."""

from torch.nn import functional as F

from cellcount.methods.cellnet.targets import volume

BLOCK = 32  # px of the heatmap: some seven cells


def mse(output, target):
    """Squared error, twice as heavy on top of a hill as on flat ground; 10 makes it about 1 at the start."""
    return 10 * (output - target) ** 2 * (1 + target)


def bce(output, target):
    """Binary cross-entropy of the logistic function of the output, with the hill's height as the chance of a cell."""
    return 3 * F.binary_cross_entropy_with_logits(output, target.clamp(max=1), reduction="none")


def focal(output, target):
    """The same, light where the answer is already right: quality focal loss, Li et al. 2020, their beta = 2."""
    target = target.clamp(max=1)
    return 10 * (output.sigmoid() - target) ** 2 * F.binary_cross_entropy_with_logits(output, target, reduction="none")


LOSSES = {"mse": mse, "bce": bce, "focal": focal}


def heat(output, loss):
    """The heatmap that an output (N, 1, H, W) means under a loss: itself, or its logistic function."""
    return output.clamp(min=0) if loss == "mse" else output.sigmoid()


def total(output, target, trust, settings):
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
