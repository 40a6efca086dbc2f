"""The claims ledger: what the thesis draft states, what was found, and the verdict.

`book/claims.toml` lists the claims. A claim whose verdict a number decides names a rule, a function of this module that
reads files in `results/` and returns what it found and the verdict; the others give verdict and reason themselves.
`measure` is `cellcount bench claims`: the few numbers that no chapter keeps. `workflow/crate.py` writes `codecheck.yml`
and the RO-Crate from the same list.
"""

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd

from cellcount import metrics, results
from cellcount.companion import kept, tables
from cellcount.companion.runner.sources import root
from cellcount.companion.studies import area, comparison, device, diameter, label_faults
from cellcount.companion.studies.jobs import spread
from cellcount.errors import DataError, require
from cellcount.methods.detection.loop import epoch_steps, learning_rates
from cellcount.methods.maskrcnn.settings import Settings

VERDICTS = ("confirmed", "corrected", "explained", "refuted", "cannot be tested here")
KINDS = ("quantitative", "causal", "qualitative")
MOST_WORDS = 12  # of a quotation
TOLERANCE = 12.0  # px
ANNOTATED, FOUND = 5671, 2971  # sections 7.3 of the thesis draft, as all constants below
DIAMETER = 39.0  # px
BOX, CROSS = 50.0, 12.0  # px: side of the boxes, radius of the X
TILES, CAP = 12, 100  # tiles of an image of 1536 x 2048 px, objects in each
RATE = 0.005  # learning rate of Mask R-CNN
V100_GB = 16  # memory of the smaller of the cluster's GPUs
OBJECTIVE = 10  # "a 10x magnification microscopy slice"
Finding = tuple[str, str | None]  # what was found, and the verdict; None where the ledger itself must give it
_rules: dict[str, Callable[[], Finding]] = {}


@dataclass(frozen=True)
class Claim:
    """One statement of the thesis draft, with its verdict.

    Attributes
    ----------
    id, section, claim, quote, kind : str
        Section of the draft; the claim in our words; at most `MOST_WORDS` of its own; one of `KINDS`.
    done, command, page, label : str
        What was done; the command that makes the numbers ("" if there is none); the page of the book and the label of
        a figure, table or section there ("" for the page as a whole).
    draft : str
        Version of the library that the draft used, where a library's behaviour is judged.
    packages : tuple of str
        The packages that were used here, whose versions `versions` gives.
    rule : str
        The rule that decides, or gives the number; "" without one.
    found, verdict, needs : str
        What was found; one of `VERDICTS`; what a test would take, of claims that cannot be tested here.
    """

    id: str
    section: str
    claim: str
    kind: str
    done: str
    page: str
    quote: str = ""
    command: str = ""
    label: str = ""
    draft: str = ""
    packages: tuple[str, ...] = ()
    rule: str = ""
    found: str = ""
    verdict: str = ""
    needs: str = ""

    @property
    def versions(self) -> str:
        """The versions of the packages that were used here, as text."""
        return ", ".join(f"{name} {version(name)}" for name in self.packages)

    @property
    def computed(self) -> bool:
        """Whether a number decided the verdict."""
        return bool(self.rule) and _rules[self.rule]()[1] is not None


def rule(function: Callable[[], Finding]) -> Callable[[], Finding]:
    """Register a function of no arguments, which returns a `Finding`, under its name."""
    _rules[function.__name__] = cached = cache(function)
    return cached


@cache
def load() -> tuple[Claim, ...]:
    """All claims of the ledger, in the order of the draft, with what the rules found.

    Raises
    ------
    DataError
        If a claim is incomplete or contradicts itself; the message names it.
    """
    entries = tomllib.loads((root() / "book" / "claims.toml").read_text(encoding="utf-8"))["claim"]
    claims = tuple(
        sorted(map(_claim, entries), key=lambda claim: [int(n) for n in claim.section.split()[0].split(".")])
    )
    repeated = {claim.id for claim in claims if sum(claim.id == other.id for other in claims) > 1}
    require(not repeated, f"book/claims.toml: repeated ids {sorted(repeated)}", DataError)
    return claims


