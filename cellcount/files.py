"""Writing files completely or not at all, and hashing them."""

import csv
import errno
import hashlib
import os
import re
import shlex
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: a killed process leaves its temporary files
    fcntl = None  # type: ignore[assignment]

TEMPORARY = ".cellcount-"  # begins the name of a temporary file, since a name with the file's own may be too long
SMALL = 2**20  # bytes
# What spreadsheet programs take for a formula, at the beginning of a cell, or after what separates cells elsewhere.
_FORMULA = re.compile(r"(^|[;\t\r\n])('*[=+\-@\uff1d\uff0b\uff0d\uff20])")
_KEPT = re.compile(_FORMULA.pattern.replace("('*", "'('*"))


def as_argument(path: Path | str) -> str:
    """A path as it can be copied into a shell's command: in quotes if need be, and not as an option ("-a")."""
    return shlex.quote(f"./{path}" if str(path).startswith("-") else str(path))


@contextmanager
def replacing(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path in the same folder, which is moved to `path` if the block ends without an error.

    The temporary file has the suffix of `path`, by which many writers choose a format.
    """
    path = Path(os.path.realpath(path))  # a link stays, and the file that it points to is replaced
    if path.exists() and not path.is_file():
        yield path  # pipes and devices are written to; opening a folder fails
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = _temporary(path)
    mode = (path.stat() if path.exists() else os.fstat(handle)).st_mode & 0o777  # of a new file: by the umask
    try:
        yield temporary
        temporary.chmod(mode)  # writers of some formats put a file of their own in its place
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)  # not after the move: another process may have made its own by then
        raise
    finally:
        os.close(handle)


def _temporary(path: Path) -> tuple[int, Path]:
    """An open temporary file beside `path`, and its path.

    The name follows from that of `path`, so that the next call uses the file of one that was killed. While a process
    has it, it is locked, and another one gets a name of its own.
    """
    name = hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]
    temporary = path.with_name(f"{TEMPORARY}{name}{path.suffix}")
    with suppress(OSError, AttributeError):  # there is a link of this name; Windows has no such locks
        handle = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            held = os.fstat(handle)
            if os.path.samestat(held, os.lstat(temporary)) and held.st_nlink == 1:  # else it has become the file itself
                os.truncate(handle, 0)
                return handle, temporary
        except OSError as error:
            if error.errno in (errno.ENOTSUP, errno.ENOLCK, errno.ENOSYS):  # some network disks have no locks
                temporary.unlink()
        os.close(handle)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=TEMPORARY, suffix=path.suffix)
    Path(name).chmod(0o644)  # it was made for its user alone
    return handle, Path(name)


def sha256(path: Path | str) -> str:
    """Hexadecimal SHA-256 of a file. Raises OSError for a pipe or device, which may have no end."""
    if os.path.exists(path) and not os.path.isfile(path):
        raise OSError(f"{path} is not a regular file")
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size < SMALL:  # `file_digest` takes a millisecond to make its buffer
            return hashlib.sha256(file.read(size)).hexdigest()  # files of the system may have no end, and size 0
        return hashlib.file_digest(file, "sha256").hexdigest()


def as_cell(value: object) -> object:
    """A cell of a table that no spreadsheet program runs: before a text such as "=1+1" comes an apostrophe.

    Names of images and labels may come from anybody. Numbers stay, also as text; `from_cell` undoes it.
    """
    if not isinstance(value, str) or not _FORMULA.search(value):
        return value
    try:
        float(value)
        return value
    except ValueError:
        return _FORMULA.sub(r"\1'\2", value)


def from_cell(text: str) -> str:
    """The text of a cell that `as_cell` may have changed."""
    return _KEPT.sub(r"\1\2", text) if "'" in text else text


def write_csv(path: Path | str, header: Sequence[str], rows: Iterable[Sequence[object]]) -> Path:
    """Write a table as CSV, its cells by `as_cell`, completely or not at all; returns the path."""
    with replacing(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows([as_cell(cell) for cell in row] for row in rows)
    return Path(path)
