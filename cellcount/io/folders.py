"""The files of a folder, found in the same way for every command; what is in it beside them is named."""

import os
import re
from collections.abc import Collection, Container, Iterable
from pathlib import Path

from cellcount.io import beside, dots
from cellcount.io.images import SUFFIXES
from cellcount.io.points import READERS
from cellcount.io.problems import Problem, listed, problem

OVERLAY, POINTS = "-overlay.png", "-points.csv"  # endings of the files that `count` writes for an image
SEARCHED = ("images", "annotations")  # subfolders
WRITTEN = (
    "predictions",
    "overlays",
    "labelstudio",
    "summary.json",
    "records.jsonl",
    "counts.csv",
    "groups.csv",
    "audit.json",
    "audit-result.json",
    "audit-result.csv",
    "manifest.json",
)  # by `count` and `audit`, beside images/
SYSTEM = ("thumbs.db", "desktop.ini", "icon\r", "__macosx", "ehthumbs.db")  # of Windows and macOS
# Suffixes of images and tables that are not read, by which a file is named.
OTHER_IMAGES = tuple(
    ".czi .nd2 .lif .lsm .oib .oif .oir .vsi .zvi .ims .dv .r3d .stk .dm3 .dm4 .mrc .svs .ndpi .scn .mrxs .qptiff .bif "
    ".gif .webp .heic .heif .avif .jp2 .j2k .jxl .jfif .jpe .ppm .pgm .tga .psd .dng .cr2 .nef .arw .dcm .fits .nii "
    ".avi .mp4 .mov".split()
)
PERHAPS_IMAGES = (".npy", ".npz", ".h5", ".hdf5", ".svg", ".pdf", ".pptx")  # or results of other tools
OTHER_TABLES = (".xls", ".xlsx", ".ods", ".numbers", ".ndjson", ".jsonl", ".parquet")
_MASK = re.compile(r"^(.+?)[-_. ](?:cp[-_]?masks?|masks?|labels?|seg|segmentation|outlines?)$", re.IGNORECASE)
REGIONS = (".roi", ".zip", ".geojson")  # may be regions to count in, as ImageJ and QuPath do


def files_of(folder: Path | str) -> list[Path]:
    """The files of a folder and of its subfolders images/ and annotations/, in natural order, without hidden ones.

    Links to what is not there, pipes and devices are among them. Of a folder that may not be read there are none.
    """
    inside = [path for place in _places(folder) for path in _inside(place)]
    return sorted((path for path in inside if not os.path.isdir(path)), key=natural)  # also what may not be opened


def locked(folder: Path | str) -> list[Path]:
    """The folder, or those of its subfolders images/ and annotations/, that are there and cannot be listed."""
    found = []
    for place in _places(folder):
        try:
            os.listdir(place)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError:
            found.append(place)
    return found[:1] if found[:1] == [Path(folder)] else found


def subfolders_of(folder: Path | str) -> list[Path]:
    """The subfolders that `files_of` does not search, in natural order, without hidden or empty ones, and `count`'s."""
    places = _places(folder)
    inside = [path for place in places for path in _inside(place) if os.path.isdir(path) and _inside(path)]
    known = {os.path.realpath(place) for place in places}  # images/ may be a link to a folder beside it
    # By `count`: its images are those here.
    counted = [path for path in inside if os.path.exists(path / "records.jsonl")]
    other = [path for path in inside if path not in counted and os.path.realpath(path) not in known]
    return sorted((path for path in other if path.name not in WRITTEN), key=natural)


def relative(paths: Iterable[Path], folder: Path | str) -> str:
    """How many paths, and the names of the first, as seen from the folder; see `problems.listed`."""
    return listed(path.relative_to(folder).as_posix() for path in paths)


def _places(folder: Path | str) -> list[Path]:
    return [Path(folder), *(Path(folder, name) for name in SEARCHED)]


def _inside(place: Path) -> list[Path]:
    try:
        return [place / name for name in os.listdir(place) if not _hidden(name)]
    except OSError:  # not there, no folder, or locked
        return []


def _hidden(name: str) -> bool:
    return name.startswith((".", "~$")) or name.lower() in SYSTEM


def natural(path: Path | str) -> list[int | str]:
    """Sort key of a path by its name, with the numbers in it as numbers: 2 comes before 10."""
    return [int(part) if index % 2 else part for index, part in enumerate(re.split(r"(\d+)", Path(path).name))]


