"""The network: an encoder-decoder from one channel to one heatmap.

The default is written out here in plain torch. Any encoder of segmentation_models_pytorch can take its place; that
library and timm take longer to import than a whole image takes to count, so they are imported only when asked for.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from cellcount import registry
from cellcount.errors import ParameterError
from cellcount.methods.cellnet.settings import OWN, Settings

IMAGENET = {"tu-efficientnet_lite0": "efficientnet-lite0"}  # encoder -> name in `registry.WEIGHTS`


def build(settings: Settings) -> nn.Module:
    """A network with random weights: image (N, 1, H detail, W detail) -> heatmap (N, 1, H, W).

    H and W must be multiples of `settings.stride(widths)`.

    Parameters
    ----------
    settings : Settings
        Four fields are read. `encoder`: "residual" (this package's), any of `smp.encoders.get_encoder_names()`, or
        "tu-" and a name of `timm.list_models()`. `decoder`: "unet" or "unetplusplus"; "residual" has "unet" only.
        `widths`: channels at each resolution, fine to coarse; of other encoders the decoder's channels, one for each
        halving. `detail`: pixels of the image along the side of one pixel of the heatmap; 1 for other encoders.

    Raises
    ------
    ParameterError
        If the encoder or decoder is unknown, or an encoder cannot have this detail.
    """
    encoder, decoder, widths, detail = settings.encoder, settings.decoder, settings.widths, settings.detail or 1
    if encoder == OWN:
        if decoder != "unet":
            raise ParameterError(f"decoder={decoder!r} needs an encoder of segmentation_models_pytorch.")
        network = ResidualUNet(widths, detail)
        head = network.head
    elif detail != 1:
        raise ParameterError(f"detail={detail}: encoder={encoder!r} has a map as large as its image; give detail=1.")
    else:
        network = _from_library(encoder, decoder, widths)
        head = network.segmentation_head[0]
    # Almost all of a heatmap is empty: starting there saves the first hundred steps.
    nn.init.normal_(head.weight, std=1e-3)
    nn.init.zeros_(head.bias)
    return network.to(memory_format=torch.channels_last)


def _from_library(encoder, decoder, widths):
    import segmentation_models_pytorch as smp
    import timm

    known = timm.is_model(encoder[3:]) if encoder.startswith("tu-") else encoder in smp.encoders.get_encoder_names()
    if not known:
        raise ParameterError(
            f"encoder={encoder!r} is unknown; choose '{OWN}', one of smp.encoders.get_encoder_names(), "
            "or 'tu-' and a name of timm.list_models()."
        )
    return {"unet": smp.Unet, "unetplusplus": smp.UnetPlusPlus}[decoder](
        encoder_name=encoder,
        encoder_depth=len(widths),
        encoder_weights=None,  # nothing is downloaded without being asked for
        decoder_channels=tuple(widths)[::-1],
        in_channels=1,
        classes=1,
    )


def load_imagenet(network: nn.Module, encoder: str) -> None:
    """Fill the encoder of a network of `build` with weights learned on ImageNet (Deng et al. 2009), in place.

    Three colours become one by summing the first filters over them.

    Raises
    ------
    ParameterError
        If no weights are known for the encoder.
    NotAvailableError
        If they are not on this machine.
    """
    if encoder not in IMAGENET:
        raise ParameterError(f"imagenet=True: weights are known for {', '.join(IMAGENET)} only, not for {encoder!r}.")
    state = torch.load(registry.fetch_weights(IMAGENET[encoder]), weights_only=True, map_location="cpu")
    own = network.encoder.state_dict()
    # The same network in two libraries: other names, the same order.
    renamed = dict(zip(own, state.values()))
    first = next(iter(own))
    renamed[first] = renamed[first].sum(dim=1, keepdim=True)
    network.encoder.load_state_dict(renamed)


def fused(network: nn.Module) -> nn.Module:
    """The network, in place, with each batch normalisation that follows a convolution folded into it: not to train on.

    The output is the same but for rounding, in nine tenths of the time.
    """
    for part in [module for module in network.modules() if isinstance(module, nn.Sequential)]:
        for i, (first, second) in enumerate(pairwise(list(part))):
            if isinstance(first, nn.Conv2d) and type(second) is nn.BatchNorm2d:  # not timm's, which holds the ReLU too
                part[i], part[i + 1] = fuse_conv_bn_eval(first, second), nn.Identity()
    return network


class ResidualUNet(nn.Module):
    """A U-Net (Ronneberger et al. 2015) whose encoder is made of residual blocks (He et al. 2016).

    It folds a block of pixels into channels at the start, and unfolds 2 x 2 px of the heatmap at the end (Shi et al.
    2016): the finest resolution would take half of the time, and what it holds fits into the channels of the next.
    A resolution's features are added to those from below, not concatenated (LinkNet, Chaurasia & Culurciello 2017):
    a quarter less work.

    Parameters
    ----------
    widths : tuple of int
        Channels at each resolution, fine to coarse: half of the heatmap's, a quarter, ...
    detail : int
        Pixels of the image along the side of one pixel of the heatmap: 2 shows the network four times the pixels, at
        the price of one small convolution.
    """

    def __init__(self, widths: Sequence[int], detail: int = 1) -> None:
        super().__init__()
        fold, first = 2 * detail, widths[0]
        self.stem = nn.Sequential(nn.PixelUnshuffle(fold), _convolution(fold**2, first), _convolution(first, first))
        pairs = list(zip(widths, widths[1:]))
        self.down = nn.ModuleList(
            nn.Sequential(ResidualBlock(fine, coarse, step=2), ResidualBlock(coarse, coarse)) for fine, coarse in pairs
        )
        self.lift = nn.ModuleList(nn.Conv2d(coarse, fine, 1) for fine, coarse in pairs)
        self.up = nn.ModuleList(nn.Sequential(_convolution(fine, fine), _convolution(fine, fine)) for fine, _ in pairs)
        self.head = nn.Conv2d(first, 4, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, 1, H detail, W detail) float -> (N, 1, H, W) float."""
        features = [self.stem(x)]
        for down in self.down:
            features.append(down(features[-1]))
        x = features.pop()
        for lift, up in zip(reversed(self.lift), reversed(self.up), strict=True):
            x = up(F.interpolate(lift(x), scale_factor=2).add_(features.pop()))
        return F.pixel_shuffle(self.head(x), 2)


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut, which is a 1 x 1 convolution where the shape changes."""

    def __init__(self, before: int, after: int, step: int = 1) -> None:
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

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, before, H, W) float -> (N, after, H / step, W / step) float."""
        return F.relu_(self.body(x).add_(self.shortcut(x)))  # in place: fresh memory takes as long as the sum


def _convolution(before, after):
    return nn.Sequential(
        nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU(inplace=True)
    )
