"""The images beside an annotation file: in its folder, in images/ there, or one folder up from annotations/."""

import os
import re
import unicodedata
from collections.abc import Callable
from functools import partial
from pathlib import Path

from cellcount.io.decoders import decoding, header
from cellcount.io.images import SUFFIXES

# What tools add to the name of the image: `count` and others "-points", Fiji's Cell Counter "CellCounter_".
_ADDED = re.compile(r"^(?:CellCounter_)?(.+?)(?:[-_ ]points)?$", re.IGNORECASE | re.DOTALL)
UPLOAD_PREFIX = re.compile(r"^[0-9a-f]{8}-")  # Label Studio stores an uploaded 1.jpg as b07bc20f-1.jpg


def composed(name: str) -> str:
    """A name with each accented letter as one character (NFC), for comparisons: macOS takes them apart."""
    return unicodedata.normalize("NFC", name)


def bare(name: str) -> str:
    """The name of an image without folders and suffix, composed."""
    last = composed(name.replace("\\", "/").rsplit("/", 1)[-1])
    return last.rsplit(".", 1)[0] if last.lower().endswith(SUFFIXES) else last


def not_uploaded(name: str, file: str) -> str:
    """A name without Label Studio's prefix, if the `file` that names it may be of Label Studio (JSON)."""
    return UPLOAD_PREFIX.sub("", name) if file.lower().endswith(".json") else name  # "20240115-a.png" may be a date


# A name as it is, and as other systems spell it.
SPELLINGS: tuple[Callable[[str], str], ...] = (str, composed, partial(unicodedata.normalize, "NFD"))


def is_file(path: Path) -> bool:
    """Whether there is a file of this name; False for a name that the system refuses, where Path.is_file raises."""
    return os.path.isfile(path)


def image(path: Path, name: str) -> Path | None:
    """The image of this name, with its suffix or without, beside the annotation file `path`; None without one."""
    named = Path(name.replace("\\", "/"))
    root = path.parent
    places = [root, root / "images", *([root.parent, root.parent / "images"] if root.name == "annotations" else [])]
    names: list[str] = []
    for bare in dict.fromkeys(filter(None, (Path(name).name, named.name, not_uploaded(named.name, path.name)))):
        for form in dict.fromkeys(spell(bare) for spell in SPELLINGS):
            names += [form] * form.lower().endswith(SUFFIXES)
            names += [form + suffix for lower in SUFFIXES for suffix in (lower, lower.upper())]
    own = [] if named.is_absolute() or ".." in named.parts else [root / named.parent / one for one in names]
    files = (*own, *(place / one for place in places for one in names))
    return next((file for file in files if is_file(file)), None)


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
    found = None
    with decoding(path):
        stored, turned = header(path)
        found = stored[::-1] if turned >= 5 else stored
    return found


def orientation(path: Path) -> int:
    """The orientation 1-8 (EXIF) in which an image is to be shown; 1 if it cannot be read."""
    turned = 1
    with decoding(path):
        turned = header(path)[1]
    return turned
