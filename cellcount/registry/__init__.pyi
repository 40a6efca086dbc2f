__all__ = [
    "DATASETS", "WEIGHTS", "Weights", "cache_root", "datasets", "digest", "fetch", "fetch_all", "fetch_file",
    "fetch_weights", "find", "find_weights", "known_dataset", "known_file", "known_weights", "lacking", "local_root",
    "local_weights", "megabytes", "missing", "ways_to_weights", "weights",
]  # fmt: skip

from . import datasets, fetch, weights
from .datasets import DATASETS, fetch_all, fetch_file, find, known_dataset, known_file, lacking, missing
from .fetch import cache_root, digest, local_root, megabytes
from .weights import (
    WEIGHTS,
    Weights,
    fetch_weights,
    find_weights,
    known_weights,
    local_weights,
    ways_to_weights,
)
