"""Settings of a Cellpose training."""

from dataclasses import dataclass

from cellcount.data.pseudo_masks import CHOICES
from cellcount.errors import require
from cellcount.methods.base import TrainingSettings

FORMAT = "cellcount-cellpose-1"  # of the weights file
NAMES = ("cyto", "cyto2", "cyto3")  # weights of the library
LIBRARY_WIDTHS = (32, 64, 128, 256)
STYLE = 256  # channels at the coarsest resolution, a constant in the library's code


@dataclass(frozen=True)
class Settings(TrainingSettings):
    """All settings of a training."""

    start: str = ""  # initial weights: "cyto", "cyto2", "cyto3", or "" for a training from scratch
    masks: str = "weighted"  # to learn from: a variant of pseudo_masks, or "true" where a sample has labels
    widths: tuple[int, ...] = LIBRARY_WIDTHS
    diam_mean: float = 15.0  # px, to which cells are scaled; Cellpose's own 30 takes four times as long
    tile: int = 512  # px of the image; Cellpose draws one crop from each image it is given, so fields are cut first
    trusted: float = 0.7  # least share of a tile with trusted annotation
    ignore: bool = False  # leave untrusted pixels out of the loss; the library takes them for background
    crop: int = 128  # px after scaling: about nine cells wide
    batch: int = 8
    epochs: int = 240  # of one batch each
    learning_rate: float = 0.005  # the library's
    weight_decay: float = 1e-5  # the library's
    flow_threshold: float = 0.0  # off: flows learned from pseudo-masks differ from those of masks by more than 0.4
    size_crop: int = 256  # px of the image, for the size model; the library's 512 would exceed small fields
    size_epochs: int = 4  # of the size model, over 8 crops each
    seed: int = 0  # of the initial weights; Cellpose itself seeds its crops with the number of the epoch

    LABEL = "Cellpose"
    FREE = (*TrainingSettings.FREE, "trusted", "flow_threshold")
    CHOICES = {"masks": CHOICES, "start": ("", *NAMES)}

    def __post_init__(self) -> None:
        super().__post_init__()
        widths, crop, size = self.widths, self.crop, self.size_crop
        own = not self.start or widths == LIBRARY_WIDTHS
        require(own, f"widths={widths}: the weights {self.start} have {LIBRARY_WIDTHS}.")
        four = len(widths) == 4 and widths[-1] == STYLE
        require(four, f"widths={widths}: Cellpose needs four of them, the last {STYLE}.")
        require(crop % 8 == 0 == size % 8, f"crop={crop}, size_crop={size} must be multiples of 8.")
        slow = f"epochs={self.epochs}: Cellpose's learning rate is 0 in the first; give 2 or more."
        require(self.epochs >= 2, slow)
