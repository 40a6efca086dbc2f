"""The student's loop through a real Label Studio server: count, push, correct, pull, train, count again.

The server is the program that CELLCOUNT_LABEL_STUDIO names (PATH/bin/label-studio). Without that variable, Label Studio
is installed from PyPI into an environment of its own in the cache folder, which takes 7 minutes and a gigabyte, once.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from labelstudio_stand_in import TOKEN, edited
from PIL import Image

from cellcount import count, load, match
from cellcount.cli import main
from cellcount.data import phantom
from cellcount.io.crops import inside
from cellcount.io.points import read
from cellcount.registry.fetch import cache_root
from cellcount.results.review import crops, review

VERSION = "1.23.2"
PROGRAM = os.environ.get("CELLCOUNT_LABEL_STUDIO")
STARTED = 600  # s; it creates its data base first


def write(image, path):
    Image.fromarray(np.rint(image * 255).astype(np.uint8)).save(path)


# ---- doubt


@pytest.mark.slow
def test_the_most_doubtful_crops_have_the_most_errors(tmp_path):
    """On simulated fields of every density, with the bundled weights: errors per crop against those in random order."""
    (tmp_path / "in").mkdir()
    true = {}
    for number, confluence in enumerate((0.4, 0.55, 0.7, 0.8, 0.9, 1.0)):
        further = phantom.CONFLUENT if confluence == 1 else {}
        sample = phantom.simulate(seed=(15, number), size=(768, 768), confluence=confluence, **further)
        write(sample.image, tmp_path / "in" / f"{number}.png")
        true[f"{number}.png"] = sample.points
    assert main(["count", str(tmp_path / "in"), "--out", str(tmp_path / "F")]) == 0
    work = review(tmp_path / "F")
    wrong = {}
    for field in work.fields:
        found = np.array([mark.position for mark in field.found.points], np.float32)
        matched = match(true[field.path.name], found, tolerance=12).pairs
        pairs = zip((true[field.path.name], found), matched.T, strict=True)
        wrong[field.path.name] = np.concatenate([np.delete(points, used, axis=0) for points, used in pairs])

    def errors(order, **options):
        ordered = crops(work, order=order, progress=False, **options)
        return np.array([inside(wrong[crop.field.path.name], crop.core).sum() for crop in ordered])

    ordered = {"1 view": errors("doubt"), "8 views": errors("doubt", views=8)}
    random = np.mean([errors("random", seed=seed) for seed in range(200)], axis=0)
    assert work.notes == [] and len(random) == 24
    for name, found in ordered.items():
        assert found.sum() == pytest.approx(random.sum())
        gains = {k: found[:k].sum() / random[:k].sum() for k in (3, 6, 12)}
        best = {k: np.sort(found)[::-1][:k].sum() / random[:k].sum() for k in gains}
        print(f"{name}, {found.sum()} errors: in the first 3, 6 and 12 of 24 crops {gains}; at best {best}")
        assert gains[3] > 1.3 and gains[6] > 1.15 and gains[12] > 1.07


# ---- the server


def program():
    """Path of the label-studio program; installed first if the environment names none."""
    if PROGRAM:
        assert Path(PROGRAM).is_file(), f"CELLCOUNT_LABEL_STUDIO={PROGRAM}: there is no such program"
        return Path(PROGRAM)
    home = cache_root() / f"label-studio-{VERSION}"
    if not (home / "complete").exists():
        print(f"Installing label-studio {VERSION} into {home}: 7 minutes, 1 GB", file=sys.stderr, flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", home], check=True)
        pip = [home / "bin" / "pip", "install", "--quiet", f"label-studio=={VERSION}"]
        installed = subprocess.run(pip, capture_output=True, text=True, check=False)
        if installed.returncode:
            pytest.skip(f"Label Studio could not be installed, is there a network? {installed.stderr[-500:]}")
        (home / "complete").touch()
    return home / "bin" / "label-studio"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The address of a server with its own data, and the Python beside it; it is stopped with all that it started."""
    home, path = tmp_path_factory.mktemp("label-studio"), program()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {
        "LABEL_STUDIO_BASE_DATA_DIR": str(home), "LABEL_STUDIO_COLLECT_ANALYTICS": "false",
        "LABEL_STUDIO_LATEST_VERSION_CHECK": "false", "SENTRY_DSN": "", "FRONTEND_SENTRY_DSN": "",
    }  # fmt: skip
    command = [
        path, "start", "--no-browser", "--internal-host", "127.0.0.1", "--port", str(port), "--user-token", TOKEN,
        "--username", "student@localhost.org", "--password", "correct-me-15", "--enable-legacy-api-token",
    ]  # fmt: skip
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | settings
    with open(home / "log", "w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd=home, start_new_session=True)
        try:
            url = f"http://127.0.0.1:{port}"
            end = time.monotonic() + STARTED
            while not answers(url):
                assert process.poll() is None and time.monotonic() < end, (home / "log").read_text()[-2000:]
                time.sleep(1)
            yield url, path.with_name("python")
        finally:
            for kind in (signal.SIGTERM, signal.SIGKILL):
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, kind)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(20)


def answers(url):
    try:
        return "release" in ask(url, "GET", "/api/version")
    except OSError:
        return False


