"""Settings of a CellNet training."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from cellcount.errors import ParameterError
from cellcount.methods.base import TrainingSettings
from cellcount.methods.cellnet.targets import TARGETS
from cellcount.methods.pixels import standardised
from cellcount.types import Sample

FORMAT = "cellcount-cellnet-2"  # of the weights file
ONNX_FORMAT = "cellcount-cellnet-onnx-1"  # of the file that `export` makes of it
OWN = "residual"  # the encoder that is written out in `network`
LOSS_NAMES = ("mse", "bce", "focal")
FRESH, FOLLOWING = 2e-3, 5e-4  # learning rates from scratch and from weights: at the higher one a network forgets
SPACING = 12.0  # px of the heatmap between neighbouring cells: fewer, and their peaks merge; more costs time

PEAK_DISTANCE = 0.32  # of the spacing


@dataclass(frozen=True)
class Settings(TrainingSettings):
    """All settings of a training.

    A field that is None is derived from the samples before training (`filled`), or measured after it.
    """

    encoder: str = OWN
    decoder: str = "unet"
    imagenet: bool = False  # start the encoder from weights learned on photographs, where a package has them
    widths: tuple[int, ...] = (32, 64, 128, 192)  # the coarsest pixel spans 32 px of a thesis image: one cell
    factor: int | None = None  # image px along the side of a heatmap px; None: until cells are about 12 px apart
    detail: int | None = None  # px that the network sees along the side of a heatmap px; None: 2 if the image has them
    target: str = "gaussian"
    loss: str = "mse"
    count_weight: float = 0.0  # weight of the error of local counts
    sigma: float | None = None  # px of the heatmap; None: a fifth of the cells' spacing keeps neighbours apart
    peak_distance: float | None = None  # px of the heatmap; None: a third of the spacing
    threshold: float | None = None  # of a full peak; None: `relative_threshold` of the height of a typical peak
    relative_threshold: float = 0.6
    density_scale: float | None = None  # None: the density sums to the annotated points of the training images
    rounds: int = 0  # how often points move to the peaks found so far, and peaks without a point are left out
    crop: int = 128  # px of the heatmap
    zoom: float = 1.25  # crops are scaled by up to this factor, or its inverse
    contrast: float = 1.4  # likewise for the contrast
    batch: int = 8
    steps: int = 300  # three minutes on 2 cores
    learning_rate: float | None = None  # its maximum; None: FRESH from scratch, FOLLOWING from initial weights
    weight_decay: float = 1e-4
    average: float = 0.99  # of the weights, over the last hundred steps
    seed: int = 0

    LABEL = "CellNet"
    FREE = (*TrainingSettings.FREE, "count_weight", "rounds", "average")
    CHOICES = {"decoder": ("unet", "unetplusplus"), "target": tuple(TARGETS), "loss": LOSS_NAMES}

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.zoom < 1 or self.contrast < 1:
            raise ParameterError(f"zoom={self.zoom}, contrast={self.contrast}: factors of at least 1; 1 turns it off.")
        if not 0 <= self.rounds < self.steps or self.count_weight < 0:
            raise ParameterError(
                f"rounds={self.rounds}, count_weight={self.count_weight}: not below 0, rounds < steps."
            )
        if self.crop % stride(self.widths):
            raise ParameterError(
                f"crop={self.crop} must be a multiple of {stride(self.widths)}, by which these widths downsample it."
            )

    def filled(self, samples: Sequence[Sample]) -> "Settings":
        """These settings with each None that can be derived from the points, before training, replaced.

        Raises
        ------
        ParameterError
            If the points are too close to each other, or `detail` does not divide `factor`.
        """
        apart = spacing(samples) or 25.0  # px, of the thesis
        factor = self.factor or max(1, round(apart / SPACING))
        small = apart / factor
        if not self.sigma and small < 4:
            raise ParameterError(
                f"The points are {apart:.1f} px apart (median); CellNet needs 4 or more. Enlarge the images, or give "
                "sigma and peak_distance."
            )
        detail = self.detail or (2 if factor % 2 == 0 and self.encoder == OWN else 1)
        if factor % detail:
            raise ParameterError(f"detail={detail} must divide factor={factor}.")
        sigma, distance = self.sigma or round(0.2 * small, 2), self.peak_distance or round(PEAK_DISTANCE * small, 2)
        return replace(self, factor=factor, detail=detail, sigma=sigma, peak_distance=distance)

    def prepared(self, image: np.ndarray, exposure: tuple[float, float] | None = None) -> np.ndarray:
        """What the network sees of an image (H, W) float32: (detail ceil(H / factor), detail ceil(W / factor)) float32.

        For settings that are `filled`; `exposure` as of `pixels.standardised`.
        """
        assert self.factor and self.detail
        return standardised(image, self.factor // self.detail, exposure, multiple=self.factor)


def stride(widths: Sequence[int]) -> int:
    """Heatmap px along the side of one pixel of the coarsest resolution."""
    return 2 ** len(widths)


def clicked(sample: Sample) -> np.ndarray:
    """The points that a person marked, (N, 2) px: all of a sample, or those of probability 1 if it has some."""
    probability = sample.meta.get("probability")
    return sample.points if probability is None else sample.points[np.asarray(probability) == 1]


def spacing(samples: Sequence[Sample]) -> float | None:
    """Median distance of a marked point to its nearest neighbour, px; None if no image has two points."""
    from scipy.spatial import cKDTree

    marked = [points for points in map(clicked, samples) if len(points) > 1]
    nearest = [cKDTree(points).query(points, 2)[0][:, 1] for points in marked]
    return float(np.median(np.concatenate(nearest))) if nearest else None
