"""An audit: random windows of counted images, which a person corrects, and the total of all images that follows.

The folder of an audit is a data set, whose images are the drawn windows:

    audit.json           all windows (the population), with their images, boxes, predicted counts and strata; the order
                         in which they are drawn; of those drawn, names, probabilities and hashes; settings
    counts/              the folder of `cellcount count`, unless one was given
    images/              the drawn windows, numbered in the order of the draw, with a darkened margin around the core
    predictions/         the points found in the cores, px of the window
    labelstudio/         tasks for the import into Label Studio by hand
    annotations/         corrections, in any format that is read
    dataset.toml         `reviewed`: windows whose predicted points are right, as in other folders; [regions]: the cores
    records.jsonl        hashes of images/ and predictions/, by which a change is noticed
    audit-result.json    of `estimate`; audit-result.csv has the windows
    manifest.json        code, machine and parameters of `make` and `estimate`, and the SHA-256 of all these files

A cell belongs to the window whose core has its point, so that each cell of an image belongs to one window.
"""

import json
import math
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from cellcount import manifest
from cellcount.counting import find_images
from cellcount.data import dataset_toml
from cellcount.data.corrections import within
from cellcount.data.survey import Survey, survey
from cellcount.errors import DISTRIBUTION, DataError, check_positive, require
from cellcount.files import as_argument, replacing, sha256, write_csv
from cellcount.io import beside, labelstudio_tasks, tables
from cellcount.io.crops import MARGIN, cut, held, inside, with_margin
from cellcount.io.folders import files_of, images_of, natural
from cellcount.io.large import open_image
from cellcount.io.points import positions, role
from cellcount.io.problems import listed, number, raise_errors, toml
from cellcount.metrics import audit as metric
from cellcount.metrics.audit import draw, probabilities
from cellcount.results import manifests
from cellcount.results.count_folder import Counts, count_folder
from cellcount.results.count_images import PREDICTIONS
from cellcount.results.count_records import RECORDS
from cellcount.results.manifests import AUDIT, RESULT, TABLE
from cellcount.results.review import Field, Review, crops, review, tasks

COUNTS = "counts"
CELLS = 40  # predicted in a window on average: then 20 windows are corrected in some minutes ...
LEAST, MOST, SHARE = 64, 448, 4  # ... with sides of so many px, and so many times as many windows as are drawn
# Options of `count_folder` that say nothing.
DEFAULTS: list[tuple[str, str | None]] = [("method", "cellnet"), ("cell_width", "auto")]
DEFAULTS += [(name, None) for name in ("channel", "weights", "pixel_size_um", "group", "area_cm2")]
HEAVY, PRECISION = 0.5, 0.05  # a window with more of the variance is told where the interval is wider than this
# Problems of a data set that none are of an audit, or that are said in other words here.
COLUMNS = ("window", "image", "y0", "x0", "y1", "x1", "stratum", "probability", "predicted", "counted")
OTHERS = ("corrected-some", "corrected-none", "image-same", "channel-flat", "none-live", "images-none-live",
          "points-left-out", "ls-crops", "split-all-test")  # fmt: skip


@dataclass(frozen=True)
class Audit:
    """A drawn audit.

    Attributes
    ----------
    folder : Path
    about : dict
        The content of audit.json.
    counts : Counts or None
        What the call that made it counted.
    notes : tuple of str
        What is unusual about the counts.
    """

    folder: Path
    about: dict[str, Any]
    counts: Counts | None = None
    notes: tuple[str, ...] = ()

    @property
    def drawn(self) -> list[dict[str, Any]]:
        """The drawn windows, in the order of the draw: name, image, core and box (y0, x0, y1, x1) px, predicted, ..."""
        found: list[dict[str, Any]] = self.about["drawn"]
        return found

    @cached_property
    def predicted(self) -> np.ndarray:
        """(N,) int: predicted cells of each window of the population."""
        return np.array(self.about["windows"]["predicted"])

    @cached_property
    def strata(self) -> np.ndarray:
        """(N,) int: the stratum of each window."""
        return np.array(self.about["windows"]["stratum"])

    @cached_property
    def order(self) -> np.ndarray:
        """(N,) int: all windows in the order of the draw."""
        return np.array(self.about["order"])


