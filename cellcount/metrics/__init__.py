"""One fair metric for every method: gated one-to-one matching of points, and the errors of counts."""

from cellcount.metrics.counting import count_errors, coverage, game
from cellcount.metrics.matching import NEAR_PX, Matching, default_tolerance, f1, inside, match, near
from cellcount.metrics.scores import READINGS, bootstrap, parts_of, per_image, pooled

__all__ = [
    "NEAR_PX", "READINGS", "Matching", "bootstrap", "count_errors", "coverage", "default_tolerance", "f1", "game",
    "inside", "match", "near", "parts_of", "per_image", "pooled",
]  # fmt: skip
