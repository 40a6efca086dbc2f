"""Devices, threads, and reproducible computation."""

import ctypes
import functools
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cellcount.errors import NotAvailableError, needing

if TYPE_CHECKING:
    import torch


def choose_device(device: "str | torch.device" = "auto") -> "torch.device":
    """A torch device: "auto" takes CUDA, then Apple's MPS, then the CPU.

    Raises
    ------
    NotAvailableError
        If a named device, or torch, is not available.
    """
    with needing("train", f"device={device!r}"):
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
        raise NotAvailableError(f"device={device!r} is not available ({reason}); use 'auto' or 'cpu'.") from error
    return chosen


def is_cpu(device: "str | torch.device" = "auto") -> bool:
    """Whether a device is the CPU; torch is imported only if "auto" may be another device.

    Raises
    ------
    NotAvailableError
        As `choose_device`.
    """
    if device == "auto" and not (importlib.util.find_spec("torch") and may_have_accelerator()):
        return True
    return str(device) == "cpu" or (device == "auto" and choose_device(device).type == "cpu")


@functools.cache
def may_have_accelerator() -> bool:
    """Whether there may be a device for torch besides the CPU, by asking the system, without importing torch."""
    if sys.platform == "darwin":
        return platform.machine() == "arm64"
    if os.path.exists("/dev/kfd"):  # AMD's
        return True
    try:
        cuda = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    count = ctypes.c_int(0)
    return cuda.cuInit(0) == 0 and cuda.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value > 0


def cpu_threads() -> int:
    """Number of threads of numerical libraries: the first number in OMP_NUM_THREADS, or one for each core."""
    allowed = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return int(allowed) if allowed.isdigit() and int(allowed) else os.cpu_count() or 1


@contextmanager
def deterministic(seed: int) -> Iterator[None]:
    """Seed torch and make it use deterministic algorithms; both are restored afterwards."""
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


def mixed_precision(device: "torch.device") -> "torch.autocast":
    """A context in which a CUDA GPU computes convolutions and matrix products of a training in bfloat16.

    Its range is that of float32, so that no gradient vanishes; its 8 bits are too few for coordinates, px.
    """
    import torch

    return torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda")


@functools.cache
def processor() -> str:
    """The name of the processor, as far as the system tells it."""
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo") as file:
            named = (line.partition(":")[2].strip() for line in file if line.startswith("model name"))
            if name := next(named, ""):
                return name
    return platform.processor() or platform.machine()


def memory() -> int | None:
    """Bytes of memory of this machine; None where the system does not say (Windows without psutil)."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        if not importlib.util.find_spec("psutil"):
            return None
        import psutil

        return int(psutil.virtual_memory().total)


@functools.cache
def gpu() -> tuple[str, float | None] | None:
    """Name of the first NVIDIA GPU, and the limit of its power in watts, as nvidia-smi tells them; None without one."""
    program = shutil.which("nvidia-smi") if may_have_accelerator() else None
    if program is None:
        return None
    command = [program, "--query-gpu=name,power.limit", "--format=csv,noheader,nounits"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.splitlines()
    except (OSError, subprocess.SubprocessError):
        return None
    name, _, limit = (told or [""])[0].rpartition(",")
    try:
        return name.strip(), float(limit)
    except ValueError:  # [N/A]
        return (name.strip(), None) if name else None


def peak_memory_mb() -> int:
    """Largest resident memory of this process so far, MB."""
    try:
        import resource
    except ModuleNotFoundError:  # on Windows
        import psutil

        return round(psutil.Process().memory_info().peak_wset / 1e6)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / 1e6 if sys.platform == "darwin" else peak / 1e3)  # bytes on macOS, kilobytes on Linux


def machine() -> str:
    """This machine, in words that name nobody: processors, memory, system, and CUDA's first GPU where there is one."""
    size = memory()
    words = [f"{os.cpu_count()} x {processor()}", *([f"{size / 2**30:.0f} GiB"] if size else []), platform.system()]
    if may_have_accelerator() and importlib.util.find_spec("torch") and choose_device().type == "cuda":
        import torch

        words.append(torch.cuda.get_device_name(0))
    return ", ".join(words)
