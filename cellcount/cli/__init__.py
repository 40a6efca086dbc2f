"""The command line: `cellcount --help`."""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any

from cellcount.errors import CellcountError, needing

# verb: its module, with `add_arguments` (or another name) and `run`, and what it does
VERBS = {
    "count": ("cli.count", "count the cells of images with weights that are at hand"),
    "train": ("cli.train", "train CellNet, or another method, on annotated images"),
    "export": ("cli.export", "write CellNet's weights as one ONNX file, which counts without torch"),
    "run": ("cli.chapter:add_run", "run a chapter of the book on any data set"),
    "chapter": ("cli.chapter", "run, list and keep chapters of the book"),
    "bench": ("cli.bench", "compute a benchmark or a controlled experiment, training many times"),
    "data": ("cli.data", "check, import, fetch and list datasets"),
    "weights": ("cli.weights", "list and fetch the weights of other people's networks"),
    "methods": ("cli.methods", "list every method and whether it can run here"),
    "doctor": ("cli.doctor", "say what this machine has, and what a build here would compute"),
}
EXTRAS = {
    "run": "book",
    "chapter": "book",
    "bench": "train",
    "data": "data",
    "train": "train",
    "export": "train",
}  # what a verb may lack
EXIT_CODES = "exit codes: 0 done, 1 failed, 2 wrong call, 3 data cannot be used, 4 something must be fetched first"


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code (int) of the command line; `argv` defaults to the process's arguments."""
    try:
        argv = sys.argv[1:] if argv is None else list(argv)
        arguments = _parser(argv[0] if argv else "").parse_args(argv)
        with needing(EXTRAS.get(argv[0], "methods"), f"cellcount {argv[0]}"):
            code = arguments.action(arguments) or 0
        sys.stdout.flush()  # here, where a closed pipe can still be caught
        return code
    except BrokenPipeError:  # `| head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the interpreter flushes once more at its end
        return 141  # as a shell reports SIGPIPE
    except CellcountError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("stopped; what was written before is complete", file=sys.stderr)
        return 130


class _Version(argparse.Action):
    """`--version`, looked up only when it is asked for."""

    def __init__(self, **options: Any) -> None:
        super().__init__(nargs=0, help="print the version and exit", **options)

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        import cellcount

        print(f"cellcount {cellcount.__version__}")
        parser.exit()


def _parser(chosen: str) -> argparse.ArgumentParser:
    """The parser of all verbs; only the chosen one's module is imported, so that no verb waits for another."""
    parser = argparse.ArgumentParser(
        prog="cellcount", description="Count cells in phase-contrast images, from clicks at their centres.",
        epilog=EXIT_CODES,
    )  # fmt: skip
    parser.add_argument("--version", action=_Version)
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    for name, (home, summary) in VERBS.items():
        added = verbs.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
        if name == chosen:
            home, _, adder = home.partition(":")
            module = importlib.import_module(f"cellcount.{home}")
            added.set_defaults(action=getattr(module, "run", None))  # where there are verbs below, each sets its own
            getattr(module, adder or "add_arguments")(added)
    return parser
