"""Settings of a YOLOX training."""

from dataclasses import dataclass

from cellcount.errors import require
from cellcount.methods.detection import settings as shared

INSTALL = "pip install --no-deps pixeltable-yolox==0.4.3 pycocotools"  # its OpenCV would overwrite the one in use
# Trained from scratch within minutes on a CPU: half the resolution, and therefore feature maps one step finer.
LIGHT = {**shared.LIGHT, "depth": 0.33, "width": 0.25, "finest": 4, "learning_rate": 6e-3}


@dataclass(frozen=True)
class Settings(shared.Common):
    """All settings of a training.

    The defaults are the network and the optimiser of Ge et al. 2021 (size "s"), on the boxes and tiles of the thesis,
    which gives no settings of its own.
    """

    depth: float = 0.33  # Ge et al. 2021, table 1: size "s"
    width: float = 0.5
    finest: int = 8  # px of the input along a pixel of the finest of three feature maps, 4 or 8; then 2 and 4 times
    augment: bool = True
    batch: int = 8
    epochs: int = 300
    schedule: str = "onecycle"
    learning_rate: float = 0.01 / 64 * 8  # 0.01 for each 64 tiles of a step
    average: float = 0.998
    threshold: float = 0.3

    LABEL = "YOLOX"
    FORMAT = "cellcount-yolox-1"
    PRESETS = {"s": {}, "light": LIGHT}

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.finest in (4, 8), f"finest={self.finest!r} is unknown; choose 4 or 8.")
        whole = self.tile % 32 == 0 == self.width * 64 % 8
        require(whole, f"tile={self.tile}, width={self.width}: must be multiples of 32 and of 0.125.")
