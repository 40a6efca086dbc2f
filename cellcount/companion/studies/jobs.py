"""Many jobs, such as trainings, with one result file that is written after each job."""

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

from cellcount import results
from cellcount.errors import DataError
from cellcount.types import Sample


def run_jobs(
    jobs: Sequence[Mapping[str, Any]], work: Callable[..., pd.DataFrame], *, out: Path | str, progress: bool = True
) -> pd.DataFrame:
    """Run the jobs whose rows are not in `out` yet, and return the rows of all.

    Parameters
    ----------
    jobs : list of dict
        Keyword arguments of `work`, of JSON's types. As JSON they are the job's name in the column `job`.
    work : function of a job's arguments -> DataFrame of `results.rows`
    out : path
        CSV, written after each job, so that an interruption loses one job at most. Rows of other jobs are kept.
    progress : bool

    Returns
    -------
    DataFrame of `results.rows` with the column `job`, of these jobs, in their order

    Raises
    ------
    DataError
        If there is no job, or `out` exists and is not such a file.
    """
    out = Path(out)
    done = _read(out) if out.exists() else None
    names = [json.dumps(job, sort_keys=True) for job in jobs]
    for name, job in zip(tqdm(names, desc=out.stem, unit="job", disable=not progress), jobs, strict=True):
        if done is not None and (done.job == name).any():
            continue
        new = work(**job).assign(job=name)
        done = new if done is None else pd.concat([done, new], ignore_index=True)
        results.write(done, out)
    if done is None:
        raise DataError("No job was given; choose at least one.")
    done = _read(out)  # as a later run would find it
    return pd.concat([done[done.job == name] for name in dict.fromkeys(names)], ignore_index=True)


def _read(path):
    frame = results.read(path)
    if "job" not in frame:
        raise DataError(f"{path}: no column job, so not the result file of a study. Choose another file with --out.")
    return frame


def spread(frame: pd.DataFrame) -> pd.DataFrame:
    """A copy of the rows with a column for each argument of their jobs."""
    arguments = pd.DataFrame([json.loads(job) for job in frame.job], index=frame.index)
    return pd.concat([frame.drop(columns=[name for name in arguments if name in frame]), arguments], axis=1)


def seed_of(**job: Any) -> int:
    """A seed below 2^31 from the arguments of a job, the same on every machine."""
    return int.from_bytes(hashlib.sha256(json.dumps(job, sort_keys=True).encode()).digest()[:4], "big") >> 1


@contextmanager
def cellnet_weights(train: Sequence[Sample], *, start: str | None = None, **params: Any) -> Iterator[Path]:
    """Weights of CellNet, trained from scratch unless `start` is given, in a file that is deleted afterwards.

    Arguments as for `cellnet.fit`.
    """
    from cellcount.methods import cellnet

    with tempfile.TemporaryDirectory() as folder:
        yield cellnet.fit(train, out=Path(folder) / "cellnet.safetensors", start=start, **params)
