"""All methods side by side: the result rows of every chapter, scored alike, with paired differences and agreement."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cellcount import results
from cellcount.companion import kept
from cellcount.companion.studies import area
from cellcount.metrics import READINGS, bootstrap, match
from cellcount.registry import WEIGHTS
from cellcount.types import Sample

KEPT, BUILT = "reference", "this build"  # where rows come from
REFERENCE = "CellNet"  # with which all methods are compared
COUNTS = ["n_true", "n_pred", "tp", "fp", "fn"]
Points = Mapping[str, np.ndarray]  # image: (N, 2) float, (y, x) px


@dataclass(frozen=True)
class Entrant:
    """A method of the comparison.

    Attributes
    ----------
    name : str
    family : str
        Key of `plots.style.METHOD`, and of tables of trainings.
    sources : tuple of (str, str)
        Where its rows are, the first of which that has some counts: a file of `results/`, with {} for the data set, and
        the method's name in it. What precedes "-{}" is the chapter's name, where rows of a build are found.
    labels, learns, weights, licence : str
        What a person has to draw; what a method learns from it; the weights that it starts from, or is; and the licence
        of these and of the code.
    shown : bool
        In the figures; the others are variants, and stand in the tables only.
    """

    name: str
    family: str
    sources: tuple[tuple[str, str], ...]
    labels: str
    learns: str
    weights: str
    licence: str
    shown: bool = True


def _of(method: str, *chapters: str) -> tuple[tuple[str, str], ...]:
    return tuple((f"{chapter}-{{}}", method) for chapter in chapters)


def _nuclephaser(way: str, labels: str, learns: str, shown: bool = True) -> Entrant:
    sources = _of(f"ND_v11n, {way}", "pretrained", "nuclephaser")
    licence = WEIGHTS["nuclephaser-ND_v11n"].licence
    return Entrant(f"NuclePhaser, {way}", "nuclephaser", sources, labels, learns, "ND_v11n", licence, shown)


OURS, BSD, MIT, RANDOM = "BSD-3-Clause (ours)", "BSD-3-Clause", WEIGHTS["deepsea"].licence, "random start"
START = "starts from cellnet-phantom; on simulated fields random start"
_TAUGHT, _HEATMAP = "cellnet-{}-taught", "a heatmap, soft labels of further fields"
ENTRANTS = (
    Entrant("CellNet", "cellnet", _of("cellnet", "cellnet"), "clicks", "a heatmap", START, OURS),
    Entrant(
        "CellNet, 8 views", "cellnet", _of("cellnet, 8 views", "cellnet"), "clicks", "a heatmap", START, OURS, False,
    ),
    Entrant(
        "CellNet, own teachers", "cellnet", ((_TAUGHT, "cellnet, taught by own networks"),), "clicks", _HEATMAP,
        "starts from cellnet-phantom", OURS, False,
    ),
    Entrant(
        "CellNet, shipped recipe", "cellnet", ((_TAUGHT, "cellnet, taught by NuclePhaser, too"),), "clicks", _HEATMAP,
        "starts from cellnet-phantom; NuclePhaser is one of the teachers", f"{OURS}; its teacher AGPL-3.0",
    ),
    _nuclephaser("as it is", "nothing", "nothing"),
    _nuclephaser("tuned", "clicks", "scale and threshold"),
    _nuclephaser("known count", "one count", "a threshold", False),
    Entrant("YOLOX", "yolox", _of("yolox", "detectors"), "clicks", "square boxes", RANDOM, "Apache-2.0"),
    Entrant("Mask R-CNN", "maskrcnn", _of("maskrcnn", "detectors"), "clicks", "square boxes and masks", RANDOM, BSD),
    Entrant("StarDist", "stardist", _of("stardist, trained", "stardist"), "clicks", "pseudo-masks", RANDOM, BSD),
    Entrant("Cellpose", "cellpose", _of("cellpose, trained", "cellpose"), "clicks", "pseudo-masks", RANDOM, BSD),
    Entrant(
        "Blobs", "blobs", _of("blobs", "cellnet", "explorations", "deepsea"), "clicks", "two settings", "none", OURS,
    ),
    Entrant("DeepSea", "deepsea", _of("deepsea", "deepsea"), "clicks", "the scale", "of its wheel", MIT),
    *(
        Entrant(name, "classical", _of(method, "explorations"), "clicks", "a few settings", "none", OURS, False)
        for method, name in {
            "laplacian": "Laplacian", "tophat": "Top-hat", "bandpass": "Band-pass", "symmetry": "Local phase",
            "clusters": "Clusters of pixels", "watershed": "Watershed",
        }.items()
    ),
    Entrant("Area", "area", (), "clicks", "cells per area", "none", OURS),
)  # fmt: skip
FAMILY = {entrant.name: entrant.family for entrant in ENTRANTS}
SHOWN = [entrant.name for entrant in ENTRANTS if entrant.shown]
TRAINED = ("cellnet", "detectors", "cellpose", "stardist")  # chapters with tables of trainings
_BENCH_CELLNET = ("CellNet, image to points",)
BENCHED = {  # entrant: the lines of bench.csv that make up one field
    "CellNet": _BENCH_CELLNET,
    "CellNet, own teachers": _BENCH_CELLNET,
    "CellNet, shipped recipe": _BENCH_CELLNET,
    "Cellpose": ("Cellpose 3, its network", "Cellpose 3, its dynamics"),
    "StarDist": ("StarDist, its network", "StarDist, its suppression"),
    "DeepSea": ("DeepSea, its network",),
}


def gathered(dataset: str, build: Path | None, tolerance: float) -> tuple[pd.DataFrame, list[str]]:
    """The rows of all methods on a data set.

    Parameters
    ----------
    dataset : str
    build : Path or None
        Folder of a build, whose chapters have left rows.csv in folders of their own.
    tolerance : float, px
        Of the rows of a method, those at the tolerance nearest to it.

    Returns
    -------
    rows : DataFrame
        As of `cellcount.results.rows`, with entrant and source (`KEPT` or `BUILT`). Left out are images on which
        settings were chosen, and what a build repeats of the kept rows.
    missing : list of str
        Files of `results/` that would add a method.
    """
    frames, missing = [], []
    for entrant in ENTRANTS:
        for source in (KEPT, BUILT):
            tried = (
                _rows(place, dataset, method, tolerance)
                for pattern, method in entrant.sources
                for place in _places(pattern, dataset, build, source)
            )
            rows = next((one for one in tried if len(one)), None)
            if rows is not None:
                frames.append(rows.assign(entrant=entrant.name, source=source))
            elif source == KEPT and entrant.sources and entrant.sources[0][0] != _TAUGHT:
                name = f"{entrant.sources[0][0].format(dataset)}.csv"
                missing += [] if kept.file(name).is_file() else [name]
    if dataset == "thesis":
        frames.append(_by_area(results.table(kept.file("foreground-windows.csv"))).assign(entrant="Area", source=KEPT))
    if not frames:
        return pd.DataFrame(columns=[*results.COLUMNS, "entrant", "source"]), missing
    rows, same = pd.concat(frames, ignore_index=True), ["entrant", "image", "reading", "part", "tolerance_px", *COUNTS]
    repeated = rows.duplicated(same) | (rows.source == KEPT)
    new = ~repeated.groupby([rows.entrant, rows.source]).transform("all")
    return rows[(rows.source == KEPT) | new].reset_index(drop=True), list(dict.fromkeys(missing))


def _places(pattern, dataset, build, source):
    """Files with the rows of a chapter: the kept one, or those of a build."""
    chapter = pattern.removesuffix("-{}")
    if source == BUILT:
        return [] if build is None or chapter == pattern else sorted(build.glob(f"[0-9][0-9]-{chapter}/rows.csv"))
    return [path for path in [kept.file(f"{pattern.format(dataset)}.csv")] if path.is_file()]


def _rows(path, dataset, method, tolerance):
    """The rows of a method in a file, at the tolerance nearest to the one asked for."""
    rows = results.read(path)
    rows = rows[(rows.method == method) & (rows.dataset == dataset) & (rows.split != "train")]
    return rows[(rows.tolerance_px - tolerance).abs() == (rows.tolerance_px - tolerance).abs().min()]


def _by_area(windows: pd.DataFrame, foreground: str = "deviation") -> pd.DataFrame:
    """Counts of images 1 and 2 by the foreground's area, each with the constant of the other: rows without matching."""
    windows = windows[windows.foreground == foreground].astype({"image": str})
    rows = []
    for image, scored in windows.groupby("image"):
        parts = area.merged(area.estimated(windows[windows.image != image], scored), 3, 4)
        parts = parts.assign(estimate=area.constant(windows[windows.image != image]) * parts.area)
        counts = [("all", scored.cells.sum(), parts.estimate.sum())]
        counts += [(str(i), *pair) for i, pair in enumerate(zip(parts.cells, parts.estimate))]
        rows += [{"image": image, "part": part, "n_true": true, "n_pred": n} for part, true, n in counts]
    frame = pd.DataFrame(rows).assign(dataset="thesis", reading="whole")
    return frame.assign(count=frame.n_pred.where(frame.part == "all"))


