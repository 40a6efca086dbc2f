"""What a chapter of the book imports: glue, figures, tables, numbers, and where its result files go."""

import os
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import display

try:
    from myst_nb import glue
except ImportError:  # Colab has no myst_nb, and nothing there reads what is glued

    def glue(name, value, display=False):
        """Keep quiet where no book is rendered."""


DPI = 200  # of the figures: the PDF prints them 15 cm wide
LONG_TABLE = 30  # rows from which Sphinx lets a table break over pages


def setup():
    """Set what every chapter shares: sharp figures in pages of the book, and no progress bars in them."""
    os.environ.setdefault("TQDM_DISABLE", "1")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow greets on stderr
    from matplotlib_inline.backend_inline import set_matplotlib_formats

    set_matplotlib_formats("png")
    plt.rcParams.update({"figure.dpi": DPI, "savefig.dpi": DPI, "figure.facecolor": "none"})


def figure(fig):
    """Show a matplotlib Figure, once: an open figure would come a second time at the end of the cell."""
    plt.close(fig)
    display(fig)


def run_dir():
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

    def __init__(self, header, body, right, caption, name):
        self.header, self.body, self.right, self.caption, self.name = header, body, right, caption, name

    def _repr_markdown_(self):
        rule = ["---:" if right else ":---" for right in self.right]
        widths = "".join("lr"[right] for right in self.right)  # for LaTeX, where only these two break over pages ...
        if len(self.body) < LONG_TABLE:
            widths = widths.upper()  # ... and these wrap their text
        lines = ["| " + " | ".join(row) + " |" for row in (self.header, rule, *self.body)]
        # colons: a fence of backticks could not have a role in its caption
        columns = [f":::{{tabularcolumns}} {widths}", ":::", ""]
        return "\n".join([*columns, f":::{{table}} {self.caption}", f":name: {self.name}", "", *lines, ":::"])

    def _repr_html_(self):
        return pd.DataFrame(self.body, columns=self.header).to_html(index=False, border=0)

    def __repr__(self):
        return pd.DataFrame(self.body, columns=self.header).to_string(index=False)


def table(frame, caption, name, formats=None):
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


def integer(value):
    """A whole number as text, with commas between the thousands: 12,345."""
    return f"{round(value):,}"


def percent(value, decimals=0):
    """A ratio as text: 0.123 -> '12 %' (the space does not break)."""
    return f"{100 * value:.{decimals}f}\u00a0%"


def interval(value, low, high, decimals=2):
    """A value with its interval as text: '0.71 (0.68–0.74)'."""
    return f"{value:.{decimals}f} ({low:.{decimals}f}–{high:.{decimals}f})"


def scores(summary):
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


def mask_scores(predictions):
    """Scores of masks as a page has room for: a data frame with one line for each method.

    Parameters
    ----------
    predictions : dict of method to list of (Sample with labels, Prediction with labels)

    Returns
    -------
    DataFrame
        Pooled over samples: AP at .5 and .75, mSA, panoptic quality with its two factors.
    """
    from cellcount.metrics import segmentation_counts, segmentation_scores

    lines = []
    for method, pairs in predictions.items():
        counts = [row for s, p in pairs for row in segmentation_counts(s.labels, p.labels, valid=s.valid)]
        scores = segmentation_scores(counts)
        lines.append({"method": method, "masks": sum(len(p.points) for _, p in pairs)} | scores)
    names = {
        "ap50": "AP at .5",
        "ap75": "AP at .75",
        "msa": "mSA",
        "pq": "PQ",
        "sq": "overlap of pairs",
        "rq": "F1 of masks",
    }
    frame = pd.DataFrame(lines).rename(columns=names)
    return frame[["method", "masks", *names.values()]]


def reference(name):
    """Rows of a committed result file in `results/`, or None where nobody has computed it yet."""
    from cellcount import results

    path = Path("..") / "results" / name  # a chapter runs in book/
    return results.read(path) if path.is_file() else None
