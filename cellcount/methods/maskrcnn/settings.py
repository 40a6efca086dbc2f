"""What a training run of Mask R-CNN can be told."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cellcount.errors import ParameterError
from cellcount.methods import base
from cellcount.methods.detection import settings as shared

FORMAT = "cellcount-maskrcnn-1"  # of the weights file
# Trained from nothing within minutes on a processor: one feature map and one anchor, since all boxes have one size, and
# narrow heads, since of the original's time most goes into masks.
LIGHT = {
    **shared.LIGHT,
    "backbone": "resnet18",
    "start": "scratch",
    "pyramid": False,
    "channels": 96,
    "pool": 5,
    "samples": 1,
    "representation": 256,
    "mask_layers": 1,
    "hidden": 64,
    "proposals": 256,
    "sampled": 64,
    "positive": 0.5,
    "learning_rate": 1e-3,
}
PRESETS = {"thesis": {}, "light": LIGHT}


@dataclass(frozen=True)
class Settings(shared.Common):
    """Everything that decides what comes out of a training run, besides the samples. The defaults are the thesis'."""

    targets: str = "boxes"  # squares, filled for masks; or "labels": the samples' instances, and the boxes around them
    backbone: str = "resnet50"
    start: str = "auto"  # "coco": weights pretrained on COCO; "scratch"; "auto": the former where they are at hand
    pyramid: bool = True  # five feature maps with three anchors each; False: one map, and one anchor of the box's size
    channels: int = 256  # of the feature maps
    pool: int = 7  # a box is resampled to so many values on a side, and for its mask to twice as many ...
    samples: int = 2  # ... each the mean of so many, squared
    representation: int = 1024  # units of the box head
    mask_layers: int = 4
    hidden: int = 256  # channels of the mask predictor
    trainable_layers: int = 3  # of the five of a pretrained backbone; from scratch all are
    proposals: int = 2000  # for the second stage, per training tile
    sampled: int = 512  # of these, per training tile
    positive: float = 0.25  # of these, at most

    POSITIVE = (
        *shared.Common.POSITIVE, "channels", "pool", "samples", "representation", "hidden", "proposals", "sampled",
        "positive",
    )  # fmt: skip
    CHOICES = shared.Common.CHOICES | {
        "targets": ("boxes", "labels"),
        "backbone": ("resnet18", "resnet34", "resnet50"),
        "start": ("auto", "coco", "scratch"),
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.start == "coco" and not self.fits_coco:
            raise ParameterError(
                "start='coco' needs the network that was trained on COCO: backbone='resnet50', pyramid=True, "
                "channels=256, pool=7, representation=1024, mask_layers=4, hidden=256."
            )

    @property
    def fits_coco(self) -> bool:
        """Whether this network has the shape of the one that was trained on COCO."""
        names = ("backbone", "pyramid", "channels", "pool", "representation", "mask_layers", "hidden")
        return [getattr(self, name) for name in names] == ["resnet50", True, 256, 7, 1024, 4, 256]


def settings_from(params: Mapping[str, Any]) -> Settings:
    """`Settings` from keyword parameters, on top of `preset` ("thesis" or "light")."""
    return base.settings_from(Settings, "Mask R-CNN", params, PRESETS)
