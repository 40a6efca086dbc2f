"""All data comes through here: `load` gives a list of `Sample` of any data set."""

import importlib
import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cellcount import registry
from cellcount.errors import DataError, ParameterError, needing
from cellcount.registry import DATASETS
from cellcount.registry.datasets import offline
from cellcount.types import Sample

NAMES = ("auto", *DATASETS)
MAX_FOLDS = 5


def load(dataset: Path | str = "auto", *, split: str | None = None, **options: Any) -> list[Sample]:
    """The samples of a data set.

    Parameters
    ----------
    dataset : "auto", "phantom", "thesis", "vgg-cells", or the path of a folder
        "auto" is what `resolve` says. For a folder see `cellcount.data.folder`.
    split : "train", "validation", "test" or None
        Only this part of a data set with a fixed split; None gives all.
    **options
        Handed to the data set's own `load`: `names`, `annotated` and `channel` of the thesis, `names` and `channel`
        of the VGG cells, `channel` of a folder, those of `cellcount.data.phantom.load`.

    Returns
    -------
    list of Sample

    Raises
    ------
    ParameterError
        If the data set or the split is unknown, or has no samples in this split.
    DataError, NotAvailableError
        If the data cannot be used or fetched.
    """
    if split not in (None, "train", "validation", "test"):
        raise ParameterError(f"split={split!r} is unknown; use train, validation, test or None.")
    name, _ = resolve(dataset)
    with needing("data", f"Loading {name}"):
        loader = (
            _module(name).load if name in DATASETS else importlib.import_module("cellcount.data.folder").load_folder
        )
        if "split" in inspect.signature(loader).parameters:
            return list(loader(split=split, **options))
        samples: list[Sample] = loader(**options) if name in DATASETS else loader(name, **options)
    if split is None:
        return samples
    chosen = [sample for sample in samples if sample.split == split]
    if not chosen:
        raise ParameterError(f"{dataset} has no samples in the split {split!r}; use split=None, and `folds`.")
    return chosen


def resolve(dataset: Path | str = "auto") -> tuple[str, str]:
    """What a data set's name stands for: (name or path, reason in one sentence). Takes under 5 s.

    "auto" is the thesis if its points and first image are on this machine or its host answers, else the phantom.
    Raises ParameterError if `dataset` is neither a known name nor a folder.
    """
    dataset = str(dataset)
    if dataset != "auto":
        if dataset in NAMES:
            return dataset, f"The data set {dataset} was asked for."
        if Path(dataset).is_dir():
            return dataset, f"The folder {dataset} was asked for."
        known = ", ".join(NAMES)
        raise ParameterError(f"{dataset!r} is neither a data set ({known}) nor an existing folder.")
    from cellcount.data import thesis

    image = registry.find("thesis", "images/1.jpg")
    points = [path for path in thesis.POINTS_OF if registry.find("thesis", path) is not None]
    if image is not None and points:
        local = registry.local_root()
        place = "CELLCOUNT_DATA" if local is not None and image.is_relative_to(local) else "the cache"
        return "thesis", f"The thesis data lies in {place}."
    reason = offline("thesis")
    if not reason:
        return "thesis", "The thesis data is not on this machine, but can be fetched now."
    return "phantom", f"The thesis data is not on this machine and {reason}: simulated fields are used."


def missing(dataset: str) -> list[str]:
    """Sentences on what a data set has upstream and lacks on this machine; [] if nothing, or if nothing is fetched."""
    lacking = getattr(_module(dataset), "missing", None) if dataset in DATASETS else None
    return lacking() if lacking else []


def _module(name: str) -> Any:
    return importlib.import_module(f"cellcount.data.{DATASETS[name].module}")


def folds(samples: Sequence[Sample]) -> list[tuple[list[Sample], list[Sample]]]:
    """Pairs of samples to train on and to test on, so that no test image is seen in training.

    Where samples have a fixed split: one fold, "train" against "test" ("validation" is in neither). Else every
    annotated image is tested once: one image at a time, or in 5 groups if there are more than 5. A single annotated
    image is cut into its left and right half, and each half tests what the other has trained.

    Parameters
    ----------
    samples : list of Sample; those without points are left out

    Returns
    -------
    list of (train, test), each a list of Sample

    Raises
    ------
    DataError
        If no sample is annotated.
    """
    annotated = [sample for sample in samples if sample.points is not None]
    if not annotated:
        raise DataError("None of the samples is annotated: there is nothing to train on or to test against.")
    train = [sample for sample in annotated if sample.split == "train"]
    test = [sample for sample in annotated if sample.split == "test"]
    if train and test:
        return [(train, test)]
    if len(annotated) == 1:
        only = annotated[0]
        height, width = only.image.shape
        left, right = only.crop(0, 0, height, width // 2), only.crop(0, width // 2, height, width - width // 2)
        return [([left], [right]), ([right], [left])]
    count = min(MAX_FOLDS, len(annotated))
    groups = [annotated[first::count] for first in range(count)]
    return [([s for other in groups if other is not group for s in other], group) for group in groups]
