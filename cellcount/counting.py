"""Count and train: images or paths in, results out. The command line and `import cellcount` are built on it."""

from __future__ import annotations

import glob
import inspect
import os
import time
import traceback
import warnings as python_warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field, replace
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, overload

import numpy as np

from cellcount import manifest
from cellcount.devices import is_cpu
from cellcount.errors import CellcountError, DataError, NotAvailableError, ParameterError, needing, one_of, require
from cellcount.files import TEMPORARY, replacing, sha256, write_csv
from cellcount.io import tables
from cellcount.io.folders import files_of, images_of, is_overlay, natural, skipped
from cellcount.io.images import CHANNELS, from_array
from cellcount.io.large import LARGE, LargeImage, open_image
from cellcount.io.prefetch import prefetched
from cellcount.io.views import View
from cellcount.methods import METHODS, base, resuming
from cellcount.tiling import tiled
from cellcount.types import COLUMNS, Prediction, Sample

if TYPE_CHECKING:
    import pandas as pd

TILE, OVERLAP = 3072, 128  # px; a larger image is counted in tiles: half a gigabyte, and a fifth is computed twice
BATCH = 8  # tiles at once on a GPU
FOLDS = 3  # networks that `train` trains for intervals, where the method has them
PROBE = 2**16  # bytes; written to see whether a disk is full
Image = str | Path | np.ndarray
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Result:
    """The count of one image.

    Attributes
    ----------
    image : str
        Its path, or "array".
    prediction : Prediction
        The method's result: points (M, 2) float32 (y, x) px, scores (M,), labels, density, meta.
    shape : (height, width), px
    seconds : float
        Without reading the image.
    warnings : tuple of str
        What is unusual about the image.
    channel : str
        The channel that was read.
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
        """The number of cells, as the method estimates it."""
        return self.prediction.count

    @property
    def interval(self) -> tuple[float, float] | None:
        """Lower and upper end of the count's interval; None if the method does not give one."""
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
        """Write the points as `train` reads them: columns image, y and x (px), label (empty) and score."""
        return Results([self]).to_csv(path)

    def save_overlay(self, path: str | Path) -> int:
        """Write the image with a ring around each point, in the format of the suffix of `path`.

        Returns
        -------
        int
            Factor by which the overlay is downsampled: 1, except for images larger than memory.

        Raises
        ------
        DataError
            If the suffix is not .png, .jpg or .tif, or the image has to be read again and cannot be read.
        """
        from cellcount.io.overlays import overlay

        pixels = open_image(self.image, self.channel)[0] if self.pixels is None else self.pixels
        shown, factor = (pixels.overview, pixels.factor) if isinstance(pixels, LargeImage) else (pixels, 1)
        path, picture = Path(path), overlay(shown, self.prediction, factor=factor)
        known = path.suffix.lower() in (".png", ".jpg", ".jpeg", ".tif", ".tiff")
        require(known, f"{path}: overlays are written as .png, .jpg or .tif.", DataError)
        with replacing(path) as temporary:  # only PNG has palettes, and a compression level
            (picture if path.suffix.lower() == ".png" else picture.convert("RGB")).save(temporary, compress_level=1)
        return factor

    def summary(self) -> dict[str, Any]:
        """Image, size, count, interval, warnings, and the `meta` of the prediction: plain values, for JSON."""
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
        frames = [result.to_frame() for result in self]
        return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=["image", *COLUMNS])

    def to_csv(self, path: str | Path) -> Path:
        """Write the points of all images as `train` reads them; one without a cell has one line, without a point."""
        rows = (
            (result.image, y, x, "", score)
            for result in self
            for y, x, score in result.prediction.to_text() or [("", "", "")]
        )
        return write_csv(path, tables.HEADER, rows)


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
    cell_width: float | str | None = "auto",
    pixel_size_um: float | None = None,
    **params: Any,
) -> Result | Results:
    """Count the cells of an image, or of several.

    Parameters
    ----------
    images : path, (H, W) or (H, W, 3) array, or a list of them
        Arrays are scaled as the pixels of a file (`cellcount.io.images.read_image`): 8-bit values are divided by 255,
        float values in [0, 1] are not changed. A list may contain folders; the images in them are counted.
    method : str
        A key of `cellcount.METHODS`.
    weights : path, name or None
        Trained weights; None takes the method's own.
    prompts : (N, 2) array of (y, x) px, or `cellcount.methods.prompts.Prompts`, or None
        For promptable methods and a single image.
    channel : "auto", "red", "green", "blue" or "mean"
        Of a colour image; "auto" is green.
    device : "auto", "cpu", "cuda", ...
    progress : bool
    cell_width : float, "auto" or None
        Width of a cell, px, for methods that know that of their training images and resample the image accordingly
        (CellNet). "auto" finds it; None leaves the image as it is.
    pixel_size_um : float or None
        Of the images; tells the width if the pixel size of the training images is known, too.
    params
        The method's own parameters, such as `threshold`.

    Returns
    -------
    Result, or Results for a list
        If an image of a list cannot be counted, there is a warning, and it is in `failed`.

    Raises
    ------
    DataError
        If the image, or every image of a list, cannot be used.
    NotAvailableError
        If a package or weights are not on this machine.
    ParameterError
        If a parameter is unknown or of another type (before any image is read), or out of range.

    Examples
    --------
    >>> import numpy as np
    >>> from cellcount.data import phantom
    >>> image = phantom.simulate(seed=0, size=(128, 128)).image
    >>> result = count(image, method="blobs")
    >>> result.count == len(result.points)
    True
    """
    several = isinstance(images, Sequence) and not isinstance(images, str)
    require(prompts is None or not several, "Prompts are for a single image: give one image, not a list.")
    if isinstance(images, (str, os.PathLike)) and Path(images).is_dir():
        raise DataError(f"{images} is a folder; to count all images in it, give a list: count([{str(images)!r}]).")
    results = Results()
    given: Sequence[Image] = images if several else [images]  # type: ignore[assignment,list-item]
    for one in counted(
        find_images(given),
        channel=channel, method=method, weights=weights, prompts=prompts, device=device, progress=progress,
        cell_width=cell_width, pixel_size_um=pixel_size_um, **params,
    ):  # fmt: skip
        if isinstance(one, Failure):
            results.failed.append(one)
        else:  # the pixels of thousands of images would fill the memory; an overlay reads its file again
            results.append(replace(one, pixels=None) if several and one.image != "array" else one)
    if results.failed and not results:
        raise results.failed[0].error
    for problem in skipped(given):
        python_warnings.warn(str(problem), stacklevel=2)
    for failure in results.failed:
        python_warnings.warn(f"{failure.image} was not counted: {failure.error}", stacklevel=2)
    return results if several else results[0]


