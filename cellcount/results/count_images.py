"""The images of a count folder: their names, what is known of them, and writing the results of one."""

from __future__ import annotations

import errno
import hashlib
import itertools
import json
import os
import shutil
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from cellcount.counting import Failure, Result, told, try_file
from cellcount.errors import CellcountError, DataError, require
from cellcount.files import TEMPORARY, replacing, sha256
from cellcount.io import folders
from cellcount.io.images import SUFFIXES
from cellcount.io.problems import Problem, errors, listed, problem, raise_errors
from cellcount.results.count_records import RECORDS, SUMMARY, TABLE, Known, Records

if TYPE_CHECKING:
    from cellcount.io.points import Annotation

IMAGES, PREDICTIONS, OVERLAYS, SETTINGS = "images", "predictions", "overlays", "dataset.toml"
SENT = "labelstudio/project.json"  # of `cellcount labelstudio push`
# Errors of a file's name or of the image itself; others of writing, such as a full disk, meet every image.
OF_ONE_IMAGE = (errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ, errno.ENOENT)


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


@dataclass(frozen=True)
class Plan:
    """Where the results of an image go: its name in the folder, its file there, its source, and its SHA-256."""

    name: str
    file: str
    source: str
    sha256: str


class CountFolder(Records):
    """The folder of `cellcount.results.count_folder`, open for one call.

    Parameters
    ----------
    path : path of the folder
    run : dict
        What determines a result, besides the image; see `run_settings`.
    pixel_size_um : float or None
    weights : path or name of the weights that were given, or None

    Attributes
    ----------
    lost : list of str
        Names of images with a record of which neither the image nor the predictions are here; they are left out.

    Raises
    ------
    DataError
        When it is entered, if it cannot be written, or has other data; nothing was changed then.
    """

    def __init__(
        self,
        path: str | Path,
        run: dict[str, Any],
        pixel_size_um: float | None = None,
        weights: str | Path | None = None,
    ) -> None:
        super().__init__(path)
        self.weights = os.path.abspath(weights) if weights and os.path.isfile(weights) else weights and str(weights)
        self.run, self.channel, self.pixel_size_um = run, run["channel"], pixel_size_um
        self.key = hashlib.sha256(json.dumps(run, sort_keys=True, default=str).encode()).hexdigest()[:16]
        self._sources: dict[str, str] = {}  # source: name
        self._files: dict[str, str] = {}  # file in the folder: source
        self._taken: set[str] = set()  # names, as disks compare names
        self._loose: dict[str, str] = {}  # the same of images in the folder without a record: file
        self._numbers: dict[str, Iterator[int]] = {}  # the next number of a name
        self._plans: dict[Path, Plan] = {}

    def __enter__(self) -> Self:
        self._refuse_links()
        try_file(self.path / RECORDS)
        self._check()
        for name in (f"{IMAGES}/x", f"{PREDICTIONS}/x", f"{OVERLAYS}/x", SUMMARY, TABLE):
            try_file(self.path / name)
        super().__enter__()
        self.real = Path(os.path.realpath(self.path))
        self.lost = [name for name, known in self.index.items() if not self._any_of(name, known.file)]
        for name in self.lost:
            del self.index[name]
        for name, known in self.index.items():
            self._note(name, known)
        for prefix in (f"{IMAGES}/", ""):
            for name in sorted(os.listdir(self.real / prefix)):
                if name.lower().endswith(SUFFIXES) and prefix + name not in self._files:
                    self._loose.setdefault(_folded(Path(name).stem), prefix + name)
        self._tidy()
        if not (self.path / SETTINGS).exists():
            lines = [f"channel = {json.dumps(self.channel)}", "predictions = true"]
            lines += [] if self.pixel_size_um is None else [f"pixel_size_um = {float(self.pixel_size_um)!r}"]
            with replacing(self.path / SETTINGS) as temporary:
                temporary.write_text("\n".join(lines) + "\n", "utf-8")
        return self

    def _refuse_links(self) -> None:
        """Raise a DataError if a file that would be replaced is a link to somewhere else: the folder may be foreign."""
        real = os.path.realpath(self.path)
        places = [self.path / name for name in (*folders.WRITTEN, SETTINGS)]
        for inner in (PREDICTIONS, OVERLAYS):
            if os.path.isdir(self.path / inner):
                places += [Path(one) for one in os.scandir(self.path / inner)]
        for place in places:
            if os.path.islink(place) and not Path(target := os.path.realpath(place)).is_relative_to(real):
                away = f"{place} is a link to {target}, outside of the folder, which would be overwritten."
                raise DataError(f"{away} Remove the link, or choose another folder with --out.")

    def _any_of(self, name: str, file: str) -> bool:
        """Whether the image with this name, or what was found in it, is in the folder: its record may be a copy."""
        return os.path.lexists(self.real / file) or os.path.lexists(self.real / PREDICTIONS / f"{name}.csv")

    def _check(self) -> None:
        """Raise a DataError if the folder has results of other origin, or a `dataset.toml` of other data."""
        earlier = next(iter(self.path.glob(f"*{folders.POINTS}")), None)
        what = f"{earlier.name}, of an earlier version of cellcount" if earlier else f"a {SUMMARY} of other origin"
        own = (self.path / RECORDS).exists() or not (self.path / SUMMARY).exists()
        require(own, f"{self.path} has {what}. Choose another folder with --out, or remove these results.", DataError)
        path, found = self.path / SETTINGS, settings(self.path)
        lacking = (
            f"{path}: `predictions = true` is missing. Add it if results may be written to this folder, or choose "
        )
        require(found.get("predictions", not path.exists()) is True, f"{lacking}another one with --out.", DataError)
        before = found.get("channel", "auto") if path.exists() else self.channel
        other = f"{self.path} has images read in the channel {before}, and this call reads {self.channel}. Choose "
        require(before == self.channel, f"{other}another folder with --out, or --channel {before}.", DataError)

    def _tidy(self) -> None:
        """Remove the temporary files of a call that was killed."""
        for place in (".", IMAGES, PREDICTIONS, OVERLAYS):
            for file in (self.path / place).glob(f"{TEMPORARY}*"):
                if not file.is_dir() and (place != "." or file.suffix in ("", ".json", ".csv", ".toml")):
                    file.unlink(missing_ok=True)

    def _note(self, name: str, known: Known) -> None:
        self._sources[known.source], self._files[known.file] = name, known.source
        self._taken.add(_folded(name))

    def unique(self, paths: Iterable[Path]) -> list[Path]:
        """The paths without those of an image that another one has named before."""
        found: dict[str, Path] = {}
        for path in paths:
            found.setdefault(self._source(path), path)
        return list(found.values())

    def _source(self, path: Path) -> str:
        """What identifies an image: its path without links, or, for one of the images here, that of its record."""
        parent = Path(os.path.realpath(path.parent))
        if parent in (self.real, self.real / IMAGES):
            file = (parent / path.name).relative_to(self.real).as_posix()
            if file in self._files:
                return self._files[file]
        return os.path.realpath(path)

    def known(self, path: Any, again: bool = False) -> Plan | None:
        """The `Plan` of an image that need not be counted again, or None; called in the thread that reads images.

        Raises
        ------
        DataError
            If it has to be counted, but its predictions were edited.
        """
        path = Path(path)
        if path.suffix.lower() not in SUFFIXES or not os.path.isfile(path):
            return None  # opening it says why; reading a pipe would not end
        try:
            plan = self._plans[path] = self._plan(path)
        except OSError:
            return None
        before = self.index.get(plan.name)
        if before is None:
            return None
        predictions = self.path / PREDICTIONS / f"{plan.name}.csv"
        there = predictions.is_file()
        same = (before.run, before.image_sha256, there) == (self.key, plan.sha256, bool(before.predictions_sha256))
        same = same and (not before.overlay or (self.path / OVERLAYS / f"{plan.name}.png").is_file())
        if same and not again and (self.path / plan.file).is_file():
            return plan
        if there and sha256(predictions) != before.predictions_sha256:
            raise DataError(
                f"{path} would be counted again, but {predictions} was edited: move that file to "
                f"{self.path / folders.SEARCHED[1]} and choose another --out, or delete it."
            )
        return None

    def _plan(self, path: Path) -> Plan:
        source, content = self._source(path), sha256(path)
        name = self._sources.get(source)
        if name is None:
            stem = name = "".join("_" if "\ud800" <= letter <= "\udfff" else letter for letter in path.stem)  # no text
            if not self._free(stem, path, content):
                numbers = self._numbers.setdefault(stem, itertools.count(2))
                name = next(name for n in numbers if self._free(name := f"{stem}-{n}", path, content))
            self._taken.add(_folded(name))
            self._sources[source] = name
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
            points, before = f"{PREDICTIONS}/{one.name}.csv", self.index[one.name].predictions_sha256
            edited = f"{points} was edited; corrections belong in {self.path / folders.SEARCHED[1]}."
            try:
                same = not before or sha256(self.path / points) == before
            except OSError as error:
                return Failure(str(path), DataError(f"{self.path / points} cannot be read ({error.strerror})."))
            return Entry(str(path), self.record(one.name), True, () if same else (edited,))
        try:
            record = self._write(path, plan or self._plan(path), one)
        except OSError as error:
            if error.errno in OF_ONE_IMAGE and os.path.exists(self.path / RECORDS):
                return Failure(str(path), DataError(f"its results cannot be written ({error})."))
            raise CellcountError(
                f"{self.path}: results cannot be written ({error}). The {len(self.index)} images that it has are "
                "complete; the same call counts the others."
            ) from error
        return Entry(str(path), record, False, (*record["warnings"], *self._sent_before(record)))

    def _sent_before(self, record: dict[str, Any]) -> list[str]:
        """A warning, if the image was sent to Label Studio with other predictions than those of its record."""
        try:
            sent = json.loads((self.path / SENT).read_text("utf-8"))["sent"][Path(record["file"]).name]
        except (OSError, ValueError, LookupError, TypeError, RecursionError):
            return []
        told = "It was sent to Label Studio with other predictions: count it with the former settings before the pull."
        return [] if sent == record["predictions_sha256"] else [told]

    def _write(self, path: Path, plan: Plan, one: Result) -> dict[str, Any]:
        """Write link, predictions, overlay and, last, the record, which is returned."""
        points, overlay = f"{PREDICTIONS}/{plan.name}.csv", f"{OVERLAYS}/{plan.name}.png"
        pointless = not len(one.points) and one.count >= 1  # of a method that gives a number only: not "no cell"
        _link(path, self.path / plan.file)
        if pointless:
            (self.path / points).unlink(missing_ok=True)
        else:
            replace(one, image=Path(plan.file).name).to_csv(self.path / points)
        record = one.summary() | {
            "channel": one.channel, "parameters": self.run["parameters"], "weights": self.run["weights"],
            "weights_file": self.weights,
            "points": None if pointless else points, "overlay": overlay, "overlay_shrunken_by": 1, "overlay_sha256": "",
            "name": plan.name, "file": plan.file, "source": plan.source, "run": self.key, "image_sha256": plan.sha256,
            "predictions_sha256": "" if pointless else sha256(self.path / points), "cellcount": self.run["cellcount"],
        }  # fmt: skip
        try:
            record["overlay_shrunken_by"] = one.save_overlay(self.path / overlay)
            record["overlay_sha256"] = sha256(self.path / overlay)
        except OSError:
            raise
        except Exception as error:  # the points are worth more than their picture
            record |= {"overlay": None, "warnings": [*one.warnings, f"It has no overlay ({told(error)})."]}
        self._note(plan.name, self.append(record))
        return record

    def refuse_corrected(self, paths: Sequence[Path], again: bool) -> None:
        """Raise a DataError if images that would be counted have corrections of what was found before.

        These are annotations, also copies of the predictions that nobody corrected, and names under `reviewed`.
        """
        files = folders.files_of(self.path)
        files = folders.annotations_of(files, folders.images_of(files))
        if not files and not self.index:
            return
        from cellcount.data import dataset_toml

        said, _ = dataset_toml.read(self.path / SETTINGS, self.index)
        annotated, broken = _annotated(files)
        broken += [problem("folder-locked", str(place)) for place in folders.locked(self.path)]
        corrected = {form for own in annotated.values() for forms, _ in own for form in forms}
        names = set()
        for path in paths:
            name = self._sources.get(self._source(path), path.stem)
            if name in said.reviewed or _folded(name) in corrected or broken and name in self.index:
                with suppress(DataError):  # a failure of this image: it will not be counted
                    if self.known(path, again) is None and path in self._plans:
                        names.add(self._plans[path].name)
        if not names:
            return
        unreadable = f"{self.path} may have corrections of what would be counted again, but they cannot be read:"
        raise_errors(broken, unreadable)
        folded = {_folded(name) for name in names}
        concerned = {file: own for file, own in annotated.items() if any(forms & folded for forms, _ in own)}
        copies = [file for file, own in concerned.items() if self._copied(own, said.labels)]
        corrected = {form for file in {*concerned} - {*copies} for forms, _ in concerned[file] for form in forms}
        reasons = (
            ([name for name in names if _folded(name) in corrected],
             "corrections of images that would be counted again: {}, made to what was found before", ""),
            (names & {*said.reviewed}, f"images that would be counted again though `reviewed` in {SETTINGS} lists "
             "them: {}", ", or take them from that list"),
            ([file.relative_to(self.path).as_posix() for file in copies], "annotation files that equal what was found "
             "before, of images that would be counted again: {}; nobody corrected them", ", or remove these files"),
        )  # fmt: skip
        what = "; and ".join(text.format(listed(sorted(those))) for those, text, _ in reasons if those)
        todo = "".join(text for those, _, text in reasons if those)
        require(not what, f"{self.path} has {what}. Choose another folder with --out{todo}.", DataError)

    def _copied(self, own: Iterable[tuple[set[str], Annotation]], labels: Mapping[str, Sequence[str]]) -> bool:
        """Whether all annotations of a file equal the predictions."""
        from cellcount.data import corrections
        from cellcount.io import points

        names = {_folded(name): name for name in self.index}
        for forms, one in own:
            path = self.path / PREDICTIONS / f"{next((names[form] for form in forms if form in names), None)}.csv"
            before = points.read(path)[0] if path.is_file() else []
            if not before or not corrections.unchanged(one, before[0], labels):
                return False
        return True