def ask(url, method, path, body=None):
    headers = {"Authorization": f"Token {TOKEN}", "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url + path, data, headers, method=method)
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as answer:
        return json.loads(answer.read() or "null")


CHECK = """
import json, sys
from label_studio_sdk.label_interface import LabelInterface
interface = LabelInterface(open(sys.argv[2]).read())
interface.validate()
tasks = json.load(open(sys.argv[1]))
wrong = [interface.validate_prediction(one, return_errors=True) for task in tasks for one in task["predictions"]]
tasks[0]["predictions"][0]["result"][0]["value"]["keypointlabels"] = ["Nothing of ours"]
print(json.dumps([wrong, interface.validate_prediction(tasks[0]["predictions"][0], return_errors=True)]))
"""


@pytest.fixture(scope="module")
def loop(server, tmp_path_factory):
    """A folder of three counted images, sent to the server, with a personal access token in the environment."""
    url, python = server
    root = tmp_path_factory.mktemp("loop")
    (root / "in").mkdir()
    for number, size in enumerate(((400, 700), (256, 256), (300, 300))):
        write(phantom.simulate(seed=(15, number), size=size).image, root / "in" / f"f{number}.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LABEL_STUDIO_URL", url)
        patch.setenv("LABEL_STUDIO_API_KEY", ask(url, "POST", "/api/token/", {})["token"])
        assert main(["count", str(root / "in"), "--out", str(root / "F")]) == 0
        assert main(["labelstudio", "push", str(root / "F"), "--first", "1"]) == 0
        assert main(["labelstudio", "push", str(root / "F")]) == 0
        yield url, python, root / "F"


def listed(url, folder):
    project = json.loads((folder / "labelstudio" / "project.json").read_text())["project"]
    tasks = ask(url, "GET", f"/api/tasks/?project={project}&page_size=100&fields=all")["tasks"]
    return {(task["data"]["source"], task["data"]["left"]): task for task in tasks}


class TestServer:
    """In this order: every test goes on where the one before has stopped."""

    pytestmark = pytest.mark.slow

    def test_every_crop_was_sent_once(self, loop, capsys):
        url, _, folder = loop
        tasks = listed(url, folder)
        assert sorted(tasks) == [("f0.png", 0), ("f0.png", 318), ("f1.png", 0), ("f2.png", 0)]
        assert all(len(one["predictions"][0]["result"]) == one["data"]["predicted"] for one in tasks.values())
        assert main(["labelstudio", "push", str(folder)]) == 0
        assert "0 crops sent" in capsys.readouterr().out and len(listed(url, folder)) == 4

    def test_label_studio_itself_accepts_our_predictions(self, loop):
        _, python, folder = loop
        assert main(["labelstudio", "export", str(folder), "--order", "image"]) == 0
        files = [folder / "labelstudio" / name for name in ("tasks.json", "tasks.xml")]
        done = subprocess.run([python, "-c", CHECK, *files], capture_output=True, text=True, check=True)
        accepted, refused = json.loads(done.stdout.splitlines()[-1])
        assert accepted == [[]] * 4 and refused, "and it does see errors"

    def test_fifteen_corrections_come_back_and_train(self, loop, tmp_path, capsys):
        url, _, folder = loop
        tasks = listed(url, folder)
        corrected = {
            ("f0.png", 0): edited(tasks["f0.png", 0], moved=3, deleted=2, added=[(20.25, 30.5), (50, 60)]),
            ("f0.png", 318): edited(tasks["f0.png", 318], moved=2, deleted=1),
            ("f1.png", 0): edited(tasks["f1.png", 0], deleted=2, added=[(128.125, 100), (9, 9), (200, 31.5)]),
        }
        for place, result in corrected.items():
            prediction = tasks[place]["predictions"][0]["id"]
            body = {"result": result, "lead_time": 42.0, "parent_prediction": prediction}
            ask(url, "POST", f"/api/tasks/{tasks[place]['id']}/annotations/", body)
        ask(url, "POST", f"/api/tasks/{tasks['f2.png', 0]['id']}/drafts", {"result": [], "lead_time": 1.0})
        assert main(["labelstudio", "pull", str(folder)]) == 0
        said = capsys.readouterr()
        assert "f0.png: 2 submitted of 2 crops" in said.out and "f2" not in said.out.split("Then")[0]
        assert "5 moved, 3 deleted, 2 added" in said.out and "0 moved, 2 deleted, 3 added" in said.out
        f0, f1, f2 = load(folder)
        assert f2.points is None
        for sample, change in ((f0, -1), (f1, 1)):
            [before], _ = read(folder / "predictions" / f"{sample.name}.csv")
            assert len(sample.points) == len(before.points) + change and sample.valid.all()
        assert np.abs(f1.points - (128.125, 100)).max(axis=1).min() < 1e-3
        weights = tmp_path / "mine.safetensors"
        assert main(["train", str(folder), "-p", "steps", "20", "--out", str(weights)]) == 0
        again = ["count", str(folder.parent / "in"), "--out", str(tmp_path / "again"), "--weights", str(weights)]
        assert main(again) == 0
        assert len(load(tmp_path / "again" / "images")) == 3
        assert count(folder / "images" / "f1.png", weights=weights).count > 0

    def test_what_fails_is_one_line(self, loop, capsys, monkeypatch):
        url, _, folder = loop
        assert main(["labelstudio", "pull", str(folder), "--token", TOKEN[::-1]]) == 2
        assert "refuses the token" in capsys.readouterr().err
        assert main(["labelstudio", "pull", str(folder), "--url", f"{url}/nothing/here"]) == 1
        assert "no Label Studio server" in capsys.readouterr().err
        assert main(["labelstudio", "pull", str(folder), "--token", TOKEN]) == 0, "a legacy token"
        project = json.loads((folder / "labelstudio" / "project.json").read_text())["project"]
        ask(url, "DELETE", f"/api/projects/{project}/")
        capsys.readouterr()
        assert main(["labelstudio", "pull", str(folder)]) == 3
        assert "was deleted" in capsys.readouterr().err
