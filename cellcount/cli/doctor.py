"""`cellcount doctor`: this machine, and what can run on it."""

import argparse
import os
import platform
import shutil
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from cellcount.cli import add_json, methods
from cellcount.cli.tables import print_table

PACKAGES = {  # distribution: the extra that brings it
    "onnxruntime": None, "pandas": "data", "scikit-image": "data", "torch": "train", "torchvision": "methods",
    "cellpose": "methods", "stardist": "methods", "micro_sam": "methods", "jupyter-book": "book",
}  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `cellcount doctor`."""
    parser.add_argument("--verbose", action="store_true", help="print the details in full")
    add_json(parser, "machine, packages, folders, build (each an object), methods (name, state, details)")


def run(arguments: argparse.Namespace) -> None:
    """Print machine, packages, folders, methods, and what a build of the book would compute."""
    from cellcount import registry
    from cellcount.data import missing, resolve

    folders = [("CELLCOUNT_DATA", registry.local_root() or "not set"), ("cache", registry.cache_root())]
    packages = [(name, _installed(name, extra)) for name, extra in PACKAGES.items()]
    answer = {}
    for title, rows in (("Machine", _machine()), ("Packages", packages), ("Folders", folders)):
        answer[title.lower()] = {name: str(value) for name, value in rows}
        print(title)
        print_table((), rows, wrap=True)
        print()
    print("Methods")
    methods.run(arguments)
    name, reason = resolve("auto")
    lacking = " and ".join(tool for tool in ("xelatex", "latexmk") if not shutil.which(tool))
    build = [("make book", f"computes on {name}: {reason}")]
    lacking_data = [sentence for dataset in registry.DATASETS for sentence in missing(dataset)]
    build += [("", sentence) for sentence in lacking_data]
    build.append(("make pdf", f"cannot run without {lacking}" if lacking else "can run"))
    print("\nBuild of the book")
    print_table((), build, wrap=True)
    arguments.answer |= answer | {"build": dict(row for row in build if row[0]) | {"missing": lacking_data}}


def _machine():
    from cellcount import devices
    from cellcount.errors import DISTRIBUTION

    rows = [("cellcount", version(DISTRIBUTION)), ("Python", f"{platform.python_version()}, {platform.system()}")]
    rows.append(("processor", f"{os.cpu_count()} x {devices.processor()}"))
    if size := devices.memory():
        rows.append(("memory", f"{size / 1e9:.0f} GB"))
    if find_spec("torch"):
        import torch

        gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        rows.append(("accelerators", ", ".join(gpus) or "none; everything runs on the CPU"))
    return rows


def _installed(name, extra):
    from cellcount.errors import install

    try:
        return version(name)
    except PackageNotFoundError:
        return f"not installed: {install(extra)}"
