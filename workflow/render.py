"""Render executed notebooks: HTML, and the PDF that the HTML links to.

    python workflow/render.py NOTEBOOKS OUT [--pdf]

puts the site in OUT/_build/html. Jupyter Book runs strictly: a warning is an error, and every page is read anew.
"""

import argparse
import functools
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import about
import nbformat
import yaml

from cellcount import manifest
from cellcount.companion.runner import built
from cellcount.companion.runner.sources import chapters, read, root
from cellcount.companion.runner.staleness import with_text_of
from cellcount.errors import CellcountError, NotAvailableError
from cellcount.files import sha256
from cellcount.results.verifying import verify

PDF = "cellcount.pdf"
VIEWER = ("look.js", "look.css", "tables.js", "vendor/openseadragon.min.js")  # below web/, for every page
ADDRESSES = ("BOOK_REPOSITORY", "BOOK_URL")  # environment: where the sources are, and where the site will be
DEBIAN = (Path(__file__).parent / "debian.txt").read_text().split()  # without recommended packages: 119 MB


RENDERERS = ("render", "about", "furniture", "formulas", "look", "try_page")  # modules here


def assemble(notebooks, source):
    """Write what Sphinx reads into the folder `source`: the pages' notebooks with the present text of their sources,
    and from book/ all that is no page."""
    shutil.rmtree(source, ignore_errors=True)
    book = root() / "book"
    shutil.copytree(book, source / "book", ignore=shutil.ignore_patterns("*.md", "*.ipynb", "profiles", ".*"))
    for name in VIEWER:
        shutil.copy2(root() / "web" / name, source / "book" / "_static")
    for page in chapters():
        notebook = notebooks / f"{page.stem}.ipynb"
        if not notebook.exists():
            raise NotAvailableError(f"{notebook} is missing: `make publish` or `make book` computes it.")
        executed = nbformat.read(notebook, as_version=4)
        renewed = with_text_of(read(page), executed)
        if renewed is None:
            print(f"warning: {notebook} was computed from other code than that of {page.name}", file=sys.stderr)
        shown = with_origin(renewed or executed, page)
        if page == chapters()[0]:
            shown.cells.append(nbformat.v4.new_markdown_cell(citation(), id="citation"))
        nbformat.write(shown, source / "book" / notebook.name)


def citation():
    """How to cite the book, from CITATION.cff, as a section."""
    about = yaml.safe_load((root() / "CITATION.cff").read_text())
    names = [
        f"{{{a['name']}}}" if "name" in a else f"{a['family-names']}, {a['given-names']}" for a in about["authors"]
    ]
    fields = {"title": "{" + about["title"] + "}", "author": " and ".join(names), "version": about["version"]}
    copyright = yaml.safe_load((root() / "_config.yml").read_text())["copyright"]
    fields["year"] = str(about.get("date-released", copyright))[:4]
    fields |= {"url": about["repository-code"]} if "repository-code" in about else {}
    lines = ",\n".join(f"  {name} = {{{value}}}" for name, value in fields.items())
    return f"## How to cite\n\n```bibtex\n@software{{cellcount,\n{lines}\n}}\n```"


@functools.cache
def committed(page):
    """(date, commit) of the last change of a page's source; empty where there is no history."""
    command = ["git", "-C", root(), "log", "-1", "--format=%cs %h", "--", page]
    answer = subprocess.run(command, capture_output=True, text=True) if shutil.which("git") else None
    return tuple(answer.stdout.split()) if answer and not answer.returncode else ()


def with_origin(notebook, page):
    """The notebook with a line below its title: its last change, and data, profile and machine of its run."""
    about = notebook.metadata.cellcount
    parameters = about.get("parameters", {})
    words = ["Last updated {}, commit `{}`.".format(*changed)] if (changed := committed(page)) else []
    if parameters:
        data, where = Path(str(parameters.get("dataset", ""))).name, about.get("machine", "an unknown machine")
        words.append(f"Run of this page: data set `{data}`, profile `{about['profile']}`, on {where}.")
    if words:
        first = notebook.cells[0]
        title, _, rest = first.source.partition("\n\n")
        first.source = f"{title}\n\n```{{container}} origin\n{' '.join(words)}\n```\n\n{rest}"
    return notebook


def inputs_hash(notebooks, pdf):
    """Hex SHA-256 of all that a rendered book is made of."""
    files = [path for path in (root() / "book").rglob("*") if path.is_file() and path.suffix != ".ipynb"]
    files += [
        *notebooks.glob("*.ipynb"),
        *notebooks.glob("*.run.json"),
        *(path for path in (root() / "web").rglob("*") if path.is_file()),
        *(root() / "cellcount" / "weights").glob("*.onnx"),
        *(root() / "results").glob("*-phantom-points.csv*"),
        root() / "_config.yml",
        root() / "_toc.yml",
        root() / "CITATION.cff",
        *(Path(__file__).with_name(f"{name}.py") for name in RENDERERS),
    ]
    parts = [f"{path} {sha256(path)}" for path in sorted(files)]
    parts += [f"{page} {committed(page)}" for page in chapters()] + [*addresses()]
    return hashlib.sha256("\n".join([*parts, str(pdf)]).encode()).hexdigest()


def addresses():
    """Where the sources are, and where the site will be; empty where that is not said."""
    return [os.environ.get(name, "").rstrip("/") for name in ADDRESSES]


