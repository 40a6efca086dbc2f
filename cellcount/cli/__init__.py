"""The command line: `cellcount --help`."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from cellcount.cli import bench, count, data, doctor, export, train, weights
from cellcount.errors import CellcountError
from cellcount.runner import __main__ as chapter

EXIT_CODES = "exit codes: 0 done, 1 failed, 2 wrong call, 3 data cannot be used, 4 something must be fetched first"


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code (int) of the command line; `argv` defaults to the process's arguments."""
    try:
        arguments = _parser().parse_args(argv)
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cellcount", description="Count cells in phase-contrast images, from clicks at their centres.",
        epilog=EXIT_CODES,
    )  # fmt: skip
    parser.add_argument("--version", action=_Version)
    verbs = parser.add_subparsers(required=True, metavar="VERB")

    def verb(name: str, module: Any, summary: str, action: Callable[..., Any] | None = None) -> None:
        added = verbs.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
        module.add_arguments(added)
        if action:
            added.set_defaults(action=action)

    verb("count", count, "count the cells of images with weights that are at hand", count.run)
    verb("train", train, "train CellNet, or another method, on annotated images", train.run)
    verb("export", export, "write CellNet's weights as one ONNX file, which counts without torch", export.run)
    verb("run", chapter, "run a chapter of the book on any dataset", chapter.run)
    verb("bench", bench, "compute a benchmark or a controlled experiment, training many times")
    verb("data", data, "check, import, fetch and list datasets")
    verb("weights", weights, "list and fetch the weights of other people's networks")
    verb("methods", doctor.Methods, "list every method and whether it can run here", doctor.methods)
    verb("doctor", doctor.Doctor, "say what this machine has, and what a build here would compute", doctor.doctor)
    return parser
