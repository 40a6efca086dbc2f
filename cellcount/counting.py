"""Count and train: images or paths in, results out. The command line and `import cellcount` are thin over it."""

from __future__ import annotations

import csv
import inspect
import os
import time
import warnings as python_warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from cellcount.devices import is_cpu
from cellcount.errors import CellcountError, DataError, NotAvailableError, ParameterError, needing
from cellcount.files import replacing
from cellcount.io.images import SUFFIXES, from_array
from cellcount.io.large import LARGE, LargeImage, open_image
from cellcount.io.prefetch import prefetched
from cellcount.methods import METHODS, base
from cellcount.tiling import tiled
from cellcount.types import Prediction, Sample

if TYPE_CHECKING:
    import pandas as pd

TILE, OVERLAP = 3072, 128  # px; a larger image is counted tile by tile: half a gigabyte, and a fifth is seen twice
BATCH = 8  # tiles at once on a GPU
Image = str | Path | np.ndarray


@dataclass(frozen=True, eq=False)
class Result:
    """The count of one image.

    Attributes
    ----------
    image : str
        Its path, or "array".
    prediction : Prediction
        What the method answered: points (M, 2) float32 (y, x) px, scores (M,), labels, density, meta.
    shape : (height, width), px
    seconds : float
        Reading not included.
    warnings : tuple of str
        What is odd about the image.
    channel : str
        Which channel was read.
    """

    image: str
    prediction: Prediction
    shape: tuple[int, int]
    seconds: float
    warnings: tuple[str, ...] = ()
    channel: str = "auto"
    pixels: np.ndarray | LargeImage | None = field(default=None, repr=False, compare=False)

    def __repr__(self) -> str:
        return f"Result({self.image}: {self.count:.0f} cells)"

    @property
    def count(self) -> float:
        """The number of cells, by the method's own estimate."""
        return self.prediction.count

    @property
    def interval(self) -> tuple[float, float] | None:
        """Ends of the interval of the count; None where the method gives none."""
        return self.prediction.count_interval

    @property
    def points(self) -> np.ndarray:
        """(M, 2) float32, (y, x) px."""
        return self.prediction.points

    def to_frame(self) -> pd.DataFrame:
        """The points: columns image, y_px, x_px, score."""
        frame = self.prediction.to_frame()
        frame.insert(0, "image", self.image)
        return frame

    def to_csv(self, path: str | Path) -> Path:
        """Write the points: columns y_px, x_px and score."""
        return self.prediction.to_csv(path)

    def save_overlay(self, path: str | Path) -> int:
        """Write the image with a ring around each point; the suffix of `path` chooses the format.

        Returns
        -------
        int
            By how much it is downsampled: 1, but for images larger than memory.

        Raises
        ------
        DataError
            If the suffix is none of .png, .jpg and .tif, or the image has to be read again, and cannot be.
        """
        from cellcount.io.overlays import overlay

        pixels = open_image(self.image, self.channel)[0] if self.pixels is None else self.pixels
        shown, factor = (pixels.overview, pixels.factor) if isinstance(pixels, LargeImage) else (pixels, 1)
        path, picture = Path(path), overlay(shown, self.prediction, factor=factor)
        if path.suffix.lower() not in (".png", ".jpg", ".jpeg", ".tif", ".tiff"):
            raise DataError(f"{path}: an overlay is written as .png, .jpg or .tif.")
        with replacing(path) as temporary:
            if path.suffix.lower() == ".png":
                picture.save(temporary, compress_level=1)
            else:
                picture.convert("RGB").save(temporary)
        return factor

    def summary(self) -> dict[str, Any]:
        """Image, size, count, interval, warnings, and what the method says of itself: plain values, for JSON."""
        density_sum = self.prediction.meta.get("density_sum")
        if self.prediction.density is not None:
            density_sum = float(self.prediction.density.sum(dtype=float))
        return {
            "image": self.image,
            "height_px": self.shape[0],
            "width_px": self.shape[1],
            "count": self.count,
            "count_interval": self.interval,
            **self.prediction.meta,
            "density_sum": None if density_sum is None else round(density_sum, 1),
            "warnings": list(self.warnings),
            "seconds": round(self.seconds, 2),
        }


