"""Training the small SAM from true masks, as SAM was trained: prompt, find the errors, prompt again there."""

import copy
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from tqdm import tqdm

from cellcount.devices import choose_device, deterministic
from cellcount.errors import DataError, require
from cellcount.files import replacing
from cellcount.methods import weights_files
from cellcount.methods.prompts import NO_POINT, drawn, point, true_boxes
from cellcount.methods.sam import small
from cellcount.methods.sam.decoding import predict_masks
from cellcount.methods.sam.examples import LEAST, MARGIN, Examples, mistakes
from cellcount.types import Sample

FOCAL = 20.0  # times the dice loss: Kirillov et al. 2023, appendix A
SAVE_EVERY = 250  # steps; a run that is interrupted loses at most as many
STATEFUL = ("network", "average", "dense", "optimizer", "schedule")  # parts of a run that have a `state_dict`


def fit(
    samples: list[Sample],
    *,
    out: str | Path,
    validation: Sequence[Sample] = (),
    stop: int | None = None,
    device: str = "auto",
    progress: bool = True,
    **params: Any,
) -> Path:
    """Train the small SAM and write its weights.

    The state of the run is kept beside `out` (suffix .state). After an interruption the same call continues from there,
    and gives the same weights as an uninterrupted run.

    Parameters
    ----------
    samples : list of Sample
        Each with `labels`, where cell i has the label i + 1, and with `points`.
    out : path
        The safetensors file to write; its metadata holds settings, samples, losses and scores.
    validation : list of Sample
        Fields, with labels, on which point and box prompts are scored every thousand steps.
    stop : int or None
        Stop before this step, to be continued later; None trains to the end.
    device : str
    params
        Fields of `small.Settings`.

    Returns
    -------
    Path of `out`

    Raises
    ------
    DataError
        If a sample has no masks or is too small, or the state beside `out` belongs to another run.
    ParameterError
        If a parameter is unknown or out of range.
    """
    settings = small.Settings.of(params)
    _check(samples)
    run = _Run(samples, settings, Path(out), choose_device(device))
    last = settings.steps if stop is None else min(stop, settings.steps)
    look = {"desc": "small SAM", "unit": "step", "disable": not progress, "mininterval": 1}
    with deterministic(settings.seed), tqdm(total=settings.steps, initial=run.step, **look) as bar:
        while run.step < last:
            loss = run.advance()
            bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
            bar.update()
            if run.step % SAVE_EVERY == 0 or run.step == last:
                if validation and (run.step % (4 * SAVE_EVERY) == 0 or run.step == settings.steps):
                    run.score(validation)
                run.save()
    return Path(out)


def _check(samples):
    require(samples, "The small SAM needs at least one sample for training.", DataError)
    side = small.TILE + 2 * MARGIN
    for sample in samples:
        name, known = sample.name, sample.labels is not None and sample.points is not None
        require(known, f"{name}: the small SAM is trained on true masks, which only simulated fields have.", DataError)
        large = min(sample.image.shape) >= side
        require(large, f"{name}: the image must have {side} px or more on each side.", DataError)
        sizes = np.bincount(sample.labels.ravel())[1:]
        require((sizes >= LEAST).any(), f"{name}: no cell has {LEAST} px or more.", DataError)


