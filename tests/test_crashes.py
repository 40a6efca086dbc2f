"""kill -9 at twenty random moments: what is there is whole, and the same command ends with the same result."""

import json
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cellcount.cli import main
from cellcount.companion.runner.sources import root
from cellcount.data import phantom
from cellcount.files import TEMPORARY, replacing, sha256

KILLS = 20
# Kills a command, again and again, from where it was left, and counts how often. A command that has ended before its
# moment is begun anew, in an empty folder. Processes are forked, so that no time goes into importing torch.
CAMPAIGN = """
import json, os, random, shutil, signal, sys, time
import pandas, torch
from cellcount import cli
from cellcount.companion.studies import counting_benchmarks
from cellcount.methods import blobs, cellnet, resuming
from cellcount.methods.cellnet import training
from cellcount.methods.cellnet.export import export

resuming.SECONDS = 0.2
command, folder, kills = sys.argv[1:-2], sys.argv[-2], int(sys.argv[-1])

def begun():
    process = os.fork()
    if process:
        return process
    os.setsid()
    code = 1
    try:
        sys.stdout = sys.stderr = open(os.devnull, "w")
        code = cli.main(command)
    finally:
        os._exit(code)

rng, started = random.Random(0), time.monotonic()
assert os.waitpid(begun(), 0)[1] == 0, "the command fails by itself"
span, ended = time.monotonic() - started, 0
shutil.copytree(folder, folder + "-whole")
shutil.rmtree(folder)
while kills:
    process = begun()
    time.sleep(rng.random() * span)
    os.killpg(process, signal.SIGKILL) if os.path.exists(f"/proc/{process}") else None
    status = os.waitpid(process, 0)[1]
    if os.WIFSIGNALED(status):
        kills -= 1
        print("killed", flush=True)
    else:
        assert status == 0, "it failed after a kill"
        ended += 1
        shutil.rmtree(folder)
print("ended before its moment:", ended, f"span: {span:.1f} s")
sys.exit(os.waitpid(begun(), 0)[1])
"""
SPENT = ["seconds", "peak_memory_mb", "run", "commit"]  # what differs between two runs
TOY = """\
# Chapter {seed}

```{{code-cell}} ipython3
:tags: [parameters]

dataset = "phantom"
seed = 0
```

```{{code-cell}} ipython3
from cellcount import METHODS, results
from cellcount.companion import page
from cellcount.data import phantom

sample = phantom.simulate(seed=seed + {seed}, size=(128, 128))
found = METHODS["blobs"].predict(sample.image)
rows = results.rows(sample, found, tolerances=[10.0], dataset=dataset, chapter="toy", seed=seed)
results.write(rows, page.run_dir() / "rows.csv")
print(found.count)
```
"""


def campaign(tmp_path, *command):
    """The folder of a command that was killed KILLS times and then ended, and that of one that was not killed."""
    folder = tmp_path / "out"
    script = [sys.executable, "-c", CAMPAIGN, *map(str, command), str(folder), str(KILLS)]
    done = subprocess.run(script, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-3000:]
    assert done.stdout.count("killed") == KILLS
    print(done.stdout.splitlines()[-1])
    return folder, tmp_path / "out-whole"


def drawn(folder, number, side=96):
    folder.mkdir(parents=True, exist_ok=True)
    for seed in range(number):
        sample = phantom.simulate(seed=seed, size=(side, side))
        Image.fromarray((np.clip(sample.image, 0, 1) * 255).astype(np.uint8)).save(folder / f"{seed:03}.png")
        sample.points.tofile(folder / f"{seed:03}.points")
        yield seed, sample


def files(folder):
    return sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())


def hidden(folder):
    return [path for path in folder.rglob(f"{TEMPORARY}*") if path.exists()]


def table(path):
    """A table without what differs between two runs, its lines in an order."""
    frame = pd.read_csv(path)
    frame = frame.drop(columns=[name for name in SPENT if name in frame])
    return frame.sort_values([*frame.columns[:8]]).to_csv(index=False)


def test_what_a_killed_process_left_half_written_is_used_by_the_next(tmp_path):
    path = tmp_path / "a.csv"
    process = multiprocessing.get_context("fork").Process(target=_killed_while_writing, args=(path,))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL and len(hidden(tmp_path)) == 1 and not path.exists()
    with replacing(path) as temporary:
        assert temporary.read_text() == ""
        temporary.write_text("whole")
    assert path.read_text() == "whole" and hidden(tmp_path) == []