@dataclass(frozen=True)
class Failure:
    """An image that could not be counted, and why."""

    image: str
    error: CellcountError


class Results(list[Result]):
    """One `Result` for each image that could be counted; `failed` has a `Failure` for each of the others."""

    def __init__(self, results: Iterable[Result] = (), failed: Iterable[Failure] = ()) -> None:
        super().__init__(results)
        self.failed = list(failed)

    def to_frame(self) -> pd.DataFrame:
        """The points of all images: columns image, y_px, x_px, score."""
        with needing("data", "A table"):
            import pandas as pd
        if not self:
            return pd.DataFrame(columns=["image", "y_px", "x_px", "score"])
        return pd.concat([result.to_frame() for result in self], ignore_index=True)

    def to_csv(self, path: str | Path) -> Path:
        """Write the points of all images, as `to_frame` has them."""
        path = Path(path)
        with replacing(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["image", "y_px", "x_px", "score"])
            for result in self:
                writer.writerows((result.image, *line) for line in result.prediction.to_text())
        return path


@overload
def count(images: Image, **options: Any) -> Result: ...
@overload
def count(images: Sequence[Image], **options: Any) -> Results: ...
def count(
    images: Image | Sequence[Image],
    *,
    method: str = "cellnet",
    weights: str | Path | None = None,
    prompts: Any = None,
    channel: str = "auto",
    device: str = "auto",
    progress: bool = True,
    **params: Any,
) -> Result | Results:
    """Count the cells of an image, or of several.

    Parameters
    ----------
    images : path, (H, W) or (H, W, 3) array, or a list of them
        Arrays are scaled as the pixels of a file are (`cellcount.io.images.read_image`): 8-bit values by 255, float
        values in [0, 1] stay. A list may hold folders; the images in them are counted.
    method : str
        A key of `cellcount.METHODS`.
    weights : path, name or None
        Trained weights; None takes the method's own.
    prompts : (N, 2) array of (y, x) px, or `cellcount.methods.prompts.Prompts`, or None
        For promptable methods, and one image.
    channel : "auto", "red", "green", "blue" or "mean"
        Of a colour image; "auto" is green.
    device : "auto", "cpu", "cuda", ...
    progress : bool
    params
        The method's own parameters, such as `threshold`.

    Returns
    -------
    Result, or Results for a list
        An image of a list that cannot be counted is warned of, and named in `failed`.

    Raises
    ------
    DataError
        If the image cannot be used; of a list, if none can.
    NotAvailableError
        If a package or weights are not on this machine.
    ParameterError
        If a parameter is unknown or of another type, before any image is read, or out of range.

    Examples
    --------
    >>> import numpy as np
    >>> from cellcount.data import phantom
    >>> image = phantom.simulate(seed=0, size=(128, 128)).image
    >>> result = count(image, method="blobs")
    >>> result.count == len(result.points)
    True
    """
    if hasattr(images, "__array_interface__") and not isinstance(images, np.ndarray):
        images = np.asarray(images)  # an image of Pillow
    if isinstance(images, os.PathLike):
        images = Path(images)
    if not isinstance(images, (str, Path, np.ndarray, Sequence)):
        raise DataError(f"count takes a path, an array or a list of them, not {type(images).__name__}.")
    several = not isinstance(images, (str, Path, np.ndarray))
    chosen = [images] if isinstance(images, (str, Path, np.ndarray)) else find_images(images)
    if several and prompts is not None:
        raise ParameterError("prompts belong to one image: give one, and not a list.")
    if isinstance(images, (str, Path)) and Path(images).is_dir():
        raise DataError(f"{images} is a folder; to count all images in it, give a list: count([{str(images)!r}]).")
    found = counted(
        chosen, method=method, weights=weights, prompts=prompts, channel=channel,
        device=device, progress=progress, **params,
    )  # fmt: skip
    results = Results()
    for one in found:
        if isinstance(one, Failure):
            results.failed.append(one)
        else:
            # Pixels of thousands of images would fill the memory; whoever wants an overlay reads the file again.
            results.append(replace(one, pixels=None) if several and one.image != "array" else one)
    if results.failed and not results:
        raise results.failed[0].error
    for failure in results.failed:
        python_warnings.warn(f"{failure.image} was not counted: {failure.error}", stacklevel=2)
    return results if several else results[0]


