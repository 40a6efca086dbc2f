"""The one registry of what can be fetched: data sets and weights.

A file is looked for in the folder named by CELLCOUNT_DATA (laid out as `<data set>/<path>`), then in the cache
(CELLCOUNT_CACHE, or the user's cache folder), then at its address. Nothing is used before its SHA-256 was compared.
With CELLCOUNT_OFFLINE set to anything, no address is asked.
"""

import importlib.util
import logging
import os
import threading
import tomllib
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cellcount.errors import DataError, NotAvailableError, ParameterError
from cellcount.files import sha256

log = logging.getLogger(__name__)

PROBE_SECONDS = 4.0  # a resolver that hangs is not covered by a connect timeout, so the whole probe is cut off here
_probed: dict[str, str] = {}  # host -> "" or why it does not answer; one probe per process
_verified: dict[tuple[Path, str], tuple[int, int, str]] = {}  # path, algorithm -> size, mtime in ns, hash


def _pooch() -> Any:
    """The library that downloads; most calls do without."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="IProgress not found")  # of no use on the first line of a chapter
        import pooch
    return pooch


@dataclass(frozen=True)
class KnownFile:
    """One file: where it lies in its data set's folder, its hash, its size in bytes, its address (None: no address)."""

    path: str
    sha256: str
    bytes: int
    url: str | None


@dataclass(frozen=True)
class Dataset:
    """A data set: its files by path, and under which terms they may be used."""

    name: str
    files: dict[str, KnownFile]
    description: str
    licence: str
    citation: str


@dataclass(frozen=True)
class Weights:
    """One file of network weights.

    Attributes
    ----------
    url : str or None
        None where the file has no public address (it is then only looked for).
    sha256 : str or None
        None where upstream publishes none: see `pin`.
    xxh128 : str or None
        What micro-SAM publishes in its place. It tells a damaged file, but not a forged one, so what it vouches for
        must be read without running any code in it (`weights_only=True`).
    cache : str, several of them, or None
        Where the method's own library keeps the file (`~` and environment variables are expanded), or
        "package:NAME/path" for a file that an installed package brings: looked in after CELLCOUNT_DATA, so that
        nothing is downloaded twice.
    """

    name: str
    filename: str
    url: str | None
    sha256: str | None
    bytes: int
    licence: str
    citation: str
    cache: str | tuple[str, ...] | None = None
    xxh128: str | None = None

    def fingerprint(self, digits: int | None = None) -> str:
        """The hash upstream publishes, after its name, cut to so many digits; "" where there is none."""
        known = {"SHA-256": self.sha256, "XXH128": self.xxh128}
        return next((f"{name} {value[:digits]}" for name, value in known.items() if value), "")


def _known_files(name: str) -> dict[str, KnownFile]:
    text = Path(__file__).with_name(f"registry-{name}.txt").read_text("utf-8")
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
    "thesis": Dataset(
        "thesis",
        _known_files("thesis"),
        "34 phase-contrast fields of 6 flasks with points, boxes and background points",
        "none given: read it, do not redistribute it",
        "B. Eckhardt, bachelor's thesis, data/third, github.com/beijn/bachelor-thesis",
    ),
    "vgg-cells": Dataset(
        "vgg-cells",
        _known_files("vgg-cells"),
        "200 simulated fluorescence images of 256 x 256 px with dot annotations",
        "research use",
        "V. Lempitsky, A. Zisserman, Learning to count objects in images, NIPS 2010; "
        "W. Xie, J. A. Noble, A. Zisserman, 2018, doi:10.1080/21681163.2016.1149104",
    ),
}


def _known_weights() -> dict[str, Weights]:
    known = tomllib.loads(Path(__file__).with_name("registry-weights.toml").read_text("utf-8"))
    absent = {"url": None, "sha256": None, "cache": ()}  # without a hash at all, see `pin`
    return {
        name: Weights(name, **absent | entry | {"cache": tuple(entry.get("cache", ()))})
        for name, entry in known.items()
    }


WEIGHTS: dict[str, Weights] = _known_weights()


def local_root() -> Path | None:
    """The folder named by CELLCOUNT_DATA, or None. Raises NotAvailableError if it names no folder."""
    named = os.environ.get("CELLCOUNT_DATA", "").strip()
    if not named:
        return None
    root = Path(named).expanduser()
    if not root.is_dir():
        raise NotAvailableError(f"CELLCOUNT_DATA is {named!r}, which is not a folder: correct it or unset it.")
    return root


def cache_root() -> Path:
    """The cache folder: CELLCOUNT_CACHE, or the user's cache folder of the platform."""
    named = os.environ.get("CELLCOUNT_CACHE", "").strip()
    return Path(named).expanduser() if named else Path(_pooch().os_cache("cellcount"))


def dataset(name: str) -> Dataset:
    """The `Dataset` of this name. Raises ParameterError with the known names."""
    if name not in DATASETS:
        raise ParameterError(f"There is no data set {name!r}; known are {', '.join(DATASETS)}.")
    return DATASETS[name]


