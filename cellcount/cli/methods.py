"""`cellcount methods`: what can run on this machine, and what is missing."""

import argparse

from cellcount.cli import add_json
from cellcount.cli.tables import print_table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `cellcount methods`."""
    parser.add_argument("--verbose", action="store_true", help="print the details in full")
    add_json(parser, "methods (name, state, details)")


def run(arguments: argparse.Namespace) -> None:
    """Print each method and its status."""
    from cellcount.methods import METHODS

    header, rows = ("method", "state", "details"), [(name, *METHODS[name].status()) for name in METHODS]
    arguments.answer = {"methods": [dict(zip(("name", *header[1:]), row, strict=True)) for row in rows]}
    print_table(header, rows, wrap=arguments.verbose)
