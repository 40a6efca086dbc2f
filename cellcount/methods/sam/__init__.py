"""SAM and micro-SAM: masks from prompts, with any of their backbones or with a small one trained here.

`predict` turns an image and prompts into masks, `Session` does so many times on one image, `fit` trains the small
model, `status` tells whether a model's weights are on this machine. Nothing is downloaded.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import lazy_loader
import numpy as np

from cellcount.errors import require
from cellcount.methods.base import predicts
from cellcount.methods.pixels import percentiles
from cellcount.methods.prompts import Prompts, check_wanted, point
from cellcount.methods.sam.backbones import BACKBONES, DEFAULT, SMALL, status
from cellcount.methods.sam.small import Settings, about
from cellcount.types import Prediction, visible

# torch takes seconds to import, and a status does not need it.
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs={"session": ["Session"], "training": ["fit"]})
__all__ += ["BACKBONES", "DEFAULT", "SMALL", "Settings", "about", "context", "foreground", "predict", "status"]


@predicts("SAM", prompts="optional")
def predict(
    image: np.ndarray,
    *,
    prompts: Prompts | np.ndarray | None = None,
    device: str = "auto",
    model: str = DEFAULT,
    spacing: float = 32.0,
    weights: str | Path | None = None,
    exposure: tuple[float, float] | None = None,
    batch: int = 16,
    cache: bool | None = None,
    progress: bool = True,
) -> Prediction:
    """Masks of one image.

    Parameters
    ----------
    image : (H, W) float32 in [0, 1]
    prompts : Prompts, (N, 2) float of (y, x) px, or None
        See `cellcount.methods.prompts`. An array is one positive point for each object. None is SAM's automatic mode: a
        grid of points, of whose masks those are kept of which the network is certain.
    device : str
    model : str
        One of `BACKBONES`.
    spacing : float, px
        Of the automatic mode's grid.
    weights, exposure, batch, cache, progress
        Of `Session`.

    Returns
    -------
    Prediction
        `points` are the prompts' centres, one for each prompt; label i + 1 in `labels` is the mask of prompt i, with
        overlaps resolved by the rule of `Masks.labels`; `count` is the number of prompts with a visible mask. In the
        automatic mode the points are the masks' centroids.

    Raises
    ------
    DataError, ParameterError, NotAvailableError
        See `Session` and `Session.segment`.
    """
    from cellcount.methods.sam.session import Session

    settings = {"weights": weights, "exposure": exposure, "batch": batch, "cache": cache, "progress": progress}
    session = Session(image, model=model, device=device, **settings)
    if prompts is None:
        masks, kind = session.automatic(spacing), "grid"
        points = masks.centroids()
    else:
        prompts = prompts if isinstance(prompts, Prompts) else point(prompts)
        masks, points, kind = session.segment(prompts), prompts.centres, prompts.kind
    loaded, labels = session.loaded, masks.labels()
    meta = {"method": f"sam {model}", "model": model, "prompts": kind, "device": str(loaded.sam.device)}
    meta["weights_sha256"] = loaded.digest
    return Prediction(points, masks.scores, float(visible(labels, len(points)).sum()), labels=labels, meta=meta)


def foreground(
    image: np.ndarray,
    *,
    prompts: Prompts | None = None,
    device: str = "auto",
    model: str = DEFAULT,
    wanted: str = "cells",
    weights: str | Path | None = None,
    batch: int = 16,
    **settings: Any,
) -> np.ndarray:
    """The foreground of an image, asked for as one object: a map for `cellcount.methods.foreground`.

    Parameters
    ----------
    image : (H, W) float32 in [0, 1]
    prompts : Prompts
        From `prompts.foreground`, with the cells as what is wanted.
    wanted : "cells" or "background"
        What the network is asked for; for the background all signs are inverted, and so is the answer.
    device, model, weights, batch, settings
        Of `Session`.

    Returns
    -------
    (H, W) float32
        1 on cells, 0 elsewhere.

    Raises
    ------
    ParameterError
        If there is no foreground prompt, or `wanted` is neither; and as `Session` does.
    """
    from cellcount.methods.sam.session import Session

    made = isinstance(prompts, Prompts) and prompts.kind == "foreground"
    require(made, "SAM finds a foreground from a prompt only: give one made by prompts.foreground.")
    check_wanted(wanted)
    session = Session(image, model=model, device=device, weights=weights, batch=batch, **settings)
    if wanted == "background":
        return (~session.foreground(replace(prompts, signs=-prompts.signs))).astype(np.float32)
    return session.foreground(prompts).astype(np.float32)


def context(image: Any, **params: Any) -> dict[str, Any]:
    """Minimum and maximum of the whole image (H, W) float32, as an argument of `predict` for its tiles."""
    return {"exposure": percentiles(image, 0, 100)}
