"""The command line: `cellcount --help`."""

import argparse
import importlib
import io
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

import cellcount
from cellcount.errors import CellcountError, needing

# verb: its module, with `add_arguments` (or another name) and `run`; the extra that it may need; what it does
VERBS = {
    "count": ("count", "methods", "count the cells in images"),
    "train": ("train", "train", "train CellNet, or another method, on annotated images"),
    "export": ("export", "train", "write CellNet's weights as an ONNX file, which counts without torch"),
    "run": ("chapter:add_run", "book", "run a chapter of the book on any data set"),
    "chapter": ("chapter", "book", "run, list and keep chapters of the book"),
    "bench": ("bench", "train", "run a benchmark, a controlled experiment or a measurement"),
    "data": ("data", "data", "check, import, convert, fetch and list data sets"),
    "weights": ("weights", "methods", "list and fetch third-party pretrained weights"),
    "methods": ("methods", "methods", "list all methods, and whether each can run on this machine"),
    "doctor": ("doctor", "methods", "report this machine, its packages and folders, and what can run here"),
}
EXIT_CODES = "exit codes: 0 done, 1 failed, 2 invalid call, 3 data cannot be used, 4 something must be fetched first"


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code (int) of the command line; `argv` defaults to the process's arguments."""
    for stream in (sys.stdout, sys.stderr):  # a terminal that lacks a character of a file's name shows its code
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        argv = sys.argv[1:] if argv is None else list(argv)
        arguments = _parser(argv[0] if argv else "").parse_args(argv)
        with needing(VERBS[argv[0]][1], f"cellcount {argv[0]}"):
            code = arguments.action(arguments) or 0
        sys.stdout.flush()  # here, where a closed pipe can still be caught
        return code
    except BrokenPipeError:  # `| head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the interpreter flushes again when it ends
        return 141  # as a shell reports SIGPIPE
    except CellcountError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:  # a full disk, a locked folder: nothing that a traceback would explain
        print(f"error: {error}", file=sys.stderr)
        return CellcountError.exit_code
    except KeyboardInterrupt:
        print("interrupted; files written before are complete", file=sys.stderr)
        return 130


def _parser(chosen: str) -> argparse.ArgumentParser:
    """The parser of all verbs; only the chosen verb's module is imported, so that none waits for another."""
    description = "Count cells in phase-contrast images, from annotated centre points."
    parser = argparse.ArgumentParser(prog="cellcount", description=description, epilog=EXIT_CODES)
    version = f"cellcount {cellcount.__version__}" if chosen == "--version" else ""  # looked up only when needed
    parser.add_argument("--version", action="version", version=version, help="print the version and exit")
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    for name, (home, _, summary) in VERBS.items():
        added = add_verb(verbs, name, None, summary)
        if name == chosen:
            home, _, adder = home.partition(":")
            module = importlib.import_module(f"cellcount.cli.{home}")
            added.set_defaults(action=getattr(module, "run", None))  # verbs with verbs of their own have none
            getattr(module, adder or "add_arguments")(added)
    return parser


def add_verb(verbs: Any, name: str, action: Callable[..., Any] | None, summary: str) -> argparse.ArgumentParser:
    """Add a verb, whose action gets the parsed arguments, to what `add_subparsers` returned; gives its parser."""
    added: argparse.ArgumentParser = verbs.add_parser(
        name, help=summary, description=f"{summary[0].upper()}{summary[1:]}."
    )
    added.set_defaults(action=action)
    return added


def add_parameters(parser: argparse.ArgumentParser, what: str, example: str) -> None:
    """Add `-p NAME VALUE` (pairs of texts in `parameters`)."""
    parser.add_argument(
        "-p", dest="parameters", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"),
        help=f"{what}, such as -p {example}; may be given several times",
    )  # fmt: skip


def add_short_form(parser: argparse.ArgumentParser, name: str, description: str) -> None:
    """Add `--NAME VALUE`, which is short for `-p NAME VALUE`."""
    parser.add_argument(
        f"--{name}", dest="parameters", action="append", type=lambda value: (name, value), metavar=name.upper(),
        help=description,
    )  # fmt: skip


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add `--device`."""
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, mps (default: auto)")
