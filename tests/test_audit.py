"""Audits: random windows, drawn and corrected, and the total that they give; whatever a person does to the files."""

import itertools
import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from labelstudio_stand_in import TOKEN, edited, stand_in
from PIL import Image
from scipy import stats

from cellcount import cli
from cellcount.companion.studies import audits
from cellcount.data import phantom
from cellcount.data.convert import convert
from cellcount.errors import DataError, ParameterError
from cellcount.io.crops import cut, held, inside
from cellcount.io.points import Annotation, Mark, read
from cellcount.io.writing import write
from cellcount.methods.cellnet.checkpoint import PHANTOM
from cellcount.metrics.audit import draw, estimate, probabilities
from cellcount.results import audit
from cellcount.results.count_folder import count_folder

SHAPES = {"a.png": (96, 128), "b.png": (70, 60), "c.png": (130, 64)}


# The draw and the estimate.


def population(seed=0, size=300):
    """True cells of windows in places of different density, and what models count in them."""
    rng = np.random.default_rng(seed)
    true = rng.poisson(rng.gamma(5, 8, size // 10).repeat(10))
    good = rng.binomial(true, 0.9) + rng.poisson(0.05 * true)
    return true, {"good": good, "half": rng.binomial(true, 0.5), "double": 2 * good, "none": np.ones(size)}


def audited(true, predicted, n, seed, **options):
    strata, order = draw(predicted, n, seed)
    return estimate(predicted, strata, order[:n], true[order[:n]], **options)


def test_intervals_cover_the_total_with_any_model_and_are_half_as_wide_with_one():
    true, models = population()
    found = {name: [audited(true, counts, 20, seed) for seed in range(200)] for name, counts in models.items()}
    width = {name: np.median([one.high - one.low for one in every]) for name, every in found.items()}
    for name, every in found.items():
        assert 0.87 <= np.mean([one.low <= true.sum() <= one.high for one in every]) <= 0.93, name
        assert abs(np.mean([one.total for one in every]) / true.sum() - 1) < 0.01, name
    assert max(width["good"], width["half"], width["double"]) <= width["none"] / 2


@pytest.mark.parametrize("n", [2, 5, 7, 20, 33, 60])
def test_the_first_windows_of_an_order_are_a_stratified_sample_for_any_number(n):
    predicted = np.random.default_rng(3).poisson(4, 60)
    predicted[:5] = 0
    strata, order = draw(predicted, 20, seed=4)
    assert sorted(order) == list(range(60)) and strata.max() == 4
    size, taken = np.bincount(strata), np.bincount(strata[order[:n]], minlength=5)
    assert taken[1:].max() - taken[taken < size].min(initial=n) <= 1 or n > 15
    np.testing.assert_allclose(probabilities(strata, order[:n]), taken / size)
    assert ((strata == 0) == (predicted == 0)).all()
    assert all(predicted[strata == h].max() <= predicted[strata == h + 1].min() for h in range(4))
    assert taken[0] <= max(2, np.ceil(n * size[0] / 60 + 1)) and (taken[0] >= 2 or n < 10)


def test_a_draw_is_that_of_its_seed_and_equal_predictions_are_one_stratum():
    predicted = np.arange(30)
    assert (draw(predicted, 20, 1)[1] == draw(predicted, 20, 1)[1]).all()
    assert (draw(predicted, 20, 1)[1] != draw(predicted, 20, 2)[1]).any()
    assert not draw(np.full(30, 7), 20)[0].any()
    for wrong in ([], [1.0, np.nan], [-1]):
        with pytest.raises(ParameterError):
            draw(wrong, 5)


def test_difference_and_mean_are_unbiased_over_all_draws():
    true, predicted, strata = np.array([3, 0, 7, 2, 9, 4]), np.array([2, 1, 9, 2, 5, 5]), np.array([0, 0, 0, 1, 1, 1])
    pairs = itertools.product(itertools.combinations(range(3), 2), itertools.combinations(range(3, 6), 2))
    draws = [[*one, *other] for one, other in pairs]
    for estimator in ("difference", "mean"):
        totals = [estimate(predicted, strata, drawn, true[drawn], estimator=estimator).total for drawn in draws]
        assert np.mean(totals) == pytest.approx(true.sum())


def test_the_variance_of_the_mean_is_that_of_stratified_sampling():
    rng = np.random.default_rng(0)
    true, strata = rng.poisson(50, 40), np.repeat([0, 1], [30, 10])
    drawn = np.r_[0:6, 30:34]
    one = estimate(np.ones(40), strata, drawn, true[drawn], estimator="mean")
    parts = [size**2 * (1 - n / size) * true[own].var(ddof=1) / n
             for size, n, own in ((30, 6, drawn[:6]), (10, 4, drawn[6:]))]  # fmt: skip
    freedom = sum(parts) ** 2 / (parts[0] ** 2 / 5 + parts[1] ** 2 / 3)
    half = stats.t.ppf(0.95, min(freedom, 8)) * np.sqrt(sum(parts))
    assert (one.high - one.low) / 2 == pytest.approx(half)
    assert one.total == pytest.approx(30 * true[drawn[:6]].mean() + 10 * true[drawn[6:]].mean())


def test_a_ratio_corrects_any_factor_and_without_predicted_cells_it_is_the_difference():
    true = np.array([4, 8, 12, 2, 6, 10])
    one = estimate(true * 3, np.zeros(6, int), [0, 2, 4], true[[0, 2, 4]])
    assert (one.total, one.predicted, one.estimator) == (pytest.approx(true.sum()), 3 * true.sum(), "ratio")
    nothing = np.array([0, 0, 0, 0, 0, 5])
    one, other = (estimate(nothing, np.zeros(6, int), [0, 2, 4], true[[0, 2, 4]], estimator=name)
                  for name in ("ratio", "difference"))  # fmt: skip
    assert one.total == other.total == pytest.approx(2 * 22 + 5)


def test_a_census_has_no_interval_and_no_error_that_it_cannot_see():
    true, models = population(size=30)
    one = audited(true, models["half"], 30, 0)
    assert (one.low, one.total, one.high, one.unseen, one.estimator) == (*[true.sum()] * 3, 0, "census")
    alone = audited(true[:1], models["half"][:1], 1, 0)
    assert alone.low == alone.high == true[0]


def test_empty_windows_do_not_make_the_total_certain():
    one = audited(np.zeros(100), np.zeros(100), 20, 0)
    most = max(m for m in range(100) if stats.hypergeom(100, m, 20).pmf(0) >= 0.05)
    assert (one.total, one.low, one.high, one.unseen) == (0, 0, most, most / 100)
    perfect = audited(np.arange(100), np.arange(100), 20, 0)
    assert perfect.low < 4950 < perfect.high and perfect.total == pytest.approx(4950)


def test_the_interval_never_excludes_cells_that_were_counted():
    predicted, true = np.zeros(12), np.zeros(12)
    strata, order = draw(predicted, 5)
    true[order[0]] = 90
    one = estimate(predicted, strata, order[:5], true[order[:5]])
    assert one.low == 90 < one.total < one.high and one.heaviest > 0.5


def test_five_windows_give_an_interval():
    true, models = population()
    found = [audited(true, models["good"], 5, seed) for seed in range(100)]
    assert np.mean([one.low <= true.sum() <= one.high for one in found]) >= 0.85
    assert all(np.isfinite([one.low, one.high]).all() for one in found)


def test_what_an_estimate_refuses():
    strata = np.array([0, 0, 0, 1, 1, 1])
    for drawn, counted, options, told in (
        ([0, 1, 3], [1, 1, 1], {}, "stratum 2 of 2 has 1 of them"),
        ([0, 1, 1, 3, 4], [1] * 5, {}, "each once"),
        ([0, 1, 3, 4], [1] * 3, {}, "one count for each"),
        ([0, 1, 3, 4], [1] * 4, {"level": 1.0}, "level"),
        ([0, 1, 3, 4], [1] * 4, {"estimator": "guess"}, "estimator='guess'"),
    ):
        with pytest.raises(ParameterError, match=told):
            estimate(np.ones(6), strata, drawn, counted, **options)


def test_each_cell_of_an_image_belongs_to_one_window():
    rng = np.random.default_rng(0)
    for shape in ((100, 77), (8, 300), (33, 32)):
        boxes = cut(shape, 32)
        points = rng.uniform(-0.5, np.array(shape) - 0.5, (400, 2))
        points[:100] = np.floor(points[:100]) + 0.5  # on borders of pixels
        points = points.clip(-0.5, np.array(shape) - 0.51)
        assert held(points, boxes).tolist() == [inside(points, box).sum() for box in boxes]
        assert held(points, boxes).sum() == 400 and held(points[:0], boxes).sum() == 0


# The folder.


@pytest.fixture
def plate(tmp_path, monkeypatch):
    """Images with dark discs, in a folder; the working directory is beside it."""
    rng = np.random.default_rng(0)
    (tmp_path / "plate").mkdir()
    for name, shape in SHAPES.items():
        pixels = rng.normal(170, 4, shape)
        yy, xx = np.indices(shape)
        for y, x in rng.uniform(6, np.array(shape) - 6, (12, 2)):
            pixels -= 80 * np.exp(-((yy - y) ** 2 + (xx - x) ** 2) / 18)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(tmp_path / "plate" / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "plate"


def made(plate, windows=10, **options):
    return audit.make([plate], "audit", windows=windows, window=32, method="blobs", progress=False, **options)


def corrected(one, names=None, extra=0):
    """Write annotations as a person: predicted points but the first of each window, and `extra` ones beside them."""
    found = []
    for window in one.drawn:
        if names is None or window["name"] in names:
            before = read(one.folder / "predictions" / f"{window['name']}.csv")[0][0].points
            core = np.array(audit._inner(window["core"], window["box"]))
            added = [(core[0] + 1.25 + 2 * n, core[1] + 1.25) for n in range(extra)]
            points = [Mark(place, "live") for place in [*(mark.position for mark in before[1:]), *added]]
            found.append(Annotation("", "", f"{window['name']}.png", points=points))
    (one.folder / "annotations").mkdir(exist_ok=True)
    write(one.folder / "annotations" / "points.csv", found, "CSV")
    return sum(len(every.points) for every in found)


def test_windows_cover_all_images_once_and_are_drawn_with_known_probabilities(plate):
    one = made(plate)
    boxes, image = one.about["windows"]["box"], one.about["windows"]["image"]
    for number, (name, shape) in enumerate(SHAPES.items()):
        seen = np.zeros(shape, int)
        for box in (box for box, of in zip(boxes, image) if of == number):
            seen[box[0] : box[2], box[1] : box[3]] += 1
        assert (seen == 1).all(), name
    assert one.predicted.sum() == sum(every["predicted"] for every in one.about["images"])
    assert len(one.drawn) == 10 and [w["name"] for w in one.drawn][:2] == ["window-001", "window-002"]
    share = {h: every["probability"] for h, every in enumerate(one.about["strata"])}
    assert all(window["probability"] == share[window["stratum"]] for window in one.drawn)
    assert sum(every["drawn"] for every in one.about["strata"]) == 10
    assert audit.read("audit").about == json.loads(json.dumps(one.about))


def test_a_window_shows_its_core_bright_its_margin_dark_and_only_the_points_of_its_core(plate):
    one = made(plate)
    for window in one.drawn:
        shown = np.asarray(Image.open(f"audit/images/{window['name']}.png")).astype(float)
        y0, x0, y1, x1 = window["box"]
        top, left, bottom, right = audit._inner(window["core"], window["box"])
        whole = np.asarray(Image.open(plate / window["image"]))[y0:y1, x0:x1].astype(float)
        core = np.zeros(shown.shape, bool)
        core[top:bottom, left:right] = True
        assert shown.shape == (y1 - y0, x1 - x0)
        assert np.corrcoef(shown[core], whole[core])[0, 1] > 0.99
        assert shown[~core].mean() < 0.7 * shown[core].mean()
        marks = read(f"audit/predictions/{window['name']}.csv")[0][0].points
        assert len(marks) == window["predicted"]
        assert inside(np.array([mark.position for mark in marks]).reshape(-1, 2), (top, left, bottom, right)).all()


def test_corrected_windows_give_the_total_and_all_of_them_what_was_counted(plate):
    one = made(plate)
    corrected(one, extra=1)
    found = audit.estimate("audit", reviewed=True)
    assert found.estimate.low <= found.estimate.total <= found.estimate.high
    assert sum(found.done[kind] for kind in ("kept", "moved", "added")) == found.estimate.counted > 0
    assert found.images == 3 and found.per_mm2 is None
    rows = pd.read_csv("audit/audit-result.csv")
    assert rows.counted.sum() == found.estimate.counted and len(rows) == 10
    assert json.loads((plate.parent / "audit/audit-result.json").read_text())["total"] == found.estimate.total
    every = made(plate, windows=1000)
    assert len(every.drawn) == len(every.order)
    cells = corrected(every, extra=1)
    found = audit.estimate("audit", reviewed=True, pixel_size_um=2.0)
    assert found.estimate.low == found.estimate.high == cells and found.estimate.estimator == "census"
    area = sum(height * width for height, width in SHAPES.values()) * 4e-6
    assert found.per_mm2[0] == pytest.approx(cells / area)
    assert "without an interval" in "".join(audit.sentences(found))


def test_more_windows_keep_those_drawn_before_and_what_was_done_to_them(plate):
    one = made(plate)
    cells = corrected(one, extra=1)
    text = (one.folder / "dataset.toml").read_text()
    (one.folder / "dataset.toml").write_text(text.replace("reviewed = []", 'reviewed = ["window-001"]  # mine'))
    times = {path: path.stat().st_mtime_ns for path in one.folder.glob("images/*")}
    before = (one.folder / "annotations/points.csv").read_text()
    more = audit.make([], "audit", windows=14)
    assert [w["name"] for w in more.drawn[:10]] == [w["name"] for w in one.drawn] and len(more.drawn) == 14
    assert (more.order == one.order).all()
    assert {path: path.stat().st_mtime_ns for path in times} == times
    assert (one.folder / "annotations/points.csv").read_text() == before
    settings = (one.folder / "dataset.toml").read_text()
    assert 'reviewed = ["window-001"]  # mine' in settings and settings.count('"window-014" = [[') == 1
    assert settings.count('"window-003" = [[') == 1
    assert len(json.loads((one.folder / "labelstudio/tasks-11-14.json").read_text())) == 4
    with pytest.raises(DataError, match="window-011, window-012, window-013, window-014"):
        audit.estimate("audit")
    assert audit.estimate("audit", windows=10, reviewed=True).estimate.counted == cells
    again = made(plate, windows=5)  # fewer: nothing is taken away
    assert len(again.drawn) == 14


def test_an_audit_that_was_drawn_at_once_is_the_same_as_one_that_grew(plate):
    grown = [made(plate, windows=n).drawn for n in (10, 25)][1]
    (plate.parent / "audit").rename(plate.parent / "grown")
    one = made(plate, windows=10)
    assert [w["core"] for w in one.drawn] == [w["core"] for w in grown[:10]]
    strata, order = draw(one.predicted, 10, 0)
    assert (order == one.order).all() and (strata == one.strata).all()


def test_windows_that_nobody_corrected_are_named_with_what_to_do(plate):
    one = made(plate)
    with pytest.raises(DataError, match="10 of 10 drawn windows were not corrected") as told:
        audit.estimate("audit")
    assert "window-001" in str(told.value) and "--reviewed" in str(told.value) and "--windows" not in str(told.value)
    corrected(one, [f"window-{n:03d}" for n in range(1, 8)], extra=1)
    with pytest.raises(DataError, match="3 of 10 .* window-008, window-009, window-010.* --windows 7"):
        audit.estimate("audit")
    assert audit.estimate("audit", windows=7).estimate.windows == 7
    rest = [f"{w['name']}" for w in one.drawn[7:] if w["predicted"]]
    assert rest
    with pytest.raises(DataError, match=rf"no file of .*reviewed = \[{json.dumps(rest)[1:-1]}\]") as told:
        audit.estimate("audit", reviewed=True)
    line = re.search(r"reviewed = \[.*?\]", str(told.value))[0]
    settings = one.folder / "dataset.toml"
    settings.write_text(settings.read_text().replace("reviewed = []", line))
    assert audit.estimate("audit", reviewed=True).estimate.windows == 10
    for n in (0, 11):
        with pytest.raises(ParameterError, match="give 1 to 10"):
            audit.estimate("audit", windows=n)
    with pytest.raises(ParameterError, match="too few"):
        audit.estimate("audit", windows=2)


@pytest.mark.parametrize("format", ["CSV", "napari", "labelme", "COCO", "Cell Counter"])
def test_windows_that_were_looked_at_are_right_unless_all_their_points_were_deleted(plate, format):
    one = made(plate)
    convert("audit/predictions", "audit/annotations", format)
    with pytest.raises(DataError, match="10 of 10"):
        audit.estimate("audit")
    found = audit.estimate("audit", reviewed=True)
    assert found.estimate.counted == found.done["kept"] == sum(w["predicted"] for w in one.drawn)
    for path in (one.folder / "annotations").iterdir():
        path.unlink()
    emptied = next(w["name"] for w in one.drawn if w["predicted"])
    marks = {name: read(f"audit/predictions/{name}.csv")[0][0].points for name in (w["name"] for w in one.drawn)}
    left = [Annotation("", "", f"{name}.png", points=own) for name, own in marks.items() if own and name != emptied]
    write(one.folder / "annotations" / "points.csv", left, "CSV")
    with pytest.raises(DataError, match=f"1 of 10 .* {emptied}.*{emptied}.png,,"):
        audit.estimate("audit", reviewed=True)
    (one.folder / "annotations" / "empty.csv").write_text(f"image,y,x\n{emptied}.png,,\n")
    assert audit.estimate("audit", reviewed=True).estimate.counted == found.estimate.counted - len(marks[emptied])


def test_points_count_in_the_core_alone(plate):
    one = made(plate)
    corrected(one)
    before = audit.estimate("audit", reviewed=True).estimate.counted
    window = next(w for w in one.drawn if w["box"][0] < w["core"][0])
    add(one, f"{window['name']}.png,1.0,{window['core'][1] - window['box'][1] + 1},,")
    assert audit.estimate("audit", reviewed=True).estimate.counted == before
    inner = audit._inner(window["core"], window["box"])
    add(one, f"{window['name']}.png,{inner[0] + 3.5},{inner[1] + 2.5},,")
    assert audit.estimate("audit", reviewed=True).estimate.counted == before + 1
    add(one, f"{window['name']}.png,{inner[0] + 6.5},{inner[1] + 2.5},dead,")
    found = audit.estimate("audit", reviewed=True)
    assert found.estimate.counted == before + 1
    assert any("1 point with the label dead" in warning for warning in found.warnings)


def test_the_windows_for_a_narrower_interval_follow_from_this_one():
    rng = np.random.default_rng(0)
    true = rng.poisson(40, 500)
    one = audit.AuditResult(audited(true, np.ones(500), 20, 0), 1, None, {})
    for precision in (0.05, 0.02, 0.001):
        n = one.windows_for(precision)
        later = [audited(true, np.ones(500), n, seed) for seed in range(40)]
        half = np.median([(every.high - every.low) / 2 / every.total for every in later])
        assert 0.7 * precision <= half <= 1.4 * precision or (n, half, precision) == (500, 0, 0.001)


# Label Studio.


def add(one, *rows):
    """Add lines to the annotations, and take away the line that says that such a window has no cell."""
    file = one.folder / "annotations" / "points.csv"
    bare = tuple(f"{row.split(',')[0]},,," for row in rows)
    file.write_text(
        "\n".join([*(line for line in file.read_text().split() if not line.startswith(bare)), *rows]) + "\n"
    )


def exported(one, change=lambda tasks: tasks):
    """The export of a project in which the predictions were submitted, after `change` of its tasks."""
    tasks = [
        task for path in sorted(one.folder.glob("labelstudio/tasks-*.json")) for task in json.loads(path.read_text())
    ]
    for number, task in enumerate(tasks):
        task |= {"id": number, "annotations": [{"id": number, "completed_by": 1, **task["predictions"][0]}]}
    (one.folder / "annotations").mkdir(exist_ok=True)
    (one.folder / "annotations" / "labelstudio.json").write_text(json.dumps(change(tasks)))


def test_submitted_tasks_are_corrections_also_those_without_a_change(plate):
    one = made(plate)
    exported(one)
    found = audit.estimate("audit").estimate
    assert found.counted == sum(window["predicted"] for window in one.drawn)
    assert found.total == pytest.approx(one.predicted.sum()) and found.low < found.total < found.high


def test_skipped_missing_double_and_rival_annotations_in_label_studio(plate):
    one = made(plate)

    def skipped(tasks):
        tasks[2]["annotations"][0]["was_cancelled"] = True
        return tasks[:9]

    exported(one, skipped)
    with pytest.raises(DataError, match="2 of 10 .* window-003, window-010"):
        audit.estimate("audit")
    exported(one, lambda tasks: tasks + tasks[:2])
    assert audit.estimate("audit").estimate.windows == 10

    def rival(tasks):
        other = json.loads(json.dumps(tasks[0]["annotations"][0])) | {"id": 77, "completed_by": 2}
        tasks[0]["annotations"].append(other)
        return tasks

    exported(one, rival)
    with pytest.raises(DataError, match="window-001.png"):
        audit.estimate("audit")
    assert len(list(one.folder.glob("labelstudio/*.xml"))) == 1


def test_windows_are_corrected_on_a_server_and_more_of_them_are_sent_later(plate, monkeypatch, capsys):
    one, cells = made(plate, windows=6), 0
    with stand_in() as (server, url):
        monkeypatch.setenv("LABEL_STUDIO_URL", url)
        monkeypatch.setenv("LABEL_STUDIO_API_KEY", TOKEN)
        for windows in (6, 9):
            assert audit.make([], "audit", windows=windows).order.tolist() == one.order.tolist()
            assert cli.main(["labelstudio", "push", "audit", "--order", "image"]) == 0
            assert len(server.tasks[1]) == windows
            for task in server.tasks[1][6 * (windows > 6) :]:
                core = next(w for w in audit.read("audit").drawn if f"{w['name']}.png" == task["data"]["source"])
                y, x = audit._inner(core["core"], core["box"])[:2]
                result = edited(task, deleted=min(1, task["data"]["predicted"]), added=[(y + 0.5, x + 0.5), (y, x + 9)])
                task["annotations"].append({"id": task["id"], "completed_by": 1, "result": result})
                cells += max(0, task["data"]["predicted"] - 1) + 2
            assert cli.main(["labelstudio", "pull", "audit"]) == 0
            found = audit.estimate("audit")
            assert (found.estimate.windows, found.estimate.counted) == (windows, cells)
    assert found.done["added"] == 18


def test_a_window_of_which_not_all_crops_were_submitted_is_not_corrected(plate, tmp_path):
    pixels = np.random.default_rng(0).normal(128, 9, (620, 640)).clip(0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "large.png")
    audit.make(["large.png"], "large", windows=2, window=700, method="blobs", progress=False)
    tasks = json.loads((tmp_path / "large/labelstudio/tasks-1-1.json").read_text())
    for number, task in enumerate(tasks):
        task |= {"id": number, "annotations": [{"id": number, **task["predictions"][0]}]}
    (tmp_path / "large/annotations").mkdir()
    for left in (1, 0):
        (tmp_path / "large/annotations/labelstudio.json").write_text(json.dumps(tasks[left:]))
        if left:
            with pytest.raises(DataError, match="window-001"):
                audit.estimate("large")
    assert len(tasks) > 1 and audit.estimate("large").estimate.estimator == "census"


def test_an_annotation_of_an_unknown_window_is_an_error(plate):
    one = made(plate)
    corrected(one, extra=1)
    file = one.folder / "annotations/points.csv"
    file.write_text(file.read_text() + "window-099.png,3,3,,\n")
    with pytest.raises(DataError, match="window-099.png"):
        audit.estimate("audit", reviewed=True)


# What happens to files.


@pytest.mark.parametrize(
    "damage",
    [lambda text: text[: len(text) // 2], lambda text: "[]", lambda text: text.replace('"order"', '"odor"'),
     lambda text: text.replace('"stratum": [', '"stratum": ["x", '), lambda text: "{}"],
)  # fmt: skip
def test_a_damaged_audit_json_is_said(plate, damage):
    one = made(plate)
    file = one.folder / "audit.json"
    file.write_text(damage(file.read_text()))
    for call in (lambda: audit.estimate("audit"), lambda: made(plate)):
        with pytest.raises(DataError, match="audit.json was damaged"):
            call()


def test_a_draw_that_was_interrupted_is_completed_by_the_same_call(plate, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(audit.labelstudio_tasks, "write", full)
        with pytest.raises(OSError):
            made(plate)
    with pytest.raises(DataError, match="interrupted"):
        audit.estimate("audit")
    one = made(plate)
    assert len(one.drawn) == 10 and (one.folder / "labelstudio/tasks-1-10.json").exists()


def test_changed_and_missing_windows_are_noticed_and_can_be_written_again(plate):
    one = made(plate)
    corrected(one, extra=1)
    picture = one.folder / "images" / "window-004.png"
    whole = picture.read_bytes()
    Image.new("L", (20, 20)).save(picture)
    with pytest.raises(DataError, match="window-004.png"):
        audit.estimate("audit", reviewed=True)
    with pytest.raises(DataError, match="window-004.png was changed"):
        made(plate)
    picture.unlink()
    with pytest.raises(DataError, match="window-004"):
        audit.estimate("audit", reviewed=True)
    made(plate)
    assert picture.read_bytes() == whole
    (one.folder / "predictions/window-002.csv").unlink()
    with pytest.raises(DataError, match="predictions of drawn windows are missing: 1 .window-002."):
        audit.estimate("audit", reviewed=True)
    made(plate)
    assert audit.estimate("audit", reviewed=True).estimate.windows == 10


def test_an_audit_is_not_continued_with_other_images_settings_or_predictions(plate):
    made(plate)
    for options, told in (({"seed": 3}, "seed=0, not 3"), ({"window": 48}, "window=32, not 48")):
        with pytest.raises(ParameterError, match=told):
            audit.make([], "audit", windows=12, **options)
    with pytest.raises(DataError, match="other images"):
        audit.make([plate / "a.png"], "audit", windows=12, method="blobs", progress=False)
    before = {path: path.read_bytes() for path in (plate.parent / "audit").rglob("*.*") if path.is_file()}
    with pytest.raises(DataError, match="counted with .*blobs.*, not with .*3.0"):
        audit.make([plate], "audit", windows=12, method="blobs", sigma=3.0, progress=False)
    assert {path: path.read_bytes() for path in before} == before


def test_a_source_image_that_was_changed_since_is_noticed(plate):
    made(plate)
    file = plate.parent / "audit/counts/images/a.png"
    pixels = np.asarray(Image.open(file))
    file.unlink()
    Image.fromarray(pixels[::-1]).save(file)
    with pytest.raises(DataError, match="a.png"):
        audit.make([], "audit", windows=12)


def test_a_folder_that_count_wrote_is_taken_as_it_is(plate):
    count_folder([plate], "counts", method="blobs", progress=False)
    one = audit.make(["counts"], "audit", windows=10, window=32)
    assert one.about["counts"] == "../counts" and len(one.drawn) == 10 and one.counts is None
    assert len(audit.make([], "audit", windows=12).drawn) == 12
    with pytest.raises(ParameterError, match="counted already.*threshold"):
        audit.make(["counts"], "other", threshold=0.5)


def test_what_make_refuses(plate, tmp_path):
    with pytest.raises(DataError, match="name images"):
        audit.make([], "nothing")
    for options in ({"windows": 1}, {"window": 2}):
        with pytest.raises(ParameterError):
            audit.make([plate], "audit", **options)
    with pytest.raises(DataError, match="has files already"):
        audit.make([plate], plate)
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(DataError):
        audit.make([tmp_path / "text.png"], "audit", method="blobs", progress=False)
    with pytest.raises(DataError, match="no audit.json"):
        audit.estimate(plate)


def test_counts_without_points_cannot_be_audited(plate):
    count_folder([plate], "counts", method="blobs", progress=False)
    (plate.parent / "counts/predictions/b.csv").unlink()
    with pytest.raises(DataError, match=r"no points for 1 \(b\)"):
        audit.make(["counts"], "audit")


def test_small_images_one_image_and_empty_images_are_audited(plate, tmp_path):
    (tmp_path / "empty").mkdir()
    for name, shape in {"x": (40, 50), "y": (9, 30)}.items():
        Image.fromarray(np.add.outer(*map(np.arange, shape)).astype(np.uint8)).save(tmp_path / "empty" / f"{name}.png")
    one = audit.make([tmp_path / "empty"], "none", windows=5, window=16, method="blobs", progress=False)
    assert len(one.drawn) == 5 and not one.predicted.any()
    found = audit.estimate("none", reviewed=True).estimate
    assert (found.total, found.low) == (0, 0) and found.high >= 1
    alone = audit.make([plate / "a.png"], "alone", windows=20, method="blobs", progress=False)
    assert alone.about["settings"]["window"] == audit.LEAST
    assert len(alone.drawn) == len(alone.order) == 4


def test_the_command_line_makes_estimates_and_answers_in_json(plate, capsys):
    call = ["audit", "make", "plate", "--windows", "10", "--window-size", "32", "--method", "blobs"]
    assert cli.main(call) == 0
    told = capsys.readouterr().out
    assert "10 windows drawn" in told and "cellcount labelstudio push audit" in told
    assert cli.main(["audit", "estimate", "audit"]) == 3
    assert "not corrected by a person" in capsys.readouterr().err
    assert cli.main(["data", "convert", "audit/predictions", "audit/annotations", "--format", "CSV"]) == 0
    assert cli.main(["audit", "estimate", "audit", "--reviewed", "--pixel-size", "0.5"]) == 0
    told = capsys.readouterr().out
    for text in ("(90 %: ", "per mm2", "What it means", "What it cannot know", "audit-result.json"):
        assert text in told
    assert cli.main(["audit", "estimate", "audit", "--reviewed", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["windows"] == 10 and answer["low"] <= answer["total"] <= answer["high"] and answer["exit_code"] == 0
    assert cli.main([*call, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["population"] == len(audit.read("audit").order)


def test_one_window_that_makes_the_uncertainty_is_told(plate):
    one = made(plate)
    corrected(one, extra=0)
    window = one.drawn[0]
    inner = audit._inner(window["core"], window["box"])
    add(one, *(f"{window['name']}.png,{inner[0] + y},{inner[1] + x},," for y in range(8) for x in range(8)))
    told = audit.estimate("audit", reviewed=True).warnings
    assert any("window-001" in text and "--windows 20" in text for text in told)


# The study.


def test_windows_of_a_plate_say_what_correcting_takes():
    rng = np.random.default_rng(0)
    sample = phantom.simulate(0, (96, 96), confluence=0.6)
    found = [(replace(sample, points=rng.uniform(0, 95, (20, 2)).astype(np.float32)), rng.uniform(0, 95, (18, 2)))]
    frames = {model: audits.windows(found, model, 32, 0) for model in audits.MODELS}
    assert all(len(frame) == 9 and frame.true.sum() == 20 for frame in frames.values())
    assert frames["double"].predicted.sum() == 36 and frames["none"].actions.sum() == 20
    assert 10 <= (frames["double"].actions - frames["good"].actions).sum() <= 18
    assert frames["half"].predicted.sum() < 18 and (frames["none"].predicted == 1).all()


def test_the_windows_that_a_precision_takes_are_found_between_those_tried():
    frame = pd.DataFrame(
        {"model": "good", "rule": "fixed", "window": 64, "windows": [10, 40, 160], "half": [0.2, 0.1, 0.05]}
    )
    assert audits.needed(frame, "good", precision=0.1) == pytest.approx(40)
    assert audits.needed(frame, "good", precision=0.2**0.5 * 0.1**0.5) == pytest.approx(20)
    assert np.isnan(audits.needed(frame, "good", precision=0.01))


@pytest.mark.slow
def test_the_study_covers_the_total_of_simulated_fields(tmp_path):
    options = {"number": 4, "side": 256, "sizes": (64, 128), "numbers": (10, 20), "repeats": 100, "device": "cpu"}
    frame = audits.simulate(out=tmp_path / "audits.csv", progress=False, **options)
    table = audits.table(frame)
    usual = table[(table.rule == "fixed") & table.model.isin(("good", "half", "double", "none"))]
    assert usual.coverage.between(0.8, 1).all()
    again = audits.simulate(out=tmp_path / "audits.csv", progress=False, **options)
    pd.testing.assert_frame_equal(frame, again)
    with pytest.raises(ParameterError, match="leave out -p steps"):
        audits.run(out=tmp_path / "other.csv", steps=3)


@pytest.mark.slow
def test_an_audit_of_simulated_fields_from_counting_to_the_total(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plate").mkdir()
    true = {}
    for number in range(4):
        sample = phantom.simulate((7, number), (256, 320), confluence=0.4 + 0.1 * number)
        true[f"well-{number}.png"] = sample.points
        Image.fromarray(np.rint(sample.image * 255).astype(np.uint8)).save(f"plate/well-{number}.png")
    call = ["audit", "make", "plate", "--out", "audit", "--weights", str(PHANTOM), "--device", "cpu"]
    assert cli.main(call) == 0
    for windows in (20, 40):
        assert cli.main([*call, "--windows", str(windows)]) == 0
        audits.correct("audit", true)
        capsys.readouterr()
        assert cli.main(["audit", "estimate", "audit", "--reviewed", "--level", "0.99", "--json"]) == 0
        answer = json.loads(capsys.readouterr().out)
        assert answer["low"] <= sum(map(len, true.values())) <= answer["high"]