def units(rows: pd.DataFrame) -> pd.DataFrame:
    """One line for each entrant, source, image, reading and part: means over its trainings, where it has several.

    `off` is |n_pred - n_true|; a predicted point of a pair counts in the part of its true point.
    """
    keys = ["entrant", "source", "image", "reading", "part"]
    frame = rows.assign(off=(rows.n_pred - rows.n_true).abs())
    how = dict.fromkeys([*COUNTS, "count", "off"], "mean") | {"seconds": "min", "peak_memory_mb": "max"}
    return frame.groupby(keys, sort=False).agg(how).reset_index()


def _f1(frame):
    """F1 of counts, pooled; nan for methods that only count."""
    tp, wrong = frame.tp.sum(), (frame.fp + frame.fn).sum()
    return 2 * tp / (2 * tp + wrong) if frame.tp.notna().any() else np.nan


def scores(rows: pd.DataFrame) -> pd.DataFrame:
    """Scores of `gathered` rows, per image and pooled.

    Returns
    -------
    DataFrame
        One line for each entrant, source and image, and one with the image "all": images, f1, low and high (95 %
        bootstrap interval over the sixteenths of the images) with the suffixes _near and _whole, precision_near,
        precision_whole, recall, n_true, count, error (of the count, a share), game (summed errors of the sixteenths,
        a share of the true cells), seconds (least of the images, for one field), peak_memory_mb.
    """
    lines = []
    for (entrant, source), frame in units(rows).groupby(["entrant", "source"], sort=False):
        images = list(dict.fromkeys(frame.image))
        for image in ["all", *images]:
            some = frame if image == "all" else frame[frame.image == image]
            line = {"entrant": entrant, "source": source, "image": image, "images": some.image.nunique()}
            for reading in READINGS:
                of = some[some.reading == reading]
                total, parts = of[of.part == "all"], of[of.part != "all"]
                line[f"f1_{reading}"] = _f1(total)
                line[f"precision_{reading}"] = total.tp.sum() / max(total.n_pred.sum(), 1)
                if len(parts) and parts.tp.notna().all():
                    low, high = bootstrap(parts.tp, parts.fp, parts.fn)
                    line |= {f"low_{reading}": low, f"high_{reading}": high}
                if reading == "whole":
                    true, count = total.n_true.sum(), total["count"].sum()
                    line |= {"recall": total.tp.sum() / true, "n_true": true, "count": count, "error": count / true - 1}
                    line |= {"game": parts.off.sum() / true if len(parts) else np.nan}
                    line |= {"seconds": total.seconds.min(), "peak_memory_mb": total.peak_memory_mb.max()}
            lines.append(line)
    found = pd.DataFrame(lines)
    if len(found):
        found.loc[found.f1_whole.isna(), ["precision_near", "precision_whole", "recall"]] = np.nan
    return found


