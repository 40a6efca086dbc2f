"""The manifest of a result: by which code, on which machine and from what it was made, and the hash of every file.

    manifest.json        of a folder: one that `count`, `audit` or `make book` wrote
    NAME.manifest.json   of a weights file NAME.* that `train` wrote

A manifest is JSON with `runs`, one for each call that computed something; `files`, those that were written, and
`inputs`, those that were read: SHA-256 by kind and path. Its last line is a checksum of the others. Who changes a
result can write another manifest as well: accidents are found, and a forgery only if its checksum was published
elsewhere.
"""

import functools
import hashlib
import json
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import requires, version
from pathlib import Path, PurePath
from typing import Any, NamedTuple, Self

from cellcount import devices
from cellcount.errors import DISTRIBUTION, DataError, require
from cellcount.files import replacing, sha256

NAME, SUFFIX, FORMAT = "manifest.json", ".manifest.json", "cellcount manifest 1"
PACKAGE = Path(__file__).parent
LARGEST = 2**29  # bytes of a manifest; one of 10,000 images has 5 MB
INSTALLED = re.compile(r"([\w.]+?)-(\d[^-]*)(?:-.*)?\.(?:dist|egg)-info")
CORE, MEMORY = 12.0, 0.3725  # W of a core, and of a GB of memory
SOURCE = (
    "Lannelongue, Grealey and Inouye 2021, Green Algorithms, Advanced Science 8:2100707, doi:10.1002/advs.202100707; "
    "12 W is its value for a core of an unknown processor"
)
RULE = (
    f"estimate, not measured: (seconds of all cores x {CORE:g} W + seconds x GB of this machine's memory x {MEMORY} W "
    "+ seconds x power limit of the GPU, if one was used) / 3.6e6, without cooling and power supply (PUE 1)"
)
Files = dict[str, dict[str, str]]  # kind: {path: SHA-256}


class Change(NamedTuple):
    """A file that is not as the manifest says: "changed", "missing", "added" or "unread"; its kind; its path."""

    change: str
    kind: str
    file: str


@functools.cache
def commit() -> str:
    """The commit of the code, with "+" if files differ from it; the package's version outside of a clone."""
    here = Path(__file__).resolve().parent

    def git(*arguments: str | Path) -> str:
        return subprocess.run(["git", "-C", here, *arguments], capture_output=True, text=True, check=True).stdout

    try:
        found = git("rev-parse", "HEAD", "HEAD:./").split()[0]  # fails if another repository only surrounds the package
        changed = git("status", "--porcelain", "--untracked-files=no", "--", here)
        return found[:12] + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return f"cellcount {version(DISTRIBUTION)}"


def packages(every: bool = False) -> dict[str, str]:
    """Versions of the installed packages among those that results depend on, with all extras; or of `every` one.

    They are read from the names of the folders that every installer writes, since opening 300 files takes a second.
    """
    found: dict[str, str] = {}
    for folder in sys.path:
        with suppress(OSError):
            for name in os.listdir(folder or "."):
                if match := INSTALLED.fullmatch(name):
                    found.setdefault(_plain(match[1]), match[2])
    needed = {_plain(re.split(r"[^\w.-]", line)[0]) for line in requires(DISTRIBUTION) or () if '"test"' not in line}
    needed = {name for name in needed if name} | {"pixeltable-yolox"}  # which is installed without its dependencies
    return {name: found[name] for name in sorted(found) if every or name in needed}


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@dataclass(frozen=True)
class Clock:
    """The start of a computation: seconds of the wall clock and of all cores, this process' and its children's."""

    wall: float = field(default_factory=time.perf_counter)
    cores: float = field(default_factory=lambda: sum(os.times()[:4]))

    def spent(self) -> tuple[float, float]:
        """Seconds of the wall clock and of all cores since the start."""
        return time.perf_counter() - self.wall, sum(os.times()[:4]) - self.cores

    def earlier(self, seconds: float, cores: float) -> Self:
        """A clock that has started so much earlier, for what another process has computed."""
        return replace(self, wall=self.wall - seconds, cores=self.cores - cores)

    def run(
        self, command: str, parameters: Mapping[str, Any], device: str = "cpu", every: bool = False, **more: Any
    ) -> dict[str, Any]:
        """What a manifest says of a call that ends now.

        Parameters
        ----------
        command : str
            The verb.
        parameters : dict
            Its arguments, from which it can be run again.
        device : str
            As the caller of the verb gave it.
        every : bool
            Name the versions of all installed packages, not only of those that this one depends on.
        more
            Further entries.

        Returns
        -------
        dict of JSON values
        """
        seconds, cores = (round(value, 3) for value in self.spent())
        cpu, memory = devices.is_cpu(device), round((devices.memory() or 0) / 1e9, 1) or None
        gpu, code = devices.gpu(), commit()
        clone = not code.startswith("cellcount")
        watts = {"core": CORE, "GB of memory": MEMORY, "GPU": None if cpu or gpu is None else gpu[1]}
        joule = cores * CORE + seconds * ((memory or 0) * MEMORY + (watts["GPU"] or 0))
        return {
            "command": command, "parameters": json.loads(json.dumps(parameters, default=str)), **more,
            "commit": code.rstrip("+") if clone else None, "dirty": code.endswith("+") if clone else None,
            "cellcount": version(DISTRIBUTION), "python": platform.python_version(), "system": platform.platform(),
            "packages": packages(every), "cpu": devices.processor(), "cores": os.cpu_count(),
            "threads": devices.cpu_threads(), "memory_gb": memory, "gpu": gpu and gpu[0],
            "device": "cpu" if cpu else device, "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": seconds, "core_seconds": cores, "peak_memory_mb": devices.peak_memory_mb(),
            "energy": {"kwh": float(f"{joule / 3.6e6:.3g}"), "watts": watts, "rule": RULE, "source": SOURCE},
        }  # fmt: skip


