"""Label Studio: crops with predictions out, corrected crops in; the most doubtful crops first."""

import base64
import io
import json
import shutil

import numpy as np
import pytest
from labelstudio_stand_in import REFRESH, TOKEN, edited, stand_in
from PIL import Image

from cellcount import load
from cellcount.cli import main
from cellcount.data import phantom
from cellcount.io import labelstudio_server
from cellcount.io.crops import grid, inside
from cellcount.io.images import read_image
from cellcount.io.points import read
from cellcount.io.writing import write
from cellcount.metrics.doubt import doubts, turned, turned_back
from cellcount.results.review import crops, review

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


def test_one_of_several_annotations_of_a_crop_counts(tmp_path):
    """Two of the left crop, of persons 5 and 6, and one of the right: never two at once."""
    path = tmp_path / "a.json"
    left, right = task(0, 0, (10, 10, "prediction")), task(0, 236, (9, 99, "manual"), width=264)
    left["annotations"][0]["completed_by"] = right["annotations"][0]["completed_by"] = 5
    left["annotations"] += [{"id": 3, "completed_by": 6, "result": task(0, 0)["annotations"][0]["result"]}]
    [one], problems = reading(path, left, right)
    said = str(problems["ls-annotators"])
    assert "task 1" in said and "2 times: 5 (task 1, annotation 2), 6 (task 1, annotation 3)" in said
    assert problems["ls-annotators"].severity == "error" and len(one.points) == 2
    for annotators, count in {"first": 2, "last": 1, 5: 2, "6": 1, "union": 2}.items():
        [one], problems = read(path, annotators=annotators)
        assert len(one.points) == count and len(one.regions) == 2, annotators
        assert [problem.kind for problem in problems] == ["ls-crops"]
    path.write_text(json.dumps([left, left | {"id": 2}]))
    assert "3 times" not in str(read(path)[1]) and "ls-annotators" in {problem.kind for problem in read(path)[1]}


def test_regions_are_not_lost_in_silence(tmp_path):
    found, _ = reading(tmp_path / "a.json", task(0, 0, (10, 10, "prediction")))
    [problem] = write(tmp_path / "a.csv", found)
    assert problem.kind == "write-regions" and '"a" = [[0, 0, 268, 268]]' in str(problem)


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
    assert len(one.points) == 1 and "not used: 1 (task 1)" in str(problems["ls-drafts"])
    assert "not used: 1 (task 1)" in str(problems["ls-cancelled"])


def test_what_concerns_many_images_is_one_line(tmp_path):
    tasks = [task(0, 0, (9, 9, "manual"), data={"source": f"{n}.png"}, drafts=[{"id": 3}]) for n in range(9)]
    skipped = [task(0, 236, width=264, data={"source": f"{n}.png"}) | {"id": n} for n in range(9)]
    for one in skipped:
        one["annotations"][0]["was_cancelled"] = True
    (tmp_path / "a.json").write_text(json.dumps(tasks + skipped))
    found, problems = read(tmp_path / "a.json")
    assert len(found) == 9 and [one.kind for one in problems] == ["ls-cancelled", "ls-drafts", "ls-crops"]
    assert "not used: 9 (0.png: 1 crop, 24% of its area, 1.png: " in str(problems[2]) and "..." in str(problems[2])
    assert "not used: 9 (task 0, task 1, " in str(problems[0])


# ---- tasks of a folder that `count` wrote


@pytest.fixture(scope="module")
def once(tmp_path_factory):
    """A folder of two counted images: one of 700 x 300 px in two crops, the other of 12 bits in 16."""
    root = tmp_path_factory.mktemp("counted")
    (root / "in").mkdir()
    tall, small = phantom.simulate(seed=1, size=(700, 300)).image, phantom.simulate(seed=2, size=(200, 300)).image
    Image.fromarray(np.rint(tall * 255).astype(np.uint8)).save(root / "in" / "tall.png")
    Image.fromarray(np.rint(small * 4095).astype(np.uint16)).save(root / "in" / "small.tif")
    assert main(["count", str(root / "in"), "--out", str(root / "F"), "--method", "blobs"]) == 0
    return root / "F"


