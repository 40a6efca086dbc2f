"""Converting annotation files between the formats of `cellcount.io.points`."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from cellcount.data import dataset_toml
from cellcount.data.crosschecks import upright
from cellcount.data.dataset_toml import Settings
from cellcount.data.survey import Survey
from cellcount.errors import DataError, require
from cellcount.io import beside, dots
from cellcount.io.folders import OTHER_TABLES, annotations_of, files_of, images_of, relative, subfolders_of
from cellcount.io.points import WRITERS, Annotation, read
from cellcount.io.problems import Problem, problem, raise_errors
from cellcount.io.writing import format_of, write


def convert(source: Path | str, target: Path | str, format: str | None = None, **options: Any) -> list[Problem]:
    """Read a file, or all annotation files of a folder, and write them in another format.

    Parameters
    ----------
    source : path of a file or folder in any of the formats `cellcount.io.points.READERS`
    target : path of a file that does not exist yet, or of a folder
        In formats with one image a file, files that the folder has already are left as they are. Others are written
        to `points` in it, with the suffix of the format; it must be empty, or not be there.
    format : a name in `cellcount.io.points.WRITERS`; the suffix of `target` tells it otherwise
    **options : of `cellcount.io.points.read`

    Returns
    -------
    list of Problem
        Warnings of reading and writing.

    Raises
    ------
    DataError
        If the source has errors, an image was annotated more than once, the format cannot hold the annotations, or
        the target exists.
    ParameterError
        If the format is unknown, or `target` does not tell it.
    """
    source = Path(source)
    target = _free(source, Path(target), format)
    inside = files_of(source)
    files = annotations_of(inside, images_of(inside)) if source.is_dir() else [source]
    require(files, f"{source}: there is no annotation file in the folder.", DataError)
    found: list[Annotation] = []
    others = [
        path for path in inside if path.suffix.lower() in OTHER_TABLES and path.stem not in {p.stem for p in files}
    ]
    problems = [problem("annotation-format", path.name, suffix=path.suffix) for path in others]
    if subfolders := subfolders_of(source):
        problems.append(problem("folders-skipped", str(source), names=relative(subfolders, source)))
    place = source if source.is_dir() else source.parent
    places = (place, place.parent) if place.name in ("annotations", "predictions", "images") else (place,)
    said = next((path for one in places if (path := one / dataset_toml.NAME).exists()), place / dataset_toml.NAME)
    settings, wrong = dataset_toml.read(said, ())  # of which the orientation of images is used
    problems += [one for one in wrong if one.kind in ("toml-broken", "file-unreadable")]
    for path in files:
        annotations, new = read(path, **options)
        problems += new
        found += [_placed(one, path, settings, problems) for one in annotations]
    problems += _rivals(found)
    raise_errors(problems)
    require(found, f"{source}: no annotation was found. " + " ".join(map(str, problems)), DataError)
    return problems + write(target, found, format, keep=True)


def _free(source: Path, target: Path, format: str | None) -> Path:
    """The file or folder to write to; raises DataError if something else is there."""
    form, folder = format_of(target, format), target.is_dir() or not target.suffix
    if not folder or target.is_file():
        require(not target.exists(), f"{target} exists. Name another file.", DataError)
        return target
    if not form.single:
        tasks = (
            "A file of Label Studio would hold the points as predictions, which are no annotations. Write it with "
            f"`cellcount labelstudio export` (or `push`), or name a file: {target / 'tasks.json'}."
        )
        require(form is not WRITERS["Label Studio"], tasks, DataError)
        file = target / f"points{form.suffixes[0]}"
        full = f"{target} has files already. Name a new file in it: {file.with_name(f'new{file.suffix}')}."
        require(not (target.is_dir() and any(target.iterdir())), full, DataError)
        return file
    same = target.is_dir() and any(place.exists() and target.samefile(place) for place in (source, source.parent))
    require(not same, f"{target} has the annotations to be converted. Name another folder.", DataError)
    return target


def _placed(one: Annotation, path: Path, settings: Settings, problems: list[Problem]) -> Annotation:
    """The annotation with the name and size of its image, if that is beside the file; on the image as it is shown."""
    names = (one.image, f"{one.image}cell", f"{one.image}_cell") if dots.base(path) else (one.image,)
    image = next((file for name in names if (file := beside.image(path, name))), None)
    size = beside.size(image) if image else None
    if image is None or size is None:
        return one
    turn = beside.orientation(image)
    if turn > 1:
        problems.append(
            problem("convert-turned" if settings.orientation == "stored" else "image-exif", image.name, turn=turn)
        )
        about = Survey({"": image}, {"": size}, settings=settings)
        if not upright(one, "", about):
            problems += about.problems
            return one
    if one.size and tuple(one.size) != size:
        claimed, actual = (f"{width} x {height}" for height, width in (one.size, size))
        problems.append(problem("image-size", one.file, one.where, claimed=claimed, image=image.name, actual=actual))
    within = PurePosixPath() if image.name == one.image else PurePosixPath(one.image.replace("\\", "/")).parent
    return replace(one, image=(within / image.name).as_posix(), size=size)


def _rivals(found: Iterable[Annotation]) -> list[Problem]:
    """A problem for each image with points in more than one annotation."""
    by_image: dict[str, list[Annotation]] = {}
    for one in found:
        if one.points or not one.boxes:
            by_image.setdefault(one.image, []).append(one)
    return [
        problem("convert-twice", rivals[1].file, rivals[1].where, image=image, count=len(rivals),
                people=", ".join(f"{one.annotator or one.file} {one.where}".strip() for one in rivals[:4]))
        for image, rivals in by_image.items()
        if len(rivals) > 1
    ]  # fmt: skip
