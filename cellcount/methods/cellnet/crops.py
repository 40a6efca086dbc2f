"""Random training crops: cut, rotated, scaled, mirrored, and changed in brightness and contrast."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F

from cellcount.methods.cellnet.settings import Settings
from cellcount.methods.cellnet.targets import TARGETS
from cellcount.methods.pixels import block_mean, to_full, to_small
from cellcount.types import Sample


class Crops:
    """Draws training crops from samples.

    Parameters
    ----------
    samples : list of Sample
        Each with points.
    settings : Settings
        That are `filled`.

    Attributes
    ----------
    points : list of (N, 2) float, px of the heatmap
    trusted : list of (1, 1, H, W) float32 tensors
        1 where the annotation is used. Both change when the annotation is corrected (`mending`).
    """

    def __init__(self, samples: Sequence[Sample], settings: Settings) -> None:
        self.settings = settings
        self.images, self.trusted, self.points = [], [], []
        for sample in samples:
            self.images.append(torch.from_numpy(settings.prepared(sample.image))[None, None])
            trusted = block_mean(sample.valid.astype(np.float32), settings.factor) > 0.5
            self.trusted.append(torch.from_numpy(trusted.astype(np.float32))[None, None])
            self.points.append(to_small(sample.points, settings.factor))
        # Each pixel is as likely as any other, in whichever image it is.
        areas = np.array([image.numel() for image in self.images], float)
        self.share = areas / areas.sum()

    def batch(self, rng: np.random.Generator, n: int) -> list[torch.Tensor]:
        """Image (n, 1, size detail, size detail), target and trust, each (n, 1, size, size), float32."""
        crops = [self._draw(rng) for _ in range(n)]
        return [torch.cat(part).contiguous(memory_format=torch.channels_last) for part in zip(*crops, strict=True)]

    def _draw(self, rng):
        size, detail, sigma = self.settings.crop, self.settings.detail, self.settings.sigma
        i = rng.choice(len(self.images), p=self.share)
        image, trusted, points = self.images[i], self.trusted[i], self.points[i]
        turn = _turn(rng, self.settings.zoom)
        centre = rng.uniform(0, 1, 2) * (np.array(trusted.shape[2:]) - 1)
        if np.allclose(turn, np.rint(turn)):  # a symmetry: stay on the pixel raster, else the bicubic filter blurs
            centre = np.floor(centre) + ((size - 1) / 2) % 1
        grid = _grid(to_full(centre, detail), turn, size * detail, image.shape[2:])
        crop = F.grid_sample(image, grid, mode="bicubic", padding_mode="reflection", align_corners=True)
        grid = _grid(centre, turn, size, trusted.shape[2:])
        trust = F.grid_sample(trusted, grid, mode="nearest", padding_mode="zeros", align_corners=True)
        seen = (points - centre) @ np.linalg.inv(turn).T + (size - 1) / 2
        reach = 4 * sigma
        seen = seen[((seen > -reach) & (seen < size + reach)).all(axis=1)]
        target = torch.from_numpy(TARGETS[self.settings.target](seen, (size, size), sigma))[None, None]
        contrast = self.settings.contrast ** rng.uniform(-1, 1)
        crop = crop * contrast + rng.uniform(-0.3, 0.3) * (self.settings.contrast > 1)
        return crop, target, trust


def _turn(rng, zoom):
    """(2, 2) matrix from crop to image: half of the time one of the eight symmetries, which do not blur."""
    if rng.random() < 0.5:
        angle, scale = rng.integers(4) * np.pi / 2, 1.0
    else:
        angle, scale = rng.uniform(0, 2 * np.pi), zoom ** rng.uniform(-1, 1)
    cos, sin = np.cos(angle), np.sin(angle)
    mirror = np.diag([1.0, rng.choice([-1.0, 1.0])])
    return np.array([[cos, -sin], [sin, cos]]) @ mirror * scale


def _grid(centre, turn, size, shape):
    """Sampling positions (1, size, size, 2) for `grid_sample`, which takes (x, y) in [-1, 1]."""
    offset = np.arange(size) - (size - 1) / 2
    yx = np.stack(np.meshgrid(offset, offset, indexing="ij"), axis=-1) @ turn.T + centre
    unit = 2 * yx / (np.array(shape) - 1) - 1
    return torch.from_numpy(unit[None, :, :, ::-1].astype(np.float32).copy())