def _killed_while_writing(path):
    with replacing(path) as temporary:
        temporary.write_text("half")
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)])
def test_a_new_file_has_the_mode_of_the_umask_and_a_replaced_one_its_own(umask, mode, tmp_path):
    before = os.umask(umask)
    try:
        for name in ("new.csv", "new.csv", "shared.csv"):
            if name == "shared.csv":
                (tmp_path / name).touch()
                (tmp_path / name).chmod(0o660)
            with replacing(tmp_path / name) as temporary:
                temporary.unlink()  # as the writer of safetensors does
                temporary.touch(0o600)
    finally:
        os.umask(before)
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in ("new.csv", "shared.csv")] == [mode, 0o660]


def test_processes_that_write_the_same_file_write_whole_ones(tmp_path):
    path, context = tmp_path / "a.csv", multiprocessing.get_context("fork")
    writers = [context.Process(target=_writes, args=(path, str(number) * 10_000)) for number in range(3)]
    for writer in writers:
        writer.start()
    seen = set()
    while any(writer.is_alive() for writer in writers):
        if path.exists():
            seen.add(path.read_text())
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    assert seen and seen <= {str(number) * 10_000 for number in range(3)}
    assert list(tmp_path.iterdir()) == [path]


def _writes(path, text):
    for _ in range(200):
        with replacing(path) as temporary:
            temporary.write_text(text)


@pytest.mark.slow
def test_count(tmp_path):
    for _ in drawn(tmp_path / "plate", 150):
        pass
    out, whole = campaign(tmp_path, "count", tmp_path / "plate", "--method", "blobs", "--out", tmp_path / "out")
    assert hidden(out) == []
    assert files(out) == files(whole)
    records = [json.loads(line) for line in open(out / "records.jsonl")]
    assert len({one["name"] for one in records}) == len(records) == 150, "none was counted twice"
    for path in files(whole):
        if path.suffix == ".png" or path.parent.name == "predictions":
            assert (out / path).read_bytes() == (whole / path).read_bytes(), path
    assert table(out / "counts.csv") == table(whole / "counts.csv")
    assert main(["verify", str(out)]) == 0


@pytest.mark.slow
def test_train(tmp_path):
    points = {f"{seed:03}": sample.points for seed, sample in drawn(tmp_path / "data", 2, side=128)}
    lines = [f"{name}.png,{y},{x}" for name, given in points.items() for y, x in given]
    (tmp_path / "data" / "points.csv").write_text("\n".join(["image,y,x", *lines]))
    asked = ["-p", "steps", "24", "-p", "crop", "64", "-p", "batch", "2", "-p", "folds", "0"]
    out, whole = campaign(tmp_path, "train", tmp_path / "data", "--out", tmp_path / "out" / "w.safetensors", *asked)
    assert hidden(out) == [] and files(out) == files(whole)
    for name in ("w.safetensors", "w.onnx"):
        assert sha256(out / name) == sha256(whole / name)
    assert main(["verify", str(out / "w.safetensors")]) == 0


@pytest.mark.slow
def test_bench(tmp_path):
    (tmp_path / "mbm").mkdir()
    for seed, sample in drawn(tmp_path / "mbm", 8):
        dots = np.zeros((96, 96, 3), np.uint8)
        y, x = sample.points.round().astype(int).T
        dots[y, x, 0] = 255
        Image.fromarray(dots).save(tmp_path / "mbm" / f"{seed:03}_dots.png")
    asked = ["-p", "steps", "6", "-p", "crop", "64", "-p", "batch", "2"]
    given = ["--data", tmp_path / "mbm", "--train", "3", "--draws", "6"]
    out, whole = campaign(tmp_path, "bench", "mbm", *given, "--out", tmp_path / "out" / "mbm.csv", *asked)
    assert files(out) == files(whole) == [Path("mbm.csv")]
    assert table(out / "mbm.csv") == table(whole / "mbm.csv")


@pytest.fixture
def checkout(tmp_path):
    """A clone whose book has a preface and three chapters, as published, and the environment of its commands."""
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", root(), clone], check=True)
    book, names = clone / "book", ["01-toy", "02-toy", "03-toy"]
    for path in [*book.glob("*.md"), *book.glob("*.ipynb")]:
        path.unlink()
    (book / "00-preface.md").write_text("# Preface\n\nOnly words.\n")
    for seed, name in enumerate(names):
        (book / f"{name}.md").write_text(TOY.format(seed=seed))
    toc = {"format": "jb-book", "root": "book/00-preface", "parts": [
        {"caption": "One", "chapters": [{"file": f"book/{name}"} for name in names]}]}  # fmt: skip
    (clone / "_toc.yml").write_text(json.dumps(toc))
    (book / "profiles" / "smoke.yml").write_text("defaults: {seed: 7}\nchapters: {}\n")
    (clone / ".venv").symlink_to(Path(sys.prefix))
    environment = os.environ | {"PYTHONPATH": str(clone), "OMP_NUM_THREADS": "1"}
    publish = [sys.executable, "-m", "cellcount", "chapter", "publish"]
    subprocess.run(publish, cwd=clone, env=environment, check=True, capture_output=True)
    return clone, environment


