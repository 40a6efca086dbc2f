"""The thesis' data: 34 phase-contrast fields (2048 x 1536 px) of 6 flasks, some of them annotated.

The fields were taken with an EVOS XL Core at 10x, 20x and 40x. Neither the files nor the table give the size of a
pixel, so `pixel_size_um` is None.

The green channel is used: its mean gradient (after a Gaussian of 1 px) relative to its standard deviation is .201 on
average over the 34 fields, against .192 in red and .179 in blue, and is the largest of the three in 29 fields.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from cellcount import registry
from cellcount.data.valid import valid_region
from cellcount.errors import NotAvailableError, ParameterError
from cellcount.io import labelstudio
from cellcount.io.images import read_image
from cellcount.io.points import Annotation, positions, read
from cellcount.io.problems import raise_errors
from cellcount.types import Sample

log = logging.getLogger(__name__)

NAME = "thesis"
IMAGES = tuple(str(number) for number in range(1, 35))
# Upstream's file of points has images 1, 2 and 4; the cut of it, seen in some local folders, has 1 and 2.
POINTS = "annotations/points2.json"
POINTS_CUT = "annotations/points2-images-1-2.json"
POINTS_OF = {POINTS: ("1", "2", "4"), POINTS_CUT: ("1", "2")}


def names(annotated: bool = True) -> Sequence[str]:
    """Names of the fields that `load` gives by default: the annotated ones, or all of those on this machine."""
    return POINTS_OF[_points_path()] if annotated else _present()


def load(names: Iterable[str] | None = None, *, annotated: bool = True, channel: str = "auto") -> list[Sample]:
    """The thesis' fields.

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
        If nothing of it is on this machine and it cannot be fetched.
    DataError
        If a file is not the registered one.
    """
    return list(iterate(names, annotated=annotated, channel=channel))


def iterate(names: Iterable[str] | None = None, *, annotated: bool = True, channel: str = "auto") -> Iterator[Sample]:
    """Like `load`, one Sample at a time."""
    wanted = _wanted(names, annotated)
    table = _table()
    points = {}
    if set(wanted) & set(POINTS_OF[POINTS]):
        try:
            points = _marks(_points_path())
        except NotAvailableError as error:
            if annotated and names is None:
                raise
            log.warning("%s", error)
    for name in wanted:
        yield _sample(name, channel, table, points.get(name))


def points_plus(channel: str = "auto") -> Sample:
    """Image 1 with the points of a second pass by the same person (1921 live): a superset of the first, in fact.

    Raises as `load` does.
    """
    first = load(["1"], channel=channel)[0]
    marks = _marks("annotations/points-plus.json")["1"]
    live = positions(marks.points, "live")
    valid = valid_region(first.image, np.concatenate([live, first.dead]))
    return replace(first, name="1+", points=live, valid=valid, meta=first.meta | {"pass": 2})


def missing() -> list[str]:
    """Sentences on what upstream has and this machine lacks; an empty list if nothing."""
    absent = {known.path: known for known in registry.missing(NAME)}
    sentences = []
    fields = [path for path in absent if path.startswith("images/")]
    if fields:
        size = registry.megabytes(sum(absent[path].bytes for path in fields))
        sentences.append(f"thesis: {len(fields)} of {len(IMAGES)} images are not on this machine ({size}).")
    if POINTS in absent and registry.find(NAME, POINTS_CUT) is not None:
        sentences.append("thesis: points of images 1 and 2 are here, those of image 4 are missing (points2.json).")
    elif POINTS in absent:
        sentences.append("thesis: the points (points2.json) are not on this machine.")
    rest = [path for path in absent if path not in fields and path != POINTS]
    if rest:
        sentences.append(f"thesis: {', '.join(rest)} {'is' if len(rest) == 1 else 'are'} not on this machine.")
    return sentences


def _wanted(names: Iterable[str] | None, annotated: bool) -> Sequence[str]:
    if names is not None:
        names = [str(name) for name in names]
        unknown = [name for name in names if name not in IMAGES]
        if unknown:
            raise ParameterError(f"The thesis has no image {', '.join(unknown)}; its images are 1 to {len(IMAGES)}.")
        return names
    if not annotated:
        return _present() or _fetch_images()
    points = _points_path()
    paths = {name: f"images/{name}.jpg" for name in POINTS_OF[points]}
    here = [name for name, path in paths.items() if registry.find(NAME, path) is not None]
    if not here:
        registry.fetch_all(NAME, [points, "data.csv", *paths.values()], progress=False)
        here = list(paths)
    for name in set(paths) - set(here):
        try:
            registry.fetch_file(NAME, paths[name])
            here.append(name)
        except NotAvailableError as error:
            log.warning("%s", error)
    for sentence in missing():
        log.info("%s", sentence)
    return [name for name in paths if name in here]


def _present() -> tuple[str, ...]:
    return tuple(name for name in IMAGES if registry.find(NAME, f"images/{name}.jpg") is not None)


def _fetch_images() -> tuple[str, ...]:
    registry.fetch_all(NAME, [f"images/{name}.jpg" for name in IMAGES])
    return IMAGES


def _points_path() -> str:
    """The file of points to be used: upstream's if it is on this machine, else the cut if that is, else upstream's."""
    here = [path for path in (POINTS, POINTS_CUT) if registry.find(NAME, path) is not None]
    return here[0] if here else POINTS


def _marks(path: str) -> dict[str, Annotation]:
    """{image name: Annotation} of one of the annotation files."""
    annotations, problems = read(registry.fetch_file(NAME, path))
    raise_errors(problems)
    return {labelstudio.UPLOAD_PREFIX.sub("", a.image).rsplit(".", 1)[0]: a for a in annotations}


def _table() -> dict[str, dict[str, str]]:
    """{image name: row of data.csv}, which is a table in columns separated by blanks."""
    header, *rows = registry.fetch_file(NAME, "data.csv").read_text("utf-8").split("\n")
    return {row.split()[0]: dict(zip(header.split(), row.split(), strict=True)) for row in rows if row.split()}


def _sample(name: str, channel: str, table: Mapping[str, Mapping[str, str]], annotation: Annotation | None) -> Sample:
    path = f"images/{name}.jpg"
    source = registry.fetch_file(NAME, path)
    image = read_image(source, channel)
    row = table[name]
    meta = {
        "flask": row["flask"],
        "objective": int(row["mag"]),
        "volume": float(row["vol"]),
        "device_count": float(row["count"]),
        "annotation": "sparse",
        "source": str(source),
        "sha256": registry.known_file(NAME, path).sha256,
    }
    if annotation is None:
        return Sample(name=name, image=image, meta=meta)
    live, dead, boxes = positions(annotation.points, "live"), positions(annotation.points, "dead"), None
    if name == "1":
        boxes = _optional("annotations/boxes.json", lambda found: positions(found.boxes, "live", width=4))
        background = _optional("annotations/background.json", lambda found: positions(found.points, "background"))
        meta |= {} if background is None else {"background": background}
    valid = valid_region(image, np.concatenate([live, dead]))
    return Sample(name=name, image=image, points=live, dead=dead, boxes=boxes, valid=valid, meta=meta)


def _optional(path: str, take: Callable[[Annotation], np.ndarray]) -> np.ndarray | None:
    """What `take` finds in an annotation file of image 1, or None if the file is not here and cannot be fetched."""
    try:
        return take(_marks(path)["1"])
    except NotAvailableError as error:
        log.warning("%s", error)
        return None
