"""The images beside an annotation file: in its folder, in images/ there, or one folder up from annotations/."""

import os
import re
from pathlib import Path

from cellcount.io.decoders import decoding, opened, orientation
from cellcount.io.images import SUFFIXES, TIFF

# What tools add to the name of the image: `count` and others "-points", Fiji's Cell Counter "CellCounter_".
_ADDED = re.compile(r"^(?:CellCounter_)?(.+?)(?:[-_ ]points)?$", re.IGNORECASE)
UPLOAD_PREFIX = re.compile(r"^[0-9a-f]{8}-")  # Label Studio stores an uploaded 1.jpg as b07bc20f-1.jpg


def image(path: Path, name: str) -> Path | None:
    """The image of this name, with its suffix or without, beside the annotation file `path`; None without one."""
    named = Path(name.replace("\\", "/")).name
    root = path.parent
    places = [root, root / "images", *([root.parent, root.parent / "images"] if root.name == "annotations" else [])]
    names: list[str] = []
    for bare in dict.fromkeys(filter(None, (named, UPLOAD_PREFIX.sub("", named)))):
        names += [bare] * bare.lower().endswith(SUFFIXES)
        names += [bare + suffix for lower in SUFFIXES for suffix in (lower, lower.upper())]
    files = (place / one for place in places for one in names)
    return next((file for file in files if os.path.isfile(file)), None)  # Path.is_file raises on names too long


def owner(path: Path) -> str:
    """The image of a file that belongs to one: its name if it is beside the file, else what the file's name says."""
    bare = _ADDED.sub(r"\1", path.stem)
    for name in (path.stem, bare):
        found = image(path, name)
        if found is not None and found != path:
            return found.name
    return bare


def size(path: Path) -> tuple[int, int] | None:
    """(height, width) px of an image, upright, from the file's header; None if it cannot be read."""
    from PIL import Image

    found = None
    with decoding(path):
        if path.suffix.lower() in TIFF:
            with opened(path) as tiff:
                page = tiff.pages.first
                found, turned = (page.imagelength, page.imagewidth), orientation(page)
        else:
            with Image.open(path) as image:
                found, turned = image.size[::-1], image.getexif().get(0x0112, 1)  # EXIF orientation
        found = found[::-1] if turned in (5, 6, 7, 8) else found
    return found
