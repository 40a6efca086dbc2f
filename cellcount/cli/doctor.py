"""`cellcount doctor`: this machine, and what can run on it."""

import argparse
import os
import platform
import shutil
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from cellcount.cli import methods
from cellcount.cli.tables import print_table

PACKAGES = {  # distribution: the extra that brings it
    "onnxruntime": None, "pandas": "data", "scikit-image": "data", "torch": "train", "torchvision": "methods",
    "cellpose": "methods", "stardist": "methods", "micro_sam": "methods", "jupyter-book": "book",
}  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `cellcount doctor`."""
    methods.add_arguments(parser)


def run(arguments: argparse.Namespace) -> None:
    """Print machine, packages, folders, methods, and what a build of the book would compute."""
    from cellcount import registry
    from cellcount.data import missing, resolve

    folders = [("CELLCOUNT_DATA", registry.local_root() or "not set"), ("cache", registry.cache_root())]
    name, reason = resolve("auto")
    lacking = [tool for tool in ("xelatex", "latexmk") if not shutil.which(tool)]
    build = [("make book", f"computes on {name}: {reason}")]
    build += [("", sentence) for dataset in registry.DATASETS for sentence in missing(dataset)]
    build.append(("make pdf", f"cannot run without {' and '.join(lacking)}" if lacking else "can run"))
    for title, rows in (("Machine", _machine()), ("Packages", _packages()), ("Folders", folders)):
        print(title)
        print_table((), rows, wrap=True)
        print()
    print("Methods")
    methods.run(arguments)
    print("\nBuild of the book")
    print_table((), build, wrap=True)


def _machine():
    from cellcount.errors import DISTRIBUTION

    rows = [("cellcount", version(DISTRIBUTION)), ("Python", f"{platform.python_version()}, {platform.system()}")]
    memory = ""
    if find_spec("psutil"):
        import psutil

        memory = f", {psutil.virtual_memory().total / 1e9:.0f} GB of memory"
    rows.append(("processor", f"{os.cpu_count()} cores{memory}"))
    if find_spec("torch"):
        import torch

        gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        rows.append(("accelerators", ", ".join(gpus) or "none; everything runs on the CPU"))
    return rows


def _packages():
    from cellcount.errors import install

    rows = []
    for name, extra in PACKAGES.items():
        try:
            rows.append((name, version(name)))
        except PackageNotFoundError:
            rows.append((name, f"not installed: {install(extra)}"))
    return rows
