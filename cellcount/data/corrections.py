"""Corrected predictions: the points that a person kept, moved, deleted and added in what a method had found.

A folder that `cellcount count` wrote has `predictions = true` in its dataset.toml, what was found in predictions/, and
gets the corrected points in annotations/, in any of the formats that are read. The predictions are only compared with:
an image is annotated if somebody changed at least one point, submitted it (Label Studio), or listed it under
`reviewed`. A copy of the prediction that nobody corrected, as `cellcount data convert` makes it, is no annotation.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cellcount.files import sha256
from cellcount.io import beside, points
from cellcount.io.beside import composed
from cellcount.io.points import ORIGINS, Annotation, Mark, positions, role
from cellcount.io.problems import toml
from cellcount.metrics import default_tolerance, inside, match, near

if TYPE_CHECKING:
    from cellcount.data.survey import Survey

FOLDER = "predictions"
SAME_PX = 0.02  # predictions have two decimals; the formats' round trips are exact to 1e-3 px
WHOLE_PX = 0.75  # in formats of whole pixels (dot images, Cell Counter) a point is up to .71 px off
MANY = 10  # predicted and annotated points, almost none of which coincide: implausible
RESIZED = 1 / 2, 1 / 3, 1 / 4, 2.0, 3.0, 4.0
REACH_PX = 12.0  # of a move, without two points to take it from: half the cells' spacing in the thesis
DONE = dict(zip(ORIGINS, ("kept", "moved", "added"), strict=True))  # `Mark.origin` -> what a person did
_MARKED = {done: origin for origin, done in DONE.items()}


def read_predictions(folder: Path, found: Survey) -> dict[str, Annotation]:
    """What was predicted, {image stem: Annotation}; {} unless dataset.toml says `predictions = true`."""
    files = sorted((folder / FOLDER).glob("*.csv")) if found.settings.predictions else []
    if found.settings.predictions and not files:
        found.add("predictions-missing", folder, folder=FOLDER)
    stems = {composed(path.name): stem for stem, path in found.images.items()}
    predicted: dict[str, Annotation] = {}
    absent = []
    recorded = _recorded(folder) if files else {}
    for name, path in found.images.items():
        with suppress(OSError):  # reported when it is decoded
            if recorded.get(composed(name), ("", ""))[0] not in ("", sha256(path)):
                found.add("image-changed", path.name)
    for path in files:
        if recorded.get(composed(path.stem), ("", ""))[1] not in ("", sha256(path)):
            found.add("predictions-edited", f"{FOLDER}/{path.name}")
        annotations, problems = points.read(path)
        found.problems += [replace(problem, file=f"{FOLDER}/{path.name}") for problem in problems]
        for one in annotations:
            stem = stems.get(composed(one.image))
            if stem is None:
                absent.append(one.image)
            elif composed(stem) != composed(path.stem):
                found.add("predictions-other", f"{FOLDER}/{path.name}", image=one.image)
            else:
                predicted[stem] = replace(one, file=f"{FOLDER}/{path.name}")
                _inside(predicted[stem], found.images[stem], found)
    if absent:
        found.add("predictions-image", folder, count=len(absent), image=absent[0])
    return predicted


def _inside(one: Annotation, image: Path, found: Survey) -> None:
    """Report predicted points that are not in the image."""
    size = found.sizes.get(image.stem) or beside.size(image)
    points = np.array([mark.position for mark in one.points], float).reshape(-1, 2)
    outside = ((points < -0.5) | (points > np.array(size) - 0.5)).any(axis=1) if size else np.zeros(0, bool)
    if outside.any():
        found.add("predictions-outside", one.file, count=outside.sum(), all=len(points), image=image.name)


def _recorded(folder: Path) -> dict[str, tuple[str, str]]:
    """The SHA-256 of image and predictions when they were counted, {name: of the last record}; "" if unknown."""
    found: dict[str, tuple[str, str]] = {}
    path = folder / "records.jsonl"
    for line in path.read_text("utf-8", "replace").splitlines() if path.is_file() else ():
        # A line that is torn, or of other origin: `count` says so.
        with suppress(ValueError, LookupError, TypeError, AttributeError, RecursionError):
            record = json.loads(line)
            hashes = (str(record.get(key, "")) for key in ("image_sha256", "predictions_sha256"))
            found[composed(record["name"])] = next(hashes), next(hashes)
    return found


def leave_out_unchanged(predictions: Mapping[str, Annotation], found: Survey) -> list[str]:
    """Remove annotations that equal the prediction from `found`; returns the stems of their images."""
    left = []
    for stem, before in predictions.items():
        own = found.annotations.get(stem, [])
        changed = [one for one in own if not unchanged(one, before, found.settings.labels)]
        if len(changed) < len(own):
            found.annotations[stem] = changed
            left.append(stem)
    return left


def unchanged(one: Annotation, before: Annotation, labels: Mapping[str, Sequence[str]]) -> bool:
    """Whether an annotation has the predicted points only, and no sign of a person.

    labels : as in `cellcount.io.points.role`; shape: {meaning: labels}
    """
    if (
        one.boxes
        or one.annotator
        or one.regions
        or any(mark.origin in ORIGINS or role(mark.label, labels) != "live" for mark in one.points)
    ):
        return False
    now, then = (positions(marks, "live", labels) for marks in (one.points, before.points))
    return len(now) == len(then) == match(now, then, _same(now)).tp


def trace(predictions: Mapping[str, Annotation], unchanged: Sequence[str], found: Survey) -> None:
    """Compare the annotations in `found` with what was predicted: fills their marks' `origin`, and `found.provenance`.

    Predicted and annotated points are paired one to one, coincident ones (`SAME_PX`) first: those are kept. Of the
    others a pair within half the median spacing of the predicted points is a move, a predicted point alone is deleted,
    and an annotated one is added. Where the format says what a person did (Label Studio), that counts. Only what lies
    in the regions of crops that were annotated is compared.
    """
    settings = found.settings
    for stem in found.images:
        own = found.annotations.get(stem, [])
        if not any("cells" in one.holds(settings.labels) for one in own):
            if stem not in settings.reviewed:
                continue
            if stem not in predictions:
                found.add("reviewed-nothing", "dataset.toml", "key reviewed", image=found.images[stem].name)
                continue
            own = found.annotations[stem] = [*own, predictions[stem]]
        before = predictions.get(stem)
        if before or any(mark.origin in ORIGINS for one in own for mark in one.points):
            found.provenance[stem] = _traced(before, own, regions(stem, found), found.sizes.get(stem), settings.labels)
        if before:
            _plausible(stem, predictions, found)
    if predictions:
        _summarise(unchanged, found)
    _untouched(found)


def _untouched(found: Survey) -> None:
    """Warn of images that have predicted points only, in a file that says of other images what a person did there.

    The page that counts (web/) writes such files: it cannot know whether somebody found an image right as it is.
    """
    files = {one.file for stem in found.provenance for one in found.annotations[stem]}
    for stem in sorted({*found.annotations} - {*found.provenance, *found.settings.reviewed}):
        for one in found.annotations[stem]:
            if one.file in files and one.points and all(mark.score is not None for mark in one.points):
                image = found.images[stem].name
                line = _line([image], found.settings.reviewed)
                found.add("corrected-others", one.file, count=len(one.points), image=image, line=line)


def _plausible(stem: str, predictions: Mapping[str, Annotation], found: Survey) -> None:
    """Report an annotation with almost none of many predicted points: of another image, or with other coordinates.

    It is an error if most of its points are predicted ones of another image, or in another unit or order.
    """
    labels, done, image = found.settings.labels, found.provenance[stem], found.images[stem]
    own = [one for one in found.annotations[stem] if "cells" in one.holds(labels)]
    now, then = (
        positions([mark for one in ones for mark in one.points], "live", labels) for ones in (own, [predictions[stem]])
    )
    least, used = min(len(now), done["predicted"]), done["kept"] + done["moved"]
    if least < MANY or done["kept"] > least / 10:
        return
    told = {"kept": done["kept"], "used": used, "predicted": len(then), "annotated": len(now), "image": image.name}
    scales: dict[str, Any] = {f"multiplied by {factor:.3g}, as px of a resized image": factor for factor in RESIZED}
    if size := found.sizes.get(stem):
        scales["in percent of the image's size"] = 100 / np.array(size)
    if um := found.settings.pixel_size_um:
        scales |= {"in micrometres": um, "divided by the pixel size": 1 / um}
    extent = now.max(axis=0) / then.max(axis=0).clip(1)
    scales["multiplied by {:.3g} (y) and {:.3g} (x), as px of a resized image".format(*extent)] = extent
    others = {how: then * by for how, by in scales.items()} | {"with x and y exchanged": then[:, ::-1]}
    others |= {f"with x and y exchanged, {how}": (then * by)[:, ::-1] for how, by in scales.items()}
    for other, before in predictions.items() if used < least / 2 else ():
        if other != stem:
            others[f"of {found.images[other].name}"] = positions(before.points, "live", labels)
    for how, places in others.items():
        count = int(near(now, places, _same(now)).sum())
        if 2 * count > least:
            return found.add("corrected-elsewhere", own[0].file, own[0].where, how=how, count=count, **told)
    if used < least / 2:
        found.add("corrected-nothing", own[0].file, own[0].where, **told)


def _traced(
    before: Annotation | None,
    own: Sequence[Annotation],
    boxes: Sequence[Sequence[float]],
    size: tuple[int, int] | None,
    labels: Mapping[str, Sequence[str]],
) -> dict[str, Any]:
    """What was done to the points of an image, as counts; the annotations' marks get their origin."""
    marks = [mark for one in own for mark in one.points]
    now = positions(marks, "live", labels)
    region = within(boxes, size) if boxes and size else None
    done = {tuple(mark.position): DONE.get(mark.origin, "") for mark in reversed(marks) if _live(mark, labels)}
    places = list(dict.fromkeys(tuple(mark.position) for mark in marks if _live(mark, labels)))
    origin = np.array([done[place] for place in places], dtype="<U5")
    shown = np.ones(len(now), bool) if region is None else inside(now, region)
    counts: dict[str, Any] = {}
    if before is not None:
        then = positions(before.points, "live", labels)
        then = then if region is None else then[inside(then, region)]
        same = match(now, then, _same(now)).pairs
        origin[same[:, 0]] = "kept"
        free = np.delete(then, same[:, 1], axis=0)
        open_ = np.flatnonzero(origin == "")
        moved = match(now[open_], free, _reach(then, now)).pairs
        origin[open_] = "added"
        origin[open_[moved[:, 0]]] = "moved"
        free = np.delete(free, moved[:, 1], axis=0)
        others = np.array([mark.position for mark in marks if not _live(mark, labels)], np.float32).reshape(-1, 2)
        relabelled = match(others, free, SAME_PX).tp
        counts = {"predicted": len(then), "relabelled": relabelled} if relabelled else {"predicted": len(then)}
    origin[origin == ""] = "added"  # a format that says of some marks where they come from: the rest are a person's
    counts |= {name: int((origin[shown] == name).sum()) for name in ("kept", "moved", "added")}
    if before is not None:
        used = counts["kept"] + counts["moved"] + counts.get("relabelled", 0)
        counts["deleted"] = max(0, counts["predicted"] - used)
    if region is not None:
        counts |= {"area": round(float(region.mean()), 3), "outside": int((~shown).sum())}
    final = dict(zip(places, origin.tolist(), strict=True))
    for one in own:
        one.points = [
            replace(mark, origin=_MARKED[final[tuple(mark.position)]]) if _live(mark, labels) else mark
            for mark in one.points
        ]
    return counts


