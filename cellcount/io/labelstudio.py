"""Label Studio's JSON: key points and rectangles in percent of the image; tasks with predictions are written.

Percentages are measured from the image's left and top edge, our pixels from the centre of the first pixel: p percent of
a width W are p / 100 * W - 0.5 px. (https://labelstud.io/guide/task_format, "Units of image annotations")

A task may show a crop of an image: its data then have `source` (the image's name), `top` and `left` (px) and perhaps
`margin` (px, 32 by default: the darkened edge of a crop, which shows cells of its neighbours), `height` and `width` (of
the crop), `source_height` and `source_width`. The crops of an image become one annotation of it.
"""

import json
import math
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlparse

from cellcount.io.crops import MARGIN, Crop, stitched
from cellcount.io.images import SUFFIXES
from cellcount.io.points import Annotation, Mark, Reader, as_number
from cellcount.io.problems import Report, listed

_MARKS = ("keypoint", "rectangle")
_PLACED = {"x", "points", "vertices", "rle", "imageDataURL", "sequence"}  # what the values of other shapes have
_IMAGE = ("image", "img")  # keys of the data that hold the image that was annotated, and no other one beside it
_ONLY = " There are only predictions, which `cellcount data convert --predictions` reads."


def recognises(reader: Reader) -> bool:
    """Whether the file is a JSON export of Label Studio, of any of its kinds."""
    keys = {"annotations", "completions", "annotation_id", "data"}
    return isinstance(reader.json, list) and any(isinstance(task, dict) and keys & set(task) for task in reader.json)


def parse(reader: Reader) -> list[Annotation]:
    """One `Annotation` for each annotation of each task that was not cancelled, or for each prediction if asked for.

    All crops of an image are one. A second copy of an annotation is dropped with a warning.
    """
    kind = "predictions" if reader.predictions else "annotations"
    found: list[Annotation] = []
    crops: dict[str, list[tuple[Crop, list[Annotation]]]] = {}
    seen: set[str] = set()
    places: dict[str, str] = {}
    unread: set[str] = set()
    named: dict[str, list[str]] = {"ls-cancelled": [], "ls-drafts": [], "ls-crops": [], "ls-no-marks": []}
    twice = 0
    for number, task in enumerate(reader.json, 1):
        if not isinstance(task, dict):
            reader.add("ls-task", f"record {number}")
            continue
        where = f"task {task.get('id', number)}"
        if "annotations" not in task and not isinstance(task.get("data"), dict):
            reader.add("ls-min", where)
            return found
        crop = _crop(task, where, reader)
        image = crop.source if crop else image_name(task)
        if image is None:
            reader.add("ls-no-image", where)
            continue
        if not crop and len(several := _places(task)) > 1:
            reader.add("ls-several", where, names=listed(several))
            continue
        if not crop and places.setdefault(image, place := str(_place(task))) != place:
            reader.add("image-ambiguous", where, named=place, other=places[image], found=image)
            continue
        named["ls-drafts"] += [where] * bool(task.get("drafts"))
        inside: list[Annotation] = []
        for record in task.get(kind) or []:
            if record.get("was_cancelled"):
                named["ls-cancelled"].append(where)
            elif _only_said(record):
                named["ls-no-marks"].append(where)
            else:
                unread |= _unread(record)
                one = _annotation(record, image, where, reader)
                key = json.dumps([image, crop, one.annotator, record.get("result")], sort_keys=True)
                twice += key in seen
                inside += [] if key in seen else [one]
                seen.add(key)
        if crop:
            crops.setdefault(image, []).append((crop, inside))
        else:
            found += inside
    for pieces in crops.values():
        found += stitched(pieces, reader, named["ls-crops"])
    if unread:
        reader.add("attributes-unread", names=listed(sorted(unread)))
    for kind, names in named.items():
        if names:
            reader.add(kind, names=listed(names))
    if twice:
        reader.add("ls-twice", count=twice)
    if not found and not reader.problems:
        predicted = any(isinstance(task, dict) and task.get("predictions") for task in reader.json)
        reader.add("ls-no-predictions" if reader.predictions else "ls-no-annotations", predicted=_ONLY * predicted)
    return found