@dataclass(frozen=True)
class AuditResult:
    """What an audit found.

    Attributes
    ----------
    estimate : cellcount.metrics.audit.AuditEstimate
    images : int
    area_mm2 : float or None
        Of all images.
    done : dict
        What the person did to the points in the drawn windows: numbers of predicted, kept, moved, deleted and added.
    warnings : tuple of str
    """

    estimate: metric.AuditEstimate
    images: int
    area_mm2: float | None
    done: dict[str, int]
    warnings: tuple[str, ...] = ()

    @property
    def per_mm2(self) -> tuple[float, float, float] | None:
        """Cells per mm2, and the ends of its interval; None if the pixel size is not known."""
        one = self.estimate
        return self.area_mm2 and (one.total / self.area_mm2, one.low / self.area_mm2, one.high / self.area_mm2)  # type: ignore[return-value]

    def windows_for(self, precision: float) -> int:
        """About how many windows give an interval of +- `precision` of the total, if further ones are like these."""
        one = self.estimate
        half = (one.high - one.low) / 2 / max(one.total, 1)
        share = (1 / one.windows - 1 / one.population) * (precision / half) ** 2 if half else math.inf
        return min(one.population, math.ceil(1 / (share + 1 / one.population)))

    def json(self) -> dict[str, Any]:
        """All of it as plain values."""
        return asdict(self.estimate) | {
            "images": self.images, "area_mm2": self.area_mm2, "per_mm2": self.per_mm2, "done": self.done,
            "warnings": list(self.warnings),
        }  # fmt: skip


def make(
    images: Sequence[str | Path] = (),
    out: str | Path = "audit",
    *,
    windows: int = 20,
    window: int | None = None,
    seed: int | None = None,
    **options: Any,
) -> Audit:
    """Draw windows of images at random, and write them for a person to correct; see this module.

    On a folder that has an audit, the draw goes on to `windows` in all: those drawn before stay, with all corrections.
    What is missing of a draw that was interrupted is written again.

    Parameters
    ----------
    images : list of paths
        Of images, (H, W) or (H, W, 3), as of `count_folder`, which counts them into counts/; or one folder that
        `cellcount count` wrote, which is taken as it is. None continues the audit in `out`.
    out : path of the folder
    windows : int
        To be drawn; all, a census, if there are no more.
    window : int or None, px
        The longest side of a window. By default 40 predicted cells are in a window on average, or fewer if that made
        less than four times as many windows as are drawn.
    seed : int or None
        Of the draw; 0 by default.
    **options
        Those of `count_folder`.

    Returns
    -------
    Audit

    Raises
    ------
    DataError
        If nothing could be counted, the method gives a number without points, the folder has other data or an audit of
        other images or predictions, or one of its files cannot be read.
    ParameterError
        If a number is out of range.
    """
    out, clock = Path(out), manifest.Clock()
    require(windows >= 2, f"windows={windows!r}: give at least 2, better 20.")
    require(window is None or window >= 8, f"window={window!r}: give a side of at least 8 px.")
    before = read(out) if (out / AUDIT).exists() else None
    require(images or before, f"{out} has no {AUDIT}: name images, or the folder of an audit with --out.", DataError)
    other = f"{out} has files already, and no {AUDIT}. Choose another folder with --out."
    require(before or not out.exists() or (out.is_dir() and set(os.listdir(out)) <= {COUNTS}), other, DataError)
    given = {
        name: value if isinstance(value, int | float | bool) else str(value)
        for name, value in options.items()
        if name not in ("each", "device", "progress", "again") and (name, value) not in DEFAULTS
    }
    kept = before.about["settings"]["count"] if before else given
    told = f"{out} was counted with {kept or 'the defaults'}, not with {given or 'the defaults'}. Give the same"
    require(given == kept or not images, f"{told}, or draw a new audit in another folder with --out.", DataError)
    folder, counts = _counted(images, out, before, given, options)
    work = review(folder)
    fields, found = _fields(work, folder, counts)
    if before is None:
        about = _population(fields, found, windows, window, seed or 0)
        about["counts"] = os.path.relpath(folder, out)
        about["settings"] |= {"channel": work.channel, "method": fields[0].found.annotator, "count": given}
        about["pixel_size_um"] = dataset_toml.read(folder / dataset_toml.NAME, ())[0].pixel_size_um
    else:
        about = before.about
        told = f"{out} has an audit of other images or predictions. Draw a new one in another folder with --out."
        require(about["images"] == found, told, DataError)
        for name, value in {"window": window, "seed": seed}.items():
            first = about["settings"][name]
            require(value in (None, first), f"{out} was drawn with {name}={first}, not {value}. Leave it out.")
    audit = Audit(out, about)
    _write(audit, fields, work.channel, min(max(windows, len(audit.drawn)), len(audit.order)))
    asked = {"windows": len(audit.drawn), "window": window, "seed": about["settings"]["seed"], "count": kept}
    manifests.audit(out, audit.drawn, clock.run("audit make", asked))
    return replace(read(out), counts=counts, notes=tuple(work.notes))


