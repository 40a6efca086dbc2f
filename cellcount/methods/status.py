"""What a method lacks before it can run here."""

from typing import NamedTuple


class Status(NamedTuple):
    """`state` is "ready", "needs weights" or "needs package"; `detail` says which, how large, and where to put it."""

    state: str
    detail: str