def settings(folder: Path) -> dict[str, Any]:
    """The content of the `dataset.toml` of a folder; {} if there is none. Raises DataError if it cannot be read."""
    path = folder / SETTINGS
    if not os.path.exists(path):  # or the folder is locked
        return {}
    import tomllib  # costs more than all else here

    from cellcount.data import dataset_toml

    try:
        content = tomllib.loads(path.read_text("utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: it cannot be read ({error}). Correct it.") from error
    wrong = [one for one in dataset_toml.read(path, ())[1] if one.kind == "toml-value"]
    raise_errors(wrong, f"{path}:" * bool(wrong))
    return content


def _annotated(files: Iterable[Path]) -> tuple[dict[Path, list[tuple[set[str], Annotation]]], list[Problem]]:
    """The annotations in files, {file: [(forms of the image's stem, `_folded`; annotation)]}, and the files' errors."""
    from cellcount.io import beside, points

    read: dict[Path, list[tuple[set[str], Annotation]]] = {}
    broken: list[Problem] = []
    for file in files:
        found, problems = points.read(file)
        broken += errors(problems)
        names = [Path(one.image.replace("\\", "/")).name for one in found]
        forms = [{_folded(Path(form).stem) for form in (name, beside.not_uploaded(name, file.name))} for name in names]
        read[file] = list(zip(forms, found, strict=True))
    return read, broken


def _folded(name: str) -> str:
    """A name as disks compare names that do not tell a.png from A.png, or an accented letter from its parts."""
    return unicodedata.normalize("NFC", name).casefold()


def _link(source: Path, target: Path) -> None:
    """Make `target` the same file as `source`.

    A hard link survives when the folder or the image is moved; on another disk there is a symbolic link; where neither
    is possible, a copy. What was there before is replaced, and never written to: it may be a link, too.
    """
    real = os.path.realpath(source)
    if os.path.exists(target) and os.path.samefile(real, target):
        return
    temporary = target.with_name(f"{TEMPORARY}{os.getpid()}{target.suffix}")
    try:
        for make in (os.link, os.symlink, shutil.copyfile):
            temporary.unlink(missing_ok=True)
            try:
                make(real, temporary)
                break
            except (OSError, NotImplementedError):
                if make is shutil.copyfile:
                    raise
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
