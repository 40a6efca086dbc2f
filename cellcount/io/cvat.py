"""CVAT's XML for images, version 1.1 (https://docs.cvat.ai/docs/dataset_management/formats/xml_format/).

Coordinates are measured from the image's top left corner, half a pixel before our origin: CVAT draws shapes as SVG over
the image, and its pixel (0, 0) extends from 0 to 1 (the right bottom corner of an image is (width, height)).
"""

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from cellcount.io.points import CORNER, Annotation, Reader
from cellcount.io.problems import Report, listed

_ASIDE = ("tag", "attribute")  # have no position


def recognises(reader: Reader) -> bool:
    """Whether the file is CVAT's XML, for images or for video."""
    return reader.xml.tag == "annotations" and any(one.tag in ("image", "track", "meta") for one in reader.xml)


def parse(reader: Reader) -> list[Annotation]:
    """One `Annotation` for each image with points; those of a skeleton have the label of the skeleton."""
    if reader.xml.find("track") is not None:
        reader.stop("cvat-video")
    found, others, unread = [], [], set()
    for number, image in enumerate(reader.xml.iter("image"), 1):
        where, name = f"image {image.get('id', number)}", image.get("name")
        if not name:
            reader.add("cvat-image", where)
            continue
        height, width = (image.get(key, "") for key in ("height", "width"))
        size = (int(height), int(width)) if height.isdecimal() and width.isdecimal() else None
        found.append(Annotation(reader.file, where, name, size))
        for shape in image:
            label = shape.get("label", "")
            inner = [shape] if shape.tag == "points" else list(shape.iter("points")) if shape.tag == "skeleton" else []
            if not inner and shape.tag not in _ASIDE:
                others.append(shape.tag)
            unread |= {attribute.get("name", "") for attribute in shape.iter("attribute") if inner}
            for points in inner:
                pairs = points.get("points", "").split(";") if points.get("outside") != "1" else []
                for x, _, y in (pair.partition(",") for pair in pairs):
                    reader.point(found[-1], {"y": y, "x": x}, label, where, CORNER)
    if unread:
        reader.add("attributes-unread", names=listed(sorted(unread)))
    return reader.marked(found, others)


def write(path: Path, annotations: Sequence[Annotation], report: Report) -> None:
    """Write the points of all images; a point without a label is a "cell". CVAT itself writes two decimals, we six."""
    root = ElementTree.Element("annotations")
    ElementTree.SubElement(root, "version").text = "1.1"
    for number, one in enumerate(annotations):
        height, width = one.size or (0, 0)
        image = ElementTree.SubElement(
            root, "image", id=str(number), name=one.image, width=str(width), height=str(height)
        )
        for mark in one.points:
            y, x = (value - CORNER for value in mark.position)
            ElementTree.SubElement(
                image, "points", label=mark.label or "cell", source="manual", occluded="0", points=f"{x:.6f},{y:.6f}",
                z_order="0",
            )  # fmt: skip
    ElementTree.indent(root)
    path.write_bytes(ElementTree.tostring(root, "utf-8", xml_declaration=True))
