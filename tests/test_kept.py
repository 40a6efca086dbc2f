"""What chapters show of longer runs that `results/` keeps."""

import ast
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cellcount import results
from cellcount.companion import kept, tables
from cellcount.companion.runner import PUBLISHED
from cellcount.companion.runner.sources import chapters as pages
from cellcount.companion.runner.sources import read, root
from cellcount.companion.studies import diameter
from cellcount.companion.studies.prompt_scores import prompt_scores
from cellcount.methods.masks import from_boxes
from cellcount.types import Prediction, Sample


@pytest.fixture
def kept_folder(tmp_path, monkeypatch):
    """An empty `results/` beside an empty `book/` that is the working directory."""
    for name in ("book", "results"):
        (tmp_path / name).mkdir()
    (tmp_path / "_toc.yml").touch()
    monkeypatch.chdir(tmp_path / "book")
    return tmp_path / "results"


def found(points, labels=None):
    return Prediction(points, np.ones(len(points)), float(len(points)), labels=labels, meta={"method": "m"})


@pytest.fixture
def sample():
    labels = np.zeros((60, 60), np.int32)
    labels[10:20, 10:20], labels[30:40, 30:40] = 1, 2
    points = np.float32([[14.5, 14.5], [34.5, 34.5]])
    return Sample("001", np.zeros((60, 60), np.float32), points, labels=labels)


def test_kept_runs_are_found_by_chapter_data_and_part(kept_folder, sample):
    rows = results.rows(sample, found(sample.points), tolerances=[5], dataset="phantom")
    results.write(rows, kept_folder / "cellpose-phantom.csv")
    results.write(rows, kept_folder / "cellpose-thesis-masks.csv")
    results.write(rows, kept_folder / "cellposed-thesis.csv")
    assert list(kept.rows("cellpose")) == ["phantom"] and list(kept.rows("cellpose", "masks")) == ["thesis"]
    assert kept.rows("cellpose")["phantom"].image.tolist() == rows.image.tolist()
    assert kept.rows("stardist") == {}


def test_show_kept_shows_points_and_masks_or_says_how_to_make_them(kept_folder, sample, monkeypatch):
    shown = []
    monkeypatch.setattr(kept, "display", shown.append)
    kept.show("cellpose", "Cellpose")
    assert "chapter keep cellpose --data phantom" in shown.pop().data
    answer = found(sample.points[:1], np.where(sample.labels == 1, 1, 0).astype(np.int32))
    for data in ("phantom", "thesis"):
        frame = results.rows(sample, answer, tolerances=[5], dataset=data)
        results.write(frame, kept_folder / kept.file_name("cellpose", data))
    results.write(results.mask_rows(sample, answer, dataset="phantom"), kept_folder / "cellpose-phantom-masks.csv")
    story = {"method": "cellpose", "train": "1", "threads": 2, "device": "cpu", "seconds": 90.0}
    for data, on in (("phantom", "1"), ("thesis", "1 2 3")):
        results.write(pd.DataFrame([story | {"train": on}]), kept_folder / f"cellpose-{data}-training.csv")
    kept.show("cellpose", "Cellpose")
    points, masks, training = shown
    assert training.body == [
        [data, "cellpose", on, "1.5", "2", "cpu"] for data, on in (("phantom", "1"), ("thesis", "3 fields"))
    ]
    assert (points.name, masks.name) == ("table-cellpose-kept", "table-cellpose-kept-masks")
    assert [row[0] for row in points.body] == ["phantom", "phantom", "thesis", "thesis"]  # each in two readings
    line = dict(zip(masks.header, masks.body[0]))
    assert line["masks"] == "1" and line["AP at .5"] == "0.50" and "IoU of boxes" not in line


# The README of results/ says what makes each of them.
LISTED = re.findall(r"`([\w.-]+\.csv)(?:\.gz)?`", (root() / "results" / "README.md").read_text())


