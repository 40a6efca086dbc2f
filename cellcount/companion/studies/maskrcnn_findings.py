"""Experiments that explain what the thesis observed with Mask R-CNN.

Why there were exactly 100 detections and what more would cost, why masks were empty, why all confidences were alike,
and what smaller tiles change.
"""

import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.roi_heads import paste_masks_in_image
from torchvision.ops import MultiScaleRoIAlign

from cellcount.methods.detection.boxes import clip, squares
from cellcount.methods.maskrcnn.detector import about, fit, paint, predict
from cellcount.methods.pixels import brightness_and_contrast
from cellcount.results import timed
from cellcount.tiling import tiled, tiles
from cellcount.types import Prediction, Sample

SURE = 100  # torchvision's default for the most detections of an image
MORE = 500
ATTEMPTS = (  # change, arguments of the constructor, attribute set on the model afterwards
    ("nothing", {}, None),
    ("box_score_thresh = 0", {"box_score_thresh": 0.0}, None),
    ("box_nms_thresh = 0.7", {"box_nms_thresh": 0.7}, None),
    ("box_batch_size_per_image = 2000", {"box_batch_size_per_image": 2000}, None),
    ("rpn_post_nms_top_n_test = 2000", {"rpn_post_nms_top_n_test": 2000}, None),
    ("model.box_detections_per_img = 500, afterwards", {}, "box_detections_per_img"),
    ("model.roi_heads.detections_per_img = 500, afterwards", {}, "roi_heads.detections_per_img"),
    ("box_detections_per_img = 500", {"box_detections_per_img": MORE}, None),
    ("the same, and rpn_post_nms_top_n_test = 90", dict(box_detections_per_img=MORE, rpn_post_nms_top_n_test=90), None),
)


def limits(image: np.ndarray, seed: int = 0) -> pd.DataFrame:
    """Which of torchvision's arguments lift the limit of 100 detections.

    torchvision's Mask R-CNN, small and untrained, is built again for each line. Untrained, it finds cells everywhere,
    so that only its limits determine the number of detections.

    Parameters
    ----------
    image : (H, W) float32
    seed : int

    Returns
    -------
    DataFrame with the columns changed, detections, lifted
    """
    rows = []
    for changed, arguments, attribute in ATTEMPTS:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model = _untrained(image.shape, **arguments)
        if attribute:
            part, _, name = attribute.rpartition(".")
            setattr(model.get_submodule(part), name, MORE)
        with torch.inference_mode():
            found = model.eval()([torch.from_numpy(image).expand(3, -1, -1)])[0]
        rows.append({"changed": changed, "detections": len(found["boxes"]), "lifted": len(found["boxes"]) > SURE})
    return pd.DataFrame(rows)


def _untrained(shape, **arguments):
    """torchvision's Mask R-CNN with a backbone of one layer."""
    backbone = nn.Sequential(nn.Conv2d(3, 16, 5, stride=4, padding=2), nn.ReLU())
    backbone.out_channels = 16
    return MaskRCNN(
        backbone, min_size=min(shape), max_size=max(shape),
        rpn_anchor_generator=AnchorGenerator(((32,),), ((1.0,),)),
        box_roi_pool=MultiScaleRoIAlign(["0"], 7, 1), box_head=TwoMLPHead(16 * 7**2, 32),
        box_predictor=FastRCNNPredictor(32, 2), mask_roi_pool=MultiScaleRoIAlign(["0"], 7, 1),
        mask_head=MaskRCNNHeads(16, (16,), 1), mask_predictor=MaskRCNNPredictor(16, 16, 2), **arguments,
    )  # fmt: skip


def memory(numbers: Iterable[int], tile: int = 512, side: int = 50, seed: int = 0) -> pd.DataFrame:
    """Memory of masks: torchvision pastes each into its own image; here all are painted into one.

    Parameters
    ----------
    numbers : iterable of int
        Of detections.
    tile, side : int, px
    seed : int

    Returns
    -------
    DataFrame with the columns detections, pasted_mb (torchvision holds it twice meanwhile), painted_mb
    """
    rng = np.random.default_rng(seed)
    rows = []
    for number in numbers:
        boxes, _ = clip(squares(rng.uniform(0, tile, (number, 2)), side), (tile, tile))
        masks = np.ones((len(boxes), 28, 28), np.float32)  # as the network gives them
        corners = torch.from_numpy(boxes[:, [1, 0, 3, 2]] + 0.5)
        pasted = paste_masks_in_image(torch.from_numpy(masks)[:, None], corners, (tile, tile)).nbytes
        painted = masks.nbytes + paint(boxes, masks, (tile, tile)).nbytes
        rows.append({"detections": len(boxes), "pasted_mb": pasted / 1e6, "painted_mb": painted / 1e6})
    return pd.DataFrame(rows)


