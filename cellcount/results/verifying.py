"""Whether results are as they were written: files compared with the hashes in their manifests. Nothing is written."""

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cellcount import manifest, registry
from cellcount.data import sources
from cellcount.errors import DataError, ParameterError, require
from cellcount.manifest import Change
from cellcount.registry import DATASETS


@dataclass
class Verified:
    """What was found of one manifest.

    Attributes
    ----------
    path : Path
    content : dict
        Of the manifest; {} if it cannot be read, or was edited.
    files : int
        That were compared.
    changes : list of Change
    notes : list of str
        What was not compared, and why.
    """

    path: Path
    content: dict[str, Any] = field(default_factory=dict)
    files: int = 0
    changes: list[Change] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def manifests(path: Path) -> list[Path]:
    """The manifests of a result: a folder's and those of all folders in it, or that of a weights file.

    Raises DataError if there is none.
    """
    remedy = "Results of earlier versions have none; the same call writes it, and computes nothing again for counts."
    if not path.is_dir():
        require(path.exists(), f"{path} does not exist.", DataError)
        named = path.name == manifest.NAME or path.name.endswith(manifest.SUFFIX)
        own = path if named else path.with_suffix(manifest.SUFFIX)
        require(own.is_file(), f"{path} has no manifest {own.name} beside it. {remedy}", DataError)
        with suppress(DataError):  # of a damaged manifest, which `verify` names
            listed = {name for files in manifest.read(own)["files"].values() for name in files}
            require(
                named or path.name in listed,
                f"{own} is not of {path.name}, but of {', '.join(sorted(listed))}.",
                ParameterError,
            )
        return [own]
    found = []
    for where, folders, names in os.walk(path):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [Path(where, n) for n in sorted(names) if n == manifest.NAME or n.endswith(manifest.SUFFIX)]
    require(found, f"{path} has no {manifest.NAME}, nor has a folder in it. {remedy}", DataError)
    return found


def verify(path: Path, data: Path | None = None, weights: Path | None = None) -> Verified:
    """Compare the files of one manifest, and what they were made from, with its hashes.

    Parameters
    ----------
    path : Path
        Of the manifest.
    data, weights : Path or None
        Where the folder of the data, and the weights file, are, if they are not in the manifest's folder.
    """
    result = Verified(path)
    try:
        content = result.content = manifest.read(path)
    except DataError as error:
        result.changes.append(Change("changed", "manifest", path.name))
        result.notes.append(str(error))
        return result
    files, folder = content["files"], path.parent
    result.files = _number(files)
    result.changes += manifest.compare(files, lambda name: folder / name)
    known = [*content["beside"], *(name for own in files.values() for name in own)]
    result.changes += manifest.added(folder, content["places"], known)
    for one in content["inputs"]:
        result.changes += _input(one, result, {"data": data, "weights": weights}.get(one["kind"]))
    return result


def place_of(one: Mapping[str, Any], path: Path, given: Path | None = None) -> Path | None:
    """Where an input in the manifest `path` is: as `given`, in the manifest's folder, or None if that is not known."""
    if given is not None:
        return given if one["kind"] == "data" else given.parent
    if one["kind"] == "bundled":
        return manifest.PACKAGE
    return None if one["place"] is None else path.parent / one["place"]


def _input(one: Mapping[str, Any], result: Verified, given: Path | None) -> Iterator[Change]:
    """The changes of an input; a note if it is not known where it is."""
    files, name, place = one["files"], one["name"], place_of(one, result.path, given)
    locate = {file: (place or Path()) / file for own in files.values() for file in own}
    if one["kind"] == "weights" and given is not None:  # under whatever name
        locate = {file: given if file == name else given.with_suffix(Path(file).suffix) for file in locate}
        files = {kind: {f: h for f, h in own.items() if f == name or locate[f].exists()} for kind, own in files.items()}
    known = one["kind"] == "data" and given is None and name in DATASETS
    if known and "sample" not in files:
        locate = {file: registry.find(name, file) or Path("missing", file) for file in locate}
    elif "sample" in files or place is None:
        option = {"data": "--data FOLDER", "weights": "--weights FILE"}[one["kind"]]
        how = "simulated or given as arrays: --rerun compares it" if "sample" in files else f"name it with {option}"
        result.notes.append(f"not compared: {one['kind']} {name or 'without a name'} ({how})")
        return
    result.files += _number(files)
    for change in manifest.compare(files, lambda file: locate[file]):
        yield change._replace(file=f"{name}/{change.file}" if one["kind"] == "data" else change.file)
    if one["kind"] == "data" and not known and place is not None and place.is_dir():
        there = {file: kind for kind, own in sources.files(place).items() for file in own}
        yield from (Change("added", there[file], f"{name}/{file}") for file in sorted(there.keys() - locate.keys()))


def _number(files: Mapping[str, Mapping[str, str]]) -> int:
    return sum(map(len, files.values()))
