"""Groups of images, such as the fields of view of one flask: their mean count, per area and per flask, with intervals.

The interval of a group's mean joins two errors that have nothing to do with each other:

- of sampling: the flask is more than its fields. Student's t interval from the spread between the fields; where the
  areas of field and flask are known, with the finite population, and by the ratio of cells to area if the fields differ
  in area (Cochran 1977, chapters 2 and 6). What a method errs in one field and not in the next is part of that spread.
- of the counts: what a method errs in all fields alike, more fields do not average out. The interval that the weights
  give to the sum of the counts, as of one field, holds the deviation of that field from others, and the error of the
  mean of the n fields with which the weights were calibrated, an n-th of it in variance. The first is part of the
  spread between fields already, so that the half width is divided by the root of n + 1.

The half widths of both are joined as the root of the sum of their squares, which keeps the level for two independent
estimates (Zou & Donner 2008, doi:10.1002/sim.3095). The middle is that of the intervals of the counts, so that a known
bias is taken out of the ends, not of the mean.

Fields have to be chosen blindly: no interval knows of fields that were chosen because they looked full.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np

from cellcount.errors import CellcountError, require
from cellcount.files import write_csv
from cellcount.io.problems import listed
from cellcount.methods import METHODS
from cellcount.metrics.intervals import sampling_error
from cellcount.results.count_records import SUMMARY, Records
from cellcount.results.grouping import Grouping

TABLE = "groups.csv"
MAGNIFIED = 1.5  # fields whose cells differ so much in width have different magnifications
LEVEL = 0.9  # of the intervals of groups, as of those of single counts


@dataclass(frozen=True)
class Field:
    """A counted image.

    Attributes
    ----------
    name : str
    count : float, cells
    interval : (low, high) cells, or None
        Of the count, at `LEVEL`.
    shape : (height, width), px
    pixel_size_um : float or None
    warnings : tuple of str
    scale : float or None
        By which the image was resampled for the method.
    padding : float
        Share of the image that is padding.
    """

    name: str
    count: float
    interval: tuple[float, float] | None = None
    shape: tuple[int, int] = (0, 0)
    pixel_size_um: float | None = None
    warnings: tuple[str, ...] = ()
    scale: float | None = None
    padding: float = 0.0

    @property
    def pixels(self) -> float:
        """Area without padding, px."""
        return self.shape[0] * self.shape[1] * (1 - self.padding)


@dataclass(frozen=True)
class Group:
    """The fields of one flask together; what is not known is None.

    Attributes
    ----------
    group : str
    fields : int
    mean, low, high : float, cells per field
        Mean count, and its 90 % interval.
    sampling, counting : float, cells per field
        Half widths of the two parts of the interval: by the spread between fields, by the error of the counts.
    spread : float
        Coefficient of variation between fields.
    field_mm2 : float
        Mean area of a field.
    per_mm2, per_mm2_low, per_mm2_high : float, cells per mm2
    area_cm2 : float
        Of the flask.
    per_flask, per_flask_low, per_flask_high : float, cells
    images : tuple of str
        Names of the fields.
    pixel_sizes_um : tuple of float or None
        Of the fields.
    notes : tuple of str
        What a reader of the numbers has to know.
    """

    group: str
    fields: int
    mean: float
    low: float | None = None
    high: float | None = None
    sampling: float | None = None
    counting: float | None = None
    spread: float | None = None
    field_mm2: float | None = None
    per_mm2: float | None = None
    per_mm2_low: float | None = None
    per_mm2_high: float | None = None
    area_cm2: float | None = None
    per_flask: float | None = None
    per_flask_low: float | None = None
    per_flask_high: float | None = None
    images: tuple[str, ...] = ()
    pixel_sizes_um: tuple[float | None, ...] = ()
    notes: tuple[str, ...] = ()

    def json(self) -> dict[str, Any]:
        """Plain values; numbers have six digits."""
        return {name: _digits(value) for name, value in asdict(self).items()}


# A quantity, and the ends of its interval.
ENDS = {"mean": ("mean", "low", "high")} | {
    name: (name, f"{name}_low", f"{name}_high") for name in ("per_mm2", "per_flask")
}
HEADER = tuple(one.name for one in fields(Group))  # of `TABLE`


def group_counts(
    group: str,
    found: Sequence[Field],
    *,
    area_cm2: float | None = None,
    level: float = LEVEL,
    interval: Callable[[float], tuple[float, float] | None] | None = None,
    calibrated_on: int = 0,
) -> Group:
    """The mean of the counts of some fields, with its interval; see this module for what is in it.

    Parameters
    ----------
    group : str
    found : list of Field
        At least one. One field has no interval.
    area_cm2 : float or None
        Area of the flask on which cells grow.
    level : float
        That of the intervals of the counts.
    interval : function of a count, or None
        The ends of its interval by the weights with which all fields were counted. None takes the sums of the ends of
        the fields' intervals, which is wider.
    calibrated_on : int
        Number of fields from which this rule is, or 0 if it is not known.

    Returns
    -------
    Group

    Raises
    ------
    ParameterError
        If there is no field, or an area or a pixel size is not positive.
    """
    sizes = [one.pixel_size_um for one in found]
    require(found, f"{group}: a group needs at least one field.")
    for value, unit in [(size, "pixel size") for size in sizes] + [(area_cm2, "area")]:
        require(value is None or 0 < value < math.inf, f"{group}: {unit} {value!r}: give a positive number.")
    notes = [f"{listed(names)}: counted with a warning: {text}" for text, names in _warned(found).items()]
    field_mm2, population, shares = None, math.inf, np.ones(len(found))
    if None not in sizes:
        areas = np.array([one.pixels * (size or 0.0) ** 2 / 1e6 for one, size in zip(found, sizes)])
        field_mm2, shares = float(areas.mean()), areas / areas.mean()
        if shares.max() > 1.01 * shares.min():
            between = f"{areas.min():.3g} to {areas.max():.3g} mm2"
            notes.append(f"fields of {between}: the mean is that of a field of {field_mm2:.3g} mm2")
    else:
        if any(sizes) or area_cm2 is not None:
            lacking = listed([one.name for one in found if one.pixel_size_um is None])
            what = "per mm2" if area_cm2 is None else "per mm2 and flask"
            notes.append(f"no cells {what}: give the pixel size, which is not known, of {lacking}")
        by_area = "their counts compare only by area; give the pixel sizes"
        if len({one.shape for one in found}) > 1:
            notes.append(f"fields of different sizes in px: {by_area}")
        scales = [one.scale for one in found if one.scale]
        if scales and max(scales) > MAGNIFIED * min(scales):
            notes.append(f"cells {max(scales) / min(scales):.1f} times as wide in some fields as in others: {by_area}")
    if area_cm2 is not None and field_mm2 is not None:
        population = area_cm2 * 100 / field_mm2
        if population < len(found):
            has = f"its fields have {field_mm2 * len(found) / 100:.3g} cm2, more than the flask's {area_cm2:g} cm2"
            notes.append(f"no cells per flask: {has}; correct the area or the pixel size")
            population, area_cm2 = math.inf, None

    counts = np.array([one.count for one in found], float)
    mean, number = float(counts.mean()), len(found)
    unknown = [one.name for one in found if one.interval is None]
    ends = None if unknown else tuple(np.sum([one.interval for one in found if one.interval is not None], axis=0))
    if ends is not None and interval is not None:
        ends = interval(float(counts.sum())) or ends
    low_end, high_end = (mean, mean) if ends is None else (ends[0] / number, ends[1] / number)
    low = high = sampling = counting = spread = None
    if len(found) < 2:
        notes.append("one field: no interval, since the spread between fields is not known")
    else:
        # Ratio estimate: what is left of each count after its share of the area scatters around the mean.
        estimate, half = (low_end + high_end) / 2, (high_end - low_end) / 2 / math.sqrt(calibrated_on + 1)
        deviation = float((counts - mean * shares).std(ddof=1))
        sampling = float(sampling_error(deviation, number, population, level)) * (estimate / mean if mean else 1.0)
        spread = deviation / mean if mean else None
        counting = None if unknown else half
        if unknown:
            which = listed(unknown)
            notes.append(f"the interval is too narrow by the error of the counts, which is not known for {which}")
        low, high = max(0.0, estimate - math.hypot(sampling, half)), estimate + math.hypot(sampling, half)
        if not counts.any():  # Poisson: no cell in k fields
            high = max(high, -math.log((1 - level) / 2) / len(found))

    def times(factor: float | None) -> list[float | None]:
        return [None if factor is None or end is None else end * factor for end in (mean, low, high)]

    by_mm2 = times(field_mm2 and 1 / field_mm2)
    by_flask = times(None if population == math.inf else population)
    return Group(
        group, len(found), mean, low, high, sampling, counting, spread, field_mm2, by_mm2[0], by_mm2[1], by_mm2[2],
        area_cm2, by_flask[0], by_flask[1], by_flask[2], tuple(one.name for one in found), tuple(sizes), tuple(notes),
    )  # fmt: skip


def _warned(found: Iterable[Field]) -> dict[str, list[str]]:
    """The names of the fields with each warning."""
    texts: dict[str, list[str]] = {}
    for one in found:
        for text in one.warnings:
            texts.setdefault(text, []).append(one.name)
    return texts


def described(
    assigned: Grouping, records: Mapping[str, Mapping[str, Any]], failed: Sequence[str], pixel_size_um: float | None
) -> list[Group]:
    """The groups of counted images.

    Parameters
    ----------
    assigned : Grouping
        A group without a counted image is added to its problems.
    records : dict of path to record of `cellcount count`
        Of the images that were counted.
    failed : list of paths
        Of those that were not.
    pixel_size_um : float or None
        Of images for which the table gives none.

    Returns
    -------
    list of Group, in the order of the images
    """
    members: dict[str, list[Field]] = {}
    rules: dict[str, Callable[[float], tuple[float, float] | None]] = {}
    known: dict[str, int] = {}
    lost: dict[str, list[str]] = {}
    for path, record in records.items():
        real = os.path.realpath(path)
        if real in assigned.groups:
            size = assigned.pixel_sizes_um.get(real, pixel_size_um)
            members.setdefault(assigned.groups[real], []).append(_field(record, size))
            rules.setdefault(assigned.groups[real], _rule(record))
            known.setdefault(assigned.groups[real], _calibrated_on(record))
    for path in failed:
        if (real := os.path.realpath(path)) in assigned.groups:
            lost.setdefault(assigned.groups[real], []).append(path)
    for group in [group for group in lost if group not in members]:
        assigned.problems.append(f"group {group}: none of its images was counted")
    found = []
    for group, own in members.items():
        without = [f"without {listed(lost[group])}, which could not be counted"] if group in lost else []
        area = assigned.areas_cm2.get(group)
        found.append(
            _noted(group_counts(group, own, area_cm2=area, interval=rules[group], calibrated_on=known[group]), without)
        )
    return found


def update(folder: Records, new: Sequence[Group], quietly: bool = False) -> list[Group]:
    """The groups of a count folder, written to its `TABLE`.

    Parameters
    ----------
    folder : Records, open
    new : list of Group
        Of this call. Groups of earlier calls stay, with the present counts of images that are in none of these.
    quietly : bool
        Ignore that the table cannot be written.

    Raises
    ------
    CellcountError
        If the table cannot be written.
    """
    kept: list[Group] = []
    taken, names = {image for group in new for image in group.images}, {group.group for group in new}
    if (folder.path / TABLE).exists():
        with suppress(OSError, ValueError, AttributeError, LookupError, TypeError, RecursionError):  # edited by hand
            earlier = json.loads((folder.path / SUMMARY).read_text("utf-8")).get("groups", [])
            kept = [group for one in earlier if one["group"] not in names and (group := _again(folder, one, taken))]
    if new or kept:
        rows = [[_cell(getattr(group, name)) for name in HEADER] for group in (*kept, *new)]
        try:
            write_csv(folder.path / TABLE, HEADER, rows)
        except OSError as error:
            if not quietly:
                raise CellcountError(f"{folder.path / TABLE} cannot be written ({error}).") from error
    return [*kept, *new]


def _again(folder: Records, one: Mapping[str, Any], taken: Collection[str]) -> Group | None:
    """A group of an earlier call with the present counts of its images, but those that are taken."""
    sizes = dict(zip(one["images"], one["pixel_sizes_um"], strict=True))
    here = [name for name in sizes if name in folder.index and name not in taken]
    if not here:
        return None
    records = list(folder.records(here))
    gone = [name for name in sizes if name not in folder.index]
    notes = [f"without {listed(gone)}, no longer in the folder"] if gone else []
    if len({record["run"] for record in records}) > 1:
        notes.append("its fields were counted with different settings: count them again in one call")
    own = [_field(record, sizes[record["name"]]) for record in records]
    return _noted(group_counts(one["group"], own, area_cm2=one["area_cm2"], interval=_rule(records[0])), notes)


def _rule(record: Mapping[str, Any]) -> Callable[[float], tuple[float, float] | None]:
    """The interval of any count by the weights of a record; None for all if they are others now, or not there."""
    method, weights = record["method"], record["weights_file"]
    rule: Any = getattr(METHODS[method], "interval", None) if method in METHODS else None

    def interval(count: float) -> tuple[float, float] | None:
        with suppress(CellcountError):
            own = rule(record["count"], weights=weights) if rule else None
            if own and record["count_interval"] and np.allclose(own, record["count_interval"], rtol=1e-4):
                found: tuple[float, float] | None = rule(count, weights=weights)
                return found
        return None

    return interval


def _calibrated_on(record: Mapping[str, Any]) -> int:
    """The number of fields from which the weights of a record have their rule of intervals; 0 if it is not known."""
    with suppress(CellcountError, LookupError, TypeError, AttributeError):
        method = METHODS[record["method"]]
        weights = record["weights_file"] or method.SHIPPED  # type: ignore[attr-defined]
        return int(method.about(weights)["counting"]["interval"]["fields"])  # type: ignore[attr-defined]
    return 0


def _field(record: Mapping[str, Any], size: float | None) -> Field:
    ends, shape = record["count_interval"], (record["height_px"], record["width_px"])
    interval, warnings = (ends[0], ends[1]) if ends else None, tuple(record["warnings"])
    padding = record.get("padding", 0.0)
    return Field(record["name"], record["count"], interval, shape, size, warnings, record.get("scale"), padding)


def _noted(group: Group, notes: Sequence[str]) -> Group:
    return replace(group, notes=(*notes, *group.notes))


def _digits(value: Any) -> Any:
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _cell(value: Any) -> object:
    if isinstance(value, tuple):
        return "; ".join("" if one is None else f"{one}" for one in value)
    return "" if value is None else _digits(value)
