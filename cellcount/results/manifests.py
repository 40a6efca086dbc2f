"""The manifests of the folders that `count` and `audit` write: which files, and the hashes that their records have.

A file that was changed after it was written stays a changed one: the hashes are those of the writing.
"""

import hashlib
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from cellcount import manifest
from cellcount.data import dataset_toml
from cellcount.errors import DataError
from cellcount.files import sha256
from cellcount.methods import METHODS
from cellcount.results import groups
from cellcount.results.count_images import IMAGES, OVERLAYS, PREDICTIONS, CountFolder
from cellcount.results.count_records import RECORDS, SUMMARY
from cellcount.results.count_records import TABLE as COUNTS

AUDIT, RESULT, TABLE = "audit.json", "audit-result.json", "audit-result.csv"  # of an audit
COUNTED = {RECORDS: "records", SUMMARY: "summary", COUNTS: "table", groups.TABLE: "table"}
AUDITED = {AUDIT: "records", RECORDS: "records"}
ESTIMATED = {RESULT: "summary", TABLE: "table"}


def counts(folder: CountFolder, counted: int, clock: manifest.Clock, asked: Mapping[str, Any], device: str) -> None:
    """Write the manifest of a count folder, after a call that `counted` so many images with the parameters `asked`.

    Raises OSError if it cannot be written.
    """
    path = folder.path / manifest.NAME
    before = _before(path)
    runs, inputs = before["runs"], before["inputs"]
    if counted or not runs:
        own = folder.weights or getattr(METHODS[folder.run["method"]], "SHIPPED", None)
        if own and os.path.isfile(own) and (used := manifest.weights_of(Path(own), path)) not in inputs:
            inputs.append(used)
        about = {"key": folder.key, "weights": folder.run["weights"], "counted": counted}
        runs.append(clock.run("count", asked, device, **about))
    files: manifest.Files = {"data": {}, "points": {}, "overlay": {}}
    for record in folder.records(folder.index):
        files["data"][record["file"]] = record["image_sha256"]
        if record["predictions_sha256"]:
            files["points"][f"{PREDICTIONS}/{record['name']}.csv"] = record["predictions_sha256"]
        if record["overlay"]:
            overlay = f"{OVERLAYS}/{record['name']}.png"
            files["overlay"][overlay] = record.get("overlay_sha256") or sha256(folder.path / overlay)
    _add(files, folder.path, COUNTED)
    files["records"][RECORDS] = _grown(folder.path / RECORDS, before["files"].get("records", {}).get(RECORDS))
    manifest.write(path, "count", runs, files, ("", IMAGES, PREDICTIONS, OVERLAYS), inputs, before["beside"])


def audit(folder: Path, drawn: Sequence[Mapping[str, Any]], run: dict[str, Any]) -> None:
    """Write the manifest of an audit with these windows after a `run` of make or estimate.

    Annotations are a part of the result as soon as there is an estimate.
    """
    path = folder / manifest.NAME
    estimated = run["command"] == "audit estimate"
    before = _before(path)
    runs = [one for one in before["runs"] if one["command"] == "audit make"]
    files: manifest.Files = {
        "data": {f"{IMAGES}/{one['name']}.png": one["sha256"] for one in drawn},
        "points": {f"{PREDICTIONS}/{one['name']}.csv": one["predictions_sha256"] for one in drawn},
    }
    _add(files, folder, AUDITED | ESTIMATED if estimated else AUDITED)  # an estimate before the draw went on is no more
    places = ["", IMAGES, PREDICTIONS, *["annotations/**"] * estimated]
    files |= manifest.hashes(folder, places[3:], lambda _: "annotation")
    manifest.write(path, "audit", [*runs, run], files, places, beside=before["beside"])


def _before(path: Path) -> dict[str, Any]:
    """The manifest of the calls before this one; what one says that is missing or was edited is not known."""
    with suppress(DataError):
        return manifest.read(path)
    return {"runs": [], "inputs": [], "files": {}, "beside": None}


def _grown(path: Path, before: str | None) -> str:
    """SHA-256 of a file to whose end lines are added; `before`, the earlier one, if none was of its first lines."""
    found, known = hashlib.sha256(), before in (None, hashlib.sha256().hexdigest())
    with open(path, "rb") as file:
        for line in file:
            found.update(line)
            known = known or found.hexdigest() == before
    return found.hexdigest() if known or before is None else before


def _add(files: manifest.Files, folder: Path, kinds: Mapping[str, str]) -> None:
    for name, kind in {**kinds, dataset_toml.NAME: "settings"}.items():
        if (folder / name).is_file():
            files.setdefault(kind, {})[name] = sha256(folder / name)