def counted(
    images: Sequence[Image],
    *,
    channel: str = "auto",
    known: Callable[[Image], T | None] = lambda image: None,
    **options: Any,
) -> Iterator[Result | Failure | T]:
    """Count images, (H, W) arrays or paths, reading the next one meanwhile; `options` are the arguments of `count`.

    An image larger than a tile is counted in tiles, a TIFF larger than memory from its file. The arguments are checked
    before the first image is read. Whatever else goes wrong with one image is a `Failure`.

    Parameters
    ----------
    known : function of an image
        Called before the image is read, in another thread. What it returns is yielded, and the image is not counted,
        unless it is None.

    Yields
    ------
    Result or Failure
        In the order of the images.
    """
    one_of(channel, CHANNELS, "channel")
    return _counted(images, _predictor(**options), channel, known)


def _counted(
    images: Sequence[Image],
    predict: Callable[..., tuple[Prediction, tuple[str, ...]]],
    channel: str,
    known: Callable[[Image], T | None],
) -> Iterator[Result | Failure | T]:
    def read(image: Image) -> tuple[T | None, np.ndarray | LargeImage, list[str]]:
        if isinstance(image, np.ndarray):
            return None, *from_array(image, channel)
        if glob.has_magic(str(image)) and not os.path.lexists(image):
            raise DataError(f"{image}: no file matches this pattern.")
        if is_overlay(Path(image)):
            raise DataError(f"{image}: an overlay that `cellcount count` drew; count the image itself.")
        found = known(image)
        return (None, *open_image(image, channel)) if found is None else (found, np.empty(0), [])

    for image, result in zip(images, prefetched(read, images), strict=True):
        name = "array" if isinstance(image, np.ndarray) else str(image)
        started = time.perf_counter()
        found: Result | Failure | T | None
        try:
            found, pixels, warnings = result()
            if found is None:
                started = time.perf_counter()
                prediction, unlike = predict(pixels)
                seconds = time.perf_counter() - started
                height, width = pixels.shape
                found = Result(name, prediction, (height, width), seconds, (*warnings, *unlike), channel, pixels)
        except (ParameterError, NotAvailableError):
            raise  # it would be the same for every image
        except CellcountError as error:
            found = Failure(name, error)
        except (OSError, MemoryError) as error:
            found = Failure(name, DataError(told(error)))
        except Exception as error:  # a fault of a method or library costs one image, and not all the others
            found = Failure(name, CellcountError(told(error)))
        yield found