def origins(places: np.ndarray, marks: Iterable[Mark], name: str, labels: Mapping[str, Sequence[str]]) -> list[str]:
    """The `Mark.origin` of each of the `places` (N, 2) or (N, 4) px that `points.positions` gave for these marks."""
    known: dict[tuple[float, ...], str] = {}
    for mark in marks:
        if role(mark.label, labels) == name:
            known.setdefault(tuple(np.asarray(mark.position, np.float32).tolist()), mark.origin)
    return [known[tuple(place)] for place in places.tolist()]


def _live(mark: Mark, labels: Mapping[str, Sequence[str]]) -> bool:
    return role(mark.label, labels) == "live"


def _same(now: np.ndarray) -> float:
    """How far a point that nobody moved can be from the predicted one, px."""
    return WHOLE_PX if (2 * now == np.rint(2 * now)).all() else SAME_PX


def _reach(then: np.ndarray, now: np.ndarray) -> float:
    """How far a predicted point may have been moved, px; farther, it was deleted and another one was added."""
    several = next((places for places in (then, now) if len(places) > 1), None)
    return REACH_PX if several is None else max(default_tolerance(several), WHOLE_PX)


def _summarise(unchanged: Sequence[str], found: Survey) -> None:
    """Say how many images were corrected, and what to do about the others."""
    labels = found.settings.labels
    annotated = {stem for stem, own in found.annotations.items() if any("cells" in one.holds(labels) for one in own)}
    left = [path.name for stem, path in found.images.items() if stem not in annotated]
    equal = len(set(unchanged) - annotated)
    if left:
        found.add(
            "corrected-some" if annotated else "corrected-none", FOLDER,
            corrected=len(annotated), all=len(found.images), left=len(left), line=_line(left, found.settings.reviewed),
            names=", ".join(left[:3]) + ", ..." * (len(left) > 3),
            equal=f" The annotation of {equal} of them equals the prediction." if equal else "",
        )  # fmt: skip


