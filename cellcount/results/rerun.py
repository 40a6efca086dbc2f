"""Run counts, audits and trainings again, in a temporary folder, and compare the numbers with those of the first run.

A manifest is data, and no script: only the verbs of this package are called, with parameters that their methods know,
images and annotations in the manifest's folder, and weights whose hash is the recorded one.
"""

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cellcount import manifest
from cellcount.counting import train, training_samples
from cellcount.data import load, sources
from cellcount.errors import DataError, ParameterError, require
from cellcount.files import sha256
from cellcount.methods import METHODS, base
from cellcount.metrics import audit as metric
from cellcount.metrics import match
from cellcount.results import audit
from cellcount.results.count_folder import count_folder
from cellcount.results.count_images import PREDICTIONS
from cellcount.results.count_records import RECORDS, SUMMARY, checked
from cellcount.results.verifying import Verified, place_of

TOLERANCE = 0.01
NEAR = 1.0  # px between a point and the same one of another run
RULES = {
    "count": f"each count and end of an interval within the tolerance, or 1 cell; that share of points may lie further "
    f"than {NEAR:g} px from one of the first run",
    "audit": "the same draw; each number of the estimate within the tolerance",
    "train": "the same weights, or their distance from the first ones, relative to their length, within the tolerance",
}


@dataclass
class Comparison:
    """What a rerun found: how many numbers were compared, those that differ (in words), and the largest difference."""

    numbers: int = 0
    largest: float = 0.0
    differ: list[str] = field(default_factory=list)

    def compare(self, what: str, first: float, again: float, tolerance: float, least: float = 0.0) -> None:
        """Note a number that differs by more than the tolerance times its value, and more than `least`."""
        self.numbers += 1
        off = abs(first - again)
        self.largest = max(self.largest, off / max(abs(first), least, 1e-12))
        if not off <= max(tolerance * abs(first), least):
            self.differ.append(f"{what}: {first:.6g}, and {again:.6g} now")


def rerun(
    result: Verified,
    *,
    data: Path | None = None,
    weights: Path | None = None,
    device: str = "auto",
    tolerance: float = TOLERANCE,
) -> Comparison:
    """Run what a manifest describes again, and compare; the arguments are those of `verifying.verify`.

    Raises
    ------
    DataError
        If it cannot be run again: its data or weights are not known, or not those of the first run.
    """
    done, what = Comparison(), result.content["what"]
    known = {"count": _count, "train": _train, "audit": _audit}
    require(what in known, f"{result.path}: {what} cannot be run again.", DataError)
    with tempfile.TemporaryDirectory(prefix="cellcount-") as scratch:
        try:
            known[what](result, done, Path(scratch), {"data": data, "weights": weights}, device, tolerance)
        except (LookupError, TypeError, AttributeError, StopIteration) as error:
            raise DataError(f"{result.path}: it cannot be run again ({type(error).__name__}: {error}).") from error
    return done


def _count(
    result: Verified, done: Comparison, scratch: Path, given: Mapping[str, Path | None], device: str, tolerance: float
) -> None:
    folder = result.path.parent
    try:
        with open(folder / RECORDS, encoding="utf-8") as file:
            records = {one["name"]: checked(one) for one in map(json.loads, file)}
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise DataError(f"{folder / RECORDS}: it cannot be read ({error}).") from error
    runs = {run["key"]: run for run in result.content["runs"] if "key" in run}
    for key in dict.fromkeys(one["run"] for one in records.values()):
        own = {str(folder / one["file"]): one for one in records.values() if one["run"] == key}
        if key not in runs:
            told = f"{len(own)} images were counted before there were manifests, and are not counted again"
            result.notes.append(told)
            continue
        asked, out = runs[key]["parameters"], scratch / key
        params = _known(asked["parameters"], [*base.parameters(METHODS[asked["method"]].predict)])
        again = count_folder(
            [*own], out, method=asked["method"], weights=_weights(result, runs[key], given["weights"]), device=device,
            progress=False, channel=asked["channel"], cell_width=asked["cell_width"],
            pixel_size_um=asked["pixel_size_um"], **params,
        )  # fmt: skip
        done.differ += [f"{one.image}: it cannot be counted now ({one.error})" for one in again.failed]
        for new in again.folder.records(again.names):
            old = own[new["image"]]
            done.compare(f"{old['file']}, count", old["count"], new["count"], tolerance, least=1)
            ends = [one["count_interval"] or () for one in (old, new)]
            if len(ends[0]) != len(ends[1]):
                done.differ.append(f"{old['file']}: an interval {'then' if ends[0] else 'now'} alone")
            for first, now in zip(*ends, strict=False):
                done.compare(f"{old['file']}, interval", first, now, tolerance, least=1)
            _points(done, old, new, folder, out, tolerance)
    _summary(done, folder, records)