def _claim(entry: Mapping[str, Any]) -> Claim:
    name = f"book/claims.toml, {entry.get('id')}"
    asked = entry.get("rule", "")
    require(not asked or asked in _rules, f"{name}: there is no rule {asked!r}", DataError)
    found, decided = _rules[asked]() if asked else (entry.get("found", ""), None)
    both = decided is not None and "verdict" in entry
    require(not both, f"{name}: a computed verdict must not be typed", DataError)
    words = dict(entry) | {"found": found, "verdict": decided or entry.get("verdict", "")}
    claim = Claim(**words | {"packages": tuple(entry.get("packages", ()))})
    require(claim.verdict in VERDICTS, f"{name}: the verdict must be one of {', '.join(VERDICTS)}", DataError)
    require(claim.kind in KINDS, f"{name}: the kind must be one of {', '.join(KINDS)}", DataError)
    short = len(claim.quote.split()) <= MOST_WORDS
    require(short, f"{name}: the quotation has more than {MOST_WORDS} words", DataError)
    reason = bool(claim.needs) if claim.verdict == VERDICTS[-1] else bool(claim.found)
    require(reason, f"{name}: say what was found, or what a test needs", DataError)
    require(bool(claim.command) or bool(claim.needs), f"{name}: no command, and no reason", DataError)
    return claim


def find(name: str) -> Claim:
    """The claim with this id; DataError if there is none."""
    claim = next((claim for claim in load() if claim.id == name), None)
    if claim is None:
        raise DataError(f"book/claims.toml has no claim {name!r}")
    return claim


def verdict(name: str) -> str:
    """The verdict on the claim with this id."""
    return find(name).verdict


def found(name: str) -> str:
    """What was found about the claim with this id, as text."""
    return find(name).found


def frame() -> pd.DataFrame:
    """The ledger as a DataFrame, one line for each claim, with the attributes of `Claim`, `versions` and `computed`."""
    lines = [vars(claim) | {"versions": claim.versions, "computed": claim.computed} for claim in load()]
    return pd.DataFrame(lines).drop(columns="packages")


# What rules read.


@cache
def _rows(name: str) -> pd.DataFrame:
    rows = results.read(kept.file(f"{name}.csv"))
    return rows[rows.tolerance_px == TOLERANCE]


@cache
def _score(name: str, method: str, reading: str = "near") -> pd.Series:
    """The line of `results.summary` of a method, over all fields tested."""
    rows = _rows(name)
    chosen = rows[(rows.method == method) & (rows.reading == reading) & (rows.split.fillna("test") != "train")]
    return results.summary(chosen).iloc[0]


def _f1(line: pd.Series) -> str:
    return tables.interval(line.f1, line.f1_low, line.f1_high)


@cache
def _classical(reading: str = "near") -> pd.Series:
    """The best method without learning on images that its settings were not chosen on."""
    rows = _rows("explorations-thesis")
    scores = results.summary(rows[(rows.split == "test") & (rows.reading == reading)])
    return scores.loc[scores.f1.idxmax()]


@cache
def _differences() -> pd.DataFrame:
    return comparison.paired(comparison.gathered("thesis", None, TOLERANCE)[0]).set_index(["entrant", "reading"])


def _difference(entrant: str, reading: str = "near") -> tuple[float, float, float]:
    """F1 of a method minus that of CellNet on the thesis' images, with its 95 % interval, as in `07-comparison`."""
    line = _differences().loc[(entrant, reading)]
    return float(line.difference), float(line.low), float(line.high)


def _signed(values: tuple[float, float, float]) -> str:
    middle, low, high = values
    return f"{middle:+.2f} ({low:+.2f} to {high:+.2f})"


@cache
def _annotations() -> pd.DataFrame:
    return results.table(kept.file("thesis-annotations.csv")).astype({"image": str})


def _annotation(quantity: str, image: str = "1") -> float:
    lines = _annotations()
    chosen = lines[(lines.quantity == quantity) & (lines.image == image) & lines.file.isna()]
    return float(chosen.value.iloc[0])


@cache
def _live() -> tuple[float, float]:
    """Live cells on the three images, each image once; and as the sum of all lines of both exports."""
    lines = _annotations()
    live = lines[(lines.quantity == "live") & lines.file.isin(["points.json", "points2.json"])]
    return float(live.groupby("image").value.max().sum()), float(live.value.sum())


@cache
def _measured() -> pd.DataFrame:
    files = [kept.file("claims-measured.csv"), kept.file("claims-cellpose-2.0.5.csv")]
    return pd.concat([results.table(path).astype({"version": str}) for path in files])


def _measure(quantity: str, of: str = "") -> float:
    """A number of `measure`, with the version of a library that it was seen with, if several were run."""
    lines = _measured()
    return float(lines[(lines.quantity == quantity) & ((lines.version == of) | (of == ""))].value.iloc[0])


def _judged(holds: bool, other: str, found: str) -> Finding:
    return found, "confirmed" if holds else other