def known_file(name: str, path: str) -> KnownFile:
    """The `KnownFile` at `path` of data set `name`. Raises ParameterError if the registry does not know it."""
    files = dataset(name).files
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
        _verify(root / name / path, known)
        return root / name / path
    cached = cache_root() / name / path
    if cached.is_file():
        if _digest(cached) == known.sha256:
            return cached
        log.warning("%s is damaged (its SHA-256 is not the registered one) and will be fetched again.", cached)
    return None


def fetch(name: str, path: str, progress: bool = False) -> Path:
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
    url = _demand(known.url, f"{name}/{path}", known.bytes, _ways(name, path))
    return _download(url, known.sha256, cache_root() / name / path, progress, _ways(name, path))


def fetch_all(name: str, paths: Iterable[str] | None = None, progress: bool = True) -> dict[str, Path]:
    """Several files of a data set, None: all that have an address; dict of path to local Path. Raises like `fetch`.

    Without a network one sentence speaks of all that is missing.
    """
    paths = [known.path for known in dataset(name).files.values() if known.url] if paths is None else list(paths)
    absent = [known_file(name, path) for path in paths if find(name, path) is None]
    if absent:
        size, files = sum(known.bytes for known in absent), f"{len(absent)} of {len(paths)} files"
        _demand(absent[0].url, f"{files} of the data set {name}", size, _ways(name))
    return {path: fetch(name, path, progress) for path in paths}


def missing(name: str) -> list[KnownFile]:
    """The `KnownFile`s with an address that are neither in CELLCOUNT_DATA nor in the cache (looked for, not hashed)."""
    roots = [root for root in (local_root(), cache_root()) if root is not None]
    files = dataset(name).files.values()
    return [k for k in files if k.url and not any((root / name / k.path).is_file() for root in roots)]


def unreachable(url: str) -> str:
    """Why the host of `url` does not answer, as a short phrase; "" if it does. Asked once per process, under 5 s."""
    import requests

    host = urlsplit(url).netloc
    if host not in _probed:
        answer: list[str] = []

        def ask() -> None:
            try:
                response = requests.head(url, timeout=(PROBE_SECONDS / 2, PROBE_SECONDS / 2), allow_redirects=True)
                answer.append("" if response.ok else f"{host} answers with status {response.status_code}")
            except requests.RequestException as error:
                answer.append(f"{host} cannot be reached ({type(error).__name__})")

        thread = threading.Thread(target=ask, daemon=True)
        thread.start()
        thread.join(PROBE_SECONDS)
        _probed[host] = answer[0] if answer else f"{host} did not answer within {PROBE_SECONDS:.0f} s"
    return _probed[host]


def offline(name: str) -> str:
    """Why a data set cannot be fetched now, as a short phrase; "" if it can. Takes under 5 s."""
    return _refusal(next(known.url for known in dataset(name).files.values() if known.url))


def weights(name: str) -> Weights:
    """The `Weights` entry of this name. Raises ParameterError with the known names."""
    if name not in WEIGHTS:
        raise ParameterError(f"There are no weights {name!r}; known are {', '.join(WEIGHTS) or 'none yet'}.")
    return WEIGHTS[name]


def pin(name: str) -> str | None:
    """The hash that weights must have, or None: the registry's, else the user's own; SHA-256, or "xxh128:...".

    Where upstream publishes no hash, nobody here can vouch for a file. A user who does writes a line into
    `weights/SHA256SUMS` of the folder named by CELLCOUNT_DATA or of the cache folder, as `sha256sum FILE` prints it.
    """
    entry = weights(name)
    if entry.sha256 or entry.xxh128:
        return entry.sha256 or f"xxh128:{entry.xxh128}"
    for folder in _weights_folders():
        sums = folder / "SHA256SUMS"
        for line in sums.read_text("utf-8").splitlines() if sums.is_file() else ():
            digest, _, filename = line.partition(" ")
            if filename.strip().lstrip("*").rsplit("/", 1)[-1] == entry.filename:
                return digest.lower()
    return None


def find_weights(name: str) -> Path | None:
    """The verified local path of weights, or None: CELLCOUNT_DATA/weights, the library's own cache, our cache.

    Raises
    ------
    DataError
        If a file lies at one of these places but is not the registered one, or nobody has vouched for it (`pin`).
    """
    entry = weights(name)
    named = (entry.cache,) if isinstance(entry.cache, str) else entry.cache or ()
    caches = [_expanded(cache) for cache in named]
    ours = [folder / entry.filename for folder in _weights_folders()]
    for place in [*ours[:-1], *caches, ours[-1]]:
        if place.is_file():
            digest = pin(name)
            if digest is None:
                raise DataError(
                    f"{place}: no SHA-256 of {name} is published, so nothing vouches for this file. If you trust it, "
                    f"append the line `{_digest(place)}  {entry.filename}` to {ours[0].parent / 'SHA256SUMS'}."
                )
            _verify(place, replace(entry, sha256=digest))
            return place
    return None


