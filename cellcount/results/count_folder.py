"""The folder that `cellcount count` writes: the counted images as a data set, and what the method found in them.

    images/NAME.ext      the counted image: a link, or a copy where links are impossible
    predictions/NAME.csv what the method found: columns image, y, x (px), label (empty), score
    overlays/NAME.png    the image with rings
    records.jsonl        one line for each counted image: its count, hashes and settings
    summary.json         the records and the failures, put together at the end of each call; counts.csv is its table
    dataset.toml         the channel, the pixel size if it is known, and `predictions = true`
    annotations/         corrections, made by a person or another tool; never touched here

The line in records.jsonl is written last, so that a call that was killed is resumed by the same call: images with the
same content, method, parameters, weights and channel are not counted again.
"""

import errno
import functools
import hashlib
import itertools
import json
import os
import shutil
import sys
import tomllib
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, NamedTuple

from cellcount.counting import Failure, Image, Result, counted, find_images, told, try_file
from cellcount.errors import DISTRIBUTION, CellcountError, DataError, require
from cellcount.files import TEMPORARY, replacing, sha256, write_csv
from cellcount.io import folders
from cellcount.io.images import SUFFIXES
from cellcount.io.problems import Problem, errors, raise_errors
from cellcount.methods import METHODS, base

IMAGES, PREDICTIONS, OVERLAYS = "images", "predictions", "overlays"
RECORDS, SUMMARY, TABLE, SETTINGS = "records.jsonl", "summary.json", "counts.csv", "dataset.toml"
LISTED = 10  # names in one message
# Errors of a file's name or of the image itself; others of writing, such as a full disk, meet every image.
OF_ONE_IMAGE = (errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ, errno.ENOENT)


class Known(NamedTuple):
    """What the index of a count folder keeps of an image: hexadecimal SHA-256, and where its record is, in bytes."""

    source: str
    file: str
    run: str
    image_sha256: str
    predictions_sha256: str
    offset: int


@dataclass(frozen=True)
class Entry:
    """An image in a count folder.

    Attributes
    ----------
    image : str
        Its path, as it was given.
    record : dict
        `Result.summary`, with the name, hashes and files of the image in the folder.
    kept : bool
        Whether an earlier call counted it with the same settings.
    warnings : tuple of str
    """

    image: str
    record: dict[str, Any]
    kept: bool
    warnings: tuple[str, ...] = ()


@dataclass
class Counts:
    """What a call of `count_folder` did.

    Attributes
    ----------
    folder : CountFolder
    names : list of str
        Of the images that the folder has now, of those given.
    counted, kept, twice : int
        Numbers of images that were counted, that had been counted before with these settings, and that were given
        more than once.
    failed : list of Failure
    """

    folder: "CountFolder"
    names: list[str] = field(default_factory=list)
    counted: int = 0
    kept: int = 0
    twice: int = 0
    failed: list[Failure] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """0, or the highest exit code of the failures."""
        return max((failure.error.exit_code for failure in self.failed), default=0)

    def json(self) -> Iterator[str]:
        """A JSON document in parts: folder, images (records of those that were given), failed, exit_code."""
        more = {"folder": str(self.folder.path), "exit_code": self.exit_code}
        return self.folder.document(self.names, self.failed, **more)


@dataclass(frozen=True)
class Plan:
    """Where the results of an image go: its name in the folder, its file there, and the SHA-256 of its content."""

    name: str
    file: str
    source: str
    sha256: str


