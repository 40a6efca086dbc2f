"""Settings of a training that both detectors share."""

from dataclasses import dataclass

import numpy as np

from cellcount.errors import require
from cellcount.methods.base import TrainingSettings
from cellcount.methods.pixels import standardised

# For phantoms and a CPU: boxes one and a half times the cells' spacing, half the resolution, and a schedule that trains
# from scratch within minutes.
LIGHT = {"box": 36.0, "factor": 2, "tile": 128, "least": 9.0, "augment": True}
LIGHT |= {"batch": 8, "epochs": 30, "epoch_steps": 30, "average": 0.98}
LIGHT |= {"optimizer": "adamw", "schedule": "onecycle", "weight_decay": 1e-4}


@dataclass(frozen=True)
class Common(TrainingSettings):
    """The fields that both detectors have. The defaults are those of the thesis."""

    box: float = 50.0  # px, side of the square around a centre point
    factor: int = 1  # by which the image is downsampled first
    tile: int = 512  # px after downsampling: the thesis' 12 tiles of an image of 2048 x 1536 px
    least: float = 4.0  # px after downsampling: a smaller part of a box on a tile is neither cell nor background
    augment: bool = False  # random places, symmetries, brightness; else a grid of tiles without changes
    batch: int = 2
    epochs: int = 10
    epoch_steps: int = 0  # 0: as many as cover the samples once
    optimizer: str = "sgd"
    schedule: str = "steps"
    learning_rate: float = 5e-3
    momentum: float = 0.9  # of SGD
    weight_decay: float = 5e-4
    decay_every: int = 3  # epochs
    decay: float = 0.1
    warmup_epochs: int = 5
    average: float = 0.0  # share of the old average of the weights kept in each step; 0: no average
    threshold: float = 0.5  # least confidence of a detection
    seed: int = 0

    FORMAT = ""  # of the weights file
    FREE = (*TrainingSettings.FREE, "epoch_steps", "momentum", "warmup_epochs", "average", "threshold")
    CHOICES = {"optimizer": ("sgd", "adamw"), "schedule": ("steps", "onecycle")}

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.average < 1, f"average={self.average!r} must be at least 0 and below 1.")

    def prepared(self, image: np.ndarray, exposure: tuple[float, float] | None = None) -> np.ndarray:
        """What the network sees of an image (H, W) float32: (ceil(H / factor), ceil(W / factor)) float32.

        `exposure` as of `pixels.standardised`.
        """
        return standardised(image, self.factor, exposure)
