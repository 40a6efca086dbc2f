"""Label Studio's JSON export: key points and rectangles in percent of the image.

Percent count from the image's left and top edge, our pixels from the centre of the first pixel: a place at p percent
of a width W lies at p / 100 * W - 0.5 px. (https://labelstud.io/guide/task_format, "Units of image annotations")
"""

import math
import re
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlparse

from cellcount.io.images import SUFFIXES
from cellcount.io.points import Annotation, Mark, Reader
from cellcount.io.problems import Problem

UPLOAD_PREFIX = re.compile(r"^[0-9a-f]{8}-")  # Label Studio stores an uploaded 1.jpg as b07bc20f-1.jpg
_SHAPES = ("polygonlabels", "brushlabels", "ellipselabels", "polygon", "brush", "ellipse", "bitmask", "bitmasklabels")


def recognises(content: object) -> bool:
    """Whether parsed JSON is a Label Studio export (of any of its JSON kinds)."""
    return isinstance(content, list) and any(isinstance(task, dict) and _is_task(task) for task in content)


def _is_task(task: dict[str, Any]) -> bool:
    return "annotations" in task or "completions" in task or "annotation_id" in task or "data" in task


def read(path: Path | str) -> tuple[list[Annotation], list[Problem]]:
    """Read a Label Studio JSON export.

    Returns
    -------
    list of Annotation
        One for each annotation of each task that was not cancelled. Positions in (y, x) px.
    list of Problem
    """
    reader = Reader(Path(path))
    content = reader.json()
    return (parse(content, reader) if content is not None else []), reader.problems


def parse(content: list[Any], reader: Reader) -> list[Annotation]:
    """The `Annotation`s of parsed JSON; problems go to `reader`."""
    found: list[Annotation] = []
    cancelled = 0
    for number, task in enumerate(content, 1):
        if not isinstance(task, dict):
            todo = "Export the project again as JSON."
            reader.problem("ls-task", f"record {number}", "This is not a Label Studio task.", todo)
            continue
        where = f"task {task.get('id', number)}"
        if "annotations" not in task:
            what, todo = "The task is in the short form JSON-MIN.", "Export the project as JSON, not as JSON-MIN."
            reader.problem("ls-min", where, what, todo)
            return found
        image = image_name(task)
        if image is None:
            what, todo = "The task names no image.", "Give each task an image, or delete the task."
            reader.problem("ls-no-image", where, what, todo)
            continue
        for annotation in task["annotations"] or []:
            if not isinstance(annotation, dict):
                what, todo = "One of its annotations is not a record.", "Export the project again as JSON."
                reader.problem("ls-task", where, what, todo)
                continue
            if annotation.get("was_cancelled"):
                cancelled += 1
                what, todo = "The annotation was cancelled (skipped) and is not used.", "Submit it if it is meant."
                reader.problem("ls-cancelled", where, what, todo, "warning")
                continue
            found.append(_annotation(annotation, image, where, reader))
    if not found and not cancelled and not reader.problems:
        predicted = " It holds predictions only." if any(task.get("predictions") for task in content) else ""
        todo = "Submit the annotations in Label Studio, then export again."
        reader.problem("ls-no-annotations", "", f"No task has an annotation.{predicted}", todo)
    return found


def image_name(task: dict[str, Any]) -> str | None:
    """The image's file name, from the task's data (an address or path), else from the uploaded file; or None."""
    data = task.get("data")
    for value in [*(data.values() if isinstance(data, dict) else ()), task.get("file_upload")]:
        if not isinstance(value, str):
            continue
        address = urlparse(value)
        place = parse_qs(address.query).get("d", [address.path])[0]  # local storage: /data/local-files/?d=a/1.jpg
        name = PurePosixPath(unquote(place)).name
        if name.lower().endswith(SUFFIXES):
            return name
    return None


