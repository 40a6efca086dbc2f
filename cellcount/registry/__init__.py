"""What can be fetched: the table of data sets, the table of weights, and how a file is fetched and verified."""

from cellcount.registry.datasets import DATASETS, fetch_all, fetch_file, find, known_dataset, known_file, missing
from cellcount.registry.fetch import cache_root, digest, local_root, megabytes
from cellcount.registry.weights import (
    WEIGHTS,
    Weights,
    fetch_weights,
    find_weights,
    known_weights,
    local_weights,
    ways_to_weights,
)

__all__ = [
    "DATASETS", "WEIGHTS", "Weights", "cache_root", "digest", "fetch_all", "fetch_file", "fetch_weights", "find", "find_weights",
    "known_dataset", "known_file", "known_weights", "local_root", "local_weights", "megabytes", "missing",
    "ways_to_weights",
]  # fmt: skip
