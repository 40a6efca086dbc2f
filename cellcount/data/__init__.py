"""All data is loaded here: `load` gives a list of `Sample` of any data set."""

import importlib
import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cellcount import registry
from cellcount.errors import DataError, ParameterError, needing, one_of, require
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
        "auto" is chosen by `resolve`. For a folder see `cellcount.data.folder`.
    split : "train", "validation", "test" or None
        Only this part of a data set with a fixed split; None gives all.
    **options
        Passed on to the data set's own `load`: `names`, `annotated` and `channel` of the thesis, `names` and `channel`
        of the VGG cells, `channel` of a folder, those of `cellcount.data.phantom.load`.

    Returns
    -------
    list of Sample

    Raises
    ------
    ParameterError
        If the data set, the split or an option is unknown, or there are no samples in this split.
    DataError, NotAvailableError
        If the data cannot be used or fetched.
    """
    one_of(split, ("train", "validation", "test", None), "split")
    name, _ = resolve(dataset)
    with needing("data", f"Loading {name}"):
        if name in DATASETS:
            loader = importlib.import_module(f"cellcount.data.{DATASETS[name].module}").load
        else:
            loader = importlib.import_module("cellcount.data.folder").load_folder
            options = {"folder": name} | options
        known = inspect.signature(loader).parameters
        unknown = ", ".join(option for option in options if option not in known)
        has = ", ".join(option for option in known if option not in ("split", "folder"))
        require(not unknown, f"{name} has no option {unknown}; it has: {has}.")
        if "split" in known:
            return list(loader(split=split, **options))
        samples: list[Sample] = loader(**options)
    chosen = [sample for sample in samples if split in (None, sample.split)]
    require(chosen or not split, f"{dataset} has no samples in the split {split!r}; use split=None, and `folds`.")
    return chosen


def resolve(dataset: Path | str = "auto") -> tuple[str, str]:
    """The data set meant by a name: (name or path, reason in one sentence). Takes under 5 s.

    "auto" is the thesis if its points and first image are on this machine or its host answers, else the phantom.
    Raises ParameterError if `dataset` is neither a known name nor a folder.
    """
    dataset = str(dataset)
    if dataset != "auto":
        folder = dataset not in NAMES and Path(dataset).is_dir()
        if dataset not in NAMES and not folder:
            raise ParameterError(f"{dataset!r} is neither a data set ({', '.join(NAMES)}) nor an existing folder.")
        return dataset, f"The {'folder' if folder else 'data set'} {dataset} was requested."
    from cellcount.data import thesis

    image = registry.find("thesis", "images/1.jpg")
    if image is not None and any(registry.find("thesis", path) for path in thesis.POINTS_OF):
        return "thesis", f"The thesis data is in {image.parents[1]}."
    reason = offline("thesis")
    if not reason:
        return "thesis", "The thesis data is not on this machine, but can be fetched now."
    return "phantom", f"The thesis data is not on this machine and {reason}: simulated fields are used."


def missing(dataset: str) -> list[str]:
    """A sentence on the files of a data set that are not on this machine, in a list; [] if there is none."""
    return registry.lacking(dataset) if dataset in DATASETS else []


def folds(samples: Sequence[Sample]) -> list[tuple[list[Sample], list[Sample]]]:
    """Pairs of training and test samples, so that no test image is used in training.

    With a fixed split there is one fold, "train" against "test" ("validation" is in neither). Otherwise every annotated
    image is tested once: one image at a time, or in 5 groups if there are more than 5. A single annotated image is cut
    into its left and right half, and each half tests a training on the other.

    Parameters
    ----------
    samples : list of Sample; those without points are left out

    Returns
    -------
    list of (train, test), each a list of Sample

    Raises
    ------
    DataError
        If no sample is annotated, or none has two annotated cells.
    """
    annotated = [sample for sample in samples if sample.points is not None]
    require(annotated, "None of the samples is annotated: training and testing need annotated images.", DataError)
    enough = any(sample.points is not None and len(sample.points) > 1 for sample in annotated)
    require(enough, "No sample has two annotated cells: training and testing need more.", DataError)
    train, test = ([sample for sample in annotated if sample.split == part] for part in ("train", "test"))
    if train and test:
        return [(train, test)]
    if len(annotated) == 1:
        height, width = annotated[0].image.shape
        half = width // 2
        left, right = annotated[0].crop(0, 0, height, half), annotated[0].crop(0, half, height, width - half)
        return [([left], [right]), ([right], [left])]
    count = min(MAX_FOLDS, len(annotated))
    groups = [annotated[first::count] for first in range(count)]
    return [([s for other in groups if other is not group for s in other], group) for group in groups]
