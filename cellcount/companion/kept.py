"""Longer runs of chapters, kept in `results/`."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd
from IPython.display import Markdown, display

from cellcount import results
from cellcount.companion import page, tables
from cellcount.registry import DATASETS
from cellcount.types import Prediction, Sample


def file_name(chapter: str, dataset: str, part: str = "") -> str:
    """Name of the file in `results/` with the rows, or another part, of a chapter ("cellpose") run on a data set."""
    return f"{chapter}-{dataset}{f'-{part}' if part else ''}.csv"


def file(name: str) -> Path:
    """Where a file of `results/`, as "bench.csv", is on this machine: a Path. Long tables are there as .csv.gz."""
    path = page.root() / "results" / name
    compressed = Path(f"{path}.gz")
    return compressed if compressed.is_file() else path


def rows(chapter: str, part: str = "") -> dict[str, pd.DataFrame]:
    """Rows of longer runs of a chapter in `results/`, whose README names the commands.

    Parameters
    ----------
    chapter : str
        As in "cellpose".
    part : str
        "" for the chapter's rows, or the name of another file of its run, as in "masks".

    Returns
    -------
    dict of data set to DataFrame, without data sets that have no such file
    """
    files = {name: file(file_name(chapter, name, part)) for name in DATASETS}
    return {name: results.table(path) for name, path in files.items() if path.is_file()}


def joined(frames: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The rows of several data sets, frames being a dict of name to DataFrame, with the name as first column, data."""
    frame = pd.concat([rows.assign(data=name) for name, rows in frames.items()], ignore_index=True)
    return frame[["data", *frame.columns.drop("data")]]


def points(found: Iterable[tuple[Sample, Prediction]]) -> pd.DataFrame:
    """The points of predictions, with method, image, y_px, x_px (two decimals) and score, for a chapter's points.csv.

    `cellcount chapter keep` copies that file for simulated fields; {doc}`07-comparison` reads it.
    """
    frames = [
        prediction.to_frame()[["y_px", "x_px", "score"]]
        .round(2)
        .assign(method=prediction.meta["method"], image=sample.name)
        for sample, prediction in found
    ]
    return pd.concat(frames, ignore_index=True)[["method", "image", "y_px", "x_px", "score"]]


def show(chapter: str, caption: str, but: str = "") -> None:
    """Show scores of points and masks, and the training, of longer runs of a chapter, or the command for a run.

    Parameters
    ----------
    chapter : str
        As in "cellpose"; the tables are called `table-cellpose-kept`, `table-cellpose-kept-masks` and
        `table-cellpose-kept-training`.
    caption : str
        What was run.
    but : str
        A data set to leave out, as the page has a long run on it.
    """
    parts = {  # name of the file: (name of the table, beginning of its caption, table of its rows)
        "": ("kept", "Points", lambda frame: tables.scores(results.summary(frame))),
        "masks": ("kept-masks", "Masks", lambda frame: tables.mask_scores(results.mask_summary(frame))),
        "training": ("kept-training", "Training", tables.training),
    }
    for part, (name, what, shortened) in parts.items():
        lines = {data: shortened(frame) for data, frame in rows(chapter, part).items() if data != but}
        if lines:
            display(tables.table(joined(lines), f"{what}: {caption}.", f"table-{chapter}-{name}"))
        elif not part:
            display(Markdown(f"None is kept yet; `cellcount chapter keep {chapter} --data phantom` makes one."))
