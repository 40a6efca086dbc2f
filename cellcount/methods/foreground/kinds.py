"""The table of methods that map the foreground, and the mask from a map."""

import importlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from scipy import ndimage

from cellcount.errors import require


class Foreground(NamedTuple):
    """A method to find the foreground.

    `home` is the "module:function" that makes the map, with the call (image, *, prompts=None, device="auto", **params)
    -> (H, W) float32, higher on cells. Above `threshold` is foreground; `shrink` px are then removed from its border.
    Only those that are `prompted` take prompts.
    """

    home: str
    threshold: float
    shrink: float
    prompted: bool = False

    @property
    def answer(self) -> Callable[..., np.ndarray]:
        """The function (image (H, W) float32 in [0, 1], **params) -> (H, W) float32 map."""
        module, _, function = self.home.partition(":")
        return getattr(importlib.import_module(module), function)


# Thresholds and widths were chosen on the phantom's fields for training and validation
# (`cellcount.companion.studies.foreground_choice`). SAM gives a mask, and needs `prompts`.
FOREGROUNDS = {
    "deviation": Foreground("cellcount.methods.foreground.texture:deviation", threshold=0.025, shrink=5),
    "entropy": Foreground("cellcount.methods.foreground.texture:entropy", threshold=4.0, shrink=4),
    "restoration": Foreground("cellcount.methods.foreground.restoration:restore", threshold=0.02, shrink=0),
    "sam": Foreground("cellcount.methods.sam:foreground", threshold=0.5, shrink=0, prompted=True),
}
SMALLEST = 400  # px, half a small cell's area: smaller components are dirt, smaller holes are inside a cell


def find(name: str) -> Foreground:
    """The `Foreground` of a name.

    Raises
    ------
    ParameterError
        If there is none, with the known names.
    """
    require(name in FOREGROUNDS, f"There is no foreground {name!r}; choose one of {', '.join(FOREGROUNDS)}.")
    return FOREGROUNDS[name]


def foreground(
    image: np.ndarray,
    name: str = "deviation",
    *,
    threshold: float | str | None = None,
    shrink: float | None = None,
    smallest: int = SMALLEST,
    **params: Any,
) -> np.ndarray:
    """The part of an image that cells cover.

    Parameters
    ----------
    image : (H, W) float32 in [0, 1]
    name : key of FOREGROUNDS
    threshold : float, "otsu" or None
        In the unit of the map; "otsu" separates this map into two classes (Otsu 1979), None takes the table's.
    shrink : float, px, or None
    smallest : int, px
        Smaller components are removed, and smaller holes filled.
    params
        Of the function that makes the map, `prompts` and `device` among them.

    Returns
    -------
    (H, W) bool

    Raises
    ------
    ParameterError
        If there is no such foreground.
    """
    known = find(name)
    threshold = known.threshold if threshold is None else threshold
    shrink = known.shrink if shrink is None else shrink
    return cut(known.answer(image, **params), threshold, shrink=shrink, smallest=smallest)


def cut(answer: np.ndarray, threshold: float | str, *, shrink: float = 0, smallest: int = SMALLEST) -> np.ndarray:
    """The part of a map above a threshold, without small components and holes.

    Parameters
    ----------
    answer : (H, W) float
    threshold : float or "otsu"
    shrink : float, px
        Removed from the border: texture in a window across an outline is high on both sides of it, as a halo is.
    smallest : int, px

    Returns
    -------
    (H, W) bool
    """
    from skimage.filters import threshold_otsu
    from skimage.morphology import remove_small_holes, remove_small_objects

    if threshold == "otsu":
        threshold = threshold_otsu(answer) if answer.min() < answer.max() else np.inf
    mask = remove_small_objects(answer > threshold, max_size=smallest)
    if mask.any():  # else a small image would be one hole
        mask = remove_small_holes(mask, max_size=smallest)
    return ndimage.distance_transform_edt(mask) > shrink if shrink else mask
