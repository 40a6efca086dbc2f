"""CellNet's weights as one ONNX file, from image to points: all that counting on a CPU or in a browser needs.

Batch normalisations are not folded into convolutions: the weights are stored in half precision, which cannot represent
their products, and ONNX Runtime folds them when it loads the file.
"""

import json
import warnings
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import numpy as np

from cellcount.errors import DISTRIBUTION, CellcountError, ParameterError, needing
from cellcount.files import replacing, sha256
from cellcount.methods.cellnet.calibration import Counting
from cellcount.methods.cellnet.checkpoint import SHIPPED, about
from cellcount.methods.cellnet.settings import ONNX_FORMAT

OPSET = 20  # the last that the exporter supports


def export(weights: str | Path | None = None, out: str | Path | None = None) -> Path:
    """Write the ONNX file of a weights file; the same versions of torch and onnx write the same bytes.

    Inputs of the graph: `image` (1, 1, H, W) float32 in [0, 1], of any size, and `exposure` (2,) float32, from
    `pixels.brightness_and_contrast` of the whole image. Outputs: `heat` (1, 1, h, w) float32, `points` (N, 2) float32
    in (y, x) px of the image and `scores` (N,) float32; see `graph.Counter`. The metadata has one entry, `cellcount`,
    in JSON: format, settings, threshold, how these weights count, SHA-256 of the weights file, and versions.

    Parameters
    ----------
    weights : path or None
        A safetensors file written by `fit`; None takes the bundled weights.
    out : path or None
        None: beside the weights, where counting looks for it.

    Returns
    -------
    Path of `out`

    Raises
    ------
    DataError
        If the weights file is missing, truncated, or not one of CellNet's.
    ParameterError
        If `out` does not end in .onnx.
    NotAvailableError
        If torch or onnx is not installed.
    CellcountError
        If this network cannot be written as ONNX.
    """
    weights = Path(weights or SHIPPED)
    out = weights.with_suffix(".onnx") if out is None else Path(out)
    if out.suffix != ".onnx":
        raise ParameterError(f"out={str(out)!r} must end in .onnx.")
    with needing("train", "Writing an ONNX file"):
        import onnx

        from cellcount.methods.cellnet.graph import Counter
        from cellcount.methods.cellnet.torch_engine import read_network
    network, settings = read_network(weights)
    counter = Counter(network, settings).eval()
    described = {
        "format": ONNX_FORMAT,
        "settings": asdict(settings),
        "threshold": settings.threshold,
        "counting": Counting.of(about(weights)).to_json(),
        "weights_sha256": sha256(weights),
        "versions": {"cellcount": version(DISTRIBUTION), "torch": version("torch"), "onnx": version("onnx")},
    }
    with replacing(out) as temporary:
        try:
            _trace(counter, temporary)
            model = _halved(onnx.load(temporary))
            onnx.helper.set_model_props(model, {"cellcount": json.dumps(described)})
            onnx.save(model, temporary)
            _compare(counter, temporary)
        except Exception as error:  # operations without a counterpart in ONNX raise errors of many kinds
            raise CellcountError(
                f"{weights}: its network (encoder {settings.encoder!r}, decoder {settings.decoder!r}) cannot be "
                f"written as ONNX ({str(error).strip().partition(chr(10))[0]}); count with the safetensors file."
            ) from error
    return out


def _trace(counter, path):
    """Write the graph of a `Counter`, its weights in single precision."""
    import torch

    example = torch.rand(1, 1, 70, 90, generator=torch.Generator().manual_seed(0)), torch.tensor([0.5, 0.1])
    sides = {"image": {2: "H", 3: "W"}, "heat": {2: "h", 3: "w"}, "points": {0: "N"}, "scores": {0: "N"}}
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # that it is deprecated; its successor takes ten times as long
        torch.onnx.export(
            counter,
            example,
            path,
            dynamo=False,
            opset_version=OPSET,
            input_names=["image", "exposure"],
            output_names=["heat", "points", "scores"],
            dynamic_axes=sides,
            training=torch.onnx.TrainingMode.PRESERVE,  # do not fold the batch normalisations into convolutions
        )


def _halved(model):
    """The model, in place: weights that half precision represents exactly are stored in it, and cast to float32."""
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT:
            continue
        values, name = numpy_helper.to_array(tensor), tensor.name
        with np.errstate(over="ignore"):
            half = values.astype(np.float16)
        if (half == values).all():
            tensor.CopyFrom(numpy_helper.from_array(half, f"{name}.half"))
            casts.append(helper.make_node("Cast", [f"{name}.half"], [name], f"{name}.cast", to=TensorProto.FLOAT))
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(casts + nodes)
    return model


def _compare(counter, path):
    """Raise a ValueError if the file's heatmap of an image of another size differs from that of its `Counter`."""
    import torch

    from cellcount.methods.cellnet.onnx_engine import OnnxEngine

    image, exposure = np.random.default_rng(0).random((107, 131), np.float32), (0.5, 0.3)
    with torch.no_grad():
        expected = counter(torch.from_numpy(image)[None, None], torch.tensor(exposure))[0][0, 0].numpy()
    found = OnnxEngine(path).heats([image], exposure)[0]
    if found.shape != expected.shape or np.abs(found - expected).max() > 1e-3 * max(1.0, expected.max()):
        raise ValueError("the graph fits one size of images only")