# The rules.


@rule
def recount() -> Finding:
    once, twice = _live()
    n = tables.integer
    text = f"{n(once)} live cells on the three images; image 1 counted twice gives {n(twice)}"
    return _judged(once == ANNOTATED, "corrected", text)


@rule
def recall_from_counts() -> Finding:
    once, _ = _live()
    share = FOUND / once
    text = f"{n_of(FOUND, once)} ({tables.percent(share)}) by the recount: a ratio of counts, and no recall"
    return _judged(share < 0.52, "corrected", text)


def n_of(part: float, whole: float) -> str:
    """Two numbers as text: "3 of 1,200"."""
    return f"{tables.integer(part)} of {tables.integer(whole)}"


@rule
def most_missed() -> Finding:
    once, _ = _live()
    false = FOUND - once / 2  # masks that cannot be on cells if more than half of the cells are missed
    text = f"by the recount, more than half are missed only if {n_of(false, FOUND)} masks lie on no cell of their own"
    return _judged(false <= 0.1 * FOUND, "corrected", text)


@rule
def device_error() -> Finding:
    pairs = results.table(kept.file("device-pairs.csv"))
    pairs = pairs.drop(np.log(pairs.ratio).abs().idxmax())
    rng = np.random.default_rng(0)
    drawn = [pairs.iloc[rng.integers(len(pairs), size=len(pairs))] for _ in range(500)]
    errors = [np.expm1(device.agreement(some.ratio, some["mean"]).device) for some in drawn]
    low, high = np.nanquantile(errors, [0.025, 0.975])
    all_pairs = device.agreement(pairs.ratio, pairs["mean"])
    error, most = np.expm1([all_pairs.device, all_pairs.deviation])
    p = tables.percent
    text = (
        f"one count is off by a standard deviation of {p(error)} ({p(low)} to {p(high)}) if its errors and the "
        f"network's "
        f"are independent, and by at most {p(most)}; {len(pairs)} flasks"
    )
    return _judged(bool(low > 0.1), "cannot be tested here", text)


@rule
def clicks_per_label() -> Finding:
    centre, box, polygon = (_measure(f"clicks_{name}") for name in ("centre", "box", "mask"))
    return _judged(centre < box < polygon, "refuted", f"{centre:.0f}, {box:.0f} and {polygon:.1f} clicks a cell")


@rule
def localised() -> Finding:
    line, apart = _score("cellnet-thesis", "cellnet"), _annotation("box_point_distance")
    text = (
        f"{tables.percent(line.recall)} of the clicks found, {line.mean_distance_px:.1f} px away on average; a "
        f"click lies "
        f"{apart:.1f} px (median) from the centre of a box drawn independently"
    )
    return _judged(line.recall > 0.5 and line.mean_distance_px < apart, "refuted", text)


@rule
def second_look() -> Finding:
    added, live = _annotation("added"), _annotation("live")
    crowd, usual = _measure("neighbours_of_added"), _measure("neighbours_of_clicked")
    share = _measure("added_untrusted")
    text = (
        f"a second look at image 1 added {tables.integer(added)} cells, "
        f"{tables.percent(added / (added + live), 1)} of all; "
        f"{tables.percent(share)} of them away from clicks, in crowds (median {crowd:.0f} neighbours, clicked "
        f"cells {usual:.0f})"
    )
    return _judged(added * share < 1 or crowd < usual, "corrected", text)


@rule
def sparse_and_noisy() -> Finding:
    added, live, apart = _annotation("added"), _annotation("live"), _annotation("box_point_distance")
    text = (
        f"at least {tables.percent(added / (added + live), 1)} of the cells of image 1 had no click; clicks and "
        f"centres of "
        f"boxes are {apart:.1f} px apart in the median"
    )
    return _judged(added > 0 and apart > 1, "refuted", text)


@rule
def few_labels() -> Finding:
    line = _score("cellnet-thesis", "cellnet")
    full = label_faults.table(spread(results.read(kept.file("labels-phantom.csv"))))
    lost = full[(full.fault == "missing") & (full.level == 0.5) & (full.remedy == "none") & (full.rule == "relative")]
    loss = float(lost.loss.iloc[0])
    text = (
        f"trained on the clicks of one image, CellNet reaches F1 {_f1(line)} on another; simulated, half of "
        f"the clicks gone cost {loss:.2f}"
    )
    return _judged(loss > 0.1, "corrected", text)


