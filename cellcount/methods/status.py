"""What a method lacks before it can run here."""

from importlib.util import find_spec
from typing import NamedTuple

from cellcount.errors import SMALLEST_EXTRA, install


class Status(NamedTuple):
    """`state` is "ready", "needs weights" or "needs package"; `detail` says which, how large, and where to put it."""

    state: str
    detail: str


def ready(detail: str, *packages: str) -> Status:
    """Ready, where these packages are installed; else "needs package", with the command that installs them."""
    lacking = [name for name in packages if find_spec(name) is None]
    if lacking:
        return Status("needs package", f"{', '.join(lacking)}: {install(SMALLEST_EXTRA.get(lacking[0], 'methods'))}")
    return Status("ready", detail)