def told(error: Exception) -> str:
    """An error that nobody foresaw, in one line: its type, what it says and, unless it is the system's, its place."""
    text = " ".join(f"{type(error).__name__}: {error}".split())
    if isinstance(error, (OSError, MemoryError)):
        return text
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"{text} (in {Path(place.filename).name}, line {place.lineno})"


def find_images(given: Sequence[Image]) -> list[Image]:
    """Images, (H, W) arrays or paths, of what a user names.

    Folders are replaced by the images in them and in their subfolder images/, and patterns such as `*.png`, which some
    shells pass on, by what matches. What does not exist stays, and is a failure when it is read.
    """
    found: list[Image] = []
    for one in given:
        if hasattr(one, "__array_interface__"):
            found.append(np.asarray(one))
        elif not isinstance(one, (str, os.PathLike)):
            raise DataError(f"An image is a path or an array, not {type(one).__name__}.")
        elif os.path.isdir(one):
            found += images_of(files_of(one)) or [Path(one)]  # reading it says that there is no image in it
        else:
            matching = _matching(str(one))
            found += find_images(matching) if matching else [Path(one)]
    return found


def _matching(pattern: str) -> list[str]:
    """The paths that match a pattern, in natural order; a file of that very name is no pattern."""
    matching: list[str] = []
    if glob.has_magic(pattern) and not os.path.lexists(pattern):
        with suppress(ValueError):  # a NUL in it
            matching = sorted(
                glob.glob(pattern, recursive=True), key=lambda path: (os.path.dirname(path), natural(path))
            )
    return matching


def _predictor(
    method: str = "cellnet",
    weights: str | Path | None = None,
    prompts: Any = None,
    device: str = "auto",
    progress: bool = True,
    cell_width: float | str | None = "auto",
    pixel_size_um: float | None = None,
    **params: Any,
) -> Callable[[np.ndarray | LargeImage], tuple[Prediction, tuple[str, ...]]]:
    """A function of an image that returns its Prediction and what is unlike the training images.

    The image is in memory or a `LargeImage`. Arguments are checked first.
    """
    chosen = METHODS[method]
    with _needing(method):
        predict = chosen.predict
    given = params if weights is None else params | {"weights": weights}
    # The context (exposure and the like) is computed for the tiles; a value from a user would make the count wrong.
    internal = [name for name in given if name in base.CONTEXT]
    known = [name for name in base.parameters(predict) if name not in base.CONTEXT]
    base.refuse_unknown(getattr(predict, "label", "This method"), internal, known)
    base.check_call(predict, given if prompts is None else given | {"prompts": prompts})
    if "progress" in inspect.signature(predict).parameters:
        given = {"progress": progress} | given
    if weights is not None and str(weights) not in getattr(chosen, "NAMES", ()):
        if not os.path.isfile(weights):
            raise DataError(f"No weights file at {str(weights)!r}; train one with `cellcount train`, or leave it out.")
        try:
            open(weights, "rb").close()
        except OSError as error:
            raise DataError(f"{weights}: the weights cannot be read ({error.strerror}).") from error
        if hasattr(chosen, "about"):
            chosen.about(weights)  # raises if it is not a weights file of this method
    predict_batch = getattr(chosen, "predict_batch", None)
    batch = 1 if predict_batch is None or prompts is not None or is_cpu(device) else BATCH

    for name, number, others in (("cell_width", cell_width, "auto"), ("pixel_size_um", pixel_size_um, None)):
        real = isinstance(number, Real) and not isinstance(number, bool) and 0 < number < float("inf")
        known_word = number is None or isinstance(number, str) and number == others
        require(real or known_word, f"{name}={number!r} must be positive, and finite{', or auto' * bool(others)}.")
    look = getattr(chosen, "look", None)
    knows = look is not None or cell_width in ("auto", None)
    require(knows, f"{method} does not know the width of its cells, to compare it with cell_width={cell_width!r}.")

    def count(image: np.ndarray | LargeImage) -> tuple[Prediction, tuple[str, ...]]:
        view, seen, context = View(image), base.Look(), {}
        if prompts is None and (look is not None or view.padding is not None):
            context = chosen.context(view, device=device, **given)
        if prompts is None and look is not None:
            sizes = {"cell_width": cell_width, "pixel_size_um": pixel_size_um}
            seen = look(view, device=device, **sizes, **context, **given)
            view = view.at(seen.scale)
        pixels = image if prompts is not None else view.pixels()
        maps = isinstance(pixels, np.ndarray) and pixels.size <= LARGE
        whole = tiled(
            predict, tile=TILE, overlap=OVERLAP, context=None if context else chosen.context, maps=maps,
            predict_batch=predict_batch, batch=batch, progress=progress,
        )  # fmt: skip
        found = whole(pixels, prompts=prompts, device=device, **given, **context)
        found = found if pixels is image else view.back(found)
        if seen.warnings or not seen.told:  # an interval holds for images like the training images
            found = replace(found, count_interval=None)
        elif hasattr(chosen, "interval"):  # of the whole count: the ends of tiles' intervals add up to wider ones
            found = replace(found, count_interval=chosen.interval(found.count, device=device, **given))
        if view.padding is not None:
            found.meta["padding"] = round(float(view.padding.mean()), 4)
        if look is not None:
            width = seen.cell_width and round(seen.cell_width, 1)
            found.meta.update(scale=round(seen.scale, 4), cell_width_px=width)
        return found, seen.warnings

    return count


