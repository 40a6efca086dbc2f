"""Dot images: black, with a coloured or white dot on every cell, beside the image (`a_dots.png` for `a.png`)."""

import re
from collections.abc import Container
from pathlib import Path

import numpy as np
from scipy import ndimage

from cellcount.io.images import SUFFIXES, decode
from cellcount.io.points import Annotation, Mark, Reader
from cellcount.io.problems import Problem

DENSEST = 0.05  # share of pixels that are not black; more is a mask or a drawing on the image itself
_NAME = re.compile(r"^(.+?)[-_ .]?dots$", re.IGNORECASE)


def base(path: Path | str) -> str | None:
    """The stem that the image of this dot image has ("a" for "a_dots.png", "001" for "001dots.png"); None if none."""
    path = Path(path)
    found = _NAME.match(path.stem)
    return found.group(1) if found and path.suffix.lower() in SUFFIXES else None


def image_of(path: Path | str, stems: Container[str]) -> str | None:
    """The stem among `stems` that the dot image belongs to: "a" or, as in the VGG cells, "acell"; None if none."""
    stem = base(path)
    return next((name for name in (stem, f"{stem}cell", f"{stem}_cell") if name in stems), None)


def centres(pixels: np.ndarray) -> np.ndarray:
    """Centres of the dots of an image (H, W) or (H, W, C): (N, 2) float32 (y, x) px.

    A dot is an 8-connected spot, unless half of the spots or more are single pixels: then every pixel is one, since
    two dots may touch.
    """
    marked = (pixels if pixels.ndim == 2 else pixels.max(axis=2)) > 0
    spots, count = ndimage.label(marked, np.ones((3, 3)))
    if count == 0:
        return np.zeros((0, 2), np.float32)
    areas = np.bincount(spots.ravel())[1:]
    if (areas == 1).mean() >= 0.5:
        return np.argwhere(marked).astype(np.float32)
    return np.asarray(ndimage.center_of_mass(marked, spots, range(1, count + 1)), np.float32)


def read(path: Path | str, image: str = "") -> tuple[list[Annotation], list[Problem]]:
    """Read a dot image: (list with one Annotation, its points (N, 2) in (y, x) px, of the image
    called `image`; list of Problem)."""
    reader = Reader(Path(path))
    pixels, problems = decode(path)
    if any(p.kind == "image-constant" for p in problems):
        todo = "Draw a dot on every cell, or delete the file if nobody has annotated the image."
        reader.problem("dots-none", "", "The dot image has no dot.", todo)
        return [], reader.problems
    reader.problems += [p for p in problems if p.kind != "image-binary"]  # two values are what is expected here
    if pixels is None:
        return [], reader.problems
    share = float(((pixels if pixels.ndim == 2 else pixels.max(axis=2)) > 0).mean())
    if share > DENSEST:
        what = f"{share:.0%} of the pixels are not black: this is not a picture of dots."
        reader.problem("dots-dense", "", what, "Draw dots on a black picture, save it as PNG and not as JPEG.")
        return [], reader.problems
    points = [Mark(tuple(point), "", f"dot at y {point[0]:g}, x {point[1]:g}") for point in centres(pixels).tolist()]
    height, width = pixels.shape[:2]
    annotation = Annotation(reader.path.name, "", image or Path(path).stem, (height, width), points=points)
    return [annotation], reader.problems
