"""Every annotation format gives the same samples, and survives the way through the plain format."""

import copy
import json
import random
import sys
import types

import numpy as np
import pytest
from PIL import Image

from cellcount.data import folder, load
from cellcount.errors import DataError
from cellcount.io import labelstudio
from cellcount.io.points import READERS, Annotation, Format, Mark, read

SHAPE = (40, 60)
POINTS = {"a": [(3, 4), (20.25, 30.5), (39, 59)], "b": [(0, 0)], "c": []}
DEAD = {"a": [(10, 11)]}


@pytest.fixture
def source(tmp_path):
    """A folder with images a.png, b.png and c.png."""
    root = tmp_path / "source"
    root.mkdir()
    for seed, name in enumerate(POINTS):
        pixels = np.random.default_rng(seed).integers(0, 256, (*SHAPE, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / f"{name}.png")
    return root


def write_csv(root):
    lines = ["x,image,label,y"]  # the order of the columns is free
    for name, points in POINTS.items():
        lines += [f"{x},{name}.png,live,{y}" for y, x in points] or [f",{name}.png,,"]
        lines += [f"{x},{name}.png,Dead,{y}" for y, x in DEAD.get(name, [])]
    (root / "points.csv").write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode())  # as a spreadsheet writes it


def studio(kind, value, name="m"):
    return {"id": name, "type": kind, "original_width": SHAPE[1], "original_height": SHAPE[0], "value": value}


def percent(y, x, label):
    """Label Studio counts from the image's edge: pixel centre (y, x) is half a pixel further in."""
    value = {"x": (x + 0.5) / SHAPE[1] * 100, "y": (y + 0.5) / SHAPE[0] * 100, "width": 1}
    return studio("keypointlabels", value | {"keypointlabels": [label]})


def task(number, image, results, person=1, **more):
    annotation = {"id": number, "completed_by": person, "was_cancelled": False, "result": results}
    return {"id": number, "file_upload": image, "data": {"img": f"/data/upload/4/{image}"}} | {
        "annotations": [annotation | more]
    }


def write_labelstudio(root):
    tasks = []
    for number, (name, points) in enumerate(POINTS.items()):
        results = [percent(*p, "Live Cell") for p in points]
        results += [percent(*p, "Dead cell/debris") for p in DEAD.get(name, [])]
        tasks.append(task(number, f"b07bc20f-{name}.png", results))
    (root / "export.json").write_text(json.dumps(tasks))


def write_coco(root):
    images = [
        {"id": n, "file_name": f"{name}.png", "height": SHAPE[0], "width": SHAPE[1], "complete": True}
        for n, name in enumerate(POINTS)
    ]
    marks = []
    for number, name in enumerate(POINTS):
        for category, points in ((1, POINTS[name]), (2, DEAD.get(name, []))):
            marks += [{"image_id": number, "category_id": category, "keypoints": [x, y, 2]} for y, x in points]
    names = [{"id": 1, "name": "cell"}, {"id": 2, "name": "debris"}]
    (root / "coco.json").write_text(json.dumps({"images": images, "annotations": marks, "categories": names}))


def ordered(points):
    return sorted(map(tuple, np.asarray(points).tolist()))


@pytest.mark.parametrize("write", [write_csv, write_labelstudio, write_coco])
def test_formats_agree(source, write):
    write(source)
    assert folder.check(source) == []
    samples = load(source)
    assert [s.name for s in samples] == ["a", "b", "c"]
    for sample in samples:
        assert sample.image.shape == SHAPE and sample.valid.all()
        np.testing.assert_allclose(
            np.reshape(ordered(sample.points), (-1, 2)), np.reshape(ordered(POINTS[sample.name]), (-1, 2)), atol=1e-4
        )
        np.testing.assert_allclose(sample.dead, np.reshape(DEAD.get(sample.name, []), (-1, 2)), atol=1e-4)


@pytest.mark.parametrize("write", [write_csv, write_labelstudio, write_coco])
@pytest.mark.parametrize("link", [False, True])
def test_import_loads_identically_and_has_no_problem(source, tmp_path, write, link):
    write(source)
    settings = (
        'channel = "red"\npixel_size_um = 0.5\nannotation = "sparse"\n[split]\ntrain = ["a", "b"]\ntest = ["c"]\n'
    )
    (source / "dataset.toml").write_text(settings)
    target = folder.import_folder(source, tmp_path / "new" / "plain", link=link)
    assert folder.check(target) == []
    assert sorted(p.name for p in target.iterdir()) == ["dataset.toml", "images", "points.csv"]
    same(load(source), load(target))
    assert [s.name for s in load(target, split="train")] == ["a", "b"]


