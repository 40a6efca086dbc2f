"""The committed book: notebooks up to date, free of errors, figures described, numbers computed; and what surrounds it.

Pages are runs of the profile `full` or `gpu`; tests/notebooks has the code of each and what a short run prints.
"""

import ast
import json
import re
import subprocess
import tomllib

import nbformat
import pandas as pd
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from cellcount.companion import tables
from cellcount.companion.runner import smoke_copy
from cellcount.companion.runner.sources import chapters, code_cells, defaults, overrides, read, root
from cellcount.companion.runner.staleness import code_hash, with_text_of

ROOT = root()
PAGES = chapters()
MACHINE = re.compile(r"(?<![\w.:/])/(?:home|root|Users|work|tmp|opt)/")


@pytest.fixture(params=PAGES, ids=lambda source: source.stem)
def source(request):
    return request.param


@pytest.fixture
def notebook(source):
    return nbformat.read(source.with_suffix(".ipynb"), as_version=4)


@pytest.fixture
def short(source):
    return nbformat.read(smoke_copy(source), as_version=4)


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def outputs(cell, *kinds):
    return [output for output in cell.outputs if any(kind.startswith(kinds) for kind in output.get("data", {}))]


def test_files_that_the_text_names_exist():
    for source in PAGES:
        text = source.read_text()
        for folder, names in re.findall(r"`((?:cellcount|workflow|book)/[\w./-]*)`(?:\s*\(((?:[^()]|\n)*)\))?", text):
            files = re.findall(r"`(\w+\.py)`", names) if folder.endswith("/") else []
            for path in [folder, *(folder + name for name in files)]:
                assert (ROOT / path).exists(), f"{source.name}: {path}"


def test_the_toc_names_every_page_once():
    written = {path.stem for path in (ROOT / "book").glob("[0-9]*.md")}
    assert sorted(source.stem for source in PAGES) == sorted(written)


def is_up_to_date(notebook, source, profiles, command):
    about = notebook.metadata.cellcount
    known = defaults(read(source), source.stem)
    remedy = f"make {command} CHAPTERS={source.stem}"
    assert about["profile"] in profiles, remedy
    expected = known | overrides(source, known, parameters={}, data="phantom", profile=about["profile"])
    assert about["code_sha256"] == code_hash(read(source)), remedy
    assert about["parameters"] == json.loads(json.dumps(expected)), remedy


def test_page_is_a_long_run_of_its_source(source, notebook):
    is_up_to_date(notebook, source, ("full", "gpu"), "publish")
    assert "machine" in notebook.metadata.cellcount


def test_short_run_is_up_to_date_and_holds_no_pictures(source, short):
    is_up_to_date(short, source, ("smoke",), "notebooks")
    for cell in short.cells:
        assert cell.cell_type == "code" and not outputs(cell, "image/")


def test_notebook_has_the_text_of_its_source(source, notebook):
    assert with_text_of(read(source), notebook) == notebook, "make text"


def test_notebooks_ran_to_their_end_without_errors(notebook, short):
    for cell in code(notebook) + code(short):
        assert cell.execution_count, "nbval passes over a cell that was not run"
        assert not [output for output in cell.outputs if output.output_type == "error"]
        assert "raises-exception" not in cell.metadata.get("tags", [])


def test_notebooks_hold_nothing_of_this_machine(notebook, short):
    for cell in notebook.cells + short.cells:
        assert not MACHINE.search(json.dumps([cell.source, [_text(output) for output in cell.get("outputs", [])]]))


def _text(output):
    if "data" not in output:
        return output.get("text", "")
    return {kind: data for kind, data in output.data.items() if not kind.startswith("image/")}


def test_chapter_with_code_has_dataset_and_seed(source, notebook):
    if code(notebook):
        known = defaults(read(source), source.stem)
        assert known.get("dataset") == "phantom" and known.get("seed") == 0


def test_no_loop_takes_the_name_of_a_parameter(source):
    """What follows would run with another value than the one that the page shows."""
    known = defaults(read(source), source.stem)
    for cell in code(read(source)):
        for node in ast.walk(ast.parse(cell.source)):
            targets = ast.walk(node.target) if isinstance(node, ast.For) else ()
            assert not {target.id for target in targets if isinstance(target, ast.Name)} & set(known), cell.source