def counted(
    images: Sequence[Image],
    *,
    method: str = "cellnet",
    weights: str | Path | None = None,
    prompts: Any = None,
    channel: str = "auto",
    device: str = "auto",
    progress: bool = True,
    **params: Any,
) -> Iterator[Result | Failure]:
    """Count images, (H, W) arrays or paths, reading the next one meanwhile; arguments as of `count`.

    An image larger than a tile is counted tile by tile, a TIFF larger than memory from its file. The arguments are
    checked before the first image is read.

    Yields
    ------
    Result or Failure
        In the order of the images.
    """
    predict = _predictor(METHODS[method], weights, prompts, device, progress, params)
    return _counted(images, predict, channel)


def _counted(images: Sequence[Image], predict: Any, channel: str) -> Iterator[Result | Failure]:
    for image, read in zip(images, prefetched(lambda image: _open(image, channel), images), strict=True):
        name = "array" if isinstance(image, np.ndarray) else str(image)
        try:
            pixels, warnings = read()
            started = time.perf_counter()
            prediction = predict(pixels)
        except (ParameterError, NotAvailableError):
            raise  # it would be the same for every image
        except CellcountError as error:
            yield Failure(name, error)
        except (OSError, MemoryError) as error:
            yield Failure(name, DataError(f"{type(error).__name__}: {error}"))
        else:
            seconds = time.perf_counter() - started
            height, width = pixels.shape
            yield Result(name, prediction, (height, width), seconds, tuple(warnings), channel, pixels)


def find_images(given: Sequence[Image]) -> list[Image]:
    """The images given, (H, W) arrays or paths, and those in the folders given. Raises DataError if one has none."""
    found: list[Image] = []
    for one in given:
        if hasattr(one, "__array_interface__"):
            found.append(np.asarray(one))
            continue
        if not isinstance(one, (str, os.PathLike)):
            raise DataError(f"An image is a path or an array, not {type(one).__name__}.")
        if not Path(one).is_dir():
            found.append(Path(one))
            continue
        inside = sorted(file for file in Path(one).iterdir() if file.suffix.lower() in SUFFIXES)
        if not inside:
            raise DataError(f"{one}: no image in this folder ({', '.join(sorted(SUFFIXES))}).")
        found += inside
    return found


def _open(image: Image, channel: str) -> tuple[np.ndarray | LargeImage, list[str]]:
    return from_array(image, channel) if isinstance(image, np.ndarray) else open_image(image, channel)


