"""Correcting what a network has found against clicking from nothing, on simulated fields, where the truth is known.

Fields of a kind that the first network has not seen are annotated by a simulated annotator, and a network is trained
on them. What the annotator does is counted, and converted into seconds by values from the literature.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cellcount import results
from cellcount.companion.studies.jobs import cellnet_weights, run_jobs, spread
from cellcount.companion.studies.label_faults import SETTINGS, TOLERANCE
from cellcount.data import phantom
from cellcount.data.phantom.cache import cached
from cellcount.methods import cellnet
from cellcount.methods.cellnet.checkpoint import PHANTOM
from cellcount.metrics import f1, match
from cellcount.types import Sample

# Simulated fields of other kinds than the first network was trained on: arguments of the simulation, and whether the
# image is a negative, as of negative phase contrast.
KINDS = {"debris": ({"dead": 300.0}, False), "negative": ({}, True)}
CONFLUENCE = 0.7
STRATEGIES = ("click", "correct", "loop")
OFF_PX = 7.0  # a point is moved if it is farther off: twice the annotator's own scatter (3.5 px)
CONTROL = "scattered"  # the same number of errors as is overlooked, but at random places
# Seconds of an action. A click on the first object of an image, and on each further one (Bearman et al. 2016).
FIRST, NEXT = 2.4, 0.9
# Operators of the keystroke-level model (Card, Moran and Newell 1980): prepare mentally, point with the mouse, press a
# button or key, move the hand between mouse and keyboard.
PREPARE, POINT, PRESS, HOME = 1.35, 1.1, 0.2, 0.4
LOOK = 0.3  # at a point that stays: the eyes rest .2 to .35 s on a place (Rayner and Castelhano 2007)
SPEEDS = {  # an action of a correction: as fast as one of many clicks, or each prepared anew
    "fast": {"added": NEXT, "deleted": NEXT, "moved": NEXT, "kept": LOOK},
    "careful": {
        "added": PREPARE + POINT + PRESS, "deleted": PREPARE + POINT + PRESS + HOME + PRESS,
        "moved": PREPARE + 2 * (POINT + PRESS), "kept": LOOK,
    },
}  # fmt: skip
ACTIONS = ("clicked", "kept", "moved", "deleted", "added")


def field(kind: str, split: str, index: int, seed: int, side: int) -> Sample:
    """A simulated field of side x side px of one of the `KINDS`, the same for the same arguments."""
    params, negative = KINDS[kind]
    own = (seed, {"train": 4000, "test": 5000}[split] + index)
    name = f"{kind}-{split}-{seed}-{index}"
    made = cached(phantom.simulate, own, (side, side), name=name, split=split, confluence=CONFLUENCE, **params)
    return replace(made, image=np.float32(1) - made.image) if negative else made


def corrected(
    sample: Sample,
    predicted: np.ndarray,
    seed: int,
    *,
    overlooked: float = 0.0,
    scattered: bool = False,
    **person: float,
) -> tuple[Sample, dict[str, int]]:
    """The annotation of a simulated field by somebody who corrects predicted points.

    What is recognised as a cell, and where a click lands, is decided as by `phantom.annotate` with the same seed and
    arguments `person`: the same cells as if that person clicked from nothing. A predicted point within the
    tolerance of a cell stays, or is moved if it is more than `OFF_PX` off; others are deleted, except on a dead cell
    that the annotator takes for a live one. A cell without a predicted point is added if it is recognised.

    Parameters
    ----------
    sample : Sample
        With the true points.
    predicted : (M, 2) float, (y, x) px
    seed : int
    overlooked : float in [0, 1]
        Share of the errors of the prediction, false points and missed cells, that are not noticed.
    scattered : bool
        A control: every error is noticed, and as many others, of the same two kinds, are made at random places.

    Returns
    -------
    Sample
        With the corrected points.
    dict
        Number of points "kept", "moved", "deleted" and "added", and of errors that are "left".
    """
    rng = np.random.default_rng((seed, 1))
    clicked, predicted = phantom.annotate(sample, seed, **person), np.asarray(predicted, np.float32)
    rows, clicks = clicked.meta["clicked"], clicked.points
    pairs, distances = match(sample.points, predicted, TOLERANCE)[3:]
    cells, found = pairs.T
    stay, own = predicted[found], dict(zip(rows.tolist(), clicks, strict=True))  # cell -> the annotator's click
    off = [i for i, cell in enumerate(cells.tolist()) if distances[i] > OFF_PX and cell in own]
    for i in off:
        stay[i] = own[cells[i]]
    false, dead = np.delete(predicted, found, axis=0), clicks[rows < 0]
    taken, mistaken = match(dead, false, TOLERANCE).pairs.T
    stay, wrong = np.concatenate([stay, false[mistaken]]), np.delete(false, mistaken, axis=0)
    missed = np.concatenate([clicks[(rows >= 0) & ~np.isin(rows, cells)], np.delete(dead, taken, axis=0)])
    unseen = [rng.random(len(group)) < overlooked for group in (wrong, missed)]
    left = [int(group.sum()) for group in unseen]
    if scattered:
        anywhere = rng.uniform(0, np.array(sample.image.shape) - 1, (left[0], 2))
        points = np.concatenate([rng.permutation(np.concatenate([stay, missed]))[left[1] :], anywhere])
    else:
        points = np.concatenate([stay, wrong[unseen[0]], missed[~unseen[1]]])
    work = {
        "kept": len(stay) - len(off) + left[0], "moved": len(off), "deleted": len(wrong) - left[0],
        "added": len(missed) - left[1], "left": sum(left),
    }  # fmt: skip
    return replace(clicked, points=points.astype(np.float32)), work


def seconds(work: Mapping[str, float], speed: str, fields: int = 1) -> float:
    """Seconds of an annotator's work: numbers of `ACTIONS` on some fields, at one of the `SPEEDS`."""
    clicks = FIRST * fields + NEXT * (work["clicked"] - fields) if work["clicked"] else 0.0
    return clicks + sum(cost * work[action] for action, cost in SPEEDS[speed].items())


