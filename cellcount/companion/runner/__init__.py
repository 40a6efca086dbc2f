"""Run a chapter: jupytext reads the source, papermill executes it, and only a complete notebook is written."""

import gzip
import logging
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest.mock import patch

from cellcount import manifest
from cellcount.companion.runner.sources import dataset, defaults, find, overrides, read, root
from cellcount.data.sources import inputs
from cellcount.devices import machine
from cellcount.errors import CellcountError, DataError, ParameterError, require
from cellcount.files import replacing, sha256

# Chapters whose tables stay with the published page; those of studies are kept by `cellcount bench`.
PUBLISHED = frozenset(
    "backbones cellnet cellpose deepsea detectors diameter explorations pretrained prompts stardist".split()
)
KERNEL_START_SECONDS = 120  # enough for a busy machine
BARE = "no image in the folder has two annotated cells, which this chapter needs"
MODULES = 'import sys\n\nprint(*sorted(name for name in sys.modules if name.partition(".")[0] == "cellcount"))'


def run_chapter(
    chapter: Path | str,
    *,
    parameters: Mapping[str, Any] | None = None,
    data: str = "phantom",
    profile: str = "smoke",
    out: Path | str | None = None,
    key: str = "",
) -> Path:
    """Execute a chapter and write its notebook; two runs give the same bytes.

    Parameters
    ----------
    chapter : str or Path
        `cellnet`, `06-cellnet`, or a path to the source.
    parameters : dict, optional
        Overrides, name -> value; values may be text.
    data : str
        Dataset as `cellcount.data.load` takes it, for the chapter's parameter `dataset`.
    profile : str
        Name of a file in book/profiles.
    out : Path, optional
        Notebook to write, default build/runs/adhoc/<chapter>.ipynb. The chapter's result files are written to a
        folder of the same stem beside it (for a notebook in book/, to build/runs/adhoc).
    key : str
        Recorded beside the notebook together with what the run was computed from, see `staleness.run_key`.

    Returns
    -------
    Path of the notebook.

    Raises
    ------
    ParameterError
        For an unknown chapter, profile or parameter, or a value of the wrong type.
    CellcountError
        If a cell fails; the notebook up to there is kept as <stem>.failed.ipynb, and `out` stays as it was.
    DataError
        If a cell fails on a folder in which no image has two annotated cells.
    """
    source, clock = find(chapter), manifest.Clock()
    notebook = read(source)  # now: the file may be edited while the chapter runs
    known = defaults(notebook, source.stem)
    name = dataset(data)[0]
    values = overrides(source, known, parameters=dict(parameters or {}), data=name, profile=profile)
    adhoc = root() / "build" / "runs" / "adhoc"
    out = Path(out or adhoc / f"{source.stem}.ipynb").resolve()

    from cellcount.companion.runner.cleaning import clean, failure, stderr_lines
    from cellcount.companion.runner.staleness import code_hash, fingerprint, write_record
    from cellcount.counting import try_file

    require(out.suffix == ".ipynb", f"{out}: a chapter is written to a notebook. Name a file with the suffix .ipynb.")
    try_file(out)
    if key:
        fingerprint()  # remembers the code as it is now, for the record: it may be edited while the chapter runs
    results = adhoc if out.parent == source.parent else out.with_suffix("")
    failed = out.with_suffix(".failed.ipynb")
    executed, modules, error = _execute(notebook, values, source.parent, results, f"Set for the profile {profile}")
    about = {"code_sha256": code_hash(notebook), "profile": profile, "parameters": known | values, "machine": machine()}
    finished = clean(executed, about)
    if error:
        _write(finished, failed)
        reason = str(failure(finished) or error).rstrip(".")
        kept = f"The notebook up to that cell: {failed}"
        try:
            bare = _bare(values.get("dataset"))
        except CellcountError as fault:  # the chapter has failed with it
            raise type(fault)(f"{source.name}: {reason}. {kept}") from fault
        require(not bare, f"{source.name}: {BARE} ({reason}). {kept}", DataError)
        raise CellcountError(f"{source.name}: {reason}. {kept}")
    for line in stderr_lines(executed):
        print(f"{source.name}: stderr: {line}", file=sys.stderr)
    _write(finished, out)
    if key:
        asked = {"chapter": source.stem, "data": name, "profile": profile, "parameters": dict(parameters or {})}
        written = manifest.hashes(out.parent, [f"{out.stem}/**"], str)
        files = {path: digest for own in written.values() for path, digest in own.items()} | {out.name: sha256(out)}
        more = {"code_sha256": about["code_sha256"], "files": files}
        more["data_sha256"] = manifest.digest(inputs(name, [], out)["files"])
        write_record(out, key, notebook, values, modules, clock.run("run", asked, "auto", **more))
    failed.unlink(missing_ok=True)
    return out


