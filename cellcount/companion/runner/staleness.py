"""Whether a chapter must be computed again: only if its code, parameters, data or the modules it imports have changed.

Prose, comments and docstrings never recompute. A run records the modules that its kernel has imported; before the first
run, every module counts.
"""

import ast
import functools
import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from nbformat import NotebookNode

import cellcount
from cellcount import manifest
from cellcount.companion.runner.cleaning import clean
from cellcount.companion.runner.sources import code_cells, defaults, find, overrides, read, root
from cellcount.files import replacing, sha256

PACKAGE = Path(cellcount.__file__).parent
RECORD = ".run.json"  # suffix of the file beside a run's notebook
ASSETS = (".safetensors", ".onnx", ".json", ".toml", ".txt", ".mplstyle")


def _digest(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def code_hash(notebook: NotebookNode) -> str:
    """Hex SHA-256 of a notebook's code cells, without those that a run has added."""
    return _digest([cell.source for cell in code_cells(notebook)])


@functools.cache
def _code(path: Path) -> str:
    """Hash of a module's code, without comments and docstrings."""
    text = path.read_text("utf-8")
    try:
        tree = ast.parse(text)
    except SyntaxError:  # an edit that is not finished: it counts as another code
        return _digest(text)
    for node in ast.walk(tree):
        documented = isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
        if documented and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:]
    return _digest(ast.dump(tree))


_asset = functools.cache(sha256)


def fingerprint(modules: Iterable[str] | None = None) -> str:
    """Hash of the code of these modules (names) and of the package's weights and tables; None takes every module.

    A script beside a module that is started as a process of its own (StarDist's worker) counts with the module.
    """
    names = None if modules is None else set(modules)
    parts = {}
    for path in sorted(PACKAGE.rglob("*")):
        place = path.relative_to(PACKAGE).as_posix()
        if path.suffix in ASSETS:
            parts[place] = _asset(path)
        elif path.suffix == ".py":
            name = ".".join((PACKAGE.name, *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")
            script = names is not None and name.rpartition(".")[0] in names and "__main__" in path.read_text("utf-8")
            if names is None or name in names or script:
                parts[place] = _code(path)
    return _digest(parts)


def results_read(notebook: NotebookNode) -> dict[str, str]:
    """The kept result files that a chapter's code names, with their SHA-256: dict of file name to hash."""
    text = "\n".join(cell.source for cell in code_cells(notebook))
    quoted = set(re.findall(r"[\"']([\w.-]+)[\"']", text))
    files = [(path.name.removesuffix(".gz"), path) for path in (root() / "results").glob("*.csv*")]
    return {name: sha256(path) for name, path in files if {name, name.partition(".")[0].partition("-")[0]} & quoted}


def record_of(notebook: Path) -> dict[str, Any] | None:
    """What the run that wrote `notebook` has recorded (`write_record`), or None, also if that was damaged."""
    path = notebook.with_suffix(RECORD)
    with suppress(OSError, ValueError, TypeError):
        record = json.loads(path.read_text("utf-8"))
        if notebook.is_file() and {"key", "inputs", "modules"} <= dict(record).keys():
            return dict(record)
    return None


def damaged(notebook: Path) -> list[str]:
    """Names of the files of a run that are missing, or are not as the run has written them."""
    written = (record_of(notebook) or {}).get("run", {}).get("files", {})
    return [change.file for change in manifest.compare({"file": written}, lambda name: notebook.parent / name)]


def write_record(
    notebook: Path,
    key: str,
    source: NotebookNode,
    values: Mapping[str, Any],
    modules: list[str],
    run: Mapping[str, Any],
) -> None:
    """Record beside a run's notebook what it was computed from, and the `run` for the manifest of the book."""
    record = {"key": key, "inputs": _inputs(source, values, modules), "modules": modules, "run": run}
    with replacing(notebook.with_suffix(RECORD)) as temporary:
        temporary.write_text(json.dumps(record), "utf-8")


def _inputs(source: NotebookNode, values: Mapping[str, Any], modules: Iterable[str] | None) -> str:
    return _digest(code_hash(source), dict(values), results_read(source), fingerprint(modules), _dates(values))


def _dates(values: Mapping[str, Any]) -> list[list[Any]]:
    """Name, size and time of each file of a user's folder; to hash all images at each build would take minutes."""
    folder = Path(str(values.get("dataset", "")))
    found = []
    for where, _, names in os.walk(folder) if folder.is_absolute() else ():
        for file in (os.path.join(where, name) for name in names):
            about = os.stat(file) if os.path.exists(file) else os.lstat(file)  # of a link into nothing, its own
            found.append([os.path.relpath(file, folder), about.st_size, about.st_mtime_ns])
    return sorted(found)


def run_key(
    chapter: Path | str, notebook: Path, *, data: str, profile: str, parameters: Mapping[str, Any] | None = None
) -> str:
    """A key that changes exactly when the run of a chapter in `notebook` is no longer what a new run would give.

    Parameters
    ----------
    chapter, data, profile, parameters : see `run_chapter`
    notebook : Path
        Of an earlier run; its key is returned again if nothing that it was computed from has changed.
    """
    path, record = find(chapter), record_of(notebook)
    source = read(path)
    given = {"parameters": dict(parameters or {}), "data": data, "profile": profile}
    values = overrides(path, defaults(source, path.stem), **given)
    if record and record["inputs"] == _inputs(source, values, record["modules"]):
        return record["key"]
    return _inputs(source, values, None)


def with_text_of(source: NotebookNode, executed: NotebookNode) -> NotebookNode | None:
    """The pages of `source` with the outputs of `executed` (nbformat nodes), or None if their code cells differ.

    The cell of parameters that a run has added stays in its place.
    """
    if code_hash(source) != code_hash(executed):
        return None
    own, groups, pending = code_cells(executed), [], []
    for cell in executed.cells:
        if cell.cell_type == "code":
            pending.append(cell)
        if cell in own:
            groups.append(pending)
            pending = []
    cells = []
    for cell in source.cells:
        if cell.cell_type == "code":
            *added, ran = groups.pop(0)
            cells += [*added, NotebookNode(ran | {"metadata": cell.metadata})]
        else:
            cells.append(cell)
    return clean(NotebookNode(cells=cells), executed.metadata.cellcount)