def images_of(files: Iterable[Path]) -> list[Path]:
    """The images among files, without dot images, masks of others, and overlays that `count` wrote."""
    images = [path for path in files if path.suffix.lower() in SUFFIXES]
    stems = {path.stem for path in images}
    return [path for path in images if not (dots.is_dots(path, stems) or is_mask(path, stems) or is_overlay(path))]


def is_mask(path: Path, stems: Container[str]) -> bool:
    """Whether a file is called as the mask of one of the images with these stems: "a_cp_masks.png" of "a"."""
    found = _MASK.match(path.stem)
    return found is not None and any(spell(found[1]) in stems for spell in beside.SPELLINGS)


def annotations_of(files: Iterable[Path], among: Collection[Path]) -> list[Path]:
    """Files with the suffix of an annotation format, and dot images: not the images `among` them, nor results."""
    readable = {suffix for format in READERS.values() for suffix in format.suffixes}
    return [
        path
        for path in files
        if path.suffix.lower() in readable and path not in among and not is_overlay(path) and not is_result(path)
        and (path.suffix.lower() not in SUFFIXES or dots.base(path))
    ]  # fmt: skip


def is_overlay(path: Path) -> bool:
    """Whether an image is an overlay that `count` wrote: in overlays/ beside its records, or beside its points."""
    parent, name = Path(os.path.abspath(path)).parent, path.name.removesuffix(OVERLAY)
    if parent.name == "overlays" and os.path.isfile(parent.with_name("records.jsonl")):
        return True
    points = path.with_name(name + POINTS)
    if name == path.name or not os.path.isfile(points):
        return False
    try:
        with points.open("rb") as file:  # another tool's table of this name is of an image "NAME-overlay" perhaps
            columns = file.readline(200).decode("utf-8-sig", "replace").strip().split(",")
    except OSError:
        return False
    return {"y_px", "x_px"} <= set(columns) or columns == ["image", "y", "x", "label", "score"]


def is_result(path: Path) -> bool:
    """Whether a file is a summary that `count` wrote, with the predictions beside it, or the manifest of weights."""
    signs = ("predictions", "records.jsonl")
    beside = any(os.path.exists(path.with_name(name)) for name in signs)
    return path.name.endswith(".manifest.json") or path.name in WRITTEN and beside


def skipped(given: Iterable[object]) -> list[Problem]:
    """Warnings of what is not counted: in the folders that are `given`, and of regions beside the files."""
    paths = [Path(one) for one in given if isinstance(one, (str, Path)) and os.path.exists(one)]
    found = [problem for path in paths if path.is_dir() for problem in _skipped(path)]
    beside_files: dict[Path, list[str]] = {}
    for path in (path for path in paths if not path.is_dir()):
        names = [f"{name}{suffix}" for name in (path.stem, path.name) for suffix in REGIONS]
        regions = [name for name in (*names, "RoiSet.zip") if os.path.isfile(path.with_name(name))]
        beside_files.setdefault(path.parent, []).extend(regions)
    return found + [
        problem("regions-skipped", str(place), names=listed(dict.fromkeys(names)))
        for place, names in beside_files.items()
        if names
    ]


def _skipped(folder: Path) -> list[Problem]:
    files = files_of(folder)
    stems = {path.stem for path in images_of(files)}
    formats = (*OTHER_IMAGES, *PERHAPS_IMAGES)
    others = [p for p in files if p.suffix.lower() in formats and p.stem not in stems and not is_mask(p, stems)]
    masks = [path for path in files if path.suffix.lower() in SUFFIXES and is_mask(path, stems)]
    regions = [path for path in files if path.suffix.lower() in REGIONS and path.parent.name != "annotations"]
    orphans = [path for path in files if dots.is_dots(path, stems) and not dots.image_of(path, stems)]
    groups = {
        "images-skipped": others,
        "dots-skipped": orphans,
        "masks-skipped": masks,
        "folders-skipped": subfolders_of(folder),
        "regions-skipped": regions,
    }
    shut = [problem("folder-locked", str(place)) for place in locked(folder) if place != folder]
    return shut + [problem(kind, str(folder), names=relative(paths, folder)) for kind, paths in groups.items() if paths]
