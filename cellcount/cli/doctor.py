"""`cellcount doctor`: what this machine has, and what can run on it."""

import argparse
import os
import platform
import shutil
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from cellcount.cli import methods

try:
    import psutil
except ModuleNotFoundError:  # it belongs to the extra `book`
    psutil = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """It takes none."""


def run(arguments: argparse.Namespace) -> None:
    """Print what this machine has, and what follows."""
    _machine()
    _caches()
    print("\nMethods")
    methods.run(arguments)
    _build()


def _machine() -> None:
    from cellcount.errors import DISTRIBUTION

    print("Machine")
    print(f"  cellcount {version(DISTRIBUTION)}, Python {platform.python_version()}, {platform.system()}")
    memory = f", {psutil.virtual_memory().total / 1e9:.0f} GB of memory" if psutil else ""
    print(f"  {os.cpu_count()} cores{memory}")
    if find_spec("torch"):
        import torch

        gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        print(f"  accelerators: {', '.join(gpus) or 'none; everything runs on the CPU'}")
    extras = {"onnxruntime": "", "torch": "[train]", "torchvision": "[methods]", "cellpose": "[methods]",
              "stardist": "[methods]", "micro_sam": "[methods]"}  # fmt: skip
    for name, extra in extras.items():
        try:
            print(f"  {name} {version(name)}")
        except PackageNotFoundError:
            print(f"  {name}: not installed (pip install '{DISTRIBUTION}{extra}')")


def _caches():
    from cellcount import registry

    print("\nFolders")
    print(f"  CELLCOUNT_DATA: {registry.local_root() or 'not set'}")
    print(f"  cache: {registry.cache_root()}")


def _build():
    from cellcount.data import missing, resolve

    print("\nA build of the book here")
    name, reason = resolve("auto")
    print(f"  make book: computes on {name}. {reason}")
    for dataset in ("thesis", "vgg-cells"):
        for sentence in missing(dataset):
            print(f"  {sentence}")
    lacking = [tool for tool in ("xelatex", "latexmk") if not shutil.which(tool)]
    print(f"  make pdf: {'lacks ' + ', '.join(lacking) if lacking else 'has what it needs'}")
