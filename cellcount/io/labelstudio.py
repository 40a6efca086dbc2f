"""Label Studio's JSON export: key points and rectangles in percent of the image.

Percentages are measured from the image's left and top edge, our pixels from the centre of the first pixel: p percent of
a width W are p / 100 * W - 0.5 px. (https://labelstud.io/guide/task_format, "Units of image annotations")
"""

import math
import re
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlparse

from cellcount.io.images import SUFFIXES
from cellcount.io.points import Annotation, Mark, Reader

UPLOAD_PREFIX = re.compile(r"^[0-9a-f]{8}-")  # Label Studio stores an uploaded 1.jpg as b07bc20f-1.jpg
_SHAPES = ("polygonlabels", "brushlabels", "ellipselabels", "polygon", "brush", "ellipse", "bitmask", "bitmasklabels")


def recognises(reader: Reader) -> bool:
    """Whether the file is a JSON export of Label Studio, of any of its kinds."""
    keys = {"annotations", "completions", "annotation_id", "data"}
    return isinstance(reader.json, list) and any(isinstance(task, dict) and keys & set(task) for task in reader.json)


def parse(reader: Reader) -> list[Annotation]:
    """One `Annotation` for each annotation of each task that was not cancelled."""
    found: list[Annotation] = []
    for number, task in enumerate(reader.json, 1):
        if not isinstance(task, dict):
            reader.add("ls-task", f"record {number}")
            continue
        where = f"task {task.get('id', number)}"
        if "annotations" not in task:
            reader.add("ls-min", where)
            return found
        image = image_name(task)
        if image is None:
            reader.add("ls-no-image", where)
            continue
        for annotation in task["annotations"] or []:
            if annotation.get("was_cancelled"):
                reader.add("ls-cancelled", where)
            else:
                found.append(_annotation(annotation, image, where, reader))
    if not found and not reader.problems:
        predicted = " There are only predictions." if any(task.get("predictions") for task in reader.json) else ""
        reader.add("ls-no-annotations", predicted=predicted)
    return found


def image_name(task: dict[str, Any]) -> str | None:
    """The image's file name, from the task's data (an address or path), else from the uploaded file; or None."""
    data = task.get("data")
    for value in [*(data.values() if isinstance(data, dict) else ()), task.get("file_upload")]:
        if isinstance(value, str):
            address = urlparse(value)
            place = parse_qs(address.query).get("d", [address.path])[0]  # local storage: /data/local-files/?d=a/1.jpg
            name = PurePosixPath(unquote(place)).name
            if name.lower().endswith(SUFFIXES):
                return name
    return None


def _annotation(annotation: dict[str, Any], image: str, where: str, reader: Reader) -> Annotation:
    person = annotation.get("completed_by", "")
    person = person.get("email", person.get("id", "")) if isinstance(person, dict) else person
    place = f"{where}, annotation {annotation.get('id', '')}"
    found = Annotation(reader.file, place, image, annotator=str(person))
    for result in annotation.get("result") or []:
        place = f"{where}, mark {result.get('id', '?')}"
        kind = str(result.get("type", ""))
        if kind in _SHAPES:
            reader.add("ls-type", place, type=kind)
        elif kind.startswith(("keypoint", "rectangle")):  # others (choices, relations, text) have no position
            _mark(result, kind.startswith("rectangle"), place, found, reader)
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
    numbers = reader.numbers([value.get(name) for name in names], "ls-number", place, names)
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
        found.points.append(Mark((top, left), label, place))
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
