"""Result rows: raw counts, both readings, provenance; and what is summed up from them."""

import numpy as np
import pandas as pd
import pytest

from cellcount import results
from cellcount.errors import DataError
from cellcount.methods import blobs
from cellcount.types import Prediction, Sample


def example(name="field", seed=0):
    """12 true points; 10 of them found, one false near them, one far from all."""
    grid = np.stack(np.meshgrid([30, 80, 130], [30, 80, 130, 180], indexing="ij"), -1).reshape(-1, 2).astype(float)
    rng = np.random.default_rng(seed)
    found = np.concatenate([grid[:10] + rng.uniform(-2, 2, (10, 2)), [[30, 50]], [[190, 250]]])
    prediction = Prediction(found, np.ones(12), 12.5, meta={"method": "test", "device": "cpu", "weights_sha256": "ab"})
    return Sample(name, np.zeros((200, 260), np.float32), grid), prediction


def test_both_readings_are_kept_apart():
    sample, prediction = example()
    frame = results.rows(sample, prediction, tolerances=[12], dataset="made", parts=0)
    whole, near = frame.iloc[0], frame.iloc[1]
    assert (whole.reading, whole.tp, whole.fp, whole.fn) == ("whole", 10, 2, 2)
    assert (near.reading, near.tp, near.fp, near.fn) == ("near", 10, 1, 2)
    assert whole["count"] == 12.5 and np.isnan(near["count"])
    assert (whole.n_true, whole.n_pred) == (12, 12)


def test_parts_add_up_to_the_whole():
    sample, prediction = example()
    frame = results.rows(sample, prediction, tolerances=[12, 6], dataset="made")
    for reading in ("whole", "near"):
        group = frame[(frame.reading == reading) & (frame.tolerance_px == 12)]
        parts, whole = group[group.part != "all"], group[group.part == "all"].iloc[0]
        assert len(parts) == 16
        assert parts[["tp", "fp", "fn"]].sum().tolist() == whole[["tp", "fp", "fn"]].tolist()


def test_every_row_says_where_it_comes_from():
    sample, prediction = example()
    frame = results.rows(
        sample,
        prediction,
        tolerances=[12],
        dataset="made",
        parameters={"steps": 3},
        chapter="04",
        seed=5,
        profile="smoke",
    )
    assert list(frame.columns) == results.COLUMNS
    row = frame.iloc[0]
    assert row.parameters == '{"steps": 3}' and row.seed == 5 and row.profile == "smoke" and row.weights_sha256 == "ab"
    assert row.peak_memory_mb > 10 and row.commit and len(row.run) == 12
    same = results.rows(sample, prediction, tolerances=[12], dataset="made", parameters={"steps": 3}, seed=5)
    other = results.rows(sample, prediction, tolerances=[12], dataset="made", parameters={"steps": 4}, seed=5)
    assert row.run == same.run[0] != other.run[0]


def test_summary_pools_and_gives_an_interval():
    frames = [results.rows(*example(f"f{i}", i), tolerances=[12], dataset="made") for i in range(2)]
    table = results.summary(pd.concat(frames)).set_index("reading")
    assert table.f1["whole"] == pytest.approx(2 * 20 / (2 * 20 + 4 + 4))
    assert table.resampled["whole"] == "parts"  # two images are too few to resample
    assert table.f1_low["near"] <= table.f1["near"] <= table.f1_high["near"]
    many = pd.concat([results.rows(*example(f"f{i}", i), tolerances=[12], dataset="made", parts=0) for i in range(6)])
    assert set(results.summary(many).resampled) == {"images"}


def test_rows_survive_the_file(tmp_path):
    frame = results.rows(*example("007"), tolerances=[12], dataset="made")
    again = results.read(results.write(frame, tmp_path / "deep" / "rows.csv"))
    assert again.image.tolist() == frame.image.tolist()  # not the number 7
    assert again.part.tolist() == frame.part.tolist()
    assert results.summary(again).f1.tolist() == results.summary(frame).f1.tolist()


