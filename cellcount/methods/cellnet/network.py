"""The network: an encoder-decoder from one channel to one heatmap.

The default is written out here in plain torch. Any encoder of segmentation_models_pytorch can take its place; that
library and timm take longer to import than a whole image takes to count, so they are imported only when asked for.
"""

import torch
from torch import nn
from torch.nn import functional as F

from cellcount.errors import ParameterError

OWN = "residual"


def build(*, encoder, decoder, widths):
    """A network (N, 1, H, W) -> (N, 1, H, W) with fresh weights; H and W must be multiples of `stride(widths)`.

    Parameters
    ----------
    encoder : str
        "residual" (ours), any of `smp.encoders.get_encoder_names()`, or "tu-" and a name of `timm.list_models()`.
    decoder : str
        "unet" or "unetplusplus"; ours has "unet" only.
    widths : tuple of int
        Ours: channels at each resolution, fine to coarse. Otherwise: the decoder's channels, fine to coarse, one for
        each halving.

    Raises
    ------
    ParameterError
        If the encoder or decoder is unknown.
    """
    if encoder == OWN:
        if decoder != "unet":
            raise ParameterError(f"decoder={decoder!r} needs an encoder of segmentation_models_pytorch.")
        network = ResidualUNet(widths)
        head = network.head
    else:
        network = _from_library(encoder, decoder, widths)
        head = network.segmentation_head[0]
    # A heatmap is almost everywhere empty: starting there saves the first hundred steps.
    nn.init.normal_(head.weight, std=1e-3)
    nn.init.zeros_(head.bias)
    return network.to(memory_format=torch.channels_last)


def stride(widths):
    """How many px of the input one pixel of the coarsest resolution spans."""
    return 2 ** len(widths)


def _from_library(encoder, decoder, widths):
    import segmentation_models_pytorch as smp
    import timm

    makers = {"unet": smp.Unet, "unetplusplus": smp.UnetPlusPlus}
    if decoder not in makers:
        raise ParameterError(f"decoder={decoder!r} is unknown; choose one of {', '.join(makers)}.")
    known = timm.is_model(encoder[3:]) if encoder.startswith("tu-") else encoder in smp.encoders.get_encoder_names()
    if not known:
        raise ParameterError(
            f"encoder={encoder!r} is unknown; choose '{OWN}', one of smp.encoders.get_encoder_names(), "
            "or 'tu-' and a name of timm.list_models()."
        )
    return makers[decoder](
        encoder_name=encoder,
        encoder_depth=len(widths),
        encoder_weights=None,  # never fetched behind the user's back
        decoder_channels=tuple(widths)[::-1],
        in_channels=1,
        classes=1,
    )


class ResidualUNet(nn.Module):
    """A U-Net (Ronneberger et al. 2015) whose encoder is made of residual blocks (He et al. 2016).

    It folds 2 x 2 px into channels at the start, and unfolds them at the end (Shi et al. 2016): the finest
    resolution would take half of the time, and what it holds fits into the channels of the next.

    Parameters
    ----------
    widths : tuple of int
        Channels at each resolution, fine to coarse: half of the input's, a quarter, ...
    """

    def __init__(self, widths):
        super().__init__()
        self.stem = nn.Sequential(nn.PixelUnshuffle(2), _convolution(4, widths[0]), _convolution(widths[0], widths[0]))
        self.down = nn.ModuleList(
            nn.Sequential(ResidualBlock(fine, coarse, step=2), ResidualBlock(coarse, coarse))
            for fine, coarse in zip(widths, widths[1:])
        )
        self.up = nn.ModuleList(
            nn.Sequential(_convolution(coarse + fine, fine), _convolution(fine, fine))
            for fine, coarse in zip(widths, widths[1:])
        )
        self.head = nn.Conv2d(widths[0], 4, 3, padding=1)

    def forward(self, x):
        """(N, 1, H, W) float -> (N, 1, H, W) float."""
        features = [self.stem(x)]
        for down in self.down:
            features.append(down(features[-1]))
        x = features.pop()
        for up in reversed(self.up):
            x = up(torch.cat([F.interpolate(x, scale_factor=2), features.pop()], dim=1))
        return F.pixel_shuffle(self.head(x), 2)


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut, which is a 1 x 1 convolution where the shape changes."""

    def __init__(self, before, after, step=1):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(before, after, 3, step, 1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(inplace=True),
            nn.Conv2d(after, after, 3, 1, 1, bias=False),
            nn.BatchNorm2d(after),
        )
        same = before == after and step == 1
        self.shortcut = nn.Identity() if same else nn.Conv2d(before, after, 1, step, bias=False)

    def forward(self, x):
        """(N, before, H, W) float -> (N, after, H / step, W / step) float."""
        return F.relu(self.body(x) + self.shortcut(x))


def _convolution(before, after):
    return nn.Sequential(
        nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU(inplace=True)
    )
