"""Figures of the chapters on classical filters and on the foreground."""

import numpy as np

from cellcount.plots.style import (
    BLACK,
    CYCLE,
    DASHES,
    GRAY,
    LIGHT,
    MARKERS,
    SKY,
    VERMILLION,
    WIDTH,
    YELLOW,
    mark,
    new_figure,
    scale_bar,
    show,
    styled,
)

COLUMNS = 4


@styled
def answers(sample, maps, predictions, *, window):
    """What each filter answers to one part of a field, and the cells it makes of that.

    Parameters
    ----------
    sample : Sample with points
    maps : dict of title to (H, W) float
        Each is shown from its 1st to its 99.5th percentile.
    predictions : dict of the same titles to Prediction
    window : (y, x, height, width) px

    Returns
    -------
    Figure
        The first panel is the image with its annotated cells.
    """
    _, _, height, width = window
    rows = -(-(len(maps) + 1) // COLUMNS)
    figure = new_figure(WIDTH, rows * (WIDTH / COLUMNS * height / width + 0.25) + 0.3)
    panels = figure.subplots(rows, COLUMNS, squeeze=False).ravel()
    show(panels[0], sample.image, title="image", window=window)
    mark(panels[0], _inside(sample.points, window), "annotated", size=4, width=0.9, label="annotated")
    scale_bar(panels[0], sample.pixel_size_um)
    for axes, (title, answer) in zip(panels[1:], maps.items()):
        low, high = np.quantile(answer, [0.01, 0.995])
        show(axes, answer, value_range=(low, max(high, low + 1e-9)), title=title, window=window)
        found = _inside(predictions[title].points, window)
        mark(axes, found, "predicted", size=4, width=0.9, label="predicted")
    for axes in panels[len(maps) + 1 :]:
        axes.set_axis_off()
    handles = [panels[0].get_legend_handles_labels()[0][0], panels[1].get_legend_handles_labels()[0][0]]
    figure.legend(handles, ["annotated cell", "predicted cell"], loc="outside lower left", ncols=2)
    return figure


def _inside(points, window):
    """Those of (N, 2) points that the window shows, and no marks beyond its border."""
    y, x, height, width = window
    return points[((points >= [y, x]) & (points <= [y + height - 1, x + width - 1])).all(axis=1)]


@styled
def foregrounds(sample, maps, masks, truth, *, window):
    """Maps above, and below what is right and wrong with the masks made of them.

    Parameters
    ----------
    sample : Sample
    maps : dict of title to (H, W) float
    masks : dict of the same titles to (H, W) bool
    truth : (H, W) bool
    window : (y, x, height, width) px

    Returns
    -------
    Figure
        The first column is the image, and below it the true foreground.
    """
    _, _, height, width = window
    columns = len(maps) + 1
    figure = new_figure(WIDTH, 2 * (WIDTH / columns * height / width + 0.25) + 0.3)
    panels = figure.subplots(2, columns)
    show(panels[0, 0], sample.image, title="image", window=window)
    scale_bar(panels[0, 0], sample.pixel_size_um)
    _parts(panels[1, 0], sample.image, truth, truth, window, "true foreground")
    for (upper, lower), title in zip(panels.T[1:], maps):
        low, high = np.quantile(maps[title], [0.01, 0.995])
        show(upper, maps[title], value_range=(low, max(high, low + 1e-9)), title=title, window=window)
        _parts(lower, sample.image, masks[title], truth, window, "mask")
    # Beside the colour, what is wrong is drawn stronger than what is right.
    for colour, label in ((SKY, "found"), (VERMILLION, "false"), (YELLOW, "missed")):
        figure.axes[0].plot([], [], "s", color=colour, markersize=7, label=label)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower left", ncols=len(labels))
    return figure


def _parts(axes, image, mask, truth, window, title):
    """The image, tinted by what the mask gets right and wrong."""
    show(axes, image, title=title, window=window)
    layer = np.zeros((*image.shape, 4), np.float32)
    for part, colour, strength in (
        (mask & truth, SKY, 0.35),
        (mask & ~truth, VERMILLION, 0.75),
        (~mask & truth, YELLOW, 0.75),
    ):
        layer[part] = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)] + [strength]
    axes.imshow(layer, interpolation="nearest")


@styled
def error_by_density(lines, *, xlabel="cells per 10,000 px, by tenth of the windows"):
    """Relative error of a count in windows from sparse to dense.

    Parameters
    ----------
    lines : dict of label to list of dict, each as `cellcount.metrics.by_density` gives
        With densities in cells per px.
    xlabel : str

    Returns
    -------
    Figure
    """
    figure = new_figure(WIDTH, 3.0)
    axes = figure.add_subplot(xlabel=xlabel, ylabel="error of the count, relative")
    axes.axhline(0, color=GRAY, linewidth=0.9)
    for (label, groups), colour, dash, marker in zip(lines.items(), CYCLE, DASHES * 2, MARKERS):
        shown = [group for group in groups if np.isfinite(group["relative"])]
        x = [1e4 * group["density"] for group in shown]
        y = [group["relative"] for group in shown]
        axes.plot(x, y, color=colour, linestyle=dash, marker=marker, markersize=4.5, label=label)
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:+.0f} %" if value else "0")
    axes.grid(axis="y", color=LIGHT, linewidth=0.6)
    axes.set_xlim(0, None)
    axes.legend()
    return figure


@styled
def area_against_device(fields):
    """Cells per area as estimated from the foreground of each field, over what the counting device says of its flask.

    Parameters
    ----------
    fields : DataFrame
        One line for each field, with columns flask, objective, device (cells per cm² of the flask) and estimate.

    Returns
    -------
    Figure
        Small marks are fields, by their objective; the large ones are the flasks, the mean of their fields.
    """
    figure = new_figure(WIDTH, 3.4)
    axes = figure.add_subplot(
        xlabel="counting device (10⁵ cells per cm² of the flask)", ylabel="share covered by cells"
    )
    for (objective, group), colour, marker in zip(fields.groupby("objective"), CYCLE, MARKERS):
        axes.plot(
            group.device / 1e5, group.covered, linestyle="none", marker=marker, color=colour, markersize=4, alpha=0.7,
            label=f"field, {objective}x",
        )  # fmt: skip
    flasks = fields.groupby("flask").agg(device=("device", "first"), covered=("covered", "mean"))
    axes.plot(
        flasks.device / 1e5, flasks.covered, linestyle="none", marker="o", fillstyle="none", color=BLACK,
        markersize=11, label="flask, mean of its fields",
    )  # fmt: skip
    for flask, line in flasks.iterrows():
        axes.annotate(f"{flask}", (line.device / 1e5, line.covered), (9, -3), textcoords="offset points", fontsize=8.5)
    axes.set(xlim=(0, None), ylim=(0, 1.05))
    axes.grid(axis="y", color=LIGHT, linewidth=0.6)
    figure.legend(loc="outside right upper")
    return figure
