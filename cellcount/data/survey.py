"""A user's folder, looked at once: its images, annotations and settings, and every problem in them."""

import difflib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cellcount.data import dataset_toml
from cellcount.data.crosschecks import check_image
from cellcount.data.dataset_toml import Settings
from cellcount.io import coco, dots, labelstudio, tables
from cellcount.io.images import SUFFIXES, decode, flat_channel
from cellcount.io.points import Annotation, Reader
from cellcount.io.problems import Problem

FOREIGN_IMAGES = (".czi", ".nd2", ".lif", ".oib", ".oif", ".vsi", ".gif", ".webp", ".heic", ".jp2", ".dcm", ".npy")
FOREIGN_ANNOTATIONS = (".xls", ".xlsx", ".ods", ".tsv", ".xml", ".roi", ".ndjson", ".jsonl")


@dataclass
class Survey:
    """What lies in a folder.

    images : dict of stem to Path
    sizes : dict of stem to (height, width) px, of the readable images
    annotations : dict of stem to list of `Annotation`, after the choice among annotators
    settings : `Settings`
    problems : list of `Problem`
    """

    images: dict[str, Path] = field(default_factory=dict)
    sizes: dict[str, tuple[int, int]] = field(default_factory=dict)
    annotations: dict[str, list[Annotation]] = field(default_factory=dict)
    settings: Settings = field(default_factory=Settings)
    problems: list[Problem] = field(default_factory=list)

    def problem(self, kind: str, file: Path | str, where: str, what: str, todo: str, severity: str = "error") -> None:
        self.problems.append(Problem(kind, str(file), where, what, todo, severity))


def survey(folder: Path | str) -> Survey:
    """Look at everything in a folder, and collect every problem: a `Survey`."""
    folder, found = Path(folder), Survey()
    if not folder.exists():
        found.problem("folder-missing", folder, "", "There is no such folder.", "Check the path.")
        return found
    if not folder.is_dir():
        found.problem("folder-file", folder, "", "This is a file, not a folder.", "Name the folder that holds it.")
        return found
    files = _files(folder)
    if not files:
        todo = "Put images and one annotation file into it."
        found.problem("folder-empty", folder, "", "The folder is empty.", todo)
        return found
    dotted = _images(folder, files, found)
    found.settings, problems = dataset_toml.read(folder / dataset_toml.NAME, set(found.images))
    found.problems += problems
    for stem, path in found.images.items():
        _look(stem, path, found)
    for annotation in _annotations(files, dotted, found):
        meant = _image(annotation, found)
        if meant is not None:
            found.annotations.setdefault(meant, []).append(annotation)
    for stem in found.images:
        check_image(stem, found)
    return found


def _files(folder: Path) -> list[Path]:
    """Visible files of the folder, of images/ and of annotations/."""
    places = [folder, folder / "images", folder / "annotations"]
    files = [path for place in places if place.is_dir() for path in place.iterdir()]
    return sorted((p for p in files if p.is_file() and not p.name.startswith(".")), key=natural)


def natural(path: Path | str) -> list[int | str]:
    """Sort key of a path by its name, with the numbers in it as numbers: 2 comes before 10."""
    return [int(part) if index % 2 else part for index, part in enumerate(re.split(r"(\d+)", Path(path).name))]


