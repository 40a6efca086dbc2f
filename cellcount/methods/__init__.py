"""Every method behind one call, found in one table that imports a method only when it is asked for."""

import importlib

from cellcount.errors import ParameterError

METHODS = {
    "cellnet": "cellcount.methods.cellnet",
    "blobs": "cellcount.methods.blobs",
}


def get(name):
    """The module of a method: it has `predict`, `measure` and `status`, and `fit` if it can be trained.

    Raises
    ------
    ParameterError
        If no method has this name.
    """
    if name not in METHODS:
        raise ParameterError(f"There is no method {name!r}; choose one of {', '.join(METHODS)}.")
    return importlib.import_module(METHODS[name])
