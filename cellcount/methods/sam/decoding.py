"""Prompts to masks: a few at a time, so that memory does not grow with their number.

The borders to segment_anything are `_to_sam` and `_batch`: it wants (x, y) where we have (y, x), and labels 1 and 0
where we have signs 1 and -1.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from cellcount.methods.masks import Masks
from cellcount.methods.prompts import NO_POINT, UNWANTED, WANTED, Prompts

if TYPE_CHECKING:
    from segment_anything.modeling import Sam
    from segment_anything.utils.transforms import ResizeLongestSide


STABILITY_OFFSET = 1.0  # segment_anything's SamAutomaticMaskGenerator


class Candidate(NamedTuple):
    """One mask that the network offers: prompt's row, (h, w) bool on the window, predicted IoU, stability."""

    row: int
    mask: np.ndarray
    score: float
    stability: float


@torch.inference_mode()
def decode(
    sam: "Sam",
    features: torch.Tensor,
    transform: "ResizeLongestSide",
    size: tuple[int, int],
    prompts: Prompts,
    *,
    batch: int = 16,
    every: bool = False,
) -> Iterator[Candidate]:
    """The masks of prompts on one window.

    A single positive point may mean a part or the whole, so SAM offers three masks for it and the one with the best
    predicted IoU is taken. With more points, or a box, it offers one. That is SAM's own advice, and what micro_sam
    does.

    Parameters
    ----------
    sam : segment_anything's Sam
    features : (1, C, h, w) tensor
        The window's embedding.
    transform : segment_anything's ResizeLongestSide
        What the window's pixels went through.
    size : (height, width) px of the window
    prompts : Prompts
        In the window's pixels. One without a point and a box gives no mask.
    batch : int
        Prompts at a time: each takes some 40 MB at the size of SAM's own decoder.
    every : bool
        Offer all three masks of a single point.

    Yields
    ------
    Candidate
    """
    resized = transform.get_preprocess_shape(*size, transform.target_length)
    for rows in _alike(prompts, batch):
        given = prompts.take(rows)
        points, boxes = _to_sam(given, transform, size, sam.device)
        ambiguous = boxes is None and points[0].shape[1] == 1 and bool((points[1] == 1).all())
        low, iou = _batch(sam, features, points, boxes, multimask=ambiguous)
        if ambiguous and not every:
            best = iou.argmax(dim=1, keepdim=True)
            iou = iou.gather(1, best)
            low = low.gather(1, best[:, :, None, None].expand(-1, -1, *low.shape[2:]))
        for row, masks, scores in zip(rows, low, iou, strict=True):  # enlarged one prompt at a time: they are large
            logits = sam.postprocess_masks(masks[None], resized, size)[0]
            stability = _stability(logits, sam.mask_threshold)
            masks = (logits > sam.mask_threshold).cpu().numpy()
            for mask, score, stable in zip(masks, scores.tolist(), stability.tolist(), strict=True):
                yield Candidate(int(row), mask, score, stable)


def _alike(prompts, batch):
    """Rows of at most `batch` prompts with the same number of points: filling up would change what the decoder sees."""
    counts = (prompts.signs != NO_POINT).sum(axis=1)
    lone = (counts == 1) & (prompts.signs == WANTED).any(axis=1)  # one positive point is treated differently
    kinds = 2 * counts + lone
    for kind in np.unique(kinds):
        if kind < 2 and prompts.boxes is None:
            continue
        rows = np.flatnonzero(kinds == kind)
        yield from np.array_split(rows, -(-len(rows) // batch))


def _to_sam(prompts, transform, size, device):
    """Points and labels, or None, and boxes, or None, as segment_anything wants them: in (x, y), px of its input."""
    points = boxes = None
    real = prompts.signs != NO_POINT
    if real.any():
        n = len(prompts)
        xy = prompts.points[real].reshape(n, -1, 2)[..., ::-1]  # SAM wants (x, y)
        labels = np.where(prompts.signs[real] == UNWANTED, 0, 1).reshape(n, -1)
        xy = transform.apply_coords(xy, size)
        points = (torch.as_tensor(xy, dtype=torch.float32, device=device), torch.as_tensor(labels, device=device))
    if prompts.boxes is not None:
        xyxy = prompts.boxes[:, [1, 0, 3, 2]]  # SAM wants (x0, y0, x1, y1)
        boxes = torch.as_tensor(transform.apply_boxes(xyxy, size), dtype=torch.float32, device=device)
    return points, boxes


def _batch(sam, features, points, boxes, multimask):
    """Logits (n, m, 4 h, 4 w) and predicted IoU (n, m) of n prompts; m is 3 or 1."""
    sparse, dense = sam.prompt_encoder(points=points, boxes=boxes, masks=None)
    return sam.mask_decoder(
        image_embeddings=features,
        image_pe=sam.prompt_encoder.get_dense_pe(),
        sparse_prompt_embeddings=sparse,
        dense_prompt_embeddings=dense,
        multimask_output=multimask,
    )


def _stability(logits, threshold):
    """(m,) IoU of each mask with itself at a lower threshold: segment_anything's score, with 0 for an empty mask."""
    from segment_anything.utils.amg import calculate_stability_score

    return torch.nan_to_num(calculate_stability_score(logits, threshold, STABILITY_OFFSET))


def select(
    masks: Masks,
    scores: np.ndarray,
    stabilities: np.ndarray,
    *,
    least_iou: float,
    least_stability: float,
    most_overlap: float,
) -> np.ndarray:
    """Rows of the masks that SAM's automatic mode keeps, best first.

    Parameters
    ----------
    masks : Masks
    scores, stabilities : (N,) float
        Predicted IoU and stability.
    least_iou, least_stability : float
        Masks below are dropped.
    most_overlap : float
        Of two masks whose boxes have a larger IoU, the one with the lower score is dropped.

    Returns
    -------
    (M,) int
    """
    from torchvision.ops import nms

    good = np.flatnonzero((scores >= least_iou) & (stabilities >= least_stability) & (masks.windows[:, 1] > 0))
    boxes = masks.windows[good][:, [2, 0, 3, 1]]  # torchvision wants (x0, y0, x1, y1); ours are (y0, y1, x0, x1)
    kept = nms(torch.from_numpy(boxes).float(), torch.from_numpy(scores[good]).float(), most_overlap)
    return good[kept.numpy()]
