"""`cellcount count`: images in; counts, points, overlays and one summary out."""

import csv
import json
import sys
import time
from pathlib import Path

from cellcount.errors import CellcountError, DataError, ParameterError
from cellcount.files import replacing
from cellcount.prefetch import prefetched

TILE, OVERLAP = 3072, 128  # px; a larger image is counted tile by tile: half a gigabyte, and a fifth is seen twice
BATCH = 8  # tiles at once on a GPU


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
    """Count each image, reading the next one meanwhile; one that fails does not stop the others. Returns the exit code.

    A TIFF larger than memory is counted from the file, tile by tile; its overlay is a shrunken picture.
    """
    from cellcount.data.large import open_image

    paths = _images(arguments.images)
    count = _counter(arguments)
    names = _names(paths)
    images = prefetched(lambda path: open_image(path, channel=arguments.channel), paths)
    done, failed = [], []
    for path, name, read in _progress(paths, names, images):
        started = time.perf_counter()
        try:
            image = read()
            entry = {"image": str(path), **_write(arguments.out, name, image, count(image))}
        except CellcountError as error:
            print(f"error: {path}: {error}", file=sys.stderr)
            failed.append({"image": str(path), "error": str(error)})
            code = error.exit_code
        else:
            print(f"{entry['count']:>8.0f}  {path}")
            done.append(entry | {"seconds": round(time.perf_counter() - started, 2)})
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


def _counter(arguments):
    """A function of an image, in memory or a `LargeImage`, that gives its Prediction."""
    from cellcount.data.large import LARGE, LargeImage
    from cellcount.methods import METHODS
    from cellcount.tiling import tiled

    method = METHODS[arguments.method]
    params = {"weights": arguments.weights, "threshold": arguments.threshold}
    params = {name: value for name, value in params.items() if value is not None}
    if "weights" in params and not hasattr(method, "fit"):
        raise ParameterError(f"--weights is for methods that are trained; {arguments.method} takes none.")
    together = getattr(method, "predict_batch", None)

    def count(image):
        streamed = isinstance(image, LargeImage)
        predict = tiled(
            method.predict,
            tile=TILE,
            overlap=OVERLAP,
            measure=lambda image: method.measure(image.sample if streamed else image),
            maps=not streamed and image.size <= LARGE,
            together=together,
            batch=BATCH if together and _has_gpu(arguments.device) else 1,
        )
        return predict(image, device=arguments.device, **params)

    return count


def _has_gpu(device):
    from cellcount.devices import choose_device

    return choose_device(device).type == "cuda"


def _progress(paths, names, images):
    from tqdm import tqdm

    items = zip(paths, names, images, strict=True)
    return tqdm(items, unit="image", total=len(paths), disable=len(paths) < 5 or not sys.stderr.isatty())


def _write(folder, name, image, prediction):
    """Write the points and the overlay of one image; what the summary says of it."""
    from cellcount.data.large import LargeImage
    from cellcount.plots import overlay

    points, picture = folder / f"{name}-points.csv", folder / f"{name}-overlay.png"
    _write_points(points, prediction)
    shown, factor = (image.overview, image.factor) if isinstance(image, LargeImage) else (image, 1)
    with replacing(picture) as temporary:
        overlay(shown, prediction, factor=factor).save(temporary, compress_level=1)
    density_sum = prediction.meta.get("density_sum")
    if prediction.density is not None:
        density_sum = float(prediction.density.sum(dtype=float))
    return {
        "height_px": image.shape[0],
        "width_px": image.shape[1],
        "count": prediction.count,
        **prediction.meta,
        "density_sum": None if density_sum is None else round(density_sum, 1),
        "points": points.name,
        "overlay": picture.name,
        "overlay_shrunken_by": factor,
    }


def _write_points(path, prediction):
    with replacing(path) as temporary, open(temporary, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["y_px", "x_px", "score"])
        for (y, x), score in zip(prediction.points.tolist(), prediction.scores.tolist(), strict=True):
            writer.writerow([f"{y:.2f}", f"{x:.2f}", f"{score:.3f}"])


def _write_json(path, content):
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n")
