"""One fair metric for every method: gated one-to-one matching of points, and the errors of counts."""

from cellcount.metrics.counting import count_errors, coverage, game
from cellcount.metrics.crowds import by_crowding, crowding
from cellcount.metrics.intervals import IntervalRule, calibrate, flask_count
from cellcount.metrics.matching import NEAR_PX, Matching, default_tolerance, f1, inside, match, near
from cellcount.metrics.scores import READINGS, bootstrap, parts_of, per_image, pooled

__all__ = [
    "NEAR_PX", "READINGS", "IntervalRule", "Matching", "bootstrap", "by_crowding", "calibrate", "count_errors",
    "coverage", "crowding", "default_tolerance", "f1", "flask_count", "game", "inside", "match", "near", "parts_of",
    "per_image", "pooled",
]  # fmt: skip
