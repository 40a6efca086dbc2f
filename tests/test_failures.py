"""What ends a command, or one image: one line, the exit code that the help documents, and nothing lost."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import cellcount
from cellcount import cli, counting
from cellcount.data import phantom
from cellcount.errors import CellcountError, DataError, NotAvailableError, ParameterError
from cellcount.methods import METHODS, weights_files

ROOT = hasattr(os, "geteuid") and os.geteuid() == 0
SLOWED = """
import sys, time
from cellcount import cli, counting
predictor = counting._predictor

def slowed(**options):
    predict = predictor(**options)

    def call(image):
        time.sleep(0.03)
        return predict(image)

    return call

counting._predictor = slowed
sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.fixture
def plate(tmp_path):
    """A folder with four images of a few discs each."""
    (tmp_path / "plate").mkdir()
    for number in range(4):
        pixels = np.random.default_rng(number).normal(170, 8, (64, 64))
        yy, xx = np.indices(pixels.shape)
        pixels[(yy - 30) ** 2 + (xx - 20 - 5 * number) ** 2 < 49] = 90
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(tmp_path / "plate" / f"{number}.png")
    return tmp_path / "plate"


@pytest.fixture
def anybody():
    """A folder that every user may write."""
    folder = Path(tempfile.mkdtemp(prefix="cellcount-test-"))
    folder.chmod(0o777)
    yield folder
    shutil.rmtree(folder)


def run(*arguments):
    return cli.main([*map(str, arguments)])


def blobs(*arguments):
    return run("count", "--method", "blobs", *arguments)


def summary(out):
    return json.loads((out / "summary.json").read_text())


def as_anybody(*arguments, **options):
    """The command line, run by a user who is not root."""
    command = [sys.executable, "-m", "cellcount", *map(str, arguments)]
    if ROOT:
        command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *command]
    return subprocess.run(command, capture_output=True, text=True, **options)


unprivileged = pytest.mark.skipif(
    os.name != "posix" or ROOT and not shutil.which("setpriv"), reason="needs a user who is not root"
)


@contextmanager
def small_disk(kilobytes):
    """A folder on a disk of this size."""
    place = Path(tempfile.mkdtemp(prefix="cellcount-disk-"))
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "none", place], capture_output=True)
    if done.returncode:
        place.rmdir()
        pytest.skip("only root can make a small disk")
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)
        place.rmdir()


# Faults of one image


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (ValueError("inside of\na library"), 1, "ValueError: inside of a library (in test_failures.py, line "),
        (IndexError(3), 1, "IndexError: 3"),
        (RuntimeError(), 1, "RuntimeError"),
        (MemoryError(), 3, "MemoryError"),
        (PermissionError(13, "Permission denied"), 3, "PermissionError: [Errno 13] Permission denied"),
        (DataError("a bad image"), 3, "a bad image"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_whatever_goes_wrong_with_one_image_costs_that_image(plate, tmp_path, monkeypatch, capsys, error, code, text):
    predictor = counting._predictor

    def predictor_with_a_fault(**options):
        predict, calls = predictor(**options), iter(range(99))

        def call(image):
            if next(calls) == 1:
                raise error
            return predict(image)

        return call

    monkeypatch.setattr(counting, "_predictor", predictor_with_a_fault)
    assert blobs(plate, "--out", tmp_path / "F") == code
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].startswith(f"error: {plate / '1.png'}: {text}")
    written = summary(tmp_path / "F")
    assert len(written["images"]) == 3 and [one["image"] for one in written["failed"]] == [str(plate / "1.png")]
    with pytest.warns(UserWarning, match="1.png was not counted"):
        results = cellcount.count([plate], method="blobs")
    assert len(results) == 3 and type(results.failed[0].error).exit_code == code


@pytest.mark.parametrize("error", [ParameterError("sigma"), NotAvailableError("a device")])
def test_a_fault_of_the_call_ends_it_and_keeps_what_was_done(plate, tmp_path, monkeypatch, error):
    predictor = counting._predictor

    def predictor_with_a_fault(**options):
        predict, calls = predictor(**options), iter(range(99))

        def call(image):
            if next(calls) == 2:
                raise error
            return predict(image)

        return call

    monkeypatch.setattr(counting, "_predictor", predictor_with_a_fault)
    assert blobs(plate, "--out", tmp_path / "F") == error.exit_code
    assert len(summary(tmp_path / "F")["images"]) == 2


