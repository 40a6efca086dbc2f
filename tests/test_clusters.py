"""The workflow on clusters: jobs that fail and are lost change nothing in what comes out, and a sweep is one table."""

import importlib
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import fake_scheduler
import pandas as pd
import pytest
import yaml

from cellcount.companion.runner.sources import chapters, root
from cellcount.errors import DataError, ParameterError

ROOT = root()
ENGINE = ROOT / ".venv-hpc" / "bin" / "snakemake"
needs_engine = pytest.mark.skipif(not ENGINE.exists(), reason="`make hpc` installs the engine for clusters")
DAEMONS = ("munged", "slurmctld", "slurmd")
lacking = [name for name in DAEMONS if not shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin")]
FAULTY = 4  # of the 20 first jobs
CHAPTER = """\
# A chapter

```{code-cell} ipython3
:tags: [parameters]

dataset = "phantom"
seed = 0
sigma = 5.0  # px
tolerance = 8.0  # px
```

```{code-cell} ipython3
from cellcount import results
from cellcount.companion import page
from cellcount.data import phantom
from cellcount.methods import blobs

field = phantom.simulate(seed=seed, size=(96, 96))
found = results.timed(blobs.predict, field.image, sigma=sigma)
about = {"dataset": dataset, "seed": seed, "parameters": {"sigma": sigma}}
results.write(results.rows(field, found, tolerances=[tolerance], **about), page.run_dir() / "rows.csv")
print(len(found.points), "cells")
```
"""
STEMS = ("00-preface", "01-first", "02-second", "07-comparison")
SWEEP = {
    "chapter": "01-first",
    "resources": {"mem_mb": 200},
    "profile": "smoke",
    "data": ["phantom"],
    "seeds": [1, 2, 3, 4],
    "parameters": {"sigma": [4.0, 6.0], "tolerance": [6.0, 12.0]},
}
PROFILE = {
    "chapters": {"02-second": {"sigma": 4.5}},
    "resources": {"default": {"threads": 1, "mem_mb": 300, "runtime": 5, "gpu": 0}, "02-second": {"gpu": 1}},
}


def make_book(folder):
    """A book of four chapters, the last of which waits for the others, and a sweep of 16 runs: 20 jobs."""
    (folder / "book" / "profiles").mkdir(parents=True)
    (folder / "workflow").symlink_to(ROOT / "workflow")
    pages = "".join(f"  - file: book/{stem}\n" for stem in STEMS[1:])
    (folder / "_toc.yml").write_text(f"format: jb-book\nroot: book/{STEMS[0]}\nparts:\n- chapters:\n{pages}")
    for stem in STEMS:
        (folder / "book" / f"{stem}.md").write_text(CHAPTER)
    (folder / "book" / "profiles" / "smoke.yml").write_text(yaml.safe_dump(PROFILE))
    (folder / "toy.yml").write_text(yaml.safe_dump(SWEEP))
    return folder


def command(*options, targets=()):
    """The workflow of the book in the working folder; `python` is a command of two words, as for a container."""
    config = ["--config", "data=phantom", "profile=smoke", "sweep=toy.yml", f"python=env {sys.executable}"]
    targets = targets or ["sweep", *(f"build/runs/phantom/smoke/{stem}.ipynb" for stem in STEMS)]
    return [str(part) for part in (ENGINE, *targets, "--snakefile", "workflow/Snakefile", *options, *config)]


def run(folder, *options, targets=(), **environment):
    done = subprocess.run(
        command(*options, targets=targets), cwd=folder, env=os.environ | environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def write_script(path, line):
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)
    return path


def computed(folder):
    """What a book and its sweep consist of: the rows without what they cost, and the notebooks' bytes."""
    rows = pd.read_csv(folder / "build" / "sweeps" / "toy.csv").drop(columns=["seconds", "peak_memory_mb"])
    notebooks = sorted(folder.glob("build/**/*.ipynb"))
    assert len(notebooks) == 20, "no failed notebook is left, and no second one"
    return rows, {path.relative_to(folder): path.read_bytes() for path in notebooks}


def is_same(folder, other):
    (rows, notebooks), (others, others_notebooks) = computed(folder), computed(other)
    pd.testing.assert_frame_equal(rows, others)
    return notebooks == others_notebooks


@pytest.fixture
def sweep(tmp_path, monkeypatch):
    """The function that reads a sweep from changes of SWEEP, in a book."""
    monkeypatch.chdir(make_book(tmp_path))
    monkeypatch.syspath_prepend(ROOT / "workflow")
    module = importlib.import_module("sweep")

    def read(**changes):
        Path("toy.yml").write_text(yaml.safe_dump(SWEEP | changes))
        return module.load("toy.yml")

    return read


def test_a_sweep_is_the_product_of_its_lists(sweep):
    found = sweep()
    assert len(found.runs) == 16 and found.table == Path("build/sweeps/toy.csv")
    assert {(data, tuple(own)) for data, own in found.runs.values()} == {("phantom", ("seed", "sigma", "tolerance"))}
    (name, *_), more = found.runs, sweep(seeds=[9, 1], parameters=SWEEP["parameters"] | {"sigma": [4.0]}).runs
    assert name in more and len(more) == 4, "the same run has the same name in another sweep"
    asked = shlex.split(found.arguments(name))
    assert asked[:5] == ["01-first", "--data", "phantom", "--profile", "smoke"]
    assert asked[5:] == ["-p", "seed", "1", "-p", "sigma", "4.0", "-p", "tolerance", "6.0"]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"parameters": {"sigma": [4.0, "wide"]}}, r"data phantom, seed 1, sigma wide is invalid.*sigma must be float"),
        ({"parameters": [4.0]}, "`parameters:` has a line"),
        ({"chapter": 6}, "as text"),
        ({"parameters": {"sigma": ["--help"]}}, "taken for an option"),
        ({"parameters": {"sgma": [4.0]}}, r"seed 1, sgma 4.0 is invalid. 01-first has no parameter sgma"),
        ({"seeds": [1, "two"]}, "seed two, .*is invalid.*seed must be int"),
        ({"data": ["phantom", "fantom"]}, "data fantom, .*is invalid.*fantom"),
        ({"profile": "lab"}, "lab.*Profiles: smoke"),
        ({"chapter": "09-none"}, "no chapter '09-none'"),
        ({"parameters": {"sigma": 4.0}}, "sigma must be a list of different values, got 4.0"),
        ({"parameters": {"sigma": [4, 4.0]}}, r"sigma 4.0 is invalid. It is the same as that of data .*sigma 4\."),
        ({"seeds": [1, 1]}, r"seed must be a list of different values, got \[1, 1\]"),
        ({"parameters": {"seed": [1]}}, "seed is not a parameter of a sweep: use `seeds:`"),
        ({"params": {}}, "a sweep has no params. It has: chapter"),
    ],
)
def test_an_invalid_sweep_is_refused_with_the_combination(sweep, changes, named):
    with pytest.raises((ParameterError, DataError), match=named):
        sweep(**changes)


