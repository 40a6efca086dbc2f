"""The table of methods: each has the same call, and is imported when it is looked up."""

import importlib
from collections import UserDict
from typing import Any, cast

from cellcount.errors import ParameterError
from cellcount.methods.base import Method


class Methods(UserDict[str, Any]):
    """Name -> module that keeps the contract of `cellcount.methods.base.Method`, imported when it is looked up."""

    def __getitem__(self, name: str) -> Method:
        if not isinstance(name, str) or name not in self:
            raise ParameterError(f"There is no method {name!r}; choose one of {', '.join(self)}.")
        return cast(Method, importlib.import_module(self.data[name]))

    def __repr__(self) -> str:
        return f"METHODS: {', '.join(self)}"


METHODS = Methods(
    {
        "cellnet": "cellcount.methods.cellnet",
        "blobs": "cellcount.methods.blobs",
        "cellpose": "cellcount.methods.cellpose",
        "stardist": "cellcount.methods.stardist",
        "deepsea": "cellcount.methods.deepsea",
        "nuclephaser": "cellcount.methods.nuclephaser",
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