def count_folder(
    images: Sequence[str | Path],
    out: str | Path,
    *,
    again: bool = False,
    channel: str | None = None,
    each: Callable[[Entry | Failure, int], None] = lambda one, total: None,
    method: str = "cellnet",
    weights: str | Path | None = None,
    device: str = "auto",
    progress: bool = True,
    **params: Any,
) -> Counts:
    """Count images, and write their results to a folder, which `cellcount.load` and `train` read; see this module.

    Images that an earlier call counted with the same settings are kept, and not counted again. However the call ends,
    what was finished is kept, and the summary has it.

    Parameters
    ----------
    images : list of paths
        Files of images, (H, W) or (H, W, 3), folders, or patterns such as "plate/*.png".
    out : path of the folder
    again : bool
        Count images again that were counted with the same settings.
    channel : "auto", "red", "green", "blue", "mean" or None
        None takes the one in the `dataset.toml` of the folders in `images`, or else "auto".
    each : function
        Called with the `Entry` or `Failure` of each image, in their order, and the number of images.
    method, weights, device, progress, params
        As in `cellcount.count`.

    Returns
    -------
    Counts

    Raises
    ------
    DataError
        If the folder cannot be written, is not one of these, has another channel, or has corrections of images that
        would get other predictions. Nothing was computed then.
    NotAvailableError, ParameterError
        As `cellcount.count`, before anything is computed.
    CellcountError
        If a result cannot be written. What was finished before is kept.
    """
    given = find_images(list(images))
    require(not any(hasattr(image, "__array_interface__") for image in given), "Give paths of images, not arrays.")
    channel, pixel_size_um = _described(images, channel)
    folder = CountFolder(out)
    sources: dict[str, Path] = {}
    for path in map(Path, map(str, given)):
        sources.setdefault(folder.source(path), path)
    paths = list(sources.values())
    find = functools.partial(folder.known, again=again)
    found = counted(
        paths, channel=channel, known=find, method=method, weights=weights, device=device, progress=progress, **params
    )
    done = Counts(folder, twice=len(given) - len(paths))
    with folder.opened(run_settings(method, channel, weights, params), channel, pixel_size_um):
        folder.refuse_corrected(paths, again)
        try:
            for path, one in zip(paths, found, strict=True):
                entry = folder.finished(path, one)
                if isinstance(entry, Failure):
                    done.failed.append(entry)
                else:
                    done.names.append(entry.record["name"])
                    done.kept, done.counted = done.kept + entry.kept, done.counted + (not entry.kept)
                each(entry, len(paths))
        except BaseException:
            folder.compose(done.failed, quietly=True)
            raise
        folder.compose(done.failed)
    return done


def run_settings(method: str, channel: str, weights: str | Path | None, params: dict[str, Any]) -> dict[str, Any]:
    """All that determines the result on an image: method, channel, every parameter, and the weights' SHA-256."""
    chosen = METHODS[method]
    known = {name: parameter.default for name, parameter in base.parameters(chosen.predict).items()}
    given = {name: value for name, value in (known | params).items() if name not in base.CONTEXT}
    named = given.pop("weights", None) if weights is None else weights
    file = getattr(chosen, "SHIPPED", None) if named is None else named
    described = {
        name: float(value) if isinstance(value, int) and not isinstance(value, bool) else value
        for name, value in given.items()
        if name != "weights"
    }
    if file is not None and os.path.isfile(str(file)):
        named = sha256(str(file))
    return {"method": method, "channel": channel, "weights": named, "parameters": described}


def _described(images: Iterable[Image], channel: str | None) -> tuple[str, float | None]:
    """Channel and pixel size from the `dataset.toml` of folders among the images; a `channel` that is given counts."""
    found = [_toml(Path(str(one))) for one in images if os.path.isdir(str(one))]
    channels = list(dict.fromkeys(one.get("channel", "auto") for one in found))
    several = f"The folders are read in different channels ({', '.join(map(str, channels))}); give one with --channel."
    require(channel or len(channels) < 2, several, DataError)
    sizes = {one.get("pixel_size_um") for one in found}
    size = sizes.pop() if len(sizes) == 1 else None
    return channel or (channels or ["auto"])[0], size if isinstance(size, (int, float)) else None


