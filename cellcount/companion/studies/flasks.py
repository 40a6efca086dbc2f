"""The covered area of all fields of a flask, beside the counting device's count of the flask.

`cellcount bench flasks` measures all 34 fields of the thesis.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pandas as pd

from cellcount.companion.studies.area import UNPROMPTED
from cellcount.data import thesis
from cellcount.methods.foreground import foreground
from cellcount.methods.pixels import block_mean, enlarged, nearest
from cellcount.types import Sample

REFERENCE = 20  # the objective for which the foregrounds' widths in px were chosen


def at_reference(image: np.ndarray, objective: int) -> np.ndarray:
    """A field at the scale of the 20x objective; image (H, W) float32, objective 10, 20 or 40.

    Of a field taken with a weaker objective only the centre is used, so that the result is as large as the field.
    """
    if objective >= REFERENCE:
        return block_mean(image, objective // REFERENCE)
    factor = REFERENCE // objective
    height, width = (side // factor for side in image.shape)
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    return enlarged(image[top : top + height, left : left + width], factor, image.shape, linear=True)


def survey(samples: Iterable[Sample], names: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Covered share of each field, and what is known of its flask.

    Parameters
    ----------
    samples : iterable of Sample
        With flask, objective, volume and device_count in `meta`, as those of the thesis.
    names : keys of `cellcount.methods.foreground.FOREGROUNDS`

    Yields
    ------
    dict
        image, flask, objective, volume (as in the table), device_count, device (count per volume), foreground,
        pixels (of the field at 20x), covered (share of the field), clicks (number of live cells' points, nan without
        annotation); for annotated 20x fields clicks_inside and background_inside, the shares of live cells' points and
        of background points on the foreground, else nan.
    """
    for sample in samples:
        about = sample.meta
        known = {name: about[name] for name in ("flask", "objective", "volume", "device_count")}
        known = {"image": sample.name} | known | {"device": about["device_count"] / about["volume"]}
        image = np.ascontiguousarray(at_reference(sample.image, about["objective"]), np.float32)
        for name in names:
            mask = foreground(image, name)
            yield known | {
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
    return float(mask[nearest(points, mask.shape)].mean())


def measure_thesis() -> pd.DataFrame:
    """`survey` of all fields of the thesis, which are fetched if necessary."""
    return pd.DataFrame(survey(thesis.iterate(thesis.IMAGES), UNPROMPTED))
