"""Flasks: the mean of their fields with its interval, and which image belongs to which flask."""

import csv
import json
import math

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy import stats

from cellcount import cli, registry
from cellcount.companion.studies import device, flask_coverage
from cellcount.data import phantom
from cellcount.errors import DataError, ParameterError
from cellcount.results.grouping import grouping
from cellcount.results.groups import Field, group_counts

COUNTS = (90.0, 100.0, 110.0, 120.0)
HALF = stats.t.ppf(0.95, 3) * np.std(COUNTS, ddof=1) / 2  # of four fields: t s / sqrt(4)


def of(counts=COUNTS, **about):
    return [Field(f"f{number}", count, **about) for number, count in enumerate(counts)]


def test_the_spread_between_fields_gives_students_interval():
    group = group_counts("A", of())
    assert (group.fields, group.mean, group.images) == (4, 105, ("f0", "f1", "f2", "f3"))
    assert (group.low, group.high) == pytest.approx((105 - HALF, 105 + HALF))
    assert group.sampling == pytest.approx(HALF) and group.counting is None and group.per_mm2 is None
    assert group.spread == pytest.approx(np.std(COUNTS, ddof=1) / 105)
    assert any("error of the counts" in note and "f3" in note for note in group.notes)


def test_the_error_of_the_counts_is_added_and_does_not_average_out():
    fields = [Field(f"f{n}", count, (count - 12, count + 18)) for n, count in enumerate(COUNTS)]
    group = group_counts("A", fields)
    half = math.hypot(HALF * 108 / 105, 15)  # 3 higher: the counts are biased by that
    assert (group.low, group.high) == pytest.approx((108 - half, 108 + half))
    assert (group.mean, group.counting, group.notes) == (105, 15, ())
    known = group_counts("A", fields, interval=lambda count: (count - 8, count + 8))
    assert (known.counting, known.high) == (2, pytest.approx(105 + math.hypot(HALF, 2)))  # of the sum of four counts
    many = [Field(f"f{n}", 100.0, (88.0, 118.0)) for n in range(50)]
    assert (group_counts("A", many).low, group_counts("A", many).high) == (88, 118)
    partly = group_counts("A", [*fields[:3], Field("f3", COUNTS[3])])
    assert partly.counting is None and any("1 (f3)" in note for note in partly.notes)


def test_areas_give_densities_and_the_flask_a_finite_population():
    group = group_counts("A", of(shape=(1000, 2000), pixel_size_um=0.5), area_cm2=0.04)  # 0.5 mm2: 8 fields
    half = HALF * math.sqrt(1 - 4 / 8)
    assert (group.field_mm2, group.per_mm2, group.per_flask) == (0.5, 210, 840)
    assert (group.low, group.high) == pytest.approx((105 - half, 105 + half))
    assert (group.per_mm2_low, group.per_flask_high) == pytest.approx((2 * group.low, 8 * group.high))
    small = group_counts("A", of(shape=(1000, 2000), pixel_size_um=0.5), area_cm2=0.01)
    assert small.per_flask is None and small.per_mm2 == 210 and "0.02 cm2" in "".join(small.notes)


def test_fields_of_two_magnifications_are_joined_by_area():
    """Equal densities: all of the spread of the counts is that of the areas."""
    wide = [Field(f"10x-{n}", 400.0, shape=(100, 100), pixel_size_um=2.0) for n in range(2)]
    near = [Field(f"20x-{n}", 100.0, shape=(100, 100), pixel_size_um=1.0) for n in range(2)]
    group = group_counts("A", wide + near)
    assert (group.mean, group.per_mm2) == pytest.approx((250, 10000))
    assert group.sampling == pytest.approx(0, abs=1e-6) and "0.01 to 0.04 mm2" in "".join(group.notes)
    bare = group_counts("A", [Field("a", 4.0, shape=(10, 10)), Field("b", 9.0, shape=(20, 10))])
    assert any("different sizes in px" in note for note in bare.notes)
    scaled = group_counts("A", [Field("a", 4.0, scale=0.5), Field("b", 9.0, scale=1.0)])
    assert any("2.0 times as wide" in note for note in scaled.notes)
    mixed = group_counts("A", [wide[0], Field("b", 9.0, shape=(100, 100))])
    assert any("1 (b)" in note and "pixel size" in note for note in mixed.notes)


def test_one_field_no_cell_and_no_field():
    alone = group_counts("A", of([50.0], interval=(40.0, 60.0)))
    assert (alone.mean, alone.low, alone.high) == (50, None, None) and "one field" in alone.notes[0]
    empty = group_counts("A", of([0.0] * 5))
    assert (empty.low, empty.spread) == (0, None) and empty.high == pytest.approx(-math.log(0.05) / 5)
    with pytest.raises(ParameterError, match="at least one"):
        group_counts("A", [])
    with pytest.raises(ParameterError, match="area -3"):
        group_counts("A", of(), area_cm2=-3)


