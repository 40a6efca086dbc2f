"""Every figure: a Figure, labelled, with the marks that the numbers behind it demand."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from matplotlib import rcParams
from matplotlib.figure import Figure

from cellcount import metrics, results
from cellcount.companion import plots
from cellcount.companion.plots import drawings, style, wrong_rules
from cellcount.companion.studies import magnification
from cellcount.companion.studies.device import Calibration, agreement
from cellcount.io.overlays import overlay
from cellcount.metrics import match, near
from cellcount.types import Prediction, Sample

RNG = np.random.default_rng(0)


def points(number, side=200):
    return RNG.uniform(0, side - 1, (number, 2)).astype(np.float32)


def make_sample(name="a", number=40, side=200, pixel_size_um=None):
    image = RNG.random((side, side), np.float32)
    return Sample(
        name, image, points(number, side), pixel_size_um=pixel_size_um, dead=points(3, side),
        boxes=np.float32([[10, 10, 40, 50]]), valid=image > 0.1,
    )  # fmt: skip


def make_prediction(sample, number=50):
    near_some = sample.points[::2] + RNG.normal(0, 3, sample.points[::2].shape)
    found = np.concatenate([near_some, points(number - len(near_some))]).astype(np.float32)
    return Prediction(found, RNG.random(len(found)), float(len(found)), meta={"method": "noise"})


SAMPLE = make_sample(pixel_size_um=0.5)
PREDICTION = make_prediction(SAMPLE)
OTHER = make_sample("b", 20)
ROWS = pd.concat(
    results.rows(sample, make_prediction(sample), tolerances=[8, 4, 12], dataset="d") for sample in (SAMPLE, OTHER)
)
DESIGN = pd.DataFrame({"variant": ["base", "other"], "f1_near": [0.8, 0.7], "f1_best": [0.81, 0.75]})
FAULTS = pd.DataFrame(
    [(fault, level, remedy, rule, 0.9 - level / 9, 0.8, 0.95, 0.1)
     for fault, level in (("missing", 0.0), ("missing", 0.5), ("off by", 4.0))
     for remedy, rule in (("none", "fixed"), ("none", "relative"), ("mended", "relative"))],
    columns=["fault", "level", "remedy", "rule", "f1", "f1_low", "f1_high", "count_error"],
)  # fmt: skip
COVERED = pd.DataFrame(
    {"group": ["test", "sheets"] * 2, "level": [0.5, 0.5, 0.9, 0.9], "coverage": 0.6, "low": 0.5, "high": 0.7}
)
RULE = metrics.calibrate([100.0] * 40, [100.0] * 40)
AT_DEVICE = pd.DataFrame(
    {"flask": ["0", "A", "A"], "objective": [20, 20, 40], "cells": [1700.0, 3300, 2700], "warned": [False, True, False],
     "device": [3e5, 7e5, 7e5]}
)  # fmt: skip
AGREED = Calibration(2, 0.005, 0.3, 1.0, 0.5, 0.1, 0.9)
LAYERS = pd.DataFrame(
    [("image", "in and out", 1, 64, 0, -1), ("down", "encoder", 8, 16, 900, -1), ("up", "decoder", 8, 32, 9000, 1)],
    columns=["name_", "kind", "channels", "side", "parameters", "skip"],
)
OVER_THRESHOLD = pd.DataFrame({"threshold": [0.2, 0.5], "precision": [0.7, 0.9], "recall": [0.9, 0.6]})
IN_PARTS = pd.DataFrame(
    [(image, part, 5 + int(part), 8.0) for image in "12" for part in "0123"],
    columns=["image", "part", "n_true", "n_pred"],
)
SIZES = pd.DataFrame({"factor": [0.5, 1.0], "n_true": 9, "count": 8, "tp": 7, "warned": False})
OBJECTIVES = pd.DataFrame(
    {"found": ["auto", "auto", "as it is"], "flask": ["A", "D", "A"], "objective": [20, 10, 20],
     "density": [900.0, 200.0, 900.0], "warned": [False, True, False]}
)  # fmt: skip
PAIRS = pd.DataFrame({"ratio": [0.8, 1.1, 1.3], "mean": [2e6, 1e7, 3e7]})
CROWDS = pd.DataFrame({"low": [0, 5], "high": [5, 10], "precision": [0.9, 0.8], "recall": [0.7, 0.6]})
DRAWS = pd.DataFrame({"reading": "whole", "train": 50, "draw": [0, 1], "n_true": 100, "count": [102.0, 96.0]})
MASKED = replace(PREDICTION, labels=np.zeros(SAMPLE.image.shape, np.int32))
for i, (y, x) in enumerate(np.rint(MASKED.points).astype(int)):
    MASKED.labels[max(y - 4, 0) : y + 5, max(x - 4, 0) : x + 5] = i + 1
OUTCOMES = metrics.mask_outcomes(SAMPLE, MASKED, SAMPLE.image > 0.9, 8)
FLASKS = pd.DataFrame(
    {"flask": ["A", "A", "B"], "objective": [10, 20, 20], "device": [3e5, 3e5, 7e5], "covered": [0.6, 0.7, 0.95]}
)
TENTHS = metrics.by_density(np.arange(20.0) / 1e4, np.arange(20.0), np.full(20, 9.5))
SWEPT = pd.DataFrame([(d, f, 0.1 * f + d / 100) for d in (10, 30) for f in (0, 1)], columns=["d", "flow", "f1"])
EFFORT = pd.DataFrame(
    [("debris", strategy, k, 0.8 + k / 100, 10 * k, 30.0 * k, 90.0 * k, 0.3 * k)
     for strategy, k in (("none", 0), ("click", 1), ("click", 2), ("loop", 1), ("loop", 2))],
    columns=["kind", "strategy", "k", "f1", "actions", "fast", "careful", "before_f1"],
).assign(f1_low=0.7, f1_high=0.9)  # fmt: skip
OVERLOOKED = pd.DataFrame(
    [
        (strategy, share, 0.9 - share / 9, 0.7, 0.95, share / 5)
        for strategy in ("correct", "scattered")
        for share in (0, 1)
    ],
    columns=["strategy", "overlooked", "f1", "f1_low", "f1_high", "count_error"],
)
SPEEDS = {"fast": "quick", "careful": "slow"}
AUDITED = pd.DataFrame({"model": ["good", "none"] * 2, "windows": [5, 5, 20, 20], "coverage": 0.9,
                        "repeats": 50, "half": [0.05, 0.3, 0.02, 0.1]})  # fmt: skip
FIGURES = {
    "audit_coverage": lambda: plots.audit_coverage(AUDITED, level=0.9, precision=0.05),
    "audit_windows": lambda: plots.audit_windows(SAMPLE, [(0, 0, 100, 200), (100, 0, 200, 200)], [3, 4], [1]),
    "effort_curves": lambda: plots.effort_curves(EFFORT, kinds={"debris": "Debris", "x": "X"}, speeds=SPEEDS),
    "correction_cost": lambda: plots.correction_cost(EFFORT, speeds=SPEEDS, even={"fast": 0.6, "careful": 0.9}),
    "overlooked_errors": lambda: plots.overlooked_errors(OVERLOOKED),
    "mask_panels": lambda: plots.mask_panels(SAMPLE, {"one": MASKED.labels, "other": MASKED.labels}),
    "mask_outcome": lambda: plots.mask_outcome(SAMPLE, MASKED, OUTCOMES),
    "mask_gallery": lambda: plots.mask_gallery(SAMPLE, MASKED, OUTCOMES, number=3, side=40),
    "sweep_lines": lambda: plots.sweep_lines(SWEPT, x="d", lines="flow", panels={"f1": "F1"}, xlabel="diameter (px)"),
    "heatmap": lambda: plots.heatmap(SWEPT, x="d", y="flow", value="f1", xlabel="diameter", ylabel="flow", label="F1"),
    "iou_curve": lambda: plots.iou_curve({"a": ([0.5, 0.7], [0.8, 0.4])}),
    "design_dots": lambda: plots.design_dots(DESIGN, base="base"),
    "fault_curves": lambda: plots.fault_curves(FAULTS),
    "seconds_bars": lambda: plots.seconds_bars(pd.DataFrame({"seconds": [40.0, 0.6]}, index=["other", "CellNet, all"])),
    "coverage": lambda: plots.coverage(COVERED),
    "interval_ladder": lambda: plots.interval_ladder(
        pd.Series([100.0, 100.0, 300.0], [7, 8, 9]), [100.0, 100.0, 100.0], RULE
    ),
    "crowding_curve": lambda: plots.crowding_curve({"a": CROWDS}),
    "draws": lambda: plots.draws({"all": DRAWS, "half": DRAWS}, [("other", 50, 2.5)]),
    "field": lambda: plots.field(SAMPLE, PREDICTION, boxes=True, valid=True, window=(0, 0, 100, 150)),
    "gallery": lambda: plots.gallery([SAMPLE, OTHER, SAMPLE], columns=2, side=150, points=True),
    "outcome": lambda: plots.outcome(SAMPLE, PREDICTION, 8),
    "worst": lambda: plots.worst(SAMPLE, PREDICTION, 8, number=3),
    "tolerance_curve": lambda: plots.tolerance_curve(ROWS, tolerance=8),
    "loss_curve": lambda: plots.loss_curve({"training": [3, 2, 1], "validation": ([1, 3], [3, 2])}),
    "score_dots": lambda: plots.score_dots(results.summary(ROWS[ROWS.tolerance_px == 8])),
    "counts": lambda: plots.counts([10, 20], {"one": [11, 18], "other": [9, 30]}),
    "nearest_neighbours": lambda: plots.nearest_neighbours([SAMPLE, OTHER], {"known": (20, 24, 28)}),
    "label_types": lambda: plots.label_types(),
    "matching_example": lambda: plots.matching_example(),
    "target": lambda: plots.target(SAMPLE, sigma=3.0, window=(0, 0, 90, 120)),
    "phase_contrast_microscope": lambda: plots.phase_contrast_microscope(),
    "training_graph": lambda: plots.training_graph({"loss": [3, 2, 1.5], "loss_mask": [2, 1, 1], "boxes": [9, 8, 9]}),
    "confidence_ranks": lambda: plots.confidence_ranks({"few": [0.5, 0.4], "many": [0.9, 0.2]}, shares=[0.25, 0.5]),
    "tiled_boxes": lambda: plots.tiled_boxes(SAMPLE, {"a": (PREDICTION, [(0, 100, 0, 100)])}, side=30),
    "answers": lambda: plots.answers(
        SAMPLE, {"step": SAMPLE.image, "noise": SAMPLE.image}, {"noise": PREDICTION}, window=(0, 0, 90, 120)
    ),
    "foregrounds": lambda: plots.foregrounds(
        SAMPLE, {"a": SAMPLE.image}, {"a": SAMPLE.image > 0.4}, SAMPLE.image > 0.5, window=(0, 0, 90, 120)
    ),
    "error_by_density": lambda: plots.error_by_density({"area": TENTHS, "truth": TENTHS[2:]}),
    "area_against_device": lambda: plots.area_against_device(FLASKS),
    "border_boxes": lambda: plots.border_boxes(SAMPLE, side=50, tile=128),
    "fields_against_device": lambda: plots.fields_against_device(AT_DEVICE, AGREED),
    "architecture": lambda: plots.architecture(LAYERS),
    "pipeline": lambda: plots.pipeline(
        SAMPLE,
        SAMPLE.image,
        (SAMPLE.points, np.linspace(0, 1, len(SAMPLE.points))),
        seen=SAMPLE.image[:90, :90],
        threshold=0.5,
        window=(0, 0, 90, 90),
    ),
    "heatmaps": lambda: plots.heatmaps(SAMPLE, SAMPLE.image, sigma=3.0, window=(0, 0, 90, 90)),
    "precision_recall": lambda: plots.precision_recall({"a": OVER_THRESHOLD}, {"a": 0.4}),
    "parts": lambda: plots.parts(IN_PARTS),
    "count_by_size": lambda: plots.count_by_size({name: magnification.table(SIZES) for name in ("auto", "as it is")}),
    "density_by_objective": lambda: plots.density_by_objective(OBJECTIVES),
    "limits_of_agreement": lambda: plots.limits_of_agreement(PAIRS, agreement(PAIRS.ratio, PAIRS["mean"])),
}
MICROGRAPHS = (
    "field", "gallery", "outcome", "worst", "label_types", "target", "mask_panels", "mask_outcome", "mask_gallery",
    "tiled_boxes", "border_boxes", "answers", "foregrounds", "audit_windows", "pipeline", "heatmaps",
)  # fmt: skip


def test_every_figure_is_tried_here():
    elsewhere = {"foreground_masks", "prompt_answers", "prompt_sweep", "prompt_types"}  # test_plots_prompted
    elsewhere |= {"agreement_matrix", "density_lines", "method_gallery", "method_ranking", "paired_differences"}
    elsewhere |= {"verdicts"}  # these in test_comparison and test_claims
    assert set(FIGURES) | elsewhere == set(plots.__all__)
    with pytest.raises(AttributeError, match="nonsense"):
        _ = plots.nonsense


@pytest.mark.parametrize("name", FIGURES)
def test_figure_draws_is_labelled_and_leaves_settings_alone(name, tmp_path):
    before = dict(rcParams)
    figure = FIGURES[name]()
    assert isinstance(figure, Figure)
    figure.savefig(tmp_path / "figure.png", dpi=60)
    assert dict(rcParams) == before
    for axes in figure.axes:
        if axes.get_label() == "<colorbar>":
            assert axes.get_ylabel() or axes.get_xlabel()
        elif (name in MICROGRAPHS and not axes.get_xlabel()) or not axes.axison:
            assert not axes.xaxis.get_ticklocs().size or not axes.axison
        elif name not in ("matching_example", "phase_contrast_microscope"):
            # Names on the y axis need no further label, nor does an axis that panels side by side share.
            named = ("score_dots", "sweep_lines", "design_dots", "fault_curves", "crowding_curve", "seconds_bars",
                     "effort_curves", "draws")  # fmt: skip
            assert axes.get_xlabel() and (axes.get_ylabel() or name in named)
        else:
            assert axes.get_xlabel() and axes.get_title(loc="left")


def marks(axes, kind):
    """(N, 2) (y, x) of the marks of one kind."""
    (line,) = [line for line in axes.lines if line.get_gid() == kind]
    return np.stack([line.get_ydata(), line.get_xdata()], axis=1)


def test_outcome_marks_what_the_matching_says():
    matching = match(SAMPLE.points, PREDICTION.points, 8)
    axes = plots.outcome(SAMPLE, PREDICTION, 8, window=(0, 0, 50, 50)).axes[0]
    found, missed = marks(axes, "found"), marks(axes, "missed")
    close, away = marks(axes, "false, near"), marks(axes, "false, away")
    assert (len(found), len(missed), len(close) + len(away)) == (matching.tp, matching.fn, matching.fp)
    assert matching.tp and matching.fn and len(close) and len(away) == 0 or near(away, SAMPLE.points).sum() == 0
    np.testing.assert_array_equal(found, PREDICTION.points[matching.pairs[:, 1]])
    (joins,) = axes.collections
    assert len(joins.get_segments()) == matching.tp


def test_false_points_away_from_annotations_have_their_own_mark():
    sample = Sample("s", np.zeros((100, 100), np.float32), [[10, 10]])
    prediction = Prediction([[10, 30], [80, 80]], [1, 2], 2.0)
    axes = plots.outcome(sample, prediction, 5).axes[0]
    assert marks(axes, "false, near").tolist() == [[10, 30]]
    assert marks(axes, "false, away").tolist() == [[80, 80]]
    assert marks(axes, "missed").tolist() == [[10, 10]]


def test_marks_differ_in_colour_and_in_shape():
    kinds = [style.MARKS[name] for name in ("found", "missed", "false, near", "false, away")]
    assert len({look["color"] for look in kinds}) == len({look["marker"] for look in kinds}) == 4


def test_worst_shows_the_surest_false_point_and_the_loneliest_miss():
    sample = Sample("s", np.zeros((100, 100), np.float32), [[10, 10], [50, 50], [90, 20]])
    prediction = Prediction([[10, 10], [10, 60], [50, 70]], [0.1, 0.2, 0.9], 3.0)
    titles = [axes.get_title(loc="left") for axes in plots.worst(sample, prediction, 5, number=2).axes]
    assert all(fact in title for fact, title in zip(["0.90", "0.20", "64 px", "20 px"], titles, strict=True))


def test_nothing_to_show_is_no_error(tmp_path):
    sample = Sample("s", np.zeros((64, 80), np.float32), np.zeros((0, 2)))
    nothing = Prediction(np.zeros((0, 2)), [], 0.0)
    for figure in (plots.outcome(sample, nothing, 5), plots.worst(sample, nothing, 5), plots.field(sample)):
        figure.savefig(tmp_path / "figure.png", dpi=50)
    assert np.ptp(np.asarray(overlay(sample.image, nothing).convert("RGB"))) == 0


def test_overlay_keeps_the_image_pixel_by_pixel():
    image = np.linspace(0, 1, 61 * 83, dtype=np.float32).reshape(61, 83)
    picture = overlay(image, Prediction([[40, 60]], [1.0], 1.0))
    pixels = np.asarray(picture.convert("RGB")).astype(int)
    assert picture.mode == "P" and pixels.shape[:2] == image.shape
    gray = np.ptp(pixels, axis=2) == 0
    assert gray.mean() > 0.9
    rows, columns = np.nonzero(~gray)  # the ring
    assert len(rows) > 20 and abs(rows.mean() - 40) <= 0.5 and abs(columns.mean() - 60) <= 0.5
    assert not gray[40 - 7 : 40, 60].all() and gray[40 - 3 : 40 + 4, 60 - 3 : 60 + 4].all()
    low, high = np.quantile(image, [0.001, 0.999])
    expected = np.clip((image - low) / (high - low), 0, 1) * 255
    assert np.abs(pixels[..., 0] - expected)[gray].max() <= 1.01


def test_overlay_of_a_shrunken_image_has_its_rings_where_the_cells_are():
    prediction = Prediction([[163.5, 243.5]], [1.0], 1.0)  # of the full image: between blocks 40 and 41, 60 and 61
    pixels = np.asarray(overlay(np.zeros((61, 83), np.float32), prediction, factor=4).convert("RGB")).astype(int)
    rows, columns = np.nonzero(np.ptp(pixels, axis=2))
    assert abs(rows.mean() - 40.5) <= 0.5 and abs(columns.mean() - 60.5) <= 0.5 and np.ptp(rows) <= 5


def test_rings_shrink_with_the_spacing_of_the_cells():
    image = np.zeros((200, 200), np.float32)
    crowd = np.stack(np.meshgrid(np.arange(20, 180, 10), np.arange(20, 180, 10)), -1).reshape(-1, 2)
    sparse = crowd[(crowd % 40 == 20).all(axis=1)]
    rings = [np.asarray(overlay(image, Prediction(p, np.ones(len(p)), 1.0)).convert("RGB")) for p in (crowd, sparse)]
    marked = [(np.ptp(ring, axis=2) > 0).sum() / len(p) for ring, p in zip(rings, (crowd, sparse))]
    assert 5 < marked[0] < marked[1] / 2


def test_overlay_needs_neither_pandas_nor_matplotlib():
    code = (
        "import sys, numpy as np; from cellcount.io.overlays import overlay; from cellcount.types import Prediction;"
        "overlay(np.zeros((50, 50), np.float32), Prediction([[1, 2]], [1], 1.0));"
        "print([name for name in ('pandas', 'seaborn', 'torch', 'matplotlib') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_scale_bar_is_a_round_length():
    axes = Figure().add_subplot()
    axes.set(xlim=(-0.5, 639.5), ylim=(639.5, -0.5))
    style.scale_bar(axes, 0.5)
    assert np.ptp(axes.lines[0].get_xdata()) == pytest.approx(100)
    assert axes.texts[0].get_text() == "50 µm"
    style.scale_bar(axes)
    assert axes.texts[1].get_text() == "100 px"


def test_label_types_clicks():
    figure = plots.label_types()
    clicks = {axes.get_label(): len(marks(axes, "clicks")) for axes in figure.axes}
    assert clicks["box"] == 2 * clicks["centre"] and clicks["mask"] > 5 * clicks["centre"] > 20


def test_nearest_neighbours_has_a_line_for_each_image_and_um_where_they_are_known():
    axes = plots.nearest_neighbours([SAMPLE], {"known": (20, 24, 28)}).axes[0]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == [SAMPLE.name, "known"]
    assert axes.texts[-1].get_text() == "24.0" and not axes.child_axes
    assert plots.nearest_neighbours([replace(SAMPLE, pixel_size_um=0.5)]).axes[0].child_axes


def test_microscope_shows_no_cell_without_the_ring_and_a_dark_one_with_it():
    texts = [axes.get_xlabel() for axes in plots.phase_contrast_microscope().axes[1:]]
    ratios = [float(text.split()[-1]) for text in texts]
    assert ratios[0] == 1 and 1 > ratios[1] > ratios[2] > 0


def test_each_wrong_rule_goes_wrong_in_the_example():
    ours, greedy, ungated, padded = (
        rule(drawings.TRUE, drawings.PREDICTED, drawings.TOLERANCE) for rule in drawings.RULES.values()
    )
    assert ours.tp > greedy.tp and ours.tp > ungated.tp
    assert padded.precision == padded.recall != ours.precision
    texts = [axes.get_xlabel() for axes in plots.matching_example().axes]
    assert f"P {ours.precision:.2f}  R {ours.recall:.2f}  F1 {ours.f1:.2f}" in texts[0]


@pytest.mark.parametrize("rule", [wrong_rules.greedy, wrong_rules.ungated, wrong_rules.padded])
def test_wrong_rules_agree_with_match_where_nothing_is_ambiguous(rule):
    true = np.float32([[0, 0], [50, 50], [0, 90]])
    assert rule(true, true[[1, 0, 2]], 5)[:3] == match(true, true[[1, 0, 2]], 5)[:3] == (3, 0, 0)
    assert rule(true, [], 5).tp == rule([], true, 5).tp == 0


def test_counts_covers_all_points():
    axes = plots.counts([10, 20], {"one": [300, 5]}).axes[0]
    assert axes.get_xlim() == axes.get_ylim() and axes.get_ylim()[1] > 300


def test_study_plots_show_every_line_of_their_tables():
    axes = FIGURES["design_dots"]().axes[0]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["base", "other"]
    assert axes.lines[0].get_xdata().tolist() == [0.8, 0.7]
    panels = [axes for axes in FIGURES["fault_curves"]().axes if axes.get_visible()]
    assert [axes.get_title(loc="left") for axes in panels] == ["clicks missing anywhere", "clicks beside the centre"]
    assert all(len(axes.containers) == 3 for axes in panels)
    assert panels[1].containers[1].lines[0].get_xdata().tolist() == [0, 4]
    assert len(FIGURES["coverage"]().axes[0].containers) == 2
    assert [len(line.get_xdata()) for line in FIGURES["interval_ladder"]().axes[0].lines] == [2, 1]
    curves = [axes.lines[0].get_ydata().tolist() for axes in FIGURES["crowding_curve"]().axes]
    assert curves == [[0.9, 0.8], [0.7, 0.6]]
    axes = FIGURES["draws"]().axes[0]
    assert [list(line.get_xdata()) for line in axes.lines] == [[], [2.5], [2, 4], [3], [2, 4], [3]]  # published on top


def test_effort_is_shown_over_actions_and_over_minutes():
    left, right = FIGURES["effort_curves"]().axes
    assert [line.get_xdata().tolist() for line in left.lines[:2]] == [[10, 20], [10, 20]]
    # Clicks have one speed, corrections two.
    assert [line.get_xdata().tolist() for line in right.lines[:3]] == [[0.5, 1.0], [0.5, 1.0], [1.5, 3.0]]
    cost = FIGURES["correction_cost"]().axes[0]
    assert cost.lines[0].get_ydata().tolist() == EFFORT.fast.tolist() and cost.get_yscale() == "log"
    assert [len(axes.lines) for axes in FIGURES["overlooked_errors"]().axes] == [2, 3]


def test_the_fastest_is_on_top_and_ours_is_coloured():
    axes = FIGURES["seconds_bars"]().axes[0]
    fast, slow = axes.patches
    assert (slow.get_width(), fast.get_width()) == (40.0, 0.6)
    assert fast.get_y() < slow.get_y() and axes.yaxis_inverted()
    assert slow.get_facecolor() != fast.get_facecolor()


def test_answers_marks_cells_only_on_maps_that_make_them():
    panels = plots.answers(
        SAMPLE, {"step": SAMPLE.image, "noise": SAMPLE.image}, {"noise": PREDICTION}, window=(0, 0, 90, 120)
    ).axes
    assert [sorted(line.get_gid() or "bar" for line in axes.lines) for axes in panels] == [
        ["annotated", "bar"], [], ["ring"]
    ]  # fmt: skip
    shown = marks(panels[2], "ring")
    assert len(shown) and (shown <= [89, 119]).all()
    inside = (PREDICTION.points <= [89, 119]).all(axis=1)
    assert len(shown) == inside.sum() < len(PREDICTION.points)


def test_foregrounds_tints_found_false_and_missed():
    truth, mask = SAMPLE.image > 0.5, SAMPLE.image > 0.4
    lower = plots.foregrounds(SAMPLE, {"a": SAMPLE.image}, {"a": mask}, truth, window=(0, 0, 90, 120)).axes[3]
    found, false, missed = (np.asarray(image.get_array()) for image in lower.images[1:])
    parts = ((found, mask & truth), (false, mask & ~truth), (missed, ~mask & truth))
    assert all(((tint[..., 3] > 0) == part).all() for tint, part in parts)
    assert len({tuple(tint[part][0, :3]) for tint, part in parts if part.any()}) == 2
    assert false[..., 3].max() > found[..., 3].max()


def test_error_by_density_leaves_out_windows_without_cells():
    empty = metrics.by_density(np.zeros(2), np.zeros(2), np.ones(2), groups=1)
    axes = plots.error_by_density({"area": empty + TENTHS}).axes[0]
    drawn = next(line for line in axes.lines if line.get_label() == "area")
    in_cells = plots.error_by_density({"area": empty + TENTHS}, unit="cells").axes[0].lines[-1]
    assert in_cells.get_ydata().tolist() == [line["error"] for line in empty + TENTHS]
    assert len(drawn.get_xdata()) == sum(np.isfinite(line["relative"]) for line in TENTHS)


def test_area_against_device_has_a_large_mark_for_each_flask_mean():
    axes = plots.area_against_device(FLASKS).axes[0]
    large = next(line for line in axes.lines if line.get_label().startswith("flask"))
    np.testing.assert_allclose(large.get_ydata(), [0.65, 0.95])
    np.testing.assert_allclose(large.get_xdata(), [3, 7])


def test_sweep_lines_names_its_x_axis_once_below_the_middle_and_texts_as_they_are():
    frame = pd.DataFrame(
        {"x": [0.33, 1, 3] * 2, "data": ["phantom"] * 3 + ["thesis"] * 3, "f1": 0.5, "p": 0.5, "r": 0.5}
    )
    panels = {"f1": "F1", "p": "precision", "r": "recall"}
    figure = plots.sweep_lines(frame, x="x", lines="data", panels=panels, xlabel="times", marks={"automatic": 1.0})
    assert [axes.get_xlabel() for axes in figure.axes] == ["", "times", ""]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["phantom", "thesis", "automatic"]
    figure.draw_without_rendering()
    ticks = [text.get_text() for minor in (True, False) for text in figure.axes[0].get_xticklabels(minor=minor)]
    assert {"0.5", "1", "2"} <= set(ticks) - {""} <= {"0.2", "0.5", "1", "2", "5", "0.1", "10"}, "few enough to be read"


@pytest.mark.parametrize(
    "parts",
    [
        ["loss", "loss_box", "loss_objectness", "loss_class"],
        ["loss", "loss_objectness", "loss_rpn_box_reg"],
    ],
)
def test_every_part_of_a_detectors_loss_has_its_curve(parts):
    figure = plots.training_graph({name: [3.0, 2.0, 1.0] for name in [*parts, "boxes", "positive_share"]})
    assert len({text.get_text() for text in figure.legends[0].get_texts()}) == len(parts)


@pytest.mark.parametrize("values, labels", [
    ([2.0, 8.0], ["2", "3", "4", "6"]),
    ([0.03, 8.0], ["0.05", "0.1", "0.2", "0.5", "1", "2", "5"]),
])  # fmt: skip
def test_labels_of_a_logarithmic_axis_do_not_crowd(values, labels):
    figure = plots.loss_curve({"loss": values})
    figure.draw_without_rendering()
    axis = figure.axes[0].yaxis
    low, high = axis.get_view_interval()
    ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
    shown = {tick.label1.get_text() for tick in ticks if low <= tick.get_loc() <= high} - {""}
    assert shown >= set(labels) and all(label.lstrip("0.")[0] in "125" for label in shown) == (high > 10 * low)
