"""The one registry of what can be fetched: data sets and weights.

A file is looked for in the folder named by CELLCOUNT_DATA (laid out as `<data set>/<path>`), then in the cache
(CELLCOUNT_CACHE, or the user's cache folder), then at its address. Nothing is used before its SHA-256 was compared.
With CELLCOUNT_OFFLINE set to anything, no address is asked.
"""

import logging
import os
import threading
import warnings
from dataclasses import dataclass
from pathlib import Path

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", message="IProgress not found")  # of no use on the first line of a chapter
    import pooch

from cellcount.errors import DataError, NotAvailableError, ParameterError
from cellcount.files import sha256

log = logging.getLogger(__name__)

PROBE_SECONDS = 4.0  # a resolver that hangs is not covered by a connect timeout, so the whole probe is cut off here
_probed: dict[str, str] = {}  # host -> "" or why it does not answer; one probe per process
_verified: dict[Path, tuple[int, int, str]] = {}  # path -> size, mtime in ns, SHA-256


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
    cache : str or None
        Where the method's own library keeps the file (`~` and environment variables are expanded):
        looked in after CELLCOUNT_DATA, so that nothing is downloaded twice.
    """

    name: str
    filename: str
    url: str | None
    sha256: str
    bytes: int
    licence: str
    citation: str
    cache: str | None = None


def _known_files(name):
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

WEIGHTS: dict[str, Weights] = {}

# torchvision's table names the file by the first eight digits of its hash. The whole hash and the size are those that
# other projects have recorded of it, independently of each other: they agree, with the eight digits, too.
WEIGHTS["maskrcnn-resnet50-coco"] = Weights(
    name="maskrcnn-resnet50-coco",
    filename="maskrcnn_resnet50_fpn_coco-bf2d0c1e.pth",
    url="https://download.pytorch.org/models/maskrcnn_resnet50_fpn_coco-bf2d0c1e.pth",
    sha256="bf2d0c1efbc936eeee2bc95a48e80ebc86b891f61b0106485937fc29f9315fc0",
    bytes=178_090_079,
    licence="BSD-3-Clause (torchvision); trained on COCO, whose annotations are CC BY 4.0",
    citation="K. He, G. Gkioxari, P. Dollár, R. Girshick, Mask R-CNN, ICCV 2017, doi:10.1109/ICCV.2017.322",
    cache="~/.cache/torch/hub/checkpoints/maskrcnn_resnet50_fpn_coco-bf2d0c1e.pth",
)


def local_root():
    """The folder named by CELLCOUNT_DATA, or None. Raises NotAvailableError if it names no folder."""
    named = os.environ.get("CELLCOUNT_DATA", "").strip()
    if not named:
        return None
    root = Path(named).expanduser()
    if not root.is_dir():
        raise NotAvailableError(f"CELLCOUNT_DATA is {named!r}, which is not a folder: correct it or unset it.")
    return root


def cache_root():
    """The cache folder: CELLCOUNT_CACHE, or the user's cache folder of the platform."""
    named = os.environ.get("CELLCOUNT_CACHE", "").strip()
    return Path(named).expanduser() if named else Path(pooch.os_cache("cellcount"))


def dataset(name):
    """The `Dataset` of this name. Raises ParameterError with the known names."""
    if name not in DATASETS:
        raise ParameterError(f"There is no data set {name!r}; known are {', '.join(DATASETS)}.")
    return DATASETS[name]


def known_file(name, path):
    """The `KnownFile` at `path` of data set `name`. Raises ParameterError if the registry does not know it."""
    files = dataset(name).files
    if path not in files:
        raise ParameterError(f"The data set {name} has no file {path!r} in the registry.")
    return files[path]


def find(name, path):
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


def fetch(name, path, progress=False):
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
    _demand(known.url, f"{name}/{path}", known.bytes, _ways(name, path))
    return _download(known.url, known.sha256, cache_root() / name / path, progress, _ways(name, path))


def fetch_all(name, paths=None, progress=True):
    """Several files of a data set, None: all that have an address; dict of path to local Path. Raises like `fetch`.

    Without a network one sentence speaks of all that is missing.
    """
    paths = [known.path for known in dataset(name).files.values() if known.url] if paths is None else list(paths)
    absent = [known_file(name, path) for path in paths if find(name, path) is None]
    if absent:
        size, files = sum(known.bytes for known in absent), f"{len(absent)} of {len(paths)} files"
        _demand(absent[0].url, f"{files} of the data set {name}", size, _ways(name))
    return {path: fetch(name, path, progress) for path in paths}


