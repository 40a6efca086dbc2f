"""`cellcount methods`: what can run here, and what it lacks."""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """It takes none."""


def run(arguments: argparse.Namespace) -> None:
    """Print each method and its status."""
    from cellcount.methods import METHODS

    for name in METHODS:
        status = METHODS[name].status()
        print(f"{name:<18} {status.state:<14} {status.detail}")