def _toml(folder: Path) -> dict[str, Any]:
    """The settings in the `dataset.toml` of a folder; {} if there is none."""
    path = folder / SETTINGS
    try:
        return tomllib.loads(path.read_text("utf-8-sig"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: it cannot be read ({error}). Correct it.") from error


class CountFolder:
    """The folder of `count_folder`; `opened` locks and reads it, and its other methods may be called then.

    Attributes
    ----------
    path : Path
    index : dict of name to Known
        The last record of each image.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.real = Path(os.path.realpath(path))
        self.index: dict[str, Known] = {}
        self._sources: dict[str, str] = {}  # source: name
        self._files: dict[str, str] = {}  # file in the folder: source
        self._taken: dict[str, str] = {}  # name, as disks compare names: source
        self._loose: dict[str, str] = {}  # the same of images in the folder without a record: file
        self._numbers: dict[str, Iterator[int]] = {}
        self._plans: dict[Path, Plan] = {}

    # Opening: everything that can be wrong with the folder is found before an image is read.

    def opened(self, run: dict[str, Any], channel: str, pixel_size_um: float | None) -> "CountFolder":
        """Lock the folder and read its records; a context manager. Raises DataError if it cannot be used."""
        self.run = run
        self.key = hashlib.sha256(json.dumps(run, sort_keys=True, default=str).encode()).hexdigest()[:16]
        self.version = version(DISTRIBUTION)
        records = self.path / RECORDS
        earlier = next(iter(self.path.glob(f"*{folders.POINTS}")), None) if (self.path / SUMMARY).exists() else None
        if not records.exists() and (earlier or (self.path / SUMMARY).exists()):
            what = f"{earlier.name}, of an earlier version of cellcount" if earlier else f"a {SUMMARY} of other origin"
            raise DataError(f"{self.path} has {what}. Choose another folder with --out, or remove these results.")
        for name in (f"{IMAGES}/x", f"{PREDICTIONS}/x", f"{OVERLAYS}/x", SUMMARY, TABLE, RECORDS):
            try_file(self.path / name)
        self._check_settings(channel)
        self._records: BinaryIO = open(records, "a+b")
        self._reading: BinaryIO = open(records, "rb")
        try:
            self._lock()
            self._read()
            self._tidy()
            if not (self.path / SETTINGS).exists():
                lines = [f"channel = {json.dumps(channel)}", "predictions = true"]
                lines += [] if pixel_size_um is None else [f"pixel_size_um = {float(pixel_size_um)!r}"]
                with replacing(self.path / SETTINGS) as temporary:
                    temporary.write_text("\n".join(lines) + "\n", "utf-8")
        except BaseException:
            self._close()
            raise
        return self

    def __enter__(self) -> "CountFolder":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def _close(self) -> None:
        self._reading.close()
        self._records.close()

    def _check_settings(self, channel: str) -> None:
        """Raise a DataError if there is a `dataset.toml` of other data, or of another channel."""
        path, found = self.path / SETTINGS, _toml(self.path)
        own = f"{path}: `predictions = true` is missing. Add it if results may be written to this folder, or choose "
        require(found.get("predictions", not path.exists()) is True, f"{own}another one with --out.", DataError)
        before = found.get("channel", "auto" if path.exists() else channel)
        other = f"{self.path} has images read in the channel {before}, and this call reads {channel}. Choose another "
        require(before == channel, f"{other}folder with --out, or --channel {before}.", DataError)

    def _lock(self) -> None:
        """Refuse to write beside another call; the system ends the lock with the process. Not on Windows."""
        try:
            import fcntl
        except ModuleNotFoundError:
            return
        try:
            fcntl.flock(self._records, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DataError(f"{self.path}: another call is writing to this folder. Wait until it has ended.") from error
        except OSError:  # some network disks have no locks
            pass

    def _read(self) -> None:
        """Fill the index from the records; a last line without an end, of a call that was killed, is cut off."""
        offset = 0
        self._records.seek(0)
        for number, line in enumerate(self._records, 1):
            if not line.endswith(b"\n"):
                self._records.truncate(offset)
                break
            try:
                record = json.loads(line)
                self._add(record["name"], _known(record, offset))
            except (ValueError, LookupError, TypeError) as error:
                raise DataError(
                    f"{self.path / RECORDS}, line {number}: not a record of `cellcount count`. Choose another folder "
                    "with --out."
                ) from error
            offset += len(line)
        for prefix in (f"{IMAGES}/", ""):
            for name in sorted(os.listdir(self.real / prefix)):
                if name.lower().endswith(SUFFIXES) and prefix + name not in self._files:
                    self._loose.setdefault(_folded(Path(name).stem), prefix + name)

    def _add(self, name: str, known: Known) -> None:
        before = self.index.get(name)
        if before is not None:
            self._sources.pop(before.source, None)
        self.index[name] = known
        self._sources[known.source] = name
        self._files[known.file] = known.source
        self._taken[_folded(name)] = known.source

    def _tidy(self) -> None:
        """Remove the temporary files of a call that was killed."""
        for place, suffixes in ((".", (".json", ".csv")), (IMAGES, SUFFIXES), (PREDICTIONS, (".csv",)), (OVERLAYS, ())):
            for file in (self.path / place).glob(f"{TEMPORARY}*"):
                if file.suffix.lower() in (suffixes or (".png",)):
                    file.unlink(missing_ok=True)

    # One image: which name and record it has, and what is written for it.

    def source(self, path: Path) -> str:
        """What identifies an image: its path without links, or, for one of the images here, that of its record."""
        parent = Path(os.path.realpath(path.parent))
        if parent in (self.real, self.real / IMAGES):
            file = (parent / path.name).relative_to(self.real).as_posix()
            if file in self._files:
                return self._files[file]
        return os.path.realpath(path)

    def known(self, path: Any, again: bool = False) -> Plan | None:
        """The `Plan` of an image that need not be counted again, or None; read in the thread that reads images.

        Raises
        ------
        DataError
            If it has to be counted, but its predictions were edited.
        """
        path = Path(path)
        try:
            plan = self._plan(path)
        except OSError:
            return None  # opening it says why
        self._plans[path] = plan
        before = self.index.get(plan.name)
        predictions = self.path / PREDICTIONS / f"{plan.name}.csv"
        if before is None or not predictions.is_file():
            return None
        same = (before.run, before.image_sha256) == (self.key, plan.sha256)
        if same and not again and (self.path / plan.file).is_file():
            return plan
        if sha256(predictions) != before.predictions_sha256:
            raise DataError(
                f"{path} has to be counted again, but {predictions} was edited: move that file to "
                f"{self.path / 'annotations'} and choose another --out, or delete it."
            )
        return None

    def _plan(self, path: Path) -> Plan:
        source, content = self.source(path), sha256(path)
        name = self._sources.get(source)
        if name is None:
            stem = "".join("_" if "\ud800" <= letter <= "\udfff" else letter for letter in path.stem)  # no text
            numbers = self._numbers.setdefault(stem, itertools.count(2))
            names = itertools.chain([stem], (f"{stem}-{number}" for number in numbers))
            name = next(name for name in names if self._free(name, path, content))
            self._taken[_folded(name)], self._sources[source] = source, name
        if name in self.index:
            return Plan(name, self.index[name].file, source, content)
        inside = os.path.realpath(path.parent) == str(self.real) and path.stem == name
        return Plan(name, path.name if inside else f"{IMAGES}/{name}{path.suffix}", source, content)

    def _free(self, name: str, path: Path, content: str) -> bool:
        """Whether an image without a record, and with this SHA-256, can have this name."""
        folded = _folded(name)
        if folded in self._taken:  # another image has it, unless that one was moved
            before = self.index.get(name)
            return before is not None and before.image_sha256 == content and not os.path.exists(before.source)
        if folded in self._loose:  # of the data set that was here before, or of a call that was killed
            loose = self.real / self._loose[folded]
            if not loose.exists() or os.path.samefile(loose, path):
                return True
            return loose.parent != self.real and loose.suffix == path.suffix and sha256(loose) == content
        return True

    def finished(self, path: Path, one: Result | Plan | Failure) -> Entry | Failure:
        """The Entry of an image that was counted, after writing its results, or was known; or its Failure.

        Raises
        ------
        CellcountError
            If no further result can be written.
        """
        plan = self._plans.pop(path, None)
        if isinstance(one, Failure):
            return one
        if isinstance(one, Plan):
            edited = f"{PREDICTIONS}/{one.name}.csv was edited; corrections belong in {self.path / 'annotations'}."
            before = self.index[one.name]
            same = sha256(self.path / PREDICTIONS / f"{one.name}.csv") == before.predictions_sha256
            return Entry(str(path), self._record(one.name, self._reading), True, () if same else (edited,))
        try:
            record = self._write(path, plan or self._plan(path), one)
        except OSError as error:
            if error.errno in OF_ONE_IMAGE:
                return Failure(str(path), DataError(f"its results cannot be written ({error})."))
            raise CellcountError(
                f"{self.path}: results cannot be written ({error}). The {len(self.index)} images that it has are "
                "complete; the same call counts the others."
            ) from error
        return Entry(str(path), record, False, tuple(record["warnings"]))

    def _write(self, path: Path, plan: Plan, one: Result) -> dict[str, Any]:
        """Write link, predictions, overlay and, last, the record, which is returned."""
        points, overlay = f"{PREDICTIONS}/{plan.name}.csv", f"{OVERLAYS}/{plan.name}.png"
        _link(path, self.path / plan.file)
        replace(one, image=Path(plan.file).name).to_csv(self.path / points)
        record = one.summary() | {
            "channel": one.channel, "parameters": self.run["parameters"], "points": points, "overlay": overlay,
            "overlay_shrunken_by": 1, "name": plan.name, "file": plan.file, "source": plan.source, "run": self.key,
            "image_sha256": plan.sha256, "predictions_sha256": sha256(self.path / points), "cellcount": self.version,
        }  # fmt: skip
        try:
            record["overlay_shrunken_by"] = one.save_overlay(self.path / overlay)
        except OSError:
            raise
        except Exception as error:  # the points are worth more than their picture
            record |= {"overlay": None, "warnings": [*one.warnings, f"It has no overlay ({told(error)})."]}
        line = (json.dumps(record, default=str) + "\n").encode()
        end = self._records.seek(0, os.SEEK_END)
        try:
            self._records.write(line)
            self._records.flush()
        except OSError:
            self._records.truncate(end)
            raise
        self._add(plan.name, _known(record, end))
        return record

    # All images: the summary, its table, and what a person has corrected.

    def _record(self, name: str, file: BinaryIO) -> dict[str, Any]:
        file.seek(self.index[name].offset)
        record: dict[str, Any] = json.loads(file.readline())
        return record

    def records(self, names: Iterable[str]) -> Iterator[dict[str, Any]]:
        """The last record of each of these images, read one at a time."""
        with open(self.path / RECORDS, "rb") as file:
            for name in names:
                yield self._record(name, file)

    def document(self, names: Iterable[str], failed: Sequence[Failure], **more: Any) -> Iterator[str]:
        """A JSON document in parts: `more`, images (the records of these names), and failed."""
        yield "{\n" + "".join(f" {json.dumps(key)}: {json.dumps(value)},\n" for key, value in more.items())
        yield ' "images": ['
        for number, record in enumerate(self.records(names)):
            yield f"{',' if number else ''}\n  {json.dumps(record)}"
        rows = [json.dumps({"image": failure.image, "error": str(failure.error)}) for failure in failed]
        yield "\n ],\n" + ' "failed": [' + ",".join(f"\n  {row}" for row in rows) + "\n ]\n}\n"

    def compose(self, failed: Sequence[Failure], quietly: bool = False) -> None:
        """Write `summary.json` and `counts.csv` from all records, and from the failures of this call.

        Raises
        ------
        CellcountError
            If they cannot be written, unless `quietly`.
        """
        try:
            with replacing(self.path / SUMMARY) as temporary, open(temporary, "w", encoding="utf-8") as file:
                file.writelines(self.document(self.index, failed))
            write_csv(self.path / TABLE, ("image", "count", "low", "high", "warnings"), self._table(failed))
        except OSError as error:
            if not quietly:
                raise CellcountError(
                    f"{self.path / SUMMARY} cannot be written ({error}). {RECORDS} has all counts; the same call "
                    "writes the summary."
                ) from error

    def _table(self, failed: Sequence[Failure]) -> Iterator[tuple[object, ...]]:
        for record in self.records(self.index):
            low, high = record["count_interval"] or ("", "")
            yield _text(record["image"]), f"{record['count']:.10g}", low, high, " ".join(record["warnings"])
        for failure in failed:
            yield _text(failure.image), "", "", "", f"not counted: {failure.error}"

    def refuse_corrected(self, paths: Sequence[Path], again: bool) -> None:
        """Raise a DataError if images that would be counted have annotations, which correct what was found before."""
        files = folders.files_of(self.path)
        files = folders.annotations_of(files, folders.images_of(files))
        corrected, broken = _annotated(files) if files else (set(), [])
        names = []
        for path in paths if files else ():
            name = self._sources.get(self.source(path), path.stem)
            if _folded(name) in corrected or broken and name in self.index:
                with suppress(DataError):  # a failure of this image: it will not be counted
                    names += [] if self.known(path, again) or path not in self._plans else [name]
        if not names:
            return
        raise_errors(
            broken, f"{self.path} may have corrections of what would be counted again, and they are unreadable:"
        )
        several = ", ".join(names[:LISTED]) + f" and {len(names) - LISTED} more" * (len(names) > LISTED)
        raise DataError(
            f"{self.path} has corrections of {several}. They belong to what was found before, and these images would "
            "be counted again. Choose another folder with --out."
        )


def _annotated(files: Iterable[Path]) -> tuple[set[str], list[Problem]]:
    """The images that annotation files name, as `_folded` stems, and the errors in these files."""
    from cellcount.io import beside, points

    names: list[str] = []
    broken: list[Problem] = []
    for file in files:
        found, problems = points.read(file)
        broken += errors(problems)
        names += [Path(one.image.replace("\\", "/")).name for one in found]
    return {_folded(Path(form).stem) for name in names for form in (name, beside.UPLOAD_PREFIX.sub("", name))}, broken


def _known(record: dict[str, Any], offset: int) -> Known:
    run = sys.intern(record["run"])
    return Known(record["source"], record["file"], run, record["image_sha256"], record["predictions_sha256"], offset)


def _folded(name: str) -> str:
    """A name as disks compare names that do not tell a.png from A.png, or an accented letter from its parts."""
    return unicodedata.normalize("NFC", name).casefold()


def _text(path: str) -> str:
    """A path that is no text (bytes of another encoding), as text."""
    return path.encode("utf-8", "backslashreplace").decode()


def _link(source: Path, target: Path) -> None:
    """Make `target` the same file as `source`.

    A hard link survives when the folder or the image is moved; on another disk there is a symbolic link; where neither
    is possible, a copy. What was there before is replaced, and never written to: it may be a link, too.
    """
    real = os.path.realpath(source)
    if os.path.exists(target) and os.path.samefile(real, target):
        return
    temporary = target.with_name(f"{TEMPORARY}{os.getpid()}{target.suffix}")
    for make in (os.link, os.symlink, shutil.copyfile):
        temporary.unlink(missing_ok=True)
        try:
            make(real, temporary)
            break
        except (OSError, NotImplementedError):
            if make is shutil.copyfile:
                temporary.unlink(missing_ok=True)
                raise
    os.replace(temporary, target)
