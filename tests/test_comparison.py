"""The comparison: the rows of all methods, paired differences, agreement, and figures of them."""

import shutil

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from scenes import scene

from cellcount import results
from cellcount.companion import kept, plots
from cellcount.companion.plots import style
from cellcount.companion.studies import comparison as study
from cellcount.types import Prediction

SAMPLE = scene(0)


def rows_of(method, points, dataset="phantom", **about):
    prediction = Prediction(points, np.ones(len(points), np.float32), float(len(points)), meta={"method": method})
    return results.rows(SAMPLE, prediction, tolerances=[4.0, 8.0], dataset=dataset, **about)


@pytest.fixture
def book(tmp_path, monkeypatch):
    """A repository with kept rows of CellNet and YOLOX, and a build with other rows of YOLOX."""
    (tmp_path / "_toc.yml").touch()
    folder, build = tmp_path / "results", tmp_path / "build"
    folder.mkdir()
    shutil.copy(kept.file("bench.csv"), folder)
    monkeypatch.chdir(tmp_path)
    results.write(rows_of("cellnet", SAMPLE.points), folder / "cellnet-phantom.csv")
    results.write(rows_of("yolox", SAMPLE.points[2:]), folder / "detectors-phantom.csv")
    (build / "12-detectors").mkdir(parents=True)
    results.write(rows_of("yolox", SAMPLE.points[5:]), build / "12-detectors" / "rows.csv")
    (build / "06-cellnet").mkdir()
    shutil.copy(folder / "cellnet-phantom.csv", build / "06-cellnet" / "rows.csv")
    return build


def test_rows_of_a_build_stand_beside_the_kept_ones_unless_they_repeat_them(book):
    rows, missing = study.gathered("phantom", book, 4.0)
    pairs = rows[["entrant", "source"]].drop_duplicates().itertuples(index=False)
    assert set(map(tuple, pairs)) == {("CellNet", study.KEPT), ("YOLOX", study.KEPT), ("YOLOX", study.BUILT)}
    assert set(rows.tolerance_px) == {4.0}
    assert "stardist-phantom.csv" in missing and "cellnet-phantom.csv" not in missing
    nothing, _ = study.gathered("/a/folder", None, 4.0)
    assert nothing.empty and study.scores(nothing).empty and study.paired(nothing).empty


def test_scores_are_those_of_the_summary(book):
    rows, _ = study.gathered("phantom", None, 4.0)
    scored = study.scores(rows).set_index(["entrant", "image"])
    summary = results.summary(rows[rows.entrant == "YOLOX"]).set_index("reading")
    line = scored.loc[("YOLOX", "all")]
    assert line.f1_whole == pytest.approx(summary.f1["whole"]) and line.low_near == summary.f1_low["near"]
    assert line.error == pytest.approx(-2 / len(SAMPLE.points)) and line.game == pytest.approx(-line.error)
    assert study.ranked(scored.reset_index()) == ["CellNet", "YOLOX"]


def test_a_paired_difference_is_that_of_the_scores(book):
    rows, _ = study.gathered("phantom", None, 4.0)
    scored = study.scores(rows).set_index(["entrant", "image"]).f1_near
    (line,) = study.paired(rows[rows.reading == "near"]).itertuples()
    assert line.difference == pytest.approx(scored["YOLOX", "all"] - scored["CellNet", "all"])
    assert line.low <= line.difference <= line.high <= 0


def test_area_counts_each_image_with_the_constant_of_the_other():
    rows, _ = study.gathered("thesis", None, 12.0)
    lines = study.scores(rows)
    area = lines[lines.entrant == "Area"].set_index("image")
    windows = results.table(kept.file("foreground-windows.csv"))
    sums = windows[windows.foreground == "deviation"].groupby("image")[["cells", "area"]].sum()
    one, two = (sums.loc[key] for key in sums.index)
    assert area["count"]["1"] == pytest.approx(two.cells / two.area * one.area)
    assert np.isnan(area.f1_whole["all"]) and lines.entrant.nunique() > 12


def test_agreement_is_about_the_same_cells():
    points = {"a": {SAMPLE.name: SAMPLE.points[:10]}, "b": {SAMPLE.name: SAMPLE.points[5:]}, "c": {}}
    seen = study.found([SAMPLE], points, 4.0)
    assert seen.sum().tolist() == [10, len(SAMPLE.points) - 5, 0]
    agreed = study.kappa(seen)
    assert agreed.loc["a", "a"] == pytest.approx(1) and agreed.loc["a", "b"] < 0
    (shares,) = study.pairs(seen[["a", "b"]]).itertuples()
    assert shares.both == 5 / len(SAMPLE.points) and shares.none == 0 and shares.both + shares.one == 1
    y, x, height, width = study.disputed(SAMPLE, seen[["a", "b"]], 48)
    assert 0 <= y <= SAMPLE.image.shape[0] - height and (height, width) == (48, 48)


def test_points_of_a_build_are_taken_where_none_are_kept(book):
    frame = pd.DataFrame({"method": "yolox", "image": SAMPLE.name, "y_px": [1.0], "x_px": [2.0], "score": [1.0]})
    frame.to_csv(book / "12-detectors" / "points.csv", index=False)
    found, missing = study.points("phantom", book)
    assert found["YOLOX"][SAMPLE.name].tolist() == [[1.0, 2.0]] and list(found) == ["YOLOX"]
    assert "detectors-phantom-points.csv" not in missing and "cellnet-phantom-points.csv" in missing


def test_every_method_has_a_colour_and_every_figure_is_drawn():
    assert set(study.FAMILY.values()) <= set(style.METHOD)
    rows, _ = study.gathered("thesis", None, 12.0)
    scored = study.scores(rows)
    ranking = plots.method_ranking(scored, study.costs(rows))
    assert len(ranking.axes) == 3
    seen = study.found([SAMPLE], {"a": {SAMPLE.name: SAMPLE.points[:9]}, "b": {SAMPLE.name: SAMPLE.points[5:]}}, 4.0)
    points = {"a": SAMPLE.points[:9], "b": SAMPLE.points[5:]}
    for figure in (
        plots.paired_differences(study.paired(rows, draws=20), study.REFERENCE),
        plots.density_lines(study.by_density(rows), ["CellNet", "Blobs"]),
        plots.agreement_matrix(study.kappa(seen)),
        plots.method_gallery(SAMPLE, points, 4.0, (0, 0, 48, 48)),
    ):
        assert isinstance(figure, Figure)
        figure.canvas.draw()
