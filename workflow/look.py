"""The data of the viewer in the rendered book: simulated test fields, and what each method found in them.

    python workflow/look.py OUT

writes look.json, and for each field a picture and the outlines of its true cells, into the folder OUT. The points are
those of the published pages (results/NAME-phantom-points.csv.gz).
"""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from skimage.segmentation import find_boundaries

from cellcount.companion.plots.style import METHOD
from cellcount.companion.runner.sources import root
from cellcount.data import phantom
from cellcount.metrics import default_tolerance, match

METHODS = {  # its name in the tables of points: the name shown, and the family, whose colour it has
    "cellnet": ("CellNet", "cellnet"),
    "yolox": ("YOLOX", "yolox"),
    "ND_v11n, as it is": ("NuclePhaser, as it is", "nuclephaser"),
    "maskrcnn": ("Mask R-CNN", "maskrcnn"),
    "stardist, trained": ("StarDist", "stardist"),
    "cellpose, trained": ("Cellpose", "cellpose"),
    "deepsea": ("DeepSea", "deepsea"),
    "blobs": ("Blobs", "blobs"),
}
OUTLINE = (86, 180, 233, 255)  # RGBA, as `plots.style.SKY`


def rounded(points):
    """Points (N, 2) as lists with one decimal, px."""
    return np.asarray(points, float).round(1).tolist()


def found(sample, points, tolerance):
    """What the viewer shows of a method: true, false and missed points, and scores."""
    matching = match(sample.points, points, tolerance)
    right = np.zeros(len(points), bool)
    right[matching.pairs[:, 1]] = True
    missed = np.setdiff1d(np.arange(len(sample.points)), matching.pairs[:, 0])
    return {
        "found": rounded(points[right]),
        "false": rounded(points[~right]),
        "missed": rounded(sample.points[missed]),
        "count": len(points),
        "f1": round(matching.f1, 3),
    }


def write(out):
    """Write the files into the folder `out` (Path): its size, bytes."""
    out.mkdir(parents=True, exist_ok=True)
    tables = [pd.read_csv(path) for path in sorted((root() / "results").glob("*-phantom-points.csv*"))]
    points = pd.concat(tables).drop_duplicates(["method", "image", "y_px", "x_px"])
    samples = phantom.load("test")
    tolerance = float(round(min(default_tolerance(sample.points) for sample in samples)))
    fields = []
    for i, sample in enumerate(samples):
        Image.fromarray((sample.image * 255).round().astype(np.uint8)).save(out / f"field-{i}.jpg", quality=90)
        outlines = np.zeros((*sample.image.shape, 4), np.uint8)
        outlines[find_boundaries(sample.labels, mode="inner")] = OUTLINE
        Image.fromarray(outlines).quantize(4).save(out / f"outlines-{i}.png", optimize=True)
        clicked = phantom.annotate(sample, seed=i)
        own = points[points.image == sample.name].groupby("method")[["y_px", "x_px"]]
        methods = {
            shown: found(sample, own.get_group(name).to_numpy(np.float32), tolerance)
            for name, (shown, _) in METHODS.items()
            if name in own.groups
        }
        height, width = sample.image.shape
        about = {"name": f"simulated field {i + 1}", "image": f"field-{i}.jpg", "outlines": f"outlines-{i}.png"}
        about |= {"height": height, "width": width, "cells": rounded(sample.points), "clicks": rounded(clicked.points)}
        fields.append(about | {"methods": methods})
    colours = {shown: METHOD[family] for shown, family in METHODS.values()}
    text = json.dumps({"tolerance": tolerance, "colours": colours, "fields": fields}, separators=(",", ":"))
    (out / "look.json").write_text(text, "utf-8")
    return sum(path.stat().st_size for path in out.iterdir())


if __name__ == "__main__":
    print(f"{write(Path(sys.argv[1])) / 1e6:.2f} MB")
