"""`cellcount data`: check, import, fetch and list datasets."""

import argparse
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verbs below `cellcount data`."""
    verbs = parser.add_subparsers(required=True, metavar="VERB")

    check = verbs.add_parser("check", help="report every problem of a folder of images and clicks, in one pass")
    check.add_argument("folder", type=Path)
    check.set_defaults(action=_check)

    plain = verbs.add_parser("import", help="write a folder in the project's own plain format")
    plain.add_argument("folder", type=Path)
    plain.add_argument("target", type=Path, help="a new folder")
    plain.add_argument("--link", action="store_true", help="link the images and do not copy them")
    plain.set_defaults(action=_import)

    convert = verbs.add_parser("convert", help="convert annotations between the formats of other tools")
    convert.add_argument("source", type=Path, help="a file, or a folder with annotation files")
    convert.add_argument("target", type=Path, help="a new file, or a folder for formats with one image a file")
    convert.add_argument(
        "--format", help="CSV, Label Studio, COCO, VIA, labelme, QuPath, QuPath table, napari, ImageJ, CVAT, "
        "Cell Counter or dot image; default: that of the target's suffix",
    )  # fmt: skip
    convert.add_argument("--predictions", action="store_true", help="read the predictions in a file of Label Studio")
    convert.add_argument("--pixel-size-um", type=float, help="of tables in micrometres")
    convert.set_defaults(action=_convert)

    fetch = verbs.add_parser("fetch", help="download a dataset into the cache, each file checked by its SHA-256")
    fetch.add_argument("name", help="thesis or vgg-cells")
    fetch.set_defaults(action=_fetch)

    shown = verbs.add_parser("list", help="list the datasets, and what of each is on this machine")
    shown.set_defaults(action=_list)


def _check(arguments: argparse.Namespace) -> int:
    from cellcount.data.folder import check
    from cellcount.errors import DataError
    from cellcount.io.problems import errors

    problems = check(arguments.folder)
    for problem in problems:
        print(f"{problem.severity}: {problem}")
    found = errors(problems)
    warnings = len(problems) - len(found)
    print(f"{arguments.folder}: {len(found)} errors, {warnings} warnings{'' if found else '; it can be used'}")
    return DataError.exit_code if found else 0


def _import(arguments: argparse.Namespace) -> None:
    from cellcount.data.folder import import_folder

    print(import_folder(arguments.folder, arguments.target, link=arguments.link))


def _convert(arguments: argparse.Namespace) -> None:
    from cellcount.data.convert import convert

    options = {"predictions": arguments.predictions, "pixel_size_um": arguments.pixel_size_um}
    for problem in convert(arguments.source, arguments.target, arguments.format, **options):
        print(f"{problem.severity}: {problem}", file=sys.stderr)
    print(arguments.target)


def _fetch(arguments: argparse.Namespace) -> None:
    from cellcount import registry

    dataset = registry.known_dataset(arguments.name)
    print(f"{dataset.name}: {dataset.description}; licence: {dataset.licence}", file=sys.stderr)
    paths = registry.fetch_all(arguments.name)
    print(f"{len(paths)} files are here, all with the right SHA-256")


def _list(arguments: argparse.Namespace) -> None:
    from cellcount import registry

    print("phantom     simulated fields with exact centres and masks; made by code: always here")
    for name, dataset in registry.DATASETS.items():
        wanted = [known for known in dataset.files.values() if known.url]
        absent = registry.missing(name)
        print(f"{name:<11} {dataset.description}; licence: {dataset.licence}")
        print(f"            {len(wanted) - len(absent)} of {len(wanted)} files here")
        if absent:
            size = registry.megabytes(sum(known.bytes for known in absent))
            print(
                f"            missing {size}: cellcount data fetch {name}, or CELLCOUNT_DATA=FOLDER with {name}/ in it"
            )
