"""The folder that `cellcount count` writes: the counted images as a data set, and what the method found in them.

    images/NAME.ext      the counted image: a link, or a copy where links are impossible
    predictions/NAME.csv what the method found: columns image, y, x (px), label (empty), score; none of methods that
                         give a number of cells without points
    overlays/NAME.png    the image with rings
    records.jsonl        one line for each counted image: its count, hashes and settings
    summary.json         the records and the failures, put together at the end of each call; counts.csv is its table,
                         with the name of each image in the other folders, the method, the threshold, and the first
                         digits of the SHA-256 of the weights
    manifest.json        code, machine, parameters and seconds of the calls, and the SHA-256 of all these files
    groups.csv           the mean of each group of images, such as the fields of a flask, if a call gave groups
    dataset.toml         the channel, the pixel size if it is known, and `predictions = true`
    annotations/         corrections, made by a person or another tool; never touched here

The line in records.jsonl is written last, so that a call that was killed is resumed by the same call: images with the
same content, method, parameters, weights and channel are not counted again.
"""

import os
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cellcount import manifest
from cellcount.counting import Failure, Image, counted, find_images
from cellcount.errors import DISTRIBUTION, CellcountError, DataError, require
from cellcount.files import sha256
from cellcount.io.prefetch import prefetched
from cellcount.methods import METHODS, base
from cellcount.results import manifests
from cellcount.results.count_images import CountFolder, Entry, settings
from cellcount.results.grouping import Grouping, grouping
from cellcount.results.groups import Group, described, update


@dataclass
class Counts:
    """What a call of `count_folder` did.

    Attributes
    ----------
    folder : CountFolder
    names : list of str
        Of the images that the folder has now, of those given.
    counted, kept, twice : int
        Numbers of images that were counted, that had been counted before with these settings, and that were given
        more than once.
    failed : list of Failure
    groups : list of Group
        Of this call, if images were to be grouped.
    group_problems : list of str
        What of the table of groups could not be used.
    """

    folder: CountFolder
    names: list[str] = field(default_factory=list)
    counted: int = 0
    kept: int = 0
    twice: int = 0
    failed: list[Failure] = field(default_factory=list)
    groups: list[Group] = field(default_factory=list)
    group_problems: list[str] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """0, or the highest exit code of the failures."""
        return max((failure.error.exit_code for failure in self.failed), default=0)

    def json(self) -> Iterator[str]:
        """A JSON document in parts: folder, images (records of those that were given), failed, groups, exit_code."""
        more = {"folder": str(self.folder.path), "exit_code": self.exit_code, "group_problems": self.group_problems}
        more["groups"] = [group.json() for group in self.groups]
        return self.folder.document(self.names, self.failed, **more)


def count_folder(
    images: Sequence[str | Path],
    out: str | Path,
    *,
    again: bool = False,
    channel: str | None = None,
    each: Callable[[Entry | Failure, int], None] = lambda one, total: None,
    group: str | Path | None = None,
    area_cm2: float | None = None,
    method: str = "cellnet",
    weights: str | Path | None = None,
    device: str = "auto",
    progress: bool = True,
    cell_width: float | str | None = "auto",
    pixel_size_um: float | None = None,
    **params: Any,
) -> Counts:
    """Count images, and write their results to a folder, which `cellcount.load` and `train` read; see this module.

    Images that an earlier call counted with the same settings are kept, and not counted again. However the call ends,
    what was finished is kept, and the summary has it.

    Parameters
    ----------
    images : list of paths
        Files of images, (H, W) or (H, W, 3), folders, or patterns such as "plate/*.png".
    out : path of the folder
    again : bool
        Count images again that were counted with the same settings.
    channel : "auto", "red", "green", "blue", "mean" or None
        None takes the one in the `dataset.toml` of the folders in `images`, or else "auto".
    each : function
        Called with the `Entry` or `Failure` of each image, in their order, and the number of images.
    group : "folder", path of a table, or None
        Groups of images, such as the fields of a flask; see `cellcount.results.grouping`.
    area_cm2 : float or None
        Of the flasks for which the table gives none.
    method, weights, device, progress, cell_width, params
        As in `cellcount.count`.
    pixel_size_um : float or None
        None takes the one in the `dataset.toml` of the folders in `images`, if there is one.

    Returns
    -------
    Counts

    Raises
    ------
    DataError
        If the folder cannot be written, is not one of these, has another channel, or has corrections of images that
        would get other predictions. Nothing was computed then.
    NotAvailableError, ParameterError
        As `cellcount.count`, before anything is computed.
    CellcountError
        If a result cannot be written. What was finished before is kept.
    """
    clock, given = manifest.Clock(), find_images(list(images))
    require(not any(hasattr(image, "__array_interface__") for image in given), "Give paths of images, not arrays.")
    channel, described_um = _described(images, channel)
    pixel_size_um = described_um if pixel_size_um is None else pixel_size_um
    require(area_cm2 is None or group is not None, "--area is that of a flask: give its images with --group.")
    named: dict[str, str] = {}  # path: name in the folder
    assigned = None if group is None else grouping(group, [str(one) for one in given], area_cm2=area_cm2)
    paths: list[Path] = []  # known when the folder is open, which it is not before the arguments are checked
    found = counted(
        paths, channel=channel, known=lambda image: folder.known(image, again), method=method, weights=weights,
        device=device, progress=progress, cell_width=cell_width, pixel_size_um=pixel_size_um, **params,
    )  # fmt: skip
    run = run_settings(method, channel, weights, params, cell_width, pixel_size_um)
    sizes = {"cell_width": cell_width, "pixel_size_um": pixel_size_um}
    file = weights if weights is None or not os.path.isfile(weights) else Path(weights).name
    asked = {"method": method, "weights": file, "channel": channel, "parameters": params, **sizes}
    with CountFolder(out, run, pixel_size_um, weights) as folder:
        paths += folder.unique(Path(str(path)) for path in given)
        folder.refuse_corrected(paths, again)
        done = Counts(folder, twice=len(given) - len(paths))
        try:
            with closing(_finished(folder, zip(paths, found, strict=True))) as finished:
                for path, entry in finished:
                    if isinstance(entry, Failure):
                        done.failed.append(entry)
                    else:
                        done.names.append(entry.record["name"])
                        named[str(path)] = entry.record["name"]
                        done.kept, done.counted = done.kept + entry.kept, done.counted + (not entry.kept)
                    each(entry, len(paths))
        except BaseException:
            folder.compose(done.failed, quietly=True, **_grouped(done, assigned, named, pixel_size_um, quietly=True))
            with suppress(OSError, CellcountError):
                manifests.counts(folder, done.counted, clock, asked, device)
            raise
        folder.compose(done.failed, **_grouped(done, assigned, named, pixel_size_um))
        try:
            manifests.counts(folder, done.counted, clock, asked, device)
        except OSError as error:
            told = f"{folder.path / manifest.NAME} cannot be written ({error}). All counts are complete; the same call"
            raise CellcountError(f"{told} writes it.") from error
    return done