def compare(
    *,
    out: Path | str,
    kinds: Mapping[str, Sequence[str]],
    numbers: Sequence[int] = (1, 2, 4, 8),
    overlooked: Iterable[float] = (0.25, 0.5, 1.0),
    seeds: int = 3,
    seed: int = 0,
    side: int = 256,
    tests: int = 6,
    device: str = "auto",
    profile: str = "",
    progress: bool = True,
    **params: Any,
) -> pd.DataFrame:
    """Annotate growing numbers of fields in each way, train on them, and test on true cells of other fields.

    Parameters
    ----------
    out : path of the CSV to write
    kinds : dict of kind to `STRATEGIES`
        "click": from nothing. "correct": what the first network, the bundled one for simulated cells, has found.
        "loop": what a network has found that was trained on the fields before; the first network's to begin with.
    numbers : sequence of int
        Of annotated fields, growing.
    overlooked : iterable of float
        Shares of errors that are not noticed, and the same numbers of errors scattered at random; with the second last
        of `numbers`, of the first kind.
    seeds, seed : int
        Repetitions, with other fields, annotators and trainings each.
    side, tests : int
        Side of a field for training (px), and number of fields, 1.5 times as large, for testing.
    device, profile : str
    progress : bool
    params
        Settings of CellNet, and `start`, its initial weights.

    Returns
    -------
    DataFrame of `results.rows` with a column for each argument of the job, `k`, the number of annotated fields, the
    numbers of `ACTIONS` on all of these fields, `left`, the errors of predictions left in them, `annotation_f1`, that
    of the annotation, and `before_f1`, that of what was corrected last, with the actions on that as `last_kept` and so
    on.
    """
    settings = SETTINGS | {"crop": 64, "steps": 100, "start": "phantom"} | params

    def work(**job):
        return _annotate_and_train(device=device, profile=profile, **job)

    shared = {"side": side, "tests": tests, "settings": settings}
    repeated = range(seed, seed + seeds)
    few = numbers[-2] if len(numbers) > 1 else numbers[0]
    jobs = [
        {"kind": kind, "strategy": strategy, "overlooked": 0.0, "numbers": list(numbers), "seed": one} | shared
        for one in repeated
        for kind, strategies in kinds.items()
        for strategy in ("none", *strategies)
    ] + [
        {"kind": next(iter(kinds)), "strategy": strategy, "overlooked": share, "numbers": [few], "seed": one} | shared
        for one in repeated
        for share in overlooked
        for strategy in ("correct", CONTROL)
    ]
    return spread(run_jobs(jobs, work, out=out, progress=progress))