def same(before, after):
    assert len(before) == len(after)
    for one, other in zip(before, after, strict=True):
        assert (one.name, one.pixel_size_um, one.split) == (other.name, other.pixel_size_um, other.split)
        for name in ("image", "points", "dead", "valid", "boxes"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
        np.testing.assert_array_equal(one.meta["background"], other.meta["background"])


def test_boxes_and_background_survive_the_import(source, tmp_path):
    box = {"x": 10, "y": 20, "width": 50, "height": 25, "rotation": 0, "rectanglelabels": ["Live cell"]}
    results = [percent(3, 4, "live cell"), percent(30, 40, "BACKGROUND"), studio("rectanglelabels", box)]
    (source / "export.json").write_text(json.dumps([task(1, "a.png", results)]))
    first = load(source)[0]
    np.testing.assert_allclose(first.boxes, [[7.5, 5.5, 17.5, 35.5]], atol=1e-5)  # y 20 % of 40 px, less half a px
    np.testing.assert_allclose(first.meta["background"], [[30, 40]], atol=1e-4)
    target = folder.import_folder(source, tmp_path / "plain")
    same(load(source), load(target))


def test_image_with_points_only_in_another_file_is_not_taken_for_empty(source):
    (source / "points.csv").write_text("image,y,x\na,1,2\nc,,\n")
    points = {s.name: s.points for s in load(source)}
    assert points["a"].tolist() == [[1, 2]], "the name without its suffix will do"
    assert points["b"] is None and points["c"].shape == (0, 2)


def test_rotated_box_gives_its_bounds(source):
    # 90 degrees clockwise around the top left corner: to the right becomes down, down becomes to the left
    box = {"x": 50, "y": 50, "width": 10, "height": 20, "rotation": 90, "rectanglelabels": ["Live cell"]}
    (source / "export.json").write_text(json.dumps([task(1, "a.png", [studio("rectanglelabels", box)])]))
    annotations, problems = read(source / "export.json")
    assert [p.kind for p in problems] == ["ls-box-rotated"]
    np.testing.assert_allclose(annotations[0].boxes[0].position, (19.5, 21.5, 25.5, 29.5))


@pytest.mark.parametrize(
    "reference, name",
    [
        ("/data/upload/4/b07bc20f-my%20image.png", "b07bc20f-my image.png"),
        ("/data/local-files/?d=fields/a.png", "a.png"),
        ("https://example.org/b/a.png?token=1", "a.png"),
        ("s3://bucket/deep/a.TIF", "a.TIF"),
        ("some text", None),
    ],
)
def test_image_names_in_label_studio(reference, name):
    assert labelstudio.image_name({"data": {"text": "hello", "image": reference}}) == name


@pytest.mark.parametrize(
    "annotators, expected",
    [
        ("union", [(3, 4), (5, 6), (7, 8)]),
        ("first", [(3, 4), (5, 6)]),
        ("last", [(3, 4), (7, 8)]),
        (2, [(3, 4), (7, 8)]),
    ],
)
def test_choice_among_annotators(source, annotators, expected):
    tasks = [
        task(1, "a.png", [percent(3, 4, "Live Cell"), percent(5, 6, "Live Cell")], person=1),
        task(2, "a.png", [percent(1, 1, "Live Cell")], person=3, was_cancelled=True),
        task(3, "a.png", [percent(3, 4, "Live Cell"), percent(7, 8, "Live Cell")], person={"id": 2}),
    ]
    (source / "export.json").write_text(json.dumps(tasks))
    with pytest.raises(DataError, match="a.png.* 2 "):
        load(source)
    (source / "dataset.toml").write_text(f"annotators = {json.dumps(annotators)}\n")
    np.testing.assert_allclose(ordered(load(source)[0].points), expected, atol=1e-4)


def test_own_labels(source, tmp_path):
    (source / "points.csv").write_text("image,y,x,label\na.png,1,2,HEK\na.png,3,4,Blob\na.png,5,6,scratch\n")
    (source / "dataset.toml").write_text('[labels]\nlive = ["hek"]\ndead = ["blob"]\nignore = ["scratch"]\n')
    sample = load(source)[0]
    assert sample.points.tolist() == [[1, 2]] and sample.dead.tolist() == [[3, 4]]
    target = folder.import_folder(source, tmp_path / "plain")
    same(load(source), load(target))


def dotted(places):
    pixels = np.zeros(SHAPE, np.uint8)
    pixels[tuple(np.reshape(places, (-1, 2)).T.astype(int))] = 255
    return pixels


@pytest.mark.parametrize("name", ["a_dots.png", "adots.png", "a-dots.png", "a.dots.tif"])
def test_dot_images(source, name):
    pixels = np.zeros((*SHAPE, 3), np.uint8)
    for y, x in [(3, 4), (3, 5), (39, 59)]:  # two dots touch
        pixels[y, x, 0] = 255
    Image.fromarray(pixels).save(source / name)
    assert load(source)[0].points.tolist() == [[3, 4], [3, 5], [39, 59]]


def test_thick_dots_count_once(source):
    pixels = np.zeros(SHAPE, np.uint8)
    pixels[3:6, 4:7] = 255
    pixels[20:22, 30:32] = 255
    Image.fromarray(pixels).save(source / "a_dots.png")
    assert load(source)[0].points.tolist() == [[4, 5], [20.5, 30.5]]


def test_dots_of_numbered_images(source):
    """As in MBM: a_dots_000.png of a_000.png."""
    (source / "a.png").rename(source / "a_000.png")
    Image.fromarray(dotted([(3, 4), (39, 59)])).save(source / "a_dots_000.png")
    assert [sample.name for sample in load(source)] == ["a_000", "b", "c"]
    assert load(source)[0].points.tolist() == [[3, 4], [39, 59]]


@pytest.mark.parametrize("place", ["", "images"])
@pytest.mark.parametrize("quality", [50, 75, 95])
def test_dots_of_the_same_name_in_annotations(source, place, quality):
    """As in ADI: annotations/a.jpeg of images/a.png; each dot counts once though the JPEG has grays around it."""
    places = [(y, x) for y in range(2, 38, 5) for x in range(3 + y % 2, 58, 6)]
    (source / "annotations").mkdir()
    (source / place).mkdir(exist_ok=True)
    (source / "a.png").rename(source / place / "a.png")
    Image.fromarray(dotted(places)).convert("RGB").save(source / "annotations" / "a.jpeg", quality=quality)
    np.testing.assert_allclose(load(source)[0].points, places, atol=0.5)
    found = {problem.kind for problem in folder.check(source)}
    assert found == {"image-unannotated"} | ({"dots-jpeg"} if quality == 50 else set())  # there the grays are bright


def test_what_is_in_annotations_and_no_dot_image(source):
    """A dot image without an image is named, a mask refused, and a photograph stays one."""
    for name in ("images", "annotations"):
        (source / name).mkdir()
    (source / "a.png").rename(source / "images" / "a.png")
    photograph = (source / "images" / "a.png").read_bytes()
    Image.fromarray(dotted([(3, 4)])).save(source / "annotations" / "d.png")
    (source / "annotations" / "e.png").write_bytes(photograph)
    found = {problem.kind for problem in folder.check(source)}
    assert found >= {"dots-no-image", "image-same"} and "stem-twice" not in found
    (source / "annotations" / "a.png").write_bytes(photograph)
    assert {problem.kind for problem in folder.check(source)} >= {"dots-dense"}


@pytest.mark.parametrize(("side", "step", "refused"), [(3, 6, False), (5, 20, True)])
def test_many_dots_on_a_small_image_are_no_mask(source, side, step, refused):
    pixels = dotted([(y, x) for y in range(3, 38, 8) for x in range(4, 56, step)])
    pixels = np.pad(pixels, 2)
    pixels = np.lib.stride_tricks.sliding_window_view(pixels, (side, side)).max((2, 3))[:40, :60]
    Image.fromarray(pixels).save(source / "a_dots.png")
    assert 0.15 < (pixels > 0).mean() < 0.2
    assert ("dots-dense" in {problem.kind for problem in folder.check(source)}) == refused


def test_a_dark_jpeg_has_no_dots(source):
    Image.fromarray(dotted([]) + np.uint8(3) * (np.indices(SHAPE).sum(0) % 2).astype(np.uint8)).save(
        source / "a_dots.jpg", quality=95
    )
    assert [problem.kind for problem in folder.check(source) if problem.severity == "error"] == ["dots-none"]


def test_import_never_overwrites(source, tmp_path):
    write_csv(source)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "precious.txt").write_text("x")
    with pytest.raises(DataError, match="full"):
        folder.import_folder(source, tmp_path / "full")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["full", "source"], "nothing half-made is left behind"