def parts_read(page):
    """What a chapter's calls of `kept.rows` and `kept.show` find: parts, "" for its rows; and files that it names."""
    found = set()
    for cell in read(page).cells:
        for node in ast.walk(ast.parse(cell.source)) if cell.cell_type == "code" else ():
            if isinstance(node, ast.Constant) and str(node.value).endswith(".csv"):
                found.add(Path(node.value).name)
            called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            if called == "kept.rows":
                found.add(node.args[1].value if len(node.args) > 1 else "")
            if called == "kept.show":
                found |= {"", "masks", "training"}
    return found


def test_every_kept_file_is_one_that_a_chapter_reads():
    """A file in results/ under a wrong name would be shown nowhere."""
    shown = {page.stem.partition("-")[2]: parts_read(page) for page in pages()}
    for path in (root() / "results").glob("*.csv*"):
        file = path.name.removesuffix(".gz")
        name, _, rest = file.removesuffix(".csv").partition("-")
        _, _, part = rest.partition("-")
        of_page = name in PUBLISHED and rest.startswith("phantom")  # the page itself shows it
        assert of_page or name not in shown or shown[name] & {part, file} or file in LISTED, path.name


def test_prompt_scores_give_a_size_distribution_and_leave_out_what_nobody_knows(sample):
    masks = from_boxes((60, 60), [[10, 10, 20, 20], [30, 30, 50, 50]])
    row = {"method": "sam small", "type": "point"} | prompt_scores(masks, sample.points, labels=sample.labels)
    frame = tables.prompt_scores(pd.DataFrame([row, row | {"image": "other"}]))
    assert frame["area (px)"].tolist() == ["250 (130–370)"] and "IoU with drawn boxes" not in frame
    assert frame["IoU with the cell"].tolist() == pytest.approx([(1 + 0.25) / 2])
    boxed = row | {"image": "boxed", "n_boxes": 2, "box_iou_sum": 1.5}  # one of two images has boxes
    assert tables.prompt_scores(pd.DataFrame([row, boxed]))["IoU with drawn boxes"].tolist() == [0.75]


@pytest.fixture
def swept(sample):
    """A sweep that finds both cells at 20 px, one at 60 px, and nothing else."""
    frames = []
    for px in (6.7, 18.0, 20.0, 22.0, 60.0):
        for threshold in (0.0, 0.4):
            points = sample.points[: {20.0: 2, 60.0: 1}.get(px, 0) if not threshold else 0]
            frame = results.rows(sample, found(points), tolerances=[5], dataset="phantom", parts=0)
            frames.append(
                frame.assign(diameter=px, flow_threshold=threshold, size_px=px / 2, automatic_px=20.0, true_px=11.3)
            )
    return pd.concat(frames)


def test_the_sweep_is_pooled_for_each_diameter_and_limit(swept):
    table = diameter.table(swept)
    assert len(table) == 10
    best = table.loc[table.f1.idxmax()]
    assert (best.diameter, best.flow_threshold, best.f1, best.relative, best.size_px) == (20.0, 0.0, 1.0, 1.0, 10.0)
    assert diameter.known(swept) == {"automatic": 20.0, "true": 11.3}
    assert diameter.known(swept.assign(true_px=np.nan)) == {"automatic": 20.0}


def test_the_drafts_five_diameters_are_the_nearest_that_were_swept(swept):
    lines = diameter.draft(diameter.table(swept), 20.0, 0.0).set_index("asked")
    assert lines.diameter.to_dict() == {
        "automatic": 20.0, "2 px less": 18.0, "2 px more": 22.0, "a third": 6.7, "three times": 60.0,
    }  # fmt: skip
    assert lines["count"].tolist() == [2, 0, 0, 0, 1]


def test_the_steepest_change_is_counted_for_each_px(swept):
    lines = diameter.steepest(diameter.table(swept), 20.0).set_index("flow_threshold").steepest
    assert lines[0.0] == pytest.approx(0.5)  # from 2 masks to none within 2 px
    assert np.isnan(lines[0.4]), "where there is no mask, nothing can change"


def test_disc_is_the_diameter_of_the_median_mask():
    labels = np.zeros((40, 40), np.int32)
    labels[:10, :10], labels[20:30, 20:30] = 1, 3  # numbers may have gaps
    assert diameter.disc(labels) == pytest.approx(2 * np.sqrt(100 / np.pi))
    assert np.isnan(diameter.disc(np.zeros((4, 4), np.int32)))
