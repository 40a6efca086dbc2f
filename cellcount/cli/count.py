"""`cellcount count`: images in; counts, points, overlays and a summary out."""

import argparse
import itertools
import json
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from cellcount.cli import add_device, add_parameters, add_short_form
from cellcount.errors import DataError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `cellcount count`."""
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE", help="JPEG, PNG or TIFF files, or folders")
    parser.add_argument("--out", type=Path, default=Path("counts"), help="folder for the results (default: counts)")
    parser.add_argument("--method", default="cellnet", help="see `cellcount methods` (default: cellnet)")
    add_parameters(parser, "a parameter of the method", "averaging 8")
    add_short_form(parser, "weights", "weights file or name of bundled weights (default: the method's own)")
    add_short_form(parser, "threshold", "lowest score of a cell (default: the method's own)")
    parser.add_argument("--channel", default="auto", help="auto, red, green, blue or mean (default: green of RGB)")
    add_device(parser)


def run(arguments: argparse.Namespace) -> int:
    """Count each image and write its results; if one fails, the others are still counted. Returns the exit code.

    The overlay of a TIFF larger than memory is downsampled.
    """
    from tqdm import tqdm

    from cellcount.counting import Failure, counted, find_images, parameters_from_text, try_file
    from cellcount.files import replacing
    from cellcount.io.folders import OVERLAY, POINTS

    params = parameters_from_text(arguments.method, arguments.parameters) if arguments.parameters else {}
    paths = find_images(arguments.images)
    found = counted(paths, method=arguments.method, channel=arguments.channel, device=arguments.device, **params)
    summary = arguments.out / "summary.json"
    try_file(summary)
    done = _earlier(summary)
    kept = len(set(done) - {os.path.abspath(str(path)) for path in paths})
    counts = 0
    failed: list[dict[str, str]] = []
    code = 0
    quiet = len(paths) < 5 or not sys.stderr.isatty()
    for name, one in zip(_names(paths, done), tqdm(found, unit="image", total=len(paths), disable=quiet), strict=True):
        if isinstance(one, Failure):
            print(f"error: {one.image}: {one.error}", file=sys.stderr)
            failed.append({"image": one.image, "error": str(one.error)})
            code = one.error.exit_code
        else:
            for warning in one.warnings:
                print(f"warning: {one.image}: {warning}", file=sys.stderr)
            points, overlay = arguments.out / f"{name}{POINTS}", arguments.out / f"{name}{OVERLAY}"
            one.to_csv(points)
            factor = one.save_overlay(overlay)
            written = {"points": points.name, "overlay": overlay.name, "overlay_shrunken_by": factor}
            done[os.path.abspath(one.image)] = one.summary() | written
            counts += 1
            print(f"{one.count:>8.0f}  {one.image}")
        with replacing(summary) as temporary:
            temporary.write_text(
                json.dumps({"images": list(done.values()), "failed": failed}, indent=1) + "\n", encoding="utf-8"
            )
    print(f"{counts} of {len(paths)} images counted; points, overlays and summary.json in {arguments.out}")
    if kept:
        print(f"summary.json still has the counts of {kept} other image{'s' * (kept > 1)}, of earlier calls")
    return code


def _earlier(summary: Path) -> dict[str, dict[str, Any]]:
    """The counts that earlier calls have written, by the absolute path of their image."""
    if not summary.is_file():
        return {}
    try:
        counts = json.loads(summary.read_text("utf-8"))["images"]
        return {os.path.abspath(one["image"]): one for one in counts if one["points"]}
    except (ValueError, LookupError, TypeError) as error:
        raise DataError(f"{summary}: not a summary of `cellcount count`; choose another folder with --out.") from error


def _names(paths: Iterable[Any], earlier: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """One name for each image's results: its stem, with a number if another image, also of an earlier call, has it."""
    from cellcount.io.folders import POINTS

    own = {image: one["points"].removesuffix(POINTS) for image, one in earlier.items()}
    taken = {name.casefold() for name in own.values()}  # some disks do not tell a.png from A.png
    names = []
    for path in paths:
        numbered = itertools.chain([path.stem], (f"{path.stem}-{n}" for n in itertools.count(2)))
        name = own.pop(os.path.abspath(path), None) or next(name for name in numbered if name.casefold() not in taken)
        taken.add(name.casefold())
        names.append(name)
    return names
