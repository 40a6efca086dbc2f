__all__ = [
    "IOU_THRESHOLDS", "NEAR_PX", "READINGS", "IntervalRule", "Matching", "Outcomes", "bootstrap", "box_iou",
    "by_crowding", "by_density", "calibrate", "calibrate_parts", "count_errors", "coverage", "covered", "crowding",
    "default_tolerance", "f1", "flask_count", "game", "inside", "iou", "mask_outcomes", "match", "near", "overlap",
    "paired_iou", "parts_of", "per_image", "pooled", "scored", "segmentation_counts", "segmentation_scores", "tuned",
    "windows",
]  # fmt: skip

from .counts import count_errors, coverage, game
from .density import by_crowding, by_density, crowding, windows
from .intervals import IntervalRule, calibrate, calibrate_parts, flask_count
from .matching import NEAR_PX, Matching, default_tolerance, f1, inside, match, near, scored
from .scores import READINGS, bootstrap, parts_of, per_image, pooled
from .segmentation import (
    IOU_THRESHOLDS,
    Outcomes,
    box_iou,
    covered,
    iou,
    mask_outcomes,
    overlap,
    paired_iou,
    segmentation_counts,
    segmentation_scores,
)
from .tuning import tuned