def _counted(
    images: Sequence[str | Path],
    out: Path,
    before: Audit | None,
    given: Mapping[str, Any],
    options: Mapping[str, Any],
) -> tuple[Path, Counts | None]:
    """The folder with the counts, and what was counted now; `given` are those of the options that change a count."""
    if not images or len(images) == 1 and os.path.isfile(Path(images[0], RECORDS)):
        folder = Path(images[0]) if images else out / before.about["counts"]  # type: ignore[union-attr]
        told = f"{folder} is counted already, with its own settings: leave out {', '.join(given)}, or name the images."
        require(not given, told)
        return folder, None
    if before is not None:  # before anything is written
        here = {sha256(path) for path in map(Path, map(str, find_images(list(images)))) if path.is_file()}
        told = (
            f"{out} has an audit of other images. Name the same again, or draw a new one in another folder with --out."
        )
        require(here == {one["sha256"] for one in before.about["images"]}, told, DataError)
    counts = count_folder(images, out / COUNTS, **options)
    if not counts.names:
        raise counts.failed[0].error if counts.failed else DataError(f"{images[0]}: no image was found.")
    return out / COUNTS, counts


def _fields(work: Review, folder: Path, counts: Counts | None) -> tuple[list[Field], list[dict[str, Any]]]:
    """The counted images, and what identifies each of them and its predictions."""
    fields = {one.path.stem: one for one in work.fields}
    wanted = counts.names if counts else [path.stem for path in images_of(files_of(folder))]
    bare = [name for name in wanted if name not in fields]
    told = f"{folder}: there is a number, but no points for {listed(bare)}. Count with a method that gives points."
    require(not bare, told, DataError)
    chosen = [fields[name] for name in sorted(wanted, key=natural)]
    found = []
    for one in chosen:
        height, width = beside.size(one.path) or open_image(one.path, work.channel)[0].shape
        points = sha256(folder / PREDICTIONS / f"{one.path.stem}.csv")
        found.append({"name": one.path.name, "height": height, "width": width, "predicted": len(one.found.points),
                      "sha256": sha256(one.path), "predictions_sha256": points})  # fmt: skip
    return chosen, found


def _population(
    fields: Sequence[Field], found: Sequence[Mapping[str, Any]], windows: int, window: int | None, seed: int
) -> dict[str, Any]:
    """All windows of all images, and the order in which they are drawn: the content of audit.json but for the draw."""
    area = sum(one["height"] * one["width"] for one in found)
    cells = sum(one["predicted"] for one in found)
    side = min(math.sqrt(area * CELLS / max(cells, 1)), math.sqrt(area / SHARE / windows), MOST)
    window = window or max(LEAST, round(side / 16) * 16)
    image, boxes, predicted = [], [], []
    for index, (one, about) in enumerate(zip(fields, found, strict=True)):
        cores = cut((about["height"], about["width"]), window)
        image += [index] * len(cores)
        boxes += cores
        predicted += held(_places(one), cores).tolist()
    strata, order = draw(predicted, windows, seed)
    return {
        "format": 1, "cellcount": version(DISTRIBUTION), "images": list(found),
        "settings": {"window": window, "seed": seed, "margin": MARGIN, "first": windows},
        "windows": {"image": image, "box": boxes, "predicted": predicted, "stratum": strata.tolist()},
        "order": order.tolist(), "strata": [], "drawn": [],
    }  # fmt: skip


