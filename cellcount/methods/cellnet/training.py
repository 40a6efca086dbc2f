"""Training CellNet from centre points."""

import copy
import itertools
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from cellcount.devices import choose_device, deterministic, mixed_precision
from cellcount.errors import ParameterError, require
from cellcount.files import sha256
from cellcount.methods import resuming, weights_files
from cellcount.methods.base import need_points
from cellcount.methods.cellnet import looks, losses
from cellcount.methods.cellnet.calibration import Counting, chosen, split, tested
from cellcount.methods.cellnet.checkpoint import PHANTOM
from cellcount.methods.cellnet.crops import Crops
from cellcount.methods.cellnet.mending import mend, typical_height
from cellcount.methods.cellnet.network import build, load_imagenet
from cellcount.methods.cellnet.settings import FOLLOWING, FORMAT, FRESH, Settings, clicked
from cellcount.methods.cellnet.targets import volume
from cellcount.methods.cellnet.torch_engine import run
from cellcount.methods.feeding import Feed
from cellcount.methods.pixels import nearest, peaks, to_small
from cellcount.types import Sample

LEAST_STEPS = 300  # of a network for the calibration: with fewer it is no match for the one that counts
SHOWN = 20  # steps over which the progress bar averages the loss


def fit(
    samples: Sequence[Sample],
    *,
    out: str | Path,
    start: str | Path | None = "auto",
    folds: int = 0,
    device: str | torch.device = "auto",
    progress: bool = True,
    **params: Any,
) -> Path:
    """Train on annotated samples and write the weights.

    The network learns a peak of height 1 at each point, on the pixels where the annotation can be trusted
    (`Sample.valid`). Weights and batch statistics are averaged over the last steps. In the end the threshold is set to
    a share of the height of a typical peak, and the density's scale so that it sums to the number of points on trusted
    pixels.

    With `folds`, the samples are divided into as many parts, and further networks are trained, each on all parts but
    one: as many as there are parts, but no more than share the number of steps with 300 or more for each, so that the
    time doubles. Their counts of what they have not seen decide whether these weights count by peaks or by density,
    give the rule of the intervals of their counts, and where every cell is annotated correct the threshold and the
    scale (`calibration`). The tensors do not depend on it.

    Parameters
    ----------
    samples : list of Sample
        Each with `points` (N, 2) (y, x) px and `valid`. Points that nobody marked, such as those that `taught` adds,
        have a probability below 1 in `meta["probability"]` (N,): the height of their peak.
    out : path
        The safetensors file to write; its metadata holds the settings, the data's names and the loss curve. Until then
        the state of the training is in a hidden file beside it, from which the same call goes on after a kill.
    start : "auto", "phantom", path or None
        Initial weights, of the same architecture. "phantom": the bundled weights of a network that was trained on
        simulated cells; "auto": the same where they fit the settings, else random ones; None: training from scratch,
        the right choice for tests on simulated fields, since the bundled weights have seen fields like them.
    folds : int
        Parts for the calibration, 2 or more; 0 for none, which leaves peaks to be counted, without intervals.
        `cellcount.counting.train` takes 3. Samples with probabilities, whose annotators nobody can ask, have none.
    device : "auto", "cpu", "cuda", ...
    params
        Fields of `Settings`.

    Returns
    -------
    Path of `out`

    Raises
    ------
    DataError
        If no sample has a point, or one has no annotation at all, or `start` is no weights file.
    ParameterError
        If a parameter is unknown or out of range, or `start` has another architecture.
    """
    asked = Settings.of(params)
    require(folds == 0 or folds > 1, f"folds={folds!r}: 2 or more networks for the calibration, or 0 for none.")
    need_points(samples, "CellNet")
    settings = asked.filled(samples)
    device = choose_device(device)
    average, curve, begun, settings, full, scores = _trained(samples, settings, start, device, progress, out)
    score = scores[scores >= settings.threshold].mean() if (scores >= settings.threshold).any() else None
    counting, parts = replace(Counting.measured(samples), best_score=score and round(float(score), 3)), []
    if folds and any("probability" in sample.meta for sample in samples):
        counting = replace(counting, why="points with probabilities are no annotator's, so no field was left out")
    elif folds:
        parts = _left_out(samples, folds, start, settings, asked, device, progress, out)
        counting = replace(counting, why="too few points to leave some out")  # unless there are parts
    if parts:
        complete = all(sample.valid.all() for sample in samples)
        settings, found = chosen(parts, settings, full, complete=complete, asked=asked)
        measured = {"spacing": counting.spacing, "pixel_size_um": counting.pixel_size_um}
        counting = replace(found, **measured, best_score=found.best_score or counting.best_score)
    if folds:

        def heats(pixels, exposure):
            return run(average, settings.prepared(pixels, exposure), settings, device)

        counting = replace(counting, looks=looks.measured(samples, heats, settings))
    training = {
        "points": sum(len(clicked(sample)) for sample in samples),
        "parameters": sum(parameter.numel() for parameter in average.parameters()),
        "start": sha256(begun) if begun else None,
        "losses": [round(loss, 5) for loss in curve],
        "counting": counting.to_json(),
    }
    weights_files.save(out, average, FORMAT, settings, samples, training)
    resuming.done(out)
    return Path(out)