@pytest.mark.slow
def test_make_book(checkout, tmp_path):
    clone, environment = checkout
    # The environment of this test is taken for the clone's.
    make = ["make", "-o", ".venv/installed-for-cellcount", "book", "DATA=phantom", "PROFILE=smoke"]
    log = open(tmp_path / "log", "w")

    def begun():
        return subprocess.Popen(make, cwd=clone, env=environment, stdout=log, stderr=log, start_new_session=True)

    rng, started = random.Random(0), time.monotonic()
    first = begun()
    while not (clone / "build" / "committed").exists():
        time.sleep(0.05)  # until the first has the lock
    second = subprocess.run(make, cwd=clone, env=environment, capture_output=True, text=True)
    assert second.returncode == 2 and "another make book is running in this folder" in second.stdout
    assert first.wait() == 0, (tmp_path / "log").read_text()
    span, kills = time.monotonic() - started, 0
    (clone / "build").rename(tmp_path / "whole")
    while kills < KILLS:
        process = begun()
        time.sleep(rng.random() * span / 2)  # what is done is kept, so that the end is reached, too
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            kills += 1
        process.wait()
        for notebook in (clone / "build" / "runs").rglob("*.ipynb"):
            nbformat.validate(nbformat.read(notebook, as_version=4))
        if process.returncode == 0:
            shutil.rmtree(clone / "build")
    assert begun().wait() == 0, (tmp_path / "log").read_text()
    again, whole = clone / "build", tmp_path / "whole"
    assert hidden(again) == []
    runs = [path for path in files(whole) if path.parts[0] == "runs"]
    assert [path for path in files(again) if path.parts[0] == "runs"] == runs
    tables = [path for path in runs if path.suffix == ".csv"]
    assert len(tables) == 3
    for path in tables:
        assert table(again / path) == table(whole / path)
    for path in runs:
        if path.suffix == ".ipynb":
            assert _printed(again / path) == _printed(whole / path)
    runs, site = (str(again / part / "phantom" / "smoke") for part in ("runs", "site"))
    verify = [sys.executable, "-m", "cellcount", "verify", runs, site]
    assert subprocess.run(verify, cwd=clone, env=environment).returncode == 0
    # Then somebody damages what was made.
    toys, html = again / "runs" / "phantom" / "smoke", again / "site" / "phantom" / "smoke" / "_build" / "html"
    (toys / "01-toy.ipynb").unlink()
    (toys / "02-toy.ipynb").write_text("")
    (toys / "03-toy.run.json").write_text("[]")
    (toys / "02-toy" / "rows.csv").write_text("1")
    assert begun().wait() == 0, (tmp_path / "log").read_text()
    assert subprocess.run(verify, cwd=clone, env=environment).returncode == 0
    (html / "book" / "01-toy.html").unlink()
    (html / "index.html").write_text("")
    (toys / "manifest.json").unlink()
    assert begun().wait() == 0, (tmp_path / "log").read_text()
    assert subprocess.run(verify, cwd=clone, env=environment).returncode == 0
    assert "02-toy is computed again: 02-toy" in (tmp_path / "log").read_text()
    # Then the clock was set back: what was made before is dated in the future.
    future = time.time() + 86400
    for path in [clone / "_toc.yml", *(clone / "book").glob("*.*"), *(again / "runs").rglob("*.ipynb")]:
        os.utime(path, (future, future))
    text = (clone / "book" / "02-toy.md").read_text()
    (clone / "book" / "02-toy.md").write_text(text.replace("print(found.count)", 'print("again", found.count)'))
    assert begun().wait() == 0, (tmp_path / "log").read_text()
    assert "again" in str(_printed(again / "runs" / "phantom" / "smoke" / "02-toy.ipynb"))


def _printed(path):
    cells = nbformat.read(path, as_version=4).cells
    return [output.get("text") for cell in cells for output in cell.get("outputs", [])]
