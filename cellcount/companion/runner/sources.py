"""The sources of the book: its chapters, their parameters, and the values that a profile gives them."""

from __future__ import annotations

import ast
import hashlib
import os
import re
from collections.abc import Container, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from cellcount.errors import NotAvailableError, ParameterError, needing, require

if TYPE_CHECKING:
    from nbformat import NotebookNode

LAST = ("07-comparison",)  # chapters that read the rows of the others


def root() -> Path:
    """The folder with _toc.yml: the working directory or a parent of it, else the one that holds the package.

    Raises
    ------
    NotAvailableError
        If there is none: an installed package alone does not carry the book.
    """
    here = Path.cwd()
    for folder in (here, *here.parents, Path(__file__).resolve().parents[3]):
        if (folder / "_toc.yml").exists() and (folder / "book").is_dir():
            return folder
    raise NotAvailableError(f"No book here: neither {here} nor a parent folder has _toc.yml. Run this in a clone.")


def chapters() -> list[Path]:
    """Sources of all pages (list of Path), in the order of _toc.yml."""
    toc = yaml.safe_load((root() / "_toc.yml").read_text())

    def pages(node):
        if isinstance(node, list):
            return [page for item in node for page in pages(item)]
        if isinstance(node, dict):
            own = [node[key] for key in ("root", "file") if key in node]
            return own + [page for key in ("parts", "chapters", "sections") for page in pages(node.get(key, []))]
        return []

    return [root() / f"{page}.md" for page in pages(toc)]


def find(chapter: Path | str) -> Path:
    """The source (Path) of a chapter given as `cellnet`, `06-cellnet` or a path.

    Raises
    ------
    ParameterError
        If there is no such chapter; the message lists those that there are.
    """
    path = Path(chapter)
    if path.suffix in (".md", ".ipynb"):
        path = path.with_suffix(".md")
        require(path.exists(), f"Chapter {chapter}: there is no file {path}.")
        return path.resolve()
    known = [source for source in chapters() if source.exists()]
    for source in known:
        if str(chapter) in (source.stem, source.stem.partition("-")[2]):
            return source
    for path in (root() / "book").glob(f"*{chapter}.md"):
        raise ParameterError(f"{path} is not in _toc.yml: add the line `- file: book/{path.stem}` there.")
    names = ", ".join(source.stem for source in known)
    raise ParameterError(f"There is no chapter {str(chapter)!r}. Chapters: {names}.")


def read(source: Path) -> NotebookNode:
    """A MyST source as a notebook (nbformat node)."""
    with needing("book", "Running chapters"):
        import jupytext
    return jupytext.reads(source.read_text(encoding="utf-8"), fmt="md:myst")


def defaults(notebook: NotebookNode, name: str = "chapter") -> dict[str, Any]:
    """The parameters (dict, name -> value) in the cell tagged `parameters`; they must be plain literals."""
    cells = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    require(len(cells) < 2, f"{name}: {len(cells)} cells have the tag `parameters`; one may.")
    found = {}
    for statement in ast.parse(cells[0].source).body if cells else []:
        try:
            (target,) = statement.targets
            found[target.id] = ast.literal_eval(statement.value)
        except (AttributeError, ValueError):
            text = f"{name}: `{ast.unparse(statement)}` in the parameters cell"
            raise ParameterError(f"{text}; write `name = literal`, one to a line.") from None
    return found


def profile_parameters(source: Path, profile: str, known: Container[str]) -> dict[str, Any]:
    """What a profile (name of a file in book/profiles) sets for a chapter: dict, name -> value.

    `defaults:` reach every chapter that has such a parameter, `chapters: {06-cellnet: ...}` that chapter alone.
    """
    profiles = root() / "book" / "profiles"
    path = profiles / f"{profile}.yml"
    names = ", ".join(sorted(file.stem for file in profiles.glob("*.yml")))
    require(path.exists(), f"There is no profile {profile!r}. Profiles: {names}.")
    content = yaml.safe_load(path.read_text()) or {}
    common = {name: value for name, value in (content.get("defaults") or {}).items() if name in known}
    own = (content.get("chapters") or {}).get(source.stem) or {}
    return common | own


def checked(name: str, value: Any, default: Any) -> Any:
    """`value` in the type of the parameter's default; text (from a command line) is read as YAML.

    Raises
    ------
    ParameterError
        If the types do not agree.
    """
    if isinstance(value, str) and not isinstance(default, str):
        with suppress(yaml.YAMLError):  # it stays text, and is refused below
            value = yaml.safe_load(value)
    if default is None:
        return value
    if isinstance(default, float) and (isinstance(value, str) or type(value) is int):
        with suppress(ValueError):
            value = float(value)  # YAML reads 1e-3 as text
    if isinstance(default, tuple) and isinstance(value, list):
        value = tuple(value)
    kind = f"{type(default).__name__} as its default {default!r}"
    require(type(value) is type(default), f"Parameter {name} must be {kind}, got {value!r}.")
    return value


def overrides(
    source: Path, known: Mapping[str, Any], *, parameters: dict[str, Any], data: str, profile: str
) -> dict[str, Any]:
    """The values (dict) that differ from the chapter's own: the profile's, then `data`, then `parameters`."""
    chosen = profile_parameters(source, profile, known) | ({"dataset": data} if "dataset" in known else {}) | parameters
    unknown = ", ".join(sorted(set(chosen) - set(known)))
    require(not unknown, f"{source.stem} has no parameter {unknown}. It has: {', '.join(known) or 'none'}.")
    values = {name: checked(name, value, known[name]) for name, value in chosen.items()}
    return {name: value for name, value in values.items() if value != known[name]}


def dataset(data: Path | str) -> tuple[str, str]:
    """(name, reason) of the data set that `data` selects; a folder becomes an absolute path."""
    from cellcount.data import resolve

    name, reason = resolve(data)
    return (str(Path(name).resolve()) if Path(name).is_dir() else str(name)), reason


def slug(data: str) -> str:
    """Name of the folder in build/runs for a data set; two user folders of one name get different ones."""
    if not os.path.isabs(data):
        return data
    return re.sub(r"[^\w.-]", "_", Path(data).name) + "-" + hashlib.sha256(data.encode()).hexdigest()[:6]


def site(data: str, profile: str) -> Path:
    """Where `make book` puts the first page (Path) for a dataset and a profile."""
    return root() / "build" / "site" / slug(data) / profile / "_build" / "html" / "index.html"


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    """The code cells of a chapter, without the one with parameters that a run adds: a list of cells."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return [cell for cell in cells if "injected-parameters" not in cell.metadata.get("tags", [])]
