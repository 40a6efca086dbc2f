"""The state of a training beside its weights file, from which the same call goes on after it was killed."""

import hashlib
import importlib
import io
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from cellcount.data.sources import sample_sha256
from cellcount.errors import DISTRIBUTION
from cellcount.files import TEMPORARY, replacing
from cellcount.manifest import Clock
from cellcount.types import Sample

if TYPE_CHECKING:
    import torch

SECONDS = 60.0  # of a training that a kill can cost
# Weights files whose states stay until `kept` ends, and what it yields of each.
_KEPT: dict[Path, dict[str, tuple[float, float]]] = {}


class State:
    """The state of one training of a weights file.

    Parameters
    ----------
    out : path
        The weights file that will be written. The state is a hidden file in its folder.
    label : str
        Of the network, where several are trained for one file.
    settings : dataclass
    samples : list of Sample
    device : torch.device
    parts : dict
        What has `state_dict` and `load_state_dict`: networks, optimiser, schedule.
    more : JSON values
        What else decides the result, such as the hash of the initial weights. A state of another version of the
        method, of this package or of torch, of other settings or samples, or of another kind of device or number of
        threads is not taken.
    """

    def __init__(
        self,
        out: Path | str,
        label: str,
        settings: Any,
        samples: Sequence[Sample],
        device: "torch.device",
        parts: Mapping[str, Any],
        *more: Any,
    ) -> None:
        import torch

        method = importlib.import_module(type(settings).__module__.rpartition(".")[0])
        versions = [method.VERSION, version(DISTRIBUTION), torch.__version__]
        about = [label, asdict(settings), device.type, torch.get_num_threads(), versions, *more]
        about += [(s.name, sample_sha256(s), np.asarray(s.meta.get("probability", ())).tolist()) for s in samples]
        digest = hashlib.sha256(json.dumps(about, default=str).encode())
        self._identity, self._parts, self._device, self._label = digest.hexdigest(), parts, device, label
        self._path = _folder(out) / f"{_prefix(out)}{hashlib.sha256(label.encode()).hexdigest()[:8]}.state"
        self._out, self._written, self._clock = Path(out), time.monotonic(), Clock()

    def read(self, tell: bool = False) -> dict[str, Any] | None:
        """Give the parts the state that was written last, and return what was written with them, or None.

        Files of other calls, and damaged ones, are left alone: the next `write` replaces them. With `tell`, a line on
        stderr says that the training goes on.
        """
        import torch

        try:
            content = self._path.read_bytes() if self._path.is_file() else b""
            if hashlib.sha256(content[32:]).digest() != content[:32]:
                return None
            kept = torch.load(io.BytesIO(content[32:]), map_location="cpu", weights_only=True)
        except Exception:  # whatever is wrong with the file, the training begins anew
            return None
        if kept["identity"] != self._identity:
            return None
        if tell:
            tqdm.write(f"{self._label}: goes on from the state that an earlier call has left", file=sys.stderr)
        for name, part in self._parts.items():
            part.load_state_dict(kept["parts"][name])
        self._clock = self._clock.earlier(*kept["spent"])
        _KEPT.get(self._out, {})[self._label] = tuple(kept["spent"])
        torch.set_rng_state(kept["random"])
        if self._device.type == "cuda":
            torch.cuda.set_rng_state(kept["random_gpu"], self._device)
        return kept["more"]

    def due(self) -> bool:
        """Whether the state was not written for `SECONDS`."""
        return time.monotonic() - self._written >= SECONDS

    def write(self, more: Mapping[str, Any]) -> None:
        """Write the parts, and `more`: tensors, numbers, texts, lists and dicts. A full disk ends no training."""
        import torch

        kept = {"identity": self._identity, "more": dict(more), "random": torch.get_rng_state()}
        kept["spent"] = list(self._clock.spent())
        kept["parts"] = {name: part.state_dict() for name, part in self._parts.items()}
        if self._device.type == "cuda":
            kept["random_gpu"] = torch.cuda.get_rng_state(self._device)
        content = io.BytesIO()
        torch.save(kept, content)
        if self._path.is_file() or not os.path.lexists(self._path):
            with suppress(OSError), replacing(self._path) as temporary:
                temporary.write_bytes(hashlib.sha256(content.getvalue()).digest() + content.getvalue())
        self._written = time.monotonic()


@contextmanager
def kept(out: Path | str) -> Iterator[dict[str, tuple[float, float]]]:
    """Keep the states of a weights file until the block has ended without an error, as what else belongs to it.

    Yields, by the label of each network, the seconds that earlier calls have spent on what this one goes on from, on
    the clock and of all cores.
    """
    try:
        yield _KEPT.setdefault(Path(out), {})
    finally:
        _KEPT.pop(Path(out), None)
    done(out)


def done(out: Path | str) -> None:
    """Remove the states of a weights file that has been written, unless within `kept`."""
    if Path(out) in _KEPT:
        return
    for path in _folder(out).glob(f"{_prefix(out)}*.state"):
        with suppress(OSError):
            path.unlink()


def _folder(out):
    return Path(os.path.realpath(out)).parent


def _prefix(out):
    """How the names of the hidden files of a weights file begin."""
    return f"{TEMPORARY}{hashlib.sha256(os.fsencode(Path(os.path.realpath(out)).name)).hexdigest()[:16]}-"
