"""Mask R-CNN: boxes and masks of cells, learned from a square around every click.

`predict` turns an image into points and masks, `fit` turns samples into weights, `status` says what it starts from.
"""

from cellcount.methods.status import Status

__all__ = ["about", "fit", "measure", "predict", "status"]


def predict(image, *, prompts=None, device="auto", **params):
    """Find the cells of one image (H, W) float32; see `cellcount.methods.maskrcnn.inference.predict`."""
    from cellcount.methods.maskrcnn.inference import predict

    return predict(image, prompts=prompts, device=device, **params)


def measure(image):
    """Brightness and contrast of the whole image (H, W) float32, as a keyword argument of `predict` for its tiles."""
    from cellcount.methods.cellnet.pixels import brightness_and_contrast

    return {"exposure": brightness_and_contrast(image)}


def fit(samples, **params):
    """Train on samples; see `cellcount.methods.maskrcnn.training.fit`."""
    from cellcount.methods.maskrcnn.training import fit

    return fit(samples, **params)


def about(path):
    """What a weights file says of itself; see `cellcount.methods.maskrcnn.inference.about`."""
    from cellcount.methods.maskrcnn.inference import about

    return about(path)


def status():
    """Ready to be trained; says whether the weights that the thesis started from are on this machine."""
    from cellcount import registry

    entry = registry.weights("maskrcnn-resnet50-coco")
    if registry.find_weights(entry.name):
        return Status("ready", "trained by `fit`, which starts from the weights for COCO on this machine")
    return Status(
        "ready",
        f"trained by `fit` from nothing; to start from COCO, put {entry.filename} "
        f"({registry.megabytes(entry.bytes)}) into the folder weights/ of CELLCOUNT_DATA",
    )