def _needing(method: str) -> AbstractContextManager[None]:
    """Name the extra that has the packages of a method, if one is not installed."""
    return needing("train" if method == "cellnet" else "methods", method)


def parameters_from_text(method: str, given: Iterable[tuple[str, str]], training: bool = False) -> dict[str, Any]:
    """The parameters of a method's prediction or training from pairs of texts (name, value).

    Raises
    ------
    NotAvailableError, ParameterError
        If a package is not installed, a parameter is unknown, or its value cannot be read.
    """
    with _needing(method):
        chosen = METHODS[method]
        known = base.training_parameters(chosen, method) if training else base.parameters(chosen.predict)
    return base.from_text(method, given, known)


def train(
    data: str | Path | Sequence[Sample],
    *,
    out: str | Path,
    method: str = "cellnet",
    images: Sequence[str] | None = None,
    device: str = "auto",
    progress: bool = True,
    source: str | Path | None = None,
    **params: Any,
) -> Path:
    """Train a method on annotated images, and write its weights, with a manifest beside them (`cellcount.manifest`).

    For CellNet, an ONNX file with the same name is written as well, with which images are counted without torch, and
    further networks, trained on parts of the images (`folds`, 3), decide how these weights count, and give their counts
    intervals. With folds=0 there are none, and training takes half of the time.

    Parameters
    ----------
    data : path of a folder, name of a data set, or list of Sample
        As in `cellcount.load`; images without annotation, and those of the split "test", are left out.
    out : path
        The weights file to write; whether it can be written is checked first.
    method : str
        A key of `cellcount.METHODS`, of a method that can be trained.
    images : list of str or None
        Names of the images to train on, with their suffix or without; None takes all.
    device : "auto", "cpu", "cuda", ...
    progress : bool
    source : path of a folder, name of a data set, or None
        Where samples come from that are given as a list; for the manifest.
    params
        The method's own settings, such as `steps`.

    Returns
    -------
    Path of `out`

    Raises
    ------
    DataError
        If the data cannot be used, `out` cannot be written, or one of `images` is not annotated.
    NotAvailableError
        If a package is not installed.
    ParameterError
        If a parameter is unknown or out of range, or the method cannot be trained.
    """
    from cellcount.data import load, sources

    chosen, out, clock = METHODS[method], Path(out), manifest.Clock()
    check_training(method, out, params)
    if isinstance(data, (str, Path)):
        source, data = data, load(data)
    samples = training_samples(list(data), images)
    given, names = dict(params), [sample.name for sample in samples]
    inputs = [sources.inputs(source, samples, path := out.with_suffix(manifest.SUFFIX))]
    if start := params.get("start"):
        inputs += [manifest.weights_of(Path(start), path)] * os.path.isfile(start)
        given["start"] = Path(start).name
    with resuming.kept(out) as earlier:  # until the other files are written, too
        with _needing(method):
            if "folds" in base.parameters(chosen.fit):  # type: ignore[attr-defined]
                params = {"folds": FOLDS} | params
            chosen.fit(samples, out=out, device=device, progress=progress, **params)  # type: ignore[attr-defined]
            if hasattr(chosen, "export"):
                try:
                    chosen.export(out)
                except CellcountError as error:
                    python_warnings.warn(f"{out} is written, but no ONNX file: {error}", stacklevel=2)
        for seconds, cores in earlier.values():
            clock = clock.earlier(seconds, cores)
        run = clock.run("train", {"method": method, "images": names, "parameters": given}, device)
        written = (out, *[out.with_suffix(".onnx")] * hasattr(chosen, "export"))
        files = {file.name: sha256(file) for file in written if file.is_file()}
        try:
            manifest.write(path, "train", [run], {"weights": files}, inputs=inputs)
        except OSError as error:
            python_warnings.warn(f"{out} is written, but not its manifest: {error}", stacklevel=2)
    return out


