"""From a map to a mask, and the table of what makes maps."""

import importlib
import inspect
from typing import Any, NamedTuple

import numpy as np
from scipy import ndimage

from cellcount.errors import ParameterError


class Foreground(NamedTuple):
    """A way to find the foreground.

    `home` is "module:function", with the call (image, *, prompts=None, device="auto", **params) -> (H, W) float32,
    higher on cells. Above `threshold` is foreground; `shrink` px are then taken off its border.
    Only those that are `prompted` take prompts.
    """

    home: str
    threshold: float
    shrink: float
    prompted: bool = False

    def answer(self, image: np.ndarray, **params: Any) -> np.ndarray:
        """The map, (H, W) float32; image (H, W) float32 in [0, 1]."""
        module, _, function = self.home.partition(":")
        return getattr(importlib.import_module(module), function)(image, **params)


# Thresholds and widths were chosen on the phantom's fields for training and validation (`cellcount.companion.studies.foreground_choice`); SAM's
# answer is a mask already, and it wants `prompts`.
FOREGROUNDS = {
    "deviation": Foreground("cellcount.methods.foreground.texture:deviation", threshold=0.025, shrink=5),
    "entropy": Foreground("cellcount.methods.foreground.texture:entropy", threshold=4.0, shrink=4),
    "restoration": Foreground("cellcount.methods.foreground.restoration:restore", threshold=0.02, shrink=0),
    "sam": Foreground("cellcount.methods.sam:foreground", threshold=0.5, shrink=0, prompted=True),
}
SMALLEST = 400  # px, half a small cell's area: smaller pieces are dirt, smaller holes the inside of a cell


def find(name: str) -> Foreground:
    """The `Foreground` of a name.

    Raises
    ------
    ParameterError
        If there is none; the message lists those that there are.
    """
    if name not in FOREGROUNDS:
        raise ParameterError(f"There is no foreground {name!r}; choose one of {', '.join(FOREGROUNDS)}.")
    return FOREGROUNDS[name]


def known_parameters(name: str) -> list[str]:
    """The parameters that `foreground` takes for the foreground of this name; raises as `find` does."""
    module, _, function = find(name).home.partition(":")
    own = inspect.signature(getattr(importlib.import_module(module), function)).parameters
    return ["threshold", "shrink", "smallest", *(key for key in own if key not in ("image", "prompts", "device"))]


def foreground(
    image: np.ndarray,
    name: str = "deviation",
    *,
    threshold: float | str | None = None,
    shrink: float | None = None,
    smallest: int = SMALLEST,
    **params: Any,
) -> np.ndarray:
    """Where the cells are.

    Parameters
    ----------
    image : (H, W) float32 in [0, 1]
    name : key of FOREGROUNDS
    threshold : float, "otsu" or None
        In the unit of the map; "otsu" takes the best two classes of this very map (Otsu 1979), None the table's.
    shrink : float, px, or None
    smallest : int, px
        Smaller pieces and smaller holes are dropped.
    params
        For the function that makes the map, `prompts` and `device` among them.

    Returns
    -------
    (H, W) bool

    Raises
    ------
    ParameterError
        If there is no such foreground.
    """
    known = find(name)
    return cut(
        known.answer(image, **params),
        known.threshold if threshold is None else threshold,
        shrink=known.shrink if shrink is None else shrink,
        smallest=smallest,
    )


def cut(answer: np.ndarray, threshold: float | str, *, shrink: float = 0, smallest: int = SMALLEST) -> np.ndarray:
    """A map's part above a threshold, tidied.

    Parameters
    ----------
    answer : (H, W) float
    threshold : float or "otsu"
    shrink : float, px
        Taken off the border: a window that straddles an outline answers on both sides of it, and so does a halo.
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
    if mask.any():  # without any, a small image would be one hole
        mask = remove_small_holes(mask, max_size=smallest)
    return ndimage.distance_transform_edt(mask) > shrink if shrink else mask
