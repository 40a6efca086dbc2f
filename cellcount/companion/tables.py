"""Tables of the book's chapters, and numbers as text."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from cellcount.companion.studies.prompt_scores import prompt_summary

LONG_TABLE = 30  # rows from which Sphinx lets a table break over pages


@dataclass(frozen=True, repr=False)
class Table:
    """A numbered table: MyST for the book (HTML and PDF), HTML for notebook viewers; `right` aligns columns right."""

    header: Sequence[str]
    body: Sequence[Sequence[str]]
    right: Sequence[bool]
    caption: str
    name: str
    widths: Sequence[int] = ()

    def _repr_markdown_(self) -> str:
        rule = ["---:" if right else ":---" for right in self.right]
        widths = "".join("lr"[right] for right in self.right)  # in LaTeX, columns l and r break over pages ...
        if len(self.body) < LONG_TABLE:
            widths = widths.upper()  # ... and L and R wrap their text
        options = [f":name: {self.name}"]
        if self.widths:
            widths = "".join(rf"\X{{{width}}}{{{sum(self.widths)}}}" for width in self.widths)  # X does both
            options.append(":class: longtable")
        lines = ["| " + " | ".join(row) + " |" for row in (self.header, rule, *self.body)]
        # Fences of colons, as one of backticks allows no role in the caption.
        columns = [f":::{{tabularcolumns}} {widths}", ":::", ""]
        return "\n".join([*columns, f":::{{table}} {self.caption}", *options, "", *lines, ":::"])

    def _repr_html_(self) -> str:
        return pd.DataFrame(self.body, columns=self.header).to_html(index=False, border=0)

    def __repr__(self) -> str:
        return pd.DataFrame(self.body, columns=self.header).to_string(index=False)


def table(
    frame: pd.DataFrame,
    caption: str,
    name: str,
    formats: Mapping[str, str | Callable[[Any], str]] | None = None,
    widths: Sequence[int] = (),
) -> Table:
    """A data frame as a numbered table of the book.

    Parameters
    ----------
    frame : pandas.DataFrame
        Shown without its index.
    caption : str
        MyST on one line.
    name : str
        Label for references: ``{numref}`name` ``.
    formats : dict, optional
        Column name -> format, as in ``{"F1": "{:.2f}"}``, or a function of the value. The default is two decimals for
        floats and `integer` for whole numbers; missing values become a dash.
    widths : list of int
        Of the columns, as shares of the page's width in print, where a table of much text then breaks over pages.

    Raises
    ------
    ValueError
        If the caption has several lines, or a format belongs to no column.
    """
    formats = formats or {}
    if "\n" in caption:
        raise ValueError(f"table {name}: the caption must be one line")
    unknown = set(formats) - set(frame.columns)
    if unknown:
        raise ValueError(f"table {name}: there are no columns for the formats of {', '.join(sorted(unknown))}")
    columns, right = [], []
    for column, values in frame.items():
        style = formats.get(column, _default)
        style = style.format if isinstance(style, str) else style
        columns.append([_escape("–" if _missing(value) else style(value)) for value in values])
        right.append(pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values))
    body = [list(row) for row in zip(*columns)]
    return Table([_escape(str(column)) for column in frame.columns], body, right, caption, name, widths)


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
    """The columns of `results.summary` that a page has room for: a data frame, F1 and its interval in one column."""
    names = {
        "method": "method", "reading": "reading", "n_pred": "predicted", "precision": "P", "recall": "R",
        "f1": "F1 (95 % interval)", "mean_distance_px": "distance (px)",
    }  # fmt: skip
    f1 = [interval(*values) for values in summary[["f1", "f1_low", "f1_high"]].to_numpy()]
    return summary[list(names)].assign(f1=f1).rename(columns=names)


def mask_scores(summary: pd.DataFrame) -> pd.DataFrame:
    """The columns of `results.mask_summary` that a page has room for: a data frame."""
    names = {
        "method": "method", "n_masks": "masks", "ap50": "AP at .5", "ap75": "AP at .75", "msa": "mSA", "pq": "PQ",
        "sq": "overlap of pairs", "rq": "F1 of masks", "box_iou": "IoU of boxes", "box_half": "boxes of .5 or more",
    }  # fmt: skip
    return summary[[name for name in names if name in summary]].rename(columns=names)


def training(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of `companion.trained.trainings` with the columns that a page has room for: a data frame."""
    fields = [names if names.count(" ") < 2 else f"{names.count(' ') + 1} fields" for names in rows.train]
    minutes = [f"{seconds / 60:.1f}" for seconds in rows.seconds]
    frame = pd.DataFrame({"method": rows.method, "trained on": fields, "minutes": minutes})
    return frame.assign(threads=[str(threads) for threads in rows.threads], device=rows.device)


def prompt_scores(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of `studies.prompt_scores`, pooled: a data frame with one line for each method and type of prompt.

    Parameters
    ----------
    rows : DataFrame
        With the columns method and type; rows of several images are pooled. Empty columns are left out.
    """
    lines, names = [], {"contested": "contested", "others": "on another"}
    names |= {"iou": "IoU with the cell", "half": "at least .5", "small": "too small", "large": "too large"}
    names |= {"box_iou": "IoU with drawn boxes"}
    for (method, kind), group in rows.groupby(["method", "type"], sort=False):
        found = prompt_summary(group.to_dict("records"))
        low, middle, high = (found[f"area_{name}"] for name in ("low", "median", "high"))
        area = f"{middle:,.0f} ({low:,.0f}–{high:,.0f})" if found["masks_per_prompt"] else None
        line = {"method": method, "prompt": kind, "masks per prompt": found["masks_per_prompt"], "area (px)": area}
        lines.append(line | {label: found[name] for name, label in names.items()})
    return pd.DataFrame(lines).dropna(axis="columns", how="all")