def test_images_sort_by_number(tmp_path):
    for name in ("10", "2", "1"):
        Image.fromarray(np.random.default_rng(0).integers(0, 256, SHAPE, dtype=np.uint8)).save(tmp_path / f"{name}.png")
    assert [s.name for s in load(tmp_path)] == ["1", "2", "10"]


def test_a_new_format_is_one_module_and_one_row(source, monkeypatch):
    toy = types.ModuleType("cellcount.io.toy")
    toy.recognises = lambda reader: reader.text.startswith("TOY")
    toy.parse = lambda reader: [Annotation(reader.file, "line 1", "a.png", points=[Mark((1.0, 2.0), "")])]
    monkeypatch.setitem(sys.modules, "cellcount.io.toy", toy)
    monkeypatch.setitem(READERS, "toy", Format("toy", (".toy",)))
    (source / "a.toy").write_text("TOY")
    assert {problem.kind for problem in folder.check(source)} == {"image-unannotated"}
    assert load(source)[0].points.tolist() == [[1, 2]]


def places(content, path=()):
    """The path of every value in parsed JSON."""
    if path:
        yield path
    inner = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in inner:
        yield from places(value, (*path, key))


@pytest.mark.parametrize("write", [write_labelstudio, write_coco])
def test_check_never_raises_on_crooked_json(source, write):
    """150 files in which one value is replaced by something of another kind: problems, but no exception."""
    write(source)
    [file] = source.glob("*.json")
    content, random_ = json.loads(file.read_text()), random.Random(0)
    strange = [None, "x", -1, [], {}, [1], True, float("nan"), 1e400, {"a": 1}, "", [[None]], 10**400]
    complaints = 0
    for path in random_.choices(list(places(content)), k=150):
        crooked = inner = copy.deepcopy(content)
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = random_.choice(strange)
        file.write_text(json.dumps(crooked))
        complaints += bool(folder.check(source))
    assert complaints > 50
