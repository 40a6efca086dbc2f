"""The table of data sets, with the files that are fetched for them."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from cellcount.errors import require
from cellcount.registry.fetch import cache_root, demand, digest, download, local_root, log, megabytes, refusal, verify


@dataclass(frozen=True)
class KnownFile:
    """One file: path in its data set's folder, hash, size in bytes, and address (None if it has no public one)."""

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
        Its module in `cellcount.data`, with `load(**options) -> list of Sample`. A `load` with the parameter `split`
        makes only that part.
    description, licence, citation : str
    files : dict of path to KnownFile
        The files that are fetched for it.
    """

    module: str
    description: str
    licence: str
    citation: str = ""
    files: dict[str, KnownFile] = field(default_factory=dict)


def _known_files(name: str) -> dict[str, KnownFile]:
    lines = Path(__file__).with_name(f"{name}.txt").read_text("utf-8").splitlines()
    base = next(line.removeprefix("# base ") for line in lines if line.startswith("# base "))
    found = {}
    for path, known, size, *place in (line.split() for line in lines if not line.startswith("#")):
        url = place[0] if place else base + path.rsplit("/", 1)[-1]
        found[path] = KnownFile(path, known, int(size), None if url == "local" else url)
    return found


DATASETS = {
    "phantom": Dataset("phantom", "simulated fields of view with exact centres and masks", "that of this package"),
    "thesis": Dataset(
        "thesis",
        "34 phase-contrast fields of view of 6 flasks with points, boxes and background points",
        "none given; not to be redistributed",
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
    require(name in DATASETS, f"There is no data set {name!r}; known are {', '.join(DATASETS)}.")
    return DATASETS[name]


def known_file(name: str, path: str) -> KnownFile:
    """The `KnownFile` at `path` of data set `name`. Raises ParameterError if it is not in the registry."""
    files = known_dataset(name).files
    require(path in files, f"The data set {name} has no file {path!r} in the registry.")
    return files[path]


def find(name: str, path: str) -> Path | None:
    """The verified local path of a data set's file, or None if it is neither in CELLCOUNT_DATA nor in the cache.

    Raises
    ------
    DataError
        If the file in CELLCOUNT_DATA is not the registered one. A damaged file in the cache is treated as missing.
    """
    known, root = known_file(name, path), local_root()
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
    """The verified local path of a data set's file, downloaded into the cache if it is not on this machine.

    Raises
    ------
    NotAvailableError
        Without a network, within 5 s, with the missing file, its size, and the two ways to get it.
    DataError
        If a file's SHA-256 is not the registered one.
    """
    found, known, ways = find(name, path), known_file(name, path), _ways(name, path)
    if found is not None:
        return found
    url = demand(known.url, f"{name}/{path}", known.bytes, ways)
    return download(url, known.sha256, cache_root() / name / path, progress, ways)


def fetch_all(name: str, paths: Iterable[str] | None = None, progress: bool = True) -> dict[str, Path]:
    """Several files of a data set (None: all that have an address): dict of path to local Path; raises as `fetch_file`.

    Without a network, one sentence names all that is missing.
    """
    paths = [known.path for known in known_dataset(name).files.values() if known.url] if paths is None else list(paths)
    absent = [known_file(name, path) for path in paths if find(name, path) is None]
    if absent:
        size, files = sum(known.bytes for known in absent), f"{len(absent)} of {len(paths)} files"
        demand(absent[0].url, f"{files} of the data set {name}", size, _ways(name))
    return {path: fetch_file(name, path, progress) for path in paths}


def missing(name: str) -> list[KnownFile]:
    """The `KnownFile`s with an address that are neither in CELLCOUNT_DATA nor in the cache (not verified)."""
    roots = [root for root in (local_root(), cache_root()) if root is not None]
    files = known_dataset(name).files.values()
    return [k for k in files if k.url and not any((root / name / k.path).is_file() for root in roots)]


def lacking(name: str) -> list[str]:
    """A sentence on the files of a data set that are not on this machine, in a list; an empty list if there is none."""
    paths = [known.path for known in missing(name)]
    count = f"{len(paths)} of {sum(known.url is not None for known in known_dataset(name).files.values())}"
    size = megabytes(sum(known.bytes for known in missing(name)))
    shown = ", ".join(paths) if len(paths) < 4 else f"{paths[0]} to {paths[-1]}"
    return [f"{name}: {count} files are not on this machine ({size}): {shown}."] if paths else []


def offline(name: str) -> str:
    """Why a data set cannot be fetched now, as a short phrase; "" if it can. Takes under 5 s."""
    return refusal(next(known.url for known in known_dataset(name).files.values() if known.url))


def _ways(name: str, path: str = "") -> str:
    place = f"it at {name}/{path}" if path else f"the files at {name}/..."
    return f"run `cellcount data fetch {name}` with a network, or put {place} in the folder named by CELLCOUNT_DATA"