def _promising(entrant: str, method: str) -> Finding:
    line, best = _score("detectors-thesis", method), _classical()
    gain = _signed(_difference(entrant))
    text = f"F1 {_f1(line)}, CellNet's plus {gain}; the best method without learning has {best.f1:.2f}"
    return _judged(line.f1_low <= best.f1, "refuted", text)


@rule
def maskrcnn_promising() -> Finding:
    return _promising("Mask R-CNN", "maskrcnn")


@rule
def yolox_promising() -> Finding:
    return _promising("YOLOX", "yolox")


@rule
def zero_shot() -> Finding:
    method = "ND_v11n, as it is"
    line, gain = _score("nuclephaser-thesis", method), _difference("NuclePhaser, as it is")
    text = f"NuclePhaser, never trained on such images: F1 {_f1(line)}, CellNet's plus {_signed(gain)}"
    return _judged(gain[2] < 0, "corrected", text)


@rule
def on_par() -> Finding:
    boxes, clicked = _annotation("boxes"), _annotation("boxes_with_point")
    network = _measure("boxes_with_prediction")
    low, high = (_measure(f"boxes_difference_{end}") for end in ("low", "high"))
    text = (
        f"of {tables.integer(boxes)} boxes drawn independently, {tables.percent(clicked / boxes)} hold a click and "
        f"{tables.percent(network / boxes)} a point of CellNet (difference {100 * low:+.0f} to "
        f"{100 * high:+.0f} points)"
    )
    return text, "corrected" if high < 0 else None


@rule
def confluent() -> Finding:
    full = label_faults.table(spread(results.read(kept.file("labels-phantom.csv"))))
    crowds = full[(full.fault == "missing in crowds") & (full.level == 1.0) & (full.remedy == "none")].set_index("rule")
    fixed, follows = crowds.loc["fixed"], crowds.loc["relative"]
    text = (
        f"simulated, no click in crowds: count {100 * fixed.count_error:+.0f}\u00a0% with a fixed threshold, "
        f"{100 * follows.count_error:+.0f}\u00a0% with one that follows the heights (F1 -{fixed.loss:.2f}, "
        f"-{follows.loss:.2f})"
    )
    return text, "explained" if follows.loss < fixed.loss / 2 else "confirmed"


@rule
def area_baseline() -> Finding:
    windows = results.table(kept.file("foreground-windows.csv")).astype({"image": str})
    own = area.trusted(windows[windows.foreground == "deviation"])
    images = {name: group for name, group in own.groupby("image")}
    parts = pd.concat(area.estimated(images[a], images[b]) for a, b in (("1", "2"), ("2", "1")))
    tenths = area.deciles(parts)
    sparse, dense = tenths[0], tenths[-1]
    text = (
        f"with the other image's constant, windows of the sparsest tenth get {sparse['predicted']:.1f} cells and have "
        f"{sparse['true']:.1f} clicks, of the densest {dense['predicted']:.1f} and {dense['true']:.1f}"
    )
    return _judged(sparse["predicted"] > 1.25 * sparse["true"] and dense["predicted"] < dense["true"], "refuted", text)


@rule
def classical_fail() -> Finding:
    best, ours = _classical(), _score("cellnet-thesis", "cellnet")
    text = f"the best of seven ({best.method}) has F1 {_f1(best)}, CellNet {_f1(ours)}"
    return _judged(best.f1_high < ours.f1_low, "refuted", text)


@rule
def classical_fluctuations() -> Finding:
    rows = _rows("explorations-thesis")
    f1 = results.summary(rows[rows.reading == "near"], ("method", "split")).pivot(
        index="method", columns="split", values="f1"
    )
    lost = f1.train - f1.test
    text = (
        f"F1 falls by {lost.mean():.3f} on average, at most {lost.max():.2f}, from the image a setting was "
        f"chosen on to the other"
    )
    return text, None


@rule
def box_size() -> Finding:
    long, short = _annotation("box_long_median"), _annotation("box_short_median")
    text = (
        f"boxes drawn by hand measure {long:.0f} x {short:.0f} px in the median, a square of "
        f"{np.sqrt(long * short):.0f} px"
    )
    return _judged(short <= BOX <= long, "corrected", text)


@rule
def diameter_by_sight() -> Finding:
    long, short = _annotation("box_long_median"), _annotation("box_short_median")
    text = f"boxes drawn by hand measure {long:.0f} x {short:.0f} px in the median"
    return _judged(short <= DIAMETER <= long, "corrected", text)


