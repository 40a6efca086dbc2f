"""Settings of a StarDist training."""

from dataclasses import dataclass

from cellcount.errors import ParameterError
from cellcount.methods import training_masks
from cellcount.methods.base import TrainingSettings

FORMAT = "cellcount-stardist-1"  # of about.json in a weights file
BLACK_WHITE = (1, 99.8)  # percentiles of an image that become 0 and 1


@dataclass(frozen=True)
class Settings(TrainingSettings):
    """All settings of a training."""

    masks: str = "weighted"  # to learn from: a variant of pseudo_masks, or "true" where a sample has labels
    rays: int = 32  # directions in which the distance of the outline is predicted; the library's
    grid: int = 2  # px between two predictions: a quarter of the time, and cells are 17 of them wide
    filters: int = 16  # channels at the finest resolution; 32, the library's, learns too slowly without a GPU
    depth: int = 3  # how often the U-Net halves its input, after `grid`; the library's
    patch: int = 256  # px
    batch: int = 4
    steps: int = 1000  # 9 minutes on 2 cores
    learning_rate: float = 1e-3  # the library's 3e-4 finds no cell after so few steps
    tile: int = 512  # px: training images are cut into such tiles ...
    validation: float = 0.125  # ... and the best annotated eighth of them chooses weights and thresholds
    seed: int = 0

    LABEL = "StarDist"
    CHOICES = {"masks": training_masks.CHOICES}

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.validation >= 1:
            raise ParameterError(f"validation={self.validation!r} must be between 0 and 1.")
        step = self.grid * 2**self.depth
        if self.patch % step:
            raise ParameterError(
                f"patch={self.patch} must be a multiple of {step}, by which the network downsamples it."
            )
