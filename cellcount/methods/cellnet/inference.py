"""From an image to a heatmap, to points, and to a count.

On a CPU, ONNX Runtime computes the heatmap where an ONNX file belongs to the weights, and torch is not imported.
"""

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np

from cellcount.devices import choose_device, is_cpu
from cellcount.errors import DataError, ParameterError, needing
from cellcount.io.views import View
from cellcount.methods.base import Look, check_image, predicts, sampled
from cellcount.methods.cellnet import looks
from cellcount.methods.cellnet.calibration import COUNTS
from cellcount.methods.cellnet.checkpoint import PHANTOM, SHIPPED, about
from cellcount.methods.cellnet.targets import volume
from cellcount.methods.pixels import brightness_and_contrast, enlarged, peaks, to_full
from cellcount.methods.weights_files import existing
from cellcount.metrics import IntervalRule
from cellcount.registry.fetch import digest
from cellcount.types import Prediction

__all__ = ["PHANTOM", "SHIPPED", "about", "context", "interval", "look", "predict", "predict_batch"]


def context(image: Any, **params: Any) -> dict[str, Any]:
    """Brightness and contrast of the whole image, as a keyword argument of `predict` for its tiles.

    Parameters
    ----------
    image : (H, W) float32 in [0, 1], or a `LargeImage`
    """
    return {"exposure": brightness_and_contrast(sampled(image))}


@predicts("CellNet")
def predict(
    image: np.ndarray,
    *,
    prompts: None = None,
    device: str = "auto",
    weights: str | Path | None = None,
    threshold: float | None = None,
    averaging: int = 1,
    count: str | None = None,
    exposure: tuple[float, float] | None = None,
    density: bool = True,
) -> Prediction:
    """Find the cells of one image.

    Parameters
    ----------
    image : (H, W) float32 in [0, 1]
    prompts : None
        CellNet takes no prompts; the argument is part of every method's call.
    device : str
    weights : path or None
        A safetensors file written by `fit`, or an ONNX file written by `export`; None takes the bundled weights
        (trained on thesis images 1 and 2). On a CPU, and without averaging, ONNX Runtime runs the ONNX file beside
        a safetensors file, if it was made of it; torch computes otherwise.
    threshold : float or None
        Lowest height of a peak, as a share of a full one; None takes the weights' own.
    averaging : int
        Mean heatmap over this many of the eight symmetries of the square, 1 to 8; time grows in proportion.
    count : "peaks", "density" or None
        How cells are counted: by peaks, or by the sum of the density, which does not miss a cell that merges with
        its neighbour, but needs training images in which every cell is annotated. None: as their training has found
        to be better.
    exposure : (float, float) or None
        Brightness and contrast of the whole image, from `context`, when `image` is only a tile.
    density : bool
        Whether to return the density map (full resolution), which only the target "gaussian" has; it is always
        returned with count="density".

    Returns
    -------
    Prediction
        `density` in cells per px. `count_interval` where the weights have a rule for it (`interval`).

    Raises
    ------
    DataError
        If the image is not (H, W) float32, or the weights file is not one of CellNet's.
    ParameterError
        If a parameter is out of range, or an ONNX file is to average or to run on a GPU.
    NotAvailableError
        If torch or the device is needed and not available.
    """
    return predict_batch(
        [image], device=device, weights=weights, threshold=threshold, averaging=averaging, count=count,
        exposure=exposure, density=density,
    )[0]  # fmt: skip


def predict_batch(
    images: list[np.ndarray],
    *,
    device: str = "auto",
    weights: str | Path | None = None,
    threshold: float | None = None,
    averaging: int = 1,
    count: str | None = None,
    exposure: tuple[float, float] | None = None,
    density: bool = True,
) -> list[Prediction]:
    """`predict` for several images or tiles of one shape in one pass, which fills a GPU as a single one does not.

    Parameters
    ----------
    images : list of (H, W) float32 in [0, 1]
    device, weights, threshold, averaging, count, exposure, density
        As for `predict`; `exposure` is that of all images.

    Returns
    -------
    list of Prediction

    Raises
    ------
    DataError, ParameterError, NotAvailableError
        As `predict`.
    """
    for image in images:
        check_image(image, "CellNet")
        if image.shape != images[0].shape:
            raise DataError(f"Images of one batch have one shape, not {images[0].shape} and {image.shape}.")
    if averaging not in range(1, 9):
        raise ParameterError(f"averaging={averaging!r}: give a whole number from 1 to 8.")
    if count not in (None, *COUNTS):
        raise ParameterError(f"count={count!r}: choose 'peaks' or 'density'.")
    path = existing(weights or str(SHIPPED))
    engine = _engine(path, device, averaging)
    settings, rule = engine.settings, _rule(engine, threshold, averaging, count)
    count = count or engine.counting.count
    threshold = settings.threshold if threshold is None else threshold
    if not threshold > 0:
        raise ParameterError(f"threshold={threshold!r} must be positive.")
    has_density = settings.target == "gaussian"
    if count == "density" and not has_density:
        raise ParameterError(f"{path}: trained with target {settings.target!r}, which has no density; count='peaks'.")
    meta = {
        "method": "cellnet",
        "weights_sha256": engine.weights_sha256,
        "device": engine.device,
        "engine": engine.name,
        "threshold": threshold,
    }
    cells = settings.density_scale / volume(settings.sigma)  # for a sum of 1 over the heatmap
    predictions = []
    for image, heat in zip(images, engine.heats(images, exposure), strict=True):
        points, scores = peaks(heat, threshold=threshold, distance=settings.peak_distance)
        points = to_full(points, settings.factor)
        inside = (points > -0.5).all(axis=1) & (points < np.array(image.shape) - 0.5).all(axis=1)  # not on the padding
        number, per_px = float(inside.sum()), None
        if count == "density":
            number = float(heat.sum(dtype=float) * cells)
        if has_density and (density or count == "density"):
            per_px = enlarged(heat * np.float32(cells / settings.factor**2), settings.factor, image.shape)
        ends = rule.interval(number) if rule else None
        predictions.append(Prediction(points[inside], scores[inside], number, ends, density=per_px, meta=dict(meta)))
    return predictions


