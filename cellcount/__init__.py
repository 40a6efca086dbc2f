"""Count cells in phase-contrast images, trained on sparse and noisy clicks at cell centres.

========== =====================================================================
METHODS    all methods by name, with the same call
Prediction the result of a method: points, scores, count, masks, density
Result     the result of `count`: count, interval, points, warnings
Sample     an image with its annotation
count      count the cells in one image or several
load       the samples of a data set or folder
match      match predicted with true points: precision, recall, F1
train      train a method on annotated images, and write its weights
========== =====================================================================

>>> import cellcount
>>> sample = cellcount.load("phantom", split="test", fields=1, size=(128, 128))[0]
>>> result = cellcount.count(sample.image, method="blobs")
>>> cellcount.match(sample.points, result.points, tolerance=12).f1 > 0
True
"""

from typing import Any

import lazy_loader

# A module is imported when one of its names is used.
_lazy, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        from cellcount.errors import DISTRIBUTION

        return version(DISTRIBUTION)
    return _lazy(name)
