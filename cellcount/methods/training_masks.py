"""Masks that a segmentation method learns from: those of a sample, or pseudo-masks around its centre points."""

import numpy as np

from cellcount.data.pseudo_masks import VARIANTS, pseudo_masks
from cellcount.errors import DataError, require
from cellcount.types import Sample

CHOICES = (*VARIANTS, "true")  # of a setting `masks`: a variant of pseudo-masks, or the samples' own masks


def training_masks(sample: Sample, choice: str, label: str) -> np.ndarray:
    """The masks of one sample, (H, W) int, 0 is background.

    Parameters
    ----------
    sample : Sample
    choice : one of `CHOICES`
    label : str
        The method's name in messages.

    Raises
    ------
    DataError
        If the sample has no masks or, for pseudo-masks, no annotation.
    """
    name, learned = sample.name, f"{label} learns from masks around points. Leave this image out."
    if choice == "true":
        known = sample.labels is not None
        require(known, f"{name}: no true masks; train with masks='weighted', from its points.", DataError)
        return sample.labels
    require(sample.points is not None, f"{name}: no annotation; {learned}", DataError)
    return pseudo_masks(sample.image, sample.points, variant=choice)