def _predictor(
    method: base.Method, weights: Any, prompts: Any, device: str, progress: bool, params: dict[str, Any]
) -> Any:
    """A function of an image, in memory or a `LargeImage`, that gives its Prediction; arguments are checked now."""
    given = params if weights is None else params | {"weights": weights}
    with needing("methods", "This method"):
        predict = method.predict
    # Exposure and the like are told to tiles; set by a user they would give a wrong number in silence.
    internal = [name for name in given if name in base.CONTEXT]
    known = [name for name in base.parameters(predict) if name not in base.CONTEXT]
    base.refuse_unknown(getattr(predict, "label", "This method"), internal, known)
    base.check_call(predict, given if prompts is None else given | {"prompts": prompts})
    if "progress" in inspect.signature(predict).parameters:
        given = {"progress": progress} | given
    about = getattr(method, "about", None)
    if weights is not None and str(weights) not in getattr(method, "NAMES", ()):
        if not Path(weights).is_file():
            raise DataError(f"No weights file at {str(weights)!r}; train one with `cellcount train`, or leave it out.")
        if about:
            about(weights)  # raises if it is no weights file of this method
    together = getattr(method, "predict_batch", None)
    batch = 1 if together is None or prompts is not None or is_cpu(device) else BATCH

    def count(image: np.ndarray | LargeImage) -> Prediction:
        streamed = isinstance(image, LargeImage)
        maps = not streamed and image.shape[0] * image.shape[1] <= LARGE
        whole = tiled(
            predict, tile=TILE, overlap=OVERLAP, context=method.context, maps=maps, together=together, batch=batch,
            progress=progress,
        )  # fmt: skip
        return whole(image, prompts=prompts, device=device, **given)

    return count


def train(
    data: str | Path | Sequence[Sample],
    *,
    out: str | Path,
    method: str = "cellnet",
    images: Sequence[str] | None = None,
    device: str = "auto",
    progress: bool = True,
    **params: Any,
) -> Path:
    """Train a method on annotated images, and write its weights.

    For CellNet, an ONNX file is written beside the weights, with which images are counted without torch.

    Parameters
    ----------
    data : path of a folder, name of a data set, or list of Sample
        As `cellcount.load` takes it; images without annotation, and those of the split "test", are left out.
    out : path
        The weights file to write; whether it can be written is tried first.
    method : str
        A key of `cellcount.METHODS`, of a method that can be trained.
    images : list of str or None
        Names of the images to train on; None takes all.
    device : "auto", "cpu", "cuda", ...
    progress : bool
    params
        The method's own, such as `steps`.

    Returns
    -------
    Path of `out`

    Raises
    ------
    DataError
        If the data cannot be used, `out` cannot be written, or an image is not among the annotated ones.
    NotAvailableError
        If a package is not installed.
    ParameterError
        If a parameter is unknown or out of range, or the method cannot be trained.
    """
    from cellcount.data import load

    chosen, out = METHODS[method], Path(out)
    with needing("train" if method == "cellnet" else "methods", f"Training {method}"):
        known = base.training_parameters(chosen, method)
    if hasattr(chosen, "Settings"):  # foreground-area has none, and checks the parameters of its foreground
        base.refuse_unknown(method, params, known)
    suffix = getattr(chosen, "SUFFIX", ".safetensors")
    if out.suffix != suffix:
        raise ParameterError(f"{out}: weights of {method} are written to a file that ends in {suffix}.")
    try_file(out)
    samples = load(data) if isinstance(data, (str, Path)) else list(data)
    samples = [sample for sample in samples if sample.points is not None and sample.split != "test"]
    if not samples:
        raise DataError("There is no annotated image to train on.")
    if images is not None:
        names = [sample.name for sample in samples]
        unknown = sorted(set(images) - set(names))
        if unknown:
            raise DataError(f"There is no annotated image {', '.join(unknown)}; there are {', '.join(sorted(names))}.")
        samples = [sample for sample in samples if sample.name in images]
    with needing("train" if method == "cellnet" else "methods", f"Training {method}"):
        chosen.fit(samples, out=out, device=device, progress=progress, **params)  # type: ignore[attr-defined]
        if hasattr(chosen, "export"):
            try:
                chosen.export(out)
            except CellcountError as error:
                python_warnings.warn(f"{out} is written, but no ONNX file: {error}", stacklevel=2)
    return out


def try_file(out: Path) -> None:
    """Raise a DataError if this file cannot be written; asked before hours of work."""
    try:
        if out.is_dir():
            raise IsADirectoryError("it is a folder")
        out.parent.mkdir(parents=True, exist_ok=True)
        probe = out.parent / f".{out.name}.try"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise DataError(f"{out} cannot be written ({error.strerror or error}); choose another place.") from error
