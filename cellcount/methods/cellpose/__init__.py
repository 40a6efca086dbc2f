"""Cellpose 3: masks from flows that a network sees in the image, at a scale that a size model chooses.

`predict` segments, `fit` trains from clicks, `status` says which of its authors' weights are there; `flow` and
`segment` are the two halves of `predict`, for those who want several thresholds from one run of the network.
"""

from pathlib import Path
from typing import Any

import lazy_loader

from cellcount import registry
from cellcount.errors import CellcountError, install
from cellcount.methods.base import Status
from cellcount.methods.cellpose.inference import context, estimate_diameter, flow, predict, segment
from cellcount.methods.cellpose.settings import NAMES, Settings
from cellcount.methods.cellpose.weights import find, read

_lazy, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs={"training": ["fit"]})
__all__ += [
    "NAMES", "Settings", "about", "context", "estimate_diameter", "flow", "predict", "segment", "status",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    return _lazy(name)


def about(path: str | Path) -> dict[str, Any]:
    """What one of our weights files says of itself: settings, samples, losses, versions. Raises DataError."""
    return read(path)[0]


def status(weights: str | None = None) -> Status:
    """Whether it can segment here with these weights; by default with any of its authors'."""
    from importlib.util import find_spec

    if find_spec("cellpose") is None:
        return Status("needs package", f"cellpose: {install('methods')}")
    lacking = []
    for name in [weights] if weights else reversed(NAMES):
        try:
            _, size = find(name)
        except CellcountError as error:
            lacking.append(str(error))
        else:
            detail = f"weights {name}" if size else f"weights {name}, without size model: give a diameter"
            return Status("ready", detail)
    total = registry.megabytes(registry.known_weights(f"cellpose-{weights or 'cyto3'}").bytes)
    detail = lacking[0] if weights else f"{', '.join(NAMES)} ({total} each), or your own by `fit`. {lacking[0]}"
    return Status("needs weights", detail)
