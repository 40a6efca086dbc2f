"""The README's picture: a simulated field, its clicks, and what the shipped weights find. `make picture`."""

import sys

import numpy as np

from cellcount.companion.plots.style import DPI, WIDTH, mark, new_figure, scale_bar, show, styled
from cellcount.data import phantom
from cellcount.files import replacing
from cellcount.methods import cellnet

SIDE = 320  # px


@styled
def picture(sample, prediction):
    """Three views of one part of the field, as a Figure: image, clicks, predicted cells."""
    figure = new_figure(WIDTH, WIDTH / 3 + 0.3)
    window = (*(np.array(sample.image.shape) - SIDE) // 2, SIDE, SIDE)
    panels = figure.subplots(1, 3)
    for axes, title in zip(panels, ("a simulated field", "clicks", "CellNet"), strict=True):
        show(axes, sample.image, title=title, window=window)
    mark(panels[1], sample.points, "annotated")
    mark(panels[2], prediction.points, "predicted")
    scale_bar(panels[0], sample.pixel_size_um)
    return figure


if __name__ == "__main__":
    sample = phantom.load("test")[1]
    figure = picture(sample, cellnet.predict(sample.image, device="cpu"))
    with replacing(sys.argv[1]) as temporary:
        figure.savefig(temporary, dpi=DPI)
