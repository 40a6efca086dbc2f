"""The house: imports go one way, and public functions say what they take."""

import ast
import doctest
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import cellcount

ROOT = Path(cellcount.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
# From left to right; a module imports from its own room and from those left of it.
ROOMS = [
    ("errors", "files", "devices"), ("types",), ("registry",), ("io",), ("data",), ("metrics",), ("tiling",),
    ("methods",), ("counting",), ("results",), ("companion",), ("cli",), ("__main__",),
]  # fmt: skip
ARRAYS = re.compile(r"\b(image|images|points|true|predicted|labels|heat|mask|region|density)\b")
SHAPE = re.compile(r"\([A-Z][A-Za-z0-9, *|/+-]*\)|list of Sample|Sample|Prediction|matplotlib|shape")


def room(path):
    relative = path.relative_to(ROOT)
    name = relative.parts[0].removesuffix(".py")
    return next((i for i, names in enumerate(ROOMS) if name in names), None)


def imported_rooms(path):
    """(line, room) of each import of this package, also those inside functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "cellcount":
            names = [node.module] if node.module != "cellcount" else [f"cellcount.{a.name}" for a in node.names]
        elif isinstance(node, ast.Import):
            names = [a.name for a in node.names if a.name.startswith("cellcount.")]
        else:
            continue
        assert not getattr(node, "level", 0), f"{path.name}:{node.lineno}: relative import"
        for name in names:
            target = name.split(".")[1]
            yield node.lineno, target, next(i for i, rooms in enumerate(ROOMS) if target in rooms)


@pytest.mark.parametrize(
    "path", [p for p in FILES if p != ROOT / "__init__.py"], ids=lambda p: str(p.relative_to(ROOT))
)
def test_imports_go_from_right_to_left(path):
    own = room(path)
    assert own is not None, f"{path.name} lies in no room: add it to ROOMS, and to CONTRIBUTING.md"
    for line, target, other in imported_rooms(path):
        assert other <= own, f"{path.name}:{line} imports {target}, which lies to its right"


def test_the_package_itself_imports_nothing_heavy():
    code = "import cellcount, sys; print(sorted({'torch', 'pandas', 'matplotlib', 'numpy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_the_public_surface_is_what_its_documentation_says():
    documented = [line.split()[0] for line in cellcount.__doc__.split("=\n")[1].split("==")[0].splitlines() if line]
    assert dir(cellcount) == documented
    for name in documented:
        assert inspect.getdoc(getattr(cellcount, name)), name


@pytest.mark.parametrize("name", ["cellcount", "cellcount.counting", "cellcount.metrics.matching"])
def test_examples_in_docstrings_are_true(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def modules():
    for info in pkgutil.walk_packages([str(ROOT)], "cellcount."):
        if not info.name.endswith("__main__"):
            yield info.name


def public_functions():
    for name in modules():
        module = importlib.import_module(name)
        for attribute, thing in vars(module).items():
            if attribute.startswith("_") or getattr(thing, "__module__", None) != name:
                continue
            if inspect.isfunction(thing) or inspect.isclass(thing):
                yield f"{name}.{attribute}", thing


def test_every_module_has_a_docstring():
    lacking = [name for name in modules() if not (importlib.import_module(name).__doc__ or "").strip()]
    assert lacking == []


def test_every_public_function_has_a_docstring_with_shapes_where_it_takes_arrays():
    lacking = []
    for name, thing in public_functions():
        text = inspect.getdoc(thing) or ""
        if not text:
            lacking.append(f"{name}: no docstring")
        elif inspect.isfunction(thing):
            arrays = [p for p in inspect.signature(thing).parameters if ARRAYS.fullmatch(p)]
            if arrays and not SHAPE.search(text):
                lacking.append(f"{name}: takes {', '.join(arrays)}, but its docstring gives no shape")
    assert lacking == []