class _Run:
    """One training run, from its start or from its state file."""

    def __init__(self, samples, settings, out, device):
        self.samples, self.settings, self.out, self.device = samples, settings, out, device
        self.identity = json.dumps([asdict(settings), [sample.name for sample in samples]])
        self.examples = Examples(samples, small.TILE, settings.prompts)
        self.rng = np.random.default_rng(settings.seed)
        torch.manual_seed(settings.seed)
        self.network = small.build(settings).to(device).train()
        self.dense = dense_head(settings).to(device)
        self.average = copy.deepcopy(self.network).eval()
        weights, rate = [*self.network.parameters(), *self.dense.parameters()], settings.learning_rate
        self.optimizer = torch.optim.AdamW(weights, lr=rate, weight_decay=settings.weight_decay)
        cycle = torch.optim.lr_scheduler.OneCycleLR
        self.schedule = cycle(self.optimizer, rate, total_steps=settings.steps + 1, pct_start=0.05)
        self.step, self.losses, self.scores = 0, [], []
        self._resume()

    def advance(self):
        """One step; its loss."""
        batch = [self.examples.draw(self.rng) for _ in range(self.settings.tiles)]
        images = torch.from_numpy(np.stack([example.image for example in batch]))[:, None].to(self.device)
        features = self.network.image_encoder(self.network.preprocess(images.expand(-1, 3, -1, -1)))
        loss = dense_loss(self.dense(features), [example.labels for example in batch])
        for index, example in enumerate(batch):
            again = bool(self.rng.random() < 0.5)
            loss = loss + self._on_tile(features[index : index + 1], example, again) / len(batch)
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        self.schedule.step()
        self.step += 1
        weights_files.follow(self.average, self.network, min(self.settings.average, self.step / (self.step + 10)))
        self.losses.append(loss.item())
        return self.losses[-1]

    def _on_tile(self, features, example, again):
        """Loss of a tile's prompts, and, if `again`, of the same prompts with a point where the masks are wrong."""
        split, boxed = len(example.points), len(example.boxes)
        nothing = np.zeros((boxed, 0, 2), np.float32), np.zeros((boxed, 0), np.int8)
        pointed = (example.points, example.signs, None, example.targets[:split])
        losses = []
        for points, signs, boxes, targets in (pointed, (*nothing, example.boxes, example.targets[split:])):
            if not len(targets):
                continue
            logits, iou = predict_masks(self.network, features, points, signs, boxes)
            single = np.zeros(len(targets), bool)
            ambiguous = (signs != NO_POINT).sum(axis=1) == 1 if boxes is None else single
            loss, best = mask_loss(logits, iou, targets, ambiguous)
            losses.append(loss)
            if again:
                wrong, sign = mistakes(self.rng, enlarged(best, small.TILE) > 0, targets)
                points = np.concatenate([points, wrong[:, None]], axis=1)
                signs = np.concatenate([signs, sign[:, None]], axis=1)
                again_masks = predict_masks(self.network, features, points, signs, boxes)
                losses.append(mask_loss(*again_masks, targets, single)[0])
        return torch.cat(losses).mean()

    def score(self, validation):
        """Append the mean IoU of point prompts and of drawn boxes on the validation fields."""
        from cellcount.methods.sam.session import Session

        self._write()
        found = {"point": [], "drawn box": []}
        for sample in validation:
            session = Session(sample.image, model="small", weights=self.out, device=str(self.device), progress=False)
            boxes, cells = true_boxes(sample.labels)
            for prompts in (point(sample.points[cells - 1]), drawn(boxes)):
                found[prompts.kind].append(session.segment(prompts).iou(sample.labels, cells))
        self.scores.append({"step": self.step} | {k: float(np.concatenate(v).mean()) for k, v in found.items()})

    def save(self):
        """Write the weights, and the state from which the run can be continued."""
        self._write()
        state = {name: getattr(self, name) for name in ("identity", "step", "losses", "scores")}
        state |= {name: getattr(self, name).state_dict() for name in STATEFUL}
        state["rng"] = self.rng.bit_generator.state
        with replacing(self._state) as temporary:
            torch.save(state, temporary)

    @property
    def _state(self):
        return self.out.with_suffix(".state")

    def _write(self):
        losses = [round(loss, 4) for loss in self.losses]
        more = {"steps done": self.step, "losses": losses, "scores": self.scores}
        weights_files.save(self.out, self.average, small.FORMAT, self.settings, self.samples, more)

    def _resume(self):
        if not self._state.exists():
            return
        state = torch.load(self._state, map_location=self.device, weights_only=True)
        other = f"{self._state} belongs to a run with other settings or samples: delete it, or write to another file."
        require(state["identity"] == self.identity, other, DataError)
        for name in STATEFUL:
            getattr(self, name).load_state_dict(state[name])
        self.rng.bit_generator.state = state["rng"]
        self.step, self.losses, self.scores = state["step"], state["losses"], state["scores"]


