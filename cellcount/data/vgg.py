"""VGG cells: 200 simulated fluorescence images (256 x 256 px) with a dot in every cell.

Usual protocol: train on N of images 001-100, test on 101-200 (Lempitsky & Zisserman 2010).
"""

from collections.abc import Collection
from pathlib import Path

from cellcount import registry
from cellcount.errors import DataError, require
from cellcount.files import sha256
from cellcount.io.images import read_image
from cellcount.io.points import positions, read
from cellcount.io.problems import raise_errors
from cellcount.types import Sample

NAME = "vgg-cells"
NAMES = tuple(f"{number:03d}" for number in range(1, 201))
CHANNEL = "blue"  # the stain is blue: red and green have noise below 10 of 255 gray values


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
        A folder with NNNcell.png and NNNdots.png to use instead; its files are not compared with the registered ones.
        Without `names`, all that are there.
    channel : see `cellcount.io.images.read_image`; blue by default, the colour of the cells

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
    unknown = ", ".join(str(name) for name in names or () if name not in NAMES)
    require(not unknown, f"VGG cells has no image {unknown}; its images are 001 to 200.")
    pairs = {name: (f"{name}cell.png", f"{name}dots.png") for name in NAMES}
    place = None if folder is None else Path(folder)
    if names is None:
        names = [name for name, pair in pairs.items() if all(_here(file, place) for file in pair)]
        if not names and place is None:
            registry.fetch_all(NAME)
            names = NAMES
    require(names or place is None, f"{folder}: no image; give the folder with the unpacked VGG cells.", DataError)
    files = [[place / file if place else registry.fetch_file(NAME, file) for file in pairs[name]] for name in names]
    samples = []
    for name, (source, dots) in zip(names, files, strict=True):
        annotations, problems = read(dots)
        raise_errors(problems)
        points, split = positions(annotations[0].points, "live"), "train" if int(name) <= 100 else "test"
        meta = {"annotation": "complete", "source": str(source), "sha256": sha256(source)}
        samples.append(Sample(name, read_image(source, channel), points, split=split, meta=meta))
    return samples


def _here(file: str, place: Path | None) -> bool:
    return (place / file).exists() if place else registry.find(NAME, file) is not None
