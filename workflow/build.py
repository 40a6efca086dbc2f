"""`make book`: show the committed book, compute every chapter that is out of date, and show the book of this run.

python workflow/build.py [--data DATA] [--profile PROFILE] [--pdf]
"""

import argparse
import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

import yaml
from render import PDF, is_whole, render

from cellcount import manifest
from cellcount.companion.runner.sources import chapters, dataset, root, site, slug
from cellcount.companion.runner.staleness import damaged, record_of, run_key
from cellcount.errors import CellcountError, DataError
from cellcount.files import as_argument

POLL_SECONDS = 2.0


def say(text):
    print(text, flush=True)


def span(seconds):
    """A time as text: 45 s, 3 min, 1 h 20 min."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


class Progress:
    """Prints a line for each chapter that is done, with an estimate of the time that the others need.

    It rests on the processor seconds that the profile lists for each chapter, and on the pace of the chapters so far.
    """

    def __init__(self, stale, total, seconds):
        self.waiting = {path.stem: path for path in stale}
        self.done = total - len(stale)
        self.total = total
        self.seconds = seconds
        self.started = time.monotonic()
        self.expected = self.left = sum(self.cost(stem) for stem in self.waiting)

    def cost(self, stem):
        return self.seconds.get(stem, self.seconds.get("default", 30))

    def look(self):
        """Print what has become ready since the last look."""
        for stem in [stem for stem, path in self.waiting.items() if path.is_file()]:
            self.waiting.pop(stem)
            self.done += 1
            self.left -= self.cost(stem)
            elapsed = time.monotonic() - self.started
            pace = elapsed / max(self.expected - self.left, 1)
            rest = f"about {span(pace * self.left)} left" if self.waiting else "all chapters are computed"
            say(f"[{self.done:>2} of {self.total}] {stem:<17} {span(elapsed)} elapsed, {rest}")


def date_back(files):
    """Give files that a clock has dated in the future the present time: what is made of them must not be older."""
    now = time.time()
    for file in files:
        if file.stat().st_mtime > now:
            os.utime(file, (now, now))


def book(data, profile, pdf):
    """Build the book; the exit code (int)."""
    name, reason = dataset(data)
    if name != data:
        say(f"data: {name} ({reason})")
    started = time.monotonic()
    committed = render(root() / "book", root() / "build" / "committed")
    say(f"committed book: {committed} ({span(time.monotonic() - started)})")
    content = yaml.safe_load((root() / "book" / "profiles" / f"{profile}.yml").read_text())
    run = root() / "build" / "runs" / slug(name) / profile
    stale = []
    for source in chapters():
        notebook = run / f"{source.stem}.ipynb"
        record, changed = record_of(notebook), damaged(notebook)
        if changed:
            say(f"{source.stem} is computed again: {', '.join(changed)} missing or changed since")
        if record is None or changed or run_key(source, notebook, data=name, profile=profile) != record["key"]:
            stale.append(notebook)
            notebook.unlink(missing_ok=True)  # Snakemake would keep it where its own records are lost
    page = site(name, profile)
    place = page.parents[2]
    try:
        manifest.read(run / manifest.NAME)
        whole = is_whole(place)
    except DataError:
        whole = False
    if not whole:  # Snakemake looks at times only
        for file in (page, place / "rendered.sha256"):
            file.unlink(missing_ok=True)
    pages = [*root().glob("*.yml"), *(root() / "book").rglob("*.*"), *(root() / "workflow").glob("*.py")]
    with contextlib.suppress(PermissionError):  # of a checkout that may not be written
        date_back([*run.glob("*.ipynb"), *pages])
    seconds = content.get("seconds", {})
    progress = Progress(stale, len(chapters()), seconds)
    if stale:
        pace = f", about {span(progress.left / 2)} on 2 cores without a GPU" if seconds else ""
        pace += " if the images are simulated ones" if seconds and name != "phantom" else ""
        say(f"computing {len(stale)} of {progress.total} chapters on {name}, profile {profile}{pace}")
    command = [
        Path(sys.executable).with_name("snakemake"), "--snakefile", "workflow/Snakefile",
        "--workflow-profile", "workflow/profiles/default",
        "--config", f"data={name}", f"profile={profile}", f"pdf={int(pdf)}",
    ]  # fmt: skip
    engine = subprocess.Popen([str(part) for part in command], cwd=root())
    try:
        while engine.poll() is None:
            time.sleep(POLL_SECONDS if progress.waiting else 0.2)
            progress.look()
    except KeyboardInterrupt:
        engine.wait()  # it has got the signal as well, and stops its jobs
        raise
    progress.look()
    if engine.returncode or progress.waiting:
        lacking = ", ".join(progress.waiting)
        reason = f"not computed: {lacking}; " if lacking else ""
        say(f"error: the build stopped; {reason}what was computed is kept, and `make book` goes on from there.")
        return 1
    if pdf:
        say(f"PDF:  {page.with_name(PDF)}")
    say(f"book of this run: {page}")
    folders = " ".join(as_argument(path.relative_to(root())) for path in (run, place))
    say(f"what it was computed by: {manifest.NAME} in both folders; to check them: cellcount verify {folders}")
    return 0


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="auto")
    parser.add_argument("--profile", default="laptop")
    parser.add_argument("--pdf", action="store_true")
    arguments = parser.parse_args(argv)
    try:
        return book(arguments.data, arguments.profile, arguments.pdf)
    except CellcountError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("stopped; finished chapters are kept", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
