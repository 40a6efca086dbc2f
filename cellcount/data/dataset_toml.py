"""The optional `dataset.toml` of a user's folder."""

import json
import tomllib
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cellcount.io.images import CHANNELS
from cellcount.io.points import LABELS, Reader
from cellcount.io.problems import Problem

NAME = "dataset.toml"
SPLITS = ("train", "validation", "test")
COMPLETE, SPARSE = "complete", "sparse"


@dataclass
class Settings:
    """What `dataset.toml` can say.

    Attributes
    ----------
    channel : see `cellcount.io.images.read_image`
    pixel_size_um : float or None
    annotation : "complete" or "sparse"
        Sparse: not every cell is marked, so that an unmarked one is no error (see `cellcount.data.valid`).
    annotators : "one", "union", "first", "last", or a name or number
        Which annotation counts where several people annotated an image; "one" refuses such data.
    split : dict of image stem to "train", "validation" or "test"
    labels : dict of "live", "dead", "background", "ignore" to lists of the folder's own labels
    """

    channel: str = "auto"
    pixel_size_um: float | None = None
    annotation: str = COMPLETE
    annotators: str | int = "one"
    split: dict[str, str] = field(default_factory=dict)
    labels: dict[str, list[str]] = field(default_factory=dict)


def read(path: Path, stems: Collection[str]) -> tuple[Settings, list[Problem]]:
    """The `Settings` of a folder whose images have these stems, and a list of `Problem`. No file: the defaults."""
    settings = Settings()
    if not path.is_file():
        return settings, []
    reader = Reader(path)
    raw = path.read_bytes()
    try:
        content = tomllib.loads(raw.decode("utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        reader.problem("toml-broken", "", f"This is not valid TOML: {error}.", "Correct that line.")
        return settings, reader.problems
    for key, value in content.items():
        if key == "split":
            _split(value, stems, settings, reader)
        elif key == "labels":
            _labels(value, settings, reader)
        elif key not in _CHECKS:
            known = ", ".join([*_CHECKS, "split", "labels"])
            reader.problem("toml-key", f"key {key}", "This key is unknown.", f"Known are {known}.")
        elif not _CHECKS[key][0](value):
            reader.problem("toml-value", f"key {key}", f"The value {value!r} is not possible.", _CHECKS[key][1])
        else:
            setattr(settings, key, value)
    return settings, reader.problems


def write(path: Path, settings: Settings) -> None:
    """Write `Settings` as TOML."""
    lines = [f"channel = {json.dumps(settings.channel)}", f"annotation = {json.dumps(settings.annotation)}"]
    if settings.pixel_size_um is not None:
        lines.append(f"pixel_size_um = {float(settings.pixel_size_um)!r}")
    if settings.split:
        lines += ["", "[split]"]
        for name in SPLITS:
            lines.append(f"{name} = {json.dumps([s for s, part in settings.split.items() if part == name])}")
    path.write_text("\n".join(lines) + "\n", "utf-8")


def _positive(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < 1000


_CHECKS: dict[str, tuple[Callable[[Any], bool], str]] = {  # key -> (test of the value, what to write)
    "channel": (lambda value: value in CHANNELS, f"Use one of {', '.join(CHANNELS)}."),
    "pixel_size_um": (_positive, "Give the side of a pixel in micrometres, between 0 and 1000."),
    "annotation": (lambda value: value in (COMPLETE, SPARSE), 'Use "complete" or "sparse".'),
    "annotators": (
        lambda value: isinstance(value, (str, int)) and not isinstance(value, bool),
        'Use "union", "first", "last", or the name or number of one annotator.',
    ),
}


def _split(table: Any, stems: Collection[str], settings: Settings, reader: Reader) -> None:
    if not isinstance(table, dict) or not all(isinstance(names, list) for names in table.values()):
        todo = 'Write a table [split] with lists: train = ["a", "b"], test = ["c"].'
        return reader.problem("toml-value", "key split", "This is not a table of lists.", todo)
    for part, names in table.items():
        if part not in SPLITS:
            known = ", ".join(SPLITS)
            reader.problem("toml-key", f"key split.{part}", "This part is unknown.", f"Known are {known}.")
            continue
        for name in map(str, names):
            stem = name if name in stems else name.rsplit(".", 1)[0]
            if stem not in stems:
                what = f"There is no image {name!r}."
                reader.problem("split-image", f"key split.{part}", what, "Correct the name, or add the image.")
            elif stem in settings.split:
                what = f"The image {name!r} is already in {settings.split[stem]!r}."
                reader.problem("split-twice", f"key split.{part}", what, "Put every image into one part.")
            else:
                settings.split[stem] = part
    return None


def _labels(table: Any, settings: Settings, reader: Reader) -> None:
    good = isinstance(table, dict) and set(table) <= set(LABELS)
    if not good or not all(isinstance(v, list) and all(isinstance(x, str) for x in v) for v in table.values()):
        todo = f"Write a table [labels] with lists of text under {', '.join(LABELS)}."
        reader.problem("toml-value", "key labels", f"The value {table!r} is not possible.", todo)
    else:
        settings.labels = table
