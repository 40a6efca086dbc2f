"""The records of a count folder: one line of JSON for each counted image, of which the summary is put together."""

import errno
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, NamedTuple, Self

from cellcount.counting import Failure
from cellcount.errors import CellcountError, DataError
from cellcount.files import replacing, write_csv
from cellcount.io.images import SUFFIXES

RECORDS, SUMMARY, TABLE = "records.jsonl", "summary.json", "counts.csv"
LARGEST = 1e300  # a number that somebody has edited may be NaN, infinite, or have hundreds of digits
COLUMNS = ("image", "name", "count", "low", "high", "method", "weights", "threshold", "warnings")  # of counts.csv


class Known(NamedTuple):
    """What is kept in memory of an image: where it is, hexadecimal SHA-256, and where its record begins, in bytes."""

    source: str
    file: str
    run: str
    image_sha256: str
    predictions_sha256: str
    overlay: bool
    offset: int


class Records:
    """The records in a folder. As a context manager, it locks the folder for one process.

    Parameters
    ----------
    path : path of the folder

    Attributes
    ----------
    path : Path
    index : dict of name to Known
        Of the last record of each image; the record itself is read when it is needed.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.index: dict[str, Known] = {}

    def __enter__(self) -> Self:
        path = self.path / RECORDS
        try:
            self._file = open(path, "ab", buffering=0)  # what could not be written is not kept for later
            self._reading: BinaryIO = open(path, "rb")
        except OSError as error:
            raise DataError(f"{path} cannot be written ({error.strerror}); choose another place.") from error
        try:
            self._lock()
            self._load()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._reading.close()
        self._file.close()

    def _lock(self) -> None:
        """Refuse to write beside another call; the system ends the lock with the process. Not on Windows."""
        try:
            import fcntl
        except ModuleNotFoundError:
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DataError(f"{self.path}: another call is writing to this folder. Wait until it has ended.") from error
        except OSError:  # some network disks have no locks
            pass

    def _load(self) -> None:
        """Fill the index; a last line without an end, of a call that was killed, is cut off."""
        offset = 0
        for number, line in enumerate(self._reading, 1):
            if not line.endswith(b"\n"):
                self._file.truncate(offset)
                break
            try:
                self._index(checked(json.loads(line)), offset)
            except (ValueError, LookupError, TypeError, RecursionError) as error:
                place = f"{self.path / RECORDS}, line {number}"
                raise DataError(
                    f"{place}: not a record of `cellcount count`. Choose another folder with --out."
                ) from error
            offset += len(line)

    def _index(self, record: dict[str, Any], offset: int) -> Known:
        run = sys.intern(record["run"])
        hashes, overlay = (record["image_sha256"], record["predictions_sha256"]), bool(record["overlay"])
        known = self.index[record["name"]] = Known(record["source"], record["file"], run, *hashes, overlay, offset)
        return known

    def append(self, record: dict[str, Any]) -> Known:
        """Write a record: all of it, or nothing."""
        line, end = (json.dumps(record, default=str) + "\n").encode(), os.fstat(self._file.fileno()).st_size
        try:
            if self._file.write(line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except BaseException:
            self._file.truncate(end)
            raise
        return self._index(record, end)

    def record(self, name: str, file: BinaryIO | None = None) -> dict[str, Any]:
        """The last record of an image."""
        file = file or self._reading
        file.seek(self.index[name].offset)
        record: dict[str, Any] = json.loads(file.readline())
        return record

    def records(self, names: Iterable[str]) -> Iterator[dict[str, Any]]:
        """The last record of each of these images, one at a time; also after the folder was closed."""
        with open(self.path / RECORDS, "rb") as file:
            for name in names:
                yield self.record(name, file)

    def document(self, names: Iterable[str], failed: Sequence[Failure], **more: Any) -> Iterator[str]:
        """A JSON document in parts: `more`, images (the records of these names), and failed."""
        yield "{\n" + "".join(f" {json.dumps(key)}: {json.dumps(value)},\n" for key, value in more.items())
        yield ' "images": ['
        for number, record in enumerate(self.records(names)):
            yield f"{',' if number else ''}\n  {json.dumps(record)}"
        rows = [json.dumps({"image": failure.image, "error": str(failure.error)}) for failure in failed]
        yield "\n ],\n" + ' "failed": [' + ",".join(f"\n  {row}" for row in rows) + "\n ]\n}\n"

    def compose(self, failed: Sequence[Failure], quietly: bool = False, **more: Any) -> None:
        """Write `summary.json`, with `more`, and `counts.csv` from all records, and from the failures of this call.

        Raises
        ------
        CellcountError
            If they cannot be written, unless `quietly`.
        """
        try:
            with replacing(self.path / SUMMARY) as temporary, open(temporary, "w", encoding="utf-8") as file:
                file.writelines(self.document(self.index, failed, **more))
            write_csv(self.path / TABLE, COLUMNS, self._table(failed))
        except OSError as error:
            if not quietly:
                raise CellcountError(
                    f"{self.path / SUMMARY} cannot be written ({error}). {RECORDS} has all counts; the same call "
                    "writes the summary."
                ) from error

    def _table(self, failed: Sequence[Failure]) -> Iterator[tuple[object, ...]]:
        for record in self.records(self.index):
            low, high = record["count_interval"] or ("", "")
            weights = str(record.get("weights_sha256") or record.get("weights") or "")
            threshold = record.get("threshold", record["parameters"].get("threshold"))
            yield (
                _text(record["image"]), record["name"], f"{record['count']:.10g}", low, high, record["method"],
                weights[:8] if len(weights) == 64 else weights, "" if threshold is None else f"{threshold:.10g}",
                " ".join(record["warnings"]),
            )  # fmt: skip
        for failure in failed:
            yield _text(failure.image), *[""] * (len(COLUMNS) - 2), _text(f"not counted: {failure.error}")


def checked(record: dict[str, Any]) -> dict[str, Any]:
    """The record; raises ValueError, LookupError or TypeError if a value is of another kind than `count` writes.

    Its names are those of files in the folder, so that nothing is written outside of it.
    """
    keys = ("image", "source", "run", "image_sha256", "predictions_sha256", "name", "file", "method")
    texts, ends = [record[key] for key in keys], record["count_interval"] or (0, 0)
    numbers = [record["count"], *ends, abs({**record["parameters"], **record}.get("threshold") or 0)]
    kinds = all(isinstance(text, str) for text in texts + record["warnings"]) and isinstance(record["warnings"], list)
    kinds = kinds and all(isinstance(one, int | float) and 0 <= one < LARGEST for one in numbers) and len(ends) == 2
    if not kinds or not isinstance(record["overlay"], str | None):
        raise TypeError(record)
    for part in (record["name"], record["file"].removeprefix("images/")):
        if not part.encode() or part != os.path.basename(part) or "\0" in part:
            raise ValueError(part)
    if not record["file"].lower().endswith(SUFFIXES):
        raise ValueError(record["file"])
    return record


def _text(path: str) -> str:
    """A path that is no text (bytes of another encoding), as text."""
    return path.encode("utf-8", "backslashreplace").decode()
