"""Longer runs of chapters, kept in `results/`."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from IPython.display import Markdown, display

from cellcount import results
from cellcount.companion import tables

KEPT = ("phantom", "thesis", "vgg-cells")  # datasets of which `results/` keeps longer runs


def file_name(chapter: str, dataset: str, part: str = "") -> str:
    """File name in `results/` for what a run of a chapter ("cellpose") on a dataset left: its rows, or another part."""
    return f"{chapter}-{dataset}{f'-{part}' if part else ''}.csv"


def rows(chapter: str, part: str = "") -> dict[str, pd.DataFrame]:
    """Rows of longer runs of a chapter that `results/` keeps; its README says how they are made.

    Parameters
    ----------
    chapter : str
        As in "cellpose".
    part : str
        "" for the chapter's rows, else the name of another file of its run, as in "masks".

    Returns
    -------
    dict of dataset to DataFrame, of those that are there
    """
    folder = Path("..") / "results"  # a chapter runs in book/
    files = {name: folder / file_name(chapter, name, part) for name in KEPT}
    return {name: results.table(path) for name, path in files.items() if path.is_file()}


def joined(frames: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The rows of several data sets in one data frame, with their names in a first column, data.

    Parameters
    ----------
    frames : dict of dataset to DataFrame
    """
    frame = pd.concat([rows.assign(data=name) for name, rows in frames.items()], ignore_index=True)
    return frame[["data", *frame.columns.drop("data")]]


def show(chapter: str, caption: str) -> None:
    """Show the scores of points and of masks in longer runs of a chapter, and their training, or how to make such runs.

    Parameters
    ----------
    chapter : str
        As in "cellpose"; the tables are called `table-cellpose-kept`, `table-cellpose-kept-masks` and
        `table-cellpose-kept-training`.
    caption : str
        What was run, as the beginning of a sentence.
    """
    points = {name: tables.scores(results.summary(lines)) for name, lines in rows(chapter).items()}
    masks = {name: tables.mask_scores(results.mask_summary(lines)) for name, lines in rows(chapter, "masks").items()}
    trained = {name: tables.training(lines) for name, lines in rows(chapter, "training").items()}
    if not points:
        display(Markdown(f"None is kept yet: `cellcount chapter keep {chapter} --data phantom` makes one."))
    parts = [(points, "kept", "Points"), (masks, "kept-masks", "Masks"), (trained, "kept-training", "Training")]
    for lines, name, what in parts:
        if lines:
            display(tables.table(joined(lines), f"{what}: {caption}.", f"table-{chapter}-{name}"))
