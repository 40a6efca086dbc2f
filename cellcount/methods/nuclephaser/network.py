"""The layers of YOLOv5 and YOLO11, of which NuclePhaser's networks are made, and how they are read and run.

A checkpoint is a pickled tree of modules. It is read with `weights_only`, and with a class of our own for each kind of
layer: it takes the parameters, and has a `forward` written from the description of the layer.
"""

from typing import BinaryIO

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

STRIDE = 32  # px that the networks' coarsest pixel spans


def _conv(self, x):
    return self.act(self.conv(x))  # its batch normalisation is in the convolution (`read`)


def _bottleneck(self, x):
    y = self.cv2(self.cv1(x))
    return x + y if self.add else y


def _c3(self, x):
    return self.cv3(torch.cat((self.m(self.cv1(x)), self.cv2(x)), 1))


def _c3k2(self, x):
    parts = list(self.cv1(x).chunk(2, 1))
    for module in self.m:
        parts.append(module(parts[-1]))
    return self.cv2(torch.cat(parts, 1))


def _sppf(self, x):
    parts = [self.cv1(x)]
    for _ in range(3):
        parts.append(self.m(parts[-1]))
    return self.cv2(torch.cat(parts, 1))


def _c2psa(self, x):
    first, second = self.cv1(x).split((self.c, self.c), 1)
    return self.cv2(torch.cat((first, self.m(second)), 1))


def _psa_block(self, x):
    x = x + self.attn(x) if self.add else self.attn(x)
    return x + self.ffn(x) if self.add else self.ffn(x)


def _attention(self, x):
    batch, channels, height, width = x.shape
    heads = self.qkv(x).view(batch, self.num_heads, 2 * self.key_dim + self.head_dim, height * width)
    q, k, v = heads.split([self.key_dim, self.key_dim, self.head_dim], 2)
    y = F.scaled_dot_product_attention(q.mT, k.mT, v.mT, scale=self.scale).mT
    y, v = (part.reshape(batch, channels, height, width) for part in (y, v))
    return self.proj(y + self.pe(v))


def _concat(self, parts):
    return torch.cat(parts, self.d)


def _distances(self, x):
    """(1, 4 bins, N) -> (4, N): the mean of a distribution over distances, for the four sides of a box."""
    return self.conv(x.view(1, 4, self.c1, -1).transpose(2, 1).softmax(1)).view(4, -1)


def _detect_11(self, maps):
    """(N, 5) boxes: distances from each pixel to the four sides, and the score of the likeliest class."""
    found = []
    for i, x in enumerate(maps):
        stride, (height, width) = float(self.stride[i]), x.shape[2:]
        left, top, right, bottom = self.dfl(self.cv2[i](x).flatten(2)) * stride
        y, x_ = ((part.flatten() + 0.5) * stride for part in _raster(height, width, x))
        score = self.cv3[i](x).flatten(2)[0].sigmoid().amax(0)
        box = [y + (bottom - top) / 2, x_ + (right - left) / 2, top + bottom, left + right, score]
        found.append(torch.stack(box, 1))
    return torch.cat(found)


def _detect_5(self, maps):
    """(N, 5) boxes: the size and place of an anchor, changed, and the score of an object and its likeliest class."""
    found = []
    for i, x in enumerate(maps):
        stride, (height, width) = float(self.stride[i]), x.shape[2:]
        answer = self.m[i](x).view(self.na, self.no, height, width).sigmoid()
        y, x_ = _raster(height, width, x)
        across, down, w, h = (2 * answer[:, :4]).unbind(1)
        anchors = self.anchors[i][:, :, None, None] * stride
        score = answer[:, 4] * answer[:, 5:].amax(1)
        size = [h**2 * anchors[:, 1], w**2 * anchors[:, 0]]
        box = [(down + y - 0.5) * stride, (across + x_ - 0.5) * stride, *size, score]
        found.append(torch.stack(box, -1).reshape(-1, 5))
    return torch.cat(found)


def _raster(height, width, like):
    sides = (torch.arange(side, device=like.device, dtype=like.dtype) for side in (height, width))
    return torch.meshgrid(*sides, indexing="ij")


LAYERS = {
    "ultralytics.nn.modules.conv": {"Conv": _conv, "DWConv": _conv, "Concat": _concat},
    "ultralytics.nn.modules.block": {
        "C3k": _c3, "C3k2": _c3k2, "DFL": _distances, "PSABlock": _psa_block, "Bottleneck": _bottleneck, "SPPF": _sppf,
        "C2PSA": _c2psa, "Attention": _attention,
    },
    "ultralytics.nn.modules.head": {"Detect": _detect_11},
    "ultralytics.nn.tasks": {"DetectionModel": None},
    "models.common": {"Conv": _conv, "Concat": _concat, "C3": _c3, "Bottleneck": _bottleneck, "SPPF": _sppf},
    "models.yolo": {"Detect": _detect_5, "DetectionModel": None},
}  # fmt: skip
# torch finds a class by its module and name, which are those in the file.
STAND_INS = [
    type(name, (nn.Module,), {"forward": forward, "__module__": module})
    for module, classes in LAYERS.items()
    for name, forward in classes.items()
]
PLAIN = [nn.BatchNorm2d, nn.Conv2d, nn.Identity, nn.MaxPool2d, nn.ModuleList, nn.Sequential, nn.SiLU, nn.Upsample]


def read(file: BinaryIO, device: torch.device) -> nn.Sequential:
    """The layers of a checkpoint in float32, each with `f`, from where its input comes; no code in the file is run."""
    torch.serialization.add_safe_globals([*STAND_INS, *PLAIN])
    layers = torch.load(file, weights_only=True, map_location="cpu")["model"].float().eval().model
    for module in layers.modules():
        if hasattr(module, "bn"):
            module.conv = fuse_conv_bn_eval(module.conv, module.bn)
            del module.bn
    return layers.to(device, memory_format=torch.channels_last)


@torch.inference_mode()
def run(layers: nn.Sequential, image: torch.Tensor) -> np.ndarray:
    """Every box of an image (1, 1, H, W) float32 in [0, 1]: (N, 5) float32, y, x, height, width in px, score.

    They are measured from the corner of the image. Gray is given to all three channels.
    """
    height, width = image.shape[2:]
    x = F.pad(image, (0, -width % STRIDE, 0, -height % STRIDE), mode="replicate").expand(-1, 3, -1, -1)
    x, answers = x.contiguous(memory_format=torch.channels_last), []
    for layer in layers:
        if layer.f != -1:
            x = answers[layer.f] if isinstance(layer.f, int) else [x if i == -1 else answers[i] for i in layer.f]
        x = layer(x)
        answers.append(x)
    return x.float().cpu().numpy()