def _bare(data: Any) -> bool:
    """Whether a data set is a folder without an image with two annotated cells, which can be loaded."""
    from cellcount.data import load

    return Path(str(data)).is_dir() and all(s.points is None or len(s.points) < 2 for s in load(data))


def publish(chapter: Path | str, profile: str = "full") -> Path:
    """Compute a page of the committed book on simulated fields, and keep its tables in results/: Path of the notebook.

    The notebook's metadata have what a manifest says of the run: code, machine, packages, seconds, energy.

    Raises
    ------
    As `keep`.
    """
    import nbformat

    from cellcount.companion.runner.staleness import record_of

    source = find(chapter)
    folder = root() / "build" / "results" / "phantom" / source.stem
    tables = _run_with_tables(source, folder, "phantom", profile, {}, key="published")
    if source.stem.partition("-")[2] in PUBLISHED and folder / "rows.csv" in tables:
        _keep(source, tables, "phantom")
    made, page = folder.with_suffix(".ipynb"), source.with_suffix(".ipynb")
    notebook, run = nbformat.read(made, as_version=4), (record_of(made) or {})["run"]
    told = {name: value for name, value in run.items() if name not in ("command", "parameters", "files")}
    notebook.metadata.cellcount = told | notebook.metadata.cellcount
    _write(notebook, page)
    return page


def smoke_copy(source: Path) -> Path:
    """Where the notebook (Path) lies that nbval compares with a new run, for the source of a chapter."""
    return root() / "tests" / "notebooks" / source.with_suffix(".ipynb").name


def write_smoke_copy(chapter: Path | str) -> Path:
    """Run a chapter in the profile smoke, and write its code and what it prints, without text and pictures (Path)."""
    import nbformat

    from cellcount.companion.runner.cleaning import bare

    source = find(chapter)
    made = run_chapter(source, out=root() / "build" / "smoke" / source.with_suffix(".ipynb").name)
    path = smoke_copy(source)
    path.parent.mkdir(exist_ok=True)
    _write(bare(nbformat.read(made, as_version=4)), path)
    return path


def renew_text(chapter: Path | str) -> Path:
    """Give the committed notebook of a chapter the present text of its source, without computing: its Path.

    Raises
    ------
    CellcountError
        If the code cells have changed, so that it must be computed.
    """
    import nbformat

    from cellcount.companion.runner.staleness import with_text_of

    source = find(chapter)
    path, found = source.with_suffix(".ipynb"), None
    if path.is_file():
        found = with_text_of(read(source), nbformat.read(path, as_version=4))
    if found is None:
        why = "computed from other code" if path.is_file() else "does not exist yet"
        raise CellcountError(f"{path}: {why}; run `make publish CHAPTERS={source.stem}`.")
    _write(found, path)
    return path