def sliced(boxes: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Masks of boxes (N, 4), (y0, x0, y1, x1) px, by plain slices: (N, height, width) bool.

    A negative start of a slice counts from the other end, so that the slice is empty.
    """
    masks = np.zeros((len(boxes), *shape), bool)
    for mask, (y0, x0, y1, x1) in zip(masks, np.rint(boxes).astype(int)):
        mask[y0:y1, x0:x1] = True
    return masks


def at_borders(samples: Sequence[Sample], sizes: Iterable[int], side: float) -> pd.DataFrame:
    """Effect of tile borders on boxes around points.

    Parameters
    ----------
    samples : list of Sample with points
    sizes : iterable of int, px
        Sides of the tiles.
    side : float, px
        Of the boxes.

    Returns
    -------
    DataFrame
        One line for each size, with `tile` and shares of `cells` (points on tiles): `cut`, boxes cut by a border;
        `empty`, masks that are empty if filled by plain slices; `inside`, boxes left for training if only complete ones
        are used; `clipped`, boxes left if they are clipped.
    """
    rows = []
    for size in sizes:
        counts = np.zeros(5, int)
        for sample in samples:
            for (y0, y1, x0, x1), _ in tiles(sample.image.shape, size, 0):
                part, shape = sample.crop(y0, x0, y1 - y0, x1 - x0), (y1 - y0, x1 - x0)
                boxes = squares(part.points, side)
                whole = ((boxes[:, :2] >= -0.5) & (boxes[:, 2:] <= np.float32(shape) - 0.5)).all(axis=1)
                empty = ~sliced(boxes[~whole], shape).any(axis=(1, 2))
                counts += [len(boxes), (~whole).sum(), empty.sum(), whole.sum(), clip(boxes, shape)[1].sum()]
        shares = dict(zip(("cut", "empty", "inside", "clipped"), counts[1:] / max(1, counts[0])))
        rows.append({"tile": size, "cells": counts[0], **shares})
    return pd.DataFrame(rows)


def confidences(image: np.ndarray, weights: Path | str, *, device: str = "auto") -> np.ndarray:
    """Confidences of all detections, highest first; torchvision returns the first 100.

    Parameters
    ----------
    image : (H, W) float32 in [0, 1]
    weights : path
    device : str

    Returns
    -------
    (N,) float32
    """
    return predict(image, weights=weights, threshold=0.0, masks=False, device=device).scores


def prior(
    samples: Sequence[Sample],
    image: np.ndarray,
    shares: Iterable[float],
    *,
    folder: Path | str,
    device: str = "auto",
    **params: Any,
) -> pd.DataFrame:
    """Confidences of a network that has learned only the share of cells among its training boxes.

    The second stage learns from boxes of which at most a given share is cells. As long as a network cannot tell cells
    from background, this share is its best answer everywhere.

    Parameters
    ----------
    samples : list of Sample
    image : (H, W) float32 in [0, 1]
    shares : iterable of float
        Settings of `positive`.
    folder : path
        For the weights.
    device : str
    **params
        Of `fit`, with few steps.

    Returns
    -------
    DataFrame
        For each share: `sampled`, the mean share in the second half of the steps, and the least, median and greatest
        confidence of the 100 highest ones in the image.
    """
    rows = []
    for share in shares:
        out = Path(folder) / f"prior-{share:g}.safetensors"
        fit(samples, out=out, device=device, progress=False, **params | {"positive": share})
        sampled = about(out)["curves"]["positive_share"]
        surest = confidences(image, out, device=device)[:SURE]
        row = {"positive": share, "sampled": np.mean(sampled[len(sampled) // 2 :])}
        rows.append(row | dict(zip(("least", "median", "greatest"), np.quantile(surest, [0, 0.5, 1]))))
    return pd.DataFrame(rows)


def tile_sizes(
    image: np.ndarray, sizes: Iterable[int], most: Iterable[int | None], *, overlap: int, **params: Any
) -> tuple[pd.DataFrame, list[Prediction]]:
    """The same network on tiles of several sizes, with and without a limit on the detections of each.

    Parameters
    ----------
    image : (H, W) float32 in [0, 1]
    sizes : iterable of int, px
        Of the tiles, with overlaps.
    most : iterable of int or None
        Limits; None for no limit.
    overlap : int, px
    **params
        Of `predict`.

    Returns
    -------
    rows : DataFrame
        For each size and limit: `tiles`, `full` (tiles that reach the limit), `detections` (of the image), `pasted_mb`
        (largest memory of torchvision's masks of one tile), `seconds`.
    predictions : list of Prediction, one for each row
    """
    rows, predictions = [], []
    exposure = brightness_and_contrast(image)
    for size, limit in itertools.product(sizes, most):
        counts = []

        def counted(part, *, limit=limit, counts=counts, **keywords):
            found = predict(part, detections=limit, **keywords)
            counts.append((len(found.points), part.size))
            return found

        whole = tiled(counted, tile=size, overlap=overlap, progress=False)
        prediction = timed(whole, image, exposure=exposure, **params)
        row = {"tile": size, "limit": limit, "tiles": len(counts), "full": sum(n == limit for n, _ in counts)}
        row |= {"detections": len(prediction.points)}
        row |= {"pasted_mb": max(4 * n * pixels / 1e6 for n, pixels in counts), "seconds": prediction.meta["seconds"]}
        rows.append(row)
        predictions.append(prediction)
    return pd.DataFrame(rows), predictions