def test_every_figure_has_caption_name_and_alternative_text(notebook):
    for cell in code(notebook):
        shown = outputs(cell, "image/")
        if not shown:
            continue
        about = cell.metadata.get("mystnb", {})
        figure, image = about.get("figure", {}), about.get("image", {})
        first = cell.source.splitlines()[0]
        assert len(shown) == 1, f"{first!r} shows {len(shown)} figures under one name"
        assert figure.get("name") and len(figure.get("caption", "")) > 20, f"{first!r}: name and caption"
        assert len(image.get("alt", "")) > 20, f"{first!r}: alternative text"


def test_names_of_figures_and_tables_are_unique():
    names = []
    for source in PAGES:
        for cell in code(nbformat.read(source.with_suffix(".ipynb"), as_version=4)):
            names += [cell.metadata["mystnb"]["figure"]["name"]] if "figure" in cell.metadata.get("mystnb", {}) else []
            for output in outputs(cell, "text/markdown"):
                names += re.findall(r"^:name: (.+)$", output.data["text/markdown"], re.M)
    assert len(names) == len(set(names)), sorted(name for name in names if names.count(name) > 1)


ANSWER = re.compile(r"\A# .+\n\n(?:\(.+\)=\n\n)?:::\{admonition\} .+\n:class: answer\n\n([^:]+(?:\n|.)+?)\n:::\n")


def test_chapter_opens_with_its_answer_and_closes_with_what_was_learned(source):
    first, *_ = cells = [cell.source for cell in read(source).cells if cell.cell_type == "markdown"]
    if source.stem in NO_CHAPTERS:
        return
    answer = ANSWER.match(first + "\n")
    assert answer, f"{source.name}: no answer block below the title"
    assert "{glue:" in answer[1] and "**" in answer[1], f"{source.name}: no question, or no number, in the answer"
    if source.stem not in WITHOUT_SUMMARY:
        learned = "\n".join(cells).partition("\n## What we learned\n")[2]
        points = re.findall(r"^- (?:.+\n?(?:  .+\n?)*)", learned, re.M)
        assert len(points) >= 3, f"{source.name}: what we learned"
        assert "{glue:" in learned and re.search(r"\{(?:numref|ref|doc|eq)\}", learned), (
            f"{source.name}: numbers, links"
        )


NO_CHAPTERS = {"22-glossary", "99-references"}
WITHOUT_SUMMARY = {"00-preface", "19-claims", "20-discussion"}  # they are summaries
# Digits in prose that no run computes: names of things, levels of intervals, years of software, dates, mathematics.
NAMES = re.compile(
    r"F1|\b\d+x\b|\b(?:80|90|95|99)\u00a0?\s?%|\b[ABCD]\d\b|Cellpose [1-4]\b|YOLO\w*|\bv\d+\b|ViT-\w+|ND_\w+|H\d{3}\b|"
    r"\b(?:[Ff]igures?|[Ss]ections?|[Cc]hapters?|[Ii]mages?|[Ff]ields?|[Ff]lasks?|[Tt]able|[Ss]tep|[Pp]ages?) "
    r"\d[\d.]*(?:(?:,| and| to| or) \d[\d.]*)*|"
    r"\b(?:19|20)\d\d\b|\b(?:8|12|16|32|64) ?bits?\b|\b3\.1[1-4]\b|\bT-\d+\b|\b[a-z_]+\d\b|"
    r"\b\w+-\d+\b|\b[01]\b(?!\u00a0?\s?%)|\b\d+-(?:bit|fold)\b|Proto4DME|cm2|mm2|\b[12]D\b"
)
MARKUP = re.compile(
    r"^```.*?^```|^:::\{(?:figure|table|math|code).*?^:::|\$\$.*?\$\$(?: \(.+?\))?|\$[^$]+\$|`[^`]*`|\]\([^)]*\)|"
    r"\{[\w:]+\}`[^`]*`|https?://\S+|^\|.*$|^#.*$|\(\w[\w-]*\)=|^\d+\. ", re.M | re.S,
)  # fmt: skip


def test_numbers_in_prose_are_computed(source):
    if source.stem in NO_CHAPTERS:
        return
    found = []
    for cell in read(source).cells:
        if cell.cell_type == "markdown":
            prose = NAMES.sub(" ", MARKUP.sub(" ", cell.source))
            found += [
                prose[max(0, m.start() - 30) : m.end() + 20].replace("\n", " ")
                for m in re.finditer(r"\d[\d.,]*", prose)
            ]
    assert not found, f"{source.name}: write these with glue: {found}"