def _summary(done: Comparison, folder: Path, records: Mapping[str, Mapping[str, Any]]) -> None:
    """Compare the summary with the records from which it was put together."""
    try:
        shown = {one["name"]: one["count"] for one in json.loads((folder / SUMMARY).read_text("utf-8"))["images"]}
        for name, one in records.items():
            if name in shown:
                done.compare(f"{SUMMARY}, {name}", one["count"], float(shown[name]), 0)
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        done.differ.append(f"{SUMMARY} cannot be read ({error})")


def _points(
    done: Comparison, old: Mapping[str, Any], new: Mapping[str, Any], folder: Path, out: Path, tolerance: float
) -> None:
    places = []
    for where, one in ((folder, old), (out, new)):
        path = where / PREDICTIONS / f"{one['name']}.csv"
        rows = path.read_text("utf-8").splitlines()[1:] if path.is_file() else []
        try:  # the last columns, since a comma in the name of an image is quoted
            texts = [line.rsplit(",", 4)[1:3] for line in rows]
            places.append(np.array([one for one in texts if one[0]], float).reshape(-1, 2))
        except (ValueError, IndexError):
            return done.differ.append(f"{old['file']}: its points cannot be read")
    found = match(places[0], places[1], NEAR)
    apart = max(len(one) for one in places) - found.tp
    done.numbers += len(places[0])
    if apart > max(1, tolerance * len(places[0])):
        done.differ.append(f"{old['file']}: {apart} points are not those of the first run")


def _known(params: Mapping[str, Any], names: list[str]) -> dict[str, Any]:
    """Parameters, if all have one of these names: those that say where files are have others."""
    base.refuse_unknown("The recorded method", params, [name for name in names if name not in base.CONTEXT])
    return dict(params)


def _weights(result: Verified, run: Mapping[str, Any], given: Path | None) -> str | Path | None:
    """The weights of a run: None, a name, or the file that has the recorded hash."""
    name, digest = run["parameters"]["weights"], run["weights"]
    if name is None or name == digest:  # the method's own, or a name of registered ones
        return name
    for one in result.content["inputs"]:
        place = place_of(one, result.path, given) if one["kind"] in ("weights", "bundled") else None
        if place is not None and name in {Path(file).name for own in one["files"].values() for file in own}:
            file = given or next(place / f for own in one["files"].values() for f in own if Path(f).name == name)
            if file.is_file() and sha256(file) == digest:
                return file
    raise DataError(f"{result.path}: the weights {name} with the recorded hash are needed: name them with --weights.")


