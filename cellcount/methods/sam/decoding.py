"""Prompts to masks: a few at a time, so that memory does not grow with their number.

`as_sam` converts to segment_anything's rules: (x, y) in place of our (y, x), and labels 1 and 0 in place of our signs 1
and -1.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from cellcount.methods.masks import Masks
from cellcount.methods.prompts import NO_POINT, UNWANTED, WANTED, Prompts

if TYPE_CHECKING:
    from segment_anything.modeling import Sam
    from segment_anything.utils.transforms import ResizeLongestSide


STABILITY_OFFSET = 1.0  # segment_anything's SamAutomaticMaskGenerator


class Candidate(NamedTuple):
    """One mask that the network offers: the prompt's row, (h, w) bool on the window, predicted IoU, stability."""

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

    A single positive point is ambiguous: it may mean a part or the whole. SAM offers three masks for it, and the one
    with the highest predicted IoU is taken. With more points, or a box, SAM offers one. This follows SAM's
    documentation and micro_sam.

    Parameters
    ----------
    sam : segment_anything's Sam
    features : (1, C, h, w) tensor
        The window's embedding.
    transform : segment_anything's ResizeLongestSide
        How the window's pixels were resized.
    size : (height, width) px of the window
    prompts : Prompts
        In the window's pixels. One with neither point nor box gives no mask.
    batch : int
        Prompts at a time: each takes some 40 MB at the size of SAM's own decoder.
    every : bool
        Offer all three masks of a single point.

    Yields
    ------
    Candidate
    """
    from segment_anything.utils.amg import calculate_stability_score

    resized = transform.get_preprocess_shape(*size, transform.target_length)
    scale = np.divide(resized, size)
    for rows in _alike(prompts, batch):
        given = prompts.take(rows)
        real = given.signs != NO_POINT
        points, signs = given.points[real].reshape(len(rows), -1, 2), given.signs[real].reshape(len(rows), -1)
        boxes = None if given.boxes is None else given.boxes * np.tile(scale, 2)
        low, iou = predict_masks(sam, features, points * scale, signs, boxes)
        ambiguous = boxes is None and signs.shape[1] == 1 and bool((signs == WANTED).all())
        low, iou = (out[:, 1:] if ambiguous else out[:, :1] for out in (low, iou))
        if ambiguous and not every:
            best = iou.argmax(dim=1, keepdim=True)
            iou = iou.gather(1, best)
            low = low.gather(1, best[:, :, None, None].expand(-1, -1, *low.shape[2:]))
        for row, masks, scores in zip(rows, low, iou, strict=True):  # enlarged one prompt at a time: they are large
            logits = sam.postprocess_masks(masks[None], resized, size)[0]
            stable = torch.nan_to_num(calculate_stability_score(logits, sam.mask_threshold, STABILITY_OFFSET))
            masks = (logits > sam.mask_threshold).cpu().numpy()
            for mask, score, stability in zip(masks, scores.tolist(), stable.tolist(), strict=True):
                yield Candidate(int(row), mask, score, stability)


def _alike(prompts, batch):
    """Rows of at most `batch` prompts with the same number of points: padding would change what the decoder gets."""
    counts = (prompts.signs != NO_POINT).sum(axis=1)
    lone = (counts == 1) & (prompts.signs == WANTED).any(axis=1)  # one positive point is treated differently
    kinds = 2 * counts + lone
    for kind in np.unique(kinds):
        if kind < 2 and prompts.boxes is None:
            continue
        rows = np.flatnonzero(kinds == kind)
        yield from np.array_split(rows, -(-len(rows) // batch))


def as_sam(points: np.ndarray, signs: np.ndarray, boxes: np.ndarray | None, device: Any) -> tuple[Any, Any]:
    """Prompts as segment_anything's prompt encoder takes them.

    Parameters
    ----------
    points : (N, K, 2) float, (y, x) px of the network's input
    signs : (N, K) int
    boxes : (N, 4) float, (y0, x0, y1, x1) px, or None

    Returns
    -------
    points : ((N, K, 2) float32 tensor of (x, y), (N, K) tensor of labels: 1 positive, 0 negative, -1 none), or None
    boxes : (N, 4) float32 tensor of (x0, y0, x1, y1), or None
    """
    given = corners = None
    if signs.shape[1]:
        xy = torch.as_tensor(points[..., ::-1].copy(), dtype=torch.float32, device=device)
        labels = np.select([signs == NO_POINT, signs == UNWANTED], [-1, 0], 1)
        given = (xy, torch.as_tensor(labels, device=device))
    if boxes is not None:
        corners = torch.as_tensor(boxes[:, [1, 0, 3, 2]], dtype=torch.float32, device=device)
    return given, corners


def predict_masks(
    sam: "Sam", features: torch.Tensor, points: np.ndarray, signs: np.ndarray, boxes: np.ndarray | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """All masks of N prompts: the single one, and the three for an ambiguous prompt.

    Parameters
    ----------
    sam, features
        As of `decode`.
    points, signs, boxes
        As of `as_sam`: (N, K, 2), (N, K) and (N, 4).

    Returns
    -------
    logits : (N, 4, h, w) tensor
    iou : (N, 4) tensor
        Predicted.
    """
    given, corners = as_sam(points, signs, boxes, features.device)
    sparse, dense = sam.prompt_encoder(points=given, boxes=corners, masks=None)
    return sam.mask_decoder.predict_masks(features, sam.prompt_encoder.get_dense_pe(), sparse, dense)


def select(
    masks: Masks,
    stabilities: np.ndarray,
    *,
    least_iou: float = 0.88,
    least_stability: float = 0.95,
    most_overlap: float = 0.7,
) -> np.ndarray:
    """Rows of the masks that SAM's automatic mode keeps, best first.

    The defaults are those of segment_anything's SamAutomaticMaskGenerator.

    Parameters
    ----------
    masks : Masks
        Their scores are predicted IoUs.
    stabilities : (N,) float
    least_iou, least_stability : float
        Masks below are dropped.
    most_overlap : float
        Of two masks whose boxes have a larger IoU, the one with the lower score is dropped.

    Returns
    -------
    (M,) int
    """
    from torchvision.ops import nms

    good = np.flatnonzero((masks.scores >= least_iou) & (stabilities >= least_stability) & (masks.windows[:, 1] > 0))
    boxes = masks.windows[good][:, [2, 0, 3, 1]]  # torchvision wants (x0, y0, x1, y1); ours are (y0, y1, x0, x1)
    kept = nms(torch.from_numpy(boxes).float(), torch.from_numpy(masks.scores[good]).float(), most_overlap)
    return good[kept.numpy()]
