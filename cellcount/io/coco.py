"""COCO key points (https://cocodataset.org/#format-data): a dictionary with images, annotations and categories.

Key points are indices of pixels (0 is the first pixel), as our coordinates are. Boxes are measured from the image's top
left corner, half a pixel before it. CVAT exports its own coordinates, from the corner, as key points: prefer its XML,
which is read exactly.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cellcount.io.points import CORNER, Annotation, Mark, Reader, as_number
from cellcount.io.problems import Report


def recognises(reader: Reader) -> bool:
    """Whether the file is JSON in the format COCO."""
    return isinstance(reader.json, dict) and "annotations" in reader.json and "images" in reader.json


def parse(reader: Reader) -> list[Annotation]:
    """One `Annotation` for each listed image with a mark, or with `"complete": true` (an entry of our own).

    Every labelled key point (visibility 1 or 2) is a point of its annotation's category; others are counted in a
    warning. An image without annotations is not annotated: CVAT lists all images of a task.
    """
    content = reader.json
    images, complete = {}, set()
    for number, image in enumerate(content["images"], 1):
        if not isinstance(image, dict) or "id" not in image or not isinstance(image.get("file_name"), str):
            reader.add("coco-image", f"image {number}")
            continue
        name = image["file_name"]
        height, width = image.get("height"), image.get("width")
        size = (height, width) if isinstance(height, int) and isinstance(width, int) else None
        if image["id"] in images:
            reader.add("coco-image-twice", f"image {number}", id=image["id"])
        images[image["id"]] = Annotation(reader.file, f"image {image['id']}", name, size)
        complete |= {name} if image.get("complete") is True else set()
    categories = {c.get("id"): str(c.get("name", "")) for c in content.get("categories") or []}
    bare = invisible = 0
    for number, entry in enumerate(content["annotations"], 1):
        where = f"annotation {entry.get('id', number)}"
        target = images.get(entry.get("image_id"))
        if target is None:
            reader.add("coco-image-id", where, id=entry.get("image_id"))
        elif "keypoints" in entry:
            category = entry.get("category_id")
            label = categories.get(category, "" if category is None else f"category {category}")
            invisible += _add(entry, label, where, target, reader)
        else:
            bare += 1
    if bare:
        reader.add("coco-no-keypoints", bare=bare, all=len(content["annotations"]))
    if invisible:
        reader.add("coco-invisible", count=invisible)
    return reader.marked(images.values(), declared=complete)


def _add(entry: dict[str, Any], label: str, where: str, target: Annotation, reader: Reader) -> int:
    """Add the labelled key points of an entry to `target`; returns the number of the others."""
    flat = entry["keypoints"]
    if not isinstance(flat, list) or len(flat) % 3:
        reader.add("coco-triples", where)
        return 0
    for x, y, visibility in zip(flat[::3], flat[1::3], flat[2::3], strict=True):
        if visibility and reader.numbers({"visibility": visibility}, where):
            reader.point(target, {"y": y, "x": x}, label, where, score=as_number(entry.get("score")))
    box = entry.get("bbox")
    if isinstance(box, list) and len(box) == 4:
        numbers = reader.numbers(dict(zip(("bbox x", "bbox y", "bbox width", "bbox height"), box)), where)
        if numbers is not None and numbers[2] > 0 and numbers[3] > 0:
            left, top, width, height = numbers
            corners = (top + CORNER, left + CORNER, top + height + CORNER, left + width + CORNER)
            target.boxes.append(Mark(corners, label, where))
    return sum(not visibility for visibility in flat[2::3])


def write(path: Path, annotations: Sequence[Annotation], report: Report) -> None:
    """Write the points of all images, which are declared complete; a point without a label is a "cell"."""
    labels = list(dict.fromkeys(mark.label or "cell" for one in annotations for mark in one.points)) or ["cell"]
    images: list[dict[str, Any]] = []
    entries: list[dict[str, Any]] = []
    for number, one in enumerate(annotations, 1):
        size = dict(zip(("height", "width"), one.size)) if one.size else {}
        images.append({"id": number, "file_name": one.image, "complete": True} | size)
        for mark in one.points:
            y, x = mark.position
            entry = {
                "id": len(entries) + 1, "image_id": number, "category_id": labels.index(mark.label or "cell") + 1,
                "keypoints": [x, y, 2], "num_keypoints": 1, "bbox": [x, y, 0, 0], "area": 0, "iscrowd": 0,
            }  # fmt: skip
            entries.append(entry | ({} if mark.score is None else {"score": mark.score}))
    categories = [
        {"id": n, "name": label, "supercategory": "cell", "keypoints": ["centre"], "skeleton": []}
        for n, label in enumerate(labels, 1)
    ]
    path.write_text(json.dumps({"images": images, "annotations": entries, "categories": categories}), "utf-8")
