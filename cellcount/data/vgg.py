"""VGG cells: 200 simulated fluorescence images (256 x 256 px) with a dot in every cell.

Usual protocol: train on N of images 001-100, test on 101-200 (Lempitsky & Zisserman 2010).
"""

import logging
from collections.abc import Collection
from pathlib import Path

from cellcount import registry
from cellcount.errors import DataError, ParameterError
from cellcount.files import sha256
from cellcount.io.images import read_image
from cellcount.io.points import positions, read
from cellcount.io.problems import raise_errors
from cellcount.types import Sample

log = logging.getLogger(__name__)

NAME = "vgg-cells"
NAMES = tuple(f"{number:03d}" for number in range(1, 201))
CHANNEL = "blue"  # the stain is blue: red and green hold noise below 10 of 255 gray levels


def load(
    names: Collection[str] | None = None, *, folder: Path | str | None = None, channel: str = CHANNEL
) -> list[Sample]:
    """The images with their dots.

    Parameters
    ----------
    names : list of str, "001" to "200", or None
        Only these, fetched if they are not on this machine. None: those on this machine, or, if there is none,
        all of them, fetched.
    folder : path or None
        Where NNNcell.png and NNNdots.png lie, instead of the registered place; they are not compared with the
        registered files. Without `names`, all that are there.
    channel : see `cellcount.io.images.read_image`; blue by default, since the cells are drawn in it

    Returns
    -------
    list of Sample
        `points` (N, 2) float32 (y, x) px, one for each red pixel of the dot image. `split` is "train" up to 100 and
        "test" above. The annotation is complete: `valid` is the whole image.

    Raises
    ------
    NotAvailableError
        If it is not on this machine and cannot be fetched.
    DataError
        If a file is not the registered one, or the folder has none of the images.
    """
    if folder is not None:
        return _from_folder(Path(folder), names, channel)
    if names is None:
        names = _present() or _fetch()
        for sentence in missing():
            log.info("%s", sentence)
    _check(names)
    files = [
        (registry.fetch_file(NAME, f"{name}cell.png"), registry.fetch_file(NAME, f"{name}dots.png")) for name in names
    ]
    return [_sample(name, *pair, channel) for name, pair in zip(names, files, strict=True)]


def _check(names: Collection[str]) -> None:
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        raise ParameterError(f"VGG cells has no image {', '.join(map(str, unknown))}; its images are 001 to 200.")


def _from_folder(folder: Path, names: Collection[str] | None, channel: str) -> list[Sample]:
    here = [name for name in NAMES if (folder / f"{name}cell.png").exists() and (folder / f"{name}dots.png").exists()]
    _check(names or [])
    lacking = sorted(set(names or []) - set(here))
    if lacking or not here:
        first = lacking[0] if lacking else NAMES[0]
        raise DataError(
            f"{folder}: no pair {first}cell.png and {first}dots.png; give the folder that the archive of VGG cells was "
            "unpacked to."
        )
    return [_sample(n, folder / f"{n}cell.png", folder / f"{n}dots.png", channel) for n in names or here]


def missing() -> list[str]:
    """Sentences on what upstream has and this machine lacks; an empty list if nothing."""
    absent = sorted({known.path[:3] for known in registry.missing(NAME)})
    if not absent:
        return []
    span = f"{absent[0]} to {absent[-1]}" if len(absent) > 1 else absent[0]
    return [f"vgg-cells: {len(absent)} of {len(NAMES)} images are not on this machine (within {span})."]


def _present() -> list[str]:
    return [n for n in NAMES if all(registry.find(NAME, f"{n}{kind}.png") is not None for kind in ("cell", "dots"))]


def _fetch() -> tuple[str, ...]:
    registry.fetch_all(NAME)
    return NAMES


def _sample(name: str, source: Path, dots_file: Path, channel: str) -> Sample:
    annotations, problems = read(dots_file)
    raise_errors(problems)
    return Sample(
        name=name,
        image=read_image(source, channel),
        points=positions(annotations[0].points, "live"),
        split="train" if int(name) <= 100 else "test",
        meta={"annotation": "complete", "source": str(source), "sha256": sha256(source)},
    )
