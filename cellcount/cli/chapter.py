"""`cellcount chapter`, and its short form `cellcount run`: run chapters of the book."""

import argparse
import sys

from cellcount.cli import add_parameters, add_verb, given_path
from cellcount.companion.runner import keep, publish, renew_text, run_chapter, write_smoke_copy
from cellcount.companion.runner.sources import chapters, dataset, find
from cellcount.errors import CellcountError, require


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verbs below `cellcount chapter`."""
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    add_run(add_verb(verbs, "run", run, "run a chapter on any data set (short form: cellcount run)"))
    kept = "run a chapter and copy the result tables of the run to results/"
    add_run(add_verb(verbs, "keep", _keep, kept), out=False)
    for name, action, summary in (
        ("publish", _publish, "compute the pages of the committed book (simulated fields; with a GPU: --profile gpu)"),
        ("smoke", _smoke, "compute the notebooks in tests/notebooks, which nbval compares with a new run"),
        ("text", _text, "update the text of committed notebooks from their sources, without computing"),
    ):
        verb = add_verb(verbs, name, action, summary)
        verb.add_argument("chapters", nargs="*", help="(default: all)")
        if action is _publish:
            verb.add_argument("--profile", default="full", choices=("full", "gpu"), help="(default: full)")
    add_verb(verbs, "list", lambda _: print(*[page.stem for page in chapters()], sep="\n"), "list the chapters")


def add_run(parser: argparse.ArgumentParser, out: bool = True) -> None:
    """The arguments of `cellcount run`; `keep` has no `--out`."""
    parser.add_argument("chapter", help="cellnet, 06-cellnet, or a path to the source")
    add_parameters(parser, "a parameter of the chapter", "seed 1")
    parser.add_argument("--data", default="auto", help="auto, a folder, or a name of `cellcount data list`")
    profile = "laptop" if out else "full"
    parser.add_argument("--profile", default=profile, help=f"a file in book/profiles (default: {profile})")
    if out:
        parser.add_argument(
            "--out", type=given_path, help="notebook to write (default: build/runs/adhoc/CHAPTER.ipynb)"
        )
        parser.add_argument("--key", default="", help=argparse.SUPPRESS)  # of the workflow: see `staleness.run_key`


def run(arguments: argparse.Namespace) -> None:
    """Run a chapter, and print the path of its notebook."""
    name = _announce(arguments.data)
    parameters = dict(arguments.parameters)
    chosen = {"data": name, "profile": arguments.profile, "out": arguments.out, "key": arguments.key}
    print(run_chapter(arguments.chapter, parameters=parameters, **chosen))


def _announce(data):
    name, reason = dataset(data)
    if name != data:
        print(f"data: {name} ({reason})", file=sys.stderr)
    return name


def _publish(arguments):
    _each(arguments.chapters, lambda source: print(publish(source, arguments.profile)))


def _smoke(arguments):
    _each(arguments.chapters, lambda source: print(write_smoke_copy(source)))


def _text(arguments):
    _each(arguments.chapters, renew_text)


def _each(names, action):
    """Do it for every chapter, also after one has failed."""
    failed = []
    for source in [find(name) for name in names] or chapters():
        try:
            action(source)
        except CellcountError as error:
            failed.append(str(error))
    require(not failed, "\n  ".join(["some notebooks were not updated:", *failed]), CellcountError)


def _keep(arguments):
    for path in keep(arguments.chapter, data=_announce(arguments.data), profile=arguments.profile,
                     parameters=dict(arguments.parameters)):  # fmt: skip
        print(path)
