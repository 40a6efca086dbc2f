"""One table of network weights, ours and third-party, with their hashes."""

import importlib.util
import os
import tomllib
from dataclasses import dataclass
from pathlib import Path

from cellcount.errors import DataError, NotAvailableError, ParameterError
from cellcount.registry.fetch import cache_root, demand, digest, download, local_root, megabytes, verify


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


def _read_weights() -> dict[str, Weights]:
    known = tomllib.loads(Path(__file__).with_name("weights.toml").read_text("utf-8"))
    absent = {"url": None, "sha256": None, "cache": ()}  # without a hash at all, see `pin`
    return {
        name: Weights(name, **absent | entry | {"cache": tuple(entry.get("cache", ()))})
        for name, entry in known.items()
    }


WEIGHTS: dict[str, Weights] = _read_weights()


def known_weights(name: str) -> Weights:
    """The `Weights` entry of this name. Raises ParameterError with the known names."""
    if name not in WEIGHTS:
        raise ParameterError(f"There are no weights {name!r}; known are {', '.join(WEIGHTS) or 'none yet'}.")
    return WEIGHTS[name]


def pin(name: str) -> str | None:
    """The hash that weights must have, or None: the registry's, else the user's own; SHA-256, or "xxh128:...".

    Where upstream publishes no hash, nobody here can vouch for a file. A user who does writes a line into
    `weights/SHA256SUMS` of the folder named by CELLCOUNT_DATA or of the cache folder, as `sha256sum FILE` prints it.
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
        If a file lies at one of these places but is not the registered one, or nobody has vouched for it (`pin`).
    """
    entry = known_weights(name)
    named = (entry.cache,) if isinstance(entry.cache, str) else entry.cache or ()
    caches = [_expanded(cache) for cache in named]
    ours = [folder / entry.filename for folder in _weights_folders()]
    for place in [*ours[:-1], *caches, ours[-1]]:
        if place.is_file():
            expected = pin(name)
            if expected is None:
                raise DataError(
                    f"{place}: no SHA-256 of {name} is published, so nothing vouches for this file. If you trust it, "
                    f"append the line `{digest(place)}  {entry.filename}` to {ours[0].parent / 'SHA256SUMS'}."
                )
            verify(place, expected, entry.bytes, entry.url)
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
    """The verified local path of weights, downloaded if they are nowhere. Raises like `fetch_file`.

    Weights without a hash are never downloaded: NotAvailableError then says how to get them by hand.
    """
    found = find_weights(name)
    if found is not None:
        return found
    entry = known_weights(name)
    expected = pin(name)
    ways = ways_to_weights(name)
    if expected is None:
        raise NotAvailableError(f"Not on this machine: weights {name} ({megabytes(entry.bytes)}). To get them, {ways}.")
    url = demand(entry.url, f"weights {name}", entry.bytes, ways)
    return download(url, expected, cache_root() / "weights" / entry.filename, progress, ways)


def ways_to_weights(name: str) -> str:
    """How a user gets weights that are not on this machine, as part of a sentence."""
    entry = known_weights(name)
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
