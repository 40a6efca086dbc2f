"""Prompts as data: points and boxes for a promptable method, made from the cells' centre points alone.

Every maker turns centres (N, 2) into `Prompts`, independent of the method that takes them. The first four types are
those of the thesis (section 6.3.2), with its sizes as defaults.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cellcount.errors import check_positive, require
from cellcount.types import as_points

WANTED, UNWANTED, NO_POINT = 1, -1, 0  # signs of a point; NO_POINT fills rows that have fewer points than others
CROSS_RADIUS = 12.0  # px, the thesis'
HALF_SIDE = 25.0  # px, the thesis'; its section 6.2 estimates cells at 50 px with their surroundings


@dataclass(frozen=True)
class Prompts:
    """N prompts; each asks for one object.

    Attributes
    ----------
    kind : str
        The maker that they come from.
    centres : (N, 2) float32, (y, x) px
        A point of the object that each prompt asks for, to test whether a mask contains its own and other centres.
    points : (N, K, 2) float32, (y, x) px
        K may be 0.
    signs : (N, K) int8
        WANTED (1), UNWANTED (-1), or NO_POINT (0), where the row of `points` is to be ignored.
    boxes : (N, 4) float32 or None
        (y0, x0, y1, x1) px, ends included.
    """

    kind: str
    centres: np.ndarray
    points: np.ndarray
    signs: np.ndarray
    boxes: np.ndarray | None = None

    def __post_init__(self) -> None:
        n, k = self.signs.shape
        if self.centres.shape != (n, 2) or self.points.shape != (n, k, 2):
            raise ValueError(f"centres {self.centres.shape}, points {self.points.shape}, signs {self.signs.shape}")
        if self.boxes is not None and self.boxes.shape != (n, 4):
            raise ValueError(f"boxes {self.boxes.shape} for {n} prompts")

    def __len__(self) -> int:
        return len(self.centres)

    def take(self, rows: Sequence[int] | np.ndarray) -> "Prompts":
        """The prompts of these rows ((M,) int or (N,) bool), in their order."""
        boxes = None if self.boxes is None else self.boxes[rows]
        return replace(self, centres=self.centres[rows], points=self.points[rows], signs=self.signs[rows], boxes=boxes)

    def in_window(self, window: tuple[int, int, int, int]) -> "Prompts":
        """The same prompts in the pixels of a window; points off it become NO_POINT, boxes are cut at its border.

        Parameters
        ----------
        window : (y0, y1, x0, x1) px, ends excluded
        """
        y0, y1, x0, x1 = window
        corner, size = np.array([y0, x0], np.float32), np.array([y1 - y0, x1 - x0], np.float32)
        points = self.points - corner
        off = ((points < -0.5) | (points >= size - 0.5)).any(axis=2)
        signs = np.where(off, NO_POINT, self.signs).astype(np.int8)
        boxes = self.boxes
        if boxes is not None:
            boxes = np.clip(boxes - np.tile(corner, 2), 0, np.tile(size - 1, 2)).astype(np.float32)
        return replace(self, centres=self.centres - corner, points=points, signs=signs, boxes=boxes)


def _prompts(kind: str, centres: np.ndarray, points: Any = None, signs: Any = None, boxes: Any = None) -> Prompts:
    n = len(centres)
    points = np.zeros((n, 0, 2)) if points is None else points
    signs = np.zeros((n, 0)) if signs is None else signs
    boxes = None if boxes is None else np.asarray(boxes, np.float32).reshape(n, 4)
    return Prompts(kind, centres, np.asarray(points, np.float32), np.asarray(signs, np.int8), boxes)


def grid(shape: Sequence[int], spacing: float = 32.0) -> Prompts:
    """One positive point on each node of a regular grid: SAM's automatic mode, before it selects.

    Parameters
    ----------
    shape : (height, width), px
    spacing : float, px
        Largest distance of two points; the outermost ones are at half of it from the border. SAM's own 32 x 32 points
        are 32 px apart where an image fills its 1024 px.
    """
    check_positive("grid", spacing=spacing)
    axes = [(np.arange(n := int(np.ceil(side / spacing))) + 0.5) * side / n - 0.5 for side in shape]
    nodes = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2).astype(np.float32)
    return replace(point(nodes), kind="grid")


def point(centres: ArrayLike) -> Prompts:
    """One positive point on each centre; centres (N, 2) float, (y, x) px."""
    centres = as_points(centres, "centres")
    return _prompts("point", centres, centres[:, None], np.ones((len(centres), 1)))


def cross(centres: ArrayLike, radius: float = CROSS_RADIUS) -> Prompts:
    """A positive point on each centre, and four negative ones around it in an X.

    Parameters
    ----------
    centres : (N, 2) float, (y, x) px
    radius : float, px
        Distance of the negative points from the centre.
    """
    check_positive("cross", radius=radius)
    centres = as_points(centres, "centres")
    arms = radius * np.sqrt(0.5) * np.array([[-1, -1], [-1, 1], [1, -1], [1, 1]])
    points = centres[:, None] + np.concatenate([np.zeros((1, 2)), arms])
    signs = np.tile([WANTED] + 4 * [UNWANTED], (len(centres), 1))
    return _prompts("cross", centres, points, signs)


def box(centres: ArrayLike, half: float = HALF_SIDE) -> Prompts:
    """A square of the same size around each centre, and no point.

    Parameters
    ----------
    centres : (N, 2) float, (y, x) px
    half : float, px
        Half of the square's side.
    """
    check_positive("box", half=half)
    centres = as_points(centres, "centres")
    return _prompts("box", centres, boxes=np.concatenate([centres - half, centres + half], axis=1))


def drawn(boxes: ArrayLike) -> Prompts:
    """Boxes drawn around the objects, by hand or from true masks; centre points do not give these.

    Parameters
    ----------
    boxes : (N, 4) float, (y0, x0, y1, x1) px
    """
    boxes = np.asarray(boxes, np.float32).reshape(-1, 4)
    return _prompts("drawn box", (boxes[:, :2] + boxes[:, 2:]) / 2, boxes=boxes)


def neighbours(centres: ArrayLike, nearest: int = 8, within: float = 60.0) -> Prompts:
    """A positive point on each centre, and a negative one on each neighbouring centre.

    Parameters
    ----------
    centres : (N, 2) float, (y, x) px
    nearest : int
        Largest number of negative points of each prompt; eight neighbours surround a cell.
    within : float, px
        Centres farther away are no neighbours.
    """
    check_positive("neighbours", nearest=nearest, within=within)
    centres = as_points(centres, "centres")
    k = max(0, min(nearest, len(centres) - 1))
    from scipy.spatial import cKDTree

    distance, index = cKDTree(centres).query(centres, k=[*range(1, k + 2)], distance_upper_bound=within)
    points, signs = np.zeros((len(centres), k + 1, 2)), np.zeros((len(centres), k + 1))
    points[:, 0], signs[:, 0] = centres, WANTED
    for row in range(len(centres)):  # a point is not its own neighbour, also where two have one position
        found = index[row][(index[row] != row) & np.isfinite(distance[row])][:k]
        points[row, 1 : len(found) + 1], signs[row, 1 : len(found) + 1] = centres[found], UNWANTED
    return _prompts("neighbours", centres, points, signs)


def check_wanted(wanted: str) -> None:
    """Raise a ParameterError unless a foreground prompt may want this: "cells" or "background"."""
    known = wanted in ("cells", "background")
    require(known, f"foreground: wanted={wanted!r}; choose 'cells' or 'background'.")


def foreground(centres: ArrayLike, background: ArrayLike, wanted: str = "cells") -> Prompts:
    """All centres as one prompt for one big object, with points on the background as their opposite.

    Parameters
    ----------
    centres : (N, 2) float, (y, x) px
    background : (M, 2) float, (y, x) px
    wanted : "cells" or "background"
        Which of the two are positive: section 6.5.1 of the draft compares both.

    Returns
    -------
    Prompts
        One.
    """
    check_wanted(wanted)
    centres, background = as_points(centres, "centres"), as_points(background, "background")
    points = np.concatenate([centres, background])
    sign = WANTED if wanted == "cells" else UNWANTED
    signs = np.repeat([sign, -sign], [len(centres), len(background)])
    middle = points.mean(axis=0, keepdims=True) if len(points) else np.zeros((1, 2))
    return _prompts("foreground", middle.astype(np.float32), points[None], signs[None])


def true_boxes(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The box around each object of a label image (H, W) int.

    Returns
    -------
    boxes : (N, 4) float32, (y0, x0, y1, x1) px
    objects : (N,) int
        Their labels.
    """
    from scipy import ndimage

    found = [(place, i + 1) for i, place in enumerate(ndimage.find_objects(labels)) if place is not None]
    boxes = [(rows.start, columns.start, rows.stop - 1, columns.stop - 1) for (rows, columns), _ in found]
    return np.array(boxes, np.float32).reshape(-1, 4), np.array([label for _, label in found], int)


MAKERS = {"point": point, "cross": cross, "box": box, "neighbours": neighbours}  # from centres alone, one each