def _finished(folder: CountFolder, counts: Iterable[tuple[Path, Any]]) -> Generator[tuple[Path, Entry | Failure]]:
    """Write the results of each image while the next one is counted; however this ends, those that wait are written.

    After an error nothing more is: the last line of the records may be incomplete.
    """
    broken: list[BaseException] = []

    def write(counted: tuple[Path, Any]) -> tuple[Path, Entry | Failure]:
        if broken:
            raise broken[0]
        try:
            return counted[0], folder.finished(*counted)
        except BaseException as error:
            broken.append(error)
            raise

    with closing(prefetched(write, counts, drop=False)) as written:
        for result in written:
            yield result()


def _grouped(
    done: Counts, assigned: Grouping | None, named: dict[str, str], size: float | None, quietly: bool = False
) -> dict[str, Any]:
    """What the summary says of groups, those of this call (also put into `done`) and of earlier ones; {} if none."""
    if assigned is not None:
        records = dict(zip(named, done.folder.records(named.values()), strict=True))
        done.groups = described(assigned, records, [one.image for one in done.failed], size)
        done.group_problems = assigned.problems
    found = update(done.folder, done.groups, quietly)
    said = {"groups": [one.json() for one in found], "group_problems": done.group_problems}
    return said if found or done.group_problems else {}


def run_settings(
    method: str,
    channel: str,
    weights: str | Path | None,
    params: dict[str, Any],
    cell_width: float | str | None = "auto",
    pixel_size_um: float | None = None,
) -> dict[str, Any]:
    """All that determines an image's result: cellcount's version, method, channel, parameters, weights' SHA-256."""
    chosen = METHODS[method]
    known = {name: parameter.default for name, parameter in base.parameters(chosen.predict).items()}
    given = {name: value for name, value in (known | params).items() if name not in base.CONTEXT}
    named = given.pop("weights", None) if weights is None else weights
    file = getattr(chosen, "SHIPPED", None) if named is None else named
    described = {
        name: float(value) if isinstance(value, int) and not isinstance(value, bool) else value
        for name, value in given.items()
        if name != "weights"
    }
    if file is not None and os.path.isfile(str(file)):
        named = sha256(str(file))
    own: dict[str, Any] = {"cellcount": version(DISTRIBUTION), "method": method, "channel": channel}
    if hasattr(chosen, "look"):
        own |= {"cell_width": cell_width, "pixel_size_um": pixel_size_um}
    return own | {"weights": named, "parameters": described}


def _described(images: Iterable[Image], channel: str | None) -> tuple[str, float | None]:
    """Channel and pixel size from the `dataset.toml` of folders among the images; a `channel` that is given counts."""
    found = [settings(Path(str(one))) for one in images if os.path.isdir(str(one))]
    channels = list(dict.fromkeys(one.get("channel", "auto") for one in found))
    several = f"The folders are read in different channels ({', '.join(map(str, channels))}); give one with --channel."
    require(channel or len(channels) < 2, several, DataError)
    sizes = {one.get("pixel_size_um") for one in found}
    size = sizes.pop() if len(sizes) == 1 else None
    return channel or (channels or ["auto"])[0], size if isinstance(size, (int, float)) else None