@rule
def mask_memory() -> Finding:
    gigabytes = _annotation("live") * 1536 * 2048 * 4 / 1e9
    text = f"torchvision turns all masks of an image into 32-bit numbers: {gigabytes:.0f} GB for the clicks of image 1"
    return _judged(gigabytes > V100_GB, "refuted", text)


@rule
def twelve_tiles() -> Finding:
    side = np.sqrt(1536 * 2048 / TILES)
    return _judged(side == 512, "corrected", f"tiles of {side:.0f} px cover a field of 1536 x 2048 px {TILES} times")


@rule
def empty_masks() -> Finding:
    cut, empty = _measure("cut_512"), _measure("empty_512")
    text = (
        f"of boxes of {BOX:.0f} px on tiles of 512 px, borders cut {tables.percent(cut)}; filled by a plain slice, "
        f"{tables.percent(empty)} of the masks are empty; clipped, none"
    )
    return text, "explained" if empty > 0 else "refuted"


@rule
def limit_of_detections() -> Finding:
    default, afterwards, raised = (_measure(f"detections_{name}") for name in ("default", "afterwards", "raised"))
    text = (
        f"{default:.0f} detections by default, {afterwards:.0f} with the attribute set on the finished model, "
        f"{raised:.0f} with the argument of the constructor"
    )
    return text, "explained" if default == CAP < raised else "refuted"


@rule
def limit_by_architecture() -> Finding:
    raised = _measure("detections_raised")
    text = (
        f"one architecture gives {CAP} or {raised:.0f} objects by one argument; proposals and suppression limit it next"
    )
    return text, "corrected" if raised > CAP else "confirmed"


@rule
def regions_without() -> Finding:
    live, most = _annotation("live"), TILES * CAP
    text = (
        f"{TILES} tiles of {CAP} objects are {tables.integer(most)} for {tables.integer(live)} clicked cells: "
        f"{tables.percent(1 - most / live)} must be missed"
    )
    return text, "explained" if most < live else "refuted"


@rule
def confidences() -> Finding:
    least, most, half = _measure("confidence_least"), _measure("confidence_greatest"), _measure("confidence_half")
    p = tables.percent
    text = (
        f"after little training the 100 surest lie between {p(least)} and {p(most)} if a quarter of the "
        f"sampled boxes are cells, at {p(half)} (median) if half are"
    )
    return text, "explained" if 0.2 < least <= most < 0.45 < half else "refuted"


@rule
def dense_scenes() -> Finding:
    maskrcnn, yolox = _score("detectors-thesis", "maskrcnn"), _score("detectors-thesis", "yolox")
    text = (
        f"{tables.percent(maskrcnn.recall)} of {tables.integer(maskrcnn.n_true)} clicks found at a precision "
        f"of {tables.percent(maskrcnn.precision)}, YOLOX {tables.percent(yolox.recall)} at "
        f"{tables.percent(yolox.precision)}"
    )
    return _judged(maskrcnn.recall < 0.5, "refuted", text)


@rule
def magnification() -> Finding:
    fields = results.table(kept.file("device-fields.csv")).astype({"image": str})
    used = sorted(set(fields.objective[fields.image.isin(["1", "2", "4"])]))
    text = f"the annotated images were taken with the {' and '.join(f'{n:.0f}x' for n in used)} objective"
    return _judged(used == [OBJECTIVE], "corrected", text)


@rule
def smaller_tiles() -> Finding:
    large, small = _measure("beyond_cap_512"), _measure("beyond_cap_256")
    lost, more = 1 - _measure("inside_512"), 1 - _measure("inside_256")
    p = tables.percent
    text = (
        f"from 512 to 256 px, clicks beyond 100 a tile fall from {p(large)} to {p(small)}, and boxes lost at "
        f"borders rise "
        f"from {p(lost)} to {p(more)}"
    )
    return text, "corrected" if small < large and more > lost else "confirmed"


@rule
def learning_rate() -> Finding:
    rates = learning_rates(Settings(), epoch_steps(Settings(), TILES))
    text = (
        f"the schedule has {len(rates)} steps and never passes {rates.max():.4f}, a share of "
        f"{tables.percent(rates.max() / RATE)} of the rate named"
    )
    return _judged(rates.max() >= 0.9 * RATE, "corrected", text)


@rule
def data_were_inadequate() -> Finding:
    line, best = _score("detectors-thesis", "maskrcnn"), _classical()
    text = f"trained longer on one image of the same kind, Mask R-CNN reaches F1 {_f1(line)} on another"
    return _judged(line.f1_low <= best.f1, "refuted", text)


