"""`cellcount count`: images in; counts, points, overlays and one summary out."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `cellcount count`."""
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE", help="JPEG, PNG or TIFF files, or folders")
    parser.add_argument("--out", type=Path, default=Path("counts"), help="folder for the results (default: counts)")
    parser.add_argument("--method", default="cellnet", help="see `cellcount methods` (default: cellnet)")
    parser.add_argument("--weights", help="a file written by `cellcount train`, or a name; default: the method's own")
    parser.add_argument("--threshold", type=float, help="lowest score of a cell; default: the method's own")
    parser.add_argument(
        "-p", dest="parameters", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"),
        help="a parameter of the method, such as -p averaging 8; may be given several times",
    )  # fmt: skip
    parser.add_argument("--channel", default="auto", help="auto, red, green, blue or mean (default: green of RGB)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, mps (default: auto)")


def run(arguments: argparse.Namespace) -> int:
    """Count each image and write its results; one that fails does not stop the others. Returns the exit code.

    The overlay of a TIFF larger than memory is downsampled.
    """
    from tqdm import tqdm

    from cellcount.counting import Failure, counted, find_images, try_file

    params = _parameters(arguments)
    paths = find_images(arguments.images)
    found = counted(
        paths, method=arguments.method, weights=params.pop("weights", arguments.weights), channel=arguments.channel,
        device=arguments.device, **params,
    )  # fmt: skip
    try_file(arguments.out / "summary.json")
    done: list[dict[str, Any]] = []
    failed: list[dict[str, str]] = []
    names = _names(paths)
    code = 0
    quiet = len(paths) < 5 or not sys.stderr.isatty()
    for name, one in zip(names, tqdm(found, unit="image", total=len(paths), disable=quiet), strict=True):
        if isinstance(one, Failure):
            print(f"error: {one.image}: {one.error}", file=sys.stderr)
            failed.append({"image": one.image, "error": str(one.error)})
            code = one.error.exit_code
        else:
            for warning in one.warnings:
                print(f"warning: {one.image}: {warning}", file=sys.stderr)
            points, overlay = arguments.out / f"{name}-points.csv", arguments.out / f"{name}-overlay.png"
            one.to_csv(points)
            downsampled = one.save_overlay(overlay)
            written = {"points": points.name, "overlay": overlay.name, "overlay_shrunken_by": downsampled}
            done.append(one.summary() | written)
            print(f"{one.count:>8.0f}  {one.image}")
        _write_json(arguments.out / "summary.json", {"images": done, "failed": failed})
    print(f"{len(done)} of {len(paths)} images counted; points, overlays and summary.json in {arguments.out}")
    return code


def _parameters(arguments: argparse.Namespace) -> dict[str, Any]:
    """The method's parameters, `--threshold` among them, as values."""
    from cellcount.errors import needing
    from cellcount.methods import METHODS, base

    params = {} if arguments.threshold is None else {"threshold": arguments.threshold}
    if not arguments.parameters:
        return params
    with needing("methods", arguments.method):
        known = base.parameters(METHODS[arguments.method].predict)
    return params | base.from_text(arguments.method, arguments.parameters, known)


def _names(paths: list[Any]) -> list[str]:
    """One name for each image's results: its stem, and a number where two images share it."""
    names: list[str] = []
    taken: set[str] = set()
    for path in paths:
        name, n = path.stem, 1
        while name in taken:
            n += 1
            name = f"{path.stem}-{n}"
        taken.add(name)
        names.append(name)
    return names


def _write_json(path: Path, content: Any) -> None:
    from cellcount.files import replacing

    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
