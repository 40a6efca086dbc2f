"""Cellpose 3: masks from flows that a network predicts, at a scale that a size model estimates.

`predict` segments, `fit` trains on centre points; `flow` and `segment` are the two steps of `predict`, for several
thresholds from one run of the network.
"""

from functools import partial

import lazy_loader

from cellcount.methods import weights_files
from cellcount.methods.base import Status, weights_status
from cellcount.methods.cellpose.inference import context, estimate_diameter, flow, predict, segment
from cellcount.methods.cellpose.settings import FORMAT, NAMES, Settings
from cellcount.methods.cellpose.weights import find

VERSION = 1  # raise it when the same call of `fit` trains other weights (tests/test_training_versions.py)
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs={"training": ["fit"]})
__all__ += ["NAMES", "VERSION", "Settings", "about", "status"]
__all__ += ["context", "estimate_diameter", "flow", "predict", "segment"]
# Of the path of a file written by `fit`: settings, samples, losses and versions of its training; raises DataError.
about = partial(weights_files.about, format=FORMAT, label="Cellpose")


def status(weights: str | None = None) -> Status:
    """Whether it can segment with these published weights; by default with any of them."""

    def found(name):
        _, size = find(name)
        return f"weights {name}" if size else f"weights {name}, without size model: give a diameter"

    return weights_status(found, [weights] if weights else NAMES[::-1], "cellpose")
