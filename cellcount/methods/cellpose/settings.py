"""What a training run of Cellpose can be told."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cellcount.data.pseudo_masks import VARIANTS
from cellcount.errors import ParameterError
from cellcount.methods import base

FORMAT = "cellcount-cellpose-1"  # of our weights file
NAMES = ("cyto", "cyto2", "cyto3")  # weights of the library
LIBRARY_WIDTHS = (32, 64, 128, 256)
STYLE = 256  # channels at the coarsest resolution: the library's code has this number written out
POSITIVE = ("diam_mean", "tile", "crop", "batch", "epochs", "learning_rate", "size_crop", "size_epochs")


@dataclass(frozen=True)
class Settings:
    """Everything that decides what comes out of a training run, besides the samples."""

    start: str = ""  # weights to start from: "cyto", "cyto2", "cyto3", or none
    masks: str = "weighted"  # what to learn from: a variant of pseudo_masks, or "true" where a sample has labels
    widths: tuple[int, ...] = LIBRARY_WIDTHS
    diam_mean: float = 15.0  # px, to which cells are scaled; Cellpose's own 30 takes four times as long
    tile: int = 512  # px of the image; Cellpose draws one crop from each image it is given, so we cut ours
    trusted: float = 0.7  # least share of a tile where the annotation can be trusted: its loss knows no "unknown"
    crop: int = 128  # px after scaling: about nine cells wide
    batch: int = 8
    epochs: int = 240  # of one batch each
    learning_rate: float = 0.005  # the library's
    weight_decay: float = 1e-5  # the library's
    flow_threshold: float = 0.0  # off: masks made from clicks teach flows that differ from theirs by more than .4
    size_crop: int = 256  # px of the image: of the size model; the library's 512 would reach beyond small fields
    size_epochs: int = 4  # of the size model, over 8 crops each
    seed: int = 0  # of the first weights; Cellpose seeds its crops by itself, with the number of the epoch

    def __post_init__(self) -> None:
        object.__setattr__(self, "widths", tuple(self.widths))  # JSON gives a list
        for name in POSITIVE:
            if not getattr(self, name) > 0:
                raise ParameterError(f"{name}={getattr(self, name)!r} must be positive.")
        if self.masks not in (*VARIANTS, "true"):
            raise ParameterError(f"masks={self.masks!r} is unknown; choose one of {', '.join(VARIANTS)}, true.")
        if self.start not in ("", *NAMES):
            raise ParameterError(
                f"start={self.start!r} is unknown; choose one of {', '.join(NAMES)}, or leave it empty."
            )
        if self.start and self.widths != LIBRARY_WIDTHS:
            raise ParameterError(f"widths={self.widths}: the weights {self.start} have {LIBRARY_WIDTHS}.")
        if len(self.widths) != 4 or self.widths[-1] != STYLE:
            raise ParameterError(f"widths={self.widths}: Cellpose wants four of them, the last {STYLE}.")
        for name in ("crop", "size_crop"):
            if getattr(self, name) % 8:
                raise ParameterError(
                    f"{name}={getattr(self, name)} must be a multiple of 8: the network halves it thrice."
                )
        if self.epochs < 2:
            raise ParameterError(f"epochs={self.epochs}: Cellpose's learning rate is 0 in the first; give 2 or more.")


def settings_from(params: Mapping[str, Any]) -> Settings:
    """`Settings` from keyword parameters; unknown ones are refused with the list of known ones."""
    return base.settings_from(Settings, "Cellpose", params)
