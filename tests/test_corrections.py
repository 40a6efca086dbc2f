"""The folder of `cellcount count` as a data set: what a person did to the predictions, and what is trained on."""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cellcount import data, results
from cellcount.cli import main
from cellcount.companion.studies import correcting
from cellcount.counting import training_samples
from cellcount.data import corrections, folder, phantom
from cellcount.data.convert import convert
from cellcount.errors import DataError, ParameterError
from cellcount.io.points import Annotation, Mark, read
from cellcount.io.writing import write
from cellcount.metrics import tuned
from cellcount.types import Prediction, Sample

SHAPE = (96, 128)
FOUND = [(20.25, 30.5), (20.75, 60.25), (50.5, 30.0), (50.25, 90.5), (80.0, 64.75)]  # 30 px apart


def counted(root, **images):
    """A folder as `cellcount count` writes it: images, predictions and dataset.toml."""
    for part in ("images", "predictions", "annotations"):
        (root / part).mkdir(parents=True)
    for seed, (name, points) in enumerate(images.items()):
        pixels = np.random.default_rng(seed).integers(0, 256, SHAPE, dtype=np.uint8)
        Image.fromarray(pixels).save(root / "images" / f"{name}.png")
        marks = [Mark(point, "", score=0.9) for point in points]
        write(root / "predictions" / f"{name}.csv", [Annotation("", "", f"{name}.png", points=marks)], "CSV")
    (root / "dataset.toml").write_text('channel = "auto"\npredictions = true\n')
    return root


@pytest.fixture
def F(tmp_path):
    return counted(tmp_path / "counts", a=FOUND, b=FOUND[:3], c=[])


def correct(F, name, *points, label="", file=None, format="CSV"):
    marks = [Mark(point, label) for point in points]
    write(F / "annotations" / (file or f"{name}.csv"), [Annotation("", "", f"{name}.png", points=marks)], format)


def setting(F, line):
    with open(F / "dataset.toml", "a") as file:
        file.write(line + "\n")


def loaded(F):
    return {sample.name: sample for sample in data.load(F)}


def kinds(F):
    return {problem.kind for problem in folder.check(F)}


def told(sample):
    return {name: value for name, value in sample.meta["provenance"].items() if name != "origin"}


def test_what_a_person_did_is_told_for_each_point(F):
    moved = (FOUND[1][0] + 4, FOUND[1][1] - 3)
    far = (FOUND[3][0] + 20, FOUND[3][1])  # more than half the spacing of 30 px: another cell
    correct(F, "a", FOUND[0], moved, FOUND[2], far, (80.01, 64.74), (5.0, 5.0))
    samples = loaded(F)
    assert told(samples["a"]) == {"predicted": 5, "kept": 3, "moved": 1, "deleted": 1, "added": 2}
    assert samples["a"].meta["provenance"]["origin"].tolist() == ["kept", "moved", "kept", "added", "kept", "added"]
    assert samples["a"].points.shape == (6, 2) and samples["a"].valid.all()
    assert samples["b"].points is None and samples["c"].points is None, "predictions are no annotation"
    [left] = [problem for problem in folder.check(F) if problem.kind == "corrected-some"]
    assert left.severity == "warning" and "1 of 3 images were corrected" in left.what and "b.png, c.png" in left.what
    assert left.todo.endswith(': reviewed = ["b", "c"].')


def test_the_remedy_is_the_line_with_those_that_were_reviewed_before(F):
    """It can be copied as it is, unless it leaves out names."""
    setting(F, 'reviewed = ["b"]')
    [left] = [problem for problem in folder.check(F) if problem.kind == "corrected-some"]
    line = left.todo[left.todo.index("reviewed = [") :].removesuffix(".")
    assert line == 'reviewed = ["b", "a", "c"]'
    (F / "dataset.toml").write_text(f"{line}\npredictions = true\n")
    assert all(sample.points is not None for sample in loaded(F).values()) and not kinds(F)
    names = [f"{i}.x.png" for i in range(9)]
    assert corrections._line(names, ["ü"]) == 'reviewed = ["ü", "0.x", "1.x", "2.x", ...]'


def test_a_point_with_two_neighbours_in_reach_is_one_move(F):
    """One to one: of two annotated points near a predicted one, the nearer was moved and the other one added."""
    correct(F, "b", FOUND[0], FOUND[1], (FOUND[2][0], FOUND[2][1] + 3), (FOUND[2][0], FOUND[2][1] - 6))
    assert told(loaded(F)["b"]) == {"predicted": 3, "kept": 2, "moved": 1, "deleted": 0, "added": 1}


