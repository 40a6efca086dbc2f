"""COCO key points (https://cocodataset.org/#format-data): a dictionary with images, annotations and categories.

Key points are indices of pixels (0 is the first pixel), as our coordinates are. Boxes are measured from the image's top
left corner, half a pixel before it.
"""

from pathlib import PurePosixPath
from typing import Any

from cellcount.io.points import Annotation, Mark, Reader


def recognises(reader: Reader) -> bool:
    """Whether the file is JSON in the format COCO."""
    return isinstance(reader.json, dict) and "annotations" in reader.json and "images" in reader.json


def parse(reader: Reader) -> list[Annotation]:
    """One `Annotation` for each listed image.

    Every labelled key point (visibility 1 or 2) is a point of its annotation's category. An image listed without
    annotations is annotated as having no cell.
    """
    content = reader.json
    images = {}
    for number, image in enumerate(content["images"], 1):
        if not isinstance(image, dict) or "id" not in image or not isinstance(image.get("file_name"), str):
            reader.add("coco-image", f"image {number}")
            continue
        name = PurePosixPath(image["file_name"].replace("\\", "/")).name
        height, width = image.get("height"), image.get("width")
        size = (height, width) if isinstance(height, int) and isinstance(width, int) else None
        images[image["id"]] = Annotation(reader.file, f"image {image['id']}", name, size)
    categories = {c.get("id"): str(c.get("name", "")) for c in content.get("categories") or []}
    bare = 0
    for number, entry in enumerate(content["annotations"], 1):
        where = f"annotation {entry.get('id', number)}"
        target = images.get(entry.get("image_id"))
        if target is None:
            reader.add("coco-image-id", where, id=entry.get("image_id"))
        elif "keypoints" in entry:
            _add(entry, categories.get(entry.get("category_id"), ""), where, target, reader)
        else:
            bare += 1
    if bare:
        reader.add("coco-no-keypoints", bare=bare, all=len(content["annotations"]))
    return list(images.values())


def _add(entry: dict[str, Any], label: str, where: str, target: Annotation, reader: Reader) -> None:
    flat = entry["keypoints"]
    if not isinstance(flat, list) or len(flat) % 3:
        return reader.add("coco-triples", where)
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
