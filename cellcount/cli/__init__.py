"""The command line: `cellcount --help`."""

import argparse
import contextlib
import importlib
import io
import json
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import cellcount
from cellcount.errors import CellcountError, ParameterError, needing, require

# verb: its module, with `add_arguments` (or another name) and `run`; the extra that it may need; what it does
VERBS = {
    "count": ("count", "methods", "count the cells in images"),
    "train": ("train", "train", "train CellNet, or another method, on annotated images"),
    "export": ("export", "train", "write CellNet's weights as an ONNX file, which counts without torch"),
    "run": ("chapter:add_run", "book", "run a chapter of the book on any data set"),
    "chapter": ("chapter", "book", "run, list and keep chapters of the book"),
    "bench": ("bench", "train", "run a benchmark, a controlled experiment or a measurement"),
    "audit": ("audit", "methods", "correct random windows: the total of many images with a guaranteed interval"),
    "data": ("data", "data", "check, import, convert, fetch and list data sets"),
    "labelstudio": ("labelstudio", None, "correct predictions in Label Studio, the most doubtful parts first"),
    "weights": ("weights", "methods", "list and fetch third-party pretrained weights"),
    "verify": ("verify", "train", "compare results, weights or a book with their manifest, or with a new run"),
    "methods": ("methods", "methods", "list all methods, and whether each can run on this machine"),
    "doctor": ("doctor", "methods", "report this machine, its packages and folders, and what can run here"),
}
EXIT_CODES = (
    "exit codes: 0 done; 1 failed (a full disk, a fault of this package); 2 invalid call; 3 data cannot be used, if "
    "only one image; 4 something must be fetched or installed first; 130 interrupted (Ctrl-C); 141 the output's reader "
    "has gone; 143 terminated. However a command ends, what it has written is complete."
)

OUT_OF_MEMORY = ("OutOfMemoryError", "DefaultCPUAllocator")  # in errors of torch, on a GPU and a CPU


# Characters that move the cursor, colour or hide text, or turn its direction; a line break and a tab stay.
_CONTROLS = {n: f"\\x{n:02x}" for n in (*range(32), *range(127, 160)) if n not in (9, 10)}
_CONTROLS |= {n: f"\\u{n:04x}" for n in (0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))}


class _Plain:
    """A stream to a terminal or a file, to which names of files and images write no control characters."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write text; at its beginning are the movements of the cursor by which tqdm draws its bars."""
        moves = re.match(r"\r?\n*(?:\x1b\[A)*", text).end()  # type: ignore[union-attr]  # it matches nothing, too
        self._stream.write(text[:moves] + text[moves:].translate(_CONTROLS))
        return len(text)


class Terminated(KeyboardInterrupt):
    """The system, or another program, has asked this process to end; the argument is the signal's number."""


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code (int) of the command line; `argv` defaults to the process's arguments."""
    argv = sys.argv[1:] if argv is None else list(argv)
    answered = "--json" in argv
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # it is closed: a file that is opened must not take its place
            setattr(sys, name, open(os.devnull, "w", errors="backslashreplace"))
    for stream in (sys.stdout, sys.stderr):  # a terminal that lacks a character of a file's name shows its code
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    with contextlib.redirect_stdout(_Plain(sys.stdout)), contextlib.redirect_stderr(_Plain(sys.stderr)):
        return _main(argv, answered)


def _main(argv: Sequence[str], answered: bool) -> int:
    """Exit code of the command line, after whatever ended it was printed."""
    try:
        with _terminable():
            code = _run(argv)
        sys.stdout.flush()  # here, where a closed pipe can still be caught
        return code
    except BrokenPipeError:  # `| head` has read enough
        return _silent(141)  # as a shell reports SIGPIPE
    except CellcountError as error:
        return _failed(str(error), error.exit_code, answered)
    except OSError as error:  # a full disk, a locked folder: nothing that a traceback would explain
        return _failed(str(error), CellcountError.exit_code, answered)
    except KeyboardInterrupt as error:
        code = 128 + (error.args[0] if isinstance(error, Terminated) else signal.SIGINT)
        word = "terminated" if isinstance(error, Terminated) else "interrupted"
        return _failed(f"{word}; files written before are complete", code, answered, "")
    except Exception as error:
        if isinstance(error, MemoryError) or any(text in f"{type(error)} {error}" for text in OUT_OF_MEMORY):
            remedy = "Close other programs, or take smaller values for the parameters, or smaller images."
            return _failed(f"the memory is too small ({error}). {remedy}", CellcountError.exit_code, answered)
        if answered:
            _failed(f"{type(error).__name__}: {error}", CellcountError.exit_code, True)
        raise


def _run(argv: Sequence[str]) -> int:
    """Run a verb; where its answer is wanted as JSON, stdout has nothing else."""
    arguments = _parser(argv[0] if argv else "").parse_args(argv)
    wanted = getattr(arguments, "json", False)
    with needing(VERBS[argv[0]][1], f"cellcount {argv[0]}"):
        with open(os.devnull, "w", errors="backslashreplace") as nowhere:
            with contextlib.redirect_stdout(nowhere) if wanted else contextlib.nullcontext():
                code: int = arguments.action(arguments) or 0
    if wanted:
        answer: dict[str, Any] | Iterable[str] = arguments.answer
        parts = [json.dumps(answer | {"exit_code": code}, indent=1), "\n"] if isinstance(answer, dict) else answer
        sys.stdout.writelines(parts)
    return code


def _failed(message: str, code: int, answered: bool, kind: str = "error: ") -> int:
    """Print why a command ended, also as JSON if that was wanted; returns its exit code."""
    try:
        print(f"{kind}{message}", file=sys.stderr)
        if answered:
            print(json.dumps({"error": message, "exit_code": code}))
        sys.stdout.flush()
    except OSError:  # the disk that stdout is written to is full
        _silent(code)
    return code


def _silent(code: int) -> int:
    """The exit code, after stdout, which cannot be written, has been put aside: the interpreter flushes it again."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """End a command as Ctrl-C does, so that it completes its files, if it is terminated or its terminal is closed."""

    def stop(number: int, frame: Any) -> NoReturn:
        for one in numbers:  # some programs send it twice, and a second one must not end what is being completed
            signal.signal(one, signal.SIG_IGN)
        before.clear()  # it stays ignored until the process has ended
        raise Terminated(number)

    names = ("SIGTERM", "SIGHUP") if threading.current_thread() is threading.main_thread() else ()
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers}
    for number, handler in before.items():
        if handler == signal.SIG_DFL:  # nohup ignores SIGHUP
            signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are those of this package."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        raise ParameterError(message)


def _parser(chosen: str) -> argparse.ArgumentParser:
    """The parser of all verbs; only the chosen verb's module is imported, so that none waits for another."""
    description = "Count cells in phase-contrast images, from annotated centre points."
    parser = _Parser(prog="cellcount", description=description, epilog=EXIT_CODES)
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
        name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.", epilog=EXIT_CODES
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


def given_path(text: str) -> Path:
    """The type of an argument that is a path: an empty text, as of a shell's variable without a value, is none."""
    require(text.strip(), "A path is empty. Name a file or folder; the current folder is '.'.")
    return Path(text)


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add `--device`."""
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, mps (default: auto)")


def add_json(parser: argparse.ArgumentParser, keys: str) -> None:
    """Add `--json`, for a verb that puts its answer, a dict or the parts of a text, into `arguments.answer`."""
    parser.add_argument(
        "--json", action="store_true",
        help=f"print one JSON document, and nothing else, on stdout, with the keys {keys}, exit_code; if the command "
        "fails, error and exit_code",
    )  # fmt: skip