def ranked(scored: pd.DataFrame, by: str = "f1_whole") -> list[str]:
    """The entrants of `scores` by their pooled score, the best first, those that only count last."""
    pooled = scored[(scored.image == "all") & (scored.source == scored.groupby("entrant").source.transform("first"))]
    return list(pooled.sort_values(by, ascending=False, na_position="last").entrant)


def paired(rows: pd.DataFrame, against: str = REFERENCE, draws: int = 2000, seed: int = 0) -> pd.DataFrame:
    """Differences of pooled F1 from one entrant, on the same images, with 95 % intervals.

    Sixteenths of images are drawn with replacement, the same for both methods, and F1 is pooled over them: what makes
    a part easy or hard for both cancels.

    Returns
    -------
    DataFrame
        entrant, source, reading, images, difference, low, high. Empty without the entrant `against`.
    """
    frame = units(rows[rows.tp.notna()])
    base = frame[(frame.entrant == against) & (frame.source == frame[frame.entrant == against].source.min())]
    lines = []
    for (entrant, source, reading), own in frame.groupby(["entrant", "source", "reading"], sort=False):
        if entrant == against:
            continue
        place = ["image", "part"]
        other = base[base.reading == reading].set_index(place)
        own = own.set_index(place)
        shared = own.index.intersection(other.index)
        parts = [place for place in shared if place[1] != "all"]
        if not parts:
            continue
        pair = [frame.loc[shared, ["tp", "fp", "fn"]] for frame in (own, other)]
        whole = [one[one.index.get_level_values("part") == "all"] for one in pair]
        chosen = np.random.default_rng(seed).integers(len(parts), size=(draws, len(parts)))
        tp, fp, fn = np.stack([one.loc[parts].to_numpy(float)[chosen].sum(axis=1) for one in pair]).transpose(2, 0, 1)
        drawn = 2 * tp / np.maximum(2 * tp + fp + fn, 1)
        low, high = np.quantile(drawn[0] - drawn[1], [0.025, 0.975])
        line = {"entrant": entrant, "source": source, "reading": reading, "images": len(whole[0])}
        lines.append(line | {"difference": _f1(whole[0]) - _f1(whole[1]), "low": low, "high": high})
    columns = ["entrant", "source", "reading", "images", "difference", "low", "high"]
    return pd.DataFrame(lines, columns=columns)


