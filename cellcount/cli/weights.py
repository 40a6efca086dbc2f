"""`cellcount weights`: list and fetch third-party pretrained weights."""

import argparse
import sys

from cellcount.cli import add_verb
from cellcount.cli.tables import print_entries


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verbs below `cellcount weights`."""
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    fetch = add_verb(verbs, "fetch", _fetch, "download weights into the cache, verified by their hash")
    fetch.add_argument("name", nargs="+", help="a name in `cellcount weights list`")
    listing = add_verb(verbs, "list", _list, "list the weights, and which are on this machine")
    listing.add_argument("--verbose", action="store_true", help="add hash, citation, and path or source")


def _fetch(arguments):
    from cellcount import registry

    # Names are checked before the first download.
    for entry in [registry.known_weights(name) for name in arguments.name]:
        about = (entry.name, registry.megabytes(entry.bytes), entry.licence, entry.fingerprint() or "no hash")
        print(*about, entry.citation, sep="; ", file=sys.stderr)
        print(registry.fetch_weights(entry.name))


def _list(arguments):
    from cellcount import registry
    from cellcount.errors import DataError

    entries = {}
    for name, entry in registry.WEIGHTS.items():
        try:
            path = registry.find_weights(name)
            state, place = "here" if path else "missing", str(path or f"to get them, {registry.ways_to_weights(name)}")
        except DataError as error:
            state, place = "refused", str(error)
        entries[name] = {
            "size": registry.megabytes(entry.bytes), "licence": entry.licence, "state": state,
            "hash": entry.fingerprint() or "none is published", "citation": entry.citation, "place": place,
        }  # fmt: skip
    print_entries(entries, ("size", "licence", "state"), verbose=arguments.verbose)
