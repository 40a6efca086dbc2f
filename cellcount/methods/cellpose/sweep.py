"""Many diameters and thresholds: the network runs once for each diameter, and the flow threshold costs nothing more."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from cellcount.methods.cellpose.inference import MASK_SIZE, as_prediction, flow, quiet
from cellcount.types import Prediction


def sweep(
    image: np.ndarray,
    diameters: Iterable[float],
    flow_thresholds: Iterable[float],
    *,
    device: str = "auto",
    weights: Path | str = "cyto3",
    exposure: tuple[float, float] | None = None,
    progress: bool = True,
) -> Iterator[tuple[float, float, Prediction]]:
    """Predictions at every pair of a diameter and a flow threshold; each is what `predict` gives for the pair.

    Parameters
    ----------
    image : (H, W) float32 in [0, 1]
    diameters : iterable of float, px
    flow_thresholds : iterable of float
        0 keeps every mask.
    device, weights, exposure : as of `predict`
    progress : bool

    Yields
    ------
    (diameter, flow_threshold, Prediction)
    """
    from cellpose.dynamics import compute_masks
    from cellpose.metrics import flow_error
    from cellpose.utils import fill_holes_and_remove_small_masks

    diameters = list(diameters)
    for diameter in tqdm(diameters, desc="diameters", disable=not progress or len(diameters) < 3):
        flows = flow(image, device=device, weights=weights, diameter=diameter, exposure=exposure)
        model = flows.loaded.model
        steps = flows.diameter / model.diam_mean * 200  # as in CellposeModel.eval
        with quiet():
            masks = compute_masks(flows.flow, flows.logit, niter=steps, flow_threshold=0, device=model.device)
        errors = flow_error(masks, flows.flow, model.device)[0] if masks.any() else np.zeros(0)
        for threshold in flow_thresholds:
            kept = masks.copy()
            if threshold > 0:
                kept[np.isin(kept, 1 + np.flatnonzero(errors > threshold))] = 0
            kept = fill_holes_and_remove_small_masks(kept, min_size=MASK_SIZE)
            meta = {"weights_sha256": flows.loaded.sha256, "device": str(model.device)}
            yield (
                diameter,
                threshold,
                as_prediction(kept, flows.logit, diameter=float(diameter), flow_threshold=threshold, **meta),
            )
