"""The thesis' data: 34 phase-contrast fields of view (2048 x 1536 px) of 6 flasks, some of them annotated.

The fields were imaged with an EVOS XL Core at 10x, 20x and 40x. Neither the files nor the table give the pixel size, so
`pixel_size_um` is None.

The green channel is used: its mean gradient (after a Gaussian of 1 px) relative to its standard deviation is .201 on
average over the 34 fields, compared with .192 in red and .179 in blue, and is the largest of the three in 29 fields.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from cellcount import registry
from cellcount.data.valid import valid_region
from cellcount.errors import NotAvailableError, require
from cellcount.io import beside
from cellcount.io.images import read_image
from cellcount.io.points import Annotation, positions, read
from cellcount.io.problems import raise_errors
from cellcount.types import Sample

log = logging.getLogger(__name__)
Result = TypeVar("Result")

NAME = "thesis"
IMAGES = tuple(str(number) for number in range(1, 35))
# The published file of points has images 1, 2 and 4; the excerpt in some local folders has 1 and 2.
POINTS = "annotations/points2.json"
POINTS_CUT = "annotations/points2-images-1-2.json"
POINTS_OF = {POINTS: ("1", "2", "4"), POINTS_CUT: ("1", "2")}


def names(annotated: bool = True) -> Sequence[str]:
    """Names of the fields that `load` gives by default: the annotated ones, or all that are on this machine."""
    return POINTS_OF[_points_path()] if annotated else _here(IMAGES)


def load(names: Iterable[str] | None = None, *, annotated: bool = True, channel: str = "auto") -> list[Sample]:
    """The thesis' fields of view.

    Parameters
    ----------
    names : list of str, "1" to "34", or None
        Only these; fetched if they are not on this machine.
    annotated : bool
        Without `names`: only fields with points (the default), or all fields on this machine (34 are 430 MB of
        float32; `iterate` gives them one at a time).
    channel : see `cellcount.io.images.read_image`

    Returns
    -------
    list of Sample
        `points` are live cells, `dead` dead cells and debris, `boxes` the live cells' boxes (image 1), all in px.
        `valid` is the region near points and on background, since the annotation is sparse. `meta`: "flask",
        "objective" (10, 20 or 40), "volume" and "device_count" (the flask's count by a counting device) as in the
        table, "background" (B, 2) float32 px (image 1), "source", "sha256".

    Raises
    ------
    NotAvailableError
        If none of it is on this machine and it cannot be fetched.
    DataError
        If a file is not the registered one.
    """
    return list(iterate(names, annotated=annotated, channel=channel))


def iterate(names: Iterable[str] | None = None, *, annotated: bool = True, channel: str = "auto") -> Iterator[Sample]:
    """Like `load`, one Sample at a time."""
    wanted, table, points = _wanted(names, annotated), _table(), {}
    if set(wanted) & set(POINTS_OF[POINTS]):
        path = _points_path()
        points = marks(path) if annotated and names is None else _or_none(marks, path) or {}
    for name in wanted:
        yield _sample(name, channel, table[name], points.get(name))


def points_plus(channel: str = "auto") -> Sample:
    """Image 1 with the points of a second pass by the same annotator: 1921 live cells, among them those of the first.

    Raises as `load` does.
    """
    first = load(["1"], channel=channel)[0]
    live = positions(marks("annotations/points-plus.json")["1"].points, "live")
    valid = valid_region(first.image, np.concatenate([live, first.dead]))
    return replace(first, name="1+", points=live, valid=valid, meta=first.meta | {"pass": 2})


def _image_path(name: str) -> str:
    return f"images/{name}.jpg"


def _here(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(name for name in names if registry.find(NAME, _image_path(name)) is not None)


def _wanted(names: Iterable[str] | None, annotated: bool) -> Sequence[str]:
    """The names of the fields to load; their files are fetched if none is on this machine."""
    if names is not None:
        names = [str(name) for name in names]
        unknown = ", ".join(name for name in names if name not in IMAGES)
        require(not unknown, f"The thesis has no image {unknown}; its images are 1 to {len(IMAGES)}.")
        return names
    points = _points_path()
    wanted = POINTS_OF[points] if annotated else IMAGES
    here = _here(wanted)
    if not here:
        others = [points, "data.csv"] if annotated else []
        registry.fetch_all(NAME, [*others, *map(_image_path, wanted)], progress=not annotated)
    if not annotated:
        return here or wanted
    for sentence in registry.lacking(NAME):
        log.info("%s", sentence)
    paths = {name: _or_none(registry.fetch_file, NAME, _image_path(name)) for name in wanted}
    return [name for name, path in paths.items() if path is not None]


def _points_path() -> str:
    """The file of points to use: the excerpt if only that is on this machine, else the published one."""
    return next((path for path in (POINTS, POINTS_CUT) if registry.find(NAME, path) is not None), POINTS)


def _or_none(fetch: Callable[..., Result], *arguments: Any) -> Result | None:
    """What `fetch` returns, or None and a warning if a file is not on this machine and cannot be fetched."""
    try:
        return fetch(*arguments)
    except NotAvailableError as error:
        log.warning("%s", error)
        return None


def marks(path: str) -> dict[str, Annotation]:
    """The marks in one of the annotation files: dict of image name to Annotation; raises as `load` does."""
    annotations, problems = read(registry.fetch_file(NAME, path))
    raise_errors(problems)
    return {beside.UPLOAD_PREFIX.sub("", a.image).rsplit(".", 1)[0]: a for a in annotations}


def _table() -> dict[str, dict[str, str]]:
    """{image name: row of data.csv}, whose columns are separated by blanks."""
    header, *rows = registry.fetch_file(NAME, "data.csv").read_text("utf-8").split("\n")
    return {row.split()[0]: dict(zip(header.split(), row.split(), strict=True)) for row in rows if row.split()}


def _sample(name: str, channel: str, row: Mapping[str, str], annotation: Annotation | None) -> Sample:
    source = registry.fetch_file(NAME, _image_path(name))
    image = read_image(source, channel)
    meta = {
        "flask": row["flask"], "objective": int(row["mag"]), "volume": float(row["vol"]),
        "device_count": float(row["count"]), "annotation": "sparse", "source": str(source),
        "sha256": registry.known_file(NAME, _image_path(name)).sha256,
    }  # fmt: skip
    if annotation is None:
        return Sample(name, image, meta=meta)
    live, dead, boxes = positions(annotation.points, "live"), positions(annotation.points, "dead"), None
    if name == "1":
        boxed, marked = (_or_none(marks, f"annotations/{kind}.json") for kind in ("boxes", "background"))
        boxes = positions(boxed["1"].boxes, "live", width=4) if boxed else None
        meta |= {"background": positions(marked["1"].points, "background")} if marked else {}
    valid = valid_region(image, np.concatenate([live, dead]))
    return Sample(name, image, live, valid, dead=dead, boxes=boxes, meta=meta)
