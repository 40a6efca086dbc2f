"""A scheduler for tests: it runs jobs in SLOTS places and after a delay, and of 20 submitted jobs fails 2 and loses 2.

python fake_scheduler.py submit SCRIPT | status JOB | cancel JOB...   # for Snakemake's plugin cluster-generic
python fake_scheduler.py bsub ... COMMAND | bjobs ... | bkill JOB... | badmin | lsclusters   # as LSF answers

The folder $FAKE_SCHEDULER holds a file for each job with its state, another with its output, and the log. A job that
fails ends with code 1 before it has written anything, or is killed while it runs. A lost job never starts, or is
killed while it runs, and the scheduler then does not know it any more: `status` answers "failed", as it must.
"""

import fcntl
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

SLOTS = 2
SEED = 2
FAULTS = ("fails", "fails while it runs", "is lost", "is lost while it runs")
FOLDER = Path(os.environ.get("FAKE_SCHEDULER", "."))


def fate(number):
    """What happens to the job with this number, from 0: "", or one of FAULTS."""
    block = [*FAULTS, *[""] * 16]
    random.Random(SEED + number // len(block)).shuffle(block)
    return block[number % len(block)]


def set_state(job, state):
    path = FOLDER / f"{job}.state"
    path.with_suffix(".new").write_text(state)
    path.with_suffix(".new").replace(path)


def get_state(job):
    path = FOLDER / f"{job}.state"
    return path.read_text() if path.is_file() else "unknown"


def note(text):
    with (FOLDER / "log").open("a") as log:
        log.write(text + "\n")


def submit(command, options=""):
    """Put a job in the queue: its number."""
    with (FOLDER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        job = len([*FOLDER.glob("*.state")])
        set_state(job, "running")
    note(f"{job} submitted {options}".rstrip())
    with (FOLDER / f"{job}.out").open("w") as out:
        arguments = [sys.executable, __file__, "execute", str(job), command]
        subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)
    return job


def execute(job, command):
    """Wait for a place, run a job, and set its state."""
    chance, happens = random.Random(job), fate(job)
    time.sleep(chance.uniform(0.0, 2.0))
    places = [(FOLDER / f"place-{number}").open("w") for number in range(SLOTS)]
    while not (place := next(filter(taken, places), None)):
        time.sleep(0.1)
    if (FOLDER / f"{job}.cancelled").is_file():
        return set_state(job, "failed")
    lost = happens.startswith("is lost")
    note(f"{job} {happens or 'runs'}")
    if "while" in happens or not happens:
        child = subprocess.Popen(["bash", "-c", command], start_new_session=True)
        (FOLDER / f"{job}.process").write_text(str(child.pid))
        try:
            code = child.wait(chance.uniform(1.0, 4.0) if happens else None)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            code = child.wait()
    else:
        code = 1
    place.close()
    set_state(job, "unknown" if lost else "failed" if code else "success")


def taken(place):
    try:
        fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def cancel(jobs):
    for job in jobs:
        (FOLDER / f"{job}.cancelled").touch()
        process = FOLDER / f"{job}.process"
        if get_state(job) == "running" and process.is_file():
            os.killpg(int(process.read_text()), signal.SIGKILL)


def main(verb, *arguments):
    if verb == "submit":
        print(submit(f"bash {arguments[-1]}", " ".join(arguments[:-1])))
    elif verb == "execute":
        execute(int(arguments[0]), arguments[1])
    elif verb == "status":
        print({"unknown": "failed"}.get(state := get_state(arguments[0]), state))
    elif verb in ("cancel", "bkill"):
        cancel(arguments)
    elif verb == "bsub":
        print(f"Job <{submit(arguments[-1], ' '.join(arguments[:-1]))}> is submitted to a queue.")
    elif verb == "bjobs":
        states = {"running": "RUN", "success": "DONE", "failed": "EXIT", "unknown": "EXIT"}
        for path in sorted(FOLDER.glob("*.state")):
            print(path.stem, states[get_state(path.stem)])
    elif verb == "badmin":
        print(f"mbd configuration:\nLSB_SHAREDIR = {FOLDER}\nLSF_CONFDIR = {FOLDER}")
    elif verb == "lsclusters":
        print("CLUSTER_NAME STATUS\nfake ok")


if __name__ == "__main__":
    main(*sys.argv[1:])
