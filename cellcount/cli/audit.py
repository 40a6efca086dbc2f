"""`cellcount audit`: the total of many images with an interval, from random windows that a person corrects."""

import argparse
import sys
from pathlib import Path

from cellcount.cli import add_json, add_verb, given_path
from cellcount.cli.count import add_options
from cellcount.files import as_argument

SHOWN = 20  # warnings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verbs below `cellcount audit`."""
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    make = add_verb(verbs, "make", _make, "count images, and draw random windows of them for a person to correct")
    make.add_argument(
        "images", nargs="*", type=given_path, metavar="IMAGE",
        help="as of `cellcount count`, or a folder that it wrote; none continues the audit in --out",
    )  # fmt: skip
    make.add_argument(
        "--out", type=given_path, default=Path("audit"), help="folder of the audit, which is continued (default: audit)"
    )
    make.add_argument(
        "--windows", type=int, default=20, metavar="N",
        help="windows to draw in all; those drawn before stay (default: 20)",
    )  # fmt: skip
    make.add_argument(
        "--window-size", type=int, metavar="PX", help="side of a window (default: some 40 predicted cells in each)"
    )
    make.add_argument("--seed", type=int, help="of the draw (default: 0)")
    add_options(make)
    add_json(make, "folder, windows, population, window_size, predicted, strata, drawn, failed")
    found = add_verb(verbs, "estimate", _estimate, "compute the total of all images from the corrected windows")
    found.add_argument("folder", type=Path, help="the folder of `cellcount audit make`, after the correction")
    found.add_argument("--windows", type=int, metavar="N", help="take the first N drawn windows alone (default: all)")
    found.add_argument(
        "--reviewed", action="store_true",
        help="you have looked at every window: those without a changed point are right as predicted",
    )  # fmt: skip
    found.add_argument("--level", type=float, default=0.9, help="of the interval (default: 0.9)")
    found.add_argument(
        "--pixel-size", type=float, metavar="UM", help="for cells per mm2 (default: that of the counts' dataset.toml)"
    )
    add_json(found, "those of audit-result.json")


def _make(arguments: argparse.Namespace) -> int:
    from tqdm import tqdm

    from cellcount.counting import Failure, parameters_from_text
    from cellcount.io.problems import number
    from cellcount.results import audit
    from cellcount.results.count_folder import Entry

    def show(one: Entry | Failure, total: int) -> None:
        progress.total = total
        progress.update()
        if isinstance(one, Failure):
            print(f"error: {one.image} is not in the audit: {one.error}", file=sys.stderr)
        for warning in one.warnings if isinstance(one, Entry) else ():
            print(f"warning: {one.image}: {warning}", file=sys.stderr)

    params = parameters_from_text(arguments.method, arguments.parameters) if arguments.parameters else {}
    with tqdm(unit="image", delay=2, disable=not sys.stderr.isatty()) as progress:
        made = audit.make(
            arguments.images, arguments.out, windows=arguments.windows, window=arguments.window_size,
            seed=arguments.seed, channel=arguments.channel, each=show, method=arguments.method,
            device=arguments.device, cell_width=arguments.cell_width, pixel_size_um=arguments.pixel_size, **params,
        )  # fmt: skip
    out, about, drawn = arguments.out, made.about, len(made.drawn)
    for note in made.notes[:SHOWN]:
        print(f"warning: {note}", file=sys.stderr)
    failed = made.counts.failed if made.counts else []
    arguments.answer = {
        "folder": str(out), "windows": drawn, "population": len(made.order),
        "window_size": about["settings"]["window"], "predicted": int(made.predicted.sum()),
        "strata": about["strata"], "drawn": made.drawn,
        "failed": [{"image": one.image, "error": str(one.error)} for one in failed],
    }  # fmt: skip
    cells, images = f"{made.predicted.sum():,} cells found", number(len(about["images"]), "image")
    shown = sum(one["predicted"] for one in made.drawn)
    size = about["settings"]["window"]
    print(f"{cells} in {images}, which have {len(made.order):,} windows of at most {size} x {size} px")
    print(f"{number(drawn, 'window')} drawn, with {shown:,} of these points, in {out}")
    folder, target = as_argument(out), as_argument(out / "annotations")
    print("Correct the points in the bright part of every window. Either in Label Studio, and submit each:")
    print(f"  cellcount labelstudio push {folder} --order image --url URL, later pull; or by hand: import")
    print(f"  {as_argument(out / 'labelstudio')}/tasks-*.json, and export JSON to {target}/labelstudio.json")
    print(f"Or: cellcount data convert {as_argument(out / 'predictions')} {target} --format napari  (imagej, ...),")
    print("  edit these, and give --reviewed below once you have looked at every window.")
    print(f"Then: cellcount audit estimate {folder}")
    return made.counts.exit_code if made.counts else 0


def _estimate(arguments: argparse.Namespace) -> None:
    from cellcount.results import audit

    folder = arguments.folder
    result = audit.estimate(
        folder, windows=arguments.windows, reviewed=arguments.reviewed, level=arguments.level,
        pixel_size_um=arguments.pixel_size,
    )  # fmt: skip
    arguments.answer = {"folder": str(folder)} | result.json()
    for warning in result.warnings[:SHOWN]:
        print(f"warning: {warning}", file=sys.stderr)
    for line in audit.sentences(result):
        print(line)
    print(f"Result: {folder / audit.RESULT}; the windows: {folder / audit.TABLE}")
    wide = (result.estimate.high - result.estimate.low) / 2 / max(result.estimate.total, 1)
    more = result.windows_for(audit.PRECISION)
    if wide > audit.PRECISION and more > result.estimate.windows and arguments.windows is None:
        command = f"cellcount audit make --out {as_argument(folder)} --windows {more}"
        print(f"For +-{100 * audit.PRECISION:.0f} %, some {more} windows: {command} adds to those that you corrected.")
