"""The optional `dataset.toml` of a user's folder."""

import os
import tomllib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cellcount.io.beside import SPELLINGS
from cellcount.io.images import CHANNELS
from cellcount.io.points import LABELS
from cellcount.io.problems import Problem, Report, toml

NAME = "dataset.toml"
SPLITS = ("train", "validation", "test")
COMPLETE, SPARSE = "complete", "sparse"


@dataclass
class Settings:
    """The settings in `dataset.toml`.

    Attributes
    ----------
    channel : see `cellcount.io.images.read_image`
    pixel_size_um : float or None
    annotation : "complete" or "sparse"
        Sparse: not every cell is annotated, so a predicted cell without annotation is no error (see
        `cellcount.data.valid`).
    annotators : "one", "union", "first", "last", or a name or number
        Which annotation counts if several people annotated an image; "one" does not accept such data.
    split : dict of image stem to "train", "validation" or "test"
    labels : dict of "live", "dead", "background", "ignore" to lists of the folder's own labels
    orientation : "upright", "stored" or ""
        Whether images with an orientation entry (EXIF) were annotated as they are shown, or as they are stored; ""
        accepts what the sizes and points tell.
    predictions : bool
        The folder was counted: predictions/ has what was found, and annotations are corrections of it (see
        `cellcount.data.corrections`).
    reviewed : list of stems of images that were looked at and whose predictions need no correction
    regions : dict of image stem to list of [y0, x0, y1, x1], px
        The rows y0 to y1 and columns x0 to x1, ends excluded, to which the image's annotation is limited.
    """

    channel: str = "auto"
    pixel_size_um: float | None = None
    annotation: str = COMPLETE
    annotators: str | int = "one"
    split: dict[str, str] = field(default_factory=dict)
    labels: dict[str, list[str]] = field(default_factory=dict)
    orientation: str = ""
    predictions: bool = False
    reviewed: list[str] = field(default_factory=list)
    regions: dict[str, list[Sequence[float]]] = field(default_factory=dict)


def read(path: Path, stems: Collection[str]) -> tuple[Settings, list[Problem]]:
    """The `Settings` of a folder whose images have these stems, and a list of `Problem`; defaults without a file."""
    settings, report = Settings(), Report(path.name)
    try:
        content = tomllib.loads(path.read_bytes().decode("utf-8-sig")) if os.path.lexists(path) else {}
    except OSError as error:  # a folder, or a link to what is not there
        report.add("file-unreadable", error=error.strerror or error)
        content = {}
    except (ValueError, RecursionError) as error:  # also of bytes, or an integer of more than 4300 digits
        report.add("toml-broken", error=error)
        content = {}
    for key, value in content.items():
        if key not in _CHECKS:
            report.add("toml-key", f"key {key}", known=", ".join(_CHECKS))
        elif not _CHECKS[key][0](value):
            report.add("toml-value", f"key {key}", value=value, todo=_CHECKS[key][1])
        elif key == "split":
            settings.split = _split(value, stems, report)
        elif key == "reviewed":
            settings.reviewed = [stem for name in value if (stem := _stem(name, stems, "key reviewed", report))]
        elif key == "regions":
            known = {_stem(name, stems, "key regions", report): boxes for name, boxes in value.items()}
            settings.regions = {stem: boxes for stem, boxes in known.items() if stem}
        elif key == "labels":
            settings.labels = value
            meanings = [
                (label, name) for name, labels in value.items() for label in {one.strip().lower() for one in labels}
            ]
            first: dict[str, str] = {}
            for label, name in meanings:
                if first.setdefault(label, name) != name:
                    report.add("label-twice", "key labels", label=label, first=first[label], second=name)
        else:
            setattr(settings, key, value)
    return settings, report.problems


