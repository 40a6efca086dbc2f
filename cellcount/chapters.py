"""What a chapter of the book imports: glue, figures, tables, numbers, and where its result files go."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import display
from matplotlib.figure import Figure

try:
    from myst_nb import glue
except ImportError:  # Colab has no myst_nb, and nothing there reads what is glued

    def glue(name: str, value: object, display: bool = False) -> None:
        """Keep quiet where no book is rendered."""


DPI = 200  # of the figures: the PDF prints them 15 cm wide
KEPT = ("phantom", "thesis", "vgg-cells")  # datasets of which `results/` keeps longer runs
LONG_TABLE = 30  # rows from which Sphinx lets a table break over pages


def setup() -> None:
    """Set what every chapter shares: sharp figures in pages of the book, and no progress bars in them."""
    os.environ.setdefault("TQDM_DISABLE", "1")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow greets on stderr
    from matplotlib_inline.backend_inline import set_matplotlib_formats

    set_matplotlib_formats("png")
    plt.rcParams.update({"figure.dpi": DPI, "savefig.dpi": DPI, "figure.facecolor": "none"})


def figure(fig: Figure) -> None:
    """Show a matplotlib Figure, once: an open figure would come a second time at the end of the cell."""
    plt.close(fig)
    display(fig)


def run_dir() -> Path:
    """Folder (Path, made if missing) for this run's result files.

    The runner names it in CELLCOUNT_RUN_DIR; without a runner it is build/runs/adhoc of the repository, or of the
    working directory where there is no repository (Colab).
    """
    here = Path.cwd()
    root = next((folder for folder in (here, *here.parents) if (folder / "_toc.yml").exists()), here)
    folder = Path(os.environ.get("CELLCOUNT_RUN_DIR") or root / "build" / "runs" / "adhoc")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


class Table:
    """A numbered table: MyST for the book (HTML and PDF alike), HTML for notebook viewers."""

    def __init__(
        self, header: Sequence[str], body: Sequence[Sequence[str]], right: Sequence[bool], caption: str, name: str
    ) -> None:
        self.header, self.body, self.right, self.caption, self.name = header, body, right, caption, name

    def _repr_markdown_(self) -> str:
        rule = ["---:" if right else ":---" for right in self.right]
        widths = "".join("lr"[right] for right in self.right)  # for LaTeX, where only these two break over pages ...
        if len(self.body) < LONG_TABLE:
            widths = widths.upper()  # ... and these wrap their text
        lines = ["| " + " | ".join(row) + " |" for row in (self.header, rule, *self.body)]
        # colons: a fence of backticks could not have a role in its caption
        columns = [f":::{{tabularcolumns}} {widths}", ":::", ""]
        return "\n".join([*columns, f":::{{table}} {self.caption}", f":name: {self.name}", "", *lines, ":::"])

    def _repr_html_(self) -> str:
        return pd.DataFrame(self.body, columns=self.header).to_html(index=False, border=0)

    def __repr__(self) -> str:
        return pd.DataFrame(self.body, columns=self.header).to_string(index=False)


def table(
    frame: pd.DataFrame, caption: str, name: str, formats: Mapping[str, str | Callable[[Any], str]] | None = None
) -> Table:
    """Make a data frame a numbered table of the book.

    Parameters
    ----------
    frame : pandas.DataFrame
        Shown without its index; column names become the header.
    caption : str
        One line of MyST.
    name : str
        Label to refer to: ``{numref}`name` ``.
    formats : dict, optional
        Column name -> format, as in ``{"F1": "{:.2f}"}``, or a function of the value. Floats default to two
        decimals, whole numbers to `integer`; what is missing becomes a dash.
    """
    if "\n" in caption:
        raise ValueError(f"table {name}: the caption must be one line")
    unknown = set(formats or {}) - set(frame.columns)
    if unknown:
        raise ValueError(f"table {name}: formats for columns that it does not have: {', '.join(sorted(unknown))}")
    columns = []
    for column in frame.columns:
        style = (formats or {}).get(column, _default)
        style = style.format if isinstance(style, str) else style
        columns.append([_escape("–" if _missing(value) else style(value)) for value in frame[column]])
    body = [list(row) for row in zip(*columns)]
    right = [
        pd.api.types.is_numeric_dtype(frame[column]) and not pd.api.types.is_bool_dtype(frame[column])
        for column in frame.columns
    ]
    return Table([_escape(str(column)) for column in frame.columns], body, right, caption, name)


def _missing(value):
    return value is None or (pd.api.types.is_scalar(value) and pd.isna(value))


def _default(value):
    if pd.api.types.is_bool(value):
        return "yes" if value else "no"
    if pd.api.types.is_integer(value):
        return integer(value)
    return f"{value:.2f}" if pd.api.types.is_float(value) else str(value)


def _escape(text):
    return text.replace("|", "\\|").replace("\n", " ")


def integer(value: float) -> str:
    """A whole number as text, with commas between the thousands: 12,345."""
    return f"{round(value):,}"


def percent(value: float, decimals: int = 0) -> str:
    """A ratio as text: 0.123 -> '12 %' (the space does not break)."""
    return f"{100 * value:.{decimals}f}\u00a0%"


def interval(value: float, low: float, high: float, decimals: int = 2) -> str:
    """A value with its interval as text: '0.71 (0.68–0.74)'."""
    return f"{value:.{decimals}f} ({low:.{decimals}f}–{high:.{decimals}f})"


def scores(summary: pd.DataFrame) -> pd.DataFrame:
    """Lines of `results.summary` as a page has room for, F1 with its interval in one column: a data frame."""
    return pd.DataFrame(
        {
            "method": summary.method,
            "reading": summary.reading,
            "predicted": summary.n_pred,
            "P": summary.precision,
            "R": summary.recall,
            "F1 (95 % interval)": [interval(*values) for values in summary[["f1", "f1_low", "f1_high"]].to_numpy()],
            "distance (px)": summary.mean_distance_px,
        }
    )


def mask_scores(summary: pd.DataFrame) -> pd.DataFrame:
    """Lines of `results.mask_summary` as a page has room for: a data frame without the columns that are empty."""
    names = {
        "method": "method", "n_masks": "masks", "ap50": "AP at .5", "ap75": "AP at .75", "msa": "mSA", "pq": "PQ",
        "sq": "overlap of pairs", "rq": "F1 of masks", "box_iou": "IoU of boxes", "box_half": "boxes of .5 or more",
    }  # fmt: skip
    return summary[[name for name in names if name in summary]].rename(columns=names)


def training(rows: pd.DataFrame) -> pd.DataFrame:
    """Lines of `methods.trained.trainings` as a page has room for: a data frame with the minutes of each training."""
    return pd.DataFrame(
        {
            "method": rows.method,
            "trained on": [names if names.count(" ") < 2 else f"{names.count(' ') + 1} fields" for names in rows.train],
            "minutes": [f"{seconds / 60:.1f}" for seconds in rows.seconds],
            "threads": [str(threads) for threads in rows.threads],
            "device": rows.device,
        }
    )


def prompt_scores(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of `metrics.prompt_scores` as a page has room for: a data frame with one line for each method and type.

    Parameters
    ----------
    rows : DataFrame
        With the columns method and type; rows of several images are pooled. Columns without a value are left out.
    """
    from cellcount.metrics import prompt_summary

    lines = []
    for (method, kind), group in rows.groupby(["method", "type"], sort=False):
        found = prompt_summary(group.to_dict("records"))
        low, middle, high = (found[f"area_{name}"] for name in ("low", "median", "high"))
        lines.append(
            {
                "method": method,
                "prompt": kind,
                "masks per prompt": found["masks_per_prompt"],
                "area (px)": f"{middle:,.0f} ({low:,.0f}–{high:,.0f})" if found["masks_per_prompt"] else None,
                "contested": found["contested"],
                "on another": found["others"],
                "IoU with the cell": found["iou"],
                "at least .5": found["half"],
                "IoU with drawn boxes": found["box_iou"],
            }
        )
    return pd.DataFrame(lines).dropna(axis="columns", how="all")


