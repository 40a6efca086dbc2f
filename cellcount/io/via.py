"""VGG Image Annotator (VIA) 2: its project or annotations as JSON, or its CSV export; regions with the shape "point".

VIA stores the position of a click in the unmagnified image, rounded to a whole number: the index of the pixel under the
pointer, as ours (via-2.0.12, `via_region_shape` "point": `cx = Math.round(click_x * canvas_scale)`). Fractions are read
and written all the same.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from cellcount.files import write_csv
from cellcount.io.points import Annotation, Reader
from cellcount.io.problems import Report

COLUMNS = (
    "filename", "file_size", "file_attributes", "region_count", "region_id", "region_shape_attributes",
    "region_attributes",
)  # fmt: skip
_LABELS = ("label", "class", "type", "name", "category", "cell")  # of the region's attributes, in this order


def recognises(reader: Reader) -> bool:
    """Whether the file is JSON or CSV of VIA 2."""
    if reader.suffix == ".csv":
        return {"filename", "region_shape_attributes"} <= set(reader.header)
    content = reader.json
    if not isinstance(content, dict):
        return False
    files = list(content.values())
    return "_via_img_metadata" in content or (
        bool(files) and all(isinstance(file, dict) and {"filename", "regions"} <= set(file) for file in files)
    )


def parse(reader: Reader) -> list[Annotation]:
    """One `Annotation` for each image with points."""
    found: dict[str, Annotation] = {}
    others, unread = [], set()
    sizes: dict[str, str] = {}
    for where, image, size, shape, attributes in (_csv if reader.suffix == ".csv" else _json)(reader):
        if sizes.setdefault(image, size) != size:  # VIA tells files of one name by their size
            named, other = (f"{image} of {value} bytes" for value in (size, sizes[image]))
            reader.add("image-ambiguous", where, named=named, other=other, found=image)
        annotation = found.setdefault(image, Annotation(reader.file, where, image))
        if shape.get("name") != "point":
            others += [shape["name"]] if shape else []
            continue
        lower = {str(key).lower(): value for key, value in attributes.items()}
        key = next((key for key in _LABELS if key in lower), min(lower) if len(lower) == 1 else "")
        unread |= set(lower) - {key}
        reader.point(annotation, {axis: shape.get(axis) for axis in ("cy", "cx")}, _label(lower.get(key, "")), where)
    if unread:
        reader.add("csv-unread", columns=", ".join(sorted(unread))[:100])
    return reader.marked(found.values(), others)


def _label(value: Any) -> str:
    """A text, or the only ticked box of several ({"dead": true})."""
    if isinstance(value, dict):
        return ", ".join(str(name) for name, ticked in value.items() if ticked)
    return str(value)


def _json(reader: Reader) -> Iterator[tuple[str, str, str, dict, dict]]:
    """(place, image, bytes, shape, attributes) of each region, and one with an empty shape of each image."""
    for file in reader.json.get("_via_img_metadata", reader.json).values():
        name, size, regions = str(file["filename"]), str(file.get("size", "")), file["regions"]
        yield name, name, size, {}, {}
        for number, region in enumerate(regions.values() if isinstance(regions, dict) else regions, 1):
            attributes = region.get("region_attributes") or {}
            yield f"{name}, region {number}", name, size, region["shape_attributes"], attributes


def _csv(reader: Reader) -> Iterator[tuple[str, str, str, dict, dict]]:
    for where, row in reader.rows():
        try:
            shape, attributes = (
                json.loads(row.get(name) or "{}") for name in ("region_shape_attributes", "region_attributes")
            )
        except (json.JSONDecodeError, RecursionError) as error:
            reader.add("json-broken", where, error=error)
            continue
        yield where, row["filename"], row.get("file_size", ""), shape, attributes


def write(path: Path, annotations: Sequence[Annotation], report: Report) -> None:
    """Write the points of all images, as the annotations (not the project) that VIA imports."""
    files: dict[str, dict[str, Any]] = {}
    for one in annotations:
        regions = [
            {
                "shape_attributes": {"name": "point", "cx": mark.position[1], "cy": mark.position[0]},
                "region_attributes": {"label": mark.label} if mark.label else {},
            }
            for mark in one.points
        ]
        files[one.image + "-1"] = {"filename": one.image, "size": -1, "regions": regions, "file_attributes": {}}
    if path.suffix.lower() != ".csv":
        path.write_text(json.dumps(files), "utf-8")
        return
    rows = [
        [file["filename"], -1, "{}", len(file["regions"]), n, *(json.dumps(value) for value in region.values())]
        for file in files.values()
        for n, region in enumerate(file["regions"] or [{"shape_attributes": {}, "region_attributes": {}}])
    ]
    write_csv(path, COLUMNS, rows)
