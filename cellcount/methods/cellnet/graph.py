"""CellNet from image to points as one torch module, to be written as an ONNX graph by `export`.

Everything that depends on the image's size is computed in the graph, which therefore takes images of any size.
"""

import math

import torch
from torch import nn
from torch.nn import functional as F

from cellcount.methods.cellnet.losses import heat as heat_of
from cellcount.methods.cellnet.settings import Settings, stride

LOWEST = 0.05  # of a full peak: low enough for any threshold, and background gives no points
FLOOR = 1e-6  # below which no logarithm is taken; as in `pixels.peaks`


class Counter(nn.Module):
    """A network with what comes before it (`Settings.prepared`, padding) and after it (`pixels.peaks`).

    Unlike there, points may be on padding, each pixel of a plateau is a point, and points are ordered row by row: a
    program that reads them has to drop, merge and sort them.

    Parameters
    ----------
    network : nn.Module of `network.build`
    settings : Settings
        That are `filled`.
    """

    def __init__(self, network: nn.Module, settings: Settings) -> None:
        super().__init__()
        self.network, self.settings = network, settings

    def forward(self, image: torch.Tensor, exposure: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Heatmap, points and scores.

        Parameters
        ----------
        image : (1, 1, H, W) float32 in [0, 1]
        exposure : (2,) float32
            Brightness and contrast of the whole image, from `pixels.brightness_and_contrast`.

        Returns
        -------
        heat : (1, 1, ceil(H / factor), ceil(W / factor)) float32
            1 is a full peak.
        points : (N, 2) float32, (y, x) px of the image
            Every local maximum of at least `LOWEST`.
        scores : (N,) float32
            The heatmap at each.
        """
        settings = self.settings
        x = image
        for axis in (2, 3):
            x = _repeated(x, axis, settings.factor)
        x = (x - exposure[0]) / exposure[1]
        shrink = settings.factor // settings.detail
        if shrink > 1:
            x = F.avg_pool2d(x, shrink)
        for axis in (2, 3):
            x = _mirrored(x, axis, stride(settings.widths) * settings.detail)
        heat = heat_of(self.network(x), settings.loss)
        height, width = ((image.shape[axis] + settings.factor - 1) // settings.factor for axis in (2, 3))
        heat = heat[:, :, :height, :width]
        points, scores = _peaks(heat[0, 0], settings.peak_distance)
        return heat, (points + 0.5) * settings.factor - 0.5, scores


def _repeated(x, axis, block):
    """Padded at its end to a multiple of `block` px by repeating the border."""
    side = x.shape[axis]
    added = torch.arange(side, _whole(side, block))
    return torch.cat([x, x.index_select(axis, added.clamp(max=side - 1))], dim=axis)


def _mirrored(x, axis, block):
    """The padding "symmetric" of NumPy, which ONNX lacks, for images of any size."""
    side = x.shape[axis]
    added = torch.arange(side, _whole(side, block)) % torch.full((1,), 2 * side)
    return torch.cat([x, x.index_select(axis, torch.minimum(added, 2 * side - 1 - added))], dim=axis)


def _whole(side, block):
    return (side + block - 1) // block * block


def _peaks(heat, distance):
    """Points (N, 2), px of the heatmap (H, W), and scores (N,)."""
    highest = _disc_maximum(heat[None, None], distance)[0, 0]
    height, width = heat.shape
    y, x = ((heat == highest) & (heat >= LOWEST)).nonzero().unbind(dim=1)
    flat = heat.reshape(-1)
    points = [
        y + _vertex(flat, y * width + x, y, height, width),
        x + _vertex(flat, y * width + x, x, width, 1),
    ]
    return torch.stack(points, dim=1), flat[y * width + x]


def _disc_maximum(heat, distance):
    """The highest value within `distance` px of each pixel, as the highest of rectangles that together are the disc."""
    rectangles = {}  # half height -> half width
    square = int(distance**2)
    for half_width in range(math.isqrt(square) + 1):
        half_height = math.isqrt(square - half_width**2)
        rectangles[half_height] = half_width  # the last is the widest of this height
    highest = heat
    for half_height, half_width in rectangles.items():
        kernel = (2 * half_height + 1, 2 * half_width + 1)
        highest = torch.maximum(highest, F.max_pool2d(heat, kernel, 1, (half_height, half_width)))
    return highest


def _vertex(flat, at, along, side, step):
    """(N,) px: offset of the maximum from pixels `at` (N,) of a flat map, along an axis; 0 on the map's border."""
    inner = (along > 0) & (along < side - 1)
    reach = inner.long() * step  # stays where it is at a border
    low, middle, high = (flat[i].clamp(min=FLOOR).log() for i in (at - reach, at, at + reach))
    curvature = low - 2 * middle + high
    offset = (0.5 * (low - high) / curvature).clamp(-0.5, 0.5)
    return torch.where(inner & (curvature < 0), offset, torch.zeros_like(offset))