def _places(one: Field) -> np.ndarray:
    """(N, 2) float32, (y, x) px: the points found in an image."""
    return np.array([mark.position for mark in one.found.points], np.float32).reshape(-1, 2)


def _write(audit: Audit, fields: Sequence[Field], channel: str, windows: int) -> None:
    """Write the files of the first `windows` windows that are not there, and audit.json, whose `drawn` has them."""
    folder, about, every = audit.folder, audit.about, audit.about["windows"]
    _save(audit)
    drawn = {one["name"]: one for one in audit.drawn if _whole(folder, one)}
    chances = probabilities(audit.strata, audit.order[:windows]).tolist()
    missing: dict[int, list[tuple[str, int]]] = {}  # number of the image: windows
    for rank, index in enumerate(audit.order[:windows].tolist(), 1):
        if (name := f"window-{rank:03d}") not in drawn:
            missing.setdefault(every["image"][index], []).append((name, index))
    for number_, members in tqdm(missing.items(), unit="image", desc="windows", delay=5, disable=None):
        one, pixels = fields[number_], open_image(fields[number_].path, channel)[0]
        span, places = labelstudio_tasks.span(pixels), _places(one)
        for name, index in members:
            core = tuple(every["box"][index])
            box = with_margin(core, pixels.shape)
            picture = folder / "images" / f"{name}.png"
            shown = labelstudio_tasks.shown(pixels[box[0] : box[2], box[1] : box[3]], _inner(core, box), span)
            if shown.min() == shown.max():  # padding; the checks of a folder refuse an image of one gray value
                shown[0, 0] ^= 1
            with replacing(picture) as temporary:
                Image.fromarray(shown, "L").save(temporary)
            marks = [one.found.points[i] for i in np.flatnonzero(inside(places, core))]
            rows = [(picture.name, f"{m.position[0] - box[0]:.2f}", f"{m.position[1] - box[1]:.2f}", "",
                     "" if m.score is None else f"{m.score:.4g}") for m in marks]  # fmt: skip
            points = write_csv(folder / PREDICTIONS / f"{name}.csv", tables.HEADER, rows or [(picture.name, *[""] * 4)])
            drawn[name] = {
                "name": name, "image": one.path.name, "core": core, "box": box, "predicted": len(marks),
                "stratum": every["stratum"][index], "sha256": sha256(picture), "predictions_sha256": sha256(points),
            }  # fmt: skip
    about["drawn"] = [
        drawn[name] | {"probability": chances[drawn[name]["stratum"]]} for name in sorted(drawn, key=natural)
    ]
    taken = np.bincount([one["stratum"] for one in audit.drawn], minlength=len(chances)).tolist()
    about["strata"] = [
        {"windows": size, "drawn": n, "probability": chance}
        for size, n, chance in zip(np.bincount(audit.strata).tolist(), taken, chances, strict=True)
    ]
    _describe(audit)
    new = {name for members in missing.values() for name, _ in members}
    if new:
        work = review(folder)
        chosen = [crop for crop in crops(work, order="image", progress=False) if crop.field.path.stem in new]
        labelstudio_tasks.write(folder / tasks_file(sorted(new, key=natural)), tasks(chosen, work.channel))
    _save(audit)


def tasks_file(names: Sequence[str]) -> str:
    """Where in the folder the tasks of these windows are, which were drawn together."""
    return f"labelstudio/tasks-{int(names[0][7:])}-{int(names[-1][7:])}.json"


def _inner(core: Sequence[int], box: Sequence[int]) -> list[int]:
    """A core as a box of the window's own pixels."""
    return [edge - start for edge, start in zip(core, (*box[:2], *box[:2]), strict=True)]


def _whole(folder: Path, one: Mapping[str, Any]) -> bool:
    """Whether image and predictions of a drawn window are as they were written; a changed one is not replaced."""
    picture, points = folder / "images" / f"{one['name']}.png", folder / PREDICTIONS / f"{one['name']}.csv"
    if not (picture.is_file() and points.is_file()):
        return False
    same = sha256(picture) == one["sha256"]
    require(same, f"{picture} was changed since it was drawn. Delete it: the same call writes it again.", DataError)
    return True