@cache
def _losses() -> pd.DataFrame:
    """First and last value of each part of Mask R-CNN's loss, mean over both trainings on the thesis' images."""
    curves = results.table(kept.file("detectors-thesis-curves.csv"))
    ends = curves[curves.method == "maskrcnn"].groupby(["train", "part"]).value.agg(["first", "last"])
    return ends.groupby("part").mean()


@rule
def shape_is_learned() -> Finding:
    ends = _losses()
    left = {
        part: ends["last"][f"loss_{part}"] / ends["first"][f"loss_{part}"] for part in ("mask", "box_reg", "classifier")
    }
    p = tables.percent
    text = (
        f"of the loss at the start, {p(left['mask'])} is left of the masks', {p(left['box_reg'])} of the "
        f"boxes' and {p(left['classifier'])} of the classes'"
    )
    return _judged(left["mask"] < 0.25 and left["mask"] < left["classifier"], "refuted", text)


@rule
def share_of_shape() -> Finding:
    last = _losses()["last"]
    share = (last["loss_mask"] + last["loss_box_reg"] + last["loss_rpn_box_reg"]) / last["loss"]
    return f"boxes and masks are {tables.percent(share)} of the loss at the end of the training", None


@rule
def metric_exists() -> Finding:
    line = _score("detectors-thesis", "maskrcnn", "whole")
    return f"points matched one to one within {TOLERANCE:.0f} px: F1 {_f1(line)} over the whole images", "refuted"


@rule
def boxes_score_masks() -> Finding:
    line = results.mask_summary(results.table(kept.file("cellpose-thesis-masks.csv"))).iloc[0]
    return f"mean overlap (IoU) of the boxes of Cellpose's masks with the drawn ones {line.box_iou:.2f}", None


@cache
def _sweep() -> tuple[pd.DataFrame, float]:
    rows = results.read(kept.file("diameter-phantom.csv"))
    swept = diameter.table(rows)
    return swept, diameter.known(rows)["automatic"]


@rule
def near_diameters() -> Finding:
    swept, automatic = _sweep()
    steep = diameter.steepest(swept, automatic).set_index("flow_threshold").steepest
    return (
        f"a network of ours, simulated fields: at most {tables.percent(steep.max(), 1)} of the masks for a px "
        f"of diameter",
        None,
    )


@rule
def no_improvement() -> Finding:
    swept, automatic = _sweep()
    threshold = swept.loc[swept.f1.idxmax()].flow_threshold
    five = diameter.draft(swept, automatic, threshold).set_index("asked").f1
    others = five.drop("automatic")
    text = (
        f"a network of ours, simulated fields: F1 {five['automatic']:.2f} at the automatic diameter, at most "
        f"{others.max():.2f} at the four others"
    )
    return _judged(others.max() - five["automatic"] < 0.01, "refuted", text)


def _extreme(asked: str) -> tuple[pd.Series, pd.Series]:
    swept, automatic = _sweep()
    five = diameter.draft(swept, automatic, 0.4).set_index("asked")
    return five.loc["automatic"], five.loc[asked]


@rule
def small_diameters() -> Finding:
    usual, small = _extreme("a third")
    text = (
        f"a network of ours, simulated fields: at a third, precision falls from {usual.precision:.2f} to "
        f"{small.precision:.2f}, and recall from {usual.recall:.2f} to {small.recall:.2f}"
    )
    return _judged(small.precision < usual.precision - 0.1, "refuted", text)


@rule
def large_diameters() -> Finding:
    swept, automatic = _sweep()
    at = swept[swept.flow_threshold == 0.4].set_index("diameter")
    usual, double = (at.iloc[int(np.abs(at.index - automatic * times).argmin())] for times in (1, 2))
    text = (
        f"a network of ours, simulated fields: at twice the diameter {double['count']:.0f} masks instead of "
        f"{usual['count']:.0f}, with a median size of {double.size_px:.0f} px instead of {usual.size_px:.0f}"
    )
    return _judged(double["count"] < usual["count"] and double.size_px > 1.25 * usual.size_px, "refuted", text)


@rule
def frozen() -> Finding:
    learned = [
        _measure("learned_in_first_epoch", of)
        for of in sorted(set(_measured().version[_measured().quantity == "learned_in_first_epoch"]))
    ]
    printed = max(_measure("loss_lines_printed", of) for of in ("2.0.5", ""))
    text = (
        f"no weight changes in the first epoch (largest change {max(learned):g}), and {printed:.0f} lines "
        f"about it are printed, in both versions"
    )
    return text, "explained" if max(learned) == 0 and printed == 0 else "refuted"


