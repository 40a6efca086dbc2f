"""Every method behind one call, found in one table that imports a method only when it is asked for."""

import importlib
from collections.abc import Mapping

from cellcount.errors import ParameterError


class Methods(Mapping):
    """Name -> module with `predict`, `measure` and `status`, and `fit` if the method can be trained."""

    def __init__(self, homes):
        self._homes = homes

    def __getitem__(self, name):
        if name not in self._homes:
            raise ParameterError(f"There is no method {name!r}; choose one of {', '.join(self)}.")
        return importlib.import_module(self._homes[name])

    def __iter__(self):
        return iter(self._homes)

    def __len__(self):
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
        "prompted-watershed": "cellcount.methods.watershed",
    }
)