def _save(audit: Audit) -> None:
    with replacing(audit.folder / AUDIT) as temporary:
        lines = (f"{json.dumps(key)}: {json.dumps(value)}" for key, value in audit.about.items())
        temporary.write_text("{\n" + ",\n".join(lines) + "\n}\n", "utf-8")


def _describe(audit: Audit) -> None:
    """Write records.jsonl, and dataset.toml, to which only the cores of new windows are added."""
    path = audit.folder / dataset_toml.NAME
    text = path.read_text("utf-8") if path.exists() else ""
    if not text:
        size = audit.about["pixel_size_um"]
        lines = ["predictions = true", "reviewed = []"] + ([] if size is None else [f"pixel_size_um = {size!r}"])
        text = "\n".join(lines) + "\n"
    if "[regions]\n" not in text:
        text += "\n[regions]\n"
    inner = {one["name"]: _inner(one["core"], one["box"]) for one in audit.drawn}
    new = [f"{toml(name)} = [{core}]\n" for name, core in inner.items() if f"\n{toml(name)} = [[" not in text]
    with replacing(path) as temporary:
        temporary.write_text(text.replace("[regions]\n", "[regions]\n" + "".join(new), 1), "utf-8")
    with replacing(audit.folder / RECORDS) as temporary:
        method, _, digits = audit.about["settings"]["method"].partition(" ")
        records = (
            {"name": one["name"], "file": f"images/{one['name']}.png", "image_sha256": one["sha256"],
             "predictions_sha256": one["predictions_sha256"], "method": method, "weights_sha256": digits}
            for one in audit.drawn
        )  # fmt: skip
        temporary.write_text("".join(json.dumps(record) + "\n" for record in records), "utf-8")


