"""Training the small SAM from true masks, as SAM was trained: prompt, look at the mistake, prompt again."""

import copy
import json
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from cellcount.devices import choose_device, deterministic
from cellcount.errors import DISTRIBUTION, DataError, ParameterError
from cellcount.files import replacing
from cellcount.methods.prompts import NO_POINT, UNWANTED, drawn, point, true_boxes
from cellcount.methods.sam import small
from cellcount.methods.sam.examples import LEAST, MARGIN, Examples, mistakes
from cellcount.methods.sam.losses import dense_head, dense_loss, enlarged, mask_loss
from cellcount.types import Sample

SEEDS = 50_000  # of the first training field; the default set has its own below 4000
SAVE_EVERY = 250  # steps; a killed run loses at most so many


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

    The state of the run is kept beside `out` (suffix .state) and the same call goes on from it after an
    interruption, to the same weights as without one.

    Parameters
    ----------
    samples : list of Sample
        Each with `labels`, where cell i has the label i + 1, and `points`.
    out : path
        The safetensors file to write; its metadata holds settings, samples, losses and scores.
    validation : list of Sample
        Fields, with labels, on which point and box prompts are scored every thousand steps.
    stop : int or None
        Stop before this step, to go on later; None trains to the end.
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
    settings = small.settings_from(params)
    _check(samples)
    run = _Run(samples, settings, Path(out), choose_device(device))
    last = settings.steps if stop is None else min(stop, settings.steps)
    with deterministic(settings.seed), tqdm(
        total=settings.steps, initial=run.step, desc="small SAM", unit="step", disable=not progress, mininterval=1
    ) as bar:  # fmt: skip
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
    if not samples:
        raise DataError("The small SAM has no samples to learn from.")
    for sample in samples:
        if sample.labels is None or sample.points is None:
            raise DataError(f"{sample.name}: the small SAM learns from true masks, which only simulated fields have.")
        if min(sample.image.shape) < small.TILE + 2 * MARGIN:
            raise DataError(f"{sample.name}: smaller than {small.TILE + 2 * MARGIN} px.")
        sizes = np.bincount(sample.labels.ravel())[1:]
        if not (sizes >= LEAST).any():
            raise DataError(f"{sample.name}: no cell has {LEAST} px or more.")