def check_training(method: str, out: Path, params: dict[str, Any]) -> None:
    """Raise what `train` would about the method, its parameters and the weights file, before anything is loaded."""
    chosen = METHODS[method]
    with _needing(method):
        known = base.training_parameters(chosen, method)
    if hasattr(chosen, "Settings"):  # foreground-area has none, and checks the parameters of its foreground
        base.refuse_unknown(method, params, known)
        own = base.parameters(chosen.fit)  # type: ignore[attr-defined]  # such as `start`
        chosen.Settings.of({name: value for name, value in params.items() if name not in own})
    suffix = getattr(chosen, "SUFFIX", ".safetensors")
    require(out.suffix == suffix, f"{out}: weights of {method} are written to a file with the suffix {suffix}.")
    onnx = out.with_suffix(".onnx")
    foreign = hasattr(chosen, "export") and onnx.exists() and not out.exists()
    require(not foreign, f"{onnx} would be replaced by the network of {out}; name another file with --out.", DataError)
    told = out.with_suffix(manifest.SUFFIX)
    with suppress(DataError):  # a damaged one is replaced
        listed = manifest.read(told)["files"].get("weights", {out.name: ""}) if told.is_file() else {out.name: ""}
        foreign = out.name not in listed
    require(
        not foreign,
        f"{told}, of {', '.join(sorted(listed))}, would be replaced; name another file with --out.",
        DataError,
    )
    try_file(out)


def training_samples(samples: Sequence[Sample], images: Sequence[str] | None = None) -> list[Sample]:
    """The samples that `train` trains on: the annotated ones outside of the split "test", or some of these.

    Parameters
    ----------
    samples : list of Sample
    images : list of str or None
        Names of samples, or of their files; None takes all.

    Raises
    ------
    DataError
        If there is none, or one of `images` is not among them.
    """
    annotated = [sample for sample in samples if sample.points is not None]
    require(annotated, "There is no annotated image to train on.", DataError)
    usable = [sample for sample in annotated if sample.split != "test"]
    all_test = f'All {len(annotated)} annotated images are in the split "test"; put those to train on into "train".'
    require(usable, all_test, DataError)
    if images is None:
        return usable
    names = {name: s.name for s in usable for name in (s.name, Path(s.meta.get("source", s.name)).name)}
    unknown = ", ".join(sorted(set(images) - set(names)))
    known = ", ".join(sample.name for sample in usable)
    require(not unknown, f"There is no annotated image {unknown} to train on; there are {known}.", DataError)
    wanted = {names[image] for image in images}
    return [sample for sample in usable if sample.name in wanted]


def try_file(out: Path) -> None:
    """Raise a DataError if this file cannot be written, also because the disk is full.

    Checked before a long computation; the file itself is not touched.
    """
    probe = out.parent / f"{TEMPORARY}try"
    try:
        if out.is_dir():
            raise IsADirectoryError("it is a folder")
        out.parent.mkdir(parents=True, exist_ok=True)
        try:
            probe.write_bytes(bytes(PROBE))
        finally:
            probe.unlink(missing_ok=True)
    except OSError as error:
        raise DataError(f"{out} cannot be written ({error.strerror or error}); choose another place.") from error
