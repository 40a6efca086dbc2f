"""The data of the viewer in the rendered book: simulated test fields, and what each method found in them.

    python workflow/look.py OUT

writes look.json, and for each field a picture and the outlines of its true cells, into the folder OUT. The points are
those of the published pages (results/NAME-phantom-points.csv.gz).
"""

import json
import sys
from pathlib import Path

import numpy as np
from matplotlib.colors import to_rgba_array
from PIL import Image
from skimage.segmentation import find_boundaries

from cellcount.companion.plots.style import METHOD, SKY
from cellcount.companion.studies import comparison
from cellcount.data import phantom
from cellcount.metrics import default_tolerance, match


def rounded(points):
    """Points (N, 2) as lists with one decimal, px."""
    return np.asarray(points, float).round(1).tolist()


def found(sample, points, tolerance):
    """What the viewer shows of a method: true, false and missed points, and scores."""
    matching = match(sample.points, points, tolerance)
    _, false, missed = matching.split(sample.points, points)
    marks = {"found": points[matching.pairs[:, 1]], "false": false, "missed": missed}
    return {kind: rounded(some) for kind, some in marks.items()} | {"count": len(points), "f1": round(matching.f1, 3)}


def write(out):
    """Write the files into the folder `out` (Path): its size, bytes."""
    out.mkdir(parents=True, exist_ok=True)
    points = {name: own for name, own in comparison.points("phantom", None)[0].items() if name in comparison.SHOWN}
    samples, none = phantom.load("test"), np.zeros((0, 2), np.float32)
    tolerance = float(round(min(default_tolerance(sample.points) for sample in samples)))
    judged = {name: [found(one, own.get(one.name, none), tolerance) for one in samples] for name, own in points.items()}
    best = sorted(judged, key=lambda name: -sum(one["f1"] for one in judged[name]))  # two of which are shown at first
    outline, fields = np.uint8(255 * to_rgba_array(SKY)), []
    for i, sample in enumerate(samples):
        Image.fromarray((sample.image * 255).round().astype(np.uint8)).save(out / f"field-{i}.jpg", quality=90)
        outlines = np.zeros((*sample.image.shape, 4), np.uint8)
        outlines[find_boundaries(sample.labels, mode="inner")] = outline
        Image.fromarray(outlines).quantize(4).save(out / f"outlines-{i}.png", optimize=True)
        clicked = phantom.annotate(sample, seed=i)
        height, width = sample.image.shape
        about = {"name": f"simulated field {i + 1}", "image": f"field-{i}.jpg", "outlines": f"outlines-{i}.png"}
        about |= {"height": height, "width": width, "cells": rounded(sample.points), "clicks": rounded(clicked.points)}
        fields.append(about | {"methods": {name: judged[name][i] for name in best}})
    colours = {name: METHOD[comparison.FAMILY[name]] for name in points}
    text = json.dumps({"tolerance": tolerance, "colours": colours, "fields": fields}, separators=(",", ":"))
    (out / "look.json").write_text(text, "utf-8")
    return sum(path.stat().st_size for path in out.iterdir())


if __name__ == "__main__":
    print(f"{write(Path(sys.argv[1])) / 1e6:.2f} MB")