def _crop(task: dict[str, Any], where: str, reader: Reader) -> Crop | None:
    """The crop that a task shows; None if it shows a whole image."""
    data = task.get("data")
    if not isinstance(data, dict) or not {"source", "top", "left"} <= set(data):
        return None
    placed = {"top": 0, "left": 0, "margin": MARGIN}
    sizes = dict.fromkeys(("source_height", "source_width", "height", "width"), 0)
    numbers = reader.numbers({name: data.get(name, default) for name, default in (placed | sizes).items()}, where)
    if numbers is None or not isinstance(data["source"], str):
        return None
    start, margin, whole, size = tuple(numbers[:2]), numbers[2], tuple(numbers[3:5]), tuple(numbers[5:])
    return Crop(data["source"], start, margin, whole if min(whole) > 0 else None, size if min(size) > 0 else None)


def image_name(task: dict[str, Any]) -> str | None:
    """The image's file name, from the task's data (an address or path), else from the uploaded file; or None."""
    place = _place(task)
    return place and PurePosixPath(place).name


def _place(task: dict[str, Any]) -> str | None:
    """The path of the image on its server, or None."""
    return next(iter(_places(task)), None)


def _places(task: dict[str, Any]) -> list[str]:
    """The paths of images that one may be meant of: that of the key `image` or `img`, or else of all other keys."""
    data = task.get("data")
    data = data if isinstance(data, dict) else {}
    for values in (*([data.get(key)] for key in _IMAGE), list(data.values()), [task.get("file_upload")]):
        found = []
        for value in values:
            if isinstance(value, str) and not value.startswith("data:"):
                address = urlparse(value)
                place = parse_qs(address.query).get("d", [address.netloc + address.path])[0]  # local-files/?d=a/1.jpg
                found += [unquote(place)] * place.lower().endswith(SUFFIXES)
        if found:
            return list(dict.fromkeys(found))
    return []


def _unread(record: dict[str, Any]) -> set[str]:
    """The names of what was said of single marks, such as choices for each region."""
    results = record.get("result") or []
    marks = {str(one.get("id")) for one in results if str(one.get("type")).startswith(_MARKS)}
    rest = (one for one in results if str(one.get("id")) in marks and not str(one.get("type")).startswith(_MARKS))
    return {str(one.get("from_name") or one.get("type")) for one in rest}


def _only_said(record: dict[str, Any]) -> bool:
    """Whether an annotation has results, but none with a place: choices, text or ratings of the whole image."""
    results = record.get("result") or []
    return bool(results) and not any(
        str(one.get("type")).startswith(_MARKS) or _PLACED & set(one.get("value") or ()) for one in results
    )


def _annotation(annotation: dict[str, Any], image: str, where: str, reader: Reader) -> Annotation:
    person = annotation.get("completed_by", annotation.get("model_version") or "")
    person = person.get("email", person.get("id", "")) if isinstance(person, dict) else person
    place = f"{where}, annotation {annotation.get('id', '')}"
    found = Annotation(reader.file, place, image, annotator=str(person))
    results = annotation.get("result") or []
    items = {result.get("item_index") for result in results} - {None}
    if len(items) > 1:
        reader.add("marks-slices", place, count=len(items))
    for result in results:
        place = f"{where}, mark {result.get('id', '?')}"
        kind = str(result.get("type", ""))
        if kind.startswith(_MARKS):
            _mark(result, kind.startswith("rectangle"), place, found, reader)
        elif _PLACED & set(result.get("value") or ()):  # others (choices, relations, text) have no position
            reader.add("ls-type", place, type=kind)
    return found


