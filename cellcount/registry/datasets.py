"""One table of data sets, with the files that are fetched for them."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from cellcount.errors import ParameterError
from cellcount.registry.fetch import cache_root, demand, digest, download, local_root, log, refusal, verify


@dataclass(frozen=True)
class KnownFile:
    """One file: where it lies in its data set's folder, its hash, its size in bytes, its address (None: no address)."""

    path: str
    sha256: str
    bytes: int
    url: str | None


@dataclass(frozen=True)
class Dataset:
    """One data set.

    Attributes
    ----------
    module : str
        Its module in `cellcount.data`, with `load(**options) -> list of Sample`, and `missing() -> list of str` where
        something is fetched. A `load` that takes `split` makes only that part.
    description, licence, citation : str
    files : dict of path to KnownFile
        What is fetched for it.
    """

    module: str
    description: str
    licence: str
    citation: str = ""
    files: dict[str, KnownFile] = field(default_factory=dict)


def _known_files(name: str) -> dict[str, KnownFile]:
    text = Path(__file__).with_name(f"{name}.txt").read_text("utf-8")
    base, files = "", {}
    for line in text.splitlines():
        if line.startswith("#"):
            base = line.removeprefix("# base ") if line.startswith("# base ") else base
            continue
        path, digest, size, *local = line.split()
        url = None if local else base + path.rsplit("/", 1)[-1]
        files[path] = KnownFile(path, digest, int(size), url)
    return files


DATASETS = {
    "phantom": Dataset("phantom", "simulated fields with exact centres and masks", "as this package"),
    "thesis": Dataset(
        "thesis",
        "34 phase-contrast fields of 6 flasks with points, boxes and background points",
        "none given: read it, do not redistribute it",
        "B. Eckhardt, bachelor's thesis, data/third, github.com/beijn/bachelor-thesis",
        _known_files("thesis"),
    ),
    "vgg-cells": Dataset(
        "vgg",
        "200 simulated fluorescence images of 256 x 256 px with dot annotations",
        "research use",
        "V. Lempitsky, A. Zisserman, Learning to count objects in images, NIPS 2010; "
        "W. Xie, J. A. Noble, A. Zisserman, 2018, doi:10.1080/21681163.2016.1149104",
        _known_files("vgg-cells"),
    ),
}


def known_dataset(name: str) -> Dataset:
    """The `Dataset` of this name. Raises ParameterError with the known names."""
    if name not in DATASETS:
        raise ParameterError(f"There is no data set {name!r}; known are {', '.join(DATASETS)}.")
    return DATASETS[name]


def known_file(name: str, path: str) -> KnownFile:
    """The `KnownFile` at `path` of data set `name`. Raises ParameterError if the registry does not know it."""
    files = known_dataset(name).files
    if path not in files:
        raise ParameterError(f"The data set {name} has no file {path!r} in the registry.")
    return files[path]


def find(name: str, path: str) -> Path | None:
    """The verified local path of a data set's file, or None if it is neither in CELLCOUNT_DATA nor in the cache.

    Raises
    ------
    DataError
        If the file in CELLCOUNT_DATA is not the registered one. A damaged file of the cache counts as not there.
    """
    known = known_file(name, path)
    root = local_root()
    if root is not None and (root / name / path).is_file():
        verify(root / name / path, known.sha256, known.bytes, known.url)
        return root / name / path
    cached = cache_root() / name / path
    if cached.is_file():
        if digest(cached) == known.sha256:
            return cached
        log.warning("%s is damaged (its SHA-256 is not the registered one) and will be fetched again.", cached)
    return None


def fetch_file(name: str, path: str, progress: bool = False) -> Path:
    """The verified local path of a data set's file, downloaded into the cache if it is nowhere on this machine.

    Raises
    ------
    NotAvailableError
        Without a network, within 5 s, saying what is missing, its size, and the two ways to get it.
    DataError
        If a file's SHA-256 is not the registered one.
    """
    found = find(name, path)
    if found is not None:
        return found
    known = known_file(name, path)
    url = demand(known.url, f"{name}/{path}", known.bytes, _ways(name, path))
    return download(url, known.sha256, cache_root() / name / path, progress, _ways(name, path))


def fetch_all(name: str, paths: Iterable[str] | None = None, progress: bool = True) -> dict[str, Path]:
    """Several files of a data set, None: all that have an address; dict of path to local Path. Raises like `fetch_file`.

    Without a network one sentence speaks of all that is missing.
    """
    paths = [known.path for known in known_dataset(name).files.values() if known.url] if paths is None else list(paths)
    absent = [known_file(name, path) for path in paths if find(name, path) is None]
    if absent:
        size, files = sum(known.bytes for known in absent), f"{len(absent)} of {len(paths)} files"
        demand(absent[0].url, f"{files} of the data set {name}", size, _ways(name))
    return {path: fetch_file(name, path, progress) for path in paths}


def missing(name: str) -> list[KnownFile]:
    """The `KnownFile`s with an address that are neither in CELLCOUNT_DATA nor in the cache (looked for, not hashed)."""
    roots = [root for root in (local_root(), cache_root()) if root is not None]
    files = known_dataset(name).files.values()
    return [k for k in files if k.url and not any((root / name / k.path).is_file() for root in roots)]


def offline(name: str) -> str:
    """Why a data set cannot be fetched now, as a short phrase; "" if it can. Takes under 5 s."""
    return refusal(next(known.url for known in known_dataset(name).files.values() if known.url))


def _ways(name: str, path: str = "") -> str:
    place = f"it at {name}/{path}" if path else f"the files at {name}/..."
    return f"run `cellcount data fetch {name}` with a network, or put {place} in the folder named by CELLCOUNT_DATA"
