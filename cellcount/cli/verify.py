"""`cellcount verify`: whether results are as they were written, and come out again."""

import argparse

from cellcount import manifest
from cellcount.cli import add_device, add_json, given_path
from cellcount.results.rerun import TOLERANCE
from cellcount.results.verifying import Verified, manifests, verify

SHOWN = 20  # changes, or numbers that differ, of one result


def _share(text: str) -> float:
    """A finite number that is not negative; argparse reports others."""
    value = float(text)
    if not 0 <= value < float("inf"):
        raise ValueError
    return value


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `cellcount verify`."""
    parser.add_argument(
        "results", nargs="+", type=given_path, metavar="RESULT",
        help="folders of count, audit or make book (build/runs/..., build/site/...), or weights files of train",
    )  # fmt: skip
    parser.add_argument("--data", type=given_path, metavar="FOLDER", help="where the data are now, if elsewhere")
    parser.add_argument("--weights", type=given_path, metavar="FILE", help="where the given weights are, if elsewhere")
    parser.add_argument(
        "--rerun", action="store_true",
        help="also run the same command or chapters again, in a temporary folder, and compare the numbers",
    )  # fmt: skip
    parser.add_argument(
        "--tolerance", type=_share, default=TOLERANCE, metavar="SHARE",
        help=f"by which numbers of the new run may differ (default: {TOLERANCE})",
    )  # fmt: skip
    add_device(parser)
    add_json(
        parser, "results (each: manifest, what, checksum, files, changes, notes; of a rerun: numbers, largest, differ)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Compare, and print every changed, missing or added file; 3 if there is one, or a number differs, else 0."""
    arguments.answer, good = {"results": []}, True
    for path in dict.fromkeys(found for given in arguments.results for found in manifests(given)):
        result = verify(path, arguments.data, arguments.weights)
        checksum = manifest.checksum(result.content) if result.content else None
        told = {"manifest": str(path), "what": result.content.get("what"), "checksum": checksum}
        told |= {"files": result.files, "changes": [one._asdict() for one in result.changes]}
        _show(result, checksum)
        good = good and not result.changes
        if arguments.rerun and result.content and told["what"] != "site":
            told |= _rerun(result, arguments)
            good = good and not told["differ"]
        arguments.answer["results"].append(told | {"notes": result.notes})
        for note in result.notes:
            print(f"  {note}")
    return 0 if good else 3


def _show(result: Verified, checksum: str | None) -> None:
    state = f"{len(result.changes)} DIFFER" if result.changes else f"as written, checksum {checksum}"
    print(f"{result.path}: {result.content.get('what', 'unreadable')}, {result.files:,} files compared: {state}")
    for one in result.changes[:SHOWN]:
        print(f"  {one.change:<8} {one.kind:<10} {one.file}")
    if len(result.changes) > SHOWN:
        print(f"  and {len(result.changes) - SHOWN:,} more (--json lists all)")


def _rerun(result: Verified, arguments: argparse.Namespace) -> dict[str, object]:
    """Run again, print what differs, and return it."""
    from cellcount.results import rerun

    if result.content["what"] == "chapters":
        from cellcount.companion.runner import built

        rule, done = built.RULE, built.rerun(result, data=arguments.data, tolerance=arguments.tolerance)
    else:
        rule = rerun.RULES.get(result.content["what"], "")
        done = rerun.rerun(
            result, data=arguments.data, weights=arguments.weights, device=arguments.device,
            tolerance=arguments.tolerance,
        )  # fmt: skip
    state = f"{len(done.differ)} DIFFER" if done.differ else "none differs"
    print(f"  run again: {done.numbers:,} numbers compared, {state}; largest difference {done.largest:.2g}")
    print(f"  tolerance {arguments.tolerance:g}: {rule}")
    for line in done.differ[:SHOWN]:
        print(f"  differs  {line}")
    return {"numbers": done.numbers, "largest": done.largest, "differ": done.differ, "rule": rule}