def _train(
    result: Verified, done: Comparison, scratch: Path, given: Mapping[str, Path | None], device: str, tolerance: float
) -> None:
    run, path = result.content["runs"][-1], result.path
    asked, one = run["parameters"], next(one for one in result.content["inputs"] if one["kind"] == "data")
    place = place_of(one, path, given["data"])
    source = place if place is not None else one["name"]
    require(source, f"{path}: the data are not known: they were given as arrays.", DataError)
    try:
        samples = training_samples(load(source), asked["images"])
    except ParameterError as error:
        raise DataError(f"{path}: the data {one['name']} are needed: name their folder with --data.") from error
    for sample in samples:
        expected = one["files"].get("sample", {}).get(sample.name)
        if expected not in (None, sources.sample_sha256(sample)):
            done.differ.append(f"{sample.name}: another sample than in the first run")
    params = _known(asked["parameters"], [*base.training_parameters(METHODS[asked["method"]], asked["method"])])
    if params.get("start") and any(Path(params["start"]).suffix == suffix for suffix in (".safetensors", ".onnx")):
        file = given["weights"]
        known: dict[str, str] = next(
            (i["files"]["weights"] for i in result.content["inputs"] if i["kind"] != "data"), {}
        )
        told = f"{path}: the initial weights {params['start']} are needed: name them with --weights."
        require(file is not None and file.is_file() and sha256(file) in known.values(), told, DataError)
        params["start"] = str(file)
    (name,) = [name for name in result.content["files"]["weights"] if not name.endswith(".onnx")]
    train(samples, out=scratch / name, method=asked["method"], device=device, progress=False, **params)
    _compare_weights(done, path.parent / name, scratch / name, tolerance)


def _compare_weights(done: Comparison, first: Path, again: Path, tolerance: float) -> None:
    done.numbers += 1
    if sha256(first) == sha256(again):
        return
    if first.suffix != ".safetensors":
        return done.differ.append(f"{first.name}: other bytes, which cannot be compared as numbers")
    from safetensors.numpy import load_file

    old, new = load_file(first), load_file(again)
    if {name: one.shape for name, one in old.items()} != {name: one.shape for name, one in new.items()}:
        return done.differ.append(f"{first.name}: another network")
    off = np.sqrt(sum(float(np.square(old[name].astype(float) - new[name]).sum()) for name in old))
    length = np.sqrt(sum(float(np.square(one.astype(float)).sum()) for one in old.values()))
    done.numbers, done.largest = sum(one.size for one in old.values()), max(done.largest, off / max(length, 1e-12))
    if off > tolerance * length:
        done.differ.append(f"{first.name}: the weights differ by {off / length:.2%}")
    told = [dict(_numbers(_described(file))) for file in (first, again)]
    for what in sorted(told[0].keys() | told[1].keys()):  # as the threshold, by which the same tensors count others
        done.compare(f"{first.name}, {what}", told[0].get(what, np.nan), told[1].get(what, np.nan), tolerance)


def _described(file: Path) -> dict[str, Any]:
    """What the description of a weights file says of its settings, and of how it counts."""
    from safetensors import safe_open

    with safe_open(file, framework="np") as opened:
        about = json.loads((opened.metadata() or {}).get("cellcount", "{}"))
    return {name: about[name] for name in ("settings", "counting") if name in about}


def _audit(
    result: Verified, done: Comparison, scratch: Path, given: Mapping[str, Path | None], device: str, tolerance: float
) -> None:
    first = audit.read(result.path.parent)
    settings = first.about["settings"]
    strata, order = metric.draw(first.predicted, settings["first"], settings["seed"])
    done.numbers += len(order)
    if not (np.array_equal(order, first.order) and np.array_equal(strata, first.strata)):
        done.differ.append("the draw: other windows than in the first run")
    for run in result.content["runs"]:
        if run["command"] == "audit estimate":
            copy = scratch / "audit"
            shutil.copytree(first.folder, copy, ignore=lambda place, names: {audit.COUNTS, manifest.NAME} & {*names})
            asked = {name: run["parameters"][name] for name in ("windows", "reviewed", "level", "pixel_size_um")}
            again = json.loads(json.dumps(audit.estimate(copy, **asked).json()))
            then = json.loads((first.folder / audit.RESULT).read_text("utf-8"))
            for (what, old), (_, new) in zip(_numbers(then), _numbers(again), strict=False):
                done.compare(f"estimate, {what}", old, new, tolerance)
            if [what for what, _ in _numbers(then)] != [what for what, _ in _numbers(again)]:
                done.differ.append("the estimate: other numbers than in the first run")


def _numbers(value: Any, name: str = "") -> Iterator[tuple[str, float]]:
    """All numbers in a JSON value, with the way to each."""
    if isinstance(value, dict | list):
        for key, one in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _numbers(one, f"{name}/{key}" if name else str(key))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield name, float(value)