@unprivileged
def test_locked_images_folders_and_results(plate, anybody):
    """Of mode 000, for a user who is not root."""
    shutil.copytree(plate, anybody / "in")
    (anybody / "in" / "1.png").chmod(0)
    (anybody / "locked").mkdir()
    shutil.copy(plate / "0.png", anybody / "locked" / "0.png")
    (anybody / "locked").chmod(0)
    command = ["count", anybody / "in", anybody / "locked", anybody / "locked" / "0.png", "--method", "blobs", "--out"]
    done = as_anybody(*command, anybody / "F")
    assert done.returncode == 3 and "Traceback" not in done.stderr and len(done.stderr.splitlines()) == 3
    assert len(summary(anybody / "F")["images"]) == 3 and len(summary(anybody / "F")["failed"]) == 3
    assert "Permission denied" in done.stderr
    for place in ("predictions", "overlays", "images", "."):
        mode = (anybody / "F" / place).stat().st_mode
        (anybody / "F" / place).chmod(0o555)
        done = as_anybody(*command, anybody / "F")
        assert done.returncode == 3 and "cannot be written (Permission denied)" in done.stderr, place
        assert done.stdout == "" and len(done.stderr.splitlines()) == 1
        (anybody / "F" / place).chmod(mode)
    (anybody / "F" / "records.jsonl").chmod(0o444)
    done = as_anybody(*command, anybody / "F")
    assert (done.returncode == 3) == (not ROOT) or "records.jsonl cannot be written (Permission denied)" in done.stderr
    (anybody / "locked").chmod(0o755)


@pytest.mark.slow
@unprivileged
def test_locked_parts_of_folders_are_named(plate, anybody):
    for folder in ("in", "again"):
        shutil.copytree(plate, anybody / folder)
    (anybody / "in" / "images").mkdir()
    shutil.copy(plate / "0.png", anybody / "in" / "images" / "a.png")
    for mode, code, text in ((0, 0, "images: The folder cannot be read"), (0o711, 0, "images: The folder cannot"),
                             (0o644, 3, "Permission denied")):  # fmt: skip
        (anybody / "in" / "images").chmod(mode)
        done = as_anybody("count", anybody / "in", "--method", "blobs", "--out", anybody / "F")
        assert (done.returncode, len(done.stderr.splitlines())) == (code, 1) and text in done.stderr
        assert "images" in done.stderr and len(summary(anybody / "F")["images"]) == 4
        assert as_anybody("data", "check", anybody / "in").returncode == 3
    (anybody / "in" / "images").chmod(0o755)
    (anybody / "in").chmod(0)
    done = as_anybody("data", "check", anybody / "in")
    assert done.returncode == 3 and "in: The folder cannot be read" in done.stdout and "empty" not in done.stdout
    (anybody / "in").chmod(0o755)
    (anybody / "F" / "predictions" / "0.csv").chmod(0)
    again = ["count", anybody / "in", "--method", "blobs", "--out", anybody / "F"]
    done = as_anybody(*again)
    assert done.returncode == 3 and "0.csv cannot be read (Permission denied)" in done.stderr
    assert len(done.stderr.splitlines()) == 1 and len(summary(anybody / "F")["images"]) == 5
    (anybody / "F" / "predictions" / "0.csv").chmod(0o644)
    (anybody / "F" / "annotations").mkdir(mode=0)
    done = as_anybody(*again, "--again")
    assert done.returncode == 3 and "may have corrections" in done.stderr and "annotations: The folder" in done.stderr
    (anybody / "F" / "annotations").chmod(0o755)


# Weights and --out, before any image is read


def weights_of_kinds(folder):
    (folder / "folder").mkdir()
    (folder / "text.txt").write_text("these are no weights")
    (folder / "text.safetensors").write_text("these are no weights")
    (folder / "empty.safetensors").write_bytes(b"")
    (folder / "torn.onnx").write_bytes(b"\x08\x07")
    return ["folder", "text.txt", "text.safetensors", "empty.safetensors", "torn.onnx", "missing", "x" * 300, ""]


