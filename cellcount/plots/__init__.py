"""Every figure of the project: one function each, from samples, predictions or result rows to a matplotlib Figure.

Modules are imported when one of their functions is asked for, so that `overlay` does not wait for pandas.
"""

import importlib

_MODULES = {
    "micrographs": ("field", "gallery", "outcome", "overlay", "worst"),
    "curves": (
        "counts", "intensity_and_spectrum", "loss_curve", "nearest_neighbours", "score_dots", "tolerance_curve",
    ),
    "detections": ("border_boxes", "confidence_ranks", "tiled_boxes", "training_graph"),
    "drawings": ("label_types", "matching_example"),
    "microscope": ("phase_contrast_microscope",),
    "targets": ("target",),
}  # fmt: skip
_HOME = {function: module for module, functions in _MODULES.items() for function in functions}

__all__ = sorted(_HOME)


def __getattr__(name):
    if name not in _HOME:
        raise AttributeError(f"cellcount.plots has no {name!r}; it has {', '.join(__all__)}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
