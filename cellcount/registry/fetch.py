"""How a file is fetched and verified.

A file is looked for in the folder named by CELLCOUNT_DATA (as `<data set>/<path>`), then in the cache (CELLCOUNT_CACHE,
or the user's cache folder), then at its address. No file is used before its SHA-256 has been compared.
If CELLCOUNT_OFFLINE is set to anything, no request is sent.
"""

import functools
import logging
import os
import threading
import warnings
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cellcount.errors import DataError, NotAvailableError, require
from cellcount.files import sha256

log = logging.getLogger(__name__)

PROBE_SECONDS = 4.0  # a connect timeout does not cover a resolver that hangs, so the whole probe is cut off here

_probed: dict[str, str] = {}  # host -> "" or why it does not answer; one probe per process


def pooch_() -> Any:
    """The library that downloads; most calls do not need it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="IProgress not found")  # would be a chapter's first output
        import pooch
    return pooch


def local_root() -> Path | None:
    """The folder named by CELLCOUNT_DATA, or None. Raises NotAvailableError if there is no such folder."""
    named = os.environ.get("CELLCOUNT_DATA", "").strip()
    root = Path(named).expanduser()
    wrong = f"CELLCOUNT_DATA is {named!r}, which is not a folder: correct it or unset it."
    require(not named or root.is_dir(), wrong, NotAvailableError)
    return root if named else None


def cache_root() -> Path:
    """The cache folder: CELLCOUNT_CACHE, or the user's cache folder of the platform."""
    named = os.environ.get("CELLCOUNT_CACHE", "").strip()
    return Path(named).expanduser() if named else Path(pooch_().os_cache("cellcount"))


def megabytes(size: float) -> str:
    """A size in bytes for messages: "12.3 MB", "0.9 MB", "1 kB"."""
    return f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{max(1, round(size / 1e3))} kB"


def refusal(url: str | None) -> str:
    """Why nothing can be fetched from an address, as a short phrase; "" if it can. Takes under 5 s."""
    if url is None:
        return "it has no public address"
    return "CELLCOUNT_OFFLINE is set" if os.environ.get("CELLCOUNT_OFFLINE") else unreachable(url)


def unreachable(url: str) -> str:
    """Why the host of `url` does not answer, as a short phrase; "" if it does. Asked once per process, under 5 s."""
    import requests

    host = urlsplit(url).netloc

    def ask() -> None:
        try:
            response = requests.head(url, timeout=(PROBE_SECONDS / 2, PROBE_SECONDS / 2), allow_redirects=True)
            answer.append("" if response.ok else f"{host} answers with status {response.status_code}")
        except requests.RequestException as error:
            answer.append(f"{host} cannot be reached ({type(error).__name__})")

    if host not in _probed:
        answer: list[str] = []
        thread = threading.Thread(target=ask, daemon=True)
        thread.start()
        thread.join(PROBE_SECONDS)
        _probed[host] = answer[0] if answer else f"{host} did not answer within {PROBE_SECONDS:.0f} s"
    return _probed[host]


def demand(url: str | None, what: str, size: int, ways: str) -> str:
    """The address, if its host answers. Raises NotAvailableError otherwise."""
    reason = refusal(url)
    if reason or url is None:
        raise NotAvailableError(f"Not on this machine: {what} ({megabytes(size)}); {reason}. To get it, {ways}.")
    return url


def download(url: str, digest: str, target: Path, progress: bool, ways: str) -> Path:
    """Download `url` to `target`, and verify its hash (SHA-256, or "xxh128:...").

    Raises
    ------
    NotAvailableError, DataError
        If the download breaks off, or its hash differs; `ways` ends the sentence.
    """
    import requests

    pooch = pooch_()
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


def verify(path: Path, expected: str, size: int, url: str | None) -> None:
    """Raise a DataError unless a file has the registered hash: SHA-256, or "xxh128:...".

    size, url : of the registered file, for the message
    """
    algorithm, _, value = expected.rpartition(":")
    found = digest(path, algorithm or "sha256")
    both = f"{algorithm.upper() or 'SHA-256'} {found[:12]}..., expected {value[:12]}..., {size} bytes"
    way = f"Delete it, or get it again from {url or 'its source'}."
    require(found == value, f"{path}: not the registered file ({both}). {way}", DataError)


def digest(path: Path, algorithm: str = "sha256") -> str:
    """Hexadecimal hash of a file, computed once per process while its size and time do not change."""
    stat = path.stat()
    return _digest(path.resolve(), algorithm, stat.st_size, stat.st_mtime_ns)


@functools.cache
def _digest(path: Path, algorithm: str, *_: int) -> str:
    return sha256(path) if algorithm == "sha256" else pooch_().file_hash(path, alg=algorithm)
