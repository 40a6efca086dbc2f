"""The claims ledger as one figure."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from cellcount.companion.plots import style

COLOURS = (style.BLUE, style.SKY, style.GREEN, style.VERMILLION, style.LIGHT)


@style.styled
def verdicts(ledger: pd.DataFrame, names: Sequence[str]) -> Figure:
    """Number of claims by section of the draft, divided by verdict.

    Parameters
    ----------
    ledger : DataFrame of `studies.claims.frame`
    names : list of str
        The verdicts, in the order of the bar; at most five.

    Returns
    -------
    Figure
    """
    table = pd.crosstab(ledger.section, ledger.verdict).reindex(index=list(dict.fromkeys(ledger.section)), fill_value=0)
    figure, axes = style.plot(height=0.32 * len(table) + 1.0, xlabel="statements")
    left = pd.Series(0, table.index)
    for name, colour in zip(names, COLOURS, strict=False):
        values = table.get(name, pd.Series(0, table.index))
        bars = axes.barh(table.index, values, left=left, color=colour, label=name, edgecolor="white", linewidth=0.8)
        axes.bar_label(bars, [str(value) if value else "" for value in values], label_type="center", fontsize=8)
        left = left + values
    axes.invert_yaxis()
    axes.grid(True, axis="x")
    axes.grid(False, axis="y")
    axes.tick_params(axis="y", length=0)
    return style.legend(figure)