def test_bad_files_are_named(tmp_path):
    with pytest.raises(DataError, match="none.csv"):
        results.read(tmp_path / "none.csv")
    (tmp_path / "odd.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="odd.csv: .*run"):
        results.read(tmp_path / "odd.csv")


def test_what_is_not_annotated_cannot_be_scored():
    _, prediction = example()
    with pytest.raises(DataError, match="bare"):
        results.rows(Sample("bare", np.zeros((9, 9), np.float32)), prediction, tolerances=[12], dataset="made")


def test_timed_adds_seconds():
    prediction = results.timed(blobs.predict, np.zeros((64, 64), np.float32))
    assert prediction.meta["seconds"] > 0 and prediction.meta["method"] == "blobs"


def masks_of(*windows, shape=(60, 60)):
    """Labels (H, W) with one rectangle for each (y0, y1, x0, x1), and the prediction that has them."""
    labels = np.zeros(shape, np.int32)
    for i, (y0, y1, x0, x1) in enumerate(windows):
        labels[y0:y1, x0:x1] = i + 1
    centres = [((y0 + y1) / 2, (x0 + x1) / 2) for y0, y1, x0, x1 in windows]
    meta = {"method": "test", "weights_sha256": "ab"}
    return Prediction(centres, np.ones(len(windows)), float(len(windows)), labels=labels, meta=meta)


def test_mask_rows_hold_counts_against_true_masks_and_drawn_boxes():
    true = masks_of((0, 20, 0, 10), (30, 50, 30, 50))
    found = masks_of((0, 20, 0, 10), (30, 50, 30, 42), (52, 58, 0, 9))  # one exact, one with an IoU of .6, one false
    boxes = np.array([[-0.5, -0.5, 19.5, 9.5], [29.5, 29.5, 49.5, 49.5], [0, 40, 10, 50]])
    sample = Sample("f", np.zeros((60, 60), np.float32), true.points, labels=true.labels, boxes=boxes)
    frame = results.mask_rows(sample, found, dataset="made", parameters={"a": 1}, chapter="09", seed=3, profile="smoke")
    assert list(frame.columns) == results.MASK_COLUMNS
    against = frame.set_index(["against", "iou_threshold"])
    assert against.loc["masks", 0.5][["tp", "fp", "fn"]].tolist() == [2, 1, 0]
    assert against.loc["masks", 0.75][["tp", "fp", "fn"]].tolist() == [1, 2, 1]
    assert against.loc["boxes", 0.5][["tp", "fn"]].tolist() == [2, 1] and np.isnan(against.loc["boxes", 0.5].fp)
    assert against.loc["boxes", 0.5].iou_sum == pytest.approx(1.6)
    assert set(frame.n_masks) == {3} and set(frame.weights_sha256) == {"ab"} and set(frame.seed) == {3}
    (line,) = results.mask_summary(pd.concat([frame, frame.assign(run="other")])).itertuples()
    assert (line.n_masks, line.ap50, line.ap75) == (6, pytest.approx(2 / 3), pytest.approx(1 / 4))
    assert line.pq == pytest.approx(1.6 / 2.5) and line.box_iou == pytest.approx(1.6 / 3)
    assert line.box_half == pytest.approx(2 / 3)


def test_mask_rows_without_masks_or_boxes_still_count_what_was_found():
    frame = results.mask_rows(example()[0], masks_of((0, 5, 0, 5), shape=(200, 260)), dataset="made")
    assert frame.against.tolist() == ["nothing"] and frame.n_masks.tolist() == [1]
    assert list(results.mask_summary(frame).columns) == ["method", "n_masks"]


def test_points_and_masks_of_one_prediction_belong_to_one_run():
    sample, prediction = example()[0], masks_of((0, 5, 0, 5), shape=(200, 260))
    common = {"dataset": "made", "parameters": {"steps": 3}, "seed": 5}
    points = results.rows(sample, prediction, tolerances=[12], **common)
    assert set(points.run) == set(results.mask_rows(sample, prediction, **common).run)
