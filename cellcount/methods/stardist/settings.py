"""What a training run of StarDist can be told."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cellcount.data.pseudo_masks import VARIANTS
from cellcount.errors import ParameterError
from cellcount.methods import base

FORMAT = "cellcount-stardist-1"  # of about.json in our weights file
POSITIVE = ("rays", "grid", "filters", "depth", "patch", "batch", "steps", "learning_rate", "tile")


@dataclass(frozen=True)
class Settings:
    """Everything that decides what comes out of a training run, besides the samples."""

    masks: str = "weighted"  # what to learn from: a variant of pseudo_masks, or "true" where a sample has labels
    rays: int = 32  # directions in which the outline's distance is predicted; the library's
    grid: int = 2  # px between two predictions: a quarter of the time, and cells are 17 of them wide
    filters: int = 16  # channels at the finest resolution; 32, the library's, learns too slowly without a GPU
    depth: int = 3  # times that the U-Net halves its input, after `grid`; the library's
    patch: int = 256  # px
    batch: int = 4
    steps: int = 1000  # 9 minutes on 2 cores
    learning_rate: float = 1e-3  # the library's 3e-4 has found nothing after so few steps
    tile: int = 512  # px: training images are cut into such tiles ...
    validation: float = 0.125  # ... and the best annotated eighth of them chooses weights and thresholds
    seed: int = 0

    def __post_init__(self) -> None:
        for name in POSITIVE:
            if not getattr(self, name) > 0:
                raise ParameterError(f"{name}={getattr(self, name)!r} must be positive.")
        if self.masks not in (*VARIANTS, "true"):
            raise ParameterError(f"masks={self.masks!r} is unknown; choose one of {', '.join(VARIANTS)}, true.")
        if not 0 < self.validation < 1:
            raise ParameterError(f"validation={self.validation!r} must lie between 0 and 1.")
        step = self.grid * 2**self.depth
        if self.patch % step:
            raise ParameterError(f"patch={self.patch} must be a multiple of {step}, what the network halves it by.")


def settings_from(params: Mapping[str, Any]) -> Settings:
    """`Settings` from keyword parameters; unknown ones are refused with the list of known ones."""
    return base.settings_from(Settings, "StarDist", params)
