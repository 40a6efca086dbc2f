"""The studies on tiny networks: jobs that go on, faults that are what they say, tables that add up."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from scenes import scene

from cellcount import registry, results
from cellcount.cli import main
from cellcount.companion.runner.sources import root
from cellcount.companion.studies import design, label_faults
from cellcount.companion.studies.jobs import run_jobs
from cellcount.data import phantom
from cellcount.errors import DataError, NotAvailableError, ParameterError
from cellcount.methods.cellnet.network import build, load_imagenet
from cellcount.methods.cellnet.settings import Settings
from cellcount.types import Prediction, Sample

TINY = {"widths": [8, 8, 8], "crop": 32, "batch": 2, "steps": 3, "learning_rate": 1e-2}


@pytest.fixture
def small_fields(monkeypatch):
    """Simulated fields a tenth as large as the default ones."""
    load = phantom.load
    monkeypatch.setattr(phantom, "load", lambda split=None, **options: load(split, **{"size": (128, 144)} | options))


def row(**values):
    sample = scene(0)
    prediction = Prediction(sample.points[:-1], np.ones(24, np.float32), 24.0, meta={"method": "test"})
    return results.rows(sample, prediction, tolerances=[4.0], dataset="scene", parts=0).assign(**values)


def test_jobs_go_on_where_they_were_stopped(tmp_path):
    out, calls = tmp_path / "rows.csv", []

    def work(level, fail=False):
        calls.append(level)
        if level == 2 and fail:
            raise KeyboardInterrupt
        return row()

    with pytest.raises(KeyboardInterrupt):
        run_jobs([{"level": 1}, {"level": 2, "fail": True}], work, out=out, progress=False)
    assert results.read(out).job.unique().tolist() == ['{"level": 1}']
    frame = run_jobs([{"level": 3}, {"level": 1}], work, out=out, progress=False)
    assert calls == [1, 2, 3]
    assert frame.job.drop_duplicates().tolist() == ['{"level": 3}', '{"level": 1}']
    again = run_jobs([{"level": 3}, {"level": 1}], work, out=out, progress=False)
    assert calls == [1, 2, 3]
    pd.testing.assert_frame_equal(frame, again, check_dtype=False)


def test_jobs_do_not_overwrite_another_file(tmp_path):
    out = results.write(row(), tmp_path / "rows.csv")
    with pytest.raises(DataError, match="rows.csv"):
        run_jobs([{"level": 1}], lambda level: row(), out=out, progress=False)
    with pytest.raises(DataError, match="No job"):
        run_jobs([], lambda: row(), out=tmp_path / "none.csv", progress=False)


def test_faults_are_what_they_say():
    field = phantom.load("train", fields=1, size=(256, 256))[0]
    n = len(field.points)
    assert len(label_faults.faulty(field, "missing", 0.0, 0).points) == n
    assert len(label_faults.faulty(field, "missing", 0.5, 0).points) == pytest.approx(n / 2, rel=0.3)
    moved = label_faults.faulty(field, "off by", 4.0, 0).points - field.points
    assert moved.std() == pytest.approx(4, rel=0.2)
    assert len(label_faults.faulty(field, "dead as live", 1.0, 0).points) == n + len(field.dead)
    crowds = label_faults.faulty(field, "missing in crowds", 1.0, 0)
    assert 0.3 * n < len(crowds.points) < 0.7 * n


def test_label_study_has_both_rules_and_a_loss_against_full_clicks(tmp_path, small_fields):
    levels = {"missing": (0.0, 0.5), "off by": (4.0,)}
    frame = label_faults.sweep(
        out=tmp_path / "labels.csv", levels=levels, remedies=("none", "mended", "ignored"), fields=1, test_sets=1,
        device="cpu", **TINY | {"steps": 6},
    )  # fmt: skip
    assert len(frame) == 3 * 3 * 2 * 2  # levels, remedies, rules, readings
    table = label_faults.table(frame)
    assert len(table) == 18
    perfect = table[(table.level == 0) & (table.remedy == "none") & (table.rule == "fixed")]
    assert perfect.loss.tolist() == [0]
    np.testing.assert_allclose(table.loss, perfect.f1.iloc[0] - table.f1)


def test_ablation_changes_one_thing_at_a_time(tmp_path, small_fields):
    names = [design.BASE, "focal", "hills 1.4 as wide", "resnet18"]
    frame = design.ablation(
        out=tmp_path / "design.csv", variants=names, fields=1, device="cpu", **TINY | {"widths": [8, 8, 8]}
    )
    table = design.table(frame)
    assert table.variant.tolist() == names
    assert (table.f1_best >= table.f1_near).all() and (table.train_seconds > 0).all()
    settings = {name: json.loads(frame[frame.variant == name].parameters.iloc[0]) for name in names}
    assert settings["focal"] == settings[design.BASE] | {"loss": "focal"}
    assert settings["hills 1.4 as wide"]["sigma"] > 2
    assert design.averaging_table(frame).averaging.tolist() == [1, 2, 4, 8]
    assert np.isfinite(table.density_error).all()
    one = frame[(frame.variant == "focal") & (frame.reading == "whole")].sort_values("share")
    assert (one.n_pred.diff().dropna() <= 0).all()


def test_every_variant_is_a_setting_that_exists():
    for group in design.VARIANTS.values():
        for changed in group.values():
            Settings.of(design.SETTINGS | changed)


def test_imagenet_weights_fill_the_encoder():
    """The answer of the filled encoder to an image, against the same filters applied by hand."""
    network = build(Settings(encoder="tu-efficientnet_lite0", widths=(8, 8, 8)))
    before = {name: tensor.clone() for name, tensor in network.encoder.state_dict().items()}
    load_imagenet(network, "tu-efficientnet_lite0")
    after = network.encoder.state_dict()
    weights = [name for name in after if name.endswith("weight") and after[name].ndim == 4]
    assert all(not torch.equal(before[name], after[name]) for name in weights)
    x = torch.rand(1, 1, 64, 64)
    features = network.encoder.eval()(x)
    assert all(torch.isfinite(f).all() and f.std() > 0 for f in features[1:])
    with pytest.raises(ParameterError, match="tu-efficientnet_lite0"):
        load_imagenet(network, "resnet18")


def test_imagenet_weights_that_are_missing_are_named(monkeypatch, tmp_path):
    from cellcount.registry import weights

    monkeypatch.setattr(weights.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv("CELLCOUNT_CACHE", str(tmp_path))
    network = build(Settings(encoder="tu-efficientnet_lite0", widths=(8, 8, 8)))
    with pytest.raises(NotAvailableError, match="efficientnet-lite0"):
        load_imagenet(network, "tu-efficientnet_lite0")


def test_interval_study_counts_fields_that_nobody_trained_on(tmp_path):
    from cellcount.companion.studies import interval_coverage
    from cellcount.methods import cellnet

    train = phantom.load("train", fields=1, size=(128, 128))[0]
    weights = cellnet.fit([train], out=tmp_path / "w.safetensors", device="cpu", progress=False, **TINY)
    out = tmp_path / "intervals.csv"
    frame = interval_coverage.counted(
        weights, out=out, calibration=4, test=4, size=(96, 96), device="cpu", progress=False
    )
    assert frame.group.value_counts().to_dict() == {"calibration": 4, "test": 4, "sheets": 2}
    table = interval_coverage.table(frame, levels=(0.5, 0.6))
    assert (table.coverage.between(table.low, table.high)).all()
    rule = interval_coverage.rule_of(frame, 0.6)
    test = frame[frame.group == "test"]
    inside = [rule.interval(c)[0] <= n <= rule.interval(c)[1] for c, n in zip(test["count"], test.n_true, strict=True)]
    assert table[(table.group == "test") & (table.level == 0.6)].coverage.item() == np.mean(inside)
    seen = {tuple(f.points[0]) for group in ("calibration", "test") for f in
            interval_coverage.fields("mixed", 2, interval_coverage.seed_of(group=group, seed=0), (96, 96))}  # fmt: skip
    assert len(seen) == 4


def test_second_pass_finds_the_added_cells_where_they_are():
    from cellcount.companion.studies import annotations

    crowd = np.stack(np.meshgrid(np.arange(20, 60, 10), np.arange(20, 60, 10)), -1).reshape(-1, 2).astype(np.float32)
    lone = np.float32([[200 * i, 900] for i in range(16)])
    first = Sample("s", np.zeros((64, 64), np.float32), np.concatenate([crowd[3:], lone[1:]]), dead=crowd[:1])
    found = annotations.second_pass(first, np.concatenate([crowd, lone]))
    # A dead cell that became live was not added; the lone cell that was is far from all of the first pass.
    assert (found["second_live"], found["added"], found["added_near"]) == (32, 3, 2)
    assert np.isnan(found["added_share_1"]) and found["added_share_2"] == 1 / 16  # lone cells are the second quarter


def test_statistics_of_the_thesis_annotations_are_the_committed_ones(tmp_path):
    if registry.find("thesis", "images/1.jpg") is None or registry.find("thesis", "images/2.jpg") is None:
        pytest.skip("the thesis data is not on this machine")
    out = tmp_path / "annotations.csv"
    assert main(["bench", "annotations", "--out", str(out)]) == 0
    assert out.read_bytes() == (root() / "results" / "thesis-annotations.csv").read_bytes()
