"""Dot images: black with a coloured or white dot on every cell.

One is in the same folder as its image, as `a_dots.png` of `a.png` or `a_dots_000.png` of `a_000.png`, or has the name
of its image in a folder `annotations/` beside or below the images. So are the data sets of counting published: VGG
cells (`001dots.png`), MBM (`X_dots_000.png`), ADI (`annotations/X.jpeg`).
"""

import re
from collections.abc import Container, Sequence
from pathlib import Path

import numpy as np

from cellcount.io import beside
from cellcount.io.images import SUFFIXES, decode
from cellcount.io.points import Annotation, Mark, Reader, role
from cellcount.io.problems import Report

# Share of pixels that are not black: with more it is a mask, or dots drawn on the image itself. Of dots of up to SMALL
# px, as many more are possible as fill DENSER: 300 of 3 x 3 px on 150 x 150 px, as in ADI, fill .12.
DENSEST, DENSER, SMALL = 0.05, 0.2, 9
LOSSY = (".jpg", ".jpeg")  # there are gray values around each dot
# Of the brightest pixel: brighter ones are dots, in a lossy file. Of 165 dots of a pixel each on 150 x 150 px, two or
# more px apart, this finds each once at any quality from 50 to 95; .33 takes gray values for 28 more at quality 50.
BRIGHT, RANGE = 0.4, (0.3, 0.5)  # where the number of dots depends on the threshold in this range, it is doubtful
FAINTEST = 128  # gray value: without a pixel as bright, the threshold is that of this one, so that noise is no dot
_NAME = re.compile(r"^(.+?)[-_ .]?dots([-_]\d+)?$", re.IGNORECASE | re.DOTALL)


def base(path: Path | str) -> str | None:
    """Stem of the image of a dot image ("a" for "a_dots.png", "001" for "001dots.png"); None if it is no dot image."""
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        return None
    found = _NAME.match(path.stem)
    if found:
        return found[1] + (found[2] or "")
    named = path.parent.name == "annotations" and (path.parent.with_name("images").is_dir() or _twin(path))
    return path.stem if named else None


def _twin(path: Path) -> bool:
    """Whether an image of the same name is in the folder above that of a file, or in images/ there."""
    return beside.image(path.parent.with_name("_"), path.stem) is not None


def image_of(path: Path | str, stems: Container[str]) -> str | None:
    """The image stem, one of `stems`, of a dot image: "a" or, as in the VGG cells, "acell"; None if there is none."""
    stem = base(path) or ""
    names = (form(f"{stem}{ending}") for ending in ("", "cell", "_cell") for form in beside.SPELLINGS)
    return next((name for name in names if name in stems), None) if stem else None


def is_dots(path: Path, stems: Container[str]) -> bool:
    """Whether a file is a dot image: of one of the images with these stems, or nearly black; "polkadots.png" is not."""
    stem = base(path)
    if stem is None or (_twin(path) if stem == path.stem else image_of(path, stems)):
        return stem is not None
    pixels, _ = decode(path)
    return pixels is not None and not _dense(_marked(pixels, _bright(path)))


def centres(pixels: np.ndarray, bright: float = 0.0) -> np.ndarray:
    """Centres of the dots of an image (H, W) or (H, W, C): (N, 2) float32 (y, x) px.

    A dot is an 8-connected component, unless at least half of the components are single pixels: then every pixel is a
    dot, since two dots may touch.

    Parameters
    ----------
    pixels : (H, W) or (H, W, C)
    bright : float
        In a lossy file, the share of the brightest value above which a pixel belongs to a dot. There each component is
        one dot, and its centre is weighted by brightness: dots that touch count once.
    """
    marked = _marked(pixels, bright)
    from scipy import ndimage

    components, count = ndimage.label(marked, np.ones((3, 3)))
    if count == 0:
        return np.zeros((0, 2), np.float32)
    areas = np.bincount(components.ravel())[1:]
    if not bright and (areas == 1).mean() >= 0.5:
        return np.argwhere(marked).astype(np.float32)
    weights = _gray(pixels) if bright else marked
    return np.asarray(ndimage.center_of_mass(weights, components, range(1, count + 1)), np.float32)


def recognises(reader: Reader) -> bool:
    """Whether the file has the name of a dot image."""
    return base(reader.path) is not None


def parse(reader: Reader) -> list[Annotation]:
    """One `Annotation`; its `image` is the stem that `base` gives."""
    pixels, problems = decode(reader.path)
    if any(problem.kind == "image-constant" for problem in problems):
        reader.stop("dots-none")
    reader.problems += [problem for problem in problems if problem.kind != "image-binary"]  # two values are expected
    if pixels is None:
        return []
    bright = _bright(reader.path)
    marked = _marked(pixels, bright)
    if _dense(marked):
        reader.stop("dots-dense", share=float(marked.mean()))
    if not marked.any():
        reader.stop("dots-none")
    found = centres(pixels, bright)
    counts = [len(found), *(len(centres(pixels, other)) for other in RANGE if bright)]
    if min(counts) < max(counts):
        reader.add("dots-jpeg", low=min(counts), high=max(counts), count=len(found))
    points = [Mark(tuple(point), "", f"dot at y {point[0]:g}, x {point[1]:g}") for point in found.tolist()]
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


def _bright(path: Path) -> float:
    return BRIGHT if path.suffix.lower() in LOSSY else 0


def _marked(pixels: np.ndarray, bright: float) -> np.ndarray:
    """(H, W) bool: the pixels of dots; see `centres`."""
    gray = _gray(pixels)
    return np.asarray(gray > bright * max(float(gray.max()), FAINTEST))


def _dense(marked: np.ndarray) -> bool:
    """Whether more pixels are marked than dots fill."""
    share = float(marked.mean())
    if share <= DENSEST or share > DENSER:
        return share > DENSEST
    from scipy import ndimage

    components, _ = ndimage.label(marked, np.ones((3, 3)))
    return bool(np.median(np.bincount(components.ravel())[1:]) > SMALL)
