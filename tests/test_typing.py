"""Every public function says in its signature what goes in and what comes out."""

import ast
from pathlib import Path

import pytest

import cellcount

ROOT = Path(cellcount.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))


def functions(body, name=""):
    """(name, node) of all public functions, and of methods of public classes, also of those that operators call."""
    for node in body:
        if isinstance(node, ast.FunctionDef) and (not node.name.startswith("_") or node.name.endswith("__")):
            yield f"{name}{node.name}", node
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from functions(node.body, f"{node.name}.")


def lacks(name, node):
    """What a signature does not say: names of parameters, and "return"."""
    args = node.args
    given = [*args.posonlyargs, *args.args, args.vararg, *args.kwonlyargs, args.kwarg]
    static = any(isinstance(d, ast.Name) and d.id == "staticmethod" for d in node.decorator_list)
    own = given[0] if "." in name and not static else None  # self
    untyped = [arg.arg for arg in given if arg is not None and arg is not own and arg.annotation is None]
    return untyped + (["return"] if node.returns is None else [])


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_public_function_is_typed(path):
    found = {name: lacks(name, node) for name, node in functions(ast.parse(path.read_text()).body)}
    assert {name: what for name, what in found.items() if what} == {}


def test_what_is_untyped_is_found():
    body = ast.parse("class A:\n  def b(self, c, *, d: int = 0): ...\n  def _e(self): ...\ndef f(*g) -> int: ...").body
    assert {name: lacks(name, node) for name, node in functions(body)} == {"A.b": ["c", "return"], "f": ["g"]}
