"""Cell Counter of Fiji: one image a file, whole pixels, and a number and name for each type of marker.

A marker at pixel (x, y) is at its centre, as ours. The form is that of Cell Counter 3.0 (`WriteXML.java` and
`ReadXML.java` in https://github.com/fiji/Cell_Counter), which reads integers only: other coordinates are rounded.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from cellcount.io.points import Annotation, Reader
from cellcount.io.problems import Report

ROOT = "CellCounter_Marker_File"
_AXES = ("MarkerY", "MarkerX")


def recognises(reader: Reader) -> bool:
    """Whether the file was saved by Cell Counter."""
    return reader.xml.tag == ROOT


def parse(reader: Reader) -> list[Annotation]:
    """One `Annotation`. The label is the name of the type, as "Type 2"; type 1 alone, without a name, is a cell."""
    named = (reader.xml.findtext("Image_Properties/Image_Filename") or "").strip()
    found = Annotation(reader.file, "", named or reader.owner)
    slices, types = set(), [kind for kind in reader.xml.iter("Marker_Type") if kind.find("Marker") is not None]
    for kind in types:
        number = (kind.findtext("Type") or "").strip()
        label = (kind.findtext("Name") or "").strip() or f"Type {number}"
        if len(types) == 1 and re.fullmatch(r"Type\s*1", label):
            label = ""
        for n, marker in enumerate(kind.iter("Marker"), 1):
            where = f"type {number}, marker {n}"
            slices.add((marker.findtext("MarkerZ") or "").strip())
            reader.point(found, {axis: marker.findtext(axis) for axis in _AXES}, label, where)
    return reader.marked([found], slices=slices)


def write(path: Path, annotations: Sequence[Annotation], report: Report) -> None:
    """Write the points of one image, rounded to whole pixels; points that move are counted in a warning."""
    [one] = annotations
    root = ElementTree.Element(ROOT)
    _text(ElementTree.SubElement(root, "Image_Properties"), "Image_Filename", one.image)
    data = ElementTree.SubElement(root, "Marker_Data")
    _text(data, "Current_Type", 1)
    moved = 0
    for number, label in enumerate(dict.fromkeys(mark.label for mark in one.points), 1):
        kind = ElementTree.SubElement(data, "Marker_Type")
        _text(kind, "Type", number)
        _text(kind, "Name", label or "cell")
        for mark in (mark for mark in one.points if mark.label == label):
            marker = ElementTree.SubElement(kind, "Marker")
            for axis, value in zip(_AXES[::-1], mark.position[::-1]):
                _text(marker, axis, round(value))
            _text(marker, "MarkerZ", 1)
            moved += any(value != round(value) for value in mark.position)
    if moved:
        report.add("write-rounded", image=one.image, count=moved)
    ElementTree.indent(root)
    path.write_bytes(ElementTree.tostring(root, "utf-8", xml_declaration=True))


def _text(parent: ElementTree.Element, name: str, value: object) -> None:
    ElementTree.SubElement(parent, name).text = str(value)
