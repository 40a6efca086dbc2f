"""Mask R-CNN: boxes and masks of cells, learned from a square around every centre point.

`predict` turns an image into points and masks, `fit` samples into weights.
"""

import lazy_loader

from cellcount.methods.base import Status, ready
from cellcount.methods.detection.inference import context

VERSION = 1  # raise it when the same call of `fit` trains other weights (tests/test_training_versions.py)
# torch takes seconds to import: it is not needed for the status.
_PARTS = {"detector": ["about", "fit", "predict"], "settings": ["Settings"]}
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs=_PARTS)
__all__ += ["VERSION", "context", "status"]


def status() -> Status:
    """Ready to be trained; whether the pretrained weights of the thesis are on this machine is in `detail`."""
    from cellcount import registry

    entry = registry.known_weights("maskrcnn-resnet50-coco")
    start = "with initial weights pretrained on COCO, which are on this machine"
    if not registry.find_weights(entry.name):
        size = registry.megabytes(entry.bytes)
        start = f"from scratch; for weights pretrained on COCO, {registry.ways_to_weights(entry.name)} ({size})"
    return ready(f"trained by `fit` {start}", "torch", "torchvision")
