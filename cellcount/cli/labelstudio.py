"""`cellcount labelstudio`: correct predictions in Label Studio, by files or through its server."""

import argparse
import json
import os
import shutil
import sys
import urllib.parse
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from cellcount.cli import add_device, add_verb
from cellcount.errors import DataError, ParameterError, require
from cellcount.files import as_argument, replacing

HOME = "labelstudio"  # subfolder: the project, tasks for the import by hand, and earlier annotations
PULLED = Path("annotations", "labelstudio.json")
URL, TOKEN = "LABEL_STUDIO_URL", "LABEL_STUDIO_API_KEY"  # as in Label Studio's own packages
UPLOAD = 200e6  # bytes that Label Studio takes in one import
SHOWN = 20  # messages about images


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verbs below `cellcount labelstudio`."""
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    export = add_verb(verbs, "export", _export, "write tasks with predictions, to be imported in Label Studio by hand")
    push = add_verb(verbs, "push", _push, "send tasks with predictions to a Label Studio server, each once")
    pull = add_verb(verbs, "pull", _pull, "fetch the corrected tasks, from where they were sent, into annotations/")
    for verb in (export, push, pull):
        verb.add_argument("folder", type=Path, help="a folder that `cellcount count` wrote, or one with annotations")
    export.add_argument("tasks", type=Path, nargs="?", help=f"file to write (default: {HOME}/tasks.json in the folder)")
    for verb in (push, pull):
        verb.add_argument("--url", help=f"of the web page (default: where it was pushed before, or {URL})")
        verb.add_argument(
            "--token",
            help="your access token, which lets this command in: copy it from Account & Settings on the web page "
            f"(default: the environment variable {TOKEN}, which keeps it out of the list of commands)",
        )
    push.add_argument(
        "--project", metavar="TITLE", help="a new or existing project (default: the one pushed to before)"
    )
    for verb in (export, push):
        verb.add_argument("--first", type=int, metavar="N", help="only the first N crops (default: all)")
        verb.add_argument(
            "--order", default="doubt", choices=("doubt", "random", "image"),
            help="doubt: first those with most probable errors, for which the images are counted again (default)",
        )  # fmt: skip
        verb.add_argument("--seed", type=int, default=0, help="of the random order (default: 0)")
        verb.add_argument(
            "--views", type=int, default=1, metavar="N",
            help="of CellNet: for the doubt, also count N - 1 turned views of each image, N up to 8 (default: 1)",
        )  # fmt: skip
        verb.add_argument("--weights", help="those of the count, if they are not found")
        add_device(verb)


def _export(arguments: argparse.Namespace) -> None:
    from cellcount.io import labelstudio_tasks
    from cellcount.results.review import review, tasks

    folder, path = arguments.folder, arguments.tasks or arguments.folder / HOME / "tasks.json"
    work = review(folder)
    read = [os.path.realpath(place) for place in (folder, folder / "images", folder / "annotations")]
    require(
        os.path.realpath(path.parent) not in read,
        f"{path}: files there are read as annotations. Leave the name out, or name a file elsewhere.",
    )
    config = path.with_suffix(".xml")
    require(path.suffix.lower() == ".json", f"{path}: tasks are written to a file with the suffix .json.")
    for file in (path, config):
        free = arguments.tasks is None or not file.exists()
        require(free, f"{file} exists. Name another file for the tasks.", DataError)
    chosen = _chosen(arguments, work)[1]
    written = labelstudio_tasks.write(path, _counted(tasks(chosen, work.channel), len(chosen), "crop"))
    print(f"{_number(chosen, 'crop')} of {_number({crop.field.path for crop in chosen}, 'image')} in {path}")
    print(f"1. In Label Studio, create a project. Paste {config} in Labeling Setup, Custom template, Code.")
    print(f"2. Import {path}. Correct each crop, and submit it, also one without a cell.")
    print(f"3. Export the project as JSON (not JSON-MIN) to {folder / PULLED}.")
    print(f"Then: cellcount train {as_argument(folder)}")
    print(f"The labelling configuration, {config}:\n{labelstudio_tasks.CONFIG}", end="")
    if written > UPLOAD:
        size = f"{written / 1e6:.0f} MB are more than the {UPLOAD / 1e6:.0f} MB that Label Studio imports at once"
        print(f"warning: {size}: export fewer with --first N, or use push.", file=sys.stderr)


def _push(arguments: argparse.Namespace) -> None:
    from cellcount.io.labelstudio_tasks import CONFIG
    from cellcount.results.review import review, tasks

    folder, title = arguments.folder, arguments.project
    require(title is None or 3 <= len(title) <= 50, f"--project {title}: a title has 3 to 50 characters.")
    work, known = review(folder), _known(folder)
    server = _server(arguments, known)
    project: dict[str, Any] | None = None
    if known.get("url") == server.url and title in (None, known["title"]):
        project = server.project(known["project"])
    else:
        same = server.find_projects(title or "")  # also without a title: to try the server and the token
        several = f"{server.url} has {len(same)} projects called {title}. Rename all but one, or give another title."
        require(len(same) < 2, several, DataError)
        project = same[0] if same else None
    there = server.notes(project["id"]) if project else {}
    ordered, chosen = _chosen(arguments, work)
    if project is None:
        project = server.create_project(title or f"cellcount {folder.resolve().name}"[:50], CONFIG)
    sent = {str(note["crop"]): note.get("content") for note in there.values() if "crop" in note}
    own, names = {crop.name: crop.content for crop in ordered}, {field.path.name for field in work.fields}
    others = [name for name, content in sent.items() if name.rsplit(" ", 4)[0] in names and own.get(name) != content]
    require(
        not others,
        f"The project {project['title']} has {_number(others, 'crop')} with other predictions of these images, of an "
        "earlier count. Push to another project with --project TITLE.",
        DataError,
    )
    new = [crop for crop in chosen if crop.name not in sent]
    fields = [crop.field for crop in [*new, *(crop for crop in ordered if crop.name in sent)]]
    hashes = {field.path.name: field.record.get("predictions_sha256") for field in fields if field.record}
    _remember(folder, {"url": server.url, "project": project["id"], "title": project["title"], "sent": hashes})
    with _bar(len(new), "crop") as bar:
        for count in server.send(project["id"], tasks(new, work.channel)):
            bar.update(count)
    page = f"{server.url}/projects/{project['id']}/"
    old = len(chosen) - len(new)
    before = f"; {old} {'was' if old == 1 else 'were'} there before" if old else ""
    print(f"{_number(new, 'crop')} sent to the project {project['title']}{before}")
    print(f"Correct and submit them, also those without a cell: {page}")
    if old and len(chosen) < len(ordered):
        print(f"--first {len(chosen)} counts from the beginning: for the next crops give a larger number.")
    there = "" if _trusted(server.url) else f" --url {server.url}"
    print(f"Then: cellcount labelstudio pull {as_argument(folder)}{there}{' --token TOKEN' * bool(arguments.token)}")
    if arguments.token:
        print(f"Or once, to leave --token out: export {TOKEN}=TOKEN")


def _pull(arguments: argparse.Namespace) -> None:
    from cellcount.io.folders import files_of, images_of
    from cellcount.io.labelstudio_tasks import annotated, without_pixels
    from cellcount.io.problems import listed, raise_errors
    from cellcount.results.review import other_points

    folder, known = arguments.folder, _known(arguments.folder)
    require(
        known, f"{folder} was not sent to a server yet: cellcount labelstudio push {as_argument(folder)}", DataError
    )
    server = _server(arguments, known)
    server.project(known["project"])
    images = {path.name for path in images_of(files_of(folder))}
    every = [without_pixels(task) for part in server.export(known["project"]) for task in part]
    tasks = [task for task in every if task["data"].get("source") in images]
    crops, done = Counter(task["data"]["source"] for task in tasks), annotated(tasks)
    drafts = [task for task in tasks if task.get("drafts")]
    if len(tasks) < len(every):
        left = len(every) - len(tasks)
        shows = f"shows no image of {folder} and is" if left == 1 else f"show no image of {folder} and are"
        print(f"warning: {_number(left, 'task')} {shows} left out", file=sys.stderr)
    require(
        done,
        f"None of the {_number(tasks, 'crop')} was submitted ({_number(drafts, 'draft')}): correct and submit them at "
        f"{server.url}/projects/{known['project']}/. Nothing was written.",
        DataError,
    )
    target = folder / PULLED
    require(
        not target.parent.exists() or target.parent.is_dir(),
        f"{target.parent} is a file: move it or give it another name; the corrections come into a folder of this name.",
        DataError,
    )
    others = other_points(folder, [task for task in tasks if annotated([task])])
    if others:
        with replacing(folder / HOME / "pulled.json") as temporary:
            temporary.write_text(json.dumps(tasks), "utf-8")
        raise DataError(
            f"{_number(others, 'corrected crop')} had been sent with other predictions than {folder / 'predictions'} "
            f"has now: {listed(dict.fromkeys(others))}. Count these images with the former settings and weights again, "
            f"with --out {folder}, then pull. What was pulled is in {folder / HOME / 'pulled.json'}; {target} was not "
            "changed."
        )
    _keep_vanished(target, done, folder / HOME)
    _write_checked(target, tasks)
    submitted = Counter(image for image, *_ in done)
    skipped = Counter(
        task["data"]["source"] for task in tasks if any(one.get("was_cancelled") for one in task["annotations"])
    )
    pending = Counter(task["data"]["source"] for task in drafts)
    wrong, sentences = _compared(folder)
    for image in (image for image in crops if submitted[image]):
        parts = {"submitted": submitted, "skipped": skipped, "with changes that are not submitted": pending}
        state = ", ".join(f"{count[image]} {what}" for what, count in parts.items() if count[image])
        print(f"{image}: {state} of {_number(crops[image], 'crop')}. {sentences.get(image, '')}".rstrip())
    print(f"{_number(len(done), 'corrected crop')} of {_number(submitted, 'image')} in {target}")
    raise_errors(wrong, f"{target} was written, but {folder} cannot be used yet:")
    print(f"Then: cellcount train {as_argument(folder)}")


def _chosen(arguments: argparse.Namespace, work: Any) -> tuple[list[Any], list[Any]]:
    """All crops in their order, and those that `--first` leaves; prints what was left out."""
    from cellcount.results.review import crops

    require(arguments.first is None or arguments.first > 0, f"--first {arguments.first}: give a positive number.")
    views, order = arguments.views, arguments.order
    require(views == 1 or order == "doubt", f"--views {views} is for the order by doubt, not for --order {order}.")
    options = {name: getattr(arguments, name) for name in ("order", "seed", "views", "weights", "device")}
    ordered = crops(work, progress=sys.stderr.isatty(), **options)
    for note in work.notes[:SHOWN]:
        print(f"warning: {note}", file=sys.stderr)
    return ordered, ordered[: arguments.first]


def _server(arguments: argparse.Namespace, known: Mapping[str, Any]) -> Any:
    from cellcount.io.labelstudio_server import Server

    url = arguments.url or known.get("url") or os.environ.get(URL)
    token = arguments.token or os.environ.get(TOKEN)
    if not url:
        raise ParameterError(f"Where is Label Studio? Give --url, such as http://localhost:8080, or set {URL}.")
    if not token:
        raise ParameterError(f"Give --token, or set {TOKEN}: a token of Account & Settings on {url}.")
    require(
        arguments.url or _trusted(url),
        f"The folder names the server {url}, and your token would be sent there. If you know it: --url {url}, or set "
        f"{URL}.",
    )
    return Server(url, token.strip())


def _trusted(url: str) -> bool:
    """Whether a token may be sent to an address in a folder, which others may have made: here, or where URL says."""
    from cellcount.io.labelstudio_server import LOCAL

    host = urllib.parse.urlsplit(url).hostname
    return host in LOCAL or url.rstrip("/") == os.environ.get(URL, "").rstrip("/")


def _known(folder: Path) -> dict[str, Any]:
    """Where the folder was pushed: url, project (its number) and title; {} if it was not."""
    path = folder / HOME / "project.json"
    if not path.is_file():
        return {}
    try:
        known = json.loads(path.read_text("utf-8"))
        return {"url": str(known["url"]), "project": int(known["project"]), "title": str(known["title"])}
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise DataError(f"{path} cannot be read; remove it, and push with --project TITLE.") from error


def _remember(folder: Path, project: Mapping[str, Any]) -> None:
    with replacing(folder / HOME / "project.json") as temporary:
        temporary.write_text(json.dumps(project, indent=1) + "\n", "utf-8")


def _write_checked(target: Path, tasks: Iterable[Mapping[str, Any]]) -> None:
    """Write tasks as an annotation file, if they can be read."""
    from dataclasses import replace

    from cellcount.io.points import read
    from cellcount.io.problems import raise_errors

    with replacing(target) as temporary:
        temporary.write_text(json.dumps(list(tasks)), "utf-8")
        problems = [replace(one, file=target.name) for one in read(temporary)[1] if one.kind != "ls-annotators"]
        raise_errors(problems, f"The annotations cannot be used, and {target} was not changed:")


def _keep_vanished(target: Path, done: set[tuple[str, int, int]], home: Path) -> None:
    """Keep the annotations of the last pull, if some of them are not in the project any more."""
    from cellcount.io.labelstudio_tasks import annotated

    if not target.exists():
        return
    try:
        former = annotated(json.loads(target.read_text("utf-8")))
        vanished = f"{_number(former - done, 'crop')} of the last pull without an annotation now"
    except (ValueError, AttributeError, LookupError, TypeError, RecursionError):
        former, vanished = {("", 0, 0)}, f"{target} cannot be read"
    if former - done:
        home.mkdir(exist_ok=True)
        kept = next(path for n in range(1, 10**6) if not (path := home / f"annotations-{n}.json").exists())
        shutil.copyfile(target, kept)
        print(f"warning: {vanished}; the former file is kept as {kept}", file=sys.stderr)


def _compared(folder: Path) -> tuple[list[Any], dict[str, str]]:
    """The errors of a folder, and for each image what was done to its points, if there are none; prints warnings."""
    from cellcount.data import corrections
    from cellcount.data.survey import survey
    from cellcount.io.points import role
    from cellcount.io.problems import errors

    found = survey(folder)
    told = ("ls-drafts", "ls-cancelled", "ls-crops")  # counted for each image
    warnings = [one for one in found.problems if one.severity != "error" and one.kind not in told]
    for problem in warnings[:SHOWN]:
        print(f"warning: {problem}", file=sys.stderr)
    wrong = errors(found.problems)
    sentences = {}
    for stem, done in () if wrong else found.provenance.items():
        marks = [role(mark.label, found.settings.labels) for one in found.annotations[stem] for mark in one.points]
        nouns = {"dead": "dead cell", "background": "background point"}
        others = ", ".join(_number(marks.count(name), noun) for name, noun in nouns.items() if name in marks)
        sentence = corrections.sentence("Points", done)
        sentences[found.images[stem].name] = f"{sentence}; also marked: {others}" if others else sentence
    return wrong, sentences


def _number(things: Any, noun: str) -> str:
    from cellcount.io.problems import number

    return number(things if isinstance(things, int) else len(things), noun)


def _bar(total: int, unit: str) -> Any:
    from tqdm import tqdm

    return tqdm(total=total, unit=unit, disable=not sys.stderr.isatty())


def _counted(things: Iterable[Any], total: int, unit: str) -> Iterable[Any]:
    with _bar(total, unit) as bar:
        for thing in things:
            yield thing
            bar.update()
