"""`cellcount data`: check, import, convert, fetch and list data sets."""

import argparse
import sys

from cellcount.cli import add_json, add_verb, given_path
from cellcount.cli.tables import print_entries


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verbs below `cellcount data`."""
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    check = add_verb(verbs, "check", _check, "report every problem of a folder of annotated images, in one pass")
    plain = add_verb(verbs, "import", _import, "write a folder of annotated images in the project's plain format")
    for parser in (check, plain):
        parser.add_argument(
            "folder", type=given_path, help="images, and an annotation file in any of the known formats"
        )
    keys = "folder, errors, warnings, usable, problems (kind, severity, file, where, what, todo), corrected (by image)"
    add_json(check, keys)
    plain.add_argument("target", type=given_path, help="a new folder")
    plain.add_argument("--link", action="store_true", help="make symbolic links to the images instead of copies")
    convert = add_verb(verbs, "convert", _convert, "convert annotations between the formats of other tools")
    convert.add_argument("source", type=given_path, help="a file, or a folder with annotation files")
    convert.add_argument("target", type=given_path, help="a new file, or a folder for formats with one image a file")
    convert.add_argument(
        "--format", help="CSV, Label Studio, COCO, VIA, labelme, QuPath, QuPath table, napari, ImageJ, CVAT, "
        "Cell Counter or dot image; default: that of the target's suffix",
    )  # fmt: skip
    convert.add_argument("--predictions", action="store_true", help="read the predictions in a file of Label Studio")
    convert.add_argument("--pixel-size-um", type=float, help="of tables in micrometres")
    fetch = add_verb(verbs, "fetch", _fetch, "download a data set into the cache, each file verified by its SHA-256")
    fetch.add_argument("name", help="a name of `cellcount data list`")
    listing = add_verb(verbs, "list", _list, "list the data sets, and which files are on this machine")
    listing.add_argument("--verbose", action="store_true", help="add citation, and how to get missing files")


def _check(arguments):
    from cellcount.data.corrections import sentence
    from cellcount.data.survey import survey
    from cellcount.errors import DataError
    from cellcount.io.problems import errors, number, shown

    surveyed = survey(arguments.folder)
    problems = surveyed.problems
    corrected = {surveyed.images[stem].name: done for stem, done in surveyed.provenance.items()}
    for image, done in corrected.items():
        print(sentence(image, done))
    print(*shown(problems), sep="\n", end="\n" * bool(problems))
    found = errors(problems)
    warnings = len(problems) - len(found)
    arguments.answer = {
        "folder": str(arguments.folder), "errors": len(found), "warnings": warnings, "usable": not found,
        "problems": [vars(problem) for problem in problems], "corrected": corrected,
    }  # fmt: skip
    counted = f"{number(len(found), 'error')}, {number(warnings, 'warning')}"
    print(f"{arguments.folder}: {counted}{'' if found else '; it can be used'}")
    return DataError.exit_code if found else 0


def _import(arguments):
    from cellcount.data.folder import import_folder

    print(import_folder(arguments.folder, arguments.target, link=arguments.link))


def _convert(arguments):
    from cellcount.data.convert import convert

    options = {"predictions": arguments.predictions, "pixel_size_um": arguments.pixel_size_um}
    for problem in convert(arguments.source, arguments.target, arguments.format, **options):
        print(f"{problem.severity}: {problem}", file=sys.stderr)
    print(arguments.target)


def _fetch(arguments):
    from cellcount import registry

    dataset = registry.known_dataset(arguments.name)
    print(f"{arguments.name}: {dataset.description}; licence: {dataset.licence}", file=sys.stderr)
    paths = registry.fetch_all(arguments.name)
    state = f"{len(paths)} files are on this machine, all with the right SHA-256"
    print(state if dataset.files else f"{arguments.name} is simulated: there is nothing to fetch")


def _list(arguments):
    from cellcount import registry

    entries = {}
    for name, dataset in registry.DATASETS.items():
        known, absent = [file for file in dataset.files.values() if file.url], registry.missing(name)
        size = registry.megabytes(sum(file.bytes for file in absent))
        entries[name] = {
            "files here": f"{len(known) - len(absent)} of {len(known)}" if known else "simulated",
            "missing": size if absent else "",
            "licence": dataset.licence,
            "content": dataset.description,
            "citation": dataset.citation,
            "to get it": f"cellcount data fetch {name}, or CELLCOUNT_DATA=FOLDER with {name}/ in it" if absent else "",
        }
    print_entries(entries, ("files here", "missing", "licence", "content"), verbose=arguments.verbose)