def keep(
    chapter: Path | str, *, data: str, profile: str = "full", parameters: Mapping[str, Any] | None = None
) -> list[Path]:
    """Run a chapter in build/results, and copy the tables (CSV) that it writes to results/ under fixed names.

    `rows.csv` of chapter 13-cellpose on the thesis' images becomes `cellpose-thesis.csv`, and any other file, as
    `masks.csv`, `cellpose-thesis-masks.csv` (`cellcount.companion.kept.file_name`).

    Parameters
    ----------
    chapter, data, profile, parameters
        As of `run_chapter`. Runs on a user's folder are not kept, since others do not have the data.

    Returns
    -------
    list of Path, the files in results/

    Raises
    ------
    ParameterError
        If `data` is a folder, and as `run_chapter` does.
    CellcountError
        If a cell fails, or the chapter writes no rows; results/ then stays as it was.
    """
    name = dataset(data)[0]
    if Path(name).is_absolute():
        raise ParameterError(f"{name}: results/ keeps runs on public data sets only; name one of them with --data.")
    source = find(chapter)
    folder = root() / "build" / "results" / name / source.stem
    tables = _run_with_tables(source, folder, name, profile, parameters)
    if folder / "rows.csv" not in tables:
        raise CellcountError(f"{source.name} writes no rows.csv, so there is nothing to keep.")
    return _keep(source, tables, name)


def _run_with_tables(source, folder, name, profile, parameters, key=""):
    """Run a chapter beside `folder`: the tables that it has written there."""
    for old in folder.glob("*.csv"):
        old.unlink()
    out = folder.with_suffix(".ipynb")
    run_chapter(source.stem, parameters=parameters, data=name, profile=profile, out=out, key=key)
    return sorted(folder.glob("*.csv"))


def _keep(source, tables, name):
    """Copy the tables of a run to results/: the copies."""
    from cellcount.companion.kept import file, file_name

    kept = []
    for path in tables:
        part = "" if path.stem == "rows" else path.stem
        if part == "points" and name != "phantom":
            continue  # of real images, numbers are kept, not places
        kept.append(file(file_name(source.stem.partition("-")[2], name, part)))
        content = path.read_bytes()
        with replacing(kept[-1]) as temporary:
            temporary.write_bytes(gzip.compress(content, mtime=0) if kept[-1].suffix == ".gz" else content)
    return kept


def _execute(notebook, values, folder, results, comment):
    """(executed notebook, modules of this package that it imported, None or the error).

    `folder` is the kernel's working directory, as for nbval and Sphinx.
    """
    if not any(cell.cell_type == "code" for cell in notebook.cells):
        return notebook, [], None
    import nbformat
    import papermill
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError
    from papermill.iorw import load_notebook_node
    from papermill.parameterize import parameterize_notebook

    logging.getLogger("papermill").setLevel(logging.ERROR)
    kernel = {"kernel_name": "python3", "language": "python"}
    asks = nbformat.v4.new_code_cell(MODULES, metadata={"tags": ["cellcount-modules"]})
    notebook = load_notebook_node(nbformat.from_dict(notebook | {"cells": [*notebook.cells, asks]}))
    if values:
        notebook = parameterize_notebook(notebook, values, comment=comment, **kernel)
    changes = {"CELLCOUNT_RUN_DIR": str(results), "TQDM_DISABLE": "1"} | _folders()
    with tempfile.TemporaryDirectory() as scratch, patch.dict(os.environ, changes):
        copy = Path(scratch) / "chapter.ipynb"
        nbformat.write(notebook, copy)
        error = None
        try:
            papermill.execute_notebook(
                str(copy), str(copy), cwd=str(folder), progress_bar=sys.stderr.isatty(),
                start_timeout=KERNEL_START_SECONDS, extra_arguments=["--log-level=CRITICAL"], **kernel,
            )  # fmt: skip
        except (PapermillExecutionError, DeadKernelError) as caught:
            error = caught
        executed = nbformat.read(copy, as_version=4)
    said = [output.get("text", "") for output in executed.cells[-1].get("outputs", ())]
    return executed, [] if error else "".join(said).split(), error


def _folders():
    """The user's folders, absolute: the kernel's working directory is another."""
    given = {name: os.environ.get(name, "").strip() for name in ("CELLCOUNT_DATA", "CELLCOUNT_CACHE")}
    return {name: str(Path(folder).expanduser().resolve()) for name, folder in given.items() if folder}


def _write(notebook, path):
    import nbformat

    with replacing(path) as temporary:
        nbformat.write(notebook, temporary)
