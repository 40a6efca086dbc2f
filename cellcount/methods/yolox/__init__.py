"""YOLOX: boxes of cells in one pass, without anchors (Ge et al. 2021), from the package pixeltable-yolox.

`predict` turns an image into points, `fit` turns samples into weights, `status` says whether the package is here.
"""

from importlib.util import find_spec

from cellcount.methods.status import Status

__all__ = ["about", "fit", "measure", "predict", "status"]


def predict(image, *, prompts=None, device="auto", **params):
    """Find the cells of one image (H, W) float32; see `cellcount.methods.yolox.inference.predict`."""
    from cellcount.methods.yolox.inference import predict

    return predict(image, prompts=prompts, device=device, **params)


def measure(image):
    """Brightness and contrast of the whole image (H, W) float32, as a keyword argument of `predict` for its tiles."""
    from cellcount.methods.cellnet.pixels import brightness_and_contrast

    return {"exposure": brightness_and_contrast(image)}


def fit(samples, **params):
    """Train on samples; see `cellcount.methods.yolox.training.fit`."""
    from cellcount.methods.yolox.training import fit

    return fit(samples, **params)


def about(path):
    """What a weights file says of itself; see `cellcount.methods.yolox.inference.about`."""
    from cellcount.methods.yolox.inference import about

    return about(path)


def status():
    """Ready to be trained, if its package is installed."""
    if all(find_spec(name) for name in ("yolox", "pycocotools")):
        return Status("ready", "trained by `fit` from nothing")
    from cellcount.methods.yolox.network import INSTALL

    return Status("needs package", f"pixeltable-yolox; install it with: {INSTALL}")