@pytest.mark.parametrize("format, target", [
    ("CSV", "points.csv"), ("napari", "."), ("ImageJ", "."), ("QuPath", "."), ("labelme", "."), ("COCO", "coco.json"),
    ("VIA", "via.json"), ("CVAT", "cvat.xml"), ("Cell Counter", "CellCounter_b.xml"), ("dot image", "b_dots.png"),
])  # fmt: skip
def test_a_copy_of_the_predictions_is_no_annotation(F, format, target):
    """In no format, also in those of whole pixels: nobody has looked at it."""
    (F / "annotations").rmdir()
    several = target in (".", "points.csv", "coco.json", "via.json", "cvat.xml")
    source = F / "predictions" if several else F / "predictions" / "b.csv"
    target = F / "annotations" if target == "." else F / "annotations" / target
    convert(source, target, format)
    assert "corrected-none" in kinds(F)
    with pytest.raises(DataError, match=r"None of the 3 images was corrected.*equals the prediction.*reviewed = \["):
        data.load(F)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no files of these names")
@pytest.mark.parametrize("format", ["napari", "ImageJ", "QuPath", "labelme", "dot image", "Cell Counter", "CSV"])
def test_names_with_a_line_break_or_a_backslash_are_found_again(tmp_path, format):
    names = ["a\nb", "l\\m"]
    F = counted(tmp_path / "counts", **dict.fromkeys(names, FOUND))
    convert(F / "predictions", F / "annotations" / "points.csv" if format == "CSV" else F / "annotations", format)
    [nothing] = folder.check(F)
    assert nothing.kind == "corrected-none" and "The annotation of 2 of them equals" in nothing.what


def test_nothing_corrected_at_all_is_refused_with_the_remedies(F, capsys):
    for command in ("push", "cellcount data convert", "reviewed"):
        with pytest.raises(DataError, match=command):
            data.load(F)
    assert main(["train", str(F), "--out", str(F.parent / "w.safetensors")]) == 3
    assert "None of the 3 images was corrected" in capsys.readouterr().err
    assert not (F.parent / "w.safetensors").exists()
    assert main(["data", "check", str(F)]) == 3


def test_reviewed_images_are_annotated_by_their_predictions(F):
    setting(F, 'reviewed = ["a", "c.png"]')
    samples = loaded(F)
    np.testing.assert_allclose(samples["a"].points, FOUND)
    assert told(samples["a"]) == {"predicted": 5, "kept": 5, "moved": 0, "deleted": 0, "added": 0}
    assert samples["c"].points.shape == (0, 2) and samples["b"].points is None
    setting(F, "pixel_size_um = 0.5")
    (F / "predictions" / "c.csv").unlink()
    assert "reviewed-nothing" in kinds(F)


def test_reviewed_names_an_image_that_is_not_there(F):
    setting(F, 'reviewed = ["d"]')
    assert any(p.kind == "split-image" and "'d'" in p.what and p.where == "key reviewed" for p in folder.check(F))


def studio(image, results, **task):
    """A task of Label Studio's export."""
    regions = [
        {"id": str(i), "type": "keypointlabels", "original_width": SHAPE[1], "original_height": SHAPE[0],
         "origin": origin, "value": {"x": (x + 0.5) / SHAPE[1] * 100, "y": (y + 0.5) / SHAPE[0] * 100,
                                     "keypointlabels": [label]}}
        for i, (y, x, label, origin) in enumerate(results)
    ]  # fmt: skip
    about = {"id": 1, "data": {"image": image}} | task
    return about | {"annotations": [{"id": 1, "completed_by": 1, "was_cancelled": False, "result": regions}]}


