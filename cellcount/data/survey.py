"""Survey of a user's folder: its images, annotations and settings, and every problem in them."""

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cellcount.data import corrections, dataset_toml
from cellcount.data.crosschecks import check_image
from cellcount.data.dataset_toml import Settings
from cellcount.io import beside, dots, points
from cellcount.io.folders import files_of, is_overlay
from cellcount.io.images import SUFFIXES, decode, flat_channel
from cellcount.io.points import READERS, Annotation
from cellcount.io.problems import Problem, problem

FOREIGN_IMAGES = (".czi", ".nd2", ".lif", ".oib", ".oif", ".vsi", ".gif", ".webp", ".heic", ".jp2", ".dcm", ".npy")
FOREIGN_ANNOTATIONS = (".xls", ".xlsx", ".ods", ".ndjson", ".jsonl")


@dataclass
class Survey:
    """The content of a folder.

    images : dict of stem to Path
    sizes : dict of stem to (height, width) px, of the readable images
    annotations : dict of stem to list of `Annotation`, after the selection among annotators
    settings : `Settings`
    provenance : dict of stem to what a person did to the points; see `cellcount.data.corrections.trace`
    problems : list of `Problem`
    """

    images: dict[str, Path] = field(default_factory=dict)
    sizes: dict[str, tuple[int, int]] = field(default_factory=dict)
    annotations: dict[str, list[Annotation]] = field(default_factory=dict)
    settings: Settings = field(default_factory=Settings)
    provenance: dict[str, dict[str, Any]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def add(self, kind: str, file: Path | str, where: str = "", **values: Any) -> None:
        """Add a problem; see `cellcount.io.problems.problem`."""
        self.problems.append(problem(kind, str(file), where, **values))


def survey(folder: Path | str) -> Survey:
    """Read everything in a folder, and collect every problem: a `Survey`."""
    folder, found = Path(folder), Survey()
    files = files_of(folder)
    if not files:
        kind = "folder-empty" if folder.is_dir() else "folder-file" if folder.exists() else "folder-missing"
        found.add(kind, folder)
        return found
    _images(folder, files, found)
    found.settings, problems = dataset_toml.read(folder / dataset_toml.NAME, set(found.images))
    found.problems += problems
    for stem, path in found.images.items():
        pixels, problems = decode(path)
        found.problems += problems
        if pixels is not None:
            found.sizes[stem] = (pixels.shape[0], pixels.shape[1])
            sentence = flat_channel(pixels, found.settings.channel)
            if sentence:
                found.add("channel-flat", path.name, sentence=sentence)
    for annotation in _annotations(files, found):
        meant = _image(annotation, found)
        if meant is not None:
            found.annotations.setdefault(meant, []).append(annotation)
    predicted = corrections.read_predictions(folder, found)
    unchanged = corrections.leave_out_unchanged(predicted, found)
    for stem in found.images:
        check_image(stem, found)
    corrections.trace(predicted, unchanged, found)
    return found


def annotation_files(files: Iterable[Path]) -> list[Path]:
    """Those of the files whose suffix is that of an annotation format; of images, dot images only."""
    readable = {suffix for format in READERS.values() for suffix in format.suffixes}
    return [p for p in files if p.suffix.lower() in (readable if dots.base(p) else readable - set(SUFFIXES))]


def _images(folder: Path, files: Sequence[Path], found: Survey) -> None:
    """Fill `found.images`, and report files of other formats."""
    for path in files:
        suffix = path.suffix.lower()
        if suffix in FOREIGN_IMAGES:
            found.add("image-format", path.name, content=f"An image with the suffix {suffix!r}")
        elif suffix in FOREIGN_ANNOTATIONS:
            found.add("annotation-format", path.name, suffix=suffix)
        elif suffix in SUFFIXES and not dots.base(path) and not is_overlay(path):
            other = found.images.setdefault(path.stem, path)
            if other is not path:
                found.add("stem-twice", path.name, other=other.name)
    if not found.images:
        elsewhere = sorted(p.name for p in folder.iterdir() if p.is_dir() and p.name not in ("images", "annotations"))
        hint = f" Subfolders ({', '.join(elsewhere)[:60]}) are not searched." if elsewhere else ""
        found.add("no-images", folder, suffixes=", ".join(SUFFIXES), hint=hint)


def _annotations(files: Sequence[Path], found: Survey) -> list[Annotation]:
    """Every `Annotation` of every annotation file."""
    result: list[Annotation] = []
    for path in annotation_files(files):
        dotted = dots.base(path)
        owner = dots.image_of(path, found.images) if dotted else None
        if dotted and not owner:
            found.add("dots-no-image", path.name, image=dotted)
            continue
        annotations, problems = points.read(path, pixel_size_um=found.settings.pixel_size_um)
        found.problems += problems
        result += [replace(a, image=found.images[owner].name) for a in annotations] if owner else annotations
    return result


def _image(annotation: Annotation, found: Survey) -> str | None:
    """The stem of the image of an annotation, or None after reporting that there is none."""
    named = Path(annotation.image.replace("\\", "/")).name
    bare = beside.UPLOAD_PREFIX.sub("", named)
    names = {path.name: stem for stem, path in found.images.items()} | {stem: stem for stem in found.images}
    lower = {name.lower(): name for name in names}
    for name in (named, bare):
        if name in names:
            return names[name]
    place = {"file": annotation.file, "where": annotation.where, "named": annotation.image}
    other = lower.get(named.lower(), lower.get(bare.lower()))
    close = difflib.get_close_matches(bare, list(names), 1)
    if other:
        found.add("image-case", **place, found=other)
    else:
        found.add("image-unknown", **place, hint=f" Is {close[0]} meant?" if close else "")
    return None
