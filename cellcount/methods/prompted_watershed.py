"""A promptable method without weights: a watershed from the points of a prompt, inside its limits.

It is the baseline of the promptable networks, and takes the same prompts: negative points are seeds of other regions, a
box limits the mask. Flooding from all clicks at once, for pseudo-masks, is in `cellcount.data.pseudo_masks`.
"""

from functools import partial
from typing import Any

import numpy as np
from scipy import ndimage

from cellcount.data.pseudo_masks import SEED_RADIUS
from cellcount.data.valid import background
from cellcount.errors import check_positive, require
from cellcount.methods.base import check_image, predicts, ready
from cellcount.methods.masks import Masks
from cellcount.methods.pixels import percentiles
from cellcount.methods.prompts import UNWANTED, WANTED, Prompts, point
from cellcount.types import Prediction, visible


@predicts("The watershed", prompts="required")
def predict(
    image: np.ndarray,
    *,
    prompts: Prompts | np.ndarray | None = None,
    device: str = "auto",
    radius: float = 18.0,
    weight: float = 0.8,
    sigma: float = 1.5,
    contrast: float | None = None,
) -> Prediction:
    """One mask for each prompt, overlaps resolved by the rule of `Masks.labels`.

    Parameters
    ----------
    image : (H, W) float32 in [0, 1]
    prompts : Prompts, or (N, 2) float of (y, x) px
        An array is one positive point for each object.
    device : str
        Not used: it runs on the CPU.
    radius, weight, sigma, contrast
        See `segment`.

    Returns
    -------
    Prediction
        `points` are the prompts' centres; label i + 1 in `labels` is the mask of prompt i; `count` is the number of
        visible masks.

    Raises
    ------
    DataError, ParameterError
        See `segment`; ParameterError also without prompts.
    """
    prompts = prompts if isinstance(prompts, Prompts) else point(prompts)
    masks = segment(image, prompts, radius=radius, weight=weight, sigma=sigma, contrast=contrast)
    meta, labels = {"method": "watershed", "prompts": prompts.kind, "device": "cpu"}, masks.labels()
    count = visible(labels, len(prompts)).sum()
    return Prediction(prompts.centres, masks.scores, float(count), labels=labels, meta=meta)


def segment(
    image: np.ndarray,
    prompts: Prompts,
    *,
    radius: float = 18.0,
    weight: float = 0.8,
    sigma: float = 1.5,
    contrast: float | None = None,
) -> Masks:
    """One mask for each prompt; masks may overlap.

    In phase contrast a cell is dark and its outline bright, so the smoothed image is flooded from the points (Beucher
    and Lantuejoul 1979), after a term that grows with the distance from them was added. Prompts are independent:
    negative points are seeds of regions that are not wanted. The mask ends at the background, and at `radius` from the
    positive points; if there is a box, at its inscribed ellipse, with a seed at its centre if there is no positive
    point.

    Parameters
    ----------
    image : (H, W) float32 in [0, 1]
    prompts : Prompts
    radius : float, px
        Half the width of a cell.
    weight : float
        How much is added at `radius` from a seed, in units of the image's contrast.
    sigma : float, px
        Gaussian that smooths the image before it is flooded.
    contrast : float or None
        From `context`, when `image` is only a part of one.

    Returns
    -------
    Masks

    Raises
    ------
    DataError
        If the image is not (H, W).
    ParameterError
        If a parameter is not positive, or the prompt is one for the foreground.
    """
    check_image(image, "The watershed")
    check_positive("The watershed", radius=radius, weight=weight, sigma=sigma)
    single = prompts.kind != "foreground"
    require(single, "The watershed takes prompts for single objects, not for the foreground.")
    contrast = context(image)["contrast"] if contrast is None else contrast
    smooth, outside = ndimage.gaussian_filter(image, sigma) / contrast, background(image)
    masks = Masks.empty(image.shape, len(prompts))
    for i in range(len(prompts)):
        box = None if prompts.boxes is None else prompts.boxes[i]
        wanted, unwanted = (prompts.points[i][prompts.signs[i] == sign] for sign in (WANTED, UNWANTED))
        if box is not None and not len(wanted):
            wanted = (box[:2] + box[2:])[None] / 2
        if not len(wanted):
            continue
        window = _window(wanted, unwanted, box, radius, image.shape)
        corner = np.array([part.start for part in window])
        allowed = _allowed(window, wanted, box, radius)
        rivals = _allowed(window, unwanted, None, radius) if len(unwanted) else allowed
        mask = ~outside[window] & (allowed | rivals)
        flooded = _flood(smooth[window], mask, wanted - corner, unwanted - corner, weight / radius)
        masks.put(i, flooded & allowed, corner=corner)
    return masks


def _window(wanted, unwanted, box, radius, shape):
    """Two slices that hold all that a mask may cover, and what unwanted points close by may take from it."""
    low = wanted.min(axis=0) - radius if box is None else box[:2]
    high = wanted.max(axis=0) + radius if box is None else box[2:]
    close = unwanted[((unwanted > low - radius) & (unwanted < high + radius)).all(axis=1)]
    low, high = (f([edge, *close], axis=0) for f, edge in ((np.min, low), (np.max, high)))
    start = np.clip(np.floor(low), 0, shape).astype(int)
    stop = np.clip(np.ceil(high) + 1, start, shape).astype(int)
    return tuple(slice(a, b) for a, b in zip(start, stop, strict=True))


def _allowed(window, points, box, radius):
    """Pixels (h, w) bool of a window within `radius` of a point, or in the ellipse that fills the box."""
    yy, xx = np.ogrid[window]
    if box is not None:
        (y, x), (height, width) = (box[:2] + box[2:]) / 2, np.maximum((box[2:] - box[:2]) / 2, 0.5)
        return ((yy - y) / height) ** 2 + ((xx - x) / width) ** 2 <= 1
    y, x = points.T[..., None, None]
    return ((yy - y) ** 2 + (xx - x) ** 2 <= radius**2).any(axis=0)


def _flood(smooth, mask, wanted, unwanted, slope):
    """The wanted region (h, w) bool of a window; points (n, 2) float, (y, x) px in it."""
    from skimage.segmentation import watershed

    if not smooth.size:
        return np.zeros(smooth.shape, bool)
    yy, xx = np.ogrid[: smooth.shape[0], : smooth.shape[1]]
    y, x = np.concatenate([wanted, unwanted]).T[..., None, None]
    distances = np.hypot(yy - y, xx - x)
    distance, nearest = distances.min(axis=0), np.where(distances.argmin(axis=0) < len(wanted), 1, 2)
    seeds = np.where(distance <= SEED_RADIUS, nearest, 0)
    return watershed(smooth + slope * distance, seeds, mask=mask | (seeds > 0)) == 1


def context(image: Any, **params: Any) -> dict[str, Any]:
    """Contrast of the whole image (H, W) float32, from its 1st to its 99th percentile, as `predict`'s argument."""
    low, high = percentiles(image, 1, 99)
    return {"contrast": high - low or 1.0}


status = partial(ready, "no training needed; needs prompts", "skimage")
