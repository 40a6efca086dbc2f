"""What can be fetched: one table of data sets, one of weights, and one way to fetch and verify a file."""

from cellcount.registry.datasets import (
    DATASETS,
    Dataset,
    KnownFile,
    fetch_all,
    fetch_file,
    find,
    known_dataset,
    known_file,
    missing,
    offline,
)  # fmt: skip
from cellcount.registry.fetch import cache_root, digest, local_root, megabytes, unreachable
from cellcount.registry.weights import (
    WEIGHTS,
    Weights,
    fetch_weights,
    find_weights,
    known_weights,
    pin,
    ways_to_weights,
)  # fmt: skip

__all__ = [
    "DATASETS", "WEIGHTS", "Dataset", "KnownFile", "Weights", "cache_root", "digest", "fetch_all", "fetch_file",
    "fetch_weights", "find", "find_weights", "known_dataset", "known_file", "known_weights", "local_root", "megabytes",
    "missing", "offline", "pin", "unreachable", "ways_to_weights",
]  # fmt: skip
