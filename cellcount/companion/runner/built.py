"""The manifests of a book: of the folder with its computed chapters, and of the rendered site; computing it again."""

import csv
import json
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest.mock import patch

import nbformat

from cellcount import manifest
from cellcount.companion.runner import run_chapter, sources
from cellcount.companion.runner.cleaning import ADDRESS
from cellcount.companion.runner.staleness import RECORD, record_of
from cellcount.data import sources as data_sources
from cellcount.errors import CellcountError, DataError
from cellcount.registry import DATASETS
from cellcount.results.rerun import Comparison
from cellcount.results.verifying import Verified, place_of

KINDS = {".ipynb": "notebook", ".csv": "rows", ".safetensors": "weights", ".onnx": "weights", ".html": "page"}
VARIES = re.compile(r"seconds|memory|^(commit|device|run|machine|threads)$")  # columns that differ from run to run
NUMBER = re.compile(r"(?<![\w.])[-+\u2212]?\d[\d,]*(?:\.\d+)?(?:[eE][-+]?\d+)?")
RULE = (
    "each number that a cell prints, or that a table (CSV) has, within the tolerance; not the cells that depend on "
    "timing or training (tag nbval-ignore-output), pictures, seconds and memory. Weights are trained again"
)


def kind(path: str) -> str:
    """The kind of a file of a book in its manifest."""
    return "records" if path.endswith(RECORD) else KINDS.get(Path(path).suffix, "file")


def of_chapters(folder: Path) -> Path | None:
    """Write the manifest of a folder with computed chapters: its Path, or None if no run was recorded there."""
    runs = [record["run"] for path in sorted(folder.glob("*.ipynb")) if "run" in (record := record_of(path) or {})]
    if not runs:
        return None
    path = folder / manifest.NAME
    inputs = [data_sources.inputs(name, [], path) for name in dict.fromkeys(one["parameters"]["data"] for one in runs)]
    bundled = sorted((manifest.PACKAGE / "weights").glob("*.safetensors"))
    inputs += [manifest.weights_of(file, path) for file in bundled]
    files = manifest.hashes(folder, ["/**"], kind)
    for one in runs:
        for name, digest in one.pop("files").items():  # as it was written: a changed file stays a changed one
            files.setdefault(kind(name), {})[name] = digest
        # The folders of a user's data name people.
        one["parameters"] = one["parameters"] | {"data": data_name(one["parameters"]["data"])}
    return manifest.write(path, "chapters", runs, files, ["/**"], inputs)


def data_name(data: str) -> str:
    """The name of a data set, or of a folder without those that it is in."""
    return data if data in DATASETS else Path(data).name


def of_site(out: Path, clock: manifest.Clock, chapters: Path | None) -> Path:
    """Write the manifest of a rendered site in `out`/_build/html, made of notebooks with the manifest `chapters`."""
    path, places = out / manifest.NAME, ["_build/html/**", "source/book/**"]
    made = manifest.read(chapters) if chapters else {"runs": []}
    run = clock.run("render", {"chapters": len(made["runs"])}, every=True)
    return manifest.write(path, "site", [run], manifest.hashes(out, places, kind), places)


def rerun(result: Verified, *, data: Path | None, tolerance: float) -> Comparison:
    """Compute the chapters of a manifest again, in a temporary folder, and compare their numbers; see `RULE`.

    Raises
    ------
    DataError
        If the data are not known.
    """
    done, folder = Comparison(), result.path.parent
    runs = {run["parameters"]["chapter"]: run["parameters"] for run in result.content["runs"]}
    inputs = [one for one in result.content["inputs"] if one["kind"] == "data"]
    places = {one["name"]: place_of(one, result.path, data) for one in inputs}
    known = [page.stem for page in sources.chapters()]
    with tempfile.TemporaryDirectory(prefix="cellcount-") as scratch:
        with patch.dict(os.environ, {"CELLCOUNT_TRAINED": str(Path(scratch, "trained"))}):
            for stem in sorted(runs, key=lambda stem: (stem in sources.LAST, stem)):
                name, out = runs[stem]["data"], Path(scratch) / f"{stem}.ipynb"
                place = name if name in DATASETS else places.get(name)
                if place is None:
                    raise DataError(f"{result.path}: the data {name} are needed: name their folder with --data.")
                if stem not in known:
                    done.differ.append(f"{stem}: there is no such chapter now")
                    continue
                asked = {key: runs[stem][key] for key in ("profile", "parameters")}
                try:
                    run_chapter(stem, data=str(place), out=out, **asked)
                except CellcountError as error:
                    done.differ.append(f"{stem}: {error}")
                    continue
                _notebooks(done, folder / out.name, out, tolerance)
                for table in sorted(out.with_suffix("").glob("*.csv")):
                    _tables(done, folder / stem / table.name, table, tolerance)
    return done


