"""What makes a chapter run again, and what does not."""

import importlib.util
import os

import nbformat
import pytest
from test_runner import CHAPTER, book  # noqa: F401  (a fixture)

from cellcount.companion.runner import renew_text, run_chapter, staleness
from cellcount.companion.runner.sources import read
from cellcount.companion.runner.staleness import code_hash, fingerprint, record_of, run_key, with_text_of
from cellcount.errors import CellcountError


def key_of(out, **parameters):
    return run_key("toy", out, data="phantom", profile="smoke", parameters=parameters)


def test_only_what_a_chapter_is_computed_from_changes_its_key(book):  # noqa: F811
    source, out = book / "book" / "01-toy.md", book / "out" / "toy.ipynb"
    (book / "results").mkdir()
    (book / "results" / "toy-phantom.csv").write_text("1")
    source.write_text(CHAPTER.replace("object()", 'object()\n"toy-phantom.csv"'))
    first = key_of(out)
    run_chapter("toy", out=out, key=first)
    modules = record_of(out)["modules"]
    assert "cellcount.companion.page" in modules and "cellcount.methods" not in modules
    assert key_of(out) == first
    written = source.read_text()
    source.write_text(written.replace("# A chapter", "# Another title"))
    (book / "results" / "other-phantom.csv").write_text("2")
    assert key_of(out) == first, "neither prose nor a result that it does not read"
    assert key_of(out, number=3) != first
    source.write_text(written.replace("spread = 1.0", "spread = 1.5"))
    assert key_of(out) != first
    source.write_text(written)
    (book / "results" / "toy-phantom.csv").write_text("2")
    assert key_of(out) != first
    (book / "results" / "toy-phantom.csv").write_text("1")
    assert key_of(out) == first
    (book / "mine").mkdir()
    folder = {"data": str(book / "mine"), "profile": "smoke"}
    table = book / "mine" / "points.csv"
    keys = {run_key("toy", out, **folder)}
    for text in ("image,y,x\na.png,3,4\n", "image,y,x\na.png,3,5\n", "image,y,x\n"):
        table.write_text(text)
        keys.add(run_key("toy", out, **folder))
    assert len(keys) == 4, "corrected annotations of a folder"
    out.unlink()
    assert record_of(out) is None


def test_a_run_takes_the_present_text_without_computing(book):  # noqa: F811
    source = book / "book" / "01-toy.md"
    committed = run_chapter("toy", out=source.with_suffix(".ipynb"))
    before = nbformat.read(committed, as_version=4)
    source.write_text(source.read_text().replace("# A chapter", "# A chapter with another title\n\nAnd a sentence."))
    merged = with_text_of(read(source), before)
    assert merged.cells[0].source.endswith("And a sentence.") and len(merged.cells) == len(before.cells)
    assert [c.get("outputs") for c in merged.cells] == [c.get("outputs") for c in before.cells]
    assert "injected-parameters" in merged.cells[2].metadata.tags and merged.metadata == before.metadata
    assert renew_text("toy") == committed and nbformat.read(committed, as_version=4) == merged
    source.write_text(source.read_text().replace("object()", "print(1)"))
    assert with_text_of(read(source), before) is None
    with pytest.raises(CellcountError, match="make publish CHAPTERS=01-toy"):
        renew_text("toy")
    assert code_hash(read(source)) != code_hash(before)


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of three modules and a table, in place of ours."""
    for name, text in {
        "__init__.py": '"""Ours."""\n', "a.py": "def f():\n    '''Two.'''\n    return 2\n", "b.py": "x = 1\n",
        "part/__init__.py": "", "part/worker.py": 'if __name__ == "__main__":\n    pass\n', "table.toml": "a = 1\n",
    }.items():  # fmt: skip
        path = tmp_path / "cellcount" / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(text)
    monkeypatch.setattr(staleness, "PACKAGE", tmp_path / "cellcount")
    return tmp_path / "cellcount"


@pytest.mark.parametrize(
    "name, text, changes",
    [
        ("a.py", "# why\ndef f():\n    '''Another.'''\n    return 2  # two\n", False),
        ("a.py", "def f():\n    return 2\n", False),
        ("a.py", "def f():\n    '''Two.'''\n    return 3\n", True),
        ("b.py", "x = 2\n", False),
        ("part/worker.py", 'if __name__ == "__main__":\n    print()\n', True),
        ("table.toml", "a = 2\n", True),
    ],
)
def test_code_of_imported_modules_counts_and_their_words_do_not(package, name, text, changes):
    modules = ["cellcount", "cellcount.a", "cellcount.part"]

    def now():
        staleness._code.cache_clear()
        staleness._asset.cache_clear()
        return fingerprint(modules)

    before, everything = now(), fingerprint()
    (package / name).write_text(text)
    assert (now() != before) == changes
    assert name != "b.py" or fingerprint() != everything


def test_progress_names_each_chapter_once_with_what_is_left(tmp_path, capsys, monkeypatch):
    from cellcount.companion.runner.sources import root

    monkeypatch.syspath_prepend(root() / "workflow")
    spec = importlib.util.spec_from_file_location("build", root() / "workflow" / "build.py")
    build = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(build)
    stale = [tmp_path / f"{stem}.ipynb" for stem in ("01-a", "02-b")]  # removed before
    progress = build.Progress(stale, 3, {"01-a": 100, "02-b": 300})
    progress.look()
    assert capsys.readouterr().out == ""
    progress.started -= 120
    stale[0].touch()
    os.utime(stale[0], (1, 1))  # the clock was set back
    progress.look()
    progress.look()
    assert capsys.readouterr().out == "[ 2 of 3] 01-a              2 min elapsed, about 6 min left\n"
    stale[1].touch()
    progress.look()
    assert "[ 3 of 3] 02-b" in capsys.readouterr().out and not progress.waiting