def _expanded(cache: str) -> Path:
    """The path that `Weights.cache` means; one that does not exist if it lies in a package that is not installed."""
    if not cache.startswith("package:"):
        return Path(os.path.expandvars(cache)).expanduser()
    package, _, inside = cache.removeprefix("package:").partition("/")
    found = importlib.util.find_spec(package)
    return Path(found.origin).parent / inside if found and found.origin else Path(package) / inside


def fetch_weights(name: str, progress: bool = True) -> Path:
    """The verified local path of weights, downloaded if they are nowhere. Raises like `fetch`.

    Weights without a hash are never downloaded: NotAvailableError then says how to get them by hand.
    """
    found = find_weights(name)
    if found is not None:
        return found
    entry = weights(name)
    digest = pin(name)
    ways = ways_to_weights(name)
    if digest is None:
        raise NotAvailableError(f"Not on this machine: weights {name} ({megabytes(entry.bytes)}). To get them, {ways}.")
    url = _demand(entry.url, f"weights {name}", entry.bytes, ways)
    return _download(url, digest, cache_root() / "weights" / entry.filename, progress, ways)


def ways_to_weights(name: str) -> str:
    """How a user gets weights that are not on this machine, as part of a sentence."""
    entry = weights(name)
    source = f"from {entry.url} " if entry.url else ""
    put = f"put {entry.filename} {source}into the folder weights/ of the folder named by CELLCOUNT_DATA"
    return (
        put
        if entry.sha256 or entry.xxh128
        else f"{put}, and what `sha256sum {entry.filename}` prints into SHA256SUMS beside it"
    )


def _weights_folders() -> list[Path]:
    """Folders of weights, CELLCOUNT_DATA's first if it is set; the last is the cache's."""
    root = local_root()
    return [folder / "weights" for folder in (root, cache_root()) if folder is not None]


def megabytes(size: float) -> str:
    """A size in bytes as a reader wants it: "12.3 MB", "0.9 MB", "1 kB"."""
    return f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{max(1, round(size / 1e3))} kB"


def _ways(name: str, path: str = "") -> str:
    place = f"it at {name}/{path}" if path else f"the files at {name}/..."
    return f"run `cellcount data fetch {name}` with a network, or put {place} in the folder named by CELLCOUNT_DATA"


def _demand(url: str | None, what: str, size: int, ways: str) -> str:
    """The `url`, if it is an address whose host answers; else raise NotAvailableError."""
    reason = _refusal(url)
    if reason or url is None:
        raise NotAvailableError(f"Not on this machine: {what} ({megabytes(size)}); {reason}. To get it, {ways}.")
    return url


def _refusal(url: str | None) -> str:
    if url is None:
        return "it has no public address"
    if os.environ.get("CELLCOUNT_OFFLINE"):  # for tests, and for those who want no request to leave
        return "CELLCOUNT_OFFLINE is set"
    return unreachable(url)


def _download(url: str, digest: str, target: Path, progress: bool, ways: str) -> Path:
    import requests

    pooch = _pooch()
    pooch.get_logger().setLevel("WARNING")
    downloader = pooch.HTTPDownloader(progressbar=progress, timeout=(PROBE_SECONDS, 30))
    try:
        known = digest if ":" in digest else f"sha256:{digest}"
        pooch.retrieve(url, known, fname=target.name, path=target.parent, downloader=downloader)
    except requests.RequestException as error:
        raise NotAvailableError(f"The download of {url} broke off ({type(error).__name__}); {ways}.") from error
    except ValueError as error:  # pooch: the hash differs; it has deleted what it downloaded
        name = "XXH128" if ":" in digest else "SHA-256"
        raise DataError(f"{url} no longer gives the registered file (its {name} differs); {ways}.") from error
    return target


def _verify(path: Path, known: KnownFile | Weights) -> None:
    algorithm, _, expected = (known.sha256 or "").rpartition(":")
    found = _digest(path, algorithm or "sha256")
    if found != expected:
        name = algorithm.upper() or "SHA-256"
        raise DataError(
            f"{path}: not the registered file ({name} {found[:12]}..., expected {expected[:12]}..., "
            f"{known.bytes} bytes). Delete it, or get it again from {known.url or 'where you got it'}."
        )


def digest(path: Path) -> str:
    """Hexadecimal SHA-256 of a file, read once per process as long as its size and time stay."""
    return _digest(path)


def _digest(path: Path, algorithm: str = "sha256") -> str:
    stat = path.stat()
    key = (path.resolve(), algorithm)
    known = _verified.get(key)
    if known is None or known[:2] != (stat.st_size, stat.st_mtime_ns):
        digest = sha256(path) if algorithm == "sha256" else _pooch().file_hash(path, alg=algorithm)
        known = _verified[key] = (stat.st_size, stat.st_mtime_ns, digest)
    return known[2]
