"""CellNet: cells' centres from a heatmap that was learned from annotated centre points.

`predict` turns an image into points, `fit` samples into weights, and `export` weights into an ONNX file, which counts
on a CPU without torch.
"""

from typing import Any

import lazy_loader

from cellcount.errors import needing
from cellcount.methods.base import Status
from cellcount.methods.cellnet.export import export
from cellcount.methods.cellnet.inference import SHIPPED, about, context, interval, look, predict, predict_batch
from cellcount.methods.cellnet.settings import Settings

VERSION = 1  # raise it when the same call of `fit` trains other weights (tests/test_training_versions.py)
_lazy, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs={"training": ["fit"], "teaching": ["taught"]})
__all__ += ["VERSION", "Settings", "about", "context", "export", "interval", "look", "predict"]
__all__ += ["predict_batch", "status"]


def __getattr__(name: str) -> Any:
    with needing("train", "Training CellNet"):
        return _lazy(name)


def status() -> Status:
    """Ready, since its weights are bundled."""
    if SHIPPED.is_file():
        return Status("ready", "bundled weights, trained on the thesis' fields; weights/README.md says with what help")
    return Status("needs weights", f"the bundled file {SHIPPED.name} is missing: install cellcount again")
