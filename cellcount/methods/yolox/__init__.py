"""YOLOX: boxes of cells in one pass, without anchors (Ge et al. 2021), from the package pixeltable-yolox.

`predict` turns an image into points, `fit` samples into weights.
"""

from importlib.util import find_spec

import lazy_loader

from cellcount.methods.base import Status
from cellcount.methods.detection.inference import context

VERSION = 1  # raise it when the same call of `fit` trains other weights (tests/test_training_versions.py)
# torch takes seconds to import: it is not needed for the status.
_PARTS = {"detector": ["about", "fit", "predict"], "settings": ["Settings"]}
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs=_PARTS)
__all__ += ["VERSION", "context", "status"]


def status() -> Status:
    """Ready to be trained, if its package is installed."""
    if all(find_spec(name) for name in ("yolox", "pycocotools")):
        return Status("ready", "trained by `fit` from scratch")
    from cellcount.methods.yolox.settings import INSTALL

    return Status("needs package", f"pixeltable-yolox; install it with: {INSTALL}")
