"""Mask R-CNN: boxes and masks of cells, learned from a square around every click.

`predict` turns an image into points and masks, `fit` turns samples into weights, `status` says what it starts from.
"""

from typing import Any

import lazy_loader

from cellcount.methods.base import Status, ready
from cellcount.methods.detection.inference import context

# torch takes seconds to import; whoever asks for the status only does not wait for it.
_PARTS = {"inference": ["about", "predict"], "settings": ["PRESETS", "Settings"], "training": ["fit"]}
_lazy, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs=_PARTS)
__all__ += ["context", "status"]


def __getattr__(name: str) -> Any:
    return _lazy(name)


def status() -> Status:
    """Ready to be trained; says whether the weights that the thesis started from are on this machine."""
    from cellcount import registry

    entry = registry.known_weights("maskrcnn-resnet50-coco")
    if registry.find_weights(entry.name):
        return ready("trained by `fit`, which starts from the weights for COCO on this machine", "torch", "torchvision")
    return ready(
        f"trained by `fit` from nothing; to start from COCO, put {entry.filename} "
        f"({registry.megabytes(entry.bytes)}) into the folder weights/ of CELLCOUNT_DATA",
        "torch",
        "torchvision",
    )