@rule
def nulled() -> Finding:
    usual, mode = (_measure(f"masks_{name}", "2.0.5") for name in ("kept_all", "training_mode"))
    scale = results.table(kept.file("cellpose-thesis-scale.csv")).set_index("condition").masks
    before, after, wrong = (scale[name] for name in ("as trained", "training mode", "diam_mean = diameter"))
    n = tables.integer
    text = (
        f"training mode changes no mask: {n(mode)} of {n(usual)} on a simulated field with 2.0.5, {n(after)} of "
        f"{n(before)} on "
        f"image 1; a mistaken scale leaves {n(wrong)} there, and nothing that was tried leaves none"
    )
    return text, "refuted" if usual == mode and before == after else "confirmed"


@rule
def mask_quality() -> Finding:
    scores = results.mask_summary(results.table(kept.file("cellpose-thesis-masks.csv")))
    return f"trained from clicks: the boxes of its masks overlap drawn ones by {scores.box_iou.iloc[0]:.2f} (IoU)", None


def _agreement(method: str, kind: str) -> float:
    rows = results.table(kept.file("prompts-thesis.csv"))
    chosen = rows[(rows.method == method) & (rows.type == kind)]
    return float(chosen.box_iou_sum.sum() / chosen.n_boxes.sum())


def _best_size(kind: str) -> pd.Series:
    rows = results.table(kept.file("prompts-thesis-sweep.csv"))
    sums = rows[(rows.type == kind) & (rows.method == "sam small")].groupby("size")[["box_iou_sum", "n_boxes"]].sum()
    return sums.box_iou_sum / sums.n_boxes


@rule
def scale_confusion() -> Finding:
    rows = results.table(kept.file("prompts-thesis.csv"))
    chosen = rows[(rows.method == "sam small") & (rows.type == "point")]
    share = chosen.n_others.sum() / chosen.n_masks.sum()
    return (
        f"our small SAM, which knows only cells: {tables.percent(share)} of its masks hold another cell's click",
        None,
    )


@rule
def cross_helps() -> Finding:
    point, cross, sizes = _agreement("sam small", "point"), _agreement("sam small", "cross"), _best_size("cross")
    text = (
        f"our small SAM: IoU with drawn boxes {point:.2f} for a point, {cross:.2f} with an X of {CROSS:.0f} "
        f"px; the best X has {sizes.idxmax():.0f} px ({sizes.max():.2f})"
    )
    return text, None


@rule
def box_prompt() -> Finding:
    sizes, point = _best_size("box"), _agreement("sam small", "point")
    text = (
        f"our small SAM: IoU with drawn boxes {sizes[BOX / 2]:.2f} at {BOX / 2:.0f} px, the best of those "
        f"tried {sizes.max():.2f}; {point:.2f} for a point"
    )
    return text, None


@rule
def seconds_per_field() -> Finding:
    rows = _rows("cellnet-thesis")
    seconds = rows[(rows.method == "cellnet") & (rows.part == "all") & (rows.reading == "whole")].seconds.median()
    return f"CellNet takes {seconds:.1f} s for a field on two cores; nobody has timed the device", None


@rule
def stardist_trained() -> Finding:
    return f"trained from clicks: F1 {_f1(_score('stardist-thesis', 'stardist, trained'))}", None


@rule
def recorded() -> Finding:
    rows = pd.concat(
        [_rows(name) for name in ("cellnet-thesis", "detectors-thesis", "cellpose-thesis", "stardist-thesis")]
    )
    share = (rows.device.notna() & rows.commit.notna()).mean()
    return (
        f"{tables.percent(share)} of the rows kept here name their device and the commit; nodes were not compared",
        None,
    )


# What no chapter keeps.


def measure() -> pd.DataFrame:
    """The numbers of the ledger that no chapter keeps: `cellcount bench claims`, some minutes with the thesis' data.

    Returns
    -------
    DataFrame
        quantity, value, library, version: the package whose behaviour it is, "" for the data.

    Raises
    ------
    NotAvailableError
        If the thesis' data are not available.
    """
    found = [
        ("", _of_annotations()),
        ("", _of_boxes()),
        ("torchvision", _of_torchvision()),
        ("cellpose", _of_cellpose()),
    ]
    lines = [
        (name, round(float(value), 5), library, version(library) if library else "")
        for library, values in found
        for name, value in values.items()
    ]
    return pd.DataFrame(lines, columns=["quantity", "value", "library", "version"])