def _trained(samples, settings, start, device, progress, out, label="CellNet"):
    """The averaged network, its losses, the file it began from, its settings, the height of a typical peak, and scores.

    The settings get a learning rate, a threshold and a scale of the density. The height is 1 for a given threshold. The
    scores are the heights of all peaks in the samples.
    """
    with deterministic(settings.seed):
        network, begun = _network(settings, start)
        settings = replace(settings, learning_rate=settings.learning_rate or (FOLLOWING if begun else FRESH))
        crops = Crops(samples, settings, device)
        origin = begun and sha256(begun)
        average, curve = _train(network.to(device), crops, settings, device, progress, label, out, samples, origin)
        full, scale, scores = _heights(average, crops, settings, samples, device)
    threshold = settings.threshold or round(max(settings.relative_threshold * full, 0.01), 3)
    full = 1.0 if settings.threshold else max(full, 1e-3)
    settings = replace(settings, threshold=threshold, density_scale=settings.density_scale or scale)
    return average, curve, begun, settings, full, scores


def _left_out(samples, folds, start, settings, asked, device, progress, out):
    """The parts of the samples, list of `Part`, as seen by networks that have not learned from them."""
    networks = max(1, min(folds, settings.steps // LEAST_STEPS))
    steps, parts = max(settings.steps // networks, settings.rounds + 1), []
    settings = replace(settings, steps=steps, threshold=asked.threshold, density_scale=asked.density_scale)
    for number, fold in enumerate(itertools.islice(split(samples, folds, settings), networks)):
        label = f"calibration {number + 1}/{networks}"
        network, _, _, own, full, _ = _trained(fold.samples, settings, start, device, progress, out, label)
        for i in sorted({index for index, *_ in fold.parts}):
            heat = run(network, settings.prepared(samples[i].image), settings, device)
            windows = [part for part in fold.parts if part[0] == i]
            parts += tested(heat, samples[i], windows, own, full)
    return parts


def _network(settings, start):
    """A network, and the file of its initial weights, or None if they are random."""
    network = build(settings)
    if settings.imagenet:
        load_imagenet(network, settings.encoder)
    if start is None or start == "auto" and settings.imagenet:
        return network, None
    path = PHANTOM if start in ("auto", "phantom") else start
    _, state = weights_files.read(path, FORMAT, "CellNet")
    own, given = ({name: tensor.shape for name, tensor in tensors.items()} for tensors in (network.state_dict(), state))
    if own == given:
        network.load_state_dict(state)
        return network, path
    if start == "auto":
        return network, None
    raise ParameterError(
        f"start={start}: its network has another shape than these settings; give its encoder, widths and detail, "
        "which `cellcount.methods.cellnet.about` prints."
    )


def _train(network, crops, settings, device, progress, label, out, samples, origin):
    """The averaged network, and the loss of each step; begun where an earlier call with this `out` was killed."""
    rng = np.random.default_rng(settings.seed)
    annotated, trusted = list(crops.points), list(crops.trusted)
    # In the second half: before, the peaks are less exact than the points.
    mending = {settings.steps * (settings.rounds + i) // (2 * settings.rounds) for i in range(settings.rounds)}
    average = copy.deepcopy(network)
    optimizer = torch.optim.AdamW(network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, settings.learning_rate, total_steps=settings.steps, pct_start=0.1 if settings.steps != 10 else 0.2
    )
    curve, feed = [], Feed()
    parts = {"network": network, "average": average, "optimizer": optimizer, "schedule": schedule}
    state = resuming.State(out, label, settings, samples, device, parts, origin)
    if kept := state.read(tell=progress):
        curve = list(kept["curve"].to(device))
        crops.points = [points.numpy() for points in kept["points"]]
        crops.trusted = [one.to(had.device) for one, had in zip(kept["trusted"], trusted, strict=True)]
    begin = len(curve)
    network.train()

    def learn(image, target, trust):
        with mixed_precision(device):
            output = network(image)
        loss = losses.total(output.float(), target, trust, settings)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        curve.append(loss.detach())
        step = len(curve)
        weights_files.follow(average, network, min(settings.average, step / (step + 9)))
        if progress and not step % SHOWN:  # reading a number waits for the GPU
            shown = {"loss": f"{torch.stack(curve[-SHOWN:]).mean().item():.3f}", "waited": f"{feed.share:.0%}"}
            bar.set_postfix(shown, refresh=False)
        bar.update()
        if state.due():
            points = [torch.from_numpy(points) for points in crops.points]
            state.write({"curve": torch.stack(curve), "points": points, "trusted": crops.trusted})

    with tqdm(total=settings.steps, initial=begin, desc=label, unit="step", disable=not progress, mininterval=1) as bar:
        # No crop is made before the points are mended that it has.
        for first, last in itertools.pairwise(sorted({0, *mending, settings.steps})):
            if first in mending and begin <= first:
                _mend(average.eval(), crops, annotated, trusted, settings, device)
            places = (crops.places(rng, settings.batch) for _ in range(first, last))
            places = itertools.islice(places, max(begin - first, 0), None)  # all are drawn: the numbers are the same
            with closing(feed.batches(crops.batch, places)) as batches:
                for batch in batches:
                    learn(*(part.to(device) for part in batch))
    feed.tell(label)
    return average.eval(), torch.stack(curve).tolist()


def _mend(network, crops, annotated, trusted, settings, device):
    """Replace the points and the trusted pixels of the crops by corrected ones."""
    for i, image in enumerate(crops.images):
        if crops.heights[i] is not None:  # the peaks of networks already
            continue
        heat = run(network, image[0, 0].cpu().numpy(), settings, device)
        crops.points[i], trust = mend(heat, annotated[i], trusted[i][0, 0].cpu().numpy() > 0, settings)
        crops.trusted[i] = torch.from_numpy(trust.astype(np.float32))[None, None]


def _heights(network, crops, settings, samples, device):
    """The height of a typical peak, the scale of the density, and the heights of all peaks, in the training images."""
    heights, cells, volumes, scores = [], [], [], []
    for i, (image, sample) in enumerate(zip(crops.images, samples, strict=True)):
        heat = run(network, image[0, 0].cpu().numpy(), settings, device)
        points = to_small(clicked(sample), settings.factor)
        heights += [typical_height(heat, points, settings.peak_distance)] * len(points)
        trusted = crops.trusted[i][0, 0].cpu().numpy() > 0
        counted = np.ones(len(crops.points[i])) if crops.heights[i] is None else crops.heights[i]
        cells.append(counted[trusted[nearest(crops.points[i], heat.shape)]].sum())
        volumes.append(heat[trusted].sum() / volume(settings.sigma))
        scores.append(peaks(heat, threshold=1e-3, distance=settings.peak_distance)[1])
    scale = max(round(float(np.sum(cells) / max(np.sum(volumes), 1e-6)), 4), 1e-4)  # a strip may have no cell
    return float(np.mean(heights or 1.0)), scale, np.concatenate(scores)
