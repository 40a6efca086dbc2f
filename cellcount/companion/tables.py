"""Tables and numbers of the book's pages."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from cellcount.companion.studies.prompt_scores import prompt_summary

LONG_TABLE = 30  # rows from which Sphinx lets a table break over pages


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
