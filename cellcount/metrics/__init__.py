"""One fair metric for every method: gated one-to-one matching of points, and the errors of counts."""

from cellcount.metrics.counting import count_errors, coverage, game
from cellcount.metrics.density import by_density, windows
from cellcount.metrics.matching import NEAR_PX, Matching, default_tolerance, f1, inside, match, near
from cellcount.metrics.regions import covered, iou, overlap
from cellcount.metrics.scores import READINGS, bootstrap, parts_of, per_image, pooled

__all__ = [
    "NEAR_PX", "READINGS", "Matching", "bootstrap", "by_density", "count_errors", "coverage", "covered",
    "default_tolerance", "f1", "game", "inside", "iou", "match", "near", "overlap", "parts_of", "per_image", "pooled",
    "windows",
]  # fmt: skip