def configure(path, pdf, build):
    """Write _config.yml to `path`, with what surrounds the pages: a link to the PDF if there is one, buttons that lead
    to the repository if its address is known, and the page on the `build` (HTML)."""
    config = yaml.safe_load((root() / "_config.yml").read_text())
    repository, url = addresses()
    config["sphinx"]["extra_extensions"] = ["furniture", "formulas"]
    settings = config["sphinx"]["config"]
    settings["html_context"] = {"book_pdf": PDF if pdf else "", "default_mode": "auto", "about_build": build}
    if url:
        config["html"]["baseurl"] = f"{url}/"
    if repository:
        config["repository"] = {"url": repository, "branch": "main"}
        config["html"] |= dict.fromkeys(("use_repository_button", "use_edit_page_button", "use_issues_button"), True)
        host = repository.rsplit("/", 2)[0]
        options = settings["html_theme_options"]  # a host of one's own, such as GitHub Enterprise, has no telling name
        options["repository_provider"] = next((name for name in ("gitlab", "bitbucket") if name in host), "github")
        options["launch_buttons"] = {"binderhub_url": "https://mybinder.org"}
        if host == "https://github.com":
            options["launch_buttons"]["colab_url"] = "https://colab.research.google.com"
    path.write_text(yaml.safe_dump(config, sort_keys=False))


def jupyter_book(source, out, builder):
    """Run one strict build; `--toc` must be absolute."""
    command = [
        Path(sys.executable).with_name("jupyter-book"), "build", source, "--config", out / "_config.yml",
        "--toc", root() / "_toc.yml", "--path-output", out, "--builder", builder, "--all", "-W", "-n", "--keep-going",
    ]  # fmt: skip
    log, here = out / f"{builder}.log", str(Path(__file__).resolve().parent)
    with open(log, "w") as file:
        environment = os.environ | {
            "NO_COLOR": "1",
            "PYTHONPATH": os.pathsep.join([here, os.environ.get("PYTHONPATH", "")]),
        }
        code = subprocess.call([str(part) for part in command], stdout=file, stderr=subprocess.STDOUT, env=environment)
    if code:
        lines = log.read_text(errors="replace").splitlines()
        marked = [line for line in lines if "WARNING" in line or "ERROR" in line or line.startswith("! ")]
        print("\n".join(marked or lines[-40:]), file=sys.stderr)
        raise CellcountError(f"jupyter-book ({builder}) found the above. All of its words: {log}")


def need_latex():
    """Have xelatex, latexmk and the fonts; PDF_INSTALL=1 lets root install them, else name the Debian packages."""
    if os.environ.get("PDF_INSTALL") == "1" and os.geteuid() == 0 and shutil.which("apt-get") and _latex_missing():
        print(f"installing for the PDF: {' '.join(DEBIAN)}", file=sys.stderr)
        quiet = {"check": True, "stdout": subprocess.DEVNULL, "env": os.environ | {"DEBIAN_FRONTEND": "noninteractive"}}
        subprocess.run(["apt-get", "update", "-qq"], **quiet)
        subprocess.run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *DEBIAN], **quiet)
    missing = _latex_missing()
    if missing:
        raise NotAvailableError(
            f"The PDF needs {', '.join(missing)}. On Debian and Ubuntu:\n"
            f"  sudo apt-get install --no-install-recommends {' '.join(DEBIAN)}\n"
            "As root, PDF_INSTALL=1 does so."
        )


def _latex_missing():
    missing = [program for program in ("xelatex", "latexmk") if not shutil.which(program)]
    if not missing:
        fonts = ("texgyrepagella-regular.otf", "texgyreheros-regular.otf", "FreeSerif.otf", "DejaVuSansMono.ttf")
        listed = subprocess.run(["fc-list"], capture_output=True, text=True).stdout if shutil.which("fc-list") else ""
        for font in fonts:
            found = subprocess.run(["kpsewhich", font], capture_output=True, text=True).stdout.strip()
            if not found and font not in listed:
                missing.append(f"the font {font}")
    return missing


def is_whole(out):
    """Whether a site is as it was written."""
    return (out / "_build" / "html" / "index.html").is_file() and not verify(out / manifest.NAME).changes


def render(notebooks, out, pdf=False):
    """Render a book strictly, unless `out` has it already, made of the same files: Path of its first page."""
    notebooks, out = Path(notebooks).resolve(), Path(out).resolve()
    site, done = out / "_build" / "html", out / "rendered.sha256"
    made_of = inputs_hash(notebooks, pdf)
    if done.is_file() and done.read_text() == made_of and is_whole(out):
        return site / "index.html"
    clock = manifest.Clock()
    if pdf:
        need_latex()
    done.unlink(missing_ok=True)
    assemble(notebooks, out / "source")
    shutil.rmtree(out / "_build", ignore_errors=True)
    computed = built.of_chapters(notebooks)
    configure(out / "_config.yml", pdf, about.page(notebooks, computed))
    if pdf:
        jupyter_book(out / "source", out, "pdflatex")  # jupyter-book's name for LaTeX; the engine is xelatex
    jupyter_book(out / "source", out, "html")
    import look  # their libraries take seconds, and a site that is there needs none
    import try_page

    look.write(site / "look")
    repository, _ = addresses()
    try_page.as_folder(site / "count", f"{repository}/releases/latest/download/{try_page.ONE}" if repository else "")
    if pdf:
        shutil.copy2(out / "_build" / "latex" / PDF, site / PDF)
    built.of_site(out, clock, computed)
    done.write_text(made_of)
    return site / "index.html"


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebooks", type=Path, help="folder of the executed notebooks")
    parser.add_argument("out", type=Path)
    parser.add_argument("--pdf", action="store_true", help="typeset the book, too")
    arguments = parser.parse_args(argv)
    try:
        page = render(arguments.notebooks, arguments.out, arguments.pdf)
    except CellcountError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    if arguments.pdf:
        print(f"PDF:  {page.with_name(PDF)}")
    print(f"book: {page}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
