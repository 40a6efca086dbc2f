"""Settings of a Mask R-CNN training."""

from dataclasses import dataclass

from cellcount.errors import require
from cellcount.methods.detection import settings as shared

# Trained from scratch within minutes on a CPU: one feature map and one anchor, since all boxes have one size, and
# narrow heads, since the original spends most of its time on masks.
LIGHT = {**shared.LIGHT, "backbone": "resnet18", "start": "scratch", "pyramid": False, "channels": 96, "pool": 5}
LIGHT |= {"samples": 1, "representation": 256, "mask_layers": 1, "hidden": 64}
LIGHT |= {"proposals": 256, "sampled": 64, "positive": 0.5, "learning_rate": 1e-3}
# The weights pretrained on COCO are those of the network with the defaults of these fields.
COCO = ("backbone", "pyramid", "channels", "pool", "representation", "mask_layers", "hidden")


@dataclass(frozen=True)
class Settings(shared.Common):
    """All settings of a training. The defaults are those of the thesis."""

    targets: str = "boxes"  # squares, filled as masks; or "labels": the samples' instances, and the boxes around them
    backbone: str = "resnet50"
    start: str = "auto"  # "coco": weights pretrained on COCO; "scratch"; "auto": "coco" if they are on this machine
    pyramid: bool = True  # five feature maps with three anchors each; False: one map, and one anchor of the box's size
    channels: int = 256  # of the feature maps
    pool: int = 7  # a box is resampled to so many values on a side, and for its mask to twice as many ...
    samples: int = 2  # ... each the mean over a grid of so many on a side
    representation: int = 1024  # units of the box head
    mask_layers: int = 4
    hidden: int = 256  # channels of the mask predictor
    trainable_layers: int = 3  # of the five of a pretrained backbone; from scratch all are
    proposals: int = 2000  # for the second stage, per training tile
    sampled: int = 512  # of these, per training tile
    positive: float = 0.25  # of these, at most

    LABEL = "Mask R-CNN"
    FORMAT = "cellcount-maskrcnn-1"
    PRESETS = {"thesis": {}, "light": LIGHT}
    FREE = (*shared.Common.FREE, "mask_layers", "trainable_layers")
    CHOICES = shared.Common.CHOICES | {"targets": ("boxes", "labels"), "start": ("auto", "coco", "scratch")}
    CHOICES |= {"backbone": ("resnet18", "resnet34", "resnet50")}

    def __post_init__(self) -> None:
        super().__post_init__()
        needed = ", ".join(f"{name}={getattr(Settings, name)!r}" for name in COCO)
        fits = self.start != "coco" or self.fits_coco
        require(fits, f"start='coco' needs the network that was trained on COCO: {needed}.")

    @property
    def fits_coco(self) -> bool:
        """Whether the weights pretrained on COCO fit this network."""
        return all(getattr(self, name) == getattr(Settings, name) for name in COCO)
