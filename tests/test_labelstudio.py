"""Label Studio: crops with predictions out, corrected crops in; the most doubtful crops first."""

import json

import numpy as np
import pytest

from cellcount.io.crops import grid, inside
from cellcount.io.points import read

# ---- crops


@pytest.mark.parametrize("shape", [(256, 256), (1944, 2592), (513, 90), (50_700, 40)])
def test_the_cores_of_a_grid_cover_the_image_once(shape):
    crops = grid(shape, np.zeros((0, 2)))
    assert sum((y1 - y0) * (x1 - x0) for (y0, x0, y1, x1), _ in crops) == shape[0] * shape[1]
    for core, crop in crops:
        assert max(core[2] - core[0], core[3] - core[1]) <= 512
        margins = core[0] - crop[0], core[1] - crop[1], crop[2] - core[2], crop[3] - core[3]
        ends = core[0] == 0, core[1] == 0, core[2] == shape[0], core[3] == shape[1]
        assert margins == tuple(0 if end else 32 for end in ends)


@pytest.mark.parametrize(("points", "longest"), [(250, 512), (251, 384), (700, 256)])
def test_crops_are_smaller_where_cells_are_dense(points, longest):
    places = np.random.default_rng(0).uniform(0, 500, (points, 2))
    crops = grid((512, 512), places)
    assert max(core[2] for core, _ in crops) == 512
    assert max(core[2] - core[0] for core, _ in crops) == min(512, -(-512 // -(-512 // longest)))
    assert sum(inside(places, core).sum() for core, _ in crops) == points


def task(top, left, *points, height=300, width=300, whole=(600, 500), key="annotations", **more):
    """A task with one annotation: points (y, x, origin) of a crop, as Label Studio stores them."""
    result = [
        {"id": f"r{n}", "from_name": "cells", "to_name": "image", "type": "keypointlabels", "origin": origin,
         "original_width": width, "original_height": height, "image_rotation": 0,
         "value": {"x": (x + 0.5) / width * 100, "y": (y + 0.5) / height * 100, "keypointlabels": ["Live Cell"]}}
        for n, (y, x, origin) in enumerate(points)
    ]  # fmt: skip
    data = {"image": "", "source": "a.png", "top": top, "left": left, "height": height, "width": width}
    data |= {"source_height": whole[0], "source_width": whole[1]} if whole else {}
    return {"id": 1, "data": data | more.pop("data", {}), key: [{"id": 2, "result": result}], **more}


def reading(path, *tasks):
    path.write_text(json.dumps(tasks))
    found, problems = read(path)
    return found, {problem.kind: problem for problem in problems}


def test_annotated_crops_are_the_regions_of_an_annotation(tmp_path):
    """An emptied crop is annotated, and has no cell; a crop that nobody submitted is not."""
    path = tmp_path / "a.json"
    corrected, emptied = task(0, 0, (10, 10, "prediction")), task(0, 236, width=264)
    left = task(236, 0, height=364) | {"annotations": []}
    [one], problems = reading(path, corrected, emptied, left)
    assert one.regions == [(0, 0, 268, 268), (0, 268, 268, 500)] and len(one.points) == 1
    assert one.size == (600, 500)
    assert "2 crops" in str(problems["ls-crops"]) and "45%" in str(problems["ls-crops"])
    rest = [task(236, 0, height=364), task(236, 236, height=364, width=264)]
    [one], problems = reading(path, corrected, emptied, *rest)
    assert one.regions == [] and not problems, "all crops are the whole image"
    [one], problems = reading(path, emptied)
    assert one.points == [] and one.regions == [(0, 268, 268, 500)]
    assert one.holds() == {"cells"}


def test_crops_that_cannot_be_placed_are_refused(tmp_path):
    path = tmp_path / "a.json"
    bare = task(0, 0, data={"height": 0})
    assert list(reading(path, bare)[1]) == ["ls-crop-size"]
    for data in ({"top": -40}, {"left": 300}, {"margin": 400}, {"margin": -40}):
        found, problems = reading(path, task(100, 100, (5, 5, "manual"), data=data))
        assert found == [] and list(problems) == ["ls-crop-place"], data


def test_drafts_and_skipped_tasks_are_named(tmp_path):
    path = tmp_path / "a.json"
    skipped = task(0, 236, width=264)
    skipped["annotations"][0]["was_cancelled"] = True
    [one], problems = reading(path, task(0, 0, (1, 1, "manual"), drafts=[{"id": 3}]), skipped)
    assert len(one.points) == 1 and "1 tasks" in str(problems["ls-drafts"]) and "ls-cancelled" in problems
