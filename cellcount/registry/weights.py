"""The table of network weights, bundled and third-party, with their hashes."""

import importlib.util
import os
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cellcount.errors import DataError, NotAvailableError, require
from cellcount.registry.fetch import cache_root, demand, digest, download, local_root, megabytes, verify


@dataclass(frozen=True, kw_only=True)
class Weights:
    """One file of network weights.

    Attributes
    ----------
    url : str or None
        None if the file has no public address (it is then only looked for on this machine).
    sha256 : str or None
        None if its publisher gives none: see `pin`.
    command : str or None
        What installs the package that the file lies in.
    xxh128 : str or None
        What micro-SAM publishes instead. It detects a damaged file but not a forged one, so such a file must be read
        without running any code in it (`weights_only=True`).
    cache : sequence of str
        Where the method's own library keeps the file (`~` and environment variables are expanded), or
        "package:NAME/path" for a file in an installed package: looked at after CELLCOUNT_DATA, so that nothing is
        downloaded twice.
    """

    name: str
    filename: str
    bytes: int
    licence: str
    citation: str
    url: str | None = None
    command: str | None = None
    sha256: str | None = None
    xxh128: str | None = None
    cache: Sequence[str] = ()

    def fingerprint(self, digits: int | None = None) -> str:
        """The published hash after its name, cut to a number of digits; "" if there is none."""
        known = {"SHA-256": self.sha256, "XXH128": self.xxh128}
        return next((f"{name} {value[:digits]}" for name, value in known.items() if value), "")


_ENTRIES = tomllib.loads(Path(__file__).with_name("weights.toml").read_text("utf-8"))
WEIGHTS = {name: Weights(name=name, **entry) for name, entry in _ENTRIES.items()}


def known_weights(name: str) -> Weights:
    """The `Weights` entry of this name. Raises ParameterError with the known names."""
    require(name in WEIGHTS, f"There are no weights {name!r}; known are {', '.join(WEIGHTS)}.")
    return WEIGHTS[name]


def pin(name: str) -> str | None:
    """The hash that weights must have: the registry's, else the user's own; SHA-256, or "xxh128:..."; or None.

    Without a published hash, the registry cannot vouch for a file. A user who does adds a line to `weights/SHA256SUMS`
    in the folder named by CELLCOUNT_DATA or in the cache folder, as `sha256sum FILE` prints it.
    """
    entry = known_weights(name)
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
        If a file in one of these places is not the registered one, or has no known hash (`pin`).
    """
    entry = known_weights(name)
    ours = [folder / entry.filename for folder in _weights_folders()]
    for place in [*ours[:-1], *map(_expanded, entry.cache or ()), ours[-1]]:
        if place.is_file():
            expected = pin(name)
            if expected is None:
                raise DataError(
                    f"{place}: no SHA-256 of {name} is published, so this file cannot be verified. If you trust it, "
                    f"append the line `{digest(place)}  {entry.filename}` to {ours[0].parent / 'SHA256SUMS'}."
                )
            verify(place, expected, entry.bytes, entry.url)
            return place
    return None


def _expanded(cache: str) -> Path:
    """The path of a `Weights.cache`; one that does not exist if it is in a package that is not installed."""
    if not cache.startswith("package:"):
        return Path(os.path.expandvars(cache)).expanduser()
    package, _, inside = cache.removeprefix("package:").partition("/")
    found = importlib.util.find_spec(package)
    return Path(found.origin).parent / inside if found and found.origin else Path(package) / inside


def local_weights(name: str) -> Path:
    """The verified local path of weights. Raises NotAvailableError if they are not on this machine."""
    found = find_weights(name)
    if found is None:
        size = megabytes(known_weights(name).bytes)
        raise NotAvailableError(f"Not on this machine: weights {name} ({size}). To get them, {ways_to_weights(name)}.")
    return found


def fetch_weights(name: str, progress: bool = True) -> Path:
    """The verified local path of weights, downloaded if they are not on this machine. Raises like `fetch_file`.

    Weights without a hash are never downloaded: NotAvailableError then explains how to get them by hand.
    """
    entry, expected, ways = known_weights(name), pin(name), ways_to_weights(name)
    if expected is None or find_weights(name) is not None:
        return local_weights(name)
    url = demand(entry.url, f"weights {name}", entry.bytes, ways)
    return download(url, expected, cache_root() / "weights" / entry.filename, progress, ways)


def ways_to_weights(name: str) -> str:
    """How a user gets weights that are not on this machine, as part of a sentence."""
    entry = known_weights(name)
    source = f"from {entry.url} " if entry.url else ""
    first = f"run `{entry.command}`, or " if entry.command else ""
    ways = f"{first}put {entry.filename} {source}into the folder weights/ of the folder named by CELLCOUNT_DATA"
    if entry.sha256 or entry.xxh128:
        return ways
    return f"{ways}, and what `sha256sum {entry.filename}` prints into the file SHA256SUMS there"


def _weights_folders() -> list[Path]:
    """Folders of weights, CELLCOUNT_DATA's first if it is set; the last is the cache's."""
    return [folder / "weights" for folder in (local_root(), cache_root()) if folder is not None]