@pytest.mark.parametrize("method", ["cellnet", "foreground-area", "maskrcnn", "yolox", "cellpose", "stardist", "sam"])
def test_weights_that_cannot_be_used_are_one_line_before_any_image_is_read(
    plate, tmp_path, capsys, monkeypatch, method
):
    def read(*arguments):
        raise AssertionError("an image was read")

    monkeypatch.setattr(counting, "open_image", read)
    for name in weights_of_kinds(tmp_path):
        assert run("count", plate, "--method", method, "--weights", tmp_path / name, "--out", tmp_path / "F") in (3, 4)
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1 and lines[0].startswith("error: ") and "AssertionError" not in lines[0], (name, lines)
        assert not (tmp_path / "F").exists()


@unprivileged
def test_weights_that_may_not_be_read(plate, anybody):
    shutil.copytree(plate, anybody / "in")
    (anybody / "w.safetensors").write_bytes(b"x")
    (anybody / "w.safetensors").chmod(0)
    done = as_anybody("count", anybody / "in", "--weights", anybody / "w.safetensors", "--out", anybody / "F")
    assert (done.returncode, done.stdout) == (3, "") and "cannot be read (Permission denied)" in done.stderr
    assert len(done.stderr.splitlines()) == 1 and not (anybody / "F").exists()


@pytest.mark.parametrize(
    "kind", ["file", "below a file", "records", "summary", "overlays", "/proc", "/dev/full", "long"]
)
def test_a_place_that_cannot_be_written_is_told_before_anything_is_computed(plate, tmp_path, capsys, monkeypatch, kind):
    def read(*arguments):
        raise AssertionError("an image was read")

    monkeypatch.setattr(counting, "open_image", read)
    out = tmp_path / "F"
    if kind == "file":
        out.write_text("mine")
    elif kind == "below a file":
        (tmp_path / "file").write_text("mine")
        out = tmp_path / "file" / "F"
    elif kind in ("records", "summary"):
        (out / {"records": "records.jsonl", "summary": "summary.json"}[kind]).mkdir(parents=True)
    elif kind == "overlays":
        out.mkdir()
        (out / "overlays").write_text("mine")
    else:
        out = {"/proc": Path("/proc/nowhere"), "/dev/full": Path("/dev/full"), "long": tmp_path / ("x" * 300)}[kind]
    assert blobs(plate, "--out", out) == 3
    captured = capsys.readouterr()
    assert captured.out == "" and len(captured.err.splitlines()) == 1 and str(out) in captured.err
    assert kind != "file" or out.read_text() == "mine"


@pytest.mark.slow
@unprivileged
def test_train_tries_its_weights_file_before_it_loads_anything(anybody):
    (anybody / "locked").mkdir()
    (anybody / "locked").chmod(0o555)
    done = as_anybody("train", "nowhere", "--out", anybody / "locked" / "w.safetensors")
    assert done.returncode == 3 and "cannot be written (Permission denied)" in done.stderr
    (anybody / "locked").chmod(0o755)


def test_train_on_a_full_disk_fails_before_it_loads_anything():
    with small_disk(200) as disk:
        (disk / "fill").write_bytes(bytes(180_000))
        with pytest.raises(DataError, match=r"w\.safetensors cannot be written \(No space left"):
            cellcount.train("nowhere", out=disk / "w.safetensors")
        assert [path.name for path in disk.iterdir()] == ["fill"]


