"""Where to compute, and how to compute the same twice."""

import os
import warnings
from contextlib import contextmanager

from cellcount.errors import NotAvailableError


def choose_device(device="auto"):
    """A torch device: "auto" takes CUDA, then Apple's MPS, then the CPU.

    Raises
    ------
    NotAvailableError
        If a named device is not there.
    """
    import torch

    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        torch.empty(1, device=chosen)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise NotAvailableError(f"device={device!r} is not here ({reason}); use 'auto' or 'cpu'.") from error
    return chosen


def cpu_threads():
    """How many threads numerical libraries take here: the first number of OMP_NUM_THREADS, or one for each core."""
    allowed = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return int(allowed) if allowed.isdigit() and int(allowed) else os.cpu_count()


@contextmanager
def deterministic(seed):
    """Seed torch, and make it choose algorithms that give the same numbers twice; restored afterwards."""
    import torch

    before = torch.are_deterministic_algorithms_enabled()
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*does not have a deterministic implementation.*")
        torch.manual_seed(seed)
        torch.use_deterministic_algorithms(True, warn_only=True)
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(before)
