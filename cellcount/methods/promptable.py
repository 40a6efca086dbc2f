"""Everything that takes prompts, under one call, and why some of it cannot run on this machine."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from cellcount.errors import require
from cellcount.methods import prompted_watershed, sam
from cellcount.methods.masks import Masks, from_boxes
from cellcount.methods.prompts import Prompts, box

SQUARE, WATERSHED = "square", "watershed"
SIDE = 36.0  # px of the fixed square: of the sizes that agree best with the boxes drawn on thesis image 1, the largest
NOT_RUN = {"needs weights": "not run: weights not on this machine", "needs package": "not run: package not installed"}


class Promptable(NamedTuple):
    """One promptable method.

    Attributes
    ----------
    name : str
        "square", "watershed", or "sam" and the name of a backbone.
    note : str
        "" if it can run here, else the reason, in the words of a table.
    model : str or None
        Of `sam.BACKBONES`.
    """

    name: str
    note: str
    model: str | None

    def open(self, image: np.ndarray, **settings: Any) -> Callable[[Prompts], Masks]:
        """A function Prompts -> Masks for one image (H, W) float32; `settings` are those of `sam.Session`.

        The fixed square depends on nothing but the centres of the prompts: it is the control.
        """
        if self.name == SQUARE:
            return lambda prompts: from_boxes(image.shape, box(prompts.centres, SIDE / 2).boxes)
        if self.name == WATERSHED:
            return lambda prompts: prompted_watershed.segment(image, prompts)
        return sam.Session(image, model=self.model, **settings).segment


def promptable(name: str) -> Promptable:
    """The `Promptable` of a name: "square", "watershed", or one of `sam.BACKBONES`.

    Raises
    ------
    ParameterError
        If there is none, with the known names.
    """
    if name in (SQUARE, WATERSHED):
        return Promptable(name, "", None)
    known = ", ".join((SQUARE, WATERSHED, *sam.BACKBONES))
    require(name in sam.BACKBONES, f"There is no promptable method {name!r}; known are {known}.")
    return Promptable(f"sam {name}", NOT_RUN.get(sam.status(name).state, ""), name)
