"""The state of a training beside its weights file, from which the same call goes on after it was killed."""

import hashlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cellcount.errors import DISTRIBUTION
from cellcount.files import TEMPORARY, replacing
from cellcount.types import Sample

SECONDS = 60.0  # of a training that a kill can cost


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
        What else decides the result, such as the hash of the initial weights. A state of another version of this
        package or of torch, of other settings, samples or of another kind of device is not taken.
    """

    def __init__(
        self,
        out: Path | str,
        label: str,
        settings: Any,
        samples: Sequence[Sample],
        device: torch.device,
        parts: Mapping[str, Any],
        *more: Any,
    ) -> None:
        about = [label, asdict(settings), device.type, version(DISTRIBUTION), torch.__version__, *more]
        digest = hashlib.sha256(json.dumps(about, default=str).encode())
        for sample in samples:
            digest.update(sample.name.encode())
            for array in (sample.image, sample.points, sample.valid, sample.labels, sample.meta.get("probability")):
                digest.update(b"-" if array is None else np.ascontiguousarray(array).tobytes())
        self._identity, self._parts, self._device = digest.hexdigest(), parts, device
        self._path = _folder(out) / f"{_prefix(out)}{hashlib.sha256(label.encode()).hexdigest()[:8]}.state"
        self._written = time.monotonic()

    def read(self) -> dict[str, Any] | None:
        """Give the parts the state that was written last, and return what was written with them, or None.

        Files of other calls, and those that cannot be read, are left alone: the next `write` replaces them.
        """
        try:
            kept = torch.load(self._path, map_location="cpu", weights_only=True)
            if kept["identity"] != self._identity or set(kept["parts"]) != set(self._parts):
                return None
        except Exception:  # whatever is wrong with the file, the training begins anew
            return None
        for name, part in self._parts.items():
            part.load_state_dict(kept["parts"][name])
        torch.set_rng_state(kept["random"])
        if self._device.type == "cuda":
            torch.cuda.set_rng_state(kept["random_gpu"], self._device)
        return kept["more"]

    def due(self) -> bool:
        """Whether the state was not written for `SECONDS`."""
        return time.monotonic() - self._written >= SECONDS

    def write(self, more: Mapping[str, Any]) -> None:
        """Write the parts, and `more`: tensors, numbers, texts, lists and dicts. A full disk ends no training."""
        kept = {"identity": self._identity, "more": dict(more), "random": torch.get_rng_state()}
        kept["parts"] = {name: part.state_dict() for name, part in self._parts.items()}
        if self._device.type == "cuda":
            kept["random_gpu"] = torch.cuda.get_rng_state(self._device)
        with suppress(OSError, RuntimeError), replacing(self._path) as temporary:  # torch's error of a full disk
            torch.save(kept, temporary)
        self._written = time.monotonic()


def done(out: Path | str) -> None:
    """Remove the states of a weights file that has been written."""
    for path in _folder(out).glob(f"{_prefix(out)}*.state"):
        with suppress(OSError):
            path.unlink()


def _folder(out):
    return Path(os.path.realpath(out)).parent


def _prefix(out):
    """How the names of the hidden files of a weights file begin."""
    return f"{TEMPORARY}{hashlib.sha256(os.fsencode(Path(os.path.realpath(out)).name)).hexdigest()[:16]}-"
