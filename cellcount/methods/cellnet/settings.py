"""What a training run of CellNet can be told."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cellcount.errors import ParameterError
from cellcount.methods import base
from cellcount.methods.cellnet.targets import TARGETS
from cellcount.types import Sample

FORMAT = "cellcount-cellnet-2"  # of the weights file
ONNX_FORMAT = "cellcount-cellnet-onnx-1"  # of what `export` makes of it
OWN = "residual"  # the encoder that is written out in `network`
LOSS_NAMES = ("mse", "bce", "focal")
FRESH, FOLLOWING = 2e-3, 5e-4  # learning rates: a network that knows cells forgets them at the higher one
SPACING = 12.0  # px of the heatmap between neighbouring cells: fewer, and their hills melt; more, and time is lost


@dataclass(frozen=True)
class Settings:
    """Everything that decides what comes out of a training run, besides the samples.

    What is None is taken from the samples, by `filled`, and after training.
    """

    encoder: str = OWN
    decoder: str = "unet"
    imagenet: bool = False  # start the encoder from weights learned on photographs, where a package brings them
    widths: tuple[int, ...] = (32, 64, 128, 192)  # the coarsest pixel spans 32 px of a thesis image: one cell
    factor: int | None = None  # how much coarser the heatmap is; None: until cells are about 12 px apart
    detail: int | None = None  # px of the image along one px of the heatmap; None: 2 if the image has them
    target: str = "gaussian"
    loss: str = "mse"
    count_weight: float = 0.0  # of the error of local counts
    sigma: float | None = None  # px of the heatmap; None: a fifth of the cells' spacing keeps neighbours apart
    peak_distance: float | None = None  # px of the heatmap; None: a third of the spacing
    threshold: float | None = None  # of a full peak; None: `relative_threshold` of the height of a typical click
    relative_threshold: float = 0.6
    density_scale: float | None = None  # None: so that the density sums up to the clicks of the training images
    rounds: int = 0  # how often clicks are moved to the hills found so far, and hills without a click forgiven
    crop: int = 128  # px of the heatmap
    zoom: float = 1.25
    contrast: float = 1.4  # crops are brightened and sharpened by up to this factor, or its inverse
    batch: int = 8
    steps: int = 300  # three minutes on 2 cores
    learning_rate: float | None = None  # its maximum; None: FRESH, or FOLLOWING if training goes on from weights
    weight_decay: float = 1e-4
    average: float = 0.99  # of the weights, over the last hundred steps
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "widths", tuple(self.widths))  # JSON gives a list
        for name in ("factor", "detail", "sigma", "peak_distance", "threshold", "density_scale", "learning_rate"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ParameterError(f"{name}={value!r} must be positive, or None to have it chosen.")
        for name in ("relative_threshold", "crop", "batch", "steps"):
            if not getattr(self, name) > 0:
                raise ParameterError(f"{name}={getattr(self, name)!r} must be positive.")
        if self.zoom < 1 or self.contrast < 1:
            raise ParameterError(f"zoom={self.zoom}, contrast={self.contrast}: factors of at least 1; 1 turns it off.")
        if not 0 <= self.rounds < self.steps or self.count_weight < 0:
            raise ParameterError(
                f"rounds={self.rounds}, count_weight={self.count_weight}: not below 0, rounds < steps."
            )
        for name, known in (("target", TARGETS), ("loss", LOSS_NAMES)):
            if getattr(self, name) not in known:
                raise ParameterError(f"{name}={getattr(self, name)!r} is unknown; choose one of {', '.join(known)}.")
        step = stride(self.widths)
        if self.crop % step:
            raise ParameterError(f"crop={self.crop} must be a multiple of {step}, what these widths halve it by.")

    def filled(self, samples: Sequence[Sample]) -> "Settings":
        """These settings with what was None taken from the points, but for what only a trained network tells."""
        spacing = _spacing(samples)
        factor = self.factor or max(1, round(spacing / SPACING))
        apart = spacing / factor
        if not self.sigma and apart < 4:
            raise ParameterError(
                f"The points lie {spacing:.1f} px apart (median); CellNet wants 4 or more. Enlarge the images, or give "
                "sigma and peak_distance."
            )
        detail = self.detail or (2 if factor % 2 == 0 and self.encoder == OWN else 1)
        if factor % detail:
            raise ParameterError(f"detail={detail} must divide factor={factor}.")
        return replace(
            self,
            factor=factor,
            detail=detail,
            sigma=self.sigma or round(0.2 * apart, 2),
            peak_distance=self.peak_distance or round(0.32 * apart, 2),
        )


def stride(widths: Sequence[int]) -> int:
    """How many px of the heatmap one pixel of the coarsest resolution spans."""
    return 2 ** len(widths)


def _spacing(samples):
    """Median distance of a point to its nearest neighbour, px; the thesis' 25 px if no image has two points."""
    from scipy.spatial import cKDTree

    nearest = [cKDTree(s.points).query(s.points, 2)[0][:, 1] for s in samples if len(s.points) > 1]
    return float(np.median(np.concatenate(nearest))) if nearest else 25.0


def settings_from(params: Mapping[str, Any]) -> Settings:
    """`Settings` from keyword parameters; unknown ones are refused with the list of known ones."""
    return base.settings_from(Settings, "CellNet", params)
