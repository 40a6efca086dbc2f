"""Counting cells in phase-contrast images from sparse, noisy clicks at their centres.

>>> import cellcount
>>> sample = cellcount.load("phantom", split="test", fields=1, size=(128, 128))[0]
>>> prediction = cellcount.METHODS["blobs"].predict(sample.image)
>>> cellcount.match(sample.points, prediction.points, tolerance=12).f1 > 0
True
"""

import importlib
from importlib.metadata import version

__version__ = version("cellcount")

_HOME = {
    "Sample": "nouns",
    "Prediction": "nouns",
    "load": "data",
    "read_image": "data.images",
    "tiled": "tiling",
    "METHODS": "methods",
    "match": "metrics",
}
__all__ = sorted(_HOME)


def __getattr__(name):
    """Import a name's module when it is asked for: torch takes seconds, and most commands do without."""
    if name not in _HOME:
        raise AttributeError(f"cellcount has no {name!r}; it has {', '.join(__all__)}.")
    return getattr(importlib.import_module(f"cellcount.{_HOME[name]}"), name)