def digest(files: Mapping[str, Mapping[str, str]]) -> str:
    """One SHA-256 of files, SHA-256 by kind and path."""
    listed = sorted((name, sha) for own in files.values() for name, sha in own.items())
    return hashlib.sha256(json.dumps(listed).encode()).hexdigest()


def text(content: Mapping[str, Any]) -> str:
    """A manifest as it is written, with its checksum."""
    return f'{_body(content)[:-2]},\n "checksum": "{checksum(content)}"\n}}\n'


def checksum(content: Mapping[str, Any]) -> str:
    """Hexadecimal SHA-256 of a manifest without its last line."""
    return hashlib.sha256(_body(content).encode()).hexdigest()


def _body(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=1)


def write(
    path: Path,
    what: str,
    runs: Iterable[Mapping[str, Any]],
    files: Mapping[str, Mapping[str, str]],
    places: Iterable[str] = (),
    inputs: Iterable[Mapping[str, Any]] = (),
    beside: Iterable[str] | None = None,
) -> Path:
    """Write a manifest, completely or not at all.

    Parameters
    ----------
    path : Path
    what : "count", "train", "audit", "chapters" or "site"
    runs : of `Clock.run`
    files : SHA-256 by kind and path, as seen from the manifest's folder
    places : paths of folders
        A file in one of these that is not there now, and not among `files`, is one that was added; "" is the
        manifest's folder, "x/**" is x with all below it, and "/**" all of the folder.
    inputs : dicts of `inputs_of`
    beside : paths
        Of what lay in `places` before the first call; None takes what is there now.
    """
    kinds = {kind: dict(sorted(own.items())) for kind, own in files.items() if own}
    content: dict[str, Any] = {
        "format": FORMAT,
        "what": what,
        "runs": list(runs),
        "places": list(places),
        "inputs": list(inputs),
    }
    known = [name for own in kinds.values() for name in own]
    require(
        path.is_file() or not os.path.lexists(path), f"{path} is no file. Remove it, and repeat the call.", DataError
    )
    if beside is None:
        beside = (one.file for one in added(path.parent, content["places"], known))
    content["beside"] = [name for name in beside if name not in known]
    with replacing(path) as temporary:
        temporary.write_text(text(content | {"files": kinds}), "utf-8")
    return path


def inputs_of(
    kind: str, name: str, files: Mapping[str, Mapping[str, str]], place: Path | None, path: Path
) -> dict[str, Any]:
    """Files that a result in the manifest `path` was made from, for `write`.

    Parameters
    ----------
    kind : "data", "weights", or "bundled": weights of this package, in whose folder the files are
    name : of a data set, a folder or a file; without the folders that hold it, which name people
    files : SHA-256 by kind and path, as seen from `place`
    place : Path or None
        The folder that they are in; remembered if it is in the manifest's folder.
    """
    here = Path(os.path.realpath(path.parent))
    there = None if place is None else Path(os.path.realpath(place))
    inside = there is not None and there.is_relative_to(here)
    relative = there.relative_to(here).as_posix() if there is not None and inside else None
    kinds = {kind: dict(sorted(own.items())) for kind, own in files.items() if own}
    return {"kind": kind, "name": name, "place": relative, "files": kinds}