def test_fields_counted_with_a_warning_are_named():
    odd = Field("odd", 3.0, warnings=("The image does not look like the training images.",))
    notes = "".join(group_counts("A", [*of(), odd]).notes)
    assert "1 (odd): counted with a warning: The image does not" in notes


def test_intervals_of_flasks_cover_if_the_method_is_biased_the_same_way_everywhere():
    """Each flask: five fields around its mean, by a method whose bias no field tells."""
    rng = np.random.default_rng(0)
    hits = {True: [], False: []}
    for _ in range(400):
        mean, bias = rng.uniform(50, 200), rng.normal(0, 0.1)
        counts = rng.normal(mean, 0.1 * mean, 5) * (1 + bias)
        for known in hits:
            reach = 1.645 * 0.1 * known
            fields = [Field("f", c, (c * (1 - reach), c * (1 + reach))) for c in counts]
            group = group_counts("A", fields)
            hits[known].append(group.low <= mean <= group.high)
    assert 0.86 < np.mean(hits[True]) < 0.95 and np.mean(hits[False]) < 0.75


@pytest.fixture(scope="module")
def field():
    return (255 * phantom.simulate(0, (150, 150)).image).astype(np.uint8)


@pytest.fixture
def plate(tmp_path, monkeypatch, field):
    """plate/A and plate/B with three parts of a simulated field each."""
    monkeypatch.chdir(tmp_path)
    for group, left in (("A", 0), ("B", 50)):
        (tmp_path / "plate" / group).mkdir(parents=True)
        for number in range(3):
            part = field[40 * number :, left:][:64, :96]
            Image.fromarray(part).save(tmp_path / "plate" / group / f"{group}{number}.png")
    return tmp_path / "plate"


def images(plate):
    return sorted(plate.glob("*/*.png"))


def table(path, *lines):
    path.write_text("\n".join(lines) + "\n")
    return path


def test_images_are_named_by_name_or_path_with_suffix_or_without(plate):
    lines = ["image,group", "A0,one", "A1.png,one", "plate/A/A2.png,one", "b/B0,two", f"{plate}/B/B1.png,two", "B2,two"]
    found = grouping(table(plate / "flask.csv", *lines), images(plate))
    assert [*found.groups.values()] == ["one"] * 3 + ["two"] * 3 and found.problems == []


def test_semicolons_areas_and_pixel_sizes_of_a_spreadsheet(plate):
    lines = ["\ufeffImage; Group ;pixel_size_um;area_cm2", "A0;A;0.65;75", "A1;A;;", ";;;", "A2;A;0.65;75"]
    found = grouping(table(plate / "flask.csv", *lines), images(plate)[:3], area_cm2=150)
    assert (found.problems, found.areas_cm2) == ([], {"A": 75}) and [*found.pixel_sizes_um.values()] == [0.65] * 2


@pytest.mark.parametrize(
    "line, told",
    [
        ("A0,B", "in 2 groups: A (line 2); B (line 3). It counts in none"),
        ("nope.png,A", "line 3: nope.png: no such image was given"),
        (",A", "line 3: without image"),
        ("A1,", "line 3: without group"),
        ('A1,A,"0,65"', "pixel_size_um '0,65' is not used"),
        ("A1,A,,-3", "area_cm2 '-3' is not used"),
        ("A0,A,0.7,", "pixel_size_um 0.7 of A0 is not used, since it was 0.5"),
    ],
)
def test_a_line_that_cannot_be_used_is_named_and_costs_no_other(plate, line, told):
    lines = ["image,group,pixel_size_um,area_cm2", "A0,A,0.5,", line, "A2,A,,"]
    found = grouping(table(plate / "flask.csv", *lines), images(plate)[:3])
    assert any(told in problem for problem in found.problems)
    assert [*found.groups.values()].count("A") >= 1 and "B" not in found.groups.values()


def test_images_without_group_and_names_of_two_images_are_named(plate):
    (plate / "A" / "B0.png").write_bytes((plate / "A" / "A0.png").read_bytes())
    found = grouping(table(plate / "flask.csv", "image,group,note", "B0,two", "A/A1,one"), images(plate))
    assert [*found.groups.values()] == ["one"]
    columns, several, bare = found.problems
    assert "not read: note" in columns and "B0: it names 2 images" in several and "6 images are in no group" in bare