def interval(
    number: float,
    *,
    device: str = "auto",
    weights: str | Path | None = None,
    threshold: float | None = None,
    averaging: int = 1,
    count: str | None = None,
    **others: Any,
) -> tuple[float, float] | None:
    """Ends of the 90 % interval of a whole image's count, which may have been added up over tiles.

    The interval is for the number of cells that an annotator of the training images would mark, in an image like
    these. It is None where the weights have no rule, or count in another way than that for which it was made: with
    another threshold, averaged, or by the density instead of peaks.

    Parameters
    ----------
    number : float, cells
    device, weights, threshold, averaging, count, others
        The arguments of `predict` with which it was counted.

    Raises
    ------
    DataError, ParameterError, NotAvailableError
        As `predict`.
    """
    engine = _engine(existing(weights or str(SHIPPED)), device, averaging)
    rule = _rule(engine, threshold, averaging, count)
    return rule.interval(number) if rule else None


def look(
    image: View,
    *,
    device: str = "auto",
    weights: str | Path | None = None,
    cell_width: float | str | None = "auto",
    pixel_size_um: float | None = None,
    exposure: tuple[float, float] | None = None,
    **others: Any,
) -> Look:
    """By which factor to resample an image before it is counted, and what is unlike the training images; see `looks`.

    Parameters
    ----------
    image : View of (H, W) px
        Not resampled.
    device, weights, others
        The arguments of `predict` with which it will be counted.
    cell_width : float, "auto" or None
        Width of the cells, px; "auto" finds it, unless both pixel sizes are known; None: they are those of the
        training images.
    pixel_size_um : float or None
        Of the image.
    exposure : (float, float) or None
        From `context`; None measures it.

    Raises
    ------
    DataError, ParameterError, NotAvailableError
        As `predict`; a ParameterError also if a width is given and the weights do not know theirs.
    """
    engine = _engine(existing(weights or str(SHIPPED)), device, 1)

    measured = exposure or brightness_and_contrast(image.sample)

    def heat(pixels: np.ndarray) -> np.ndarray:
        return engine.heats([pixels], measured)[0]

    return looks.look(image, heat, engine.settings, engine.counting, cell_width=cell_width, pixel_size_um=pixel_size_um)


def _rule(engine: Any, threshold: float | None, averaging: int, count: str | None) -> IntervalRule | None:
    """The rule of the intervals, if these arguments of `predict` count as the weights do."""
    own = threshold in (None, engine.settings.threshold) and count in (None, engine.counting.count)
    return engine.counting.interval if own and averaging == 1 else None


def _engine(path: Path, device: str, averaging: int) -> Any:
    """What computes the heatmaps of these weights: an `OnnxEngine` if there is one, else a `TorchEngine`."""
    cpu = is_cpu(device)
    if path.suffix == ".onnx":
        if averaging != 1 or not (cpu or device == "auto"):
            raise ParameterError(
                f"{path}: an ONNX file runs on a CPU and without averaging only; give its safetensors file, "
                "or device='cpu', averaging=1."
            )
        with needing(None, "Counting with an ONNX file"):
            from cellcount.methods.cellnet import onnx_engine
        return onnx_engine.load(path)
    needs_torch = f"CellNet with device={device!r}, averaging={averaging}"
    if cpu and averaging == 1:
        engine, needs_torch = _engine_beside(path)
        if engine is not None:
            return engine
    about(path)  # a file that no engine can read is reported first
    with needing("train", needs_torch):
        from cellcount.methods.cellnet.torch_engine import TorchEngine

        return TorchEngine(path, choose_device(device), averaging)


def _engine_beside(path: Path) -> tuple[Any, str]:
    """The engine of the ONNX file that was made of a safetensors file, or None and what therefore needs torch."""
    if importlib.util.find_spec("onnxruntime") is None:
        return None, "CellNet without onnxruntime"
    from cellcount.methods.cellnet import onnx_engine

    beside = path.with_suffix(".onnx")
    if not beside.exists():
        return None, f"{path.name} without {beside.name} beside it (see `cellcount export`)"
    try:
        engine = onnx_engine.load(beside)
    except DataError:
        return None, f"{path.name} (the {beside.name} beside it cannot be read)"
    if engine.weights_sha256 != digest(path):
        return None, f"{path.name} (the {beside.name} beside it was made of other weights)"
    return engine, ""
