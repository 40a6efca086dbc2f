"""Count cells in phase-contrast images, from sparse and noisy clicks at their centres.

========== =====================================================================
METHODS    every method by name, all with the same call
Prediction what a method answers: points, scores, count, masks, density
Result     what `count` answers: count, interval, points, warnings
Sample     an image with what is known of it
count      count the cells of an image, or of several
load       the samples of a data set or folder
match      match found points with true ones: precision, recall, F1
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

# A name's module is imported when it is asked for: nobody waits for what they do not use.
_lazy, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        from cellcount.errors import DISTRIBUTION

        return version(DISTRIBUTION)
    return _lazy(name)
