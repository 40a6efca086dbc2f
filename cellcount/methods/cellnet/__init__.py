"""CellNet: cells' centres from a heatmap that was learned from clicks.

`predict` turns an image into points, `fit` turns samples into weights, `status` says whether weights are there,
`export` makes one ONNX file of them, which counts on a CPU without torch.
"""

from cellcount.errors import needing
from cellcount.methods.cellnet.export import export
from cellcount.methods.cellnet.inference import SHIPPED, about, measure, predict, predict_batch
from cellcount.methods.status import Status

__all__ = ["about", "export", "fit", "measure", "predict", "predict_batch", "status"]


def fit(samples, **params):
    """Train on samples; see `cellcount.methods.cellnet.training.fit`."""
    with needing("train", "Training CellNet"):
        from cellcount.methods.cellnet.training import fit
    return fit(samples, **params)


def status():
    """Ready: its weights come with the package."""
    if SHIPPED.is_file():
        return Status("ready", "weights shipped with the package, trained on thesis images 1 and 2")
    return Status("needs weights", f"the package's own file {SHIPPED.name} is missing: install cellcount again")
