"""Batches of a training, made in threads while the network learns from the ones before."""

import logging
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from typing import TypeVar

import numpy as np
import torch

from cellcount.devices import cpu_threads
from cellcount.io.prefetch import prefetched

log = logging.getLogger(__name__)
T = TypeVar("T")
R = TypeVar("R")
MOST = 4  # threads: one makes the batches of all trainings here faster than a GPU learns from them (`make bench`)


class Feed:
    """Makes batches ahead, and measures for which share of its time a training waits for them.

    NumPy and torch release Python's lock where they compute, so that threads are enough. Processes would have to copy
    the images and the batches, and cannot be forked once a GPU is in use.

    Parameters
    ----------
    threads : int or None
        None: one, or more where there are more than two processors, up to `MOST`; 0: the training makes the batches
        itself. What is random is drawn by the training, so that batches do not depend on this number.

    Attributes
    ----------
    waited, lasted : float, s
        For batches, and in all, since the first was asked for.
    """

    def __init__(self, threads: int | None = None) -> None:
        self.threads = max(1, min(MOST, cpu_threads() - 1)) if threads is None else threads
        self.waited = self.lasted = 0.0

    @property
    def share(self) -> float:
        """Of the time, spent waiting for batches."""
        return self.waited / self.lasted if self.lasted else 0.0

    def batches(self, make: Callable[[T], R], drawn: Iterable[T]) -> Generator[R]:
        """Yield `make(one)` for each one drawn, in their order; close it to end its threads at once.

        An error of `make` is raised where its batch is asked for. `make` must change nothing that other calls read.
        """
        with closing(prefetched(make, drawn, self.threads + 1, threads=self.threads)) as results:
            asked = time.perf_counter()
            for result in results:
                batch = result()
                given = time.perf_counter()
                self.waited, self.lasted = self.waited + given - asked, self.lasted + given - asked
                yield batch
                asked = time.perf_counter()
                self.lasted += asked - given

    def tell(self, label: str) -> None:
        """Log how long a training waited; `waited` and `lasted` are attributes of the record, too."""
        told = f"{label}: waited for batches for {self.share:.1%} of {self.lasted:.1f} s (threads: {self.threads})"
        log.info(told, extra={"waited": self.waited, "lasted": self.lasted})


def sent(array: np.ndarray, device: torch.device | str) -> torch.Tensor:
    """An array as a tensor on a device; a GPU is not waited for.

    Parameters
    ----------
    array : of any shape and type that torch has
    device : torch.device or str
    """
    tensor = torch.from_numpy(array)
    return (
        tensor.pin_memory().to(device, non_blocking=True) if torch.device(device).type == "cuda" else tensor.to(device)
    )