@pytest.fixture
def counted(once, tmp_path):
    return shutil.copytree(once, tmp_path / "F")


def predictions(folder, name):
    [one], _ = read(folder / "predictions" / f"{name}.csv")
    return np.array([mark.position for mark in one.points])


def pixels(task):
    kind, content = task["data"]["image"].split(";base64,")
    image = Image.open(io.BytesIO(base64.b64decode(content)))
    assert image.format.lower() == kind.removeprefix("data:image/")
    return np.asarray(image, float)


def exported(folder, capsys, *options):
    assert main(["labelstudio", "export", str(folder), *options]) == 0
    return json.loads((folder / "labelstudio" / "tasks.json").read_text()), capsys.readouterr()


def test_tasks_show_the_image_as_it_was_counted(counted, capsys):
    tasks, said = exported(counted, capsys)
    assert "3 crops of 2 images" in said.out and "annotations/labelstudio.json" in said.out and "<Image" in said.out
    assert said.err == "" and (counted / "labelstudio" / "tasks.xml").is_file()
    assert [task["data"]["source"] for task in tasks].count("tall.png") == 2
    for task in tasks:
        data = task["data"]
        y0, x0, height, width = (data[name] for name in ("top", "left", "height", "width"))
        image = read_image(counted / "images" / data["source"])
        assert (data["source_height"], data["source_width"]) == image.shape
        shown, part = pixels(task), image[y0 : y0 + height, x0 : x0 + width]
        assert shown.shape == part.shape
        core = np.s_[32 * (y0 > 0) : height - 32 * (y0 + height < image.shape[0])]
        assert np.corrcoef(shown[core].ravel(), part[core].ravel())[0, 1] > 0.98
        dark = np.delete(np.arange(height), np.arange(height)[core])
        assert dark.size == (32 if data["source"] == "tall.png" else 0)
        if dark.size:
            assert shown[dark].max() < 0.5 * 255 and np.corrcoef(shown[dark].ravel(), part[dark].ravel())[0, 1] > 0.9
    assert "image/png" in tasks[-1]["data"]["image"] or any("png" in task["data"]["image"][:20] for task in tasks)


def test_every_prediction_is_in_one_task_and_comes_back_where_it_was(counted, capsys):
    tasks, _ = exported(counted, capsys)
    assert all(task["data"]["predicted"] == len(task["predictions"][0]["result"]) for task in tasks)
    assert all("score" in one for task in tasks for one in task["predictions"][0]["result"])
    assert {task["predictions"][0]["model_version"] for task in tasks} == {"blobs"}
    (counted / "annotations").mkdir()
    for task in tasks:
        task["annotations"] = [{"id": 1, "completed_by": 1, "result": edited(task)}]
    (counted / "annotations" / "labelstudio.json").write_text(json.dumps(tasks))
    for sample in load(counted):
        before = predictions(counted, sample.name)
        assert len(before) > 20
        np.testing.assert_allclose(*(places[np.lexsort(places.T)] for places in (sample.points, before)), atol=1e-3)
        assert sample.valid.all() and sample.meta["provenance"]["kept"] == len(before)