def read(folder: str | Path) -> Audit:
    """The audit in a folder.

    Raises
    ------
    DataError
        If there is none, or audit.json was damaged.
    """
    path = Path(folder) / AUDIT
    require(
        path.is_file(), f"{folder} has no {AUDIT}: `cellcount audit make IMAGES --out FOLDER` writes one.", DataError
    )
    try:
        audit = Audit(Path(folder), json.loads(path.read_text("utf-8")))
        sizes = {len(audit.about["windows"][name]) for name in ("image", "box", "predicted", "stratum")}
        whole = sizes == {len(audit.order)} and (np.sort(audit.order) == np.arange(len(audit.order))).all()
        known = {"name", "image", "core", "box", "predicted", "stratum", "sha256", "predictions_sha256", "probability"}
        whole = whole and all(set(one) == known for one in audit.drawn)
        whole = whole and audit.strata.dtype == audit.predicted.dtype == int and audit.strata.min() >= 0
        whole = (
            whole
            and {"window", "seed", "method", "count"} <= set(audit.about["settings"])
            and bool(audit.about["counts"])
        )
    except (OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        whole, told = False, f" ({error})"
    else:
        told = ""
    damaged = f"{path} was damaged{told}, and without it the draw is not known. Restore it, or make another audit."
    require(whole, damaged, DataError)
    return audit


def estimate(
    folder: str | Path,
    *,
    windows: int | None = None,
    reviewed: bool = False,
    level: float = 0.9,
    pixel_size_um: float | None = None,
) -> AuditResult:
    """The total of all images of an audit, from the corrected windows; also written to the folder, see this module.

    Parameters
    ----------
    folder : path
    windows : int or None
        Take the first of the drawn windows alone. All by default.
    reviewed : bool
        A person has looked at every window: the predicted points that are unchanged in the annotations are right, and
        windows without predicted points and annotation have no cell.
    level : float
    pixel_size_um : float or None
        For cells per mm2; that of the counted images' dataset.toml by default.

    Returns
    -------
    AuditResult

    Raises
    ------
    DataError
        If a window was not corrected by a person, with all their names, or the annotations have errors.
    ParameterError
        If there are not as many windows, or they are too few for an interval.
    """
    audit, clock = read(folder), manifest.Clock()
    none = f"{folder}: no window was drawn yet: the call of `cellcount audit make` was interrupted. Repeat it."
    require(audit.drawn, none, DataError)
    enough = windows is None or 1 <= windows <= len(audit.drawn)
    require(enough, f"windows={windows}: {folder} has {len(audit.drawn)} drawn windows; give 1 to {len(audit.drawn)}.")
    drawn = audit.drawn[:windows]
    check_positive("audit", **({} if pixel_size_um is None else {"pixel_size_um": pixel_size_um}))
    found = survey(folder)
    problems = [one for one in found.problems if one.kind not in OTHERS]
    raise_errors(problems, f"{folder} cannot be used yet:" * bool(len(problems) > 1))
    absent = [one["name"] for one in drawn if not {one["name"]} <= found.images.keys() & found.predicted.keys()]
    again = f"the call of `cellcount audit make --out {as_argument(folder)}` writes them again."
    require(
        not absent,
        f"{folder}: images or predictions of drawn windows are missing: {listed(absent)}; {again}",
        DataError,
    )
    for name in (one["name"] for one in drawn if reviewed and not found.annotations.get(one["name"])):
        right = len(found.predicted[name].points)
        if name in found.unchanged or not right:  # points that are in no file may have been deleted
            found.annotations[name] = [found.predicted[name]]
            found.provenance[name] = {"predicted": right, "kept": right}
    open_ = [rank for rank, one in enumerate(drawn) if not _corrected(one, found)]
    if open_:
        raise DataError(_uncorrected(audit, open_, len(drawn), found.settings.reviewed if reviewed else None))
    counted = [int(inside(_live(one["name"], found), _inner(one["core"], one["box"])).sum()) for one in drawn]
    total = metric.estimate(audit.predicted, audit.strata, audit.order[: len(drawn)], counted, level=level)
    um = pixel_size_um or audit.about["pixel_size_um"]
    area = sum(one["height"] * one["width"] for one in audit.about["images"]) * um**2 / 1e6 if um else None
    done: Counter[str] = Counter()
    for one in drawn:
        kinds = found.provenance.get(one["name"], {})
        done.update({kind: kinds[kind] for kind in ("predicted", "kept", "moved", "deleted", "added") if kind in kinds})
    warnings = [str(one) for one in problems] + _others(drawn, found)
    if total.heaviest == 0 and len(drawn) < len(audit.order):
        warnings.append(
            "the drawn windows differ in nothing from their predictions, or all in the same way: rare errors elsewhere "
            "are not in the interval. Draw more windows"
        )
    if total.heaviest > HEAVY and total.high - total.low > 2 * PRECISION * total.total:
        warnings.append(_heaviest(audit, drawn, counted, total))
    result = AuditResult(total, len(audit.about["images"]), area, dict(done), tuple(warnings))
    rows = [(one["name"], one["image"], *one["core"], one["stratum"], one["probability"], one["predicted"], cells)
            for one, cells in zip(drawn, counted, strict=True)]  # fmt: skip
    write_csv(audit.folder / TABLE, COLUMNS, rows)
    with replacing(audit.folder / RESULT) as temporary:
        temporary.write_text(json.dumps(result.json(), indent=1) + "\n", "utf-8")
    asked = {"windows": windows, "reviewed": reviewed, "level": level, "pixel_size_um": pixel_size_um}
    manifests.audit(audit.folder, audit.drawn, clock.run("audit estimate", asked))
    return result


def sentences(result: AuditResult) -> list[str]:
    """What an audit found, and what the interval means, in plain words."""
    one, share = result.estimate, f"{result.estimate.level:.0%}".replace("%", " %")
    ends = f"({share}: {one.low:,.0f}-{one.high:,.0f})"
    told = [f"{one.total:,.0f} cells {ends} in {number(result.images, 'image')}; the method found {one.predicted:,.0f}"]
    if result.per_mm2:
        told.append("per mm2: {:,.4g} ({}: {:,.4g}-{:,.4g})".format(result.per_mm2[0], share, *result.per_mm2[1:]))
    done = ", ".join(f"{count:,} {kind}" for kind, count in result.done.items())
    told.append(f"Corrected: {one.windows:,} of {one.population:,} windows, with {one.counted:,.0f} cells; {done}.")
    if one.estimator == "census":
        return [*told, "Every window was corrected: the total is what was counted, without an interval."]
    told.append(
        f"What it means: if you corrected all {one.population:,} windows, the total would be in this interval, unless "
        f"the draw is unlucky, as in 1 of {1 / (1 - one.level):.0f} audits. It rests on the draw, not on the method."
    )
    told.append(
        f"What it cannot know: an error in fewer than {one.unseen:.1%} of the windows may have been missed by the draw "
        f"altogether (probability {(1 - one.level) / 2:.0%}).".replace("%", " %")
    )
    return told


def _corrected(one: Mapping[str, Any], found: Survey) -> bool:
    """Whether a person corrected the whole core of a window."""
    own = [every for every in found.annotations.get(one["name"], []) if "cells" in every.holds(found.settings.labels)]
    if not own or not all(every.regions for every in own):
        return bool(own)
    y0, x0, y1, x1 = _inner(one["core"], one["box"])
    done = within([box for every in own for box in every.regions], found.sizes[one["name"]])
    return bool(done[y0:y1, x0:x1].all())


def _uncorrected(audit: Audit, open_: Sequence[int], drawn: int, reviewed: Sequence[str] | None) -> str:
    """What to do about windows that nobody corrected, numbered from 0; `reviewed` is None without that argument."""
    names, first = [f"window-{rank + 1:03d}" for rank in open_], open_[0]
    command = f"cellcount audit estimate {as_argument(audit.folder)}"
    annotations = audit.folder / "annotations"
    told = f"{len(names)} of {drawn} drawn windows were not corrected by a person: {', '.join(names)}. "
    if reviewed is None:
        told += (
            "Submit them in Label Studio, also those without a cell (not skipped, and all crops of a window), or save "
            f"their corrected points in {annotations}. If you have looked at every window, and the points that you "
            f"left as they were are right: {command} --reviewed."
        )
    else:
        told += (
            f"Their predicted points are in no file of {annotations}. If they are right, write in "
            f"{audit.folder / dataset_toml.NAME}, in place of the line `reviewed`: reviewed = "
            f"{toml([*reviewed, *names])}. A window from which all were deleted needs a CSV file in {annotations} with "
            f"the lines image,y,x and {names[0]}.png,, below it."
        )
    taken = np.bincount(audit.strata[audit.order[:first]], minlength=len(audit.about["strata"]))
    enough = (taken >= np.minimum(2, np.bincount(audit.strata))).all()
    alone = f" Or take the first {first} alone: {command} --windows {first}."
    return told + alone * bool(enough)


def _live(name: str, found: Survey) -> np.ndarray:
    """(N, 2) float32, (y, x) px: the cells that a person left in a window."""
    marks = [mark for one in found.annotations[name] for mark in one.points]
    return positions(marks, "live", found.settings.labels)


def _others(drawn: Sequence[Mapping[str, Any]], found: Survey) -> list[str]:
    """Warnings of marks that are no cells."""
    own = [one for window in drawn for one in found.annotations[window["name"]]]
    marks = [mark for one in own for mark in one.points if role(mark.label, found.settings.labels) != "live"]
    boxes = sum(len(one.boxes) for one in own)
    kinds = Counter(mark.label for mark in marks)
    told = [f"{number(count, 'point')} with the label {label} are not counted" for label, count in kinds.items()]
    return told + [f"{number(boxes, 'rectangle')} are not counted: mark cells by points"] * bool(boxes)


def _heaviest(
    audit: Audit, drawn: Sequence[Mapping[str, Any]], counted: Sequence[int], total: metric.AuditEstimate
) -> str:
    """The warning that the interval rests on one window: that with the largest weighted error."""
    ratio = total.total / max(total.predicted, 1)
    errors = [abs(n - ratio * one["predicted"]) / one["probability"] for one, n in zip(drawn, counted, strict=True)]
    one = drawn[int(np.argmax(errors))]
    cells = f"{one['predicted']} predicted, {counted[int(np.argmax(errors))]} counted"
    more = f"cellcount audit make --out {as_argument(audit.folder)} --windows {2 * len(audit.drawn)}"
    return (
        f"one window, probably {one['name']} ({cells}), makes {total.heaviest:.0%} of the uncertainty: the interval "
        f"may be too short. Draw more: {more}"
    )
