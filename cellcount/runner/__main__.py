"""`cellcount run`, and what the Makefile and the workflow ask: `python -m cellcount.runner --help`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from cellcount.errors import CellcountError
from cellcount.runner import keep, run_chapter
from cellcount.runner.sources import chapters, dataset, find, site


def add_arguments(parser: argparse.ArgumentParser, out: Path | str = True) -> None:
    """The arguments of `cellcount run`; `keep` has no `out`."""
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
    """Do what the parsed arguments of `cellcount run` say, and print where the notebook lies."""
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


def _parser():
    parser = argparse.ArgumentParser(prog="python -m cellcount.runner", description="What the Makefile asks.")
    verbs = parser.add_subparsers(required=True)

    def verb(name, action, summary):
        added = verbs.add_parser(name, help=summary, description=summary)
        added.set_defaults(action=action)
        return added

    add_arguments(verb("run", run, "run a chapter (as `cellcount run`)"))
    verb("commit", _commit, "compute the committed notebook of a chapter").add_argument("chapter")
    add_arguments(verb("keep", _keep, "run a chapter, and copy the tables of its run to results/"), out=False)
    verb("list", lambda _: print(*[page.stem for page in chapters()], sep="\n"), "list the chapters, as in _toc.yml")
    verb("resolve", lambda asked: print(_announce(asked.data)), "say which dataset it is").add_argument("data")
    where = verb("where", _where, "say where a site lies")
    where.add_argument("data")
    where.add_argument("profile")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code (int) of `python -m cellcount.runner`."""
    arguments = _parser().parse_args(argv)
    try:
        arguments.action(arguments)
    except CellcountError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
