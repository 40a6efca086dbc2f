"""Every figure of the project: one function each, from samples, predictions or result rows to a matplotlib Figure.

Modules are imported when one of their functions is asked for.
"""

import importlib
from typing import Any

_MODULES = {
    "micrographs": ("field", "gallery", "outcome", "worst"),
    "curves": (
        "counts", "intensity_and_spectrum", "loss_curve", "nearest_neighbours", "score_dots", "tolerance_curve",
    ),
    "outlines": ("mask_gallery", "mask_outcome", "mask_panels"),
    "sweeps": ("heatmap", "iou_curve", "sweep_lines"),
    "detections": ("border_boxes", "confidence_ranks", "tiled_boxes", "training_graph"),
    "drawings": ("label_types", "matching_example"),
    "microscope": ("phase_contrast_microscope",),
    "areas": ("answers", "area_against_device", "error_by_density", "foregrounds"),
    "prompted": ("foreground_masks", "mask_grid", "prompt_sweep", "prompt_types"),
    "experiments": (
        "coverage", "crowding_curve", "design_dots", "draws", "fault_curves", "interval_ladder", "seconds_bars",
    ),
    "targets": ("target",),
}  # fmt: skip
_HOME = {function: module for module, functions in _MODULES.items() for function in functions}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"cellcount.companion.plots has no {name!r}; it has {', '.join(__all__)}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
