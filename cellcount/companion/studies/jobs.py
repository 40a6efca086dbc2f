"""Many trainings, one result file: each one's rows are written as soon as they are there."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

from cellcount import results
from cellcount.errors import DataError


def run_jobs(
    jobs: Sequence[Mapping[str, Any]], work: Callable[..., pd.DataFrame], *, out: Path | str, progress: bool = True
) -> pd.DataFrame:
    """Run what `out` does not have yet, and return all rows.

    Parameters
    ----------
    jobs : list of dict
        Keyword arguments of `work`, of types that JSON knows; they name the job, in the column `job`.
    work : function of a job's arguments -> DataFrame of `results.rows`
    out : path
        CSV; rewritten after each job, so that a stop loses one job at most. Rows of jobs that are not asked for stay.
    progress : bool

    Returns
    -------
    DataFrame of `results.rows` with the column `job`, a JSON object; only of the jobs asked for, in their order

    Raises
    ------
    DataError
        If `out` exists and is not such a file.
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
        raise DataError("No job was given: there is nothing to compute.")
    done = _read(out)  # as a later run would find it
    order = {name: i for i, name in enumerate(names)}
    asked = done[done.job.isin(order)]
    return asked.sort_values("job", key=lambda column: column.map(order), kind="stable", ignore_index=True)


def _read(path):
    frame = results.read(path)
    if "job" not in frame:
        raise DataError(f"{path}: result rows, but not of a study (no column job); choose another file with --out.")
    return frame


def spread(frame: pd.DataFrame) -> pd.DataFrame:
    """The columns of the jobs' arguments beside the rows: a copy of the frame with one column for each argument."""
    arguments = pd.DataFrame([json.loads(job) for job in frame.job], index=frame.index)
    return pd.concat([frame.drop(columns=[name for name in arguments if name in frame]), arguments], axis=1)


def seed_of(**job: Any) -> int:
    """A seed below 2^31 that only this job has, the same on every machine."""
    return int.from_bytes(hashlib.sha256(json.dumps(job, sort_keys=True).encode()).digest()[:4], "big") >> 1