@pytest.mark.slow
def test_weights_for_which_the_disk_has_become_too_small_are_kept_elsewhere(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    settings = ["-p", "steps", "1", "-p", "crop", "64", "-p", "batch", "1"]
    field = phantom.simulate(seed=2, size=(128, 128))
    monkeypatch.setattr("cellcount.data.load", lambda data: [field])
    with small_disk(200) as disk:
        assert run("train", "phantom", "--out", disk / "w.safetensors", "--device", "cpu", *settings) == 1
        assert list(disk.iterdir()) == []
    line = capsys.readouterr().err.splitlines()[-1]
    [rescued] = tmp_path.glob("cellcount-*/w.safetensors")
    assert line.startswith("error: ") and "No space left" in line and str(rescued) in line
    assert cellcount.count(field.image, weights=rescued).count > 0


def test_weights_that_fit_nowhere_are_one_line(tmp_path, monkeypatch):
    torch, files = pytest.importorskip("torch"), pytest.importorskip("safetensors.torch")

    def fails(*args, **options):
        raise pytest.importorskip("safetensors").SafetensorError("File too large")

    monkeypatch.setattr(files, "save_file", fails)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(CellcountError, match=r"w.safetensors cannot be written \(File too large\), nor a file in"):
        weights_files.write(tmp_path / "w.safetensors", {"a": torch.zeros(2)}, {})


def test_annotations_are_written_to_the_root_of_another_disk(plate, tmp_path):
    """Temporary files are made on the same disk."""
    (plate / "points.csv").write_text("image,y,x\n0.png,30,20\n1.png,30,20\n")
    for call in (
        ["import", plate],
        ["convert", plate / "points.csv", "--format", "napari"],
        ["convert", plate, "--format", "coco"],
    ):
        with small_disk(500) as disk:
            target = disk
            assert run("data", *call[:2], target, *call[2:]) == 0
            assert any(disk.iterdir()) and not [path for path in disk.rglob("*") if path.name.startswith(".")]


@pytest.mark.slow
@unprivileged
def test_annotations_are_written_where_the_folder_above_is_locked(plate, anybody):
    (anybody / "home").mkdir()
    (anybody / "home" / "empty").mkdir()
    shutil.copytree(plate, anybody / "home" / "in")
    (anybody / "home" / "in" / "points.csv").write_text("image,y,x\n0.png,30,20\n")
    (anybody / "home").chmod(0o555)
    (anybody / "home" / "empty").chmod(0o777)
    target = anybody / "home" / "empty"
    done = as_anybody("data", "convert", anybody / "home" / "in", target / "new.csv")
    assert done.returncode == 0 and [path.name for path in target.iterdir()] == ["new.csv"], done.stderr
    (target / "new.csv").unlink()
    done = as_anybody("data", "import", anybody / "home" / "in", target)
    assert done.returncode == 0 and len([*target.iterdir()]) == 3, done.stderr


# Disks that are full


def images_of_noise(folder, number=12):
    folder.mkdir()
    for seed in range(number):
        noise = np.random.default_rng(seed).integers(0, 255, (120, 120), dtype=np.uint8)
        Image.fromarray(noise).save(folder / f"{seed}.png")
    return folder


@pytest.mark.parametrize("kilobytes", [140, 144, 160, 200, 260, 304])
def test_a_disk_that_is_full_ends_the_call_and_keeps_everything_before(tmp_path, capsys, kilobytes):
    noise = images_of_noise(tmp_path / "noise", 16)
    with small_disk(kilobytes) as disk:
        out = disk / "F"
        assert blobs(noise, "--out", out) == 1
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1 and "No space left on device" in lines[0] and "the same call" in lines[0]
        done = [json.loads(line) for line in (out / "records.jsonl").read_text().splitlines()]
        assert len(done) < 16 and not [path for path in out.rglob("*") if path.name.startswith(".")]
        assert all((out / one["points"]).read_text().startswith("image,y,x") for one in done)
        subprocess.run(["mount", "-o", "remount,size=2m", disk], check=True)
        assert blobs(noise, "--out", out) == 0
        again = f"{len(done)} of them before"
        assert (again in capsys.readouterr().out) == bool(done) and len(summary(out)["images"]) == 16
        names = [json.loads(line)["name"] for line in (out / "records.jsonl").read_text().splitlines()]
        assert len(set(names)) == len(names) == 16


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS])
@pytest.mark.parametrize("place", ["to_csv", "save_overlay", "append", "compose"])
def test_an_error_of_the_disk_at_any_place_ends_the_call_in_one_line(
    plate, tmp_path, monkeypatch, capsys, place, number
):
    from cellcount.results import count_records

    calls = iter(range(99))
    homes = {"append": (json, "dumps"), "compose": (count_records, "write_csv")}
    home, name = homes.get(place, (counting.Result, place))
    original = getattr(home, name)

    def failing(*arguments, **options):
        if next(calls) == (0 if place == "compose" else 1 if place != "append" else 2):
            raise OSError(number, os.strerror(number))
        return original(*arguments, **options)

    monkeypatch.setattr(home, name, failing)
    if place == "append":
        monkeypatch.undo()
        write = count_records.Records.append

        def failing_append(self, record):
            if next(calls) == 1:
                self._file.write(b'{"half')
                raise OSError(number, os.strerror(number))
            return write(self, record)

        monkeypatch.setattr(count_records.Records, "append", failing_append)
    assert blobs(plate, "--out", tmp_path / "F") == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and os.strerror(number) in lines[0] and "the same call" in lines[0]
    monkeypatch.undo()
    assert blobs(plate, "--out", tmp_path / "F") == 0
    assert len(summary(tmp_path / "F")["images"]) == 4
    assert f"{4 if place == 'compose' else 1} of them before" in capsys.readouterr().out