def _annotation(annotation: dict[str, Any], image: str, where: str, reader: Reader) -> Annotation:
    person = annotation.get("completed_by", "")
    person = person.get("email", person.get("id", "")) if isinstance(person, dict) else person
    found = Annotation(reader.path.name, f"{where}, annotation {annotation.get('id', '')}", image)
    found.annotator = str(person)
    for result in annotation.get("result") or []:
        if not isinstance(result, dict):
            reader.problem("ls-task", where, "One of its marks is not a record.", "Export the project again as JSON.")
            continue
        place = f"{where}, mark {result.get('id', '?')}"
        kind = str(result.get("type", ""))
        if kind in _SHAPES:
            todo = "Mark cells with key points, or label objects with rectangles."
            reader.problem("ls-type", place, f"Marks of the type {kind} are not supported.", todo)
        elif kind.startswith(("keypoint", "rectangle")):  # others (choices, relations, text) are no places
            _mark(result, kind, place, found, reader)
    return found


def _mark(result: dict[str, Any], kind: str, place: str, found: Annotation, reader: Reader) -> None:
    """Add one key point or rectangle to the annotation `found`."""
    value: Any = result.get("value")
    value = value if isinstance(value, dict) else {}
    size: tuple[Any, Any] = (result.get("original_height"), result.get("original_width"))
    if not all(isinstance(side, int) and side > 0 for side in size):
        what, todo = f"The size of the image is given as {size[1]} x {size[0]}.", "Export the project again."
        return reader.problem("ls-no-size", place, what, todo)
    if result.get("image_rotation"):
        what = f"The image was rotated by {result['image_rotation']} degrees in Label Studio."
        return reader.problem("ls-image-rotated", place, what, "Rotate the image file instead and annotate that.")
    box = kind.startswith("rectangle")
    names = ("x", "y", "width", "height") if box else ("x", "y")
    numbers = reader.numbers([value.get(name) for name in names], "ls-number", place, names)
    if numbers is None:
        return None
    if not (0 <= numbers[0] <= 100 and 0 <= numbers[1] <= 100):
        what = f"x = {numbers[0]:g} %, y = {numbers[1]:g} % lies outside of 0 to 100 %."
        return reader.problem("ls-percent", place, what, "Move or delete this mark; coordinates must be in percent.")
    if found.size not in (None, size):
        what = f"The image's size changes within the annotation from {found.size} to {size} (height, width)."
        return reader.problem("ls-no-size", place, what, "Export the project again.")
    found.size = size
    labels = value.get("keypointlabels") or value.get("rectanglelabels") or value.get("labels") or [""]
    label = str(labels[0])
    if box:
        x, y, width, height = numbers
        corners = _corners(x, y, width, height, value.get("rotation") or 0, size)
        if value.get("rotation"):
            what = f"The rectangle is rotated by {value['rotation']:g} degrees; its upright bounds are used."
            reader.problem("ls-box-rotated", place, what, "Draw upright rectangles for tighter boxes.", "warning")
        found.boxes.append(Mark(corners, label, place))
    else:
        y, x = numbers[1] / 100 * size[0] - 0.5, numbers[0] / 100 * size[1] - 0.5
        found.points.append(Mark((y, x), label, place))
    return None


def _corners(
    x: float, y: float, width: float, height: float, rotation: float, size: tuple[int, int]
) -> tuple[float, float, float, float]:
    """(y0, x0, y1, x1) px: bounds of a rectangle in percent, turned clockwise by degrees around its top left corner."""
    left, top = x / 100 * size[1] - 0.5, y / 100 * size[0] - 0.5
    width, height = width / 100 * size[1], height / 100 * size[0]
    cosine, sine = math.cos(math.radians(rotation)), math.sin(math.radians(rotation))
    across = [left + a * width * cosine - b * height * sine for a in (0, 1) for b in (0, 1)]
    down = [top + a * width * sine + b * height * cosine for a in (0, 1) for b in (0, 1)]
    return min(down), min(across), max(down), max(across)