def _annotate_and_train(kind, strategy, overlooked, numbers, seed, side, tests, settings, device, profile):
    """Rows of a strategy: annotated by a person, trained and tested with each number of fields."""
    fields = [field(kind, "train", i, seed, side) for i in range(max(numbers))]
    test = [field(kind, "test", i, seed, side * 3 // 2) for i in range(tests)]

    def rows(weights, k, **more):
        recorded = {"tolerances": [TOLERANCE], "dataset": "phantom", "chapter": "correct", "seed": seed, "parts": 0}
        frames = []
        for sample in test:
            found = results.timed(cellnet.predict, sample.image, weights=weights, device=device, density=False)
            frames.append(results.rows(sample, found, parameters=settings, profile=profile, **recorded))
        frame = pd.concat(frames, ignore_index=True)
        return frame[frame.reading == "whole"].assign(k=k, **more)

    if strategy == "none":
        return rows(PHANTOM, 0, annotation_f1=np.nan, **dict.fromkeys((*ACTIONS, "left"), 0))
    predicted = [_points(sample, PHANTOM, device) for sample in fields] if strategy != "click" else []
    done, total, frames = [], Counter(dict.fromkeys((*ACTIONS, "left"), 0)), []
    for k in numbers:
        last, new = Counter(dict.fromkeys(ACTIONS, 0)), range(len(done), k)
        for i in new:
            if strategy == "click":
                annotated = phantom.annotate(fields[i], 100 * seed + i)
                last["clicked"] += len(annotated.points)
            else:
                annotated, did = corrected(
                    fields[i], predicted[i], 100 * seed + i, overlooked=overlooked, scattered=strategy == CONTROL
                )
                last.update(did)
            done.append(annotated)
        total.update(last)
        before = _f1((fields[i], predicted[i]) for i in new) if predicted else np.nan
        more = {f"last_{name}": last[name] for name in ACTIONS} | {"before_f1": before}
        with cellnet_weights(done, device=device, progress=False, seed=seed, **settings) as weights:
            frames.append(rows(weights, k, annotation_f1=_f1(zip(fields, (s.points for s in done))), **total, **more))
            if strategy == "loop":
                predicted[k:] = [_points(sample, weights, device) for sample in fields[k:]]
    return pd.concat(frames, ignore_index=True)


def _f1(pairs):
    """The pooled F1 of pairs of a field and points on it."""
    return f1(*np.sum([match(sample.points, points, TOLERANCE)[:3] for sample, points in pairs], axis=0))


def _points(sample, weights, device):
    return cellnet.predict(sample.image, weights=weights, device=device, density=False).points


def curve(frame: pd.DataFrame) -> pd.DataFrame:
    """F1 and effort of each way to annotate, over the number of fields.

    Parameters
    ----------
    frame : DataFrame of `compare`

    Returns
    -------
    DataFrame
        kind, strategy, k, f1 and count_error (summed counts over summed cells, minus 1) pooled over seeds and fields,
        f1_low and f1_high (least and largest of a seed), and means over seeds of "actions" (clicks, additions,
        deletions and moves), of the numbers of `ACTIONS`, of the annotation's own F1, and of the seconds at each of the
        `SPEEDS`.
    """
    return _table(frame[frame.overlooked == 0], ["kind", "strategy", "k"])


def left_over(frame: pd.DataFrame) -> pd.DataFrame:
    """The same as `curve` over the share of errors that were overlooked: strategy, overlooked, left and so on."""
    frame = frame[frame.kind == frame.kind.iloc[0]]
    chosen = frame[frame.overlooked > 0]
    plain = frame[(frame.overlooked == 0) & (frame.strategy == "correct") & (frame.k == chosen.k.max())]
    both = [plain, plain.assign(strategy=CONTROL), chosen]
    return _table(pd.concat(both, ignore_index=True), ["strategy", "overlooked"])


def _table(frame: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    lines = []
    for key, group in frame.groupby(keys, sort=False):
        sums = group[["tp", "fp", "fn"]].sum()
        single = [f1(*counts) for counts in group.groupby("seed")[["tp", "fp", "fn"]].sum().to_numpy()]
        effort = group.groupby("seed")[[*ACTIONS, "left", "annotation_f1", "k"]].first().mean()
        lines.append(
            dict(zip(keys, key, strict=True))
            | {"f1": f1(*sums), "f1_low": min(single), "f1_high": max(single), "seeds": len(single)}
            | {"count_error": group["count"].sum() / group.n_true.sum() - 1}
            | {"actions": effort[["clicked", "moved", "deleted", "added"]].sum()}
            | effort.drop("k").to_dict()
            | {speed: seconds(effort, speed, int(effort.k)) for speed in SPEEDS}
        )
    return pd.DataFrame(lines)


def rounds(frame: pd.DataFrame) -> pd.DataFrame:
    """What each round of corrections took, beside clicks on the same fields.

    Parameters
    ----------
    frame : DataFrame of `compare`

    Returns
    -------
    DataFrame
        kind, strategy, seed, k, before_f1 (of the corrected prediction), and for each of the `SPEEDS` the seconds over
        those of clicking on the same fields from nothing.
    """
    one = frame[(frame.overlooked == 0) & (frame.k > 0)].drop_duplicates(["kind", "strategy", "seed", "k"])
    clicks = one[one.strategy == "click"].set_index(["kind", "seed", "k"]).last_clicked
    lines = []
    for line in one[one.strategy != "click"].to_dict("records"):
        place = line["kind"], line["seed"], line["k"]
        fields = line["k"] - max([n for n in json.loads(line["job"])["numbers"] if n < line["k"]], default=0)
        nothing = seconds(dict.fromkeys(ACTIONS, 0) | {"clicked": clicks[place]}, "fast", fields)
        work = {action: line[f"last_{action}"] for action in ACTIONS}
        ratios = {speed: seconds(work, speed) / nothing for speed in SPEEDS}
        lines.append({name: line[name] for name in ("kind", "strategy", "seed", "k", "before_f1")} | ratios)
    return pd.DataFrame(lines)


def break_even(speed: str) -> float:
    """The F1 of a prediction from which on correcting it is faster than clicking.

    For as many false points as missed cells, without moves and the first click of an image: per cell, a share 1 - F1 is
    added and as many points are deleted, and the others are looked at.
    """
    cost = SPEEDS[speed]
    return (cost["added"] + cost["deleted"] - NEXT) / (cost["added"] + cost["deleted"] - cost["kept"])
