"""labelme's JSON: one image a file, shapes with `shape_type` "point".

Coordinates are measured from the image's top left corner, half a pixel before our origin: labelme paints the image from
(0, 0) to (width, height) of its canvas and stores canvas positions (`labelme/widgets/canvas.py`). The form is that of
labelme 5 (https://github.com/wkentaro/labelme, examples/primitives).
"""

import json
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from cellcount.io import beside
from cellcount.io.points import CORNER, Annotation, Reader
from cellcount.io.problems import Report, listed

VERSION = "5.4.1"


def recognises(reader: Reader) -> bool:
    """Whether the file is JSON of labelme."""
    return isinstance(reader.json, dict) and isinstance(reader.json.get("shapes"), list) and "imagePath" in reader.json


def parse(reader: Reader) -> list[Annotation]:
    """One `Annotation`."""
    content = reader.json
    named = content["imagePath"]
    named = named if isinstance(named, str) else ""
    there = beside.image(reader.path, named) if named else None
    image = there.name if there else PurePosixPath(named.replace("\\", "/")).name
    height, width = content.get("imageHeight"), content.get("imageWidth")
    size = (height, width) if isinstance(height, int) and isinstance(width, int) else None
    found, others = Annotation(reader.file, "imagePath", image or reader.owner, size), []
    unread = {str(name) for name, said in (content.get("flags") or {}).items() if said}
    for number, shape in enumerate(content["shapes"], 1):
        where = f"shape {number}"
        if shape.get("shape_type") != "point":
            others.append(shape.get("shape_type") or "polygon")
            continue
        unread |= {str(name) for name, said in (shape.get("flags") or {}).items() if said}
        [(x, y)] = shape["points"]
        reader.point(found, {"y": y, "x": x}, str(shape.get("label") or ""), where, CORNER)
    if unread:
        reader.add("attributes-unread", names=listed(sorted(unread)))
    return reader.marked([found], others)


def write(path: Path, annotations: Sequence[Annotation], report: Report) -> None:
    """Write the points of one image; a point without a label is a "cell"."""
    [one] = annotations
    height, width = one.size or (None, None)
    shapes: list[dict[str, Any]] = [
        {"label": mark.label or "cell", "points": [[x - CORNER, y - CORNER]], "group_id": None, "description": "",
         "shape_type": "point", "flags": {}, "mask": None}
        for mark in one.points
        for y, x in [mark.position]
    ]  # fmt: skip
    saved: dict[str, Any] = {
        "version": VERSION, "flags": {}, "shapes": shapes, "imagePath": one.image, "imageData": None,
        "imageHeight": height, "imageWidth": width,
    }  # fmt: skip
    path.write_text(json.dumps(saved, indent=1), "utf-8")
