"""Every figure of the book: one function each, from samples, predictions or result rows to a matplotlib Figure.

Modules are imported when one of their functions is used.
"""

import lazy_loader

_MODULES = {
    "audits": ["audit_coverage", "audit_windows"],
    "cellnets": ["architecture", "heatmaps", "parts", "pipeline", "precision_recall"],
    "claims": ["verdicts"],
    "comparison": ["agreement_matrix", "density_lines", "method_gallery", "method_ranking", "paired_differences"],
    "corrections": ["correction_cost", "effort_curves", "overlooked_errors"],
    "curves": [
        "confidence_ranks", "crowding_curve", "error_by_density", "fault_curves", "heatmap", "iou_curve", "loss_curve",
        "prompt_sweep", "sweep_lines", "tolerance_curve", "training_graph",
    ],
    "devices": ["fields_against_device", "limits_of_agreement"],
    "dots": [
        "area_against_device", "counts", "coverage", "design_dots", "draws", "interval_ladder", "nearest_neighbours",
        "score_dots", "seconds_bars",
    ],
    "drawings": ["label_types", "matching_example", "phase_contrast_microscope"],
    "magnifications": ["count_by_size", "density_by_objective"],
    "micrographs": ["field", "gallery", "outcome", "target", "worst"],
    "outlines": ["border_boxes", "mask_gallery", "mask_outcome", "mask_panels", "tiled_boxes"],
    "prompted": ["answers", "foregrounds"],
    "prompts": ["foreground_masks", "prompt_answers", "prompt_types"],
}  # fmt: skip
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs=_MODULES)