def test_figures_have_one_palette():
    """Colours are named in plots/style.py alone."""
    number = re.compile(r"[\"']#[0-9a-fA-F]{6}|[\"'](?:C\d|tab:\w+)[\"']")
    word = re.compile(r"[\"'](?:red|green|blue|orange|purple|magenta|cyan|yellow)[\"']")
    plots = [path for path in (ROOT / "cellcount" / "companion" / "plots").glob("*.py") if path.name != "style.py"]
    for path in plots:
        assert not number.findall(path.read_text()) + word.findall(path.read_text()), path.name
    for page in PAGES:  # where "green" is a channel
        assert not number.findall("\n".join(cell.source for cell in code_cells(read(page)))), page.name


def test_the_book_and_the_repository_stay_small():
    listed = subprocess.run(["git", "-C", ROOT, "ls-files", "-z"], capture_output=True, text=True, check=True).stdout
    sizes = {name: (ROOT / name).stat().st_size for name in listed.split("\0") if name and (ROOT / name).is_file()}
    book = sum(size for name, size in sizes.items() if name.startswith("book/"))
    assert book < 12e6, f"the committed book has {book / 1e6:.1f} MB"
    vendored = sum(size for name, size in sizes.items() if name.startswith("web/vendor/"))  # for the site alone
    own = sum(sizes.values()) - vendored
    assert own < 40e6, f"the repository without its history has {own / 1e6:.1f} MB of our own"
    assert vendored < 6e6, f"what others have written for the site has {vendored / 1e6:.1f} MB"


@pytest.mark.parametrize("path", sorted((ROOT / "book" / "profiles").glob("*.yml")), ids=lambda path: path.stem)
def test_profiles_speak_of_chapters_and_parameters_that_exist(path):
    content = yaml.safe_load(path.read_text())
    stems = {source.stem for source in PAGES}
    assert set(content["chapters"]) <= stems
    assert set(content["resources"]) <= stems | {"default"}
    for source in PAGES:
        overrides(source, defaults(read(source)), parameters={}, data="phantom", profile=path.stem)


def test_environment_is_in_step_with_pyproject_and_constraints():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    python, pip, (constraints, asked) = environment[0], environment[1], environment[2]["pip"]
    assert SpecifierSet(project["requires-python"]).contains(python.removeprefix("python="))
    assert pip == "pip" and constraints == "-c constraints.txt"  # a line of its own: beside -e, pip ignores it
    extras = re.fullmatch(r"-e \.\[(.+)\]", asked).group(1)
    assert f"-c constraints.txt -e '.[{extras}]'" in (ROOT / "Makefile").read_text()
    assert set(extras.split(",")) == set(project["optional-dependencies"]) - {"hpc"}
    pins = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if not line.startswith("#"):
            name, _, version = line.partition("==")
            pins[canonicalize_name(name)] = version
    for text in project["dependencies"] + [
        text for extra in extras.split(",") for text in project["optional-dependencies"][extra]
    ]:
        requirement = Requirement(text)
        version = pins.get(canonicalize_name(requirement.name))
        assert version and requirement.specifier.contains(version), text


def test_make_help_lists_every_verb():
    text = subprocess.run(["make", "-C", ROOT, "help"], capture_output=True, text=True, check=True).stdout
    verbs = re.search(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(), re.M).group(1).split()
    assert set(verbs) <= {line.split()[0] for line in text.splitlines() if line and line[0].isalpha()}


def test_table_is_numbered_markdown_with_formats():
    frame = pd.DataFrame({"a|b": ["x|y", "z"], "n": [1234, 2], "f1": [0.712, float("nan")], "ok": [True, False]})
    text = tables.table(frame, "Two rows of {numref}`fig`.", "table-two", {"f1": "{:.1f}"})._repr_markdown_()
    assert text.splitlines() == [
        ":::{tabularcolumns} LRRL", ":::", "",
        ":::{table} Two rows of {numref}`fig`.", ":name: table-two", "",
        "| a\\|b | n | f1 | ok |", "| :--- | ---: | ---: | :--- |",
        "| x\\|y | 1,234 | 0.7 | yes |", "| z | 2 | – | no |", ":::",
    ]  # fmt: skip
    with pytest.raises(ValueError, match="g"):
        tables.table(frame, "Caption.", "name", {"g": "{}"})
    with pytest.raises(ValueError, match="one line"):
        tables.table(frame, "Two\nlines.", "name")


def test_numbers_as_text():
    assert tables.integer(12345.4) == "12,345"
    assert tables.percent(0.1234, 1) == "12.3\u00a0%"
    assert tables.interval(0.71, 0.684, 0.736) == "0.71 (0.68–0.74)"
