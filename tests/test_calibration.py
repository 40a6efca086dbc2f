"""What a training finds out about its counts, and keeps in the weights: peaks or density, threshold, intervals."""

import json
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load_file
from scenes import scene

import cellcount
from cellcount.cli.train import told
from cellcount.companion.studies import interval_coverage
from cellcount.errors import DataError, ParameterError
from cellcount.methods import cellnet
from cellcount.methods.cellnet import calibration
from cellcount.methods.cellnet.calibration import Counting, Part, amended, chosen, grid, split, trusted
from cellcount.methods.cellnet.settings import Settings
from cellcount.metrics import IntervalRule, calibrate_parts, coverage
from cellcount.types import Sample

TINY = {"widths": (8, 8), "crop": 32, "batch": 2, "device": "cpu", "progress": False, "start": None}
RULE = IntervalRule(0.8, 1.25, 0.9, 3, 18, 0.2)
FULL = {"complete": True, "asked": Settings()}
SETTINGS = Settings(factor=1, detail=1, sigma=2.5, peak_distance=4.0, threshold=0.6, density_scale=1.5)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Weights whose counts have intervals, from a training too short to find cells."""
    out = tmp_path_factory.mktemp("weights") / "w.safetensors"
    return cellnet.fit([scene(0), replace(scene(1), pixel_size_um=0.5)], out=out, folds=2, steps=4, **TINY)


def test_an_entry_survives_json():
    entry = Counting("density", "why", 24.5, 0.5, RULE, {"a": [1.5, 2]}, 0.8)
    assert Counting.of({"counting": json.loads(json.dumps(entry.to_json()))}) == entry
    assert (
        Counting.of({}) == Counting() and Counting.of({"counting": {"count": "density", "later": 1}}).count == "density"
    )
    with pytest.raises(ParameterError, match="'both'"):
        Counting("both")


def test_training_writes_what_it_found(weights):
    found = Counting.of(cellnet.about(weights))
    assert found.interval.fields == 1 and found.interval.blocks == 6 and found.interval.level == 0.9
    assert "6 parts of 1 field left" in found.why and "every cell is annotated" in found.why
    assert 18 < found.spacing < 26 and found.pixel_size_um is None  # only one of the images has a pixel size
    assert found.best_score > 0


def test_folds_leave_the_tensors_as_they_are(weights, tmp_path):
    again = cellnet.fit([scene(0), replace(scene(1), pixel_size_um=0.5)], out=tmp_path / "a.safetensors", folds=2,
                        steps=4, **TINY)  # fmt: skip
    assert again.read_bytes() == weights.read_bytes()
    plain = cellnet.fit([scene(0), scene(1)], out=tmp_path / "b.safetensors", steps=4, **TINY)
    first, second = load_file(weights), load_file(plain)
    assert all((first[name] == second[name]).all() for name in first)
    found = Counting.of(cellnet.about(plain))
    assert (found.count, found.why, found.interval) == ("peaks", "", None) and found.spacing


def test_train_calibrates_and_the_command_tells(tmp_path):
    settings = {name: value for name, value in TINY.items() if name != "start"} | {"steps": 2, "start": None}
    out = cellcount.train([scene(0)], out=tmp_path / "w.safetensors", **settings)
    about = cellnet.about(out)["counting"]
    lines = told(about)
    assert "one field does not tell how fields differ" in lines and "interval of a count of 1,000" in lines
    assert cellnet.about(out.with_suffix(".onnx"))["counting"] == about
    bare = cellcount.train([scene(0)], out=tmp_path / "b.safetensors", folds=0, **settings)
    assert "folds=0" in told(cellnet.about(bare)["counting"])
    unsure = replace(scene(0), meta={"probability": np.full(25, 0.5) + 0.5 * (np.arange(25) % 2)})
    taught = cellcount.train([unsure], out=tmp_path / "c.safetensors", **settings)
    assert "probabilities" in told(cellnet.about(taught)["counting"])
    with pytest.raises(ParameterError, match="folds=1"):
        cellnet.fit([scene(0)], out=tmp_path / "d.safetensors", folds=1)


def test_amended_changes_the_entry_alone(weights, tmp_path):
    out = amended(weights, tmp_path / "new.safetensors", count="density", interval=RULE, looks={"contrast": 1.0})
    before, after = cellnet.about(weights), cellnet.about(out)
    assert Counting.of(after) == replace(Counting.of(before), count="density", interval=RULE, looks={"contrast": 1.0})
    assert {**before, "counting": 0} == {**after, "counting": 0}
    start = [int.from_bytes(path.read_bytes()[:8], "little") + 8 for path in (weights, out)]
    assert weights.read_bytes()[start[0] :] == out.read_bytes()[start[1] :]
    with pytest.raises(ParameterError, match="threshold"):
        amended(weights, threshold=0.5)
    with pytest.raises(ParameterError, match="'cells'"):
        amended(weights, count="cells")
    (tmp_path / "no.safetensors").write_bytes(b"no")
    with pytest.raises(DataError, match=r"no\.safetensors"):
        amended(tmp_path / "no.safetensors", count="peaks")


def test_a_count_has_an_interval_unless_it_is_not_the_weights_own(weights, tmp_path):
    own = amended(weights, tmp_path / "w.safetensors", count="density", interval=RULE)
    image, plain = scene(2).image, {"device": "cpu", "weights": own}
    found = cellnet.predict(image, **plain)
    assert found.count == pytest.approx(found.density.sum(), rel=1e-3) and found.count != len(found.points)
    assert found.count_interval == RULE.interval(found.count) == cellnet.interval(found.count, **plain)
    for change in ({"count": "peaks"}, {"threshold": 0.1}, {"averaging": 2}):
        assert cellnet.predict(image, **plain, **change).count_interval is None
        assert cellnet.interval(10, **plain, **change) is None
    same = cellnet.about(own)["settings"]["threshold"]
    assert cellnet.predict(image, **plain, count="density", threshold=same).count_interval == found.count_interval
    assert cellnet.predict(image, **plain, count="peaks").count == len(found.points)
    exported = cellnet.export(own, tmp_path / "x.onnx")
    assert Counting.of(cellnet.about(exported)) == Counting.of(cellnet.about(own))
    assert cellnet.predict(image, weights=exported).count_interval == pytest.approx(found.count_interval, rel=1e-3)


def test_the_interval_of_a_tiled_image_is_that_of_its_whole_count(weights, tmp_path, monkeypatch):
    own = amended(weights, tmp_path / "w.safetensors", count="density", interval=RULE)
    monkeypatch.setattr("cellcount.counting.TILE", 320)
    result = cellcount.count(scene(3, (500, 500), 60).image, weights=own, device="cpu")
    assert result.interval == RULE.interval(result.count)


def parts(true, found, density=None, fields=12):
    """Parts of fields with so many true and found cells, all peaks of height 1, and a density."""
    density = true if density is None else density
    return [
        Part(i % fields, int(n), np.ones(int(m)), float(d)) for i, (n, m, d) in enumerate(zip(true, found, density))
    ]


def test_density_counts_where_peaks_merge():
    true = np.random.default_rng(0).integers(5, 60, 72)
    merged = true - true**2 // 100  # the more, the closer
    settings, found = chosen(parts(true, merged, 2.0 * true), SETTINGS, 1.0, **FULL)
    assert found.count == "density" and "by peaks" in found.why
    assert settings.density_scale == pytest.approx(1.5 / 2, rel=0.01)
    assert found.interval.interval(100)[1] < 103


def test_peaks_count_where_they_are_as_good_or_cells_are_not_annotated():
    true = np.random.default_rng(0).integers(5, 60, 72)
    settings, found = chosen(parts(true, true, 2.0 * true + 1), SETTINGS, 1.0, **FULL)
    assert found.count == "peaks" and found.interval.interval(100)[0] > 97
    sparse = {"complete": False, "asked": Settings()}
    settings, found = chosen(parts(true, true - true**2 // 100, true), replace(SETTINGS, threshold=0.5), 0.8, **sparse)
    assert found.count == "peaks" and settings.threshold == 0.5 and settings.density_scale == 1.5
    assert "annotation is reliable" in found.why and found.interval.interval(100)[0] > 100
    shape = replace(SETTINGS, target="peak")
    assert chosen(parts(true, true // 2, true), shape, 1.0, **FULL)[1].count == "peaks"  # it has no density


def test_the_threshold_makes_complete_counts_unbiased():
    """Cells of heights around .8 of a typical peak, and as many false peaks around .4."""
    rng = np.random.default_rng(0)
    heights = [np.sort(np.concatenate([rng.normal(0.8, 0.1, 20), rng.normal(0.4, 0.1, 20)])) for _ in range(30)]
    given = [Part(i, 20, one, 99.0 * (i % 2)) for i, one in enumerate(heights)]
    settings, _ = chosen(given, replace(SETTINGS, threshold=0.15), 0.5, **FULL)
    assert sum((one * 0.5 >= settings.threshold).sum() for one in heights) == pytest.approx(600, rel=0.03)
    assert chosen(given[:2], replace(SETTINGS, threshold=0.3), 0.5, **FULL)[0].threshold == 0.3  # not worth correcting
    kept, _ = chosen(given, replace(SETTINGS, threshold=0.45), 1.0, complete=True, asked=Settings(threshold=0.45))
    assert kept.threshold == 0.45
    none, _ = chosen([Part(0, 9, np.array([0.5]), 1.0)] * 2, SETTINGS, 1.0, **FULL)
    assert none.threshold == calibration.LIMITS[0]  # more cells than peaks
    empty, found = chosen([Part(0, 0, np.array([0.5]), 1.0)] * 2, SETTINGS, 1.0, **FULL)
    assert empty.threshold == 0.6 and found.interval.interval(0)[0] == 0


def test_parts_cover_an_image_once():
    for shape, factor, first in (((100, 130), 2, (0, 0)), ((130, 100), 4, (8, 4)), ((7, 5), 2, (0, 0))):
        covered = np.zeros(np.add(shape, first), int)
        for rows, columns in grid(shape, factor, first):
            covered[rows, columns] += 1
            assert rows.start % factor == columns.start % factor == 0
        assert (covered[first[0] :, first[1] :] == 1).all() and covered.sum() == np.prod(shape)
    assert len(grid((100, 130))) == 6 and grid((100, 150))[0] == (slice(0, 50), slice(0, 50))


def test_folds_are_images_or_strips_with_a_gap():
    settings = Settings(factor=1, detail=1, sigma=4.0, peak_distance=6.4)  # spacing 20 px
    images = [scene(seed, n=5 + seed) for seed in range(5)]
    folds = list(split(images, 3, settings))
    assert [len(fold.samples) for fold in folds] == [3, 4, 3]
    assert sorted({index for fold in folds for index, *_ in fold.parts}) == [0, 1, 2, 3, 4]
    assert [len(list(split(images[:n], 3, settings))) for n in (2, 1)] == [2, 3]
    one = scene(0, (160, 300), 60)
    for fold in split([one], 3, settings):
        left = np.zeros(one.image.shape, bool)
        for _, rows, columns in fold.parts:
            left[rows, columns] = True
        kept = fold.samples[0]
        columns = np.flatnonzero(left.any(axis=0))
        near = np.abs(np.arange(300)[:, None] - columns).min(axis=1) <= 40 - 1
        assert not kept.valid[:, near].any() and kept.valid[:, ~near].sum() >= kept.valid[:, ~near].size - 2 * 160
        assert len(kept.points) == (~left[tuple(np.rint(one.points).astype(int).T)]).sum()
    few = [Sample("a", np.zeros((90, 90), np.float32), np.array([[40.0, 80]])), scene(1, n=0)]
    assert len(list(split(few, 3, settings))) == 2  # the third network would have no point to learn from


def test_trusted_points_are_in_the_part_and_valid():
    valid = np.ones((10, 10), bool)
    valid[2, 2] = False
    sample = Sample("a", np.zeros((10, 10), np.float32), valid=valid)
    points = np.array([[2.2, 1.9], [0, 0], [4.6, 3], [-0.4, 9.4]])
    assert trusted(sample, points, (slice(0, 5), slice(0, 10))).tolist() == [False, True, False, True]
    assert trusted(sample, points[:0], (slice(0, 5), slice(0, 10))).shape == (0,)


def simulated(rng, fields, tau, phi=0.3, bias=1.2):
    """True and counted cells in six parts of fields that share an error of sd tau."""
    of_field = np.repeat(np.arange(fields), 6)
    counts = rng.poisson(np.repeat(rng.uniform(10, 60, fields), 6)).astype(float)
    ratio = bias * np.exp(rng.normal(0, tau, fields))[of_field]
    true = np.maximum(0, np.rint(counts * ratio + rng.normal(0, 1, len(counts)) * np.sqrt(phi * counts)))
    return true, counts, of_field


@pytest.mark.parametrize(
    "fields, tau, least, most", [(60, 0.1, 0.88, 0.92), (25, 0.0, 0.87, 0.94), (8, 0.1, 0.86, 0.96)]
)
def test_intervals_cover_what_they_promise(fields, tau, least, most):
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(60):
        rule = calibrate_parts(*simulated(rng, fields, tau))
        true, counts, of_field = simulated(rng, 50, tau)
        true, counts = np.bincount(of_field, true), np.bincount(of_field, counts)
        covered.append(coverage(true, [rule.interval(count) for count in counts]))
    assert least < np.mean(covered) < most


def test_relative_width_shrinks_with_the_count_down_to_what_a_field_shares():
    true, counts, of_field = simulated(np.random.default_rng(1), 40, 0.05)
    rule = calibrate_parts(true, counts, of_field)
    widths = [(high - low) / count for count in (10, 100, 1000, 1e6) for low, high in [rule.interval(count)]]
    assert widths == sorted(widths, reverse=True)
    assert widths[-1] == pytest.approx(rule.high - rule.low, rel=0.01) and widths[0] > 3 * widths[-1]
    low, high = rule.interval(0)
    assert low == 0 < high


def test_a_rule_of_very_little():
    one = calibrate_parts([10, 12, 9, 11], [10, 10, 10, 10], ["a"] * 4)
    assert one.fields == 1 and one.blocks == 4 and one.interval(100)[0] < 85 and one.interval(100)[1] > 115
    exact = calibrate_parts([10, 10], [10, 10], [0, 0])
    assert exact.interval(10)[0] < 10 < exact.interval(10)[1]  # no error in two parts is luck
    assert calibrate_parts([5, 6], [5, 5], [0, 1]).fields == 2  # one part each
    assert calibrate_parts([0, 0, 0], [0, 0, 0], [0, 1, 2]).interval(0)[1] < 0.1
    with pytest.raises(ParameterError, match="1 part"):
        calibrate_parts([5], [5], [0])
    with pytest.raises(ParameterError, match="one of each"):
        calibrate_parts([5, 6], [5, 6], [0])
    with pytest.raises(ParameterError, match="level=90"):
        calibrate_parts([5, 6], [5, 6], [0, 1], 90)


def test_the_study_counts_fields_that_the_networks_have_not_seen(tmp_path):
    small = {name: value for name, value in TINY.items() if name not in ("progress", "start")} | {"steps": 2}
    fields = [scene(seed, (64, 80), 6) for seed in range(4)]
    options = {"out": tmp_path / "rows.csv", "dataset": "scenes", "progress": False} | small
    frame = interval_coverage.in_training(fields, draws={3: 2}, **options)
    assert frame.groupby("draw").size().to_dict() == {0: 1, 1: 1} and (frame.low <= frame.high).all()
    frame = interval_coverage.in_training(fields[:2], pool=fields[2:], draws={1: 1}, **options)
    assert sorted(frame.image) == ["scene-0", "scene-1"]
    frame = frame.assign(n_true=10, count=[9.0, 12.0], low=[8, 11], high=[10, 14])
    line = interval_coverage.coverage_in_training(frame).iloc[0]
    assert (line.coverage, line.bias, line.error) == pytest.approx((0.5, 0.05, 0.15)) and line.fields == 2
