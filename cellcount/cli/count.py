"""`cellcount count`: images in; a folder with counts, points and overlays out."""

import argparse
import sys
from pathlib import Path

from cellcount.cli import add_device, add_json, add_parameters, add_short_form, given_path
from cellcount.files import as_argument


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `cellcount count`."""
    parser.add_argument(
        "images", nargs="+", type=given_path, metavar="IMAGE",
        help='JPEG, PNG or TIFF files, folders, or patterns ("*.png")',
    )  # fmt: skip
    parser.add_argument(
        "--out", type=given_path, default=Path("counts"),
        help="folder for the results, a data set of the counted images, which is added to (default: counts)",
    )  # fmt: skip
    parser.add_argument("--method", default="cellnet", help="see `cellcount methods` (default: cellnet)")
    add_parameters(parser, "a parameter of the method", "averaging 8")
    add_short_form(parser, "weights", "weights file or name of bundled weights (default: the method's own)")
    add_short_form(parser, "threshold", "lowest score of a cell (default: the method's own)")
    parser.add_argument(
        "--channel", help="auto, red, green, blue or mean (default: that of dataset.toml; auto is green of RGB)"
    )
    parser.add_argument(
        "--again", action="store_true", help="count images again that were counted before with the same settings"
    )
    add_device(parser)
    add_json(parser, "folder, images (as in summary.json, of this call), failed (image, error)")


def run(arguments: argparse.Namespace) -> int:
    """Count each image and write its results; if one fails, the others are still counted. Returns the exit code.

    The overlay of a TIFF larger than memory is downsampled.
    """
    from tqdm import tqdm

    from cellcount.counting import Failure, parameters_from_text
    from cellcount.io.folders import skipped
    from cellcount.io.problems import listed
    from cellcount.results.count_folder import Entry, count_folder
    from cellcount.results.count_images import PREDICTIONS
    from cellcount.results.count_records import TABLE

    params = parameters_from_text(arguments.method, arguments.parameters) if arguments.parameters else {}
    for problem in skipped(arguments.images):
        print(f"warning: {problem}", file=sys.stderr)

    def show(one: Entry | Failure, total: int) -> None:
        progress.total = total
        progress.update()
        if isinstance(one, Failure):
            text = str(one.error).removeprefix(f"{one.image}: ").removeprefix(f"{Path(one.image).name}: ")
            return print(f"error: {one.image}: {text}", file=sys.stderr)
        for warning in one.warnings:
            print(f"warning: {one.image}: {warning}", file=sys.stderr)
        print(f"{one.record['count']:>8.0f}  {one.image}{'  (counted before)' * one.kept}")

    with tqdm(unit="image", delay=2, disable=not sys.stderr.isatty()) as progress:
        done = count_folder(
            arguments.images, arguments.out, again=arguments.again, channel=arguments.channel, each=show,
            method=arguments.method, device=arguments.device, **params,
        )  # fmt: skip
    arguments.answer = done.json()
    if lost := done.folder.lost:
        where = f"warning: {arguments.out}: left out, since neither the image nor its predictions are in the folder"
        print(f"{where}: the records of {listed(lost)}", file=sys.stderr)
    out, kept, others = arguments.out, done.kept, len(done.folder.index) - len(done.names)
    print(f"{done.counted + kept} of {done.counted + kept + len(done.failed)} images counted; results in {out}")
    if done.twice:
        print(f"{done.twice} of the images were given more than once")
    if kept:
        print(f"{kept} of them before, with these settings; --again counts them again")
    if others:
        earlier = [known for name, known in done.folder.index.items() if name not in set(done.names)]
        unlike = sum(known.run != done.folder.key for known in earlier)
        which = f"; {unlike} of them counted with other settings, see {out / TABLE}" if unlike else ""
        print(f"{out} also has the counts of {others} other image{'s' * (others > 1)}, of earlier calls{which}")
    if done.names and any((out / PREDICTIONS).iterdir()):
        folder = as_argument(out)
        table, target = as_argument(out / PREDICTIONS), as_argument(out / "annotations")
        print(f"To correct points in Label Studio: cellcount labelstudio push {folder} --url URL")
        print(f"  or: cellcount data convert {table} {target} --format napari  (imagej, qupath, ...), and edit these")
        print(f"  then: cellcount train {folder}")
    return done.exit_code