def _notebooks(done: Comparison, first: Path, again: Path, tolerance: float) -> None:
    try:
        old, new = ([*_printed(nbformat.read(path, as_version=4))] for path in (first, again))
    except (OSError, ValueError, nbformat.ValidationError) as error:
        return done.differ.append(f"{first.name}: it cannot be read ({error})")
    if len(old) != len(new):
        return done.differ.append(f"{first.name}: other cells than in the first run")
    for number, (then, now) in enumerate(zip(old, new, strict=True), 1):
        _texts(done, f"{first.name}, code cell {number}", then, now, tolerance)


def _printed(notebook: Any) -> Iterator[str]:
    """What each code cell prints, shows as text, or glues; "" for those that depend on timing or training."""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            shown = [
                str(text)
                for one in cell.outputs
                for kind, text in [("text/plain", one.get("text", "")), *one.get("data", {}).items()]
                if _text(kind)
            ]
            ignored = "nbval-ignore-output" in cell.metadata.get("tags", [])
            yield "" if ignored else ADDRESS.sub("at 0x0", "\n".join(shown))


def _text(kind: str) -> bool:
    return kind in ("text/markdown", "text/plain") or kind.endswith("/text/plain")


def _texts(done: Comparison, where: str, first: str, again: str, tolerance: float) -> None:
    """Compare the numbers of two texts that are otherwise the same."""
    words = [NUMBER.sub("0", text) for text in (first, again)]
    if words[0] != words[1]:
        return done.differ.append(f"{where}: another text than in the first run")
    for old, new in zip(NUMBER.findall(first), NUMBER.findall(again), strict=True):
        done.compare(where, *(float(one.replace(",", "").replace("\u2212", "-")) for one in (old, new)), tolerance)


def _tables(done: Comparison, first: Path, again: Path, tolerance: float) -> None:
    where = f"{first.parent.name}/{first.name}"
    try:
        with open(first, newline="", encoding="utf-8") as a, open(again, newline="", encoding="utf-8") as b:
            old, new = list(csv.DictReader(a)), list(csv.DictReader(b))
    except (OSError, ValueError) as error:
        return done.differ.append(f"{where}: it cannot be read ({error})")
    if len(old) != len(new) or old and old[0].keys() != new[0].keys():
        return done.differ.append(f"{where}: other rows or columns than in the first run")
    for number, (then, now) in enumerate(zip(old, new, strict=True), 2):
        for column in (column for column in then if column and not VARIES.search(column)):
            texts = [str(one[column] or "") for one in (then, now)]
            if texts[0] != texts[1]:
                _texts(done, f"{where}, line {number}, {column}", *texts, tolerance)
            else:
                done.numbers += bool(NUMBER.fullmatch(texts[0]))


def records(notebooks: Iterable[Path]) -> dict[str, Mapping[str, Any]]:
    """What was recorded of the run of each of these notebooks, by its stem, for the page on the build."""
    found = {}
    for path in notebooks:
        about = nbformat.read(path, as_version=4).metadata.get("cellcount", {})
        found[path.stem] = json.loads(json.dumps(about)) | (record_of(path) or {}).get("run", {})
    return found
