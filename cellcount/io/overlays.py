"""Overlays: pictures as large as the image, drawn with Pillow: matplotlib would take longer than the count."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cellcount.types import Prediction

if TYPE_CHECKING:
    import PIL.Image

ORANGE = (230, 159, 0)  # Okabe and Ito's stands out from gray for every eye; `style` would import matplotlib
RING = 255  # its place in the palette, behind the gray values
SPACING = 24.0  # px; the thesis images' median distance of neighbours


def overlay(image: np.ndarray, prediction: Prediction, *, factor: int = 1) -> PIL.Image.Image:
    """The whole image at its own resolution, with a ring around every predicted cell.

    Parameters
    ----------
    image : (H, W) float32
        Shown from its 0.1 to its 99.9 percentile.
    prediction : Prediction
    factor : int
        How much `image` was shrunken, where the prediction is that of the full image.

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
    """A quarter of the spacing, px: rings of neighbours do not touch."""
    spacing = SPACING
    if len(points) > 2:  # of some points, so that a plain table of distances does: scipy takes longer to import
        some = points[:: max(1, len(points) ** 2 // 200_000)]
        squared = ((some[:, None] - points[None]) ** 2).sum(axis=2)
        spacing = float(np.sqrt(np.median(np.partition(squared, 1, axis=1)[:, 1])))
    return float(np.clip(0.27 * spacing, 2.5, 20))
