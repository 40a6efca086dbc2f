"""Labels for what nobody has annotated, by networks that are trained already: teachers of a new one."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from scipy.spatial import cKDTree

from cellcount.devices import choose_device
from cellcount.errors import DataError, require
from cellcount.methods.cellnet.mending import typical_height
from cellcount.methods.cellnet.torch_engine import TorchEngine
from cellcount.methods.pixels import peaks, to_full, to_small
from cellcount.types import Prediction, Sample

SUREST = 0.95  # probability of the surest point that nobody marked; 1 is a click
LOWEST = 0.1  # of a typical peak: lower ones are no cells


def taught(
    samples: Sequence[Sample],
    teachers: Sequence[str | Path],
    *,
    weights: Sequence[float] | None = None,
    detections: Mapping[str, Prediction] | None = None,
    share: float = 0.5,
    views: int = 8,
    device: str | torch.device = "auto",
) -> list[Sample]:
    """Samples in which the mean answer of several networks stands where nobody has clicked.

    Networks that learned from other data, or from another seed, err in other places, and one network that learns their
    mean does better than each of them. Their heatmaps, each divided by the height of its typical peak, are averaged
    over the symmetries of the square and over the networks. A peak becomes a point whose probability is its height,
    relative to the height at clicks.

    Parameters
    ----------
    samples : list of Sample
        Annotated or not. Clicks stay, with probability 1, and the peaks beside them are left out.
    teachers : list of path
        Weights files of CellNet that see images at the same resolution.
    weights : list of float or None
        Of the teachers in the mean; equal by default.
    detections : dict of sample's name -> Prediction, or None
        Points with scores by any other method, which take this `share` of the mean. They are divided by the median
        score at clicks, so one annotated sample must have them.
    share : float
    views : int
        Symmetries over which a teacher's heatmap is averaged, 1 to 8.
    device : "auto", "cpu", "cuda", ...

    Returns
    -------
    list of Sample
        For `fit`: each valid everywhere, with `meta["probability"]`, (N,) float in [0, 1].

    Raises
    ------
    DataError
        If a weights file cannot be read, the teachers' heatmaps differ in resolution, or detections are missing.
    """
    require(len(teachers), "No teachers: give at least one weights file of CellNet.")
    engines = [TorchEngine(Path(path), choose_device(device), views) for path in teachers]
    settings = engines[0].settings
    if any(engine.settings.factor != settings.factor for engine in engines):
        raise DataError("The teachers see images at different resolutions (`factor`): give those of one resolution.")
    full = [engine.settings.threshold / engine.settings.relative_threshold for engine in engines]
    other = _Other(samples, detections, settings) if detections is not None else None
    found, typical = [], []
    for sample in samples:
        maps = [engine.heats([sample.image], None)[0] / height for engine, height in zip(engines, full, strict=True)]
        heat = np.average(maps, axis=0, weights=weights).astype(np.float32)
        if other:
            heat = (1 - np.float32(share)) * heat + np.float32(share) * other.heat(sample, heat.shape)
        found.append(peaks(heat, threshold=LOWEST, distance=settings.peak_distance))
        if sample.points is not None and len(sample.points):
            small = to_small(sample.points, settings.factor)
            typical.append(typical_height(heat, small, settings.peak_distance))
    height = float(np.mean(typical)) if typical else 1.0
    return [_completed(sample, *one, height, settings) for sample, one in zip(samples, found, strict=True)]


def _completed(sample, points, heights, height, settings):
    """The sample with these peaks, (N, 2) px of the heatmap, where it has no point."""
    clicks = np.zeros((0, 2), np.float32) if sample.points is None else sample.points
    points = to_full(points, settings.factor)
    if len(clicks):
        far = cKDTree(clicks).query(points)[0] > settings.peak_distance * settings.factor
        points, heights = points[far], heights[far]
    probability = np.concatenate([np.ones(len(clicks)), np.minimum(heights / height, SUREST)])
    points = np.concatenate([clicks, points]).astype(np.float32)
    valid = np.ones(sample.image.shape, bool)
    return replace(sample, points=points, valid=valid, meta=sample.meta | {"probability": probability})


class _Other:
    """Heatmaps of another method's points: the highest Gaussian at each pixel, 1 at a typical click."""

    def __init__(self, samples, detections, settings):
        self.detections, self.settings = detections, settings
        lacking = ", ".join(sample.name for sample in samples if sample.name not in detections)
        require(not lacking, f"No detections of {lacking}: give a Prediction for each sample.", DataError)
        at_clicks = [self._at_clicks(sample) for sample in samples if sample.points is not None and len(sample.points)]
        self.full = float(np.mean(at_clicks)) if at_clicks else 0.0
        require(self.full > 0, "No detection lies at a click: their scores have no scale.", DataError)

    def _at_clicks(self, sample):
        """Median over the clicks of the highest score within reach, 0 where there is none."""
        reach, one = self.settings.peak_distance * self.settings.factor, self.detections[sample.name]
        within = cKDTree(one.points).query_ball_point(sample.points, reach)
        return float(np.median([one.scores[indices].max(initial=0) for indices in within]))

    def heat(self, sample, shape):
        heat, one = np.zeros(shape, np.float32), self.detections[sample.name]
        sigma, radius = self.settings.sigma, int(np.ceil(4 * self.settings.sigma))
        for (y, x), score in zip(to_small(one.points, self.settings.factor), one.scores, strict=True):
            top, left = max(int(y) - radius, 0), max(int(x) - radius, 0)
            part = heat[top : int(y) + radius + 2, left : int(x) + radius + 2]
            rows, columns = np.ogrid[top : top + part.shape[0], left : left + part.shape[1]]
            gaussian = np.exp(-0.5 * ((rows - y) ** 2 + (columns - x) ** 2) / sigma**2)
            np.maximum(part, score / self.full * gaussian, out=part)
        return heat
