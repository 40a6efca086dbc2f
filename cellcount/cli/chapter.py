"""`cellcount chapter`, and its short form `cellcount run`: run chapters of the book."""

import argparse
import sys
from pathlib import Path

from cellcount.companion.runner import keep, run_chapter
from cellcount.companion.runner.sources import chapters, dataset, find, site


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verbs below `cellcount chapter`."""
    verbs = parser.add_subparsers(required=True, metavar="VERB")

    def verb(name, action, summary):
        added = verbs.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
        added.set_defaults(action=action)
        return added

    add_run(verb("run", run, "run a chapter on any data set (short form: cellcount run)"))
    add_run(verb("keep", _keep, "run a chapter and copy the result tables of the run to results/"), out=False)
    commit = verb("commit", _commit, "write the committed notebook of a chapter; only changed code is computed")
    commit.add_argument("chapter")
    verb("list", lambda _: print(*[page.stem for page in chapters()], sep="\n"), "list the chapters")
    verb("resolve", lambda asked: print(_announce(asked.data)), "print the name of a data set").add_argument("data")
    where = verb("where", _where, "print the path of a rendered book")
    where.add_argument("data")
    where.add_argument("profile")


def add_run(parser: argparse.ArgumentParser, out: bool = True) -> None:
    """The arguments of `cellcount run`; `keep` has no `--out`."""
    parser.add_argument("chapter", help="cellnet, 04-cellnet, or a path to the source")
    parser.add_argument(
        "-p", dest="parameters", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"),
        help="set a parameter of the chapter; may be given several times",
    )  # fmt: skip
    parser.add_argument("--data", default="auto", help="auto, phantom, thesis, vgg-cells, or a folder (default: auto)")
    parser.add_argument("--profile", default="laptop", help="a file in book/profiles (default: laptop)")
    if out:
        parser.add_argument("--out", type=Path, help="notebook to write (default: build/runs/adhoc/CHAPTER.ipynb)")


def run(arguments: argparse.Namespace) -> None:
    """Run a chapter, and print the path of its notebook."""
    name = _announce(arguments.data)
    parameters = dict(arguments.parameters)
    out = run_chapter(arguments.chapter, parameters=parameters, data=name, profile=arguments.profile, out=arguments.out)
    print(out)


def _announce(data):
    name, reason = dataset(data)
    if name != data:
        print(f"data: {name} ({reason})", file=sys.stderr)
    return name


def _where(arguments):
    page = site(arguments.data, arguments.profile)
    for pdf in page.parent.glob("*.pdf"):
        print(f"PDF:  {pdf}")
    print(f"book: {page}")


def _commit(arguments):
    run_chapter(arguments.chapter, out=find(arguments.chapter).with_suffix(".ipynb"))


def _keep(arguments):
    for path in keep(arguments.chapter, data=_announce(arguments.data), profile=arguments.profile,
                     parameters=dict(arguments.parameters)):  # fmt: skip
        print(path)
