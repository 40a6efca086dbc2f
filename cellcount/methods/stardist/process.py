"""A process of its own for StarDist: TensorFlow and torchvision in one process can end in a segmentation fault.

It depends on the order in which they are imported, which a notebook cannot guarantee. The process starts with the first
call and serves further ones, until its parent ends, which closes its input.
"""

import atexit
import inspect
import os
import pickle
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import cellcount
from cellcount.errors import CellcountError, NotAvailableError

WORKER = "cellcount.methods.stardist.worker"


class Process:
    """Runs functions of the worker's module, one at a time.

    Both ends are this package on one machine, so messages can be pickles.
    """

    def __init__(self, module: str = WORKER) -> None:
        self._module = module
        self._child: subprocess.Popen[bytes] | None = None
        self._lock = threading.RLock()

    def call(self, function: str, *, on_progress: Callable[[Any], None] | None = None, **params: Any) -> Any:
        """The result of the worker's `function(**params)`; `on_progress` gets the values that it reports meanwhile.

        Raises
        ------
        CellcountError
            Of the kind that the function raised.
        NotAvailableError
            If the process ends without a result, or the function failed in another way.
        """
        with self._lock:
            child = self._start()
            try:
                pickle.dump((function, params), child.stdin)
                child.stdin.flush()
                while True:
                    kind, value = pickle.load(child.stdout)
                    if kind == "result":
                        return value
                    if kind == "error":
                        raise value
                    if on_progress:
                        on_progress(value)
            except (EOFError, BrokenPipeError, pickle.UnpicklingError) as error:
                raise NotAvailableError(self._obituary()) from error
            except BaseException as error:
                if not isinstance(error, CellcountError):  # interrupted within a message
                    self.stop()
                raise

    def stop(self) -> None:
        """End the process; the next call starts a new one."""
        with self._lock:
            if self._child is not None:
                self._child.kill()
                self._child.communicate()
                self._child = None

    def _start(self):
        if self._child is None or self._child.poll() is not None:
            self._stderr = tempfile.TemporaryFile()
            root = str(Path(cellcount.__file__).parents[1])
            path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
            quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "1", "PYTHONPATH": path}
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": self._stderr}
            self._child = subprocess.Popen([sys.executable, "-m", self._module], env=os.environ | quiet, **pipes)
        return self._child

    def _obituary(self):
        with suppress(subprocess.TimeoutExpired):  # it may run, and have sent something that is no message
            self._child.wait(timeout=10)
        self._child.kill()
        code = self._child.wait()
        self._stderr.seek(0)
        lines = self._stderr.read().decode(errors="replace").strip().splitlines()
        self._child = None
        ended = f"signal {-code}" if code < 0 else f"code {code}"
        said = f": {lines[-1].strip()}" if lines else ""
        return f"StarDist's process ended with {ended}{said}. Try again; `cellcount doctor` checks the installation."


PROCESS = Process()
atexit.register(PROCESS.stop)


def answer(functions: Mapping[str, Callable[..., Any]]) -> None:
    """The worker's side: answer calls of `functions` (name -> function) until the parent's end of the pipe closes.

    A function that has a parameter `report` gets a function to report progress with.
    """
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # output of libraries must not come between two messages

    def send(kind, value):
        pickle.dump((kind, value), out)
        out.flush()

    while True:
        try:
            name, params = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        function = functions[name]
        if "report" in inspect.signature(function).parameters:
            params["report"] = lambda value: send("progress", value)
        try:
            send("result", function(**params))
        except CellcountError as error:
            send("error", error)
        except Exception as error:
            traceback.print_exc()
            send("error", NotAvailableError(f"StarDist failed: {type(error).__name__}: {error}"))