@pytest.mark.parametrize(
    "content, told",
    [
        (None, "no such table"),
        ("picture,flask\na,b\n", "no column image, group"),
        ("", "has nothing"),
        (b"\xff", "UTF-8"),
    ],
)
def test_a_table_that_cannot_be_read_stops_before_anything_is_counted(plate, capsys, content, told):
    if content is not None:
        (plate / "flask.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=told):
        grouping(plate / "flask.csv", images(plate))
    assert cli.main(["count", "plate/A", "--out", "counts", "--group", "plate/flask.csv", "--method", "blobs"]) == 3
    assert told in capsys.readouterr().err and not (plate.parent / "counts").exists()


def test_folders_are_named_by_what_tells_them_apart(tmp_path):
    paths = [tmp_path / name for name in ("1/A/images/x.png", "1/B/x.png", "2/A/x.png")]
    assert [*grouping("folder", paths).groups.values()] == ["1/A", "1/B", "2/A"]
    assert [*grouping("folder", paths[:2]).groups.values()] == ["A", "B"]
    assert [*grouping("folder", [tmp_path / "a.png"]).groups.values()] == [tmp_path.name]


def count(*arguments):
    return cli.main(["count", *map(str, arguments), "--out", "counts", "--method", "blobs"])


def summary():
    with open("counts/summary.json") as file:
        return json.load(file)


def test_groups_are_printed_and_written(plate, capsys):
    table(
        plate / "f.csv",
        "image,group,pixel_size_um,area_cm2",
        *(f"{p.stem},{p.parent.name},0.5,75" for p in images(plate)),
    )
    assert count("plate/A", "plate/B", "--group", "plate/f.csv") == 0
    printed = capsys.readouterr().out
    assert "cells per field" in printed and "per flask" in printed and "A: the interval is too narrow" in printed
    assert "…" not in printed
    content = summary()
    counts = {record["name"]: record["count"] for record in content["images"]}
    first, second = content["groups"]
    assert (first["group"], first["images"], second["group"]) == ("A", ["A0", "A1", "A2"], "B")
    assert first["mean"] == pytest.approx(np.mean([counts[name] for name in first["images"]]), rel=1e-5)
    assert first["per_mm2"] == pytest.approx(first["mean"] / (64 * 96 * 0.25e-6), rel=1e-5)
    with open("counts/groups.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["per_flask_low"]) for row in rows] == [one["per_flask_low"] for one in content["groups"]]
    assert count("plate/A", "--group", "folder", "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert [one["group"] for one in answer["groups"]] == ["A"] and answer["group_problems"] == []


def test_groups_of_earlier_calls_stay_with_the_present_counts(plate, capsys):
    assert count("plate/A", "--group", "folder") == 0
    assert count("plate/B", "--group", "folder", "--area", 75) == 0
    assert [one["group"] for one in summary()["groups"]] == ["A", "B"]
    assert "pixel size" in "".join(summary()["groups"][1]["notes"])
    assert count("plate/A", "-p", "threshold", "0.9") == 0  # no groups in this call
    first, second = summary()["groups"]
    counts = {record["name"]: record["count"] for record in summary()["images"]}
    assert first["mean"] == pytest.approx(np.mean([counts[f"A{n}"] for n in range(3)]), rel=1e-5)
    table(plate / "f.csv", "image,group", "A0,new", "A1,new", "B0,new")
    assert count("plate/A", "plate/B/B0.png", "--group", "plate/f.csv") == 0
    groups = {one["group"]: one for one in summary()["groups"]}
    assert groups["new"]["images"] == ["A0", "A1", "B0"] and groups["B"]["images"] == ["B1", "B2"]
    assert "1 image is in no group" in capsys.readouterr().err


def test_an_image_that_cannot_be_counted_is_named_beside_its_group(plate, capsys):
    (plate / "A" / "A1.png").write_bytes(b"no image")
    (plate / "C").mkdir()
    (plate / "C" / "C0.png").write_bytes(b"no image")
    assert count("plate/A", "plate/B", "plate/C", "--group", "folder") == 3
    first, _ = summary()["groups"]
    assert first["images"] == ["A0", "A2"] and "could not be counted" in first["notes"][0] and "A1" in first["notes"][0]
    assert "group C: none of its images was counted" in capsys.readouterr().err


def test_an_area_without_groups_or_that_is_none_is_refused(plate, capsys):
    assert count("plate/A", "--area", 75) == 2 and "--group" in capsys.readouterr().err
    assert count("plate/A", "--group", "folder", "--area", -1) == 2 and "--area -1" in capsys.readouterr().err


def test_bias_and_limits_of_agreement_are_those_of_bland_and_altman():
    ratio = np.exp([0.1, -0.1, 0.3, -0.2, 0.4])
    found = device.agreement(ratio, [1.0, 10, 100, 1000, 10000])
    mean, deviation = 0.1, math.sqrt(0.065)  # of the logarithms
    assert (math.log(found.bias), found.deviation) == pytest.approx((mean, deviation))
    assert (math.log(found.low), math.log(found.high)) == pytest.approx(
        (mean - 1.96 * deviation, mean + 1.96 * deviation), abs=1e-4
    )
    error = deviation * math.sqrt(1 / 5 + 1.96**2 / 8)
    assert math.log(found.high_high / found.high) == pytest.approx(stats.t.ppf(0.975, 4) * error, rel=1e-4)
    assert math.log(found.bias_high / found.bias) == pytest.approx(stats.t.ppf(0.975, 4) * deviation / math.sqrt(5))
    assert found.slope == pytest.approx(0.05 / math.log(10)) and found.slope_low < found.slope < found.slope_high
    for wrong in ([1.0, 2.0], [1.0, 2.0, -1.0]):
        with pytest.raises(ParameterError):
            device.agreement(wrong, np.ones(len(wrong)))


def test_the_errors_of_two_methods_are_told_apart_if_they_are_independent():
    rng = np.random.default_rng(0)
    cells = rng.normal(16, 1, 4000)
    first, second = cells + rng.normal(0, 0.3, 4000), cells + rng.normal(0, 0.1, 4000)
    found = device.agreement(np.exp(second - first), np.exp((first + second) / 2))
    assert (found.device, found.network) == pytest.approx((0.3, 0.1), abs=0.03)
    inside = (second - first > math.log(found.low)) & (second - first < math.log(found.high))
    assert inside.mean() == pytest.approx(0.95, abs=0.01)


def test_flasks_are_compared_with_the_device_by_one_factor():
    fields = pd.DataFrame(
        [(f"{flask}{n}", flask, objective, 150.0, 1e7 * flask, 100, 100, 50.0 * flask * share + n, np.nan, np.nan, "")
         for flask in (1, 2, 4) for objective, share in ((20, 1), (40, 0.25)) for n in (-1, 1)],
        columns=["image", "flask", "objective", "size", "device_count", "height_px", "width_px", "count", "low", "high",
                 "warnings"],
    )  # fmt: skip
    table = device.flasks(fields)
    assert table["mean"].tolist() == [50, 50, 100, 100, 200, 200] and table.objective.tolist() == [20, 40] * 3
    found = device.calibration(table)
    assert (found.flasks, found.slope, found.rank) == (3, pytest.approx(1), 1)
    assert found.factor == pytest.approx(50 / (1e7 / 150)) and found.deviation == pytest.approx(0, abs=1e-9)


def test_the_public_pairs_are_the_registered_ones():
    if registry.find("thesis", "device-pairs.csv") is None:
        pytest.skip("needs thesis/device-pairs.csv: put it into the folder named by CELLCOUNT_DATA")
    pairs = device.measure_pairs()
    assert len(pairs) == 103 and pairs.ratio.between(0.4, 8).all()
    assert registry.known_file("thesis", "device-pairs.csv").url.endswith("/cellnet-vs-countess-all.csv")


def test_the_truth_of_a_simulated_flask_is_the_mean_of_the_fields_that_it_could_have():
    rng = np.random.default_rng(0)
    own = np.repeat(rng.uniform(0.45, 0.8, 200), 5)
    value = own + rng.normal(0, 0.05, 1000)
    frame = pd.DataFrame({"kind": "mixed", "flask": np.repeat(np.arange(200), 5), "value": own, "field_value": value})
    frame["n_true"] = 100 * value**2 + rng.normal(0, 1, 1000)
    np.testing.assert_allclose(flask_coverage.expected(frame), 100 * (own**2 + 0.05**2), atol=0.3)
    frame["count"], frame["low"], frame["high"] = frame.n_true * 1.1, frame.n_true * 0.8, frame.n_true * 1.2
    frame["sum_low"] = frame.groupby("flask").low.transform("sum")
    frame["sum_high"] = frame.groupby("flask").high.transform("sum")
    frame["calibrated_on"] = 1
    both, alone = flask_coverage.table(frame).to_dict("records")
    assert (
        both["flasks"] == 200 and both["coverage"] > alone["coverage"] and both["bias"] == pytest.approx(0.1, abs=0.02)
    )


def test_errors_that_differ_between_fields_are_in_the_spread_and_not_counted_twice():
    fields = of([90.0, 110.0, 100.0], interval=(80.0, 120.0))
    known = {
        n: group_counts("A", fields, interval=lambda count: (0.8 * count, 1.2 * count), calibrated_on=n)
        for n in (0, 1, 24)
    }
    assert known[0].counting == pytest.approx(20) and known[1].counting == pytest.approx(20 / np.sqrt(2))
    assert known[24].counting == pytest.approx(4) and known[24].sampling == known[0].sampling
