"""CellNet: cells' centres from a heatmap that was learned from clicks.

`predict` turns an image into points, `fit` turns samples into weights, `status` says whether weights are there,
`export` makes one ONNX file of them, which counts on a CPU without torch.
"""

from typing import Any

import lazy_loader

from cellcount.errors import needing
from cellcount.methods.base import Status
from cellcount.methods.cellnet.export import export
from cellcount.methods.cellnet.inference import SHIPPED, about, context, predict, predict_batch
from cellcount.methods.cellnet.settings import Settings

_lazy, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs={"training": ["fit"]})
__all__ += ["Settings", "about", "context", "export", "predict", "predict_batch", "status"]


def __getattr__(name: str) -> Any:
    with needing("train", "Training CellNet"):
        return _lazy(name)


def status() -> Status:
    """Ready: its weights come with the package."""
    if SHIPPED.is_file():
        return Status("ready", "weights shipped with the package, trained on thesis images 1 and 2")
    return Status("needs weights", f"the package's own file {SHIPPED.name} is missing: install cellcount again")