def write(path: Path, settings: Settings) -> None:
    """Write `Settings` as TOML."""
    lines = [f"channel = {toml(settings.channel)}", f"annotation = {toml(settings.annotation)}"]
    if settings.pixel_size_um is not None:
        lines.append(f"pixel_size_um = {float(settings.pixel_size_um)!r}")
    if settings.orientation:  # the points are written as they are shown
        lines.append('orientation = "upright"')
    if settings.regions:
        lines += [
            "",
            "[regions]",
            *(f"{toml(stem)} = {[list(box) for box in boxes]}" for stem, boxes in settings.regions.items()),
        ]
    if settings.split:
        lines += ["", "[split]"]
        for name in SPLITS:
            lines.append(f"{name} = {toml([s for s, part in settings.split.items() if part == name])}")
    path.write_text("\n".join(lines) + "\n", "utf-8")


def _stem(name: object, stems: Collection[str], where: str, report: Report) -> str | None:
    """The stem of the image that a setting names, with its suffix or without; None after reporting an unknown one."""
    for stem in (str(name), str(name).rsplit(".", 1)[0]):
        known = next((form for spell in SPELLINGS if (form := spell(stem)) in stems), None)
        if known is not None:
            return known
    report.add("split-image", where, image=name)
    return None


def _lists(value: object, kind: type = object) -> bool:
    """Whether a value is a table of lists of values of one type."""
    return isinstance(value, dict) and all(
        isinstance(inner, list) and all(isinstance(item, kind) for item in inner) for inner in value.values()
    )


def _box(value: Sequence[object]) -> bool:
    """Whether a value is [y0, x0, y1, x1] with y0 < y1 and x0 < x1, all of them finite."""
    numbers = [one for one in value if isinstance(one, (int, float)) and not isinstance(one, bool) and abs(one) < 1e9]
    return len(value) == len(numbers) == 4 and numbers[0] < numbers[2] and numbers[1] < numbers[3]


_CHECKS: dict[str, tuple[Callable[[Any], bool], str]] = {  # key -> (test of the value, what to write)
    "channel": (lambda value: value in CHANNELS, f"Use one of {', '.join(CHANNELS)}."),
    "pixel_size_um": (
        lambda value: isinstance(value, (int, float)) and not isinstance(value, bool) and 0.01 <= value <= 100,
        "Give the side of a pixel in micrometres, between 0.01 and 100.",
    ),
    "annotation": (lambda value: value in (COMPLETE, SPARSE), 'Use "complete" or "sparse".'),
    "annotators": (
        lambda value: isinstance(value, (str, int)) and not isinstance(value, bool),
        'Use "union", "first", "last", or the name or number of one annotator.',
    ),
    "split": (
        lambda value: isinstance(value, dict) and all(isinstance(one, (str, list, dict)) for one in value.values()),
        'Write a table [split] with lists, train = ["a", "b"], or a line for each image, "a" = "train".',
    ),
    "labels": (
        lambda value: _lists(value, str) and set(value) <= set(LABELS),
        f"Write a table [labels] with lists of text under {', '.join(LABELS)}.",
    ),
    "orientation": (lambda value: value in ("upright", "stored"), 'Use "upright" or "stored".'),
    "predictions": (lambda value: isinstance(value, bool), "Use true or false."),
    "reviewed": (lambda value: isinstance(value, list), 'Write a list of images: reviewed = ["a", "b"].'),
    "regions": (
        lambda value: _lists(value, list) and all(map(_box, (box for boxes in value.values() for box in boxes))),
        'Write a table [regions] with lists of boxes, first and last row and column: "a" = [[y0, x0, y1, x1]].',
    ),
}


def _split(table: dict[str, Any], stems: Collection[str], report: Report) -> dict[str, str]:
    """{image stem: part} of a table of lists of images under the names of parts, or of parts under names of images."""
    pairs: list[tuple[str, Any]] = []  # part, image
    for key, value in table.items():
        if isinstance(value, list):
            pairs += [(key, name) for name in value]
        else:  # a name with a dot that is not quoted makes a table: a.png = "test"
            pairs += [(value, key)] if isinstance(value, str) else [(v, f"{key}.{end}") for end, v in value.items()]
    found: dict[str, str] = {}
    for part, name in pairs:
        where = f"key split.{part}"
        if part not in SPLITS:
            report.add("toml-key", where, known=", ".join(SPLITS))
            continue
        stem = _stem(name, stems, where, report)
        if stem in found:
            report.add("split-twice", where, image=name, part=found[stem])
        elif stem:
            found[stem] = part
    return found
