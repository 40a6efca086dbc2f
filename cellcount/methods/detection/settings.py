"""What the training of either detector can be told."""

from dataclasses import dataclass

from cellcount.errors import ParameterError

# For phantoms and a processor: boxes one and a half times the cells' spacing, half the resolution, and a schedule that
# trains from nothing within minutes.
LIGHT = {
    "box": 36.0,
    "factor": 2,
    "tile": 128,
    "least": 9.0,
    "augment": True,
    "batch": 8,
    "epochs": 30,
    "epoch_steps": 30,
    "optimizer": "adamw",
    "schedule": "onecycle",
    "weight_decay": 1e-4,
    "average": 0.98,
}


@dataclass(frozen=True)
class Common:
    """What both detectors share. The defaults are the thesis'."""

    box: float = 50.0  # px, side of the square around a click
    factor: int = 1  # how much the image is shrunken first
    tile: int = 512  # px after shrinking: the thesis' 12 tiles of an image of 2048 x 1536 px
    least: float = 4.0  # px after shrinking: less of a box on a tile teaches neither cell nor background
    augment: bool = False  # random places, symmetries, brightness; else a grid of tiles as they are
    batch: int = 2
    epochs: int = 10
    epoch_steps: int = 0  # 0: as many as cover the samples once
    optimizer: str = "sgd"  # or "adamw"
    schedule: str = "steps"  # or "onecycle"
    learning_rate: float = 5e-3
    momentum: float = 0.9  # of SGD
    weight_decay: float = 5e-4
    decay_every: int = 3  # epochs
    decay: float = 0.1
    warmup_epochs: int = 5
    average: float = 0.0  # share of the old average of the weights kept in each step; 0: the last weights
    threshold: float = 0.5  # least confidence of a detection
    seed: int = 0

    POSITIVE = ("box", "factor", "tile", "least", "batch", "epochs", "learning_rate", "decay_every", "decay")
    CHOICES = {"optimizer": ("sgd", "adamw"), "schedule": ("steps", "onecycle")}

    def __post_init__(self) -> None:
        for name in self.POSITIVE:
            if not getattr(self, name) > 0:
                raise ParameterError(f"{name}={getattr(self, name)!r} must be positive.")
        for name, known in self.CHOICES.items():
            if getattr(self, name) not in known:
                raise ParameterError(f"{name}={getattr(self, name)!r} is unknown; choose one of {', '.join(known)}.")
        if not 0 <= self.average < 1:
            raise ParameterError(f"average={self.average!r} must be at least 0 and below 1.")