def test_label_studio_says_what_a_person_did(F):
    """Its origin counts where positions could mislead; a task that was submitted without a change was reviewed."""
    near = (FOUND[1][0] + 5, FOUND[1][1])  # deleted, and another added nearby
    far = (FOUND[2][0], FOUND[2][1] + 25)  # dragged farther than the reach of a move
    marks = [
        (*FOUND[0], "Live Cell", "prediction"),
        (*near, "Live Cell", "manual"),
        (*far, "Live Cell", "prediction-changed"),
        (*FOUND[3], "Dead Cell", "prediction-changed"),
    ]
    same = [(*point, "Live Cell", "prediction") for point in FOUND[:3]]
    tasks = [studio("a.png", marks), studio("b.png", same), studio("c.png", [])]
    (F / "annotations" / "export.json").write_text(json.dumps(tasks))
    samples = loaded(F)
    expected = {"predicted": 5, "relabelled": 1, "kept": 1, "moved": 1, "added": 1, "deleted": 2}
    assert told(samples["a"]) == expected and samples["a"].dead.shape == (1, 2)
    assert told(samples["b"]) == {"predicted": 3, "kept": 3, "moved": 0, "deleted": 0, "added": 0}
    assert len(samples["c"].points) == 0
    assert corrections.sentence("a.png", told(samples["a"])) == (
        "a.png: 5 predicted; 1 kept, 1 moved, 2 deleted, 1 added, 1 relabelled"
    )


def test_only_annotated_crops_are_trusted(F, capsys):
    """A crop of the right half, annotated; the left half is neither compared with nor trained on."""
    crop = {"source": "a.png", "image": "data:image/png;base64,", "top": 0, "left": 48, "margin": 16}
    crop |= {"height": 96, "width": 80, "source_height": 96, "source_width": 128}
    marks = [(50.25, 90.5 - 48, "Live Cell", "prediction"), (80.0, 64.75 - 48, "Live Cell", "prediction")]
    task = studio("a.png", [], data=crop)
    for y, x, label, origin in marks:
        task["annotations"][0]["result"] += [
            {"id": "m", "type": "keypointlabels", "original_width": 80, "original_height": 96, "origin": origin,
             "value": {"x": (x + 0.5) / 80 * 100, "y": (y + 0.5) / 96 * 100, "keypointlabels": [label]}}
        ]  # fmt: skip
    (F / "annotations" / "export.json").write_text(json.dumps([task]))
    sample = loaded(F)["a"]
    assert sample.valid[:, 64:].all() and not sample.valid[:, :64].any()
    assert told(sample) == {
        "predicted": 2, "kept": 2, "moved": 0, "deleted": 0, "added": 0, "area": 0.5, "outside": 0
    }  # fmt: skip
    again = folder.load_folder(folder.import_folder(F, F.parent / "plain"))[0]
    np.testing.assert_array_equal(again.valid, sample.valid)
    assert main(["data", "check", str(F)]) == 0
    assert "a.png: 2 predicted; 2 kept, 0 moved, 0 deleted, 0 added; in the annotated regions, 50%" in (
        capsys.readouterr().out
    )


def test_regions_of_dataset_toml_limit_any_annotation(F):
    correct(F, "a", FOUND[3], (5.0, 5.0), (6.0, 100.0))
    setting(F, '[regions]\n"a.png" = [[0, 64, 96, 128]]')
    sample = loaded(F)["a"]
    assert sample.points.tolist() == [list(FOUND[3]), [6, 100]] and sample.valid.sum() == 96 * 64
    assert told(sample) == {
        "predicted": 2, "kept": 1, "moved": 0, "added": 1, "deleted": 1, "area": 0.5, "outside": 1
    }  # fmt: skip


@pytest.mark.parametrize("name, emptied", [
    ("a-points.csv", "index,axis-0,axis-1,label\n"),
    ("a.json", '{"shapes": [], "imagePath": "a.png", "imageHeight": 96, "imageWidth": 128}'),
])  # fmt: skip
def test_an_image_of_which_all_points_were_deleted(F, capsys, name, emptied):
    """The warning names a remedy, and ends with it; such a folder alone is nothing to train on."""
    (F / "annotations" / name).write_text(emptied)
    [warning] = [problem for problem in folder.check(F) if problem.kind == "no-marks"]
    assert "'a.png,,'" in warning.todo
    (F / "annotations" / "empty.csv").write_text("image,y,x\na.png,,\n")
    assert kinds(F) == {"corrected-some", "none-live"}
    assert loaded(F)["a"].points.shape == (0, 2) and told(loaded(F)["a"])["deleted"] == 5
    correct(F, "b", *FOUND[:2])
    assert kinds(F) == {"corrected-some"}


def test_nothing_is_said_of_untouched_copies_of_empty_predictions(F):
    (F / "annotations" / "c-points.csv").write_text("index,axis-0,axis-1\n")
    correct(F, "a", *FOUND[:2])
    assert kinds(F) == {"corrected-some"}


