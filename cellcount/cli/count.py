"""`cellcount count`: images in; counts, points, overlays and one summary out."""

import csv
import json
import sys
import time
from pathlib import Path

import numpy as np

from cellcount.errors import CellcountError, DataError, ParameterError
from cellcount.files import replacing

TILE, OVERLAP = 2048, 128  # px; a larger image is counted tile by tile, so that memory does not grow with it


def add_arguments(parser):
    """The arguments of `cellcount count`."""
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE", help="JPEG, PNG or TIFF files, or folders")
    parser.add_argument("--out", type=Path, default=Path("counts"), help="folder for the results (default: counts)")
    parser.add_argument("--method", default="cellnet", help="see `cellcount methods` (default: cellnet)")
    parser.add_argument("--weights", type=Path, help="written by a method's `fit`; default: those of the package")
    parser.add_argument("--threshold", type=float, help="lowest score of a cell; default: the method's own")
    parser.add_argument("--channel", default="auto", help="auto, red, green, blue or mean (default: green of RGB)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, mps (default: auto)")


def run(arguments):
    """Count each image; one that fails does not stop the others. Returns the exit code."""
    paths = _images(arguments.images)
    method, params = _method(arguments)
    names = _names(paths)
    done, failed = [], []
    for path, name in _progress(list(zip(paths, names, strict=True))):
        try:
            entry = _count(path, name, method, params, arguments)
        except CellcountError as error:
            print(f"error: {path}: {error}", file=sys.stderr)
            failed.append({"image": str(path), "error": str(error)})
            code = error.exit_code
        else:
            print(f"{entry['count']:>8.0f}  {path}")
            done.append(entry)
        _write_json(arguments.out / "summary.json", {"images": done, "failed": failed})
    print(f"{len(done)} of {len(paths)} images counted; points, overlays and summary.json in {arguments.out}")
    return code if failed else 0


def _images(given):
    """The image files given, and those in the folders given."""
    from cellcount.data.images import SUFFIXES

    paths = []
    for path in given:
        if path.is_dir():
            inside = sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES)
            if not inside:
                raise DataError(f"{path}: no image in this folder ({', '.join(sorted(SUFFIXES))}).")
            paths += inside
        else:
            paths.append(path)
    return paths


def _names(paths):
    """One name for each image's results: its stem, and a number where two images share it."""
    names, taken = [], set()
    for path in paths:
        name, n = path.stem, 1
        while name in taken:
            n += 1
            name = f"{path.stem}-{n}"
        taken.add(name)
        names.append(name)
    return names


def _method(arguments):
    from cellcount.methods import METHODS

    method = METHODS[arguments.method]
    params = {"weights": arguments.weights, "threshold": arguments.threshold}
    params = {name: value for name, value in params.items() if value is not None}
    if "weights" in params and not hasattr(method, "fit"):
        raise ParameterError(f"--weights is for methods that are trained; {arguments.method} takes none.")
    return method, params


def _progress(items):
    from tqdm import tqdm

    return tqdm(items, unit="image", disable=len(items) < 5 or not sys.stderr.isatty())


def _count(path, name, method, params, arguments):
    """Count one image and write its files; its entry in the summary."""
    from cellcount.data.images import read_image
    from cellcount.tiling import tiled

    started = time.perf_counter()
    image = read_image(path, channel=arguments.channel)
    predict = tiled(method.predict, tile=TILE, overlap=OVERLAP, measure=method.measure)
    prediction = predict(image, device=arguments.device, **params)
    points, overlay = arguments.out / f"{name}-points.csv", arguments.out / f"{name}-overlay.png"
    _write_points(points, prediction)
    _write_overlay(overlay, image, prediction)
    return {
        "image": str(path),
        "height_px": image.shape[0],
        "width_px": image.shape[1],
        "count": prediction.count,
        "density_sum": None if prediction.density is None else round(float(prediction.density.sum(dtype=float)), 1),
        "points": points.name,
        "overlay": overlay.name,
        **prediction.meta,
        "seconds": round(time.perf_counter() - started, 2),
    }


def _write_points(path, prediction):
    with replacing(path) as temporary, open(temporary, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["y_px", "x_px", "score"])
        for (y, x), score in zip(prediction.points.tolist(), prediction.scores.tolist(), strict=True):
            writer.writerow([f"{y:.2f}", f"{x:.2f}", f"{score:.3f}"])


def _write_overlay(path, image, prediction):
    """The image with a ring around each cell, drawn with Pillow: matplotlib would take longer than the count."""
    from PIL import Image, ImageDraw

    gray = (np.clip(image, 0, 1) * 255).astype(np.uint8)
    picture = Image.fromarray(gray).convert("RGB")
    draw = ImageDraw.Draw(picture)
    radius, orange = 6, (230, 159, 0)  # Okabe and Ito's orange stands out from gray for every eye
    for y, x in prediction.points.tolist():
        draw.ellipse([x - radius, y - radius, x + radius, y + radius], outline=orange, width=2)
    with replacing(path) as temporary:
        picture.save(temporary, compress_level=1)


def _write_json(path, content):
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n")
