"""Scenes that small networks learn in seconds."""

import numpy as np

from cellcount.types import Sample

DIAMETER = 20.0  # px of the discs


def scene(seed, shape=(160, 192), n=25):
    """Dark discs on gray, at least 18 px apart: a Sample that a small network learns in seconds."""
    rng = np.random.default_rng(seed)
    points = []
    while len(points) < n:
        point = rng.uniform(8, np.array(shape) - 8)
        if all(np.hypot(*(point - other)) > 18 for other in points):
            points.append(point)
    image = rng.normal(0.6, 0.02, shape)
    yy, xx = np.indices(shape)
    for y, x in points:
        image -= 0.3 * np.exp(-((yy - y) ** 2 + (xx - x) ** 2) / 18)
    return Sample(f"scene-{seed}", image.astype(np.float32), np.array(points))


def masks_scene(seed, shape=(160, 160), n=24):
    """Dark discs of 20 px on gray with their masks: a Sample that a small network learns in seconds."""
    rng = np.random.default_rng(seed)
    points = []
    while len(points) < n:
        point = rng.uniform(12, np.array(shape) - 12)
        if all(np.hypot(*(point - other)) > 24 for other in points):
            points.append(point)
    image = rng.normal(0.6, 0.02, shape)
    labels = np.zeros(shape, np.int32)
    yy, xx = np.indices(shape)
    for i, (y, x) in enumerate(points):
        inside = (yy - y) ** 2 + (xx - x) ** 2 <= (DIAMETER / 2) ** 2
        labels[inside] = i + 1
        image[inside] -= 0.25
    return Sample(f"scene-{seed}", image.astype(np.float32), np.array(points), labels=labels)