def test_predictions_outside_of_the_annotated_regions_are_not_scored(F):
    correct(F, "a", FOUND[3], (5.0, 100.0), (5.0, 5.0))
    setting(F, '[regions]\n"a.png" = [[0, 64, 96, 128]]')
    sample = loaded(F)["a"]
    points = np.float32([FOUND[3], (40, 30), (41, 30), (60, 110)])
    found = Prediction(points, np.ones(4), 4)
    row = results.rows(sample, found, tolerances=[5.0], dataset="mine", parts=0).iloc[0]
    assert (row.tp, row.fp, row.fn) == (1, 1, 1) and np.isnan(row["count"])
    _, tried = tuned(lambda image, **_: found, [sample], {"sigma": [1.0]}, 5.0)
    assert tried.precision.tolist() == [0.5]


@pytest.mark.parametrize("boxes", ["3", "[3]", "[[1, 2, 3]]", "[[1, 2, 1, 9]]", '[["a", 2, 3, 4]]'])
def test_regions_that_are_no_boxes_are_refused(F, boxes):
    setting(F, f"[regions]\na = {boxes}")
    assert "toml-value" in kinds(F)


def test_predictions_that_are_lost_or_of_another_image_are_named(F):
    correct(F, "a", *FOUND[:2])
    (F / "images" / "b.png").unlink()
    [problem] = [p for p in folder.check(F) if p.kind == "predictions-image"]
    assert problem.severity == "warning" and "b.png" in problem.what
    for path in (F / "predictions").iterdir():
        path.unlink()
    assert "predictions-missing" in kinds(F)
    with pytest.raises(DataError, match="predictions = true"):
        data.load(F)


def test_broken_predictions_are_an_error_with_their_place(F):
    (F / "predictions" / "b.csv").write_text("image,y,x\nb.png,1,two\n")
    assert any(p.file == "predictions/b.csv" and p.where == "line 2" for p in folder.check(F))


def test_without_the_setting_predictions_are_not_looked_at(F):
    correct(F, "a", *FOUND)
    (F / "dataset.toml").write_text('channel = "auto"\n')
    sample = loaded(F)["a"]
    assert len(sample.points) == 5 and "provenance" not in sample.meta


def test_an_annotated_image_that_was_never_counted(F):
    Image.fromarray(np.random.default_rng(9).integers(0, 256, SHAPE, dtype=np.uint8)).save(F / "images" / "new.png")
    correct(F, "new", (3.0, 4.0))
    samples = loaded(F)
    assert samples["new"].points.tolist() == [[3, 4]] and samples["a"].points is None


def test_an_untouched_copy_beside_a_correction_is_no_contradiction(F):
    (F / "annotations").rmdir()
    convert(F / "predictions", F / "annotations", "napari")
    correct(F, "a", *FOUND[:4], file="mine.csv")
    assert told(loaded(F)["a"])["deleted"] == 1


def test_import_keeps_who_made_each_point_and_what_was_annotated(F, tmp_path):
    correct(F, "a", FOUND[0], (FOUND[1][0] + 4, FOUND[1][1]), (5.0, 5.0))
    setting(F, 'reviewed = ["c"]\n[regions]\na = [[0, 0, 96, 64]]')
    before, plain = loaded(F), folder.import_folder(F, tmp_path / "plain")
    assert (plain / "points.csv").read_text().splitlines()[0] == "image,y,x,label,score,origin"
    after = loaded(plain)
    np.testing.assert_array_equal(after["a"].points, before["a"].points)
    np.testing.assert_array_equal(after["a"].valid, before["a"].valid)
    assert after["a"].meta["provenance"]["origin"].tolist() == ["kept", "moved", "added"]
    assert told(after["a"]) == {"kept": 1, "moved": 1, "added": 1, "area": 0.5, "outside": 0}
    assert after["b"].points is None and len(after["c"].points) == 0


def test_a_column_origin_of_something_else_is_not_read(tmp_path):
    Image.fromarray(np.random.default_rng(9).integers(0, 256, SHAPE, dtype=np.uint8)).save(tmp_path / "a.png")
    (tmp_path / "points.csv").write_text("image,y,x,origin\na.png,3,4,Tartu\n")
    assert kinds(tmp_path) == {"csv-unread"} and "provenance" not in loaded(tmp_path)["a"].meta


