"""What CellNet is shown: clicks, where they are trusted, and the heatmap made from them."""

import numpy as np
from matplotlib.figure import Figure

from cellcount.companion.plots.style import WIDTH, mark, new_figure, scale_bar, show, styled
from cellcount.methods.cellnet.targets import heatmap
from cellcount.types import Sample


@styled
def target(sample: Sample, *, sigma: float, window: tuple[int, int, int, int]) -> Figure:
    """Three views of one part of a field: its clicks, the trusted region, and the heatmap to be learned.

    Parameters
    ----------
    sample : Sample with points
    sigma : float, px
        Width of the Gaussians.
    window : (y, x, height, width) px

    Returns
    -------
    Figure
    """
    y, x, height, width = window
    part = sample.crop(*window)
    figure = new_figure(WIDTH, WIDTH / 3 * height / width + 0.35)
    clicks, trusted, learned = figure.subplots(1, 3)
    show(clicks, part.image, title="image and clicks")
    mark(clicks, part.points, "annotated", size=5)
    scale_bar(clicks, sample.pixel_size_um)
    show(trusted, part.image * np.where(part.valid, 1.0, 0.35), title="where the clicks are trusted")
    heat = learned.imshow(heatmap(part.points, part.image.shape, sigma), cmap="viridis", vmin=0, vmax=1)
    learned.set(title="target", xticks=[], yticks=[])
    learned.spines[:].set_visible(False)
    figure.colorbar(heat, ax=learned, shrink=0.85, label="share of a full peak")
    return figure
