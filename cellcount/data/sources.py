"""What data sets are read from: their files, for the manifest of what was made of them."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cellcount import manifest, registry
from cellcount.data import dataset_toml, resolve
from cellcount.files import sha256
from cellcount.io.folders import files_of, images_of
from cellcount.registry import DATASETS
from cellcount.types import Sample

BESIDE = ("predictions/*.csv", "records.jsonl")  # of a folder that was counted: what corrections are compared with


def files(dataset: Path | str) -> dict[str, dict[str, Path]]:
    """The files of a data set on this machine, by their kind (data, annotation, settings) and their path in it.

    Simulated fields have none. Raises ParameterError if there is no such data set.
    """
    name, _ = resolve(dataset)
    if name in DATASETS:
        local = {path: registry.find(name, path) for path in DATASETS[name].files}
        found = {path: file for path, file in local.items() if file}
    else:
        folder = Path(name)
        inside = [*files_of(folder), *(file for pattern in BESIDE for file in folder.glob(pattern))]
        found = {file.relative_to(folder).as_posix(): file for file in inside if file.is_file()}
    images, kinds = {*images_of(found.values())}, {dataset_toml.NAME: "settings", manifest.NAME: ""}
    sorted_: dict[str, dict[str, Path]] = {}
    for path, file in found.items():
        kind = kinds.get(file.name, "data" if file in images else "annotation")
        if kind and not file.name.endswith(manifest.SUFFIX):
            sorted_.setdefault(kind, {})[path] = file
    return sorted_


def inputs(dataset: Path | str | None, samples: Sequence[Sample], path: Path) -> dict[str, Any]:
    """A data set as an input of the manifest in `path`: the hashes of its files or, where it has none, of its samples.

    Parameters
    ----------
    dataset : path of a folder, name, or None if only the samples are known
    samples : list of Sample
    path : Path
    """
    found = {} if dataset is None else files(dataset)
    hashes = {kind: {name: sha256(file) for name, file in own.items()} for kind, own in found.items()}
    if not any(hashes.values()):
        hashes = {"sample": {sample.name: sample_sha256(sample) for sample in samples}}
    name = "" if dataset is None else resolve(dataset)[0]
    place = Path(name) if name and name not in DATASETS else None
    return manifest.inputs_of("data", place.resolve().name if place else name, hashes, place, path)


def sample_sha256(sample: Sample) -> str:
    """Hex SHA-256 of the pixels and annotations of a Sample."""
    digest = hashlib.sha256()
    for array in (sample.image, sample.points, sample.valid, sample.boxes, sample.dead, sample.labels):
        digest.update(b"-" if array is None else f"{array.shape}{array.dtype}".encode())
        digest.update(b"" if array is None else np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
