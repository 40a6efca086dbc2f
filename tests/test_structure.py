"""The house: imports go one way, and public functions say what they take."""

import ast
import doctest
import importlib
import inspect
import os
import pkgutil
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import cellcount

ROOT = Path(cellcount.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
# From left to right; a module imports from its own room and from those left of it.
ROOMS = [
    ("errors", "files", "devices", "manifest"), ("types",), ("registry",), ("io",), ("metrics",), ("data",),
    ("tiling",), ("methods",), ("counting",), ("results",), ("companion",), ("cli",), ("__main__",),
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


def test_importing_the_library_imports_nothing_of_the_companion():
    library = [name for name in modules() if not name.startswith(("cellcount.companion", "cellcount.cli"))]
    code = (
        f"import importlib, sys; [importlib.import_module(name) for name in {library}]; "
        "print([name for name in sys.modules if name.startswith(('cellcount.companion', 'matplotlib'))])"
    )
    assert len(library) > 60
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


METHOD = '''"""A method made in a test: the brightest pixel."""

import numpy as np

from cellcount.methods.base import Status, predicts
from cellcount.types import Prediction


@predicts("Brightest")
def predict(image: np.ndarray, *, prompts=None, device: str = "auto", least: float = 0.5) -> Prediction:
    """The brightest pixel of image (H, W), if it is above `least`."""
    peak = np.array(np.unravel_index(image.argmax(), image.shape), np.float32)[None]
    peak = peak[[image.max() > least]]
    return Prediction(peak, np.ones(len(peak)), len(peak), meta={"method": "brightest"})


def context(image, **params):
    return {}


def status() -> Status:
    return Status("ready", "no training needed")
'''
DATA = '''"""A data set made in a test: one bright pixel."""

import numpy as np

from cellcount.types import Sample


def load(side: int = 32) -> list[Sample]:
    image = np.zeros((side, side), np.float32)
    image[3, 5] = 1
    return [Sample("one", image, np.array([[3, 5]]))]
'''
USED = """
import cellcount
from cellcount.cli import main

sample = cellcount.load("toy", side=40)[0]
print(sample.image.shape, cellcount.count(sample.image, method="brightest", least=0.9).points.tolist())
main(["methods"])
main(["data", "list"])
"""


def test_a_new_method_and_a_new_data_set_are_one_module_and_one_row_each(tmp_path):
    copy = tmp_path / "cellcount"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns("__pycache__", "*.safetensors"))
    (copy / "methods" / "brightest.py").write_text(METHOD)
    (copy / "data" / "toy.py").write_text(DATA)
    for table, before, row in (
        ("methods/__init__.py", '"blobs": "cellcount', '"brightest": "cellcount.methods.brightest",\n'),
        ("registry/datasets.py", '"thesis": Dataset(', '"toy": Dataset("toy", "one bright pixel", "none"),\n'),
    ):
        text = (copy / table).read_text()
        assert text.count(before) == 1
        (copy / table).write_text(text.replace(before, row + "    " + before))
    command = [sys.executable, "-c", USED]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": "."})
    assert done.returncode == 0, done.stderr
    first, *rest = done.stdout.splitlines()
    assert first == "(40, 40) [[3.0, 5.0]]"
    assert any(line.split()[:2] == ["brightest", "ready"] for line in rest)
    assert any(line.split()[:1] == ["toy"] and "one bright pixel" in line for line in rest)


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
