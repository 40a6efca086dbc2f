"""QuPath's GeoJSON: points, or sets of points with one classification; one image a file.

Coordinates are measured from the image's top left corner, half a pixel before our origin: QuPath's pixel (0, 0) extends
from 0 to 1. The form is that of QuPath 0.4 and 0.5 (`PathObjectTypeAdapters.java`, `ROITypeAdapters.java`).
"""

import json
import uuid
from collections.abc import Sequence
from pathlib import Path

from cellcount.io.points import CORNER, Annotation, Reader, role
from cellcount.io.problems import Report, listed


def recognises(reader: Reader) -> bool:
    """Whether the file is GeoJSON: a collection, a list of features, or one."""
    content = reader.json
    first = content[0] if isinstance(content, list) and content else content
    return isinstance(first, dict) and first.get("type") in ("FeatureCollection", "Feature")


def parse(reader: Reader) -> list[Annotation]:
    """One `Annotation`; its `image` is that of the file's name. The label is the classification."""
    content = reader.json
    features = content if isinstance(content, list) else content.get("features", [content])
    found, others, slices = Annotation(reader.file, "", reader.owner), [], set()
    named: set[str] = set()  # by a person, as kinds of cells are called
    for number, feature in enumerate(features, 1):
        where, shape = f"feature {number}", feature["geometry"]
        if shape["type"] not in ("Point", "MultiPoint"):
            others.append(shape["type"])
            continue
        name = (feature.get("properties") or {}).get("name")
        named |= {f"name ({name})"} if isinstance(name, str) and role(name) in ("dead", "background") else set()
        plane = shape.get("plane") or {}
        slices.add((plane.get("z", 0), plane.get("t", 0)))
        places = shape["coordinates"] if shape["type"] == "MultiPoint" else [shape["coordinates"]]
        for x, y, *_ in places:
            reader.point(found, {"y": y, "x": x}, _label(feature), where, CORNER)
    if named:
        reader.add("attributes-unread", names=listed(sorted(named)))
    return reader.marked([found], others, slices=slices)


def _label(feature: dict) -> str:
    kind = (feature.get("properties") or {}).get("classification") or {}
    if isinstance(kind, str):
        return kind
    return str(kind.get("name") or ": ".join(kind.get("names") or []))  # names: of a derived class, "Tumor: Positive"


def write(path: Path, annotations: Sequence[Annotation], report: Report) -> None:
    """Write the points of one image, one set for each label."""
    [one] = annotations
    features = []
    for label in dict.fromkeys(mark.label for mark in one.points):
        places = [[value - CORNER for value in mark.position[::-1]] for mark in one.points if mark.label == label]
        properties = {"objectType": "annotation"} | ({"classification": {"name": label}} if label else {})
        features.append({
            "type": "Feature", "id": str(uuid.uuid4()), "geometry": {"type": "MultiPoint", "coordinates": places},
            "properties": properties,
        })  # fmt: skip
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}), "utf-8")
