"""What a training run of CellNet can be told."""

from dataclasses import dataclass

from cellcount.errors import ParameterError
from cellcount.methods.cellnet.network import OWN, stride

FORMAT = "cellcount-cellnet-1"  # of the weights file


@dataclass(frozen=True)
class Settings:
    """Everything that decides what comes out of a training run, besides the samples."""

    encoder: str = OWN
    decoder: str = "unet"
    widths: tuple[int, ...] = (32, 64, 128, 192)  # the coarsest pixel spans 32 px of the image: one cell
    factor: int = 2  # half the resolution: a quarter of the time, and cells are still 18 px wide
    sigma: float = 2.5  # px after shrinking; a fifth of the cells' spacing keeps neighbours apart
    peak_distance: float = 4.0  # px after shrinking; a third of the spacing
    threshold: float = 0.4  # of a full peak: where F1 near clicks is best on the images trained on, for each of the two
    crop: int = 192  # px after shrinking
    zoom: float = 1.25
    batch: int = 8
    steps: int = 450  # 7 minutes on 2 cores
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    average: float = 0.99  # of the weights, over the last hundred steps
    seed: int = 0

    def __post_init__(self):
        object.__setattr__(self, "widths", tuple(self.widths))  # JSON gives a list
        for name in ("factor", "sigma", "peak_distance", "threshold", "crop", "batch", "steps", "learning_rate"):
            if not getattr(self, name) > 0:
                raise ParameterError(f"{name}={getattr(self, name)!r} must be positive.")
        step = stride(self.widths)
        if self.crop % step:
            raise ParameterError(f"crop={self.crop} must be a multiple of {step}, what these widths halve it by.")


def settings_from(params):
    """`Settings` from keyword parameters; unknown ones are refused with the list of known ones."""
    known = Settings.__dataclass_fields__
    unknown = sorted(set(params) - set(known))
    if unknown:
        raise ParameterError(f"CellNet has no parameter {', '.join(unknown)}; known: {', '.join(known)}.")
    return Settings(**params)
