"""The two data types of every other module: `Sample` and `Prediction`.

Coordinates are (y, x) in pixels, float32, with the origin at the centre of the top-left pixel.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from cellcount.errors import DataError, needing, require

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("y_px", "x_px", "score")  # of a table of points


def as_points(points: Any, what: str = "points") -> np.ndarray:
    """Check and convert to an (N, 2) float32 array of (y, x) px; an empty list gives shape (0, 2).

    Raises
    ------
    DataError
        If the shape is not (N, 2) or a coordinate is not finite.
    """
    try:
        points = np.asarray(points, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise DataError(f"{what}: expected an (N, 2) array of (y, x) pixels ({error}).") from error
    if points.size == 0:
        return np.zeros((0, 2), np.float32)
    pairs = points.ndim == 2 and points.shape[1] == 2
    require(pairs, f"{what}: expected an (N, 2) array of (y, x) pixels, got shape {points.shape}.", DataError)
    if not np.isfinite(points).all():
        bad = int(np.flatnonzero(~np.isfinite(points).all(axis=1))[0])
        raise DataError(f"{what}: row {bad} is {points[bad].tolist()}; coordinates must be finite numbers.")
    return points


@dataclass(frozen=True, eq=False)  # == of arrays is not one truth value
class Sample:
    """One image with its annotation.

    Attributes
    ----------
    name : str
    image : (H, W) float32, in [0, 1]
    points : (N, 2) float32, (y, x) px, or None
        Centres of the annotated live cells; None if the image is not annotated.
    valid : (H, W) bool
        Where the annotation is reliable: near annotated cells and on background. Everywhere by default.
    pixel_size_um : float or None
    labels : (H, W) int32 or None
        Ground-truth instances, 0 is background. Only simulated data has them.
    boxes : (K, 4) float32 or None
        Hand-drawn boxes, (y0, x0, y1, x1) px.
    dead : (D, 2) float32
        Centres of dead cells and debris, (y, x) px.
    split : str
        "train", "validation", "test", or "" if the data set has no fixed split.
    meta : dict
        Further information: flask, objective, source file, SHA-256.
    """

    name: str
    image: np.ndarray
    points: np.ndarray | None = None
    valid: np.ndarray = None  # type: ignore[assignment]  # an array in every Sample, see below
    pixel_size_um: float | None = None
    labels: np.ndarray | None = None
    boxes: np.ndarray | None = None
    dead: np.ndarray = field(default_factory=lambda: np.zeros((0, 2), np.float32))
    split: str = ""
    meta: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.image.ndim != 2 or self.image.dtype != np.float32:
            found = f"shape {self.image.shape}, {self.image.dtype}"
            raise DataError(f"{self.name}: the image must be (H, W) float32 in [0, 1], got {found}.")
        if self.valid is None:  # type: ignore[redundant-expr,unused-ignore]
            object.__setattr__(self, "valid", np.ones(self.image.shape, bool))
        for name in ("valid", "labels"):
            array = getattr(self, name)
            if array is not None and array.shape != self.image.shape:
                raise DataError(f"{self.name}: {name} has shape {array.shape}, the image {self.image.shape}.")
        if self.points is not None:
            object.__setattr__(self, "points", as_points(self.points, f"{self.name}: points"))
        object.__setattr__(self, "dead", as_points(self.dead, f"{self.name}: dead"))

    def crop(self, y: int, x: int, height: int, width: int) -> Sample:
        """The part of this sample in rows y to y + height and columns x to x + width, as a Sample.

        Points, dead cells and boxes with a centre outside are dropped; the others are shifted. The provenance of the
        whole image's points is left out.
        """
        window = slice(y, y + height), slice(x, x + width)
        low = np.array([y, x], np.float32) - 0.5  # a pixel extends half a px around its centre
        high = low + np.array([height, width], np.float32)

        def cut(places: np.ndarray) -> np.ndarray:
            """Of (N, 2) points or (N, 4) boxes."""
            centres = (places[:, :2] + places[:, -2:]) / 2
            shift = np.array([y, x] * (places.shape[1] // 2), np.float32)
            return places[((centres >= low) & (centres < high)).all(axis=1)] - shift

        return replace(
            self,
            name=f"{self.name}[{y}:{y + height},{x}:{x + width}]",
            image=np.ascontiguousarray(self.image[window]),
            points=None if self.points is None else cut(self.points),
            valid=self.valid[window],
            labels=None if self.labels is None else self.labels[window],
            boxes=None if self.boxes is None else cut(self.boxes),
            dead=cut(self.dead),
            meta={name: value for name, value in self.meta.items() if name != "provenance"},
        )


@dataclass(frozen=True, eq=False)
class Prediction:
    """The result of any method on one image.

    Attributes
    ----------
    points : (M, 2) float32, (y, x) px
    scores : (M,) float32
        Higher is more certain; comparable within one method only.
    count : float
        The method's own estimate of the number of cells: the sum of a density map is not a number of peaks.
    count_interval : (low, high) or None
    labels : (H, W) int32 or None
        Instance masks: 0 is background, i + 1 the mask of point i.
    density : (H, W) float32 or None
        Cells per pixel.
    meta : dict
        Method, parameters, weights' SHA-256, device, seconds.
    """

    points: np.ndarray
    scores: np.ndarray
    count: float
    count_interval: tuple[float, float] | None = None
    labels: np.ndarray | None = None
    density: np.ndarray | None = None
    meta: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "points", as_points(self.points, "prediction"))
        object.__setattr__(self, "scores", np.asarray(self.scores, np.float32).reshape(-1))
        if len(self.points) != len(self.scores):
            raise ValueError(f"{len(self.points)} points, but {len(self.scores)} scores")

    def to_frame(self) -> pd.DataFrame:
        """The points as a table: columns y_px, x_px (float32) and score, one row per point."""
        with needing("data", "A table"):
            import pandas as pd
        return pd.DataFrame(dict(zip(COLUMNS, (*self.points.T, self.scores), strict=True)))

    def to_text(self) -> list[tuple[str, str, str]]:
        """(y, x, score) of each point as `cellcount count` writes it: two decimals of px, three of the score."""
        lines = zip(self.points.tolist(), self.scores.tolist(), strict=True)
        return [(f"{y:.2f}", f"{x:.2f}", f"{score:.3f}") for (y, x), score in lines]


def visible(labels: np.ndarray, n: int) -> np.ndarray:
    """(n,) bool: which of the points 0 to n - 1 have a mask in `labels` (H, W) int, where i + 1 is that of point i."""
    return np.bincount(labels.ravel(), minlength=n + 1)[1 : n + 1] > 0
