"""The runner on a book of one chapter, with real kernels."""

import json

import nbformat
import numpy as np
import pytest
from PIL import Image

from cellcount.cli import main
from cellcount.companion.runner import keep, run_chapter
from cellcount.companion.runner.sources import chapters, checked, defaults, find, overrides, read, slug
from cellcount.errors import CellcountError, DataError, ParameterError

CHAPTER = """\
# A chapter

```{code-cell} ipython3
:tags: [parameters]

dataset = "phantom"
seed = 0
number = 3  # of points
spread = 1.0
sizes = [1, 2]
```

```{code-cell} ipython3
import os, sys, random
from cellcount.companion import page

sys.stderr.write("a " + "warning")
print("cwd:", os.path.basename(os.getcwd()))
print("number:", number)
(page.run_dir() / "rows.csv").write_text(str(number))
if number < 0:
    raise ValueError("no such number")
object()
```
"""


@pytest.fixture
def book(tmp_path, monkeypatch):
    """A folder with a book of one chapter, as the working directory."""
    (tmp_path / "book" / "profiles").mkdir(parents=True)
    (tmp_path / "_toc.yml").write_text(
        "format: jb-book\nroot: book/00-preface\nparts:\n- caption: One\n  chapters:\n  - file: book/01-toy\n"
    )
    (tmp_path / "book" / "00-preface.md").write_text("# Preface\n\nOnly words.\n")
    (tmp_path / "book" / "01-toy.md").write_text(CHAPTER)
    (tmp_path / "book" / "profiles" / "smoke.yml").write_text(
        "defaults: {seed: 7, absent: 1}\nchapters: {01-toy: {number: 2}}\n"
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def values(book, *, data="phantom", profile="smoke", **parameters):
    source = find("toy")
    return overrides(source, defaults(read(source)), parameters=parameters, data=data, profile=profile)


def test_two_runs_give_the_same_bytes(book):
    first = run_chapter("toy", out=book / "out" / "a.ipynb")
    second = run_chapter("01-toy", out=book / "out" / "b.ipynb")
    assert first.read_bytes() == second.read_bytes()
    assert (book / "out" / "a" / "rows.csv").read_text() == "2"
    notebook = nbformat.read(first, as_version=4)
    nbformat.validate(notebook)
    text = json.dumps(notebook)
    assert "cwd: book" in text and "number: 2" in text, "runs beside its source, with the profile's values"
    assert "a warning" not in text and str(book) not in text
    assert notebook.metadata.cellcount["parameters"] == {
        "dataset": "phantom", "seed": 7, "number": 2, "spread": 1.0, "sizes": [1, 2],
    }  # fmt: skip


def test_a_failed_chapter_is_kept_beside_and_never_installed(book, capsys):
    out = book / "out" / "toy.ipynb"
    out.parent.mkdir()
    out.write_text("what was here")
    with pytest.raises(CellcountError, match=r"cell 4 \('import os, sys, random'\).*ValueError: no such number"):
        run_chapter("toy", parameters={"number": "-1"}, out=out)
    assert out.read_text() == "what was here"
    failed = nbformat.read(out.with_suffix(".failed.ipynb"), as_version=4)
    assert failed.cells[3].outputs[-1].ename == "ValueError"
    assert sorted(path.name for path in out.parent.iterdir()) == ["toy", "toy.failed.ipynb", "toy.ipynb"]


def test_a_chapter_that_fails_on_a_folder_without_cells_says_so(book):
    (book / "mine").mkdir()
    image = np.random.default_rng(0).integers(0, 255, (48, 64), dtype=np.uint8)
    Image.fromarray(image).save(book / "mine" / "a.png")
    with pytest.raises(DataError, match=r"01-toy.md: no image in the folder has two annotated cells.*no such number"):
        run_chapter("toy", parameters={"number": "-1"}, data="mine", out=book / "toy.ipynb")
    (book / "mine" / "points.csv").write_text("image,y,x\na.png,3,4000\n")
    with pytest.raises(DataError, match=r"01-toy.md: cell 4"):  # the fault may be that of the folder
        run_chapter("toy", parameters={"number": "-1"}, data="mine", out=book / "toy.ipynb")
    (book / "mine" / "points.csv").write_text("image,y,x\na.png,3,4\na.png,30,40\n")
    with pytest.raises(CellcountError, match=r"01-toy.md: cell 4"):
        run_chapter("toy", parameters={"number": "-1"}, data="mine", out=book / "toy.ipynb")


@pytest.mark.parametrize(("out", "error"), [("runs", ParameterError), ("runs.ipynb", DataError)])
def test_a_notebook_that_cannot_be_written_is_refused_first(book, out, error, monkeypatch):
    (book / "runs.ipynb").mkdir()
    monkeypatch.setattr("cellcount.companion.runner._execute", None)
    with pytest.raises(error, match="ipynb"):
        run_chapter("toy", out=book / out)


def test_keep_copies_every_table_of_a_run_by_one_rule(book, capsys):
    source = book / "book" / "01-toy.md"
    source.write_text(CHAPTER.replace("object()", '(page.run_dir() / "masks.csv").write_text("m")'))
    stale = book / "build" / "results" / "phantom" / "01-toy" / "stale.csv"
    stale.parent.mkdir(parents=True)
    stale.touch()
    assert main(["chapter", "keep", "toy", "--data", "phantom", "--profile", "smoke", "-p", "number", "5"]) == 0
    assert sorted(path.name for path in (book / "results").iterdir()) == ["toy-phantom-masks.csv", "toy-phantom.csv"]
    assert (book / "results" / "toy-phantom.csv").read_text() == "5"
    assert str(book / "results" / "toy-phantom.csv") in capsys.readouterr().out


def test_keep_leaves_results_alone_where_a_run_fails_or_has_no_rows(book):
    (book / "results").mkdir()
    (book / "results" / "toy-phantom.csv").write_text("before")
    with pytest.raises(CellcountError, match="no such number"):
        keep("toy", data="phantom", profile="smoke", parameters={"number": "-1"})
    with pytest.raises(CellcountError, match="00-preface.md.*rows.csv"):
        keep("preface", data="phantom", profile="smoke")
    with pytest.raises(ParameterError, match="data"):
        keep("toy", data=str(book), profile="smoke")
    assert [path.read_text() for path in (book / "results").iterdir()] == ["before"]


def test_a_page_is_published_with_its_tables_and_its_short_copy_has_code_and_print_only(book, monkeypatch):
    (book / "book" / "profiles" / "full.yml").write_text("chapters: {01-toy: {number: 9}}\n")
    source = book / "book" / "01-toy.md"
    source.write_text(CHAPTER.replace("object()", "import matplotlib.pyplot as plt\n\npage.figure(plt.figure())"))
    (book / "tests").mkdir()
    assert main(["chapter", "publish", "toy"]) == 0 and not (book / "results").exists()
    monkeypatch.setattr("cellcount.companion.runner.PUBLISHED", {"toy"})
    assert main(["chapter", "publish", "toy"]) == main(["chapter", "smoke", "toy"]) == 0
    assert (book / "results" / "toy-phantom.csv").read_text() == "9"
    page = nbformat.read(source.with_suffix(".ipynb"), as_version=4)
    short = nbformat.read(book / "tests" / "notebooks" / "01-toy.ipynb", as_version=4)
    assert page.metadata.cellcount["profile"] == "full" and page.metadata.cellcount["machine"]
    assert page.metadata.cellcount["seconds"] > 0 < page.metadata.cellcount["energy"]["kwh"]
    assert page.metadata.cellcount["packages"]["numpy"] and "files" not in page.metadata.cellcount
    assert "image/png" in json.dumps(page) and "image/png" not in json.dumps(short)
    assert {cell.cell_type for cell in short.cells} == {"code"} and "number: 2" in json.dumps(short)
    nbformat.validate(short)
    source.write_text(source.read_text().replace("if number < 0", "if number < 10"))
    (book / "book" / "00-preface.ipynb").write_text("{}")
    assert main(["chapter", "publish", "preface", "toy"]) == 1, "the others are published"
    assert nbformat.read(book / "book" / "00-preface.ipynb", as_version=4).cells
    assert nbformat.read(source.with_suffix(".ipynb"), as_version=4) == page


def test_a_page_without_code_needs_no_kernel(book):
    out = run_chapter("preface")
    assert out == book / "build" / "runs" / "adhoc" / "00-preface.ipynb"
    assert [cell.cell_type for cell in nbformat.read(out, as_version=4).cells] == ["markdown"]


def test_command_line_values_come_last_and_get_the_type_of_the_default(book):
    assert values(book) == {"seed": 7, "number": 2}
    assert values(book, number="3", spread="1e-3", sizes="[4]", data="thesis") == {
        "dataset": "thesis", "seed": 7, "spread": 1e-3, "sizes": [4],
    }  # fmt: skip


@pytest.mark.parametrize(
    "value, default", [("many", 3), ("2.5", 3), (True, 3), ("1", True), ("x", 1.0), (3, "text"), ("a: b", [1])]
)
def test_a_value_of_another_type_is_refused(value, default):
    with pytest.raises(ParameterError, match=f"number.*{type(default).__name__}"):
        checked("number", value, default)


def test_what_is_unknown_is_refused_with_the_known(book):
    with pytest.raises(ParameterError, match="nmber.*dataset, seed, number, spread, sizes"):
        values(book, nmber=1)
    with pytest.raises(ParameterError, match="tou.*00-preface, 01-toy"):
        find("tou")
    with pytest.raises(ParameterError, match="lab.*smoke"):
        values(book, profile="lab")
    with pytest.raises(ParameterError, match="02-none"):
        find("book/02-none.md")
    (book / "book" / "profiles" / "wrong.yml").write_text("chapters: {01-toy: {typo: 2}}\n")
    with pytest.raises(ParameterError, match="typo"):
        values(book, profile="wrong")


@pytest.mark.parametrize("line", ["number = 2 + seed", "import os", "a, b = 1, 2"])
def test_parameters_must_be_literals(book, line):
    source = book / "book" / "01-toy.md"
    source.write_text(CHAPTER.replace("spread = 1.0", line))
    with pytest.raises(ParameterError, match="name = literal"):
        defaults(read(source), "01-toy")


def test_chapters_come_from_the_toc_and_by_any_name(book):
    assert [path.stem for path in chapters()] == ["00-preface", "01-toy"]
    assert find("toy") == find("01-toy") == find("book/01-toy.md") == find(book / "book" / "01-toy.ipynb")


def test_two_folders_of_one_name_stay_apart():
    assert slug("phantom") == "phantom"
    assert slug("/a/my cells") != slug("/b/my cells")
    assert slug("/a/my cells").startswith("my_cells-")


def test_errors_reach_the_shell_as_exit_code_and_one_line(book, capsys):
    assert main(["run", "nothing", "--data", "phantom"]) == ParameterError.exit_code
    said = capsys.readouterr().err
    assert said.startswith("error: ") and "'nothing'" in said and said.count("\n") == 1


def test_a_relative_data_folder_reaches_the_kernel_as_an_absolute_one(book, monkeypatch):
    (book / "here").mkdir()
    monkeypatch.setenv("CELLCOUNT_DATA", "here")
    source = book / "book" / "01-toy.md"
    source.write_text(CHAPTER.replace("object()", 'print("data:", os.environ["CELLCOUNT_DATA"])'))
    notebook = nbformat.read(run_chapter("toy"), as_version=4)
    assert f"data: {book / 'here'}" in json.dumps(notebook)
