"""Every method behind one call, found in one table that imports a method only when it is asked for."""

import importlib
from collections.abc import Iterator, Mapping
from typing import cast

from cellcount.errors import ParameterError
from cellcount.methods.base import Method


class Methods(Mapping[str, Method]):
    """Name -> module that keeps the contract of `cellcount.methods.base.Method`."""

    def __init__(self, homes: Mapping[str, str]) -> None:
        self._homes = dict(homes)

    def __getitem__(self, name: str) -> Method:
        if name not in self._homes:
            raise ParameterError(f"There is no method {name!r}; choose one of {', '.join(self)}.")
        return cast(Method, importlib.import_module(self._homes[name]))

    def __contains__(self, name: object) -> bool:
        return name in self._homes  # without importing it

    def __iter__(self) -> Iterator[str]:
        return iter(self._homes)

    def __repr__(self) -> str:
        return f"METHODS: {', '.join(self)}"

    def __len__(self) -> int:
        return len(self._homes)


METHODS = Methods(
    {
        "cellnet": "cellcount.methods.cellnet",
        "blobs": "cellcount.methods.blobs",
        "cellpose": "cellcount.methods.cellpose",
        "stardist": "cellcount.methods.stardist",
        "deepsea": "cellcount.methods.deepsea",
        "laplacian": "cellcount.methods.classical.laplacian",
        "tophat": "cellcount.methods.classical.tophat",
        "bandpass": "cellcount.methods.classical.bandpass",
        "symmetry": "cellcount.methods.classical.symmetry",
        "clusters": "cellcount.methods.classical.clusters",
        "watershed": "cellcount.methods.classical.watershed",
        "foreground-area": "cellcount.methods.foreground",
        "maskrcnn": "cellcount.methods.maskrcnn",
        "yolox": "cellcount.methods.yolox",
        "sam": "cellcount.methods.sam",
        "prompted-watershed": "cellcount.methods.prompted_watershed",
    }
)