def test_an_image_that_is_stored_turned_is_shown_upright(tmp_path, capsys):
    image = Image.fromarray(np.rint(phantom.simulate(seed=2, size=(200, 300)).image * 255).astype(np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "a.jpg", exif=exif, quality=95)
    assert main(["count", str(tmp_path / "a.jpg"), "--out", str(tmp_path / "F"), "--method", "blobs"]) == 0
    [task], _ = exported(tmp_path / "F", capsys, "--order", "image")
    assert pixels(task).shape == (300, 200) == (task["data"]["source_height"], task["data"]["source_width"])
    assert "doubt" not in task["data"]


def test_annotated_folders_are_exported_to_be_checked_again(tmp_path, capsys):
    sample = phantom.simulate(seed=2, size=(200, 300))
    Image.fromarray(np.rint(sample.image * 255).astype(np.uint8)).save(tmp_path / "a.png")
    lines = [f"a.png,{y},{x},{label}" for (y, x), label in zip(sample.points, ["Zelle"] * 30 + ["what", ""])]
    (tmp_path / "points.csv").write_text("\n".join(["image,y,x,label", *lines, "a.png,5,5,dead"]))
    (tmp_path / "dataset.toml").write_text('[labels]\nlive = ["Zelle"]\nignore = ["what"]\n')
    [task], said = exported(tmp_path, capsys)
    labels = [one["value"]["keypointlabels"][0] for one in task["predictions"][0]["result"]]
    assert labels == ["Live Cell"] * 31 + ["Dead Cell"]
    assert (
        "what (1)" in said.err and "crops of 1 image are ordered by crowding only: cellcount did not count" in said.err
    )


@pytest.mark.parametrize(
    ("arguments", "message", "code"),
    [
        (["export", "F", "F/tasks.json"], "read as annotations", 2),
        (["export", "F", "F/annotations/tasks.json"], "read as annotations", 2),
        (["export", "F", "there.json"], "exists", 3),
        (["export", "F", "cvat.json"], "cvat.xml exists", 3),
        (["export", "F", "tasks.xml"], "suffix .json", 2),
        (["export", "F", "--first", "0"], "--first 0", 2),
        (["export", "F", "--views", "9"], "views=9", 2),
        (["export", "F", "--order", "random", "--views", "8"], "--views 8 is for the order by doubt", 2),
        (["export", "empty"], "The folder is empty", 3),
        (["export", "bare"], "has no predictions", 3),
        (["push", "F"], "LABEL_STUDIO_URL", 2),
        (["push", "F", "--url", "http://127.0.0.1:9"], "LABEL_STUDIO_API_KEY", 2),
        (["push", "F", "--url", "localhost:8080", "--token", TOKEN], "http://localhost:8080", 2),
        (["push", "F", "--url", "http://127.0.0.1:9", "--token", "two words"], "not a token", 2),
        (["push", "F", "--url", "http://127.0.0.1:9", "--token", TOKEN], "no server at http://127.0.0.1:9", 4),
        (["push", "F", "--url", "http://127.0.0.1:9", "--token", TOKEN, "--project", "ab"], "3 to 50 characters", 2),
        (["pull", "F"], "was not sent", 3),
    ],
)
def test_calls_that_cannot_work_say_so_in_one_line(once, tmp_path, monkeypatch, capsys, arguments, message, code):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LABEL_STUDIO_URL", raising=False)
    monkeypatch.delenv("LABEL_STUDIO_API_KEY", raising=False)
    shutil.copytree(once, "F")
    (tmp_path / "empty").mkdir()
    shutil.copytree(once / "images", "bare")
    (tmp_path / "there.json").write_text("[]")
    (tmp_path / "cvat.xml").write_text("")
    assert main(["labelstudio", *arguments]) == code
    said = capsys.readouterr()
    assert message in said.err and said.err.startswith("error: ") and said.err.count("\n") == 1 and not said.out
    assert not (tmp_path / "F" / "labelstudio").exists()


# ---- push


@pytest.fixture
def server(monkeypatch):
    """A server, to which calls without --url and --token go."""
    with stand_in() as (state, url):
        monkeypatch.setenv("LABEL_STUDIO_URL", url)
        monkeypatch.setenv("LABEL_STUDIO_API_KEY", TOKEN)
        yield state


def labelstudio(*arguments):
    return main(["labelstudio", *map(str, arguments)])


def test_a_crop_is_sent_once(server, counted, capsys):
    assert labelstudio("push", counted, "--first", 2) == 0
    assert "2 crops sent to the project cellcount F\n" in capsys.readouterr().out
    first = [task["meta"]["crop"] for task in server.tasks[1]]
    assert labelstudio("push", counted) == 0
    assert "1 crop sent to the project cellcount F; 2 were there before" in capsys.readouterr().out
    assert [task["meta"]["crop"] for task in server.tasks[1]][:2] == first and len(server.tasks[1]) == 3
    assert labelstudio("push", counted) == 0
    assert "0 crops sent" in capsys.readouterr().out and len(server.tasks[1]) == 3 and len(server.projects) == 1
    doubt = [task["data"]["doubt"] for task in server.tasks[1]]
    assert doubt == sorted(doubt, reverse=True)


def test_what_is_printed_works_to_the_letter(server, counted, capsys, monkeypatch):
    monkeypatch.delenv("LABEL_STUDIO_API_KEY")
    assert labelstudio("push", counted, "--first", 2, "--token", TOKEN) == 0
    said = capsys.readouterr().out
    assert f"Then: cellcount labelstudio pull {counted} --token TOKEN\n" in said
    assert "export LABEL_STUDIO_API_KEY=TOKEN" in said and "from the beginning" not in said and TOKEN not in said
    assert labelstudio("push", counted, "--first", 2, "--token", TOKEN) == 0
    assert "--first 2 counts from the beginning: for the next crops give a larger number" in capsys.readouterr().out
    submit(server.tasks[1][0], edited(server.tasks[1][0], deleted=1))
    assert labelstudio("pull", counted, "--token", TOKEN) == 0


def test_no_file_has_the_token(server, counted):
    assert labelstudio("push", counted) == 0
    written = [path for path in counted.rglob("*") if path.is_file()]
    assert any(path.name == "project.json" for path in written)
    assert not any(TOKEN.encode() in path.read_bytes() for path in written)


def test_a_broken_push_is_resumed_without_doubling(server, counted, capsys, monkeypatch):
    """The server gets the second batch, and the connection breaks before it has answered."""
    monkeypatch.setattr(labelstudio_server, "BATCH", 1)
    imports = []

    def fault(method, path, number):
        imports.append(path.endswith("/import"))
        if sum(imports) == 2 and imports[-1]:
            server.tasks[1].append(task | {"id": 2})
            return 0, {}, b""
        return None

    assert labelstudio("export", counted) == 0
    task = json.loads((counted / "labelstudio" / "tasks.json").read_text())[1] | {"annotations": [], "drafts": []}
    server.fault = fault
    assert labelstudio("push", counted) == 1
    assert "give the command again" in capsys.readouterr().err and len(server.tasks[1]) == 2
    assert labelstudio("push", counted) == 0
    assert "1 crop sent" in capsys.readouterr().out
    assert len({one["meta"]["crop"] for one in server.tasks[1]}) == len(server.tasks[1]) == 3


def test_a_project_is_found_by_its_title(server, counted, tmp_path, capsys):
    assert labelstudio("push", counted, "--project", "cells", "--first", 1) == 0
    shutil.rmtree(counted / "labelstudio")
    assert labelstudio("push", counted, "--project", "cells") == 0
    assert "2 crops sent to the project cells; 1 was there before" in capsys.readouterr().out
    assert labelstudio("push", counted, "--project", "other") == 0
    assert len(server.projects) == 2 and len(server.tasks[2]) == 3
    server.projects[3] = server.projects[1] | {"id": 3}
    assert labelstudio("push", counted, "--project", "cells") == 3
    assert "2 projects called cells" in capsys.readouterr().err


def test_other_predictions_need_another_project(server, counted, capsys):
    assert labelstudio("push", counted) == 0
    path = counted / "predictions" / "tall.csv"
    path.write_text("".join(path.read_text().splitlines(True)[:-1]))
    assert labelstudio("push", counted, "--order", "image") == 3
    said = capsys.readouterr().err
    assert "1 crop with other predictions" in said and "--project TITLE" in said and len(server.tasks[1]) == 3
    assert labelstudio("push", counted, "--order", "image", "--project", "again") == 0
    assert len(server.tasks[2]) == 3


JSON, HTML = {"Content-Type": "application/json"}, {"Content-Type": "text/html"}
FAULTS = {
    "page": ((200, HTML, b"<html>hello</html>"), "sent text/html instead of JSON", 1),
    "other page": ((404, HTML, b"<html>not found</html>"), "no Label Studio server", 1),
    "redirect": ((302, {"Location": "https://else.where/"}, b""), "https://else.where/: give that address", 1),
    "too large": ((413, HTML, b"<html>nginx</html>"), "refuses requests of 8 MB", 1),
    "fault": ((500, JSON, b'{"detail": "out of\\nmemory"}'), "(status 500). out of memory", 1),
    "refused": ((403, JSON, b'{"detail": "not yours"}'), "refuses the token (not yours)", 2),
    "broken": ((0, {}, b""), "broke off its answer", 1),
    "half": ((200, {"Content-Length": 100, **JSON}, b"[1, 2"), "broke off its answer", 1),
    "no list": ((200, JSON, b'"hello"'), "sent an answer of another form", 1),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_a_server_answers_wrongly_is_one_line(server, counted, capsys, fault):
    answer, message, code = FAULTS[fault]
    server.fault = lambda method, path, number: answer
    assert labelstudio("push", counted, "--order", "image") == code
    said = capsys.readouterr().err
    assert message in said and said.startswith("error: http://127.0.0.1:") and said.count("\n") == 1
    assert TOKEN not in said and len(server.requests) == 1


def test_a_slow_server_is_not_waited_for_for_ever(server, counted, capsys, monkeypatch):
    monkeypatch.setattr(labelstudio_server.Server.__init__, "__defaults__", (0.05,))
    server.fault = lambda *_: __import__("time").sleep(0.5)
    assert labelstudio("push", counted, "--order", "image") == 1
    assert "did not answer within 0.05 s" in capsys.readouterr().err


def test_tokens_of_both_kinds(server, counted, capsys, monkeypatch):
    assert labelstudio("push", counted, "--token", TOKEN[::-1], "--order", "image") == 2
    assert "refuses the token (Invalid token.)" in capsys.readouterr().err
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", REFRESH)
    expired = []

    def fault(method, path, number):
        if path.endswith("/import") and not expired:
            expired.append(path)
            return 401, JSON, b'{"detail": "expired"}'
        return None

    server.fault = fault
    assert labelstudio("push", counted, "--order", "image") == 0
    assert len(server.access) == 2 and len(server.tasks[1]) == 3
    assert labelstudio("push", counted, "--token", REFRESH[:-3] + "abc") == 2
    assert "refuses the token (Token is invalid)" in capsys.readouterr().err


# ---- pull


def submit(task, result, person=1, **more):
    task["annotations"].append({"id": 10 * task["id"], "completed_by": person, "result": result, **more})


def test_corrections_come_back(server, counted, capsys):
    assert labelstudio("push", counted, "--order", "image") == 0
    assert labelstudio("pull", counted) == 3
    said = capsys.readouterr().err
    assert "None of the 3 crops was submitted" in said and not (counted / "annotations").exists()
    small, upper, lower = server.tasks[1]
    assert upper["data"]["source"] == "tall.png" and upper["data"]["top"] == 0
    submit(upper, edited(upper, moved=2, deleted=3, added=[(100.25, 120.5)]))
    submit(lower, edited(lower), was_cancelled=True)
    small["drafts"] = [{"id": 1, "result": edited(small, deleted=5)}]
    assert labelstudio("pull", counted) == 0
    said = capsys.readouterr()
    count = upper["data"]["predicted"]
    assert "tall.png: 1 submitted, 1 skipped of 2 crops. Points: " in said.out
    assert f"{count} predicted; {count - 5} kept, 2 moved, 3 deleted, 1 added" in said.out
    assert "1 corrected crop of 1 image" in said.out
    text = (counted / "annotations" / "labelstudio.json").read_text()
    assert "base64" not in text and len(json.loads(text)) == 3
    samples = {sample.name: sample for sample in load(counted)}
    tall, rest = samples["tall"], upper["data"]["height"] - 32
    assert samples["small"].points is None and len(tall.points) == count - 3 + 1
    assert tall.valid[:rest].all() and not tall.valid[rest:].any()
    assert np.abs(tall.points - (100.25, 120.5)).max(axis=1).min() < 1e-3


def test_dead_cells_and_background_are_named(server, counted, capsys):
    assert labelstudio("push", counted, "--order", "image") == 0
    task = server.tasks[1][0]
    result = edited(task, added=[(10, 10), (20, 20), (30, 30)])
    for mark, label in zip(result[-3:], ["Dead Cell", "Background", "Background"], strict=True):
        mark["value"]["keypointlabels"] = [label]
    submit(task, result)
    assert labelstudio("pull", counted) == 0
    said = capsys.readouterr().out
    assert "0 added; also marked: 1 dead cell, 2 background points\n" in said


def test_a_crop_from_which_all_points_were_removed_has_no_cell(server, counted, capsys):
    assert labelstudio("push", counted, "--order", "image") == 0
    submit(server.tasks[1][0], [])
    assert labelstudio("pull", counted) == 0
    assert "0 kept, 0 moved" in capsys.readouterr().out
    [small] = [sample for sample in load(counted) if sample.name == "small"]
    assert small.points.shape == (0, 2) and small.valid.all()


def test_a_crop_with_two_annotations_is_named(server, counted, capsys):
    """The file is written; a person has to choose, in dataset.toml or in Label Studio."""
    assert labelstudio("push", counted, "--order", "image") == 0
    for task in server.tasks[1]:
        submit(task, edited(task))
    again = server.tasks[1][1]
    submit(again, edited(again, moved=5, deleted=2), id=99)
    assert labelstudio("pull", counted) == 3
    said = capsys.readouterr()
    assert f"task {again['id']}: The crop of tall.png" in said.err and "2 times: 1 (task 2, annotation 20)" in said.err
    assert (
        "labelstudio.json was written" in said.err
        and "predicted;" not in said.out
        and "cellcount train" not in said.out
    )
    with open(counted / "dataset.toml", "a") as file:
        file.write('annotators = "last"\n')
    assert labelstudio("pull", counted) == 0
    assert " 5 moved, 2 deleted" in capsys.readouterr().out


def test_corrections_are_not_compared_with_another_count(server, counted, capsys):
    assert labelstudio("push", counted, "--order", "image") == 0
    for task in server.tasks[1]:
        submit(task, edited(task, deleted=1))
    before = (counted / "predictions" / "small.csv").read_text()
    (counted / "predictions" / "small.csv").write_text("".join(before.splitlines(True)[:-3]))
    assert labelstudio("pull", counted) == 3
    said = capsys.readouterr().err
    assert "1 corrected crop had been sent with other predictions" in said and "1 (small.tif)" in said
    assert "annotations" in (counted / "labelstudio" / "pulled.json").read_text()
    assert not (counted / "annotations").exists()
    (counted / "predictions" / "small.csv").write_text(before)
    assert labelstudio("pull", counted) == 0 == labelstudio("pull", counted)


def test_another_count_between_push_and_pull_is_warned_of(server, counted, tmp_path, capsys):
    """With the former settings, the pull works again."""
    count = ["count", str(counted / "images"), "--out", str(counted), "--method", "blobs"]
    assert main([*count, "--again"]) == 0 and "Label Studio" not in capsys.readouterr().err
    assert labelstudio("push", counted, "--order", "image") == 0
    for task in server.tasks[1]:
        submit(task, edited(task, deleted=1))
    assert main([*count, "--threshold", "0.9"]) == 0
    assert capsys.readouterr().err.count("It was sent to Label Studio with other predictions") == 2
    assert labelstudio("pull", counted) == 3
    assert "2 (small.tif, tall.png)" in capsys.readouterr().err
    assert main(count) == 0 == labelstudio("pull", counted)
    said = capsys.readouterr()
    assert "1 deleted" in said.out and "was sent to Label Studio" not in said.err


def test_annotations_that_are_a_file_are_named(server, counted, capsys):
    assert labelstudio("push", counted, "--order", "image") == 0
    submit(server.tasks[1][0], edited(server.tasks[1][0], deleted=1))
    (counted / "annotations").write_text("notes")
    assert labelstudio("pull", counted) == 3
    said = capsys.readouterr().err
    assert "annotations is a file: move it" in said and said.count("\n") == 1


def test_cells_of_an_image_in_two_files_are_named_at_once(server, counted, capsys):
    assert labelstudio("push", counted, "--order", "image") == 0
    submit(server.tasks[1][0], edited(server.tasks[1][0], deleted=1))
    (counted / "annotations").mkdir()
    (counted / "annotations" / "a.csv").write_text("image,y,x\nsmall.tif,5,5\n")
    assert labelstudio("pull", counted) == 3
    said = capsys.readouterr().err
    assert "labelstudio.json was written" in said and "a.csv" in said and said.count("small.tif") >= 1


def test_annotations_that_vanished_are_kept(server, counted, capsys):
    assert labelstudio("push", counted, "--order", "image") == 0
    for task in server.tasks[1]:
        submit(task, edited(task, deleted=1))
    assert labelstudio("pull", counted) == 0 == labelstudio("pull", counted)
    assert not list((counted / "labelstudio").glob("annotations-*"))
    before = (counted / "annotations" / "labelstudio.json").read_text()
    server.tasks[1][1]["annotations"] = []
    capsys.readouterr()
    assert labelstudio("pull", counted) == 0
    assert "1 crop of the last pull without an annotation now" in capsys.readouterr().err
    assert (counted / "labelstudio" / "annotations-1.json").read_text() == before
    assert not load(counted)[1].valid.all()


def test_what_cannot_be_read_is_not_written(server, counted, capsys):
    assert labelstudio("push", counted, "--order", "image") == 0
    bad = edited(server.tasks[1][0])
    bad[0]["value"]["x"] = 120
    submit(server.tasks[1][0], bad)
    assert labelstudio("pull", counted) == 3
    said = capsys.readouterr().err
    assert "120 %" in said and "was not changed" in said and not (counted / "annotations" / "labelstudio.json").exists()


def test_tasks_of_other_images_are_left_out(server, counted, capsys):
    assert labelstudio("push", counted, "--order", "image") == 0
    server.tasks[1].append({"id": 99, "meta": {}, "data": {"image": "/data/upload/1/x.png"}, "annotations": []})
    submit(server.tasks[1][0], edited(server.tasks[1][0]))
    assert labelstudio("pull", counted) == 0
    assert "warning: 1 task shows no image of" in capsys.readouterr().err
    assert len(json.loads((counted / "annotations" / "labelstudio.json").read_text())) == 3


def test_a_deleted_project_is_named(server, counted, capsys):
    assert labelstudio("push", counted, "--order", "image") == 0
    server.projects.clear()
    for verb in ("push", "pull"):
        assert labelstudio(verb, counted) == 3
        assert "was deleted" in capsys.readouterr().err
    assert labelstudio("push", counted, "--project", "another", "--order", "image") == 0
    (counted / "labelstudio" / "project.json").write_text("{}")
    assert labelstudio("pull", counted) == 3
    assert "project.json cannot be read" in capsys.readouterr().err


# ---- doubt


@pytest.mark.parametrize("view", range(8))
def test_a_view_is_turned_back(view):
    image = np.zeros((30, 50), np.float32)
    points = np.array([[3, 40], [20, 7], [29, 0]])
    image[tuple(points.T)] = [1, 2, 3]
    shown = turned(image, view)
    found = np.array([np.argwhere(shown == value)[0] for value in (1, 2, 3)], np.float32)
    np.testing.assert_array_equal(turned_back(found, view, image.shape), points)


def test_doubt_is_a_number_of_points():
    """Two parts; 24 px between cells, a crowded one, one at the threshold, and one that one view of two lacks."""
    points = np.array([[12, 12], [12, 36], [36, 12], [36, 36], [12, 112], [12, 124], [36, 112], [36, 136]], np.float32)
    boxes = [(0, 0, 50, 50), (0, 50, 50, 150)]
    assert [one.total for one in doubts(points[:4], boxes)] == [0, 0]
    peaks, scores = np.vstack([points, [[45, 45]]]), np.array([0.4, 0.6, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.3])
    left, right = doubts(points, boxes, peaks=peaks, scores=scores, threshold=0.4, views=[points, points[:-1]])
    assert left.near == pytest.approx(0.5 + 0.25) and right.near == 0
    assert left.views == 0 and right.views == pytest.approx(0.5)
    assert left.crowded == 0 and right.crowded == pytest.approx(0.2)
    assert right.total == pytest.approx(0.7)


def test_the_order_of_crops(counted):
    work = review(counted)
    by_image = [crop.name for crop in crops(work, order="image", progress=False)]
    assert by_image == sorted(by_image)
    several = {tuple(crop.name for crop in crops(work, order="random", seed=seed, progress=False)) for seed in range(9)}
    assert len(several) > 2 and {tuple(sorted(order)) for order in several} == {tuple(by_image)}
    first = [crop.name for crop in crops(work, order="random", seed=3, progress=False)]
    assert first == [crop.name for crop in crops(work, order="random", seed=3, progress=False)]
    assert work.notes == []
