"""SAM and micro-SAM: masks from prompts, with any of their backbones or with a small one of our own.

`predict` turns an image and prompts into masks, `Session` does so many times on one image, `fit` trains the small
model, `status` says which weights are here. Weights are found by the registry and never fetched unasked.
"""

from pathlib import Path
from typing import Any

import lazy_loader
import numpy as np

from cellcount.methods.base import predicts, sampled
from cellcount.methods.prompts import Prompts, point
from cellcount.methods.sam.backbones import BACKBONES, DEFAULT, SMALL, status
from cellcount.methods.sam.small import Settings, about
from cellcount.types import Prediction, visible

# torch takes seconds to import; whoever asks for the status only does not wait for it.
_lazy, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs={"session": ["Session"], "training": ["fit"]})
__all__ += ["BACKBONES", "DEFAULT", "SMALL", "Settings", "about", "context", "foreground", "predict", "status"]


def __getattr__(name: str) -> Any:
    return _lazy(name)


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
        What to ask: see `cellcount.methods.prompts`. An array is one positive point for each object. None is SAM's
        automatic mode: a grid of points, of whose masks those are kept that the network is sure of.
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
        `points` are the prompts' centres, one for each prompt, and `labels` i + 1 its mask, after overlaps were
        resolved by the rule of `Masks.labels`; `count` is the number of prompts with a mask in it. In the automatic
        mode the points are the masks' centroids.

    Raises
    ------
    DataError, ParameterError, NotAvailableError
        See `Session`; ParameterError also for a foreground prompt, which has no cells to point at.
    """
    from cellcount.errors import ParameterError
    from cellcount.methods.sam.session import Session

    if isinstance(prompts, Prompts) and prompts.kind == "foreground":
        raise ParameterError("A foreground prompt asks for one object and not for cells: use Session.foreground.")
    session = Session(
        image, model=model, device=device, weights=weights, exposure=exposure, batch=batch, cache=cache,
        progress=progress,
    )  # fmt: skip
    if prompts is None:
        masks = session.automatic(spacing)
        points = masks.centroids()
    else:
        prompts = prompts if isinstance(prompts, Prompts) else point(prompts)
        masks, points = session.segment(prompts), prompts.centres
    meta = {
        "method": f"sam {model}", "model": model, "prompts": prompts.kind if prompts is not None else "grid",
        "weights_sha256": session.loaded.digest, "device": str(session.loaded.sam.device),
        "seconds": sum(session.seconds.values()),
    }  # fmt: skip
    labels = masks.labels()
    count = visible(labels, len(points)).sum()
    return Prediction(points, masks.scores, float(count), labels=labels, meta=meta)


def foreground(
    image: np.ndarray,
    *,
    prompts: Prompts | None = None,
    device: str = "auto",
    model: str = DEFAULT,
    wanted: str = "cells",
    weights: str | Path | None = None,
    exposure: tuple[float, float] | None = None,
    batch: int = 16,
    cache: bool | None = None,
    progress: bool = True,
) -> np.ndarray:
    """Where the cells of an image are, asked for as one object: a map for `cellcount.methods.foreground`.

    Parameters
    ----------
    image : (H, W) float32 in [0, 1]
    prompts : Prompts
        From `prompts.foreground`, with the cells wanted.
    device, model, weights, exposure, batch, cache, progress
        As of `predict`.
    wanted : "cells" or "background"
        Which of the two the network is asked for; for the background all signs are turned, and the answer, too.

    Returns
    -------
    (H, W) float32
        1 on cells, 0 elsewhere.

    Raises
    ------
    ParameterError
        If there is no foreground prompt, or `wanted` is neither; and as `Session` does.
    """
    from dataclasses import replace

    from cellcount.errors import ParameterError
    from cellcount.methods.sam.session import Session

    if not isinstance(prompts, Prompts) or prompts.kind != "foreground":
        raise ParameterError("SAM finds a foreground from a prompt only: give one made by prompts.foreground.")
    if wanted not in ("cells", "background"):
        raise ParameterError(f"foreground: wanted={wanted!r}; choose 'cells' or 'background'.")
    asked = prompts if wanted == "cells" else replace(prompts, signs=-prompts.signs)
    session = Session(
        image, model=model, device=device, weights=weights, exposure=exposure, batch=batch, cache=cache,
        progress=progress,
    )  # fmt: skip
    answer = session.foreground(asked)
    return (answer if wanted == "cells" else ~answer).astype(np.float32)


def context(image: Any, **params: Any) -> dict[str, Any]:
    """Darkest and brightest value of the whole image (H, W) float32, which `predict` must know to see only a part."""
    from cellcount.methods.sam.embedding import exposure_of

    return {"exposure": exposure_of(sampled(image))}
