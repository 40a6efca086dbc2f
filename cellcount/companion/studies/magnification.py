"""Counts of one field at several magnifications, and of images that are no phase contrast of cells."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image
from scipy import ndimage
from tqdm import tqdm

import cellcount
from cellcount.data import phantom, thesis
from cellcount.metrics import match, pooled
from cellcount.types import Sample

FACTORS = (0.4, 0.5, 0.63, 0.8, 1.0, 1.25, 1.6, 2.0, 2.5)
TOLERANCE = 10.0  # px of the field as it was
OBJECTIVE = 20  # of the images that the bundled weights learned from
UNLIKE = "does not look like the training images"  # begins the warning


def resized(image: np.ndarray, factor: float) -> np.ndarray:
    """An image (H, W) float32 in [0, 1], `factor` times as large."""
    height, width = (round(side * factor) for side in image.shape)
    picture = Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC)
    return np.clip(np.asarray(picture), 0, 1)


def magnified(
    samples: Sequence[Sample], factors: Iterable[float] = FACTORS, *, progress: bool = False, **options: Any
) -> pd.DataFrame:
    """Count samples with points after making them larger or smaller.

    Parameters
    ----------
    samples : list of Sample
    factors : of the size
    options : of `cellcount.count`, such as cell_width=None

    Returns
    -------
    DataFrame
        One row for each sample and factor: image, factor, n_true, count, tp, scale (by which it was resampled),
        warned.
    """
    rows = []
    for sample in tqdm(samples, desc="fields", disable=not progress):
        assert sample.points is not None
        for factor in factors:
            found = cellcount.count(resized(sample.image, factor), progress=False, **options)
            steps = np.divide(sample.image.shape, found.shape)
            points = (found.points + 0.5) * steps.astype(np.float32) - 0.5
            row = {"image": sample.name, "factor": factor, "n_true": len(sample.points), "count": found.count}
            row |= {"tp": match(sample.points, points, TOLERANCE).tp, "scale": found.prediction.meta["scale"]}
            rows.append(row | {"warned": warned(found)})
    return pd.DataFrame(rows)


def warned(found: cellcount.Result) -> bool:
    """Whether the result has the warning that its image is unlike the training images."""
    return any(UNLIKE in one for one in found.warnings)


def measure_phantom(fields: int = 8) -> pd.DataFrame:
    """`magnified` for simulated fields of 768 x 1024 px, from sparse to confluent, that no network has seen."""
    confluences = np.linspace(0.3, 1.0, fields)
    looks = [{"confluence": float(c)} | (phantom.CONFLUENT if c == 1 else {}) for c in confluences]
    samples = [
        phantom.simulate((4100, i), (768, 1024), name=f"{look['confluence']:.0%}", **look)
        for i, look in enumerate(looks)
    ]
    found, left = magnified(samples, progress=True), magnified(samples, progress=True, cell_width=None)
    return pd.concat([found.assign(found="auto"), left.assign(found="as it is")], ignore_index=True)


def measure_thesis() -> pd.DataFrame:
    """Counts of the thesis' 34 fields, with their size found and as they are.

    Returns
    -------
    DataFrame
        image, flask, objective, found ("auto", "as it is"), count, scale, warned, and `density`: cells on the area of
        a field at 20x.
    """
    rows = []
    for sample in tqdm(thesis.iterate(annotated=False), desc="fields", total=34):
        for found, width in (("auto", "auto"), ("as it is", None)):
            one = cellcount.count(sample.image, progress=False, cell_width=width)
            row = {"image": sample.name, "flask": sample.meta["flask"], "objective": sample.meta["objective"]}
            row |= {"found": found, "count": one.count, "scale": one.prediction.meta["scale"], "warned": warned(one)}
            rows.append(row | {"density": one.count * (sample.meta["objective"] / OBJECTIVE) ** 2})
    return pd.DataFrame(rows)


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """Pooled over images: for each `factor`, count / true (`ratio`), F1, and the share of images with a warning."""
    lines = []
    for factor, rows in frame.groupby("factor"):
        sums = rows[["n_true", "count", "tp"]].sum()
        f1 = pooled(int(sums.tp), int(sums["count"] - sums.tp), int(sums.n_true - sums.tp))["f1"]
        worst = (rows["count"] / rows.n_true - 1).abs().max()
        lines.append((factor, sums["count"] / sums.n_true, worst, f1, rows.warned.mean()))
    return pd.DataFrame(lines, columns=["factor", "ratio", "worst", "f1", "warned"])


def flasks(frame: pd.DataFrame) -> pd.DataFrame:
    """Of `measure_thesis`, for each flask and objective: number of fields, mean density, spread, share of warnings."""
    grouped = frame.groupby(["found", "flask", "objective"])
    means = grouped.density.agg(["size", "mean", "std", "min", "max"])
    return means.assign(warned=grouped.warned.mean()).reset_index()


def _spots(sample, sigma):
    image = np.zeros(sample.image.shape)
    image[tuple(np.rint(sample.points).astype(int).T)] = 1
    image = ndimage.gaussian_filter(image, sigma)
    return image / image.max()


def others(sample: Sample, seed: int = 0) -> dict[str, np.ndarray]:
    """Images that are no phase contrast of cells, of the size of a sample, or made of it.

    Parameters
    ----------
    sample : Sample
        With points; its cells become the nuclei of other modalities.
    seed : int

    Returns
    -------
    dict of what it is to (H, W) float32, or (H, W, 3) uint8 for a stained tissue
    """
    rng = np.random.default_rng(seed)
    shape, nuclei = sample.image.shape, _spots(sample, 5)

    def gray(image: np.ndarray, deviation: float) -> np.ndarray:
        noisy = np.clip(image + rng.normal(0, deviation, shape), 0, 1)
        return (np.round(noisy * 255) / 255).astype(np.float32)  # as a file of 8 bits has it

    dye = nuclei[..., None]
    tissue = np.array([0.93, 0.75, 0.85]) * (1 - dye) + np.array([0.30, 0.25, 0.55]) * dye
    smooth = ndimage.gaussian_filter(rng.normal(size=shape), 3)
    return {
        "gray, noise of 1 gray value": gray(np.full(shape, 0.5), 1 / 255),
        "gray, noise of 3 gray values": gray(np.full(shape, 0.5), 3 / 255),
        "gray, noise of 30 gray values": gray(np.full(shape, 0.5), 30 / 255),
        "pure noise": rng.random(shape, np.float32),
        "smooth noise": gray(0.5 + 0.1 * smooth / smooth.std(), 0.01),
        "a gradient": gray(np.broadcast_to(np.linspace(0.2, 0.8, shape[1]), shape), 0.01),
        "fluorescence": gray(0.05 + 0.7 * nuclei, 0.02),
        "stained tissue": np.round((tissue + rng.normal(0, 0.01, tissue.shape)).clip(0, 1) * 255).astype(np.uint8),
        "brightfield": gray(0.7 - 0.25 * nuclei + 0.15 * _spots(sample, 9), 0.02),
        "negative": 1 - sample.image,
        "out of focus": gray(ndimage.gaussian_filter(sample.image, 3), 0.004),
        "much noise": gray(sample.image, 30 / 255),
    }


def padded(image: np.ndarray) -> dict[str, np.ndarray]:
    """The image (H, W) float32 with padding of several forms."""
    margins: dict[str, Callable[[], np.ndarray]] = {
        f"{name}, {width} px": lambda value=value, width=width: np.pad(image, width, constant_values=np.float32(value))
        for name, value in (("black", 0), ("gray", 0.5), ("white", 1))
        for width in (20, 50, 200)
    }
    y, x = np.ogrid[: image.shape[0], : image.shape[1]]
    inside = np.hypot(y - image.shape[0] / 2, x - image.shape[1] / 2) < min(image.shape) / 2 - 5
    return {name: make() for name, make in margins.items()} | {
        "black, two sides": np.pad(image, ((0, 300), (0, 400))),
        "rotated": ndimage.rotate(image, 15, order=1, cval=0.0).astype(np.float32),
        "round field": np.where(inside, image, np.float32(0)),
    }