def test_a_crop_of_a_sample_has_no_provenance_of_the_whole(F):
    correct(F, "a", *FOUND[:2])
    assert "provenance" not in loaded(F)["a"].crop(0, 0, 40, 40).meta


def test_training_images_by_name_and_the_split(F):
    correct(F, "a", *FOUND[:2])
    correct(F, "b", *FOUND[:2])
    samples = data.load(F)
    assert [s.name for s in training_samples(samples)] == ["a", "b"]
    assert (
        [s.name for s in training_samples(samples, ["b.png"])]
        == ["b"]
        == [s.name for s in training_samples(samples, ["b"])]
    )
    with pytest.raises(DataError, match="no annotated image c to train on; there are a, b"):
        training_samples(samples, ["a", "c"])
    setting(F, '[split]\ntest = ["a", "b"]')
    with pytest.raises(DataError, match='All 2 annotated images are in the split "test"'):
        training_samples(data.load(F))


def test_train_writes_nothing_among_the_data_unasked(F, monkeypatch, capsys):
    correct(F, "a", *FOUND[:2])
    monkeypatch.chdir(F)
    before = sorted(F.rglob("*"))
    assert main(["train", "."]) == ParameterError.exit_code
    assert "--out ../cellnet.safetensors" in capsys.readouterr().err
    assert sorted(F.rglob("*")) == before


def test_the_folder_that_count_writes_is_corrected_and_trained_on(tmp_path, capsys):
    """The loop with the real writer, without a file edited by hand: count, convert, correct, check, load."""
    (tmp_path / "plate").mkdir()
    for i in range(2):
        image = phantom.simulate(seed=i, size=(128, 160)).image
        Image.fromarray(np.rint(255 * image).astype(np.uint8)).save(tmp_path / "plate" / f"well-{i}.png")
    F, fast = tmp_path / "counts", ("--method", "blobs", "--out", str(tmp_path / "counts"))
    assert main(["count", str(tmp_path / "plate"), *fast]) == 0
    assert main(["data", "convert", str(F / "predictions"), str(F / "annotations"), "--format", "ImageJ"]) == 0
    assert main(["data", "check", str(F)]) == 3
    [before], _ = read(F / "annotations" / "well-1.zip")
    (F / "annotations" / "well-1.zip").unlink()
    write(F / "annotations" / "well-1.zip", [replace(before, points=before.points[2:] + [Mark((1.5, 2.25), "")])])
    capsys.readouterr()
    assert main(["data", "check", str(F)]) == 0
    n = len(before.points)
    assert f"well-1.png: {n} predicted; {n - 2} kept, 0 moved, 2 deleted, 1 added\n" in capsys.readouterr().out
    assert main(["data", "check", str(F), "--json"]) == 0
    done = {"predicted": n, "kept": n - 2, "moved": 0, "added": 1, "deleted": 2}
    assert json.loads(capsys.readouterr().out)["corrected"] == {"well-1.png": done}
    left, corrected = data.load(F)
    assert left.points is None and len(corrected.points) == n - 1
    assert main(["count", str(tmp_path / "plate"), *fast]) == 0, "counted before; the corrections stay"
    assert len(data.load(F)[1].points) == n - 1


def test_a_simulated_person_corrects_as_one_would():
    """On made points: a dead cell stays if it is taken for a live one, a far point is moved, others are deleted."""
    true = np.float32([[20, 20], [20, 80], [80, 20], [80, 80]])
    made = Sample("made", np.zeros((128, 128), np.float32), true, dead=np.float32([[50, 50], [110, 110]]))
    predicted = np.float32([[20, 21], [20, 89], [50, 51], [110, 20]])
    whole = {"kept": 1, "moved": 1, "deleted": 2, "added": 2, "left": 0}
    careful = {"missed": 0.0, "missed_in_dense": 0.0, "position_noise_px": 0.0, "dead_as_live": 0.0}
    corrected, did = correcting.corrected(made, predicted, 0, **careful)
    assert did == whole
    assert sorted(map(tuple, corrected.points.tolist())) == [(20, 21), (20, 80), (80, 20), (80, 80)]
    _, did = correcting.corrected(made, predicted, 0, **careful | {"dead_as_live": 1.0})
    assert did == {"kept": 2, "moved": 1, "deleted": 1, "added": 3, "left": 0}
    same, did = correcting.corrected(made, predicted, 0, overlooked=1.0, **careful)
    assert did == {"kept": 3, "moved": 1, "deleted": 0, "added": 0, "left": 4}
    assert len(same.points) == 4 and [110, 20] in same.points.tolist()
    scattered, did = correcting.corrected(made, predicted, 0, overlooked=1.0, scattered=True, **careful)
    assert did["left"] == 4 and len(scattered.points) == 4 and [110, 20] not in scattered.points.tolist()