def weights_of(file: Path, path: Path) -> dict[str, Any]:
    """A weights file, and the ONNX file beside it, as an input for `write` (path: of the manifest)."""
    found = {one.name: sha256(one) for one in (file, file.with_suffix(".onnx")) if one.is_file()}
    if not Path(os.path.realpath(file)).is_relative_to(os.path.realpath(PACKAGE)):
        return inputs_of("weights", file.name, {"weights": found}, file.parent, path)
    own = {file.with_name(name).relative_to(PACKAGE).as_posix(): digest for name, digest in found.items()}
    return inputs_of("bundled", file.name, {"weights": own}, None, path)


def read(path: Path) -> dict[str, Any]:
    """The content of a manifest, without its checksum.

    Raises
    ------
    DataError
        If it is missing, no manifest, differs in a byte from what was written, or names files outside of its folder.
    """
    try:
        size = path.stat().st_size if path.is_file() else LARGEST + 1
        require(size <= LARGEST, f"{path}: no manifest, or too large for one.", DataError)
        whole = path.read_bytes().decode("utf-8")
        content = json.loads(whole)
        known = isinstance(content, dict) and content.get("format") == FORMAT
        require(known, f"{path}: not a manifest of cellcount.", DataError)
        del content["checksum"]
        same = text(content) == whole
    except (OSError, ValueError, LookupError, RecursionError) as error:
        raise DataError(f"{path}: the manifest cannot be read ({error}).") from error
    told = f"{path}: the manifest was edited or damaged: its checksum is another. What it says proves nothing."
    require(same, told, DataError)
    _check(path, content)
    return content


def _check(path: Path, content: Mapping[str, Any]) -> None:
    """Raise a DataError unless a manifest has the form that `write` gives it, with no path out of its folder."""
    outside = []
    try:
        listed = [content["files"], *(one["files"] for one in content["inputs"])]
        names = [name for files in listed for own in files.values() for name in own]
        names += [one["place"] for one in content["inputs"] if one["place"] is not None]
        names += content["beside"]
        names += [place.removesuffix("/**") for place in content["places"]]
        texts = [name for files in listed for own in files.values() for pair in own.items() for name in pair]
        texts += [one[key] for one in content["inputs"] for key in ("kind", "name")]
        formed = all(isinstance(one, str) for one in texts) and isinstance(content["what"], str)
        formed = formed and all(isinstance(one["parameters"], dict) and one["command"] for one in content["runs"])
        outside = [name for name in names if name not in ("", ".") and not _inside(name)]
    except (LookupError, TypeError, AttributeError):
        formed = False
    require(formed, f"{path}: not a manifest as cellcount writes it.", DataError)
    require(not outside, f"{path}: it names a file outside of its folder: {outside[:1]}. Nothing was read.", DataError)


def _inside(name: str) -> bool:
    """Whether a path is relative, and stays in its folder, on this system."""
    path = PurePath(name)
    return name != "" and not path.anchor and ".." not in path.parts and "\0" not in name


def compare(files: Mapping[str, Mapping[str, str]], locate: Callable[[str], Path]) -> Iterator[Change]:
    """The changed and missing ones of files, SHA-256 by kind and path; `locate` gives the place of a path."""
    for kind, own in files.items():
        for name, expected in own.items():
            path = locate(name)
            try:
                if not os.path.lexists(path):
                    yield Change("missing", kind, name)
                elif sha256(path) != expected:  # regular files alone are read
                    yield Change("changed", kind, name)
            except FileNotFoundError:  # a link to nowhere
                yield Change("missing", kind, name)
            except OSError:
                yield Change("unread", kind, name)


def added(folder: Path, places: Iterable[str], known: Iterable[str]) -> Iterator[Change]:
    """Files in these places of a folder that are not `known`; hidden ones, and manifests, may come and go."""
    before = {*known}
    for place in places:
        deep, top = place.endswith("/**"), folder / place.removesuffix("/**").removeprefix("/")
        for where, folders, names in os.walk(top):
            folders[:] = sorted(folders) if deep else []
            for name in sorted(names):
                path = (Path(where) / name).relative_to(folder).as_posix()
                if path not in before and not name.startswith(".") and name not in (NAME, "Thumbs.db", "desktop.ini"):
                    yield Change("added", "file", path)


def hashes(folder: Path, places: Iterable[str], kind: Callable[[str], str]) -> Files:
    """SHA-256 by kind and path of all files in these places of a folder."""
    found: Files = {}
    for one in added(folder, places, ()):
        found.setdefault(kind(one.file), {})[one.file] = sha256(folder / one.file)
    return found
