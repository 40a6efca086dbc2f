"""How a weights file counts: by peaks or density, and how sure, from fields or parts of fields left out of a training.

Imports no torch: the description of a weights file is read at every count.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cellcount.errors import require
from cellcount.files import replacing
from cellcount.methods import weights_files
from cellcount.methods.base import refuse_unknown
from cellcount.methods.cellnet.settings import FORMAT, PEAK_DISTANCE, Settings, spacing
from cellcount.methods.cellnet.targets import volume
from cellcount.methods.pixels import nearest, peaks, to_full
from cellcount.metrics.intervals import SHARED, IntervalRule, calibrate_parts, mean_ratio
from cellcount.types import Sample

COUNTS = ("peaks", "density")
LEVEL = 0.9  # of the intervals
PARTS = 2, 3  # of a field, 3 along its longer side: for the spread of the errors within it
GAP = 2.0  # spacings between what a network learns from and what it is tested on in one field
BETTER = 0.9  # the density counts if its error is below this share of the peaks', since it has no points to show
FACTORS = -np.log(2), np.log(2)  # of a correction: networks that need more have not learned to find these cells
LIMITS = 0.3, 1.0  # of the height of a typical peak: a threshold for unbiased counts is between these


@dataclass(frozen=True)
class Counting:
    """How these weights count best, measured in their training.

    Attributes
    ----------
    count : "peaks" or "density"
    why : str
        What was measured, in one sentence; "" if nothing was.
    spacing : float or None
        Median distance of neighbouring cells in the training images, px.
    pixel_size_um : float or None
        Of the training images, if they have one in common.
    interval : IntervalRule or None
        Rule of 90 % intervals for the number of cells that an annotator of the training images would mark.
    looks : dict
        Statistics of the training images, with which a new image is compared.
    best_score : float or None
        Mean score of the peaks on images like the training images.
    """

    count: str = "peaks"
    why: str = ""
    spacing: float | None = None
    pixel_size_um: float | None = None
    interval: IntervalRule | None = None
    looks: dict[str, Any] = field(default_factory=dict)
    best_score: float | None = None

    def __post_init__(self) -> None:
        require(self.count in COUNTS, f"count={self.count!r}: choose 'peaks' or 'density'.")
        if self.interval is not None and not isinstance(self.interval, IntervalRule):
            object.__setattr__(self, "interval", IntervalRule(**self.interval))

    @classmethod
    def of(cls, about: Mapping[str, Any]) -> Counting:
        """From the description of a weights file; the defaults for a file without this entry."""
        known = {one.name for one in fields(cls)}
        return cls(**{name: value for name, value in about.get("counting", {}).items() if name in known})

    def to_json(self) -> dict[str, Any]:
        """Plain values, from which `of` makes an equal object."""
        return asdict(self) | {"interval": None if self.interval is None else self.interval._asdict()}

    @classmethod
    def measured(cls, samples: Sequence[Sample]) -> Counting:
        """What the training images themselves tell: spacing and pixel size."""
        apart = spacing(samples)
        sizes = [sample.pixel_size_um for sample in samples if sample.pixel_size_um]
        same = len(sizes) == len(samples) and max(sizes) < 1.05 * min(sizes)
        size = round(float(np.median(sizes)), 4) if same else None
        return cls(spacing=None if apart is None else round(apart, 2), pixel_size_um=size)


def amended(path: str | Path, out: str | Path | None = None, **changes: Any) -> Path:
    """Write a weights file again, with other values in its description of how it counts; the tensors stay as they are.

    Its SHA-256 changes, so an ONNX file beside it must be exported again.

    Parameters
    ----------
    path : path of a safetensors file
    out : path or None
        None replaces the file.
    changes : fields of `Counting`

    Returns
    -------
    Path of the file written

    Raises
    ------
    DataError
        If it is not a weights file of CellNet.
    ParameterError
        If a field is unknown, or its value is refused.
    """
    from safetensors.numpy import save_file

    about, tensors = weights_files.read(path, FORMAT, "CellNet", "np")
    refuse_unknown("Counting", changes, [one.name for one in fields(Counting)])
    about["counting"] = replace(Counting.of(about), **changes).to_json()
    out = Path(out or path)
    with replacing(out) as temporary:
        save_file(tensors, temporary, metadata={"cellcount": json.dumps(about)})
    return out


class Fold(NamedTuple):
    """What one network of a cross-validation learns from, and the parts (field, rows, columns) it is tested on."""

    samples: list[Sample]
    parts: list[tuple[int, slice, slice]]


def split(samples: Sequence[Sample], folds: int, settings: Settings) -> Iterator[Fold]:
    """Folds of whole images where two have points, else strips of each image, across its longer side.

    Where a strip is left out, its points are, too, and neither its pixels nor those of a gap of two spacings on each
    side are trusted. The first fold leaves out a typical image, or a strip at the border.

    Parameters
    ----------
    samples : list of Sample
    folds : int
        At most; two or more.
    settings : Settings
        That are `filled`.
    """
    order = sorted(range(len(samples)), key=lambda i: -len(samples[i].points))  # each fold has full and empty fields
    whole = sum(len(sample.points) > 0 for sample in samples) > 1
    number = min(folds, len(samples)) if whole else folds
    for fold in range(number):
        if whole:
            out = order[(fold + 1) % number :: number]
            learned = [sample for i, sample in enumerate(samples) if i not in out]
            parts = [(i, *part) for i in sorted(out) for part in grid(samples[i].image.shape, settings.factor)]
        else:
            learned, parts = [], []
            for i, sample in enumerate(samples):
                shape, axis = list(sample.image.shape), int(np.argmax(sample.image.shape))
                strip = _cut(0, shape[axis], folds, settings.factor)[fold]
                learned.append(_without(sample, strip, axis, settings))
                shape[axis], first = strip.stop - strip.start, (strip.start, 0) if axis == 0 else (0, strip.start)
                parts += [(i, *part) for part in grid(shape, settings.factor, first)]
        if any(len(sample.points) for sample in learned):
            yield Fold(learned, parts)


def grid(shape: Sequence[int], factor: int = 1, first: tuple[int, int] = (0, 0)) -> list[tuple[slice, slice]]:
    """The six parts of an image, or of a part of it, 2 x 3 along the longer side: (rows, columns), slices of px.

    Parameters
    ----------
    shape : (height, width), px
    factor : int, px
        Parts begin at multiples of it.
    first : (y, x), px
        The first pixel, a multiple of `factor`.
    """
    numbers = PARTS if shape[1] > shape[0] else PARTS[::-1]
    rows, columns = (_cut(*one, factor) for one in zip(first, shape, numbers, strict=True))
    return [(one, other) for one in rows for other in columns]


def _cut(start: int, length: int, number: int, factor: int) -> list[slice]:
    """Slices of about equal length, which begin at multiples of `factor`."""
    edges = [start + round(i * length / number / factor) * factor for i in range(number)] + [start + length]
    return [slice(one, other) for one, other in zip(edges, edges[1:], strict=False)]


def trusted(sample: Sample, points: np.ndarray, part: tuple[slice, slice]) -> np.ndarray:
    """(N,) bool: which of the points (N, 2), (y, x) px, are on trusted pixels of a part (rows, columns) of a sample."""
    y, x = nearest(points, sample.image.shape)
    rows, columns = part
    return sample.valid[y, x] & (y >= rows.start) & (y < rows.stop) & (x >= columns.start) & (x < columns.stop)


def _without(sample, strip, axis, settings):
    """The sample without the points of a strip, a slice along an axis, and trusted outside of it and of the gap."""
    gap = int(np.ceil(GAP * settings.peak_distance / PEAK_DISTANCE * settings.factor))
    valid, place = sample.valid.copy(), nearest(sample.points, sample.image.shape)[axis]
    np.moveaxis(valid, axis, 0)[max(0, strip.start - gap) : strip.stop + gap] = False
    return replace(sample, points=sample.points[(place < strip.start) | (place >= strip.stop)], valid=valid)


class Part(NamedTuple):
    """A part of a field, as a network saw it that had not learned from it: on its trusted pixels.

    The heights of the peaks are relative to that of a typical one, or absolute where the threshold is given.
    """

    field: int
    true: int
    heights: np.ndarray
    density: float


def tested(
    heat: np.ndarray,
    sample: Sample,
    windows: Sequence[tuple[int, slice, slice]],
    settings: Settings,
    full: float,
) -> list[Part]:
    """The parts of a sample of which `heat` (H, W) float32, px of the heatmap, is the heatmap of a network.

    Parameters
    ----------
    windows : list of (field, rows, columns)
    settings : Settings
        Of the network, with its threshold and the scale of its density.
    full : float
        Height of its typical peak, or 1.
    """
    factor, found = settings.factor, []
    points, heights = peaks(heat, threshold=min(LIMITS[0] * full, settings.threshold), distance=settings.peak_distance)
    points = to_full(points, factor)
    inside = (points < np.array(sample.image.shape) - 0.5).all(axis=1)  # not on the padding
    points, heights = points[inside], heights[inside] / full
    for index, rows, columns in windows:
        small = tuple(slice(one.start // factor, -(-one.stop // factor)) for one in (rows, columns))
        cells = float(heat[small].sum(dtype=float) * settings.density_scale / volume(settings.sigma))
        true, mine = (trusted(sample, places, (rows, columns)) for places in (sample.points, points))
        found.append(Part(index, int(true.sum()), heights[mine], cells))
    return found


def chosen(
    parts: Sequence[Part], settings: Settings, full: float, *, complete: bool, asked: Settings
) -> tuple[Settings, Counting]:
    """Peaks or density, threshold, scale and intervals, from parts of fields that were left out.

    Where every cell is annotated, threshold and scale are corrected for the mean ratio r of true to counted cells of
    the left-out fields, and the way of counting with the smaller mean absolute error per field, or per part of fewer
    than ten fields, is chosen. A ratio no larger than its standard error s is no reason to correct: the correction is
    log r (1 - s^2 / log(r)^2), not below 0 (the positive part of James & Stein 1961). Where only some cells are
    annotated, peaks are counted, at the share of a typical peak that the settings give.

    Parameters
    ----------
    parts : list of Part
    settings : Settings
        Of the network that will count, with its threshold and the scale of its density.
    full : float
        Height of its typical peak, or 1.
    complete : bool
        Whether every cell of all fields is annotated.
    asked : Settings
        Where these have a threshold or a scale, it stays.

    Returns
    -------
    settings : Settings
        With the threshold and scale chosen.
    counting : Counting
        With `count`, `why`, `interval` and `best_score`.
    """
    true, of_field = np.array([part.true for part in parts]), np.array([part.field for part in parts])
    heights = np.concatenate([part.heights for part in parts])
    number, cut, share, errors = len(np.unique(of_field)), (settings.threshold or 0.0) / full, 1.0, {}
    if complete and not asked.threshold:
        start = np.array([(part.heights >= cut).sum() for part in parts], float)
        wanted = start.sum() * _correction(true, start, of_field) if start.any() else true.sum()
        cut = _at_rank(heights, cut, round(wanted))
    counted = {"peaks": np.array([(part.heights >= cut).sum() for part in parts], float)}
    if complete and settings.target == "gaussian":
        density = np.array([part.density for part in parts])
        share = 1.0 if asked.density_scale else _correction(true, density, of_field)
        counted["density"] = density * share
    unit, group = ("field", of_field) if number >= 10 else ("part of a field", np.arange(len(parts)))
    for name, values in counted.items():
        errors[name] = float(np.abs(np.bincount(group, values - true)[np.unique(group)]).mean())
    count = "density" if errors.get("density", np.inf) < BETTER * errors["peaks"] else "peaks"
    interval = calibrate_parts(true, counted[count], of_field, LEVEL) if len(parts) > 1 else None
    other = "".join(f", by {name} {error:.2f}" for name, error in errors.items() if name != count)
    known = "every cell is annotated" if complete else "where the annotation is reliable"
    why = (
        f"counted by {count}: off by {errors[count]:.2f} cells per {unit} (mean){other}, in {len(parts)} parts of "
        f"{number} field{'s' * (number > 1)} left out, with {true.sum()} cells ({known}); threshold {cut:.2f} of a "
        f"typical peak"
    )
    if number == 1:
        why += f"; one field does not tell how fields differ: {SHARED:.0%} is assumed"
    threshold = asked.threshold or max(round(cut * full, 3), 1e-3)
    scale = asked.density_scale or max(round((settings.density_scale or 1.0) * share, 4), 1e-4)
    settings = replace(settings, threshold=threshold, density_scale=scale)
    score = round(float(heights[heights >= cut].mean() * full), 3) if (heights >= cut).any() else None
    return settings, Counting(count=count, why=why, interval=interval, best_score=score)


def _correction(true, counts, of_field):
    """The factor by which counts are corrected: 1 where the left-out fields do not tell that they need it."""
    if len(true) < 2:
        return 1.0
    mean, error = mean_ratio(true, counts, of_field)
    return float(np.exp(np.clip(mean * max(0.0, 1 - (error / mean) ** 2), *FACTORS))) if mean else 1.0


def _at_rank(heights, cut, number):
    """The height, within LIMITS, from which on there are about so many peaks; `cut` if that many are there already."""
    ordered = np.sort(heights)[::-1]
    if (ordered >= cut).sum() == number:
        return cut
    if not 0 < number < len(ordered):
        return LIMITS[int(number <= 0)]
    return float(np.clip((ordered[number - 1] + ordered[number]) / 2, *LIMITS))