def _of_annotations():
    """Clicks for a label; crowding of the cells that a second look added; boxes on tiles of two sizes."""
    from cellcount.companion import plots
    from cellcount.companion.studies import annotations, maskrcnn_findings
    from cellcount.data import thesis
    from cellcount.tiling import tiles

    found = {}
    for axes in plots.label_types().axes:
        for line in axes.lines:
            if line.get_gid() == "clicks":
                found[f"clicks_{axes.get_label()}"] = len(line.get_xdata())
    found = {name: number / found["clicks_centre"] for name, number in found.items()}
    first, again = thesis.load(["1"])[0], thesis.points_plus().points
    new = annotations.added(np.concatenate([first.points, first.dead]), again)
    usual, crowd = metrics.crowding(first.points, again), metrics.crowding(new, again)
    found |= {"neighbours_of_clicked": np.median(usual), "neighbours_of_added": np.median(crowd)}
    found["added_untrusted"] = 1 - first.valid[tuple(np.rint(new).astype(int).T)].mean()
    for line in maskrcnn_findings.at_borders([first], [512, 256], BOX).itertuples():
        found |= {f"{name}_{line.tile}": getattr(line, name) for name in ("cut", "empty", "inside")}
    for size in (512, 256):
        held = [
            len(first.crop(y0, x0, y1 - y0, x1 - x0).points)
            for (y0, y1, x0, x1), _ in tiles(first.image.shape, size, 0)
        ]
        found[f"beyond_cap_{size}"] = sum(max(0, n - CAP) for n in held) / len(first.points)
    return found


def _of_boxes(draws: int = 2000):
    """Boxes drawn by hand on image 1 that hold a click, and a point of a network trained on image 2."""
    from cellcount.companion.trained import trained
    from cellcount.data import thesis
    from cellcount.methods import cellnet

    first, second = thesis.load(["1", "2"])
    params = {
        "steps": 300,
        "batch": 8,
        "crop": 128,
        "seed": 0,
        "start": "auto",
    }  # of 06-cellnet in the profile `laptop`
    weights = trained(cellnet, [second], suffix=".safetensors", progress=False, **params)
    points = cellnet.predict(first.image, weights=weights, density=False).points

    def held(points):
        inside = (points[:, None] >= first.boxes[:, :2]) & (points[:, None] <= first.boxes[:, 2:])
        return inside.all(axis=2).any(axis=0)

    network, clicks = held(points), held(first.points)
    drawn = np.random.default_rng(0).integers(len(network), size=(draws, len(network)))
    low, high = np.quantile((network.astype(float) - clicks)[drawn].mean(axis=1), [0.025, 0.975])
    f1 = metrics.match(first.points, points, TOLERANCE).f1
    found = {"boxes_with_prediction": network.sum(), "boxes_with_click": clicks.sum(), "boxes_network_f1": f1}
    return found | {"boxes_difference_low": low, "boxes_difference_high": high}


def _of_torchvision():
    """Detections with and without a raised limit; confidences after little training, by the share of cells sampled."""
    import tempfile

    from cellcount.companion.studies import maskrcnn_findings
    from cellcount.data import phantom

    field = phantom.load("test")[-1]
    limits = maskrcnn_findings.limits(np.ascontiguousarray(field.image[:256, :256])).set_index("changed").detections
    found = {
        "detections_default": limits["nothing"],
        "detections_afterwards": limits["model.box_detections_per_img = 500, afterwards"],
        "detections_raised": limits["box_detections_per_img = 500"],
    }
    schedule = {"epochs": 10, "optimizer": "sgd", "schedule": "steps", "learning_rate": RATE, "weight_decay": 5e-4}
    light = {"preset": "light", "box": 36.0, "seed": 0, "average": 0.0, "epoch_steps": 2, "batch": 2} | schedule
    with tempfile.TemporaryDirectory() as folder:
        early = maskrcnn_findings.prior(phantom.load("train"), field.image, [0.25, 0.5], folder=folder, **light)
    quarter, half = early.iloc[0], early.iloc[1]
    found |= {"confidence_least": quarter.least, "confidence_greatest": quarter.greatest}
    return found | {"confidence_half": half["median"]}


def _of_cellpose():
    """A training of one epoch: what is learned, and what is printed."""
    from cellcount.companion.studies.cellpose_failures import silent_start
    from cellcount.data import phantom

    part = phantom.load("train", fields=2)[1].crop(0, 0, 256, 256)
    silence = silent_start(part.image, part.labels, widths=(8, 16, 32, 256))
    return {"learned_in_first_epoch": silence.learned, "loss_lines_printed": silence.printed.count("loss")}