def _mark(result: dict[str, Any], box: bool, place: str, found: Annotation, reader: Reader) -> None:
    """Add one key point or rectangle to the annotation `found`."""
    value: Any = result.get("value") or {}
    size: tuple[Any, Any] = (result.get("original_height"), result.get("original_width"))
    if not all(isinstance(side, int) and side > 0 for side in size):
        return reader.add("ls-no-size", place, size=f"{size[1]} x {size[0]}")
    if result.get("image_rotation"):
        return reader.add("ls-image-rotated", place, degrees=result["image_rotation"])
    names = ("x", "y", "width", "height") if box else ("x", "y")
    numbers = reader.numbers({name: value.get(name) for name in names}, place)
    if numbers is None:
        return None
    x, y = numbers[:2]
    if not (0 <= x <= 100 and 0 <= y <= 100):
        return reader.add("ls-percent", place, x=x, y=y)
    if found.size not in (None, size):
        return reader.add("ls-no-size", place, size=f"both {found.size} and {size} (height, width)")
    found.size = size
    labels = value.get("keypointlabels") or value.get("rectanglelabels") or value.get("labels") or [""]
    label = str(labels[0])
    left, top = x / 100 * size[1] - 0.5, y / 100 * size[0] - 0.5
    if not box:
        score, origin = as_number(result.get("score")), str(result.get("origin") or "")
        found.points.append(Mark((top, left), label, place, score, origin))
        return None
    degrees = value.get("rotation") or 0
    if degrees:
        reader.add("ls-box-rotated", place, degrees=degrees)
    # The bounds of a rectangle that is turned clockwise around its top left corner.
    width, height = numbers[2] / 100 * size[1], numbers[3] / 100 * size[0]
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    across = [left + a * width * cosine - b * height * sine for a in (0, 1) for b in (0, 1)]
    down = [top + a * width * sine + b * height * cosine for a in (0, 1) for b in (0, 1)]
    found.boxes.append(Mark((min(down), min(across), max(down), max(across)), label, place))


def write(path: Path, annotations: Iterable[Annotation], report: Report) -> None:
    """Write one task for each image, with its marks as a prediction."""
    tasks = [task(one) for one in annotations]
    path.write_text(json.dumps(tasks), "utf-8")


def task(one: Annotation, data: dict[str, Any] | None = None, names: tuple[str, str] = ("kp-1", "img-1")) -> dict:
    """The task of an annotation, whose `size` must be known, as Label Studio imports it.

    Parameters
    ----------
    one : Annotation
        Its `annotator` is the model's version.
    data : dict
        What the task shows; the image's name by default.
    names : (str, str)
        Those of the key points and of the image in the labelling configuration (`from_name`, `to_name`).
    """
    assert one.size is not None  # `cellcount.io.writing` sees to it
    results = [_result(mark, number, one.size, names) for number, mark in enumerate([*one.points, *one.boxes], 1)]
    prediction: dict[str, Any] = {"model_version": one.annotator or "cellcount", "result": results}
    scores = [mark.score for mark in one.points if mark.score is not None]
    if scores:
        prediction["score"] = sum(scores) / len(scores)
    return {"data": data or {"image": one.image}, "predictions": [prediction]}


def _result(mark: Mark, number: int, size: tuple[int, int], names: tuple[str, str]) -> dict[str, Any]:
    """A point or box as a region of Label Studio."""
    height, width = size
    y, x = mark.position[:2]
    kind = "keypoint" if len(mark.position) == 2 else "rectangle"
    value: dict[str, Any] = {"x": (x + 0.5) / width * 100, "y": (y + 0.5) / height * 100, "width": 0.4}
    if kind == "rectangle":
        y1, x1 = mark.position[2:]
        value |= {"width": (x1 - x) / width * 100, "height": (y1 - y) / height * 100, "rotation": 0}
    labels = {f"{kind}labels": [mark.label]} if mark.label else {}
    result = {
        "id": f"c{number}", "from_name": names[0], "to_name": names[1], "type": kind + "labels" * bool(labels),
        "original_width": width, "original_height": height, "image_rotation": 0, "value": value | labels,
    }  # fmt: skip
    return result if mark.score is None else result | {"score": mark.score}
