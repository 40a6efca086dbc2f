"""The metrics of all methods: matching of points and masks, errors of counts, and tuning."""

from cellcount.metrics.counts import count_errors, coverage, game
from cellcount.metrics.crowds import by_crowding, crowding
from cellcount.metrics.density import by_density, windows
from cellcount.metrics.intervals import IntervalRule, calibrate, flask_count
from cellcount.metrics.matching import NEAR_PX, Matching, default_tolerance, f1, inside, match, near
from cellcount.metrics.outcomes import Outcomes, mask_outcomes
from cellcount.metrics.regions import covered, iou, overlap
from cellcount.metrics.scores import READINGS, bootstrap, parts_of, per_image, pooled
from cellcount.metrics.segmentation import IOU_THRESHOLDS, box_iou, paired_iou, segmentation_counts, segmentation_scores
from cellcount.metrics.tuning import tuned

__all__ = [
    "IOU_THRESHOLDS", "NEAR_PX", "READINGS", "IntervalRule", "Matching", "Outcomes", "bootstrap",
    "box_iou", "by_crowding", "by_density", "calibrate", "count_errors", "coverage", "covered", "crowding",
    "default_tolerance", "f1", "flask_count", "game", "inside", "iou", "mask_outcomes", "match", "near", "overlap",
    "paired_iou", "parts_of", "per_image", "pooled", "segmentation_counts",
    "segmentation_scores", "tuned", "windows",
]  # fmt: skip
