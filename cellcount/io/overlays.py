"""Overlays of the size of the image, drawn with Pillow, since matplotlib would take longer than the count."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cellcount.types import Prediction

if TYPE_CHECKING:
    import PIL.Image

ORANGE = (230, 159, 0)  # of Okabe and Ito: differs from gray also for colour-blind readers
RING = 255  # its index in the palette, after the gray values
SPACING = 24.0  # px; median distance of neighbours in the thesis images


def overlay(image: np.ndarray, prediction: Prediction, *, factor: int = 1) -> PIL.Image.Image:
    """The whole image at full resolution, with a ring around every predicted cell.

    Parameters
    ----------
    image : (H, W) float32
        Shown from its 0.1 to its 99.9 percentile.
    prediction : Prediction
        Of the image before downsampling.
    factor : int
        By which `image` was downsampled.

    Returns
    -------
    PIL.Image.Image
        W x H px, with a palette (mode P): gray values, and one colour of the rings. RGB would be three times as large.
    """
    from PIL import Image, ImageDraw

    step = max(1, int(np.sqrt(image.size / 1e6)))
    black, white = np.quantile(image[::step, ::step], [0.001, 0.999]).tolist()  # plain numbers keep float32
    gray = (image - black) * ((RING - 1) / (white - black or 1.0))
    picture = Image.fromarray(np.clip(np.rint(gray), 0, RING - 1).astype(np.uint8), "L")
    picture.putpalette([level for gray in range(RING) for level in 3 * [round(gray * 255 / (RING - 1))]] + [*ORANGE])
    draw = ImageDraw.Draw(picture)
    radius = max(1.0, _radius(prediction.points) / factor)
    for y, x in ((prediction.points + 0.5) / factor - 0.5).tolist():
        draw.ellipse([x - radius, y - radius, x + radius, y + radius], outline=RING, width=1 + (radius >= 5))
    return picture


def _radius(points: np.ndarray) -> float:
    """About a quarter of the cell spacing, px, so that the rings of neighbours do not touch."""
    spacing = SPACING
    if len(points) > 2:  # a matrix of distances from some of the points: scipy would take longer to import
        some = points[:: max(1, len(points) ** 2 // 200_000)]
        squared = ((some[:, None] - points[None]) ** 2).sum(axis=2)
        spacing = float(np.sqrt(np.median(np.partition(squared, 1, axis=1)[:, 1])))
    return float(np.clip(0.27 * spacing, 2.5, 20))
