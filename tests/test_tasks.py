"""The chapter on tasks and metrics: answers, counts, precision over recall; its sources; and the glossary."""

import re

import numpy as np
import pytest

from cellcount.companion.plots import tasks as figures
from cellcount.companion.runner.sources import root
from cellcount.companion.studies import tasks
from cellcount.data import phantom
from cellcount.metrics import match
from cellcount.types import Prediction

TOLERANCE = 10.0
PAGES = {path.stem: path.read_text() for path in sorted((root() / "book").glob("[0-9]*.md"))}


@pytest.fixture(scope="module")
def field():
    return phantom.simulate(3, (256, 256), confluence=0.6)


def test_suppression_keeps_the_first_of_boxes_that_overlap_too_much():
    boxes = np.array([[0, 0, 10, 10], [0, 4, 10, 14], [0, 3, 10, 13], [0, 30, 10, 40]], float)
    assert tasks.unsuppressed(boxes, 0.5).tolist() == [True, True, False, True]  # 6 / 14, then 7 / 13
    assert tasks.unsuppressed(boxes, 0.9).all()
    assert not tasks.unsuppressed(np.zeros((0, 4)), 0.5).size


def test_boxes_bound_the_pixels_of_their_masks():
    labels = np.zeros((9, 9), int)
    labels[2:4, 5:8] = 1
    assert tasks.bounding_boxes(labels).tolist() == [[1.5, 4.5, 3.5, 7.5]]
    assert tasks.bounding_boxes(labels * 0).shape == (0, 4)


def test_a_perfect_network_counts_right_except_where_the_answer_itself_loses_cells(field):
    counts = tasks.perfect_counts(field, side=50, overlap=0.5, sigma=4, distance=7)
    cells = len(field.points)
    assert counts["cells"] == counts["masks"] == cells
    assert all(0.95 * cells <= counts[name] <= cells for name in ("boxes", "squares", "peaks"))
    assert counts["area"] < cells / 4 and 0.95 * cells < counts["density"] < cells  # cut at the border


def test_the_density_of_clicks_sums_to_the_clicks(field):
    heat, clicks = tasks.mean_of_clicks(field, passes=5, seed=0, sigma=4)
    assert 0.75 * len(field.points) < clicks < len(field.points)
    assert 0.94 * clicks < heat.sum() / (2 * np.pi * 16) < clicks


def test_average_precision_by_hand():
    true = np.float32([[0, 0], [0, 50], [0, 100], [0, 150]])
    found = Prediction([[0, 0], [99, 99], [0, 50], [0, 100]], [0.9, 0.8, 0.7, 0.6], 4)
    curve = tasks.ranked(true, found, 5)
    assert curve.tp.tolist() == [1, 1, 2, 3]
    assert curve.precision.tolist() == [1, 1 / 2, 2 / 3, 3 / 4] and curve.recall.tolist() == [0.25, 0.25, 0.5, 0.75]
    assert tasks.average_precision(curve, envelope=False) == pytest.approx((1 + 2 / 3 + 3 / 4) / 4)
    assert tasks.average_precision(curve) == pytest.approx((1 + 3 / 4 + 3 / 4) / 4)


def test_rivals_differ_in_nothing_but_what_each_is_made_to_show(field):
    answers = tasks.rivals(field, tolerance=TOLERANCE, seed=0)
    a, b, c = answers.values()
    assert np.array_equal(a.points, b.points) and sorted(a.scores) == sorted(b.scores)
    assert match(field.points, c.points, TOLERANCE).tp == 0 and len(c.points) == len(field.points)
    table = tasks.judged(field, answers, TOLERANCE).set_index("answer")
    assert table.f1["A"] == table.f1["B"] == pytest.approx(0.8, abs=0.02)
    assert table.ap["A"] > table.ap["B"] + 0.05 and table.ap["C"] == 0
    assert (table.error == 0).all() and table.game3["C"] > table.game3["A"] > 0
    assert table.ap_segmentation["A"] == pytest.approx(table.f1["A"] / (2 - table.f1["A"]))


def test_figures_draw(field, tmp_path):
    counts = tasks.perfect_counts(field, side=50, overlap=0.5, sigma=4, distance=7)
    answers = tasks.rivals(field, tolerance=TOLERANCE, seed=0)
    curves = {name: tasks.ranked(field.points, answers[name], TOLERANCE) for name in "AB"}
    drawn = [
        figures.task_answers(field, counts, sigma=4, distance=7),
        figures.precision_recall(curves, {name: tasks.average_precision(curve) for name, curve in curves.items()}),
        figures.right_count(field, answers["C"], window=(0, 0, 100, 140)),
    ]
    for figure in drawn:
        figure.savefig(tmp_path / "figure.png", dpi=40)
    titles = [axes.get_title(loc="left") for axes in drawn[0].axes]
    assert len(titles) == 6 and f"{len(field.points)} masks" in titles[1]


def test_every_source_that_a_page_cites_is_in_the_bibliography_once():
    keys = re.findall(r"^@\w+\{([^,\s]+),", (root() / "book" / "references.bib").read_text(), re.M)
    assert len(keys) == len(set(keys)), sorted(key for key in keys if keys.count(key) > 1)
    for name, text in PAGES.items():
        cited = {key.strip() for found in re.findall(r"\{cite(?::\w+)?\}`([^`]+)`", text) for key in found.split(",")}
        assert cited <= set(keys), f"{name}: {sorted(cited - set(keys))}"


def terms():
    block = PAGES["22-glossary"].split("```{glossary}\n")[1].split("\n```")[0]
    return [line for line in block.splitlines() if line and not line.startswith(" ")]


def test_terms_are_unique_and_those_that_pages_refer_to_exist():
    known = [term.lower() for term in terms()]
    assert len(known) == len(set(known)) > 40, sorted(term for term in known if known.count(term) > 1)
    for name, text in PAGES.items():
        for role in re.findall(r"\{term\}`([^`]+)`", text):
            target = re.search(r"<(.+)>", role)
            assert " ".join((target.group(1) if target else role).split()).lower() in known, f"{name}: {role}"


def test_terms_are_in_alphabetical_order():
    blocks = PAGES["22-glossary"].split("```{glossary}\n")[1].split("\n```")[0].split("\n\n")
    first = [block.splitlines()[0].lower() for block in blocks]
    assert first == sorted(first)