def by_density(rows: pd.DataFrame, groups: int = 4) -> pd.DataFrame:
    """Scores in groups of sixteenths of images, from those with few annotated cells to those with many.

    Returns
    -------
    DataFrame
        entrant, source, group, parts, cells (mean per part), f1 (near annotations), recall, ratio (predicted to
        annotated cells, over the whole part).
    """
    frame = units(rows)
    frame = frame[frame.part != "all"]
    places = frame.drop_duplicates(["image", "part"])[["image", "part", "n_true"]].sort_values("n_true", kind="stable")
    places["group"] = np.arange(len(places)) * groups // max(len(places), 1)
    frame = frame.merge(places[["image", "part", "group"]], on=["image", "part"])
    lines = []
    for (entrant, source, group), part in frame.groupby(["entrant", "source", "group"], sort=False):
        near, whole = (part[part.reading == reading] for reading in ("near", "whole"))
        line = {"entrant": entrant, "source": source, "group": group, "parts": len(whole), "cells": whole.n_true.mean()}
        line |= {"f1": _f1(near), "recall": whole.tp.sum() / whole.n_true.sum() if whole.tp.notna().any() else np.nan}
        lines.append(line | {"ratio": whole.n_pred.sum() / whole.n_true.sum()})
    return pd.DataFrame(lines).sort_values(["entrant", "source", "group"], kind="stable", ignore_index=True)


def points(dataset: str, build: Path | None) -> tuple[dict[str, Points], list[str]]:
    """Points of all methods: dict of entrant to image to points, and the kept files that are missing.

    The points of a build are taken where none are kept.
    """
    gathered: dict[str, Points] = {}
    missing = []
    for entrant in (one for one in ENTRANTS if one.sources and one.sources[0][0] != _TAUGHT):
        present = False
        patterns = [(source, pattern, method) for source in (KEPT, BUILT) for pattern, method in entrant.sources]
        for source, pattern, method in patterns:
            named = pattern.replace("{}", "{}-points") if source == KEPT else pattern
            for path in _places(named, dataset, build, source):
                path = path if source == KEPT else path.with_name("points.csv")
                if not path.is_file():
                    continue
                present = True
                frame = pd.read_csv(path, dtype={"image": str})
                groups = frame[frame.method == method].groupby("image")
                if len(groups) and entrant.name not in gathered:
                    gathered[entrant.name] = {name: one[["y_px", "x_px"]].to_numpy(np.float32) for name, one in groups}
        if not present:
            missing.append(f"{entrant.sources[0][0].format(dataset)}-points.csv")
    return gathered, list(dict.fromkeys(missing))


def found(samples: Sequence[Sample], points: Mapping[str, Points], tolerance: float) -> pd.DataFrame:
    """Which true cells each method has found.

    Parameters
    ----------
    samples : list of Sample with points
    points : dict of entrant to image to points (N, 2) float, (y, x) px
    tolerance : float, px

    Returns
    -------
    DataFrame of bool
        One line for each true cell, in the order of the samples, one column for each entrant.
    """
    columns = {}
    for entrant, own in points.items():
        seen = [np.zeros(len(sample.points), bool) for sample in samples]
        for sample, one in zip(samples, seen):
            one[match(sample.points, own.get(sample.name, np.zeros((0, 2))), tolerance).pairs[:, 0]] = True
        columns[entrant] = np.concatenate(seen)
    return pd.DataFrame(columns)