def _images(folder: Path, files: Sequence[Path], found: Survey) -> dict[Path, str]:
    """Fill `found.images`; return the dot images as {path: stem of the image}."""
    pictures = [p for p in files if p.suffix.lower() in SUFFIXES]
    dotted = [p for p in pictures if dots.base(p)]
    for path in pictures:
        if path in dotted:
            continue
        other = found.images.get(path.stem)
        if other is not None:
            what = f"{other.name} has the same name but for the suffix or folder."
            found.problem("stem-twice", path.name, "", what, "Rename one of them, or take it out of the folder.")
        else:
            found.images[path.stem] = path
    for path in files:
        suffix = path.suffix.lower()
        if suffix in FOREIGN_IMAGES:
            todo = "Export it as PNG, TIFF or JPEG."
            found.problem("image-format", path.name, "", f"Images with the suffix {suffix!r} cannot be read.", todo)
        elif suffix in FOREIGN_ANNOTATIONS:
            todo = "Export the annotation as CSV, Label Studio JSON or COCO JSON."
            found.problem("annotation-format", path.name, "", f"Files of type {suffix!r} cannot be read.", todo)
    if not found.images:
        elsewhere = sorted(p.name for p in folder.iterdir() if p.is_dir() and p.name not in ("images", "annotations"))
        hint = f" Subfolders ({', '.join(elsewhere)[:60]}) are not searched." if elsewhere else ""
        todo = f"Put images ({', '.join(SUFFIXES)}) into the folder or into its subfolder images/.{hint}"
        found.problem("no-images", folder, "", "There is no image in the folder.", todo)
    owners = {}
    for path in dotted:
        owner = dots.image_of(path, found.images)
        if owner is None:
            what, todo = "This dot image has no image beside it.", f"Add the image {dots.base(path)}, or rename this."
            found.problem("dots-no-image", path.name, "", what, todo)
        else:
            owners[path] = owner
    return owners


def _look(stem: str, path: Path, found: Survey) -> None:
    pixels, problems = decode(path)
    found.problems += problems
    if pixels is None:
        return
    height, width = pixels.shape[:2]
    found.sizes[stem] = (height, width)
    sentence = flat_channel(pixels, found.settings.channel)
    if sentence:
        todo = f"Choose another one with channel in {dataset_toml.NAME}."
        found.problem("channel-flat", path.name, "", sentence, todo, "warning")


def _annotations(files: Sequence[Path], dotted: Mapping[Path, str], found: Survey) -> list[Annotation]:
    """Every `Annotation` of every annotation file."""
    result = []
    for path in files:
        suffix, read = path.suffix.lower(), None
        if suffix == ".json":
            read = _read_json
        elif suffix == ".csv":
            read = tables.read
        elif path in dotted:
            owner = found.images[dotted[path]].name
            annotations, problems = dots.read(path, owner)
        else:
            continue
        if read is not None:
            annotations, problems = read(path)
        found.problems += problems
        result += annotations
    return result


def _read_json(path: Path) -> tuple[list[Annotation], list[Problem]]:
    reader = Reader(path)
    content = reader.json()
    if content is None:
        return [], reader.problems
    for kind in (labelstudio, coco):
        if kind.recognises(content):
            try:
                return kind.parse(content, reader), reader.problems
            except (
                TypeError,
                AttributeError,
                LookupError,
                ValueError,
                OverflowError,
            ) as error:  # a field of another type than agreed
                what = f"The file is not built as its format demands ({error})."
                reader.problem("json-structure", "", what, "Export the file again.")
                return [], reader.problems
    shape = f"a list of {len(content)}" if isinstance(content, list) else json.dumps(content)[:40]
    what = f"This JSON ({shape}) is neither a Label Studio export nor COCO."
    reader.problem("json-kind", "", what, "Export as JSON from Label Studio, or take the file out of the folder.")
    return [], reader.problems


def _image(annotation: Annotation, found: Survey) -> str | None:
    """The stem of the image that an annotation means, or None after reporting that there is none."""
    named = Path(annotation.image.replace("\\", "/")).name
    bare = labelstudio.UPLOAD_PREFIX.sub("", named)
    names = {path.name: stem for stem, path in found.images.items()} | {stem: stem for stem in found.images}
    for name in (named, bare):
        if name in names:
            return names[name]
    lower = {name.lower(): name for name in names}
    for name in (named.lower(), bare.lower()):
        if name in lower:
            what = f"The image is called {lower[name]} in the folder, and {annotation.image} here."
            todo = "Use the same upper and lower case in both."
            found.problem("image-case", annotation.file, annotation.where, what, todo)
            return None
    close = difflib.get_close_matches(bare, list(names), 1)
    hint = f" Is {close[0]} meant?" if close else ""
    what = f"The image {annotation.image} is not in the folder.{hint}"
    found.problem("image-unknown", annotation.file, annotation.where, what, "Add it, or correct the name.")
    return None