def test_a_limit_of_the_size_of_files(tmp_path):
    resource = pytest.importorskip("resource")
    noise = images_of_noise(tmp_path / "noise", 8)
    command = [sys.executable, "-m", "cellcount", "count", noise, "--method", "blobs", "--out", tmp_path / "F"]

    def limited(size):
        return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=limited(2**17))
    assert done.returncode == 0
    done = subprocess.run([*command, "--again"], capture_output=True, text=True, preexec_fn=limited(6000))
    assert done.returncode == 3 and "cannot be written (File too large)" in done.stderr and done.stdout == ""
    assert len(done.stderr.splitlines()) == 1 and len(summary(tmp_path / "F")["images"]) == 8


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs the device /dev/full, of Linux")
@pytest.mark.parametrize("arguments", [["methods"], ["methods", "--json"], ["data", "list"]], ids=" ".join)
def test_output_to_a_full_disk(arguments):
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "cellcount", *arguments]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1 and done.stderr == "error: [Errno 28] No space left on device\n"


def test_a_count_whose_output_goes_to_a_full_disk_or_nowhere_is_kept(plate, tmp_path):
    command = [sys.executable, "-m", "cellcount", "count", plate, "--method", "blobs", "--out"]
    with open("/dev/full", "w") as full:
        done = subprocess.run([*command, tmp_path / "F"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1 and done.stderr == "error: [Errno 28] No space left on device\n"
    kept = len(summary(tmp_path / "F")["images"])
    assert 0 < kept == len((tmp_path / "F" / "records.jsonl").read_text().splitlines())
    shell = f"exec '{sys.executable}' -m cellcount count '{plate}' --method blobs --out '{tmp_path / 'G'}' >&- 2>&-"
    assert subprocess.run(["sh", "-c", shell]).returncode == 0 and len(summary(tmp_path / "G")["images"]) == 4


def test_a_folder_that_is_removed_meanwhile_ends_the_call_in_one_line(plate, tmp_path, capsys, monkeypatch):
    write = counting.Result.save_overlay

    def removing(self, path):
        shutil.rmtree(tmp_path / "F")
        return write(self, path)

    monkeypatch.setattr(counting.Result, "save_overlay", removing)
    assert blobs(plate, "--out", tmp_path / "F") == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and "results cannot be written" in lines[0]


# Signals


@pytest.mark.skipif(os.name != "posix", reason="Windows has other signals")
@pytest.mark.parametrize(
    ("number", "word"), [("SIGINT", "interrupted"), ("SIGTERM", "terminated"), ("SIGHUP", "terminated")]
)
def test_a_signal_ends_a_count_with_a_whole_summary(tmp_path, number, word):
    noise = images_of_noise(tmp_path / "noise", 40)
    out, number = tmp_path / "F", getattr(signal, number)
    command = [sys.executable, "-c", SLOWED, "count", noise, "--method", "blobs", "--json", "--out", out]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not (
        (out / "records.jsonl").exists() and (out / "records.jsonl").read_bytes().count(b"\n") > 2
    ):
        time.sleep(0.01)
    process.send_signal(number)
    if number == signal.SIGTERM:  # as `timeout` does
        process.send_signal(number)
    printed, told = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert told == f"{word}; files written before are complete\n"
    assert json.loads(printed) == {"error": told.strip(), "exit_code": 128 + number}
    recorded = len((out / "records.jsonl").read_text().splitlines())
    assert 2 < recorded < 40 and recorded - len(summary(out)["images"]) in (0, 1)
    assert (out / "counts.csv").read_text().count("\n") == 1 + len(summary(out)["images"])
    assert blobs(noise, "--out", out) == 0 and len(summary(out)["images"]) == 40
    assert not [path for path in out.rglob("*") if path.name.startswith(".")]


def test_a_closed_pipe_keeps_what_was_counted(plate, tmp_path):
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-u", "-m", "cellcount", "count", plate, "--method", "blobs", "--out", tmp_path / "F"]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert done.returncode == 141 and done.stderr == "" and len(summary(tmp_path / "F")["images"]) == 2


# JSON and exit codes


def answer(capsys, *arguments):
    """(exit code, JSON on stdout, lines on stderr)"""
    capsys.readouterr()
    code = run(*arguments)
    captured = capsys.readouterr()
    return code, json.loads(captured.out), captured.err.splitlines()


def test_count_answers_in_json(plate, tmp_path, capsys):
    (plate / "torn.png").write_bytes(b"\x89PNG")
    code, found, lines = answer(capsys, "count", plate, "--method", "blobs", "--out", tmp_path / "F", "--json")
    assert code == found["exit_code"] == 3 and len(lines) == 1
    keys = {"folder", "exit_code", "group_problems", "groups", "images", "failed"}
    assert set(found) == keys and found["folder"] == str(tmp_path / "F") and found["groups"] == []
    assert found["images"] == summary(tmp_path / "F")["images"] and len(found["images"]) == 4
    assert [list(one) for one in found["failed"]] == [["image", "error"]]
    keys = {"image", "count", "count_interval", "warnings", "points", "overlay", "file", "seconds", "method"}
    assert keys <= found["images"][0].keys()
    _, found, _ = answer(capsys, "count", plate / "0.png", "--method", "blobs", "--out", tmp_path / "F", "--json")
    assert [one["name"] for one in found["images"]] == ["0"] and len(summary(tmp_path / "F")["images"]) == 4


NAMES = {"bytes of another encoding": b"f\xe4ld.png", "an accent": "zellü.png".encode()}


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names are text")
@pytest.mark.parametrize("name", NAMES)
def test_any_name_is_answered_in_json_also_where_output_is_ascii(plate, tmp_path, name):
    image = os.path.join(os.fsencode(tmp_path), b"in", NAMES[name])
    os.mkdir(os.path.dirname(image))
    shutil.copy(plate / "0.png", image)
    shutil.copy(plate / "0.png", tmp_path / "in" / "z.png")
    (tmp_path / "in" / "points.csv").write_text("image,y,x\nz.png,3,3\n")
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    for call in (["count", "--method", "blobs", "--out", tmp_path / "F", tmp_path / "in"], ["data", "check", tmp_path]):
        command = [sys.executable, "-m", "cellcount", *map(str, call), "--json"]
        done = subprocess.run(command, capture_output=True, env=os.environ | plain)
        assert done.returncode == json.loads(done.stdout)["exit_code"] and b"Traceback" not in done.stderr
    assert len(summary(tmp_path / "F")["images"]) == 2


@pytest.mark.parametrize("error", [MemoryError("9 TiB"), RuntimeError("[enforce] DefaultCPUAllocator: 9 TiB")])
def test_too_little_memory_is_one_line(monkeypatch, capsys, error):
    def fails(*args, **options):
        raise error

    monkeypatch.setattr("cellcount.data.load", fails)
    assert run("train", "phantom") == 1
    said = capsys.readouterr().err
    assert said.startswith("error: the memory is too small") and "9 TiB" in said and said.count("\n") == 1


def test_other_verbs_answer_in_json(plate, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("CELLCOUNT_OFFLINE", "1")
    code, found, lines = answer(capsys, "methods", "--json")
    assert (code, lines) == (0, []) and [one["name"] for one in found["methods"]] == list(METHODS)
    assert all(list(one) == ["name", "state", "details"] for one in found["methods"]) and found["exit_code"] == 0
    code, found, lines = answer(capsys, "doctor", "--json")
    assert (code, lines) == (0, [])
    assert set(found) == {"machine", "packages", "folders", "build", "methods", "exit_code"}
    assert found["machine"]["Python"] and found["build"]["make book"] and len(found["methods"]) == len(METHODS)
    (plate / "points.csv").write_text("image,y,x\n0.png,20,20\n")
    code, found, lines = answer(capsys, "data", "check", plate, "--json")
    assert (code, found["errors"], found["usable"]) == (0, 0, True) and found["folder"] == str(plate)
    (plate / "points.csv").write_text("image,y,x\n0.png,20,2000\n")
    code, found, lines = answer(capsys, "data", "check", plate, "--json")
    assert (code, found["exit_code"], found["errors"], found["usable"]) == (3, 3, 1, False)
    problem = next(one for one in found["problems"] if one["severity"] == "error")
    assert set(problem) == {"kind", "severity", "file", "where", "what", "todo"} and problem["where"] == "line 2"


EXITS = {
    "no verb": ([], 2),
    "a verb that is not there": (["cuont"], 2),
    "an option that is not there": (["count", "a.png", "--treshold", "1"], 2),
    "no image": (["count"], 2),
    "an unknown method": (["count", "a.png", "--method", "magic"], 2),
    "an unknown parameter": (["count", "a.png", "--method", "blobs", "-p", "sgima", "1"], 2),
    "a value that is none": (["count", "a.png", "--method", "blobs", "-p", "sigma", "x"], 2),
    "an unknown channel": (["count", "a.png", "--method", "blobs", "--channel", "pink"], 2),
    "a missing image": (["count", "a.png", "--method", "blobs"], 3),
    "missing weights": (["count", "a.png", "--weights", "w"], 3),
    "a missing folder": (["data", "check", "nowhere"], 3),
    "a missing accelerator": (["count", "0.png", "--device", "cuda:7"], 4),
    "a data set to fetch": (["data", "fetch", "vgg-cells"], 4),
}


@pytest.mark.parametrize("name", EXITS)
def test_exit_codes(plate, monkeypatch, capsys, name):
    arguments, code = EXITS[name]
    monkeypatch.chdir(plate)
    monkeypatch.setenv("CELLCOUNT_OFFLINE", "1")
    monkeypatch.setenv("CELLCOUNT_CACHE", str(plate / "cache"))
    monkeypatch.delenv("CELLCOUNT_DATA", raising=False)
    assert run(*arguments) == code
    assert "Traceback" not in (text := capsys.readouterr().err + "") and (text or arguments[0] == "data")
    if arguments and arguments[0] == "count":
        code_again, found, _ = answer(capsys, *arguments, "--json")
        assert code_again == code == found["exit_code"] and ("error" in found or found["failed"])


@pytest.mark.parametrize("verb", [[], ["count"], ["methods"], ["doctor"], ["data"], ["train"]], ids=" ".join)
def test_the_help_documents_exit_codes(capsys, verb):
    with pytest.raises(SystemExit):
        run(*verb, "--help")
    text = " ".join(capsys.readouterr().out.split())
    for code in (0, 1, 2, 3, 4, 130, 141, 143):
        assert f" {code} " in text.split("exit codes:")[1].replace(";", " ; "), code
    assert verb not in (["count"], ["methods"], ["doctor"]) or "--json" in text and "exit_code" in text


def test_a_fault_of_this_package_is_json_and_a_traceback(plate, capsys, monkeypatch):
    monkeypatch.setattr("cellcount.cli.tables.print_table", None)
    monkeypatch.setattr("cellcount.cli.methods.print_table", None)
    with pytest.raises(TypeError):
        run("methods", "--json")
    found = json.loads(capsys.readouterr().out)
    assert found["error"].startswith("TypeError") and found["exit_code"] == 1


# Unknown options


@pytest.mark.parametrize(
    "call",
    [
        lambda: cellcount.load("phantom", sead=1),
        lambda: cellcount.load("phantom", split="train", sead=1),
        lambda: cellcount.load("thesis", sead=1),
        lambda: cellcount.load("vgg-cells", sead=1),
        lambda: cellcount.load(tempfile.gettempdir(), sead=1),
        *(lambda name=name: cellcount.count(np.zeros((64, 64)), method=name, sead=1) for name in METHODS),
        *(lambda name=name: METHODS[name].predict(np.zeros((64, 64), np.float32), sead=1) for name in METHODS),
    ],
)
def test_an_unknown_option_is_named_with_the_known_ones(call):
    with pytest.raises(ParameterError, match=r"has no (option|parameter) sead; it has: \w+"):
        call()


def test_an_unknown_setting_of_a_training_is_named(tmp_path):
    field = phantom.simulate(seed=0, size=(64, 64))
    for name in METHODS:
        out = tmp_path / f"w{getattr(METHODS[name], 'SUFFIX', '.safetensors')}"
        with pytest.raises((ParameterError, NotAvailableError), match=r"sead|cannot be trained|not installed"):
            cellcount.train([field], out=out, method=name, sead=1)


@pytest.mark.parametrize("name", ["magic", 3, None, ["cellnet"]])
def test_an_unknown_method_is_named_with_the_known_ones(name):
    with pytest.raises(ParameterError, match="choose one of cellnet, blobs"):
        METHODS[name]


def test_errors_have_the_documented_codes():
    assert [one.exit_code for one in (CellcountError, ParameterError, DataError, NotAvailableError)] == [1, 2, 3, 4]