class _Run:
    """One training run, from its start or from where its state file says."""

    def __init__(self, samples, settings, out, device):
        self.settings, self.out, self.device = settings, out, device
        self.identity = json.dumps([asdict(settings), [sample.name for sample in samples]])
        self.names = [sample.name for sample in samples]
        self.examples = Examples(samples, small.TILE, settings.prompts)
        self.rng = np.random.default_rng(settings.seed)
        torch.manual_seed(settings.seed)
        self.network = small.build(settings).to(device).train()
        self.dense = dense_head(settings).to(device)
        self.average = copy.deepcopy(self.network).eval()
        weights = [*self.network.parameters(), *self.dense.parameters()]
        self.optimizer = torch.optim.AdamW(weights, lr=settings.learning_rate, weight_decay=settings.weight_decay)
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, settings.learning_rate, total_steps=settings.steps + 1, pct_start=0.05
        )
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
        keep = min(self.settings.average, self.step / (self.step + 10))
        for old, new in zip(self.average.parameters(), self.network.parameters(), strict=True):
            old.data.lerp_(new.data, 1 - keep)
        self.losses.append(loss.item())
        return self.losses[-1]

    def _on_tile(self, features, example, again):
        """Loss of a tile's prompts, and, if `again`, of the same prompts with a point on what they got wrong."""
        split = len(example.points)
        groups = (
            (example.points, example.signs, None, example.targets[:split]),
            (np.zeros((len(example.boxes), 0, 2), np.float32), np.zeros((len(example.boxes), 0), np.int8),
             example.boxes, example.targets[split:]),
        )  # fmt: skip
        losses = []
        for points, signs, boxes, targets in groups:
            if not len(targets):
                continue
            logits, iou = self._predict(features, points, signs, boxes)
            ambiguous = (signs != NO_POINT).sum(axis=1) == 1 if boxes is None else np.zeros(len(targets), bool)
            loss, best = mask_loss(logits, iou, targets, ambiguous)
            losses.append(loss)
            if again:
                wrong, sign = mistakes(self.rng, enlarged(best, small.TILE) > 0, targets)
                points = np.concatenate([points, wrong[:, None]], axis=1)
                signs = np.concatenate([signs, sign[:, None]], axis=1)
                logits, iou = self._predict(features, points, signs, boxes)
                losses.append(mask_loss(logits, iou, targets, np.zeros(len(targets), bool))[0])
        return torch.cat(losses).mean()

    def _predict(self, features, points, signs, boxes):
        """All four masks (n, 4, h, w), as logits, and their predicted IoU (n, 4)."""
        network = self.network
        given = None
        if signs.shape[1]:
            xy = torch.from_numpy(np.ascontiguousarray(points[..., ::-1])).to(self.device)  # SAM wants (x, y)
            # SAM's labels: 1 positive, 0 negative, -1 no point
            labels = np.select([signs == NO_POINT, signs == UNWANTED], [-1, 0], 1)
            given = (xy, torch.from_numpy(labels).to(self.device))
        corners = (
            None if boxes is None else torch.from_numpy(boxes[:, [1, 0, 3, 2]]).to(self.device)
        )  # (x0, y0, x1, y1)
        sparse, dense = network.prompt_encoder(points=given, boxes=corners, masks=None)
        return network.mask_decoder.predict_masks(
            image_embeddings=features,
            image_pe=network.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
        )

    def score(self, validation):
        """Append the mean IoU of point and of drawn-box prompts on the validation fields."""
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
        """Write the weights, and the state to go on from."""
        self._write()
        state = {
            "identity": self.identity, "step": self.step, "network": self.network.state_dict(),
            "average": self.average.state_dict(), "dense": self.dense.state_dict(),
            "optimizer": self.optimizer.state_dict(), "schedule": self.schedule.state_dict(),
            "rng": self.rng.bit_generator.state, "losses": self.losses, "scores": self.scores,
        }  # fmt: skip
        with replacing(self._state) as temporary:
            torch.save(state, temporary)

    @property
    def _state(self):
        return self.out.with_suffix(".state")

    def _write(self):
        about = {
            "samples": self.names, "steps done": self.step, "losses": [round(loss, 4) for loss in self.losses],
            "scores": self.scores, "cellcount": version(DISTRIBUTION), "torch": torch.__version__,
        }  # fmt: skip
        small.save(self.average, self.settings, about, self.out)

    def _resume(self):
        if not self._state.exists():
            return
        state = torch.load(self._state, map_location=self.device, weights_only=True)
        if state["identity"] != self.identity:
            raise DataError(
                f"{self._state} belongs to a run with other settings or samples: delete it, or write to another file."
            )
        for name in ("network", "average", "dense", "optimizer", "schedule"):
            getattr(self, name).load_state_dict(state[name])
        self.rng.bit_generator.state = state["rng"]
        self.step, self.losses, self.scores = state["step"], state["losses"], state["scores"]


def training_fields(n: int = 96, size: tuple[int, int] = (512, 512), seed: int = 0) -> list[Sample]:
    """Simulated fields to train on, none of which is in the default set: from open colonies to closed sheets.

    Parameters
    ----------
    n : int
    size : (height, width), px
    seed : int

    Returns
    -------
    list of Sample
    """
    from cellcount.data.phantom import simulate
    from cellcount.data.phantom.cache import cached

    if n < 1:
        raise ParameterError(f"n={n!r}: ask for at least one field.")
    fields = []
    for i in tqdm(range(n), desc="training fields", unit="field"):
        rng = np.random.default_rng([seed, SEEDS + i])
        # Thin, granular, crowded cells where the sheet is closed, as in the default set; here with all in between.
        closed = 1.0 if i % 5 == 4 else rng.uniform(0, 0.9)
        look = {"confluence": 0.4 + 0.6 * closed, "spacing": 22 - 2 * closed, "thickness": 0.58 - 0.16 * closed}
        look |= {"granularity": 0.9 + 0.35 * closed, "haze": 0.1 * closed**2}
        look = {name: round(float(value), 3) for name, value in look.items()}
        fields.append(cached(simulate, (seed, SEEDS + i), size, name=f"sam-train-{i}", split="train", **look))
    return fields
