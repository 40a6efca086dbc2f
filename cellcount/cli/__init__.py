"""The command line: `cellcount --help`."""

import argparse
import sys

from cellcount.cli import bench, count, data, doctor, train, weights
from cellcount.errors import CellcountError
from cellcount.runner import __main__ as chapter

EXIT_CODES = "exit codes: 0 done, 1 failed, 2 wrong call, 3 data cannot be used, 4 something must be fetched first"


def main(argv=None):
    """Exit code (int) of the command line; `argv` defaults to the process's arguments."""
    arguments = _parser().parse_args(argv)
    try:
        return arguments.action(arguments) or 0
    except CellcountError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("stopped; what was written before is complete", file=sys.stderr)
        return 130


def _parser():
    parser = argparse.ArgumentParser(
        prog="cellcount", description="Count cells in phase-contrast images, from clicks at their centres.",
        epilog=EXIT_CODES,
    )  # fmt: skip
    verbs = parser.add_subparsers(required=True, metavar="VERB")

    def verb(name, module, summary, action=None):
        added = verbs.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
        module.add_arguments(added)
        if action:
            added.set_defaults(action=action)

    verb("count", count, "count the cells of images with weights that are at hand", count.run)
    verb("train", train, "train CellNet on annotated images", train.run)
    verb("run", chapter, "run a chapter of the book on any dataset", chapter.run)
    verb("bench", bench, "compute a benchmark or a controlled experiment, training many times")
    verb("data", data, "check, import, fetch and list datasets")
    verb("weights", weights, "list and fetch the weights of other people's networks")
    verb("methods", doctor.Methods, "list every method and whether it can run here", doctor.methods)
    verb("doctor", doctor.Doctor, "say what this machine has, and what a build here would compute", doctor.doctor)
    return parser