def backbone_scores(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows as `prompt_scores` takes them, with one line for each method and two columns for each type of prompt.

    The columns of a type are the mean intersection over union with the cells (with the drawn boxes where no true
    cells are known), and the share of masks on another cell's click.
    """
    lines = {}
    for _, line in prompt_scores(rows).iterrows():
        known = "IoU with the cell" if "IoU with the cell" in line else "IoU with drawn boxes"
        found = lines.setdefault(line.method, {"backbone": line.method})
        found |= {line.prompt: line.get(known), f"{line.prompt}: on another": line["on another"]}
    return pd.DataFrame(list(lines.values()))


def kept(chapter: str, part: str = "") -> dict[str, pd.DataFrame]:
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
    from cellcount import results

    folder = Path("..") / "results"  # a chapter runs in book/
    files = {name: folder / results.kept_name(chapter, name, part) for name in KEPT}
    return {name: results.table(path) for name, path in files.items() if path.is_file()}


def joined(frames: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The rows of several data sets in one data frame, with their names in a first column, data.

    Parameters
    ----------
    frames : dict of dataset to DataFrame
    """
    frame = pd.concat([rows.assign(data=name) for name, rows in frames.items()], ignore_index=True)
    return frame[["data", *frame.columns.drop("data")]]


def show_kept(chapter: str, caption: str) -> None:
    """Show the scores of points and of masks in longer runs of a chapter, and their training, or how to make such runs.

    Parameters
    ----------
    chapter : str
        As in "cellpose"; the tables are called `table-cellpose-kept`, `table-cellpose-kept-masks` and
        `table-cellpose-kept-training`.
    caption : str
        What was run, as the beginning of a sentence.
    """
    from IPython.display import Markdown

    from cellcount import results

    points = {name: scores(results.summary(rows)) for name, rows in kept(chapter).items()}
    masks = {name: mask_scores(results.mask_summary(rows)) for name, rows in kept(chapter, "masks").items()}
    trained = {name: training(rows) for name, rows in kept(chapter, "training").items()}
    if not points:
        display(Markdown(f"None is kept yet: `python -m cellcount.runner keep {chapter} --data phantom` makes one."))
    parts = [(points, "kept", "Points"), (masks, "kept-masks", "Masks"), (trained, "kept-training", "Training")]
    for lines, name, what in parts:
        if lines:
            display(table(joined(lines), f"{what}: {caption}.", f"table-{chapter}-{name}"))
