"""What is inside of CellNet: the layers of its network, its heatmap, and its scores over the threshold."""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
import torch
from torch import nn

from cellcount.methods.cellnet.network import ResidualUNet, build
from cellcount.methods.cellnet.settings import Settings
from cellcount.methods.cellnet.targets import volume
from cellcount.metrics import match, pooled, scored
from cellcount.types import Prediction, Sample


def layers(settings: Settings, side: int) -> pd.DataFrame:
    """The stages of the network, read from a forward pass of the model that `build` makes.

    Parameters
    ----------
    settings : Settings
        Filled, with CellNet's own encoder.
    side : int
        Of the square image, px.

    Returns
    -------
    DataFrame
        One line for each stage, in the order of the data: name_, kind ("in and out", "encoder", "decoder" or "head"),
        channels, side (px of its output), parameters, and skip: the line whose output is added, or -1.
    """
    network = build(settings).eval()
    assert isinstance(network, ResidualUNet) and settings.factor and settings.detail
    lines: list[dict] = []

    def watched(name: str, kind: str, modules: Sequence[nn.Module], skip: int = -1) -> None:
        def note(_module: nn.Module, _inputs: object, output: torch.Tensor) -> None:
            parameters = sum(weights.numel() for module in modules for weights in module.parameters())
            size = {"channels": output.shape[1], "side": output.shape[2]}
            lines.append({"name_": name, "kind": kind} | size | {"parameters": parameters, "skip": skip})

        modules[-1].register_forward_hook(note)

    levels = len(network.down)
    watched("stem", "encoder", [network.stem])
    for i, module in enumerate(network.down, 1):
        watched(f"down {i}", "encoder", [module])
    for i, pair in enumerate(zip(reversed(network.lift), reversed(network.up), strict=True)):
        watched(f"up {levels - i}", "decoder", list(pair), skip=levels - i)
    watched("head", "head", [network.head])
    seen = side * settings.detail // settings.factor
    with torch.inference_mode():
        heat = network(torch.zeros(1, 1, seen, seen))
    nothing = {"kind": "in and out", "channels": 1, "parameters": 0, "skip": -1}
    image, out = {"name_": "image", "side": seen}, {"name_": "heatmap", "side": heat.shape[2]}
    return pd.DataFrame([nothing | image, *lines, nothing | out])


def heat(prediction: Prediction, settings: Settings) -> np.ndarray:
    """The heatmap (H, W) float32 that a prediction's density was made of, in px of the image; 1 is a full peak."""
    assert prediction.density is not None and settings.factor and settings.sigma and settings.density_scale
    return prediction.density * np.float32(settings.factor**2 * volume(settings.sigma) / settings.density_scale)


def threshold_curve(
    found: Sequence[tuple[Sample, Prediction]], tolerance: float, thresholds: Iterable[float]
) -> pd.DataFrame:
    """Precision, recall and F1, pooled over fields, of the points whose score reaches each threshold.

    Parameters
    ----------
    found : list of (Sample, Prediction)
        Predicted with a threshold below all of `thresholds`.
    tolerance : float, px
    thresholds : iterable of float

    Returns
    -------
    DataFrame with the columns threshold, precision, recall, f1
    """
    lines = []
    for threshold in thresholds:
        counts = []
        for sample, prediction in found:
            points = prediction.points[prediction.scores >= threshold]
            tp = match(sample.points, points, tolerance).tp  # type: ignore[arg-type]
            judged = int(scored(sample, points, tolerance).sum())
            counts.append((tp, judged - tp, len(sample.points) - tp))  # type: ignore[arg-type]
        lines.append({"threshold": threshold} | pooled(*np.transpose(counts)))
    return pd.DataFrame(lines)
