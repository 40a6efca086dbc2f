"""Survey of a user's folder: its images, annotations and settings, and every problem in them."""

import difflib
import os
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from cellcount.data import corrections, dataset_toml
from cellcount.data.crosschecks import check_image, check_training
from cellcount.data.dataset_toml import Settings
from cellcount.files import sha256
from cellcount.io import beside, dots, folders, points
from cellcount.io.images import SUFFIXES, decode, flat_channel
from cellcount.io.points import Annotation
from cellcount.io.problems import Problem, listed, problem

MANY = 5  # unknown images in a file that are reported one by one


@dataclass
class Survey:
    """The content of a folder.

    images : dict of stem to Path
    sizes : dict of stem to (height, width) px, of the readable images
    annotations : dict of stem to list of `Annotation`, after the selection among annotators
    settings : `Settings`
    predicted : dict of stem to `Annotation`, what was found by `cellcount count`
    unchanged : list of stems of images of which an annotation equals what was predicted
    provenance : dict of stem to what a person did to the points; see `cellcount.data.corrections.trace`
    problems : list of `Problem`
    """

    images: dict[str, Path] = field(default_factory=dict)
    sizes: dict[str, tuple[int, int]] = field(default_factory=dict)
    annotations: dict[str, list[Annotation]] = field(default_factory=dict)
    settings: Settings = field(default_factory=Settings)
    predicted: dict[str, Annotation] = field(default_factory=dict)
    unchanged: list[str] = field(default_factory=list)
    provenance: dict[str, dict[str, Any]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def add(self, kind: str, file: Path | str, where: str = "", **values: Any) -> None:
        """Add a problem; see `cellcount.io.problems.problem`."""
        self.problems.append(problem(kind, str(file), where, **values))


def survey(folder: Path | str) -> Survey:
    """Read everything in a folder, and collect every problem: a `Survey`."""
    folder, found = Path(folder), Survey()
    files, others = folders.files_of(folder), folders.subfolders_of(folder)
    for place in folders.locked(folder):
        found.add("folder-locked", place)
    if not files and not others and found.problems:
        return found
    if not files and not others:
        kind = "folder-empty" if folder.is_dir() else "folder-file" if folder.exists() else "folder-missing"
        found.add(kind, folder)
        return found
    images = folders.images_of(files)
    annotated = folders.annotations_of(files, set(images))
    _images(images, found)
    if not found.images:
        hint = f" Subfolders are not searched: {folders.relative(others, folder)}." if others else ""
        found.add("no-images", folder, suffixes=", ".join(SUFFIXES), hint=hint)
    elif others:
        found.add("folders-skipped", folder, names=folders.relative(others, folder))
    _others(folder, files, {*images, *annotated}, found)
    found.settings, problems = dataset_toml.read(folder / dataset_toml.NAME, found.images)
    found.problems += problems
    _copies(found)
    for stem, path in found.images.items():
        pixels, problems = decode(path)
        found.problems += problems
        if pixels is not None:
            found.sizes[stem] = (pixels.shape[0], pixels.shape[1])
            sentence = flat_channel(pixels, found.settings.channel)
            if sentence:
                found.add("channel-flat", path.name, sentence=sentence)
    predicted = found.predicted = corrections.read_predictions(folder, found)
    _match(folder, _annotations(annotated, [one.image for one in predicted.values() if not one.points], found), found)
    found.unchanged = corrections.leave_out_unchanged(predicted, found)
    for stem in found.images:
        check_image(stem, found)
    corrections.trace(predicted, found.unchanged, found)
    check_training(folder, found)
    return found


def _images(images: Iterable[Path], found: Survey) -> None:
    """Fill `found.images`."""
    stems: dict[str, Path] = {}
    for path in images:
        other = stems.setdefault(beside.composed(path.stem), path)
        if not path.name.isprintable() and os.fsencode(path.name) != path.name.encode(errors="ignore"):
            found.add("image-name", ascii(path.name)[1:-1])
        elif other is path:
            found.images[path.stem] = path
        else:
            found.add("stem-twice", path.name, other=other.name)
    names = {beside.composed(path.name): path.name for path in found.images.values()}
    for stem, path in found.images.items():
        if other_name := names.get(beside.composed(stem)):  # a.tif and a.tif.png: which of them is "a.tif"?
            found.add("stem-twice", path.name, other=other_name)


def _copies(found: Survey) -> None:
    """Warn of files with the same content."""
    sizes: dict[int, list[Path]] = {}
    for path in found.images.values():
        if os.path.isfile(path) and path.stat().st_size:
            sizes.setdefault(path.stat().st_size, []).append(path)
    contents: dict[str, list[str]] = {}
    for path in (path for paths in sizes.values() if len(paths) > 1 for path in paths):
        with suppress(OSError):  # reported when it is decoded
            contents.setdefault(sha256(path), []).append(path.name)
    for names in contents.values():
        if len(names) > 1:
            found.add("image-same", names[1], others=", ".join([names[0], *names[2:5]]))


def _others(folder: Path, files: Iterable[Path], read: Collection[Path], found: Survey) -> None:
    """Report the files that are not `read`; the original of an exported image or table is no error."""
    stems, unused = {path.stem for path in read}, []
    files = [path for path in files if path not in read]
    masks = [path for path in files if path.suffix.lower() in SUFFIXES and folders.is_mask(path, found.images)]
    if masks:
        found.add("masks-skipped", folder, names=folders.relative(masks, folder))
    for path in files:
        suffix = path.suffix.lower()
        table = suffix in folders.OTHER_TABLES or suffix == ".txt" and path.stem in found.images
        if path in (*masks, folder / dataset_toml.NAME) or folders.is_result(path) or folders.is_overlay(path):
            continue
        if suffix in folders.OTHER_IMAGES and path.stem not in stems:
            found.add("image-format", path.name, content=f"An image with the suffix {suffix!r}")
        elif table and (suffix == ".txt" or path.stem not in stems):
            found.add("annotation-format", path.name, suffix=suffix)
        else:
            unused.append(path)
    if unused:
        found.add("files-unused", folder, names=folders.relative(unused, folder))


def _annotations(files: Iterable[Path], bare: Iterable[str], found: Survey) -> list[Annotation]:
    """Every `Annotation` of every annotation file; images that another one says to be without a cell, or that are
    `bare`, need no mark."""
    result: list[Annotation] = []
    again: list[tuple[Path, dict[str, Any]]] = []
    for path in files:
        dotted = dots.base(path)
        owner = dots.image_of(path, found.images) if dotted else None
        if dotted and not owner:
            found.add("dots-no-image", path.name, image=dotted)
            continue
        options = {"pixel_size_um": found.settings.pixel_size_um, "annotators": found.settings.annotators}
        annotations, problems = points.read(path, **options)
        unmarked = any(one.kind == "no-marks" for one in problems)
        again += [(path, options)] if unmarked else []
        found.problems += [] if unmarked else problems
        result += [replace(a, image=found.images[owner].name) for a in annotations] if owner else annotations
    empty = [*bare, *(one.image for one in result if not (one.points or one.boxes))]
    for path, options in again:
        found.problems += points.read(path, **options, empty=empty)[1]
    return result


def _match(folder: Path, annotations: Sequence[Annotation], found: Survey) -> None:
    """Fill `found.annotations`; report those without an image, and names of different images that match the same."""
    names = {beside.composed(form).strip(): stem for stem, path in found.images.items() for form in (stem, path.name)}
    names |= {beside.composed(stem): stem for stem in found.images}  # strip: tables have names without outer blanks
    names |= {beside.composed(path.name): stem for stem, path in found.images.items()}
    lower = {name.lower(): name for name in names}
    places: dict[tuple[str, str], list[PurePosixPath]] = {}
    unknown: dict[str, list[Annotation]] = {}
    above: dict[str, list[Annotation]] = {}
    here = {os.path.abspath(place) for place in (folder, folder / "images")}
    for annotation in annotations:
        named = beside.composed(annotation.image)
        path = PurePosixPath(named if named in names else named.replace("\\", "/"))
        bare = beside.not_uploaded(path.name, annotation.file)
        stem = names.get(path.name, names.get(bare))
        place = {"file": annotation.file, "where": annotation.where, "named": annotation.image}
        own = folder / path
        if not {"..", "/"} & set(path.parts) and own.parent not in (folder, folder / "images") and beside.is_file(own):
            found.add("image-elsewhere", **place)
        elif stem is None:
            other = lower.get(path.name.lower(), lower.get(bare.lower()))
            if other:
                found.add("image-case", **place, found=other)
            else:
                unknown.setdefault(annotation.file, []).append(annotation)
        else:
            same = places.setdefault((annotation.file, stem), [])
            rival = next((one for one in same if not _agree(one, path)), None)
            same.append(path)
            start = {os.path.abspath(folder / place / path.parent) for place in ("", "annotations")}
            if path.parts[0] == ".." and not start & here:
                above.setdefault(annotation.file, []).append(annotation)
            if rival is None:
                found.annotations.setdefault(stem, []).append(annotation)
            else:
                found.add("image-ambiguous", **place, other=str(rival), found=found.images[stem].name)
    for file, others in above.items():
        found.add("image-above", file, others[0].where, names=listed(dict.fromkeys(one.image for one in others)))
    for file, absent in unknown.items():
        if len(absent) > MANY:
            found.add("images-unknown", file, names=listed(dict.fromkeys(one.image for one in absent)))
            continue
        for one in absent:
            bare = beside.not_uploaded(PurePosixPath(one.image.replace("\\", "/")).name, file)
            if any(beside.is_file(folder / place / bare) for place in ("", *folders.SEARCHED)):
                found.add("image-unused", file, one.where, named=one.image)
                continue
            close = difflib.get_close_matches(bare, list(names), 1)
            hint = f" Is {close[0]} meant?" if close else ""
            found.add("image-unknown", file, one.where, named=one.image, hint=hint)


def _agree(one: PurePosixPath, other: PurePosixPath) -> bool:
    """Whether two names in one file may be of the same image: not in different folders, or uploaded separately."""
    prefixes = {match[0] for path in (one, other) if (match := beside.UPLOAD_PREFIX.match(path.name))}
    parents = [path.parts[:-1][::-1] for path in (one, other)]
    return len(prefixes) < 2 and all(a == b for a, b in zip(*parents))
