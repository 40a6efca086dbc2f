"""`cellcount count`: images in; counts, points, overlays and a summary out."""

import argparse
import itertools
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cellcount.cli import add_device, add_parameters, add_short_form


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

    params = parameters_from_text(arguments.method, arguments.parameters) if arguments.parameters else {}
    paths = find_images(arguments.images)
    found = counted(paths, method=arguments.method, channel=arguments.channel, device=arguments.device, **params)
    summary = arguments.out / "summary.json"
    try_file(summary)
    done: list[dict[str, Any]] = []
    failed: list[dict[str, str]] = []
    code = 0
    quiet = len(paths) < 5 or not sys.stderr.isatty()
    for name, one in zip(_names(paths), tqdm(found, unit="image", total=len(paths), disable=quiet), strict=True):
        if isinstance(one, Failure):
            print(f"error: {one.image}: {one.error}", file=sys.stderr)
            failed.append({"image": one.image, "error": str(one.error)})
            code = one.error.exit_code
        else:
            for warning in one.warnings:
                print(f"warning: {one.image}: {warning}", file=sys.stderr)
            points, overlay = arguments.out / f"{name}-points.csv", arguments.out / f"{name}-overlay.png"
            one.to_csv(points)
            factor = one.save_overlay(overlay)
            written = {"points": points.name, "overlay": overlay.name, "overlay_shrunken_by": factor}
            done.append(one.summary() | written)
            print(f"{one.count:>8.0f}  {one.image}")
        with replacing(summary) as temporary:
            temporary.write_text(json.dumps({"images": done, "failed": failed}, indent=1) + "\n", encoding="utf-8")
    print(f"{len(done)} of {len(paths)} images counted; points, overlays and summary.json in {arguments.out}")
    return code


def _names(paths: Iterable[Any]) -> list[str]:
    """One name for each image's results: its stem, and a number if two images share it."""
    taken: dict[str, None] = {}
    for path in paths:
        numbered = itertools.chain([path.stem], (f"{path.stem}-{n}" for n in itertools.count(2)))
        taken[next(name for name in numbered if name not in taken)] = None
    return list(taken)
