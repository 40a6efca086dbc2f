"""Foreground, the part of an image that cells cover, and the baseline that counts by its area.

`foreground` segments it by one of the methods in `FOREGROUNDS`; `predict` and `fit` are the baseline.
"""

from cellcount.methods.foreground.area import context, fit, predict, read, status
from cellcount.methods.foreground.kinds import FOREGROUNDS, cut, foreground

about = read
SUFFIX = ".json"  # of weights files
__all__ = ["FOREGROUNDS", "about", "cut", "fit", "foreground", "context", "predict", "read", "status"]