def dense_head(settings: small.Settings) -> nn.Module:
    """A layer that classifies each 2 x 2 px as cell or not, and as border or not.

    It is used in training only: it gives the image encoder a target on every cell, while prompts ask for few at a time.
    """
    return nn.Sequential(nn.Conv2d(settings.prompt_width, 2 * 16, 1), nn.PixelShuffle(4))


def dense_loss(logits: torch.Tensor, labels: Sequence[np.ndarray]) -> torch.Tensor:
    """Cross-entropy of `dense_head`'s logits (N, 2, h, w) with the cells and borders of N label images (S, S) int."""
    labels = torch.from_numpy(np.stack([np.ascontiguousarray(array) for array in labels])).to(logits.device)
    border = torch.zeros_like(labels, dtype=torch.bool)
    for axis in (1, 2):
        step = labels.diff(dim=axis) != 0
        length = labels.shape[axis] - 1
        border.narrow(axis, 0, length).logical_or_(step)
        border.narrow(axis, 1, length).logical_or_(step)
    target = F.avg_pool2d(torch.stack([labels > 0, border], dim=1).float(), labels.shape[-1] // logits.shape[-1])
    return F.binary_cross_entropy_with_logits(logits, target)


def mask_loss(
    logits: torch.Tensor, iou: torch.Tensor, targets: np.ndarray, ambiguous: np.ndarray
) -> tuple[torch.Tensor, torch.Tensor]:
    """Focal and dice loss of the masks, and the squared error of their predicted IoU.

    An ambiguous prompt trains the best of its three masks, any other the single one, and each of these masks the
    prediction of its own IoU.

    Parameters
    ----------
    logits : (n, 4, h, w) tensor
    iou : (n, 4) tensor
        Predicted.
    targets : (n, S, S) bool array
    ambiguous : (n,) bool array

    Returns
    -------
    (n,) tensor of losses, and (n, h, w) logits of the masks that they belong to
    """
    target = torch.from_numpy(targets).to(logits.device).float()[:, None]
    target = F.avg_pool2d(target, targets.shape[-1] // logits.shape[-1])
    share = torch.sigmoid(logits)
    entropy = F.binary_cross_entropy_with_logits(logits, target.expand_as(logits), reduction="none")
    focal = (entropy * (share - target) ** 2).mean(dim=(2, 3))
    dice = 1 - (2 * (share * target).sum(dim=(2, 3)) + 1) / (share.sum(dim=(2, 3)) + target.sum(dim=(2, 3)) + 1)
    with torch.no_grad():
        inside, true = logits > 0, target > 0.5
        real = (inside & true).sum(dim=(2, 3)) / (inside | true).sum(dim=(2, 3)).clamp(min=1)
    losses = FOCAL * focal + dice
    three = torch.from_numpy(ambiguous).to(logits.device)
    best = torch.where(three, losses[:, 1:].argmin(dim=1) + 1, 0)
    rows = torch.arange(len(logits), device=logits.device)
    judged = ((torch.arange(4, device=logits.device) > 0) == three[:, None]).float()
    guess = ((iou - real) ** 2 * judged).sum(dim=1) / judged.sum(dim=1)
    return losses[rows, best] + guess, logits[rows, best].detach()


def enlarged(logits: torch.Tensor, side: int) -> np.ndarray:
    """(n, h, w) logits of a square tile upsampled to its full resolution: (n, side, side) numpy array."""
    return F.interpolate(logits[:, None], (side, side), mode="bilinear")[:, 0].cpu().numpy()
