"""COCO key points (https://cocodataset.org/#format-data): a dictionary with images, annotations and categories.

Key points are indices of pixels (0 is the first pixel), which is our origin. Boxes count from the image's top left
corner, half a pixel before it.
"""

from pathlib import Path, PurePosixPath
from typing import Any

from cellcount.io.points import Annotation, Mark, Reader
from cellcount.io.problems import Problem


def recognises(content: object) -> bool:
    """Whether parsed JSON looks like COCO."""
    return isinstance(content, dict) and "annotations" in content and "images" in content


def read(path: Path | str) -> tuple[list[Annotation], list[Problem]]:
    """Read COCO key points: (list of Annotation, one per listed image, (y, x) px; list of Problem)."""
    reader = Reader(Path(path))
    content = reader.json()
    return (parse(content, reader) if content is not None else []), reader.problems


def parse(content: dict[str, Any], reader: Reader) -> list[Annotation]:
    """The `Annotation`s of parsed JSON; problems go to `reader`.

    Every labelled key point (visibility 1 or 2) is a point of its annotation's category. An image listed without
    annotations counts as looked at and empty.
    """
    images = {}
    for number, image in enumerate(content["images"], 1):
        if not isinstance(image, dict) or "id" not in image or not isinstance(image.get("file_name"), str):
            what, todo = "The image has no id or no file_name.", "Give every image both."
            reader.problem("coco-image", f"image {number}", what, todo)
            continue
        name = PurePosixPath(image["file_name"].replace("\\", "/")).name
        height, width = image.get("height"), image.get("width")
        size = (height, width) if isinstance(height, int) and isinstance(width, int) else None
        images[image["id"]] = Annotation(reader.path.name, f"image {image['id']}", name, size)
    categories = {c.get("id"): str(c.get("name", "")) for c in content.get("categories") or [] if isinstance(c, dict)}
    bare = 0
    for number, entry in enumerate(content["annotations"], 1):
        if not isinstance(entry, dict):
            entry = {}
        where = f"annotation {entry.get('id', number)}"
        target = images.get(entry.get("image_id"))
        if target is None:
            what = f"The image_id {entry.get('image_id')!r} is not in the list of images."
            reader.problem("coco-image-id", where, what, "Add the image to the list, or delete the annotation.")
        elif "keypoints" in entry:
            _add(entry, categories.get(entry.get("category_id"), ""), where, target, reader)
        else:
            bare += 1
    if bare:
        what = f"{bare} of {len(content['annotations'])} annotations have no keypoints."
        todo = "Export key points (COCO key points), not only boxes or masks."
        reader.problem("coco-no-keypoints", "", what, todo)
    return list(images.values())


def _add(entry: dict[str, Any], label: str, where: str, target: Annotation, reader: Reader) -> None:
    flat = entry["keypoints"]
    if not isinstance(flat, list) or len(flat) % 3:
        what, todo = "keypoints is not a list of triples x, y, visibility.", "Write three numbers for every key point."
        reader.problem("coco-triples", where, what, todo)
        return
    for x, y, visibility in zip(flat[::3], flat[1::3], flat[2::3], strict=True):
        numbers = reader.numbers([y, x], "coco-number", where, ("y", "x"))
        if numbers is not None and visibility:
            target.points.append(Mark(tuple(numbers), label, where))
    box = entry.get("bbox")
    if isinstance(box, list) and len(box) == 4:
        numbers = reader.numbers(box, "coco-number", where, ("bbox x", "bbox y", "bbox width", "bbox height"))
        if numbers is not None and numbers[2] > 0 and numbers[3] > 0:
            left, top, width, height = numbers
            corners = (top - 0.5, left - 0.5, top + height - 0.5, left + width - 0.5)
            target.boxes.append(Mark(corners, label, where))
