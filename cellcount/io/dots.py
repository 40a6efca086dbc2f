"""Dot images: black with a coloured or white dot on every cell, in the same folder as the image (`a_dots.png`)."""

import re
from collections.abc import Container, Sequence
from pathlib import Path

import numpy as np
from scipy import ndimage

from cellcount.io import beside
from cellcount.io.images import SUFFIXES, decode
from cellcount.io.points import Annotation, Mark, Reader, role
from cellcount.io.problems import Report

DENSEST = 0.05  # share of pixels that are not black; with more it is a mask, or dots drawn on the image itself
_NAME = re.compile(r"^(.+?)[-_ .]?dots$", re.IGNORECASE | re.DOTALL)


def base(path: Path | str) -> str | None:
    """Stem of the image of a dot image ("a" for "a_dots.png", "001" for "001dots.png"); None if it is no dot image."""
    path = Path(path)
    found = _NAME.match(path.stem)
    return found.group(1) if found and path.suffix.lower() in SUFFIXES else None


def image_of(path: Path | str, stems: Container[str]) -> str | None:
    """The image stem, one of `stems`, of a dot image: "a" or, as in the VGG cells, "acell"; None if there is none."""
    stem = base(path) or ""
    names = (form(f"{stem}{ending}") for ending in ("", "cell", "_cell") for form in beside.SPELLINGS)
    return next((name for name in names if name in stems), None) if stem else None


def is_dots(path: Path, stems: Container[str]) -> bool:
    """Whether a file is a dot image: of one of the images with these stems, or nearly black; "polkadots.png" is not."""
    if base(path) is None or image_of(path, stems):
        return base(path) is not None
    pixels, _ = decode(path)
    return pixels is not None and float((_gray(pixels) > 0).mean()) <= DENSEST


def centres(pixels: np.ndarray) -> np.ndarray:
    """Centres of the dots of an image (H, W) or (H, W, C): (N, 2) float32 (y, x) px.

    A dot is an 8-connected component, unless at least half of the components are single pixels: then every pixel is a
    dot, since two dots may touch.
    """
    marked = _gray(pixels) > 0
    components, count = ndimage.label(marked, np.ones((3, 3)))
    if count == 0:
        return np.zeros((0, 2), np.float32)
    areas = np.bincount(components.ravel())[1:]
    if (areas == 1).mean() >= 0.5:
        return np.argwhere(marked).astype(np.float32)
    return np.asarray(ndimage.center_of_mass(marked, components, range(1, count + 1)), np.float32)


def recognises(reader: Reader) -> bool:
    """Whether the file has the name of a dot image."""
    return base(reader.path) is not None


def parse(reader: Reader) -> list[Annotation]:
    """One `Annotation`; its `image` is the stem that `base` gives."""
    pixels, problems = decode(reader.path)
    if reader.path.suffix.lower() in (".jpg", ".jpeg"):
        reader.stop("dots-jpeg")
    if any(problem.kind == "image-constant" for problem in problems):
        reader.stop("dots-none")
    reader.problems += [problem for problem in problems if problem.kind != "image-binary"]  # two values are expected
    if pixels is None:
        return []
    share = float((_gray(pixels) > 0).mean())
    if share > DENSEST:
        reader.stop("dots-dense", share=share)
    points = [Mark(tuple(point), "", f"dot at y {point[0]:g}, x {point[1]:g}") for point in centres(pixels).tolist()]
    height, width = pixels.shape[:2]
    return [Annotation(reader.file, "", base(reader.path) or "", (height, width), points=points)]


def write(path: Path, annotations: Sequence[Annotation], report: Report) -> None:
    """Write a white pixel for every live cell of one image, whose `size` must be known.

    Marks of other roles, and points that are rounded, are counted in warnings; too many or touching dots are an error.
    """
    from PIL import Image

    [one] = annotations
    assert one.size is not None  # `cellcount.io.writing` sees to it
    live = [mark.position for mark in one.points if role(mark.label) == "live"]
    if len(live) < len(one.points):
        report.add("write-labels", image=one.image, count=len(one.points) - len(live))
    pixels = np.zeros(one.size, np.uint8)
    places = np.array(live, float).reshape(-1, 2)
    index = np.clip(np.rint(places), 0, np.array(one.size) - 1).astype(int)
    pixels[tuple(index.T)] = 255
    moved = int((places != index).any(axis=1).sum())
    if moved:
        report.add("write-rounded", image=one.image, count=moved)
    if not live or len(centres(pixels)) != len(live) or (pixels > 0).mean() > DENSEST:
        report.add("write-dots", image=one.image, count=len(live))
    Image.fromarray(pixels).save(path, "PNG")


def _gray(pixels: np.ndarray) -> np.ndarray:
    return pixels if pixels.ndim == 2 else pixels.max(axis=2)
