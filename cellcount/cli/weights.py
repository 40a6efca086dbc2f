"""`cellcount weights`: list and fetch the weights of other people's networks."""

import argparse
import sys


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verbs below `cellcount weights`."""
    verbs = parser.add_subparsers(required=True, metavar="VERB")

    fetch = verbs.add_parser("fetch", help="download weights into the cache, checked by their hash")
    fetch.add_argument("name", nargs="+", help="as `cellcount weights list` names them")
    fetch.set_defaults(action=_fetch)

    shown = verbs.add_parser("list", help="list the weights, and which are on this machine")
    shown.set_defaults(action=_list)


def _fetch(arguments: argparse.Namespace) -> None:
    from cellcount import registry

    entries = [
        registry.known_weights(name) for name in arguments.name
    ]  # a misspelt name stops before the first download
    for entry in entries:
        print(_described(entry), file=sys.stderr)
        print(registry.fetch_weights(entry.name))


def _list(arguments: argparse.Namespace) -> None:
    from cellcount import registry
    from cellcount.errors import DataError

    for name, entry in registry.WEIGHTS.items():
        try:
            state = "here" if registry.find_weights(name) else "not here"
        except DataError as error:
            state = str(error)
        print(f"{_described(entry)}\n    {state}")


def _described(entry):
    """One line: name, size, licence, hash, and whom to cite."""
    from cellcount.registry import megabytes

    return (
        f"{entry.name}: {megabytes(entry.bytes)}; {entry.licence}; {entry.fingerprint() or 'no hash'}; {entry.citation}"
    )