def kappa(seen: pd.DataFrame) -> pd.DataFrame:
    """Cohen's kappa of each pair of columns of `found`: a square DataFrame, nan where a method finds all or none."""
    values = seen.to_numpy(float)
    share = values.mean(axis=0)
    same = (values.T @ values + (1 - values).T @ (1 - values)) / max(len(values), 1)
    chance = np.outer(share, share) + np.outer(1 - share, 1 - share)
    agreed = np.divide(same - chance, 1 - chance, out=np.full_like(same, np.nan), where=chance < 1 - 1e-12)
    return pd.DataFrame(agreed, seen.columns, seen.columns)


def pairs(seen: pd.DataFrame) -> pd.DataFrame:
    """Shares of the true cells that both, one and none of two methods find, for each two columns of `found`."""
    lines = []
    for i, first in enumerate(seen.columns):
        for second in seen.columns[i + 1 :]:
            number = seen[first].astype(int) + seen[second]
            shares = {name: float((number == n).mean()) for name, n in {"both": 2, "one": 1, "none": 0}.items()}
            lines.append({"first": first, "second": second} | shares)
    return pd.DataFrame(lines)


def disputed(sample: Sample, seen: pd.DataFrame, side: int) -> tuple[int, int, int, int]:
    """The window (y, x, height, width) px of a field with most cells that some methods find and others miss.

    Parameters
    ----------
    sample : Sample with points
    seen : DataFrame of `found`, the lines of this sample
    side : int, px
    """
    height, width = (min(side, length) for length in sample.image.shape)
    open_ = sample.points[(seen.any(axis=1) & ~seen.all(axis=1)).to_numpy()]
    corners = [
        (y, x)
        for y in range(0, sample.image.shape[0] - height + 1, 16)
        for x in range(0, sample.image.shape[1] - width + 1, 16)
    ]
    inside = [((open_ >= corner) & (open_ < np.add(corner, (height, width)))).all(axis=1).sum() for corner in corners]
    return (*corners[int(np.argmax(inside))], height, width)


def costs(rows: pd.DataFrame) -> pd.DataFrame:
    """What each entrant of `gathered` rows needs, by the rows, bench.csv and the kept tables of trainings.

    Returns
    -------
    DataFrame
        entrant, labels, learns, weights, licence; seconds for a field, and memory, MB, of the process, which had other
        work before, from the rows; quiet and quiet_memory, from bench.csv, with networks of the library's own size;
        minutes of training on so many threads, and trained_on, the data set, the thesis before the phantom.
    """
    scored = scores(rows)
    scored = scored[scored.image == "all"].drop_duplicates("entrant").set_index("entrant")
    bench = results.table(kept.file("bench.csv")).drop_duplicates("what").set_index("what")
    trainings = {}
    for data in ("phantom", "thesis"):
        files = [kept.file(kept.file_name(chapter, data, "training")) for chapter in TRAINED]
        for path in (path for path in files if path.is_file()):
            for family, of in results.table(path).groupby("method"):
                about = {"minutes": of.seconds.mean() / 60, "threads": of.threads.max(), "trained_on": data}
                trainings[family] = about
    lines = []
    for entrant in (entrant for entrant in ENTRANTS if entrant.name in scored.index):
        own = scored.loc[entrant.name]
        line: dict[str, Any] = {"entrant": entrant.name, "seconds": own.seconds, "memory": own.peak_memory_mb}
        line |= {name: getattr(entrant, name) for name in ("labels", "learns", "weights", "licence")}
        parts = bench.reindex(BENCHED.get(entrant.name, ()))
        line |= {"quiet": parts.seconds.sum(min_count=max(1, len(parts))), "quiet_memory": parts.peak_mb.max()}
        taught = entrant.sources[:1] and entrant.sources[0][0] == _TAUGHT
        lines.append(line | ({} if taught else trainings.get(entrant.family, {})))
    columns = ["entrant", "labels", "learns", "weights", "licence", "seconds", "memory", "quiet", "quiet_memory"]
    return pd.DataFrame(lines, columns=[*columns, "minutes", "threads", "trained_on"])
