"""`cellcount methods`: what can run on this machine, and what is missing."""

import argparse

from cellcount.cli.tables import print_table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `cellcount methods`."""
    parser.add_argument("--verbose", action="store_true", help="print the details in full")


def run(arguments: argparse.Namespace) -> None:
    """Print each method and its status."""
    from cellcount.methods import METHODS

    rows = [(name, *METHODS[name].status()) for name in METHODS]
    print_table(("method", "state", "details"), rows, wrap=arguments.verbose)
