"""The area estimate of every field of a flask, beside the count of the device that counted the flask.

`cellcount bench flasks` measures all 34 fields of the thesis. The file holds numbers only.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from scipy import ndimage

from cellcount.data import thesis
from cellcount.methods.foreground.kinds import FOREGROUNDS, foreground
from cellcount.types import Sample

REFERENCE = 20  # the objective that the foregrounds' widths in px belong to


def at_reference(image: np.ndarray, objective: int) -> np.ndarray:
    """A field as the 20x objective would show it; image (H, W) float32, objective 10, 20 or 40.

    Of a field taken with a weaker objective only the middle is used, so that every result is about as large as
    the field was.
    """
    if objective >= REFERENCE:
        factor = objective // REFERENCE
        height, width = (side // factor * factor for side in image.shape)
        return image[:height, :width].reshape(height // factor, factor, width // factor, factor).mean(axis=(1, 3))
    factor = REFERENCE // objective
    height, width = (side // factor for side in image.shape)
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    middle = image[top : top + height, left : left + width]
    return ndimage.zoom(middle, factor, order=1, mode="nearest", grid_mode=True)


def survey(
    samples: Iterable[Sample], names: Iterable[str], *, parameters: Mapping[str, Mapping[str, Any]] | None = None
) -> Iterator[dict[str, Any]]:
    """Covered share of each field, and what is known of its flask.

    Parameters
    ----------
    samples : iterable of Sample
        With flask, objective, volume and device_count in `meta`, as those of the thesis.
    names : keys of `cellcount.methods.foreground.FOREGROUNDS`
    parameters : dict of name to dict, optional
        For `foreground`.

    Yields
    ------
    dict
        image, flask, objective, volume (as in the table), device_count, device (count per volume), foreground,
        pixels (of the field at 20x), covered (share of the field); clicks, the live cells' points, nan where nobody
        has clicked; of annotated 20x fields clicks_inside and background_inside, the shares of their
        live cells' and background points that lie on the foreground, else nan.
    """
    for sample in samples:
        about = sample.meta
        image = np.ascontiguousarray(at_reference(sample.image, about["objective"]), np.float32)
        for name in names:
            mask = foreground(image, name, **(parameters or {}).get(name, {}))
            yield {
                "image": sample.name,
                "flask": about["flask"],
                "objective": about["objective"],
                "volume": about["volume"],
                "device_count": about["device_count"],
                "device": about["device_count"] / about["volume"],
                "foreground": name,
                "pixels": mask.size,
                "covered": round(float(mask.mean()), 5),
                "clicks": np.nan if sample.points is None else len(sample.points),
                "clicks_inside": _share_inside(mask, sample, sample.points),
                "background_inside": _share_inside(mask, sample, about.get("background")),
            }


def _share_inside(mask, sample, points):
    if points is None or not len(points) or mask.shape != sample.image.shape:
        return np.nan
    at = np.rint(points).astype(int).clip(0, np.array(mask.shape) - 1)
    return float(mask[tuple(at.T)].mean())


def measure_thesis() -> pd.DataFrame:
    """`survey` of all fields of the thesis, fetched if need be."""
    return pd.DataFrame(survey(thesis.iterate(thesis.IMAGES), FOREGROUNDS))