def test_a_sweep_whose_key_stands_twice_or_whose_chapter_has_no_rows_is_refused(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(ROOT / "workflow")
    load, path = importlib.import_module("sweep").load, tmp_path / "a.yml"
    path.write_text("chapter: 06-cellnet\nparameters:\n  steps: [60]\n  steps: [120]\n")
    with pytest.raises(DataError, match="line 3: steps stands twice"):
        load(str(path))
    path.write_text("chapter: 06-cellnet\nseeds: [1, 010]\n")
    with pytest.raises(DataError, match="line 2: 010 would be read as 8. Write that."):
        load(str(path))
    with pytest.raises(ParameterError, match="name the file of letters"):
        load(str(tmp_path / "a{b} c.yml"))
    path.write_text("chapter: 03-data\n")
    with pytest.raises(ParameterError, match="03-data writes no rows.csv"):
        load(str(path))
    path.write_text("chapter: [6\n")
    with pytest.raises(DataError, match="a.yml cannot be read"):
        load(str(path))


def test_a_sweep_that_does_not_exist_is_refused_with_those_that_do(sweep):
    with pytest.raises(ParameterError, match="absent.yml. Sweeps: .*cellnet"):
        importlib.import_module("sweep").load("absent")


def test_the_sweeps_of_the_project_are_valid(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "workflow")
    for path in (ROOT / "workflow" / "sweeps").glob("*.yml"):
        assert importlib.import_module("sweep").load(path.stem).runs


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """The book, computed on this machine."""
    folder = make_book(tmp_path_factory.mktemp("local") / "toy")
    run(folder, "--workflow-profile", "workflow/profiles/default")
    return folder


def cluster(profile):
    return (
        "--workflow-profile",
        f"workflow/profiles/{profile}",
        "--latency-wait",
        5,
        "--seconds-between-status-checks",
        1,
    )


@pytest.mark.slow
@needs_engine
def test_a_sweep_is_one_table_and_is_computed_once(local):
    rows = pd.read_csv(local / "build" / "sweeps" / "toy.csv")
    swept = ["swept_data", "swept_seed", "swept_sigma", "swept_tolerance"]
    whole = rows[(rows.part == "all") & (rows.reading == "whole")]
    assert list(rows)[:4] == swept and len(whole) == len(whole[swept].drop_duplicates()) == 16
    assert (whole.swept_seed == whole.seed).all() and (whole.swept_tolerance == whole.tolerance_px).all()
    assert whole.commit.notna().all() and set(whole.dataset) == {"phantom"}
    assert is_left(local) == "nothing"
    for folder in ("runs/phantom/smoke", "sweeps/toy"):
        lost = sorted((local / "build" / folder).glob("*.ipynb"))[1]
        away = lost.rename(lost.with_suffix(".away"))
        assert re.match("(chapter|combination) [12] ", is_left(local)), "what was deleted is computed again"
        away.rename(lost)
    chapter, sweep = local / "book" / "01-first.md", local / "toy.yml"
    sweep.write_text(yaml.safe_dump(SWEEP | {"seeds": [4, 5]}))
    assert is_left(local) == "combination 4 table 1 sweep 1 total 6", "runs of seed 4 are there"
    sweep.write_text(yaml.safe_dump(SWEEP))
    chapter.write_text(CHAPTER.replace('"cells")', '"cells!")'))
    assert is_left(local) == "chapter 2 combination 16 table 1 sweep 1 total 20", "07-comparison is told of the first"
    chapter.write_text(CHAPTER.replace("# A chapter", "# The same chapter"))
    assert is_left(local) == "nothing"


def is_left(folder):
    """How many jobs of each rule a run would do now."""
    said = run(folder, "--cores", 1, "--dry-run", "--quiet", "rules")
    counts = re.search(r"^job +count\n[- ]+\n(.+?)\n\n", said, re.DOTALL | re.MULTILINE)
    return " ".join(counts[1].split()) if counts else "nothing" if "Nothing to be done" in said else said


@pytest.mark.slow
@needs_engine
def test_a_scheduler_that_fails_and_loses_jobs_and_a_stop_give_the_same_book_and_rows(local, tmp_path):
    folder, jobs = make_book(tmp_path / "toy"), tmp_path / "jobs"
    jobs.mkdir()
    script = f"{sys.executable} {fake_scheduler.__file__}"
    cancel = write_script(tmp_path / "cancel", f'exec {script} cancel "$@"')
    options = (
        *cluster("slurm"), "--executor", "cluster-generic", "--cluster-generic-cancel-cmd", cancel,
        "--cluster-generic-submit-cmd", f"{script} submit {{resources.slurm_partition}}",
        "--cluster-generic-status-cmd", f"{script} status",
    )  # fmt: skip
    environment = {"FAKE_SCHEDULER": str(jobs)}
    with (tmp_path / "log").open("w") as log:
        engine = subprocess.Popen(command(*options), cwd=folder, env=os.environ | environment, stdout=log, stderr=log)
        while engine.poll() is None and len([*folder.glob("build/sweeps/toy/*.ipynb")]) < 4:
            time.sleep(0.2)
        engine.send_signal(signal.SIGINT)
        assert engine.wait(), "it was stopped"
    run(folder, *options, **environment)  # jobs whose state was asked for at the stop were not cancelled, and run on
    happened = [line.partition(" ")[2] for line in (jobs / "log").read_text().splitlines()]
    assert happened.count("submitted gpu") >= 1 and happened.count("submitted main") >= 20
    assert sum(map(happened.count, fake_scheduler.FAULTS)) >= FAULTY
    assert all(map(happened.count, fake_scheduler.FAULTS))
    assert is_same(local, folder)


@pytest.mark.slow
@needs_engine
def test_the_profile_of_lsf_submits_with_queue_time_memory_and_gpu(tmp_path):
    """Against commands that answer as LSF's do; nobody has tried it on a real LSF."""
    folder, jobs, commands = make_book(tmp_path / "toy"), tmp_path / "jobs", tmp_path / "bin"
    (jobs / "lsbatch" / "fake" / "configdir").mkdir(parents=True)
    (jobs / "lsbatch" / "fake" / "configdir" / "lsb.params").touch()
    commands.mkdir()
    for name in ("bsub", "bjobs", "bkill", "badmin", "lsclusters"):
        write_script(commands / name, f'exec {sys.executable} {fake_scheduler.__file__} {name} "$@"')
    wanted = [f"build/runs/phantom/smoke/{stem}.ipynb" for stem in STEMS[1:3]]
    environment = {"FAKE_SCHEDULER": str(jobs), "PATH": f"{commands}:{os.environ['PATH']}"}
    run(folder, *cluster("lsf"), targets=wanted, **environment)
    assert all((folder / path).is_file() for path in wanted)
    asked = sorted(line for line in (jobs / "log").read_text().splitlines() if "submitted" in line)
    (first,) = [line for line in asked if "01-first" in line]
    (second,) = [line for line in asked if "02-second" in line]
    assert all(option in first for option in ("-q normal", "-W 5", "-n 1", "mem=300")) and "-gpu" not in first
    assert "-q gpu" in second and "-gpu num=1" in second


@pytest.mark.slow
@needs_engine
@pytest.mark.parametrize("profile", ["default", "slurm", "lsf"])
def test_each_profile_plans_the_book_with_gpu_chapters_where_the_gpus_are(profile):
    config = ["--config", "data=phantom", "profile=gpu", f"python={sys.executable}"]
    engine = [ENGINE, "--workflow-profile", f"workflow/profiles/{profile}", "--dry-run", "--forceall", *config]
    done = subprocess.run(engine, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    planned = re.findall(r"wildcards: chapter=(\S+)\n(?:.+\n)*?    resources: (.+)\n", done.stdout + done.stderr)
    reserved = {chapter: dict(one.split("=", 1) for one in given.split(", ")) for chapter, given in planned}
    assert sorted(reserved) == sorted(path.stem for path in chapters())
    assert {one["gpu"] for one in reserved.values()} == {"0", "1"}
    for one in reserved.values():
        assert (one["slurm_partition"], one["lsf_queue"]) == (
            ("gpu", "gpu") if one["gpu"] == "1" else ("main", "normal")
        )
        assert int(one["mem_mb"]) and int(one["runtime"])


@pytest.mark.slow
@needs_engine
def test_an_invalid_combination_stops_a_sweep_before_any_job(tmp_path):
    folder = make_book(tmp_path / "toy")
    (folder / "toy.yml").write_text(yaml.safe_dump(SWEEP | {"parameters": {"sigma": [4.0, "wide"]}}))
    done = subprocess.run(command("--cores", 1, targets=["sweep"]), cwd=folder, capture_output=True, text=True)
    assert (
        done.returncode and "error: toy.yml: the combination data phantom, seed 1, sigma wide is invalid" in done.stderr
    )
    assert not (folder / "build").exists()


def slurm_conf(folder, node):
    """One machine as a cluster with two partitions; its one GPU is a file."""
    with socket.socket() as first, socket.socket() as second:
        first.bind(("127.0.0.1", 0))
        second.bind(("127.0.0.1", 0))
        ports = first.getsockname()[1], second.getsockname()[1]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20 - 500
    user = Path.home().owner() if os.getuid() else "root"
    (folder / "gres.conf").write_text(f"NodeName={node} Name=gpu File=/dev/zero\n")
    (folder / "slurm.conf").write_text(f"""\
ClusterName=here
SlurmctldHost={node}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
StateSaveLocation={folder}
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
MinJobAge=3600
GresTypes=gpu
NodeName={node} NodeAddr=127.0.0.1 CPUs=2 RealMemory={memory} Gres=gpu:1
PartitionName=main Nodes={node} Default=YES
PartitionName=gpu Nodes={node}
""")


@pytest.fixture
def slurm(tmp_path_factory, monkeypatch):
    """A SLURM of this machine alone: munged, slurmctld and slurmd as processes.

    The plugin starts srun without $SLURM_CONF, so that srun finds only a configuration in /etc.
    """
    folder, node = tmp_path_factory.mktemp("slurm"), socket.gethostname().partition(".")[0]
    slurm_conf(folder, node)
    (folder / "key").write_bytes(os.urandom(1024))
    (folder / "key").chmod(0o600)
    monkeypatch.setenv("SLURM_CONF", str(folder / "slurm.conf"))
    (folder / "bin").mkdir()
    write_script(folder / "bin" / "srun", f'SLURM_CONF={folder}/slurm.conf exec {shutil.which("srun")} "$@"')
    monkeypatch.setenv("PATH", f"{folder}/bin:{os.environ['PATH']}:/usr/sbin")
    munge = [f"--{name}={folder}/{name}" for name in ("pid-file", "log-file", "seed-file")]
    munge = ["munged", "--foreground", "--force", f"--key-file={folder}/key", f"--socket={folder}/munge.socket", *munge]
    with (folder / "log").open("w") as log:
        daemons = []
        try:
            for arguments in (munge, ["slurmctld", "-D"], ["slurmd", "-D", "-N", node]):
                daemons.append(subprocess.Popen(arguments, stdout=log, stderr=log))
                time.sleep(1)
            for _ in range(60):
                if ask("sinfo", "--noheader", "--format", "%T") in ("idle", "idle\nidle"):
                    break
                time.sleep(0.5)
            else:
                pytest.fail((folder / "log").read_text())
            yield folder
        finally:
            for daemon in reversed(daemons):
                daemon.terminate()
                daemon.wait(20)


def ask(*arguments):
    return subprocess.run(arguments, capture_output=True, text=True).stdout.strip()


@pytest.mark.slow
@needs_engine
@pytest.mark.skipif(bool(lacking), reason=f"without {', '.join(lacking)} (Debian, Ubuntu: slurm-wlm, munge)")
def test_slurm_with_cancelled_and_killed_jobs_gives_the_same_book_and_rows(local, slurm, tmp_path):
    folder = make_book(tmp_path / "toy")
    options = ("--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", 2)
    with (tmp_path / "log").open("w") as log:
        engine = subprocess.Popen(command(*cluster("slurm"), *options), cwd=folder, stdout=log, stderr=log)
        seen = []
        while engine.poll() is None:
            for job in sorted(ask("squeue", "--noheader", "--states", "RUNNING", "--format", "%i").split()):
                if job not in seen:
                    seen.append(job)
                    if happens := fake_scheduler.fate(len(seen) - 1):
                        time.sleep("while" in happens)
                        ask("scancel", *([] if "lost" in happens else ["--batch", "--signal=KILL"]), job)
            time.sleep(0.2)
    assert engine.returncode == 0, (tmp_path / "log").read_text()
    shown = ask("squeue", "--noheader", "--states", "all", "--Format", "State,Partition,tres-per-job")
    jobs = [line.split() for line in shown.splitlines()]
    states = [state for state, *_ in jobs]
    assert states.count("CANCELLED") >= 2 and states.count("FAILED") >= 2 and states.count("COMPLETED") == 20
    assert {(partition, gpus) for _, partition, gpus in jobs} == {("main", "N/A"), ("gpu", "gres:gpu:1")}
    assert is_same(local, folder)