def missing(name):
    """The `KnownFile`s with an address that are neither in CELLCOUNT_DATA nor in the cache (looked for, not hashed)."""
    roots = [root for root in (local_root(), cache_root()) if root is not None]
    files = dataset(name).files.values()
    return [k for k in files if k.url and not any((root / name / k.path).is_file() for root in roots)]


def unreachable(url):
    """Why the host of `url` does not answer, as a short phrase; "" if it does. Asked once per process, under 5 s."""
    import requests

    host = requests.utils.urlparse(url).netloc
    if host not in _probed:
        answer = []

        def ask():
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


def offline(name):
    """Why a data set cannot be fetched now, as a short phrase; "" if it can. Takes under 5 s."""
    return _refusal(next(known.url for known in dataset(name).files.values() if known.url))


def weights(name):
    """The `Weights` entry of this name. Raises ParameterError with the known names."""
    if name not in WEIGHTS:
        raise ParameterError(f"There are no weights {name!r}; known are {', '.join(WEIGHTS) or 'none yet'}.")
    return WEIGHTS[name]


def find_weights(name):
    """The verified local path of weights, or None: CELLCOUNT_DATA/weights, the library's own cache, our cache.

    Raises
    ------
    DataError
        If a file lies at one of these places but is not the registered one.
    """
    entry = weights(name)
    places = [cache_root() / "weights" / entry.filename]
    if entry.cache:
        places.insert(0, Path(os.path.expandvars(entry.cache)).expanduser())
    root = local_root()
    if root is not None:
        places.insert(0, root / "weights" / entry.filename)
    for place in places:
        if place.is_file():
            _verify(place, entry)
            return place
    return None


def fetch_weights(name, progress=True):
    """The verified local path of weights, downloaded if they are nowhere. Raises like `fetch`."""
    found = find_weights(name)
    if found is not None:
        return found
    entry = weights(name)
    ways = f"put {entry.filename} into the folder weights/ of the folder named by CELLCOUNT_DATA"
    _demand(entry.url, f"weights {name}", entry.bytes, ways)
    return _download(entry.url, entry.sha256, cache_root() / "weights" / entry.filename, progress, ways)


def megabytes(size):
    """A size in bytes as a reader wants it: "12.3 MB", "0.9 MB", "1 kB"."""
    return f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{max(1, round(size / 1e3))} kB"


def _ways(name, path=""):
    place = f"it at {name}/{path}" if path else f"the files at {name}/..."
    return f"run `cellcount data fetch {name}` with a network, or put {place} in the folder named by CELLCOUNT_DATA"


def _demand(url, what, size, ways):
    """Raise NotAvailableError unless `url` is an address whose host answers."""
    reason = _refusal(url)
    if reason:
        raise NotAvailableError(f"Not on this machine: {what} ({megabytes(size)}); {reason}. To get it, {ways}.")


def _refusal(url):
    if url is None:
        return "it has no public address"
    if os.environ.get("CELLCOUNT_OFFLINE"):  # for tests, and for those who want no request to leave
        return "CELLCOUNT_OFFLINE is set"
    return unreachable(url)


def _download(url, digest, target, progress, ways):
    import requests

    pooch.get_logger().setLevel("WARNING")
    downloader = pooch.HTTPDownloader(progressbar=progress, timeout=(PROBE_SECONDS, 30))
    try:
        pooch.retrieve(url, f"sha256:{digest}", fname=target.name, path=target.parent, downloader=downloader)
    except requests.RequestException as error:
        raise NotAvailableError(f"The download of {url} broke off ({type(error).__name__}); {ways}.") from error
    except ValueError as error:  # pooch: the hash differs; it has deleted what it downloaded
        raise DataError(f"{url} no longer gives the registered file (its SHA-256 differs); {ways}.") from error
    return target


def _verify(path, known):
    if _digest(path) != known.sha256:
        raise DataError(
            f"{path}: not the registered file (SHA-256 {_digest(path)[:12]}..., expected {known.sha256[:12]}..., "
            f"{known.bytes} bytes). Delete it, or get it again from {known.url or 'where you got it'}."
        )


def _digest(path):
    """SHA-256 of a file, hashed once per process as long as its size and time stay."""
    stat = path.stat()
    key = path.resolve()
    size, modified, digest = _verified.get(key, (None, None, None))
    if (size, modified) != (stat.st_size, stat.st_mtime_ns):
        digest = sha256(path)
        _verified[key] = (stat.st_size, stat.st_mtime_ns, digest)
    return digest
