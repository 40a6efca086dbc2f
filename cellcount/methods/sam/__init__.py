"""SAM and micro-SAM: masks from prompts, with any of their backbones or with a small one of our own.

`predict` turns an image and prompts into masks, `Session` does so many times on one image, `fit` trains the small
model, `status` says which weights are here. Weights are found by the registry and never fetched unasked.
"""

from cellcount.methods.prompts import Prompts, point
from cellcount.methods.sam.backbones import BACKBONES, DEFAULT, SMALL, status
from cellcount.methods.sam.small import about
from cellcount.nouns import Prediction

__all__ = ["BACKBONES", "DEFAULT", "SMALL", "Session", "about", "fit", "foreground", "measure", "predict", "status"]


def __getattr__(name):
    if name != "Session":  # it wants torch, which takes seconds to import
        raise AttributeError(f"module {__name__} has no {name!r}")
    from cellcount.methods.sam.session import Session

    return Session


def predict(image, *, prompts=None, device="auto", model=DEFAULT, spacing=32.0, **settings):
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
    settings
        Of `Session`: weights, exposure, batch, cache, progress.

    Returns
    -------
    Prediction
        `points` are the prompts' centres, one for each prompt, and `labels` i + 1 its mask, after overlaps were
        resolved by the rule of `Masks.labels`; `count` is the number of prompts that gave a mask. In the automatic
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
    session = Session(image, model=model, device=device, **settings)
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
    return Prediction(points, masks.scores, float((masks.areas > 0).sum()), labels=masks.labels(), meta=meta)


def foreground(image, *, prompts=None, device="auto", model=DEFAULT, wanted="cells", **settings):
    """Where the cells of an image are, asked for as one object: a map for `cellcount.methods.foreground`.

    Parameters
    ----------
    image : (H, W) float32 in [0, 1]
    prompts : Prompts
        From `prompts.foreground`, with the cells wanted.
    device, model, settings
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

    import numpy as np

    from cellcount.errors import ParameterError
    from cellcount.methods.sam.session import Session

    if not isinstance(prompts, Prompts) or prompts.kind != "foreground":
        raise ParameterError("SAM finds a foreground from a prompt only: give one made by prompts.foreground.")
    if wanted not in ("cells", "background"):
        raise ParameterError(f"foreground: wanted={wanted!r}; choose 'cells' or 'background'.")
    asked = prompts if wanted == "cells" else replace(prompts, signs=-prompts.signs)
    answer = Session(image, model=model, device=device, **settings).foreground(asked)
    return (answer if wanted == "cells" else ~answer).astype(np.float32)


def measure(image):
    """Darkest and brightest value of the whole image (H, W) float32, which `predict` must know to see only a part."""
    from cellcount.methods.sam.embedding import exposure_of

    return {"exposure": exposure_of(image)}


def fit(samples, **params):
    """Train the small model on samples with masks; see `cellcount.methods.sam.training.fit`."""
    from cellcount.methods.sam.training import fit

    return fit(samples, **params)
