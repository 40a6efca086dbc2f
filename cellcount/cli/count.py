"""`cellcount count`: images in; a folder with counts, points and overlays out."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from cellcount.cli import add_device, add_json, add_parameters, add_short_form, given_path
from cellcount.files import as_argument

if TYPE_CHECKING:
    from cellcount.results.count_folder import Counts
    from cellcount.results.groups import Group


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
    add_options(parser)
    parser.add_argument(
        "--again", action="store_true", help="count images again that were counted before with the same settings"
    )
    parser.add_argument(
        "--group", metavar="TABLE",
        help="mean count, with a 90 %% interval, of groups of images, such as the fields of a flask: a CSV with the "
        "columns image and group (and pixel_size_um, area_cm2), or the word folder, for the images in each folder",
    )  # fmt: skip
    parser.add_argument(
        "--area", type=float, metavar="CM2", help="area of the flask of each group, for cells per flask"
    )
    add_json(parser, "folder, images (as in summary.json, of this call), failed (image, error), groups, group_problems")


def add_options(parser: argparse.ArgumentParser) -> None:
    """The arguments that say how images are counted."""
    parser.add_argument("--method", default="cellnet", help="see `cellcount methods` (default: cellnet)")
    add_parameters(parser, "a parameter of the method", "averaging 8")
    add_short_form(parser, "weights", "weights file or name of bundled weights (default: the method's own)")
    add_short_form(parser, "threshold", "lowest score of a cell (default: the method's own)")
    parser.add_argument(
        "--channel", help="auto, red, green, blue or mean (default: that of dataset.toml; auto is green of RGB)"
    )
    parser.add_argument(
        "--cell-width", type=width_of, default="auto", metavar="PX",
        help="width of a cell; auto finds it in each image, none counts images as they are (default: auto)",
    )  # fmt: skip
    parser.add_argument(
        "--pixel-size", type=float, metavar="UM",
        help="micrometres along the side of a pixel, for cells per mm2 (default: that of dataset.toml)",
    )  # fmt: skip
    add_device(parser)


def width_of(text: str) -> float | str | None:
    """The type of --cell-width."""
    try:
        return {"auto": "auto", "none": None}[text] if text in ("auto", "none") else float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of px, such as 35.5, nor auto or none") from error


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
        image = str(one.image).replace("\n", "\\n")  # one line for each image, whatever it is called
        if isinstance(one, Failure):
            text = str(one.error).removeprefix(f"{one.image}: ").removeprefix(f"{Path(one.image).name}: ")
            return print(f"error: {image}: {text}", file=sys.stderr)
        for warning in one.warnings:
            print(f"warning: {image}: {warning}", file=sys.stderr)
        notes = ["counted before"] * one.kept
        scale = one.record.get("scale", 1)
        if scale != 1 and (width := one.record.get("cell_width_px")):
            done = f"enlarged {scale:.2f} times" if scale > 1 else f"reduced to {scale:.2f} of its size"
            notes.append(f"cells about {width:.0f} px wide: the image was {done} for counting")
        told = f"  ({'; '.join(notes)})" if notes else ""
        ends = one.record["count_interval"]
        ends = f" (90 %: {ends[0]:,.0f}-{ends[1]:,.0f})" if ends else ""
        print(f"{one.record['count']:>8,.0f}{ends}  {image}{told}")

    with tqdm(unit="image", delay=2, disable=not sys.stderr.isatty()) as progress:
        done = count_folder(
            arguments.images, arguments.out, again=arguments.again, channel=arguments.channel, each=show,
            group=arguments.group, area_cm2=arguments.area, method=arguments.method, device=arguments.device,
            cell_width=arguments.cell_width, pixel_size_um=arguments.pixel_size, **params,
        )  # fmt: skip
    arguments.answer = done.json()
    if lost := done.folder.lost:
        where = f"warning: {arguments.out}: left out, since neither the image nor its predictions are in the folder"
        print(f"{where}: the records of {listed(lost)}", file=sys.stderr)
    _show_groups(done)
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


def _show_groups(done: Counts) -> None:
    """Print a table of the groups, each one's notes below, and on stderr what could not be grouped."""
    for problem in done.group_problems:
        print(f"warning: {problem}", file=sys.stderr)
    if not done.groups:
        return
    from cellcount.cli.tables import print_table
    from cellcount.results.groups import ENDS

    known = {"cells per field": "mean", "per mm2": "per_mm2", "per flask": "per_flask"}
    known = {title: name for title, name in known.items() if any(getattr(one, name) is not None for one in done.groups)}

    def text(group: Group, name: str) -> str:
        value, low, high = (getattr(group, name) for name in ENDS[name])
        if value is None:
            return ""
        if value > 1e5:  # cells of a flask: three digits say all that is known
            value, low, high = (end and float(f"{end:.3g}") for end in (value, low, high))
        digits = ".3g" if value < 100 else ",.0f"
        of = "90 %" if group.counting is not None else "sampling alone"
        return f"{value:{digits}}" + ("" if low is None else f" ({of}: {low:{digits}}-{high:{digits}})")

    rows = [(one.group, one.fields, *(text(one, name) for name in known.values())) for one in done.groups]
    print_table(["group", "fields", *known], rows, wrap=True)
    for one in done.groups:
        for note in one.notes:
            print(f"{one.group}: {note}")
