"""Random training crops: cut, rotated, scaled, mirrored, and changed in brightness and contrast."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from cellcount.errors import DataError, require
from cellcount.io.views import View
from cellcount.methods.cellnet.settings import Settings
from cellcount.methods.cellnet.targets import TARGETS
from cellcount.methods.feeding import sent
from cellcount.methods.pixels import block_mean, brightness_and_contrast, to_full, to_small
from cellcount.types import Sample

CPU = torch.device("cpu")
IMAGE = {"mode": "bicubic", "padding_mode": "reflection", "align_corners": True}
TRUST = {"mode": "nearest", "padding_mode": "zeros", "align_corners": True}
KEPT = 2e9  # bytes of training images that stay on a GPU; of more, those that a batch needs are sent each time


class Place(NamedTuple):
    """What is random in a crop: its image, the (2, 2) matrix from crop to image, its centre, and how it looks."""

    image: int
    turn: np.ndarray
    centre: np.ndarray
    contrast: float
    brightness: float


class Crops:
    """Draws training crops from samples.

    Parameters
    ----------
    samples : list of Sample
        Each with points.
    settings : Settings
        That are `filled`.
    device : torch.device
        Where crops are made and handed out.

    Attributes
    ----------
    points : list of (N, 2) float, px of the heatmap
    heights : list of (N,) float, or None where all are 1
        Of the target at each point: `Sample.meta["probability"]`.
    trusted : list of (1, 1, H, W) float32 tensors
        1 where the annotation is used. Both change when the annotation is corrected (`mending`).
    """

    def __init__(self, samples: Sequence[Sample], settings: Settings, device: torch.device = CPU) -> None:
        self.settings = settings
        self.images, self.trusted, self.points, self.heights = [], [], [], []
        for sample in samples:
            view = View(sample.image)  # as `counting` sees it
            exposure = brightness_and_contrast(view.sample)
            pixels = view[: view.shape[0], : view.shape[1]]
            self.images.append(torch.from_numpy(settings.prepared(pixels, exposure))[None, None])
            valid = sample.valid if view.padding is None else sample.valid & ~view.padding
            trusted = block_mean(valid.astype(np.float32), settings.factor) > 0.5
            self.trusted.append(torch.from_numpy(trusted.astype(np.float32))[None, None])
            self.points.append(to_small(sample.points, settings.factor))
            self.heights.append(_heights(sample, settings.target))
        # Each pixel is as likely as any other, in whichever image it is.
        areas = np.array([image.numel() for image in self.images], float)
        self.shares = np.cumsum(areas) / areas.sum()
        # MPS lacks bicubic sampling: there, and on any other device, the CPU makes the crops.
        self.device = device if device.type == "cuda" else CPU
        if 8 * areas.sum() < KEPT:
            self.images, self.trusted = ([one.to(self.device) for one in all] for all in (self.images, self.trusted))

    def places(self, rng: np.random.Generator, n: int) -> list[Place]:
        """All that is random in the next n crops."""
        return [self._place(rng) for _ in range(n)]

    def batch(self, places: Sequence[Place]) -> list[torch.Tensor]:
        """Image (n, 1, size detail, size detail), target and trust, each (n, 1, size, size), float32, of n places.

        On the CPU they are cut one after the other. A GPU cuts all of them at once, at the same places: it would wait
        nine tenths of the time for one CPU thread that does it.
        """
        parts = [self._together(places)] if self.device.type == "cuda" else map(self._cut, places)
        joined = (torch.cat(part) for part in zip(*parts, strict=True))
        return [part.contiguous(memory_format=torch.channels_last) for part in joined]

    def _place(self, rng):
        i = int(self.shares.searchsorted(rng.random(), side="right"))
        turn, symmetric = _turn(rng, self.settings.zoom)
        centre = rng.uniform(0, 1, 2) * (np.array(self.trusted[i].shape[2:]) - 1)
        if symmetric:  # stay on the pixel raster, else the bicubic filter blurs
            centre = np.floor(centre) + ((self.settings.crop - 1) / 2) % 1
        contrast = self.settings.contrast ** rng.uniform(-1, 1)
        return Place(i, turn, centre, contrast, rng.uniform(-0.3, 0.3) * (self.settings.contrast > 1))

    def _cut(self, place):
        """Image, target and trust of one crop."""
        size, detail = self.settings.crop, self.settings.detail
        image, trusted = self.images[place.image], self.trusted[place.image]
        grid = _grid(to_full(place.centre, detail), place.turn, size * detail, image.shape[2:])
        crop = F.grid_sample(image, grid, **IMAGE)
        trust = F.grid_sample(trusted, _grid(place.centre, place.turn, size, trusted.shape[2:]), **TRUST)
        target = TARGETS[self.settings.target](*self._seen(place, size))
        return crop * place.contrast + place.brightness, torch.from_numpy(target)[None, None], trust

    def _together(self, places):
        """The same of several crops, on the GPU, in the order of their images."""
        size, detail = self.settings.crop, self.settings.detail
        places = sorted(places, key=lambda place: place.image)
        turn, centre, contrast, brightness = (
            sent(np.array(part, np.float32), self.device) for part in list(zip(*places, strict=True))[1:]
        )
        large = _turned(size * detail, turn, to_full(centre, detail))
        small = _turned(size, turn, centre)
        crops, trusts, first = [], [], 0
        for i, count in sorted(Counter(place.image for place in places).items()):
            for parts, image, grid, how in (
                (crops, self.images[i], large, IMAGE), (trusts, self.trusted[i], small, TRUST)
            ):  # fmt: skip
                y, x = (2 / (side - 1) * part[first : first + count] - 1 for side, part in zip(image.shape[2:], grid))
                image = image.to(self.device).expand(count, -1, -1, -1)
                parts.append(F.grid_sample(image, torch.stack([x, y], dim=-1), **how))
            first += count
        crop = torch.cat(crops) * contrast[:, None, None, None] + brightness[:, None, None, None]
        return crop, self._targets([self._seen(place, size) for place in places]), torch.cat(trusts)

    def _targets(self, seen):
        """(n, 1, size, size) float32 on the GPU, from the points of n crops."""
        size, sigma = self.settings.crop, self.settings.sigma
        if self.settings.target != "gaussian":
            return sent(np.stack([TARGETS[self.settings.target](*one) for one in seen])[:, None], self.device)
        padded = np.zeros((len(seen), max(len(points) for points, *_ in seen), 3), np.float32)
        for row, (points, _, _, heights) in zip(padded, seen, strict=True):
            row[: len(points), :2], row[: len(points), 2] = points, 1 if heights is None else heights
        peaks, pixels = sent(padded, self.device), torch.arange(size, device=self.device)
        rows, columns = torch.exp(-0.5 * ((pixels - peaks[..., :2, None]) / sigma) ** 2).unbind(2)
        return ((rows * peaks[..., 2:]).mT @ columns)[:, None]  # as in `targets.heatmap`

    def _seen(self, place, size):
        """The arguments of a target: points (N, 2) on a crop or close to it, px of it; its shape, sigma and heights."""
        reach, heights = 4 * self.settings.sigma, self.heights[place.image]
        off, (a, b), (c, d) = self.points[place.image] - place.centre, *place.turn
        near = np.einsum("ij,ij->i", off, off) < 2 * (size / 2 + reach) ** 2 * (a * a + c * c)  # leaves most out
        seen = off[near] @ (np.array([[d, -c], [-b, a]]) / (a * d - b * c)) + (size - 1) / 2
        inside = ((seen > -reach) & (seen < size + reach)).all(axis=1)
        seen, heights = seen[inside], None if heights is None else heights[near][inside]
        return seen, (size, size), self.settings.sigma, *([] if self.settings.target != "gaussian" else [heights])


def _heights(sample, target):
    probability = sample.meta.get("probability")
    if probability is None:
        return None
    require(target == "gaussian", f"target={target!r}: points with a probability need target='gaussian'.")
    heights = np.asarray(probability, float)
    fits = heights.shape == (len(sample.points),) and ((heights >= 0) & (heights <= 1)).all()
    require(fits, f"{sample.name}: meta['probability'] must have one number from 0 to 1 for each point.", DataError)
    return heights


def _turn(rng, zoom):
    """(2, 2) matrix from crop to image, and whether it is a symmetry: every second is, as they do not blur."""
    symmetric = rng.random() < 0.5
    if symmetric:
        angle, scale = rng.integers(4) * np.pi / 2, 1.0
    else:
        angle, scale = rng.uniform(0, 2 * np.pi), zoom ** rng.uniform(-1, 1)
    cos, sin, mirror = np.cos(angle) * scale, np.sin(angle) * scale, 2 * rng.integers(2) - 1
    return np.array([[cos, -sin * mirror], [sin, cos * mirror]]), symmetric


def _grid(centre, turn, size, shape):
    """Sampling positions (1, size, size, 2) for `grid_sample`, which takes (x, y) in [-1, 1]."""
    offset = np.arange(size) - (size - 1) / 2
    yx = np.stack(np.meshgrid(offset, offset, indexing="ij"), axis=-1) @ turn.T + centre
    unit = 2 * yx / (np.array(shape) - 1) - 1
    return torch.from_numpy(unit[None, :, :, ::-1].astype(np.float32).copy())


def _turned(size, turn, centre):
    """The same positions of n crops on a GPU, y and x, (n, size, size) each, px of the image."""
    offset = torch.arange(size, device=turn.device) - (size - 1) / 2
    y, x = offset[:, None], offset
    turn = turn[..., None, None]
    return [turn[:, axis, 0] * y + turn[:, axis, 1] * x + centre[:, axis, None, None] for axis in (0, 1)]