def _line(names: Sequence[str], reviewed: Sequence[str], most: int = 3) -> str:
    """The line for dataset.toml that adds images of these file names to those `reviewed`; `most` of them by name."""
    stems = dict.fromkeys([*reviewed, *(name.rsplit(".", 1)[0] for name in names[:most])])
    quoted = [toml(stem) for stem in stems]
    return f"reviewed = [{', '.join(quoted + ['...'] * (len(names) > most))}]"


def regions(stem: str, found: Survey) -> list[Sequence[float]]:
    """The boxes (y0, x0, y1, x1) px of an image to which its annotation is limited; [] if it is the whole image."""
    own = [one for one in found.annotations.get(stem, []) if "cells" in one.holds(found.settings.labels)]
    limited = bool(own) and all(one.regions for one in own)
    return [*found.settings.regions.get(stem, ()), *(box for one in own for box in one.regions if limited)]


def within(boxes: Iterable[Sequence[float]], shape: tuple[int, ...]) -> np.ndarray:
    """(H, W) bool: pixels in one of the boxes (y0, x0, y1, x1) px, ends excluded, of an image with `shape` (H, W)."""
    region = np.zeros(shape, bool)
    for box in boxes:
        top, left, bottom, right = (max(0, int(np.ceil(edge))) for edge in box)
        region[top:bottom, left:right] = True
    return region


def sentence(image: str, provenance: Mapping[str, Any]) -> str:
    """What a person did to the points of an image, in words.

    Parameters
    ----------
    image : its name
    provenance : of `Sample.meta["provenance"]` or `Survey.provenance`
    """
    kinds = ("kept", "moved", "deleted", "added", "relabelled")
    done = ", ".join(f"{provenance[kind]} {kind}" for kind in kinds if kind in provenance)
    if "predicted" in provenance:
        done = f"{provenance['predicted']} predicted; {done}"
    if "area" in provenance:
        done += f"; in the annotated regions, {provenance['area']:.0%} of the image, which alone are used"
    if provenance.get("outside"):
        done += f" ({provenance['outside']} points outside are not)"
    return f"{image}: {done}"