def test_the_cost_of_actions_and_where_correcting_breaks_even():
    clicks = dict.fromkeys(correcting.ACTIONS, 0) | {"clicked": 11}
    assert correcting.seconds(clicks, "fast") == pytest.approx(2.4 + 10 * 0.9)
    assert correcting.seconds(clicks, "careful", fields=2) == pytest.approx(2 * 2.4 + 9 * 0.9)
    for speed in correcting.SPEEDS:
        share, n = correcting.break_even(speed), 1e6
        work = {"clicked": 0, "kept": share * n, "moved": 0, "deleted": (1 - share) * n, "added": (1 - share) * n}
        assert correcting.seconds(work, speed) == pytest.approx(0.9 * n)


@pytest.mark.slow
def test_the_comparison_has_all_strategies_and_is_resumed(tmp_path):
    tiny = {"numbers": [1, 2], "seeds": 1, "side": 96, "tests": 1, "steps": 2, "crop": 32, "batch": 2, "widths": [8, 8]}
    options = tiny | {"kinds": {"debris": ["click", "loop"]}, "overlooked": [1.0], "start": None, "device": "cpu"}
    frame = correcting.compare(out=tmp_path / "rows.csv", progress=False, **options)
    before = (tmp_path / "rows.csv").read_bytes()
    again = correcting.compare(out=tmp_path / "rows.csv", progress=False, **options)
    assert (tmp_path / "rows.csv").read_bytes() == before and len(again) == len(frame)
    table = correcting.curve(frame)
    assert table.groupby("strategy").k.apply(list).to_dict() == {"none": [0], "click": [1, 2], "loop": [1, 2]}
    assert (table[table.strategy == "loop"].actions > 0).all() and table.f1.between(0, 1).all()
    assert len(correcting.rounds(frame)) == 2
    assert set(correcting.left_over(frame).strategy) == {"correct", "scattered"}


@pytest.mark.slow
def test_train_takes_a_corrected_folder_and_records_what_was_corrected(F, capsys, monkeypatch):
    from cellcount.methods import cellnet

    correct(F, "a", *FOUND[:4], (5.0, 5.0))
    before, out = sorted(F.rglob("*")), F.parent / "mine.safetensors"
    tiny = ["-p", "steps", "3", "-p", "crop", "32", "-p", "batch", "2", "-p", "widths", "8,8", "--start", "none"]
    assert main(["train", str(F), "--out", str(out), "--device", "cpu", *tiny]) == 0
    said = capsys.readouterr().out
    assert "a.png: 5 predicted; 4 kept, 0 moved, 1 deleted, 1 added\n" in said
    assert "on 1 of 3 images, with 5 annotated cells" in said
    told = {"predicted": 5, "kept": 4, "moved": 0, "added": 1, "deleted": 1}
    assert cellnet.about(out)["provenance"] == {"a": told} and cellnet.about(out)["samples"] == ["a"]
    assert sorted(F.rglob("*")) == before, "nothing is written among the data"
    assert isinstance(Path(out.with_suffix(".onnx")).read_bytes(), bytes)


def test_images_that_nobody_corrected_beside_others_are_told(tmp_path):
    for name in "ab":
        pixels = np.random.default_rng(ord(name)).integers(0, 256, SHAPE, dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    marks = [Mark(point, "", score=0.9) for point in FOUND]
    kept = [replace(mark, origin="prediction") for mark in marks] + [Mark((5.0, 5.0), "", origin="manual")]
    both = [Annotation("", "", f"{name}.png", points=own) for name, own in (("a", kept), ("b", marks))]
    write(tmp_path / "points.csv", both, "CSV")
    [told] = [problem for problem in folder.check(tmp_path) if problem.kind == "corrected-others"]
    assert "of b.png" in told.what and 'reviewed = ["b"]' in told.todo
    (tmp_path / "dataset.toml").write_text('reviewed = ["b"]\n')
    assert "corrected-others" not in kinds(tmp_path) and set(loaded(tmp_path)) == {"a", "b"}
