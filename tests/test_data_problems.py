"""Every kind of bad input: its own clear error, and all of them found in one pass."""

import json
import re
import struct
import tomllib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

import cellcount.data
from cellcount.data import folder
from cellcount.errors import DataError
from cellcount.io import problems as catalogue

HEIGHT, WIDTH = 48, 64


def noise(height=HEIGHT, width=WIDTH, channels=0, seed=0, high=255):
    shape = (height, width, channels) if channels else (height, width)
    dtype = np.uint8 if high < 256 else np.uint16
    return np.random.default_rng(seed).integers(0, high, shape, endpoint=True).astype(dtype)


class Box:
    """Builds a folder; every case writes files with names of its own, so that cases can lie together."""

    def __init__(self, root):
        self.root = Path(root)
        self.root.mkdir(parents=True, exist_ok=True)

    def image(self, name, pixels=None):
        Image.fromarray(noise() if pixels is None else pixels).save(self.root / name)

    def text(self, name, text, encoding="utf-8"):
        (self.root / name).write_bytes(text.encode(encoding))

    def json(self, name, content):
        self.text(name, json.dumps(content))

    def tiff(self, name, pixels, **options):
        tifffile.imwrite(self.root / name, pixels, **options)

    def csv(self, stem, *rows, header="image,y,x"):
        """An image and a CSV of its own."""
        self.image(f"{stem}.png")
        self.text(f"{stem}.csv", "\n".join([header, *rows]) + "\n")

    def toml(self, head="", split=""):
        """Adds to dataset.toml; cases must use different keys."""
        path = self.root / "dataset.toml"
        before, after = (path.read_text().split("[split]\n") + [""])[:2] if path.exists() else ("", "")
        path.write_text(f"{before}{head}\n[split]\n{after}{split}\n")


def studio(image, *results, size=(HEIGHT, WIDTH), person=1, **annotation):
    """One Label Studio task."""
    for number, result in enumerate(results):
        result.setdefault("id", f"m{number}")
        result.setdefault("original_height", size[0])
        result.setdefault("original_width", size[1])
    record = {"id": 9, "completed_by": person, "was_cancelled": False, "result": list(results)} | annotation
    return {"id": 18, "data": {"img": f"/data/upload/4/{image}"}, "annotations": [record]}


def point(x=50.0, y=50.0, label="Live Cell", **more):
    return {"type": "keypointlabels", "value": {"x": x, "y": y, "width": 0.4, "keypointlabels": [label]}} | more


def rectangle(rotation=0, label="Live cell"):
    value = {"x": 20, "y": 20, "width": 20, "height": 20, "rotation": rotation, "rectanglelabels": [label]}
    return {"type": "rectanglelabels", "value": value}


CASES = {}


def case(kind, file, needle, severity="error", name=None):
    """Register a function that writes one kind of bad input: the problem's file, and a fact that its message names."""

    def register(function):
        CASES[name or kind] = (function, kind, file, needle, severity)
        return function

    return register


@case("image-empty", "zero.png", "0 bytes")
def _(box):
    box.text("zero.png", "")


@case("image-unreadable", "letter.png", "")
def _(box):
    box.text("letter.png", "Dear Sir or Madam, here are the images.")


@case("image-truncated", "cut.jpg", "", name="truncated JPEG")
def _(box):
    box.image("cut.jpg")
    whole = (box.root / "cut.jpg").read_bytes()
    (box.root / "cut.jpg").write_bytes(whole[: len(whole) // 2])


@case("image-truncated", "cut2.png", "", name="truncated PNG")
def _(box):
    box.image("cut2.png")
    whole = (box.root / "cut2.png").read_bytes()
    (box.root / "cut2.png").write_bytes(whole[: len(whole) // 2])


@case("image-truncated", "cut3.tif", "", name="truncated TIFF")
def _(box):
    box.tiff("cut3.tif", noise(high=4095))
    whole = (box.root / "cut3.tif").read_bytes()
    (box.root / "cut3.tif").write_bytes(whole[: len(whole) // 2])


@case("image-format", "stack.czi", "PNG", name="microscope's own format")
def _(box):
    box.text("stack.czi", "ZISRAWFILE")


@case("image-format", "moved.png", "GIF", name="GIF called PNG")
def _(box):
    Image.fromarray(noise()).save(box.root / "moved.png", format="GIF")


@case("image-suffix", "really.jpg", "PNG", "warning")
def _(box):
    Image.fromarray(noise()).save(box.root / "really.jpg", format="PNG")


@case("image-tiny", "one.png", "1 x 1 px")
def _(box):
    box.image("one.png", noise(1, 1))


@case("image-huge", "huge.bmp", "20000 x 20000")
def _(box):
    # the header of a bitmap whose 400 million pixels are not there: it must be refused before it is decoded
    header = b"BM" + struct.pack("<IHHI", 54, 0, 0, 54)
    header += struct.pack("<IiiHHIIiiII", 40, 20000, 20000, 1, 8, 0, 0, 0, 0, 0, 0)
    (box.root / "huge.bmp").write_bytes(header + bytes(2048))


@case("image-constant", "blank.png", "7")
def _(box):
    box.image("blank.png", np.full((HEIGHT, WIDTH), 7, np.uint8))


@case("image-nan", "nan.tif", "NaN")
def _(box):
    pixels = noise().astype(np.float32)
    pixels[3, 4] = np.nan
    box.tiff("nan.tif", pixels)


@case("image-range", "negative.tif", "-100", "warning")
def _(box):
    box.tiff("negative.tif", noise().astype(np.float32) - 100)


@case("image-binary", "mask.png", "mask", "warning")
def _(box):
    box.image("mask.png", np.where(noise() > 128, 255, 0).astype(np.uint8))


@case("image-pages", "pages.tif", "3", name="multi-page TIFF")
def _(box):
    box.tiff("pages.tif", np.stack([noise(seed=s) for s in range(3)]), photometric="minisblack")


@case("image-pages", "moving.png", "2", name="animated PNG")
def _(box):
    frames = [Image.fromarray(noise(seed=seed)) for seed in (1, 2)]
    frames[0].save(box.root / "moving.png", save_all=True, append_images=frames[1:])


@case("image-alpha", "glass.png", "transparen", "warning")
def _(box):
    box.image("glass.png", noise(channels=4))


@case("image-alpha", "glass2.tif", "transparen", "warning", name="TIFF with transparency")
def _(box):
    box.tiff("glass2.tif", noise(channels=4), photometric="rgb", extrasamples=["unassalpha"])


@case("image-colour", "print.jpg", "CMYK")
def _(box):
    Image.fromarray(noise(channels=4), mode=None).convert("RGB").convert("CMYK").save(box.root / "print.jpg")


@case("image-colour", "print2.tif", "SEPARATED", name="TIFF in CMYK")
def _(box):
    box.tiff("print2.tif", noise(channels=4), photometric="separated")


@case("image-channels", "five.tif", "5")
def _(box):
    box.tiff("five.tif", noise(channels=5), photometric="minisblack", planarconfig="contig")


@case("image-dtype", "complex.tif", "complex64")
def _(box):
    box.tiff("complex.tif", noise().astype(np.complex64))


@case("channel-flat", "bluish.png", "blue", "warning")
def _(box):
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    pixels[..., 2] = noise()
    box.image("bluish.png", pixels)


@case("stem-twice", "twin.png", "twin.jpg")
def _(box):
    box.image("twin.jpg")
    box.image("twin.png")


@case("image-unannotated", "lonely.png", "", "warning")
def _(box):
    box.image("lonely.png")


@case("image-no-cells", "squares.png", "", "warning")
def _(box):
    box.csv("squares", "squares.png,1,1,9,9", header="image,y0,x0,y1,x1")


@case("annotation-twice", "second.json", "first.csv")
def _(box):
    box.image("double.png")
    box.text("first.csv", "image,y,x\ndouble.png,3,4\n")
    box.json("second.json", [studio("double.png", point())])


@case("annotation-format", "table.xlsx", "CSV")
def _(box):
    box.text("table.xlsx", "PK")


@case("annotation-empty", "nothing.csv", "")
def _(box):
    box.text("nothing.csv", "")


@case("json-broken", "broken.json", "line 2, column 5")
def _(box):
    box.text("broken.json", '[\n{"a"; 1}]')


@case("json-kind", "other.json", "", name="JSON of another kind")
def _(box):
    box.json("other.json", {"shapes": []})


@case("json-kind", "number.json", "", name="JSON that is a number")
def _(box):
    box.json("number.json", 42)


@case("json-structure", "crooked.json", "")
def _(box):
    box.json("crooked.json", {"images": 3, "annotations": []})


@case("ls-task", "tasks.json", "record 1")
def _(box):
    box.image("tasks.png")
    box.json("tasks.json", ["a", studio("tasks.png", point())])


@case("ls-min", "min.json", "JSON-MIN")
def _(box):
    box.json("min.json", [{"id": 1, "img": "/data/upload/a.png", "kp-1": [], "annotation_id": 3}])


@case("ls-no-image", "imageless.json", "task 18")
def _(box):
    box.json("imageless.json", [studio("a.txt", point())])


@case("ls-no-annotations", "open.json", "predictions")
def _(box):
    box.image("open.png")
    box.json("open.json", [{"id": 1, "data": {"img": "open.png"}, "annotations": [], "predictions": [{"id": 3}]}])


@case("ls-cancelled", "skipped.json", "cancelled", "warning")
def _(box):
    box.image("skipped.png")
    box.json("skipped.json", [studio("skipped.png", point(), was_cancelled=True)])


@case("ls-percent", "percent.json", "mark m1")
def _(box):
    box.image("percent.png")
    box.json("percent.json", [studio("percent.png", point(), point(x=101.0))])


@case("mark-number", "word.json", '"left"', name="text in Label Studio")
def _(box):
    box.image("word.png")
    box.json("word.json", [studio("word.png", point(x="left"))])


@case("mark-number", "nan.json", "NaN", name="NaN in Label Studio")
def _(box):
    box.image("nanned.png")
    box.json("nan.json", [studio("nanned.png", point(y=float("nan")))])


@case("ls-no-size", "sizeless.json", "None")
def _(box):
    box.image("sizeless.png")
    box.json("sizeless.json", [studio("sizeless.png", point(), size=(None, None))])


@case("image-size", "resized.json", "1536")
def _(box):
    box.image("resized.png")
    box.json("resized.json", [studio("resized.png", point(), size=(1536, 2048))])


@case("ls-image-rotated", "turned.json", "90 degrees")
def _(box):
    box.image("turned.png")
    box.json("turned.json", [studio("turned.png", point(image_rotation=90))])


@case("ls-box-rotated", "tilted.json", "30 degrees", "warning")
def _(box):
    box.image("tilted.png")
    box.json("tilted.json", [studio("tilted.png", point(), rectangle(30))])


@case("ls-type", "polygon.json", "polygonlabels")
def _(box):
    box.image("polygon.png")
    mark = {"type": "polygonlabels", "value": {"points": [[1, 1], [2, 2], [3, 1]]}}
    box.json("polygon.json", [studio("polygon.png", mark)])


@case("annotators", "people.json", "annotators =")
def _(box):
    box.image("people.png")
    box.json("people.json", [studio("people.png", point(), person=1), studio("people.png", point(), person=2)])


@case("label-unknown", "label.json", "'Zebra'")
def _(box):
    box.image("label.png")
    box.json("label.json", [studio("label.png", point(label="Zebra"))])


@case("image-unknown", "lost.csv", "line 2")
def _(box):
    box.text("lost.csv", "image,y,x\nnowhere.png,3,4\n")


@case("image-case", "upper.csv", "UPPER.PNG")
def _(box):
    box.image("upper.png")
    box.text("upper.csv", "image,y,x\nUPPER.PNG,3,4\n")


@case("point-outside", "outside.csv", "line 3")
def _(box):
    box.csv("outside", "outside.png,3,4", f"outside.png,3,{WIDTH}", f"outside.png,{HEIGHT - 1},0")


@case("points-swapped", "swapped.csv", "")
def _(box):
    box.csv("swapped", f"swapped.png,{WIDTH - 2},4", f"swapped.png,{HEIGHT + 1},9")


@case("points-fractions", "fraction.csv", "px")
def _(box):
    box.csv("fraction", *[f"fraction.png,0.{d},0.{9 - d}" for d in range(1, 7)])


@case("points-duplicate", "again.csv", "line 4", "warning")
def _(box):
    box.csv("again", "again.png,3,4", "again.png,5,6", "again.png,3.0,4")


@case("csv-columns", "columns.csv", "column x")
def _(box):
    box.csv("columns", "columns.png,3,4", header="image,y,z")


@case("csv-columns", "headless.csv", "first line", name="CSV without a header")
def _(box):
    box.csv("headless", header="headless.png,3,4")


@case("csv-separator", "semicolon.csv", "semicolons")
def _(box):
    box.csv("semicolon", "semicolon.png;3,5;4,5", header="image;y;x")


@case("csv-separator", "tabs.csv", "tabs", name="CSV with tabs")
def _(box):
    box.csv("tabs", "tabs.png\t3\t4", header="image\ty\tx")


@case("csv-row", "comma.csv", "line 2")
def _(box):
    box.csv("comma", "comma.png,3,5,4,5")


@case("csv-image", "nameless.csv", "line 2")
def _(box):
    box.csv("nameless", ",3,4", "nameless.png,3,4")


@case("mark-number", "letters.csv", "line 3", name="text in CSV")
def _(box):
    box.csv("letters", "letters.png,3,4", "letters.png,three,4")


@case("mark-number", "infinite.csv", '"nan"', name="NaN in CSV")
def _(box):
    box.csv("infinite", "infinite.png,nan,4")


@case("mark-number", "half.csv", "line 2", name="CSV with one coordinate")
def _(box):
    box.csv("half", "half.png,3,")


@case("csv-no-rows", "bare.csv", "image,,")
def _(box):
    box.csv("bare")


@case("csv-broken", "field.csv", "")
def _(box):
    box.csv("field", "field.png,3," + "4" * 200_000)


@case("box-inverted", "flip.csv", "line 2")
def _(box):
    box.csv("flip", "flip.png,9,9,3,3", header="image,y0,x0,y1,x1")


@case("encoding-utf16", "wide.csv", "UTF-16")
def _(box):
    box.text("wide.csv", "image,y,x\na.png,3,4\n", "utf-16")


@case("encoding", "latin.csv", "line 2")
def _(box):
    box.text("latin.csv", "image,y,x\nZellzählung.png,3,4\n", "latin-1")


@case("coco-no-keypoints", "boxes.json", "1 of 1")
def _(box):
    box.image("cocoa.png")
    box.json("boxes.json", coco("cocoa.png", {"bbox": [1, 1, 5, 5]}))


@case("coco-image-id", "ids.json", "99")
def _(box):
    box.image("cocob.png")
    box.json("ids.json", coco("cocob.png", {"image_id": 99, "keypoints": [3, 4, 2]}))


@case("coco-image", "unnamed.json", "image 2")
def _(box):
    box.image("cococ.png")
    content = coco("cococ.png", {"keypoints": [3, 4, 2]})
    content["images"].append({"id": 8})
    box.json("unnamed.json", content)


@case("coco-triples", "pairs.json", "")
def _(box):
    box.image("cocod.png")
    box.json("pairs.json", coco("cocod.png", {"keypoints": [3, 4]}))


@case("mark-number", "text.json", '"x"', name="text in COCO")
def _(box):
    box.image("cocoe.png")
    box.json("text.json", coco("cocoe.png", {"keypoints": ["x", 4, 2]}))


def coco(image, entry):
    entry = {"id": 1, "image_id": 7, "category_id": 1} | entry
    listed = {"id": 7, "file_name": image, "height": HEIGHT, "width": WIDTH}
    return {"images": [listed], "annotations": [entry], "categories": [{"id": 1, "name": "cell"}]}


def dotted(*places, shape=(HEIGHT, WIDTH)):
    pixels = np.zeros((*shape, 3), np.uint8)
    for y, x in places:
        pixels[y, x, 0] = 255
    return pixels


@case("dots-size", "small_dots.png", "32 x 32 px")
def _(box):
    box.image("small.png")
    box.image("small_dots.png", dotted((3, 4), shape=(32, 32)))


@case("dots-none", "none_dots.png", "")
def _(box):
    box.image("none.png")
    box.image("none_dots.png", dotted())


@case("dots-dense", "dense_dots.png", "")
def _(box):
    box.image("dense.png")
    box.image("dense_dots.png", noise(channels=3))


@case("dots-no-image", "orphan_dots.png", "")
def _(box):
    box.image("orphan_dots.png", dotted((3, 4)))


@case("toml-key", "dataset.toml", "chanel")
def _(box):
    box.toml('chanel = "green"')


@case("toml-value", "dataset.toml", "pixel_size_um")
def _(box):
    box.toml("pixel_size_um = -1")


@case("toml-value", "dataset.toml", "channel", name="unknown channel")
def _(box):
    box.toml('channel = "ultraviolet"')


@case("toml-value", "dataset.toml", "labels", name="labels of another type")
def _(box):
    box.toml('labels = "all"')


@case("split-image", "dataset.toml", "ghost")
def _(box):
    box.toml(split='validation = ["ghost.png"]')


@case("split-twice", "dataset.toml", "train")
def _(box):
    box.image("shared.png")
    box.toml(split='train = ["shared"]\ntest = ["shared.png"]')


# These stand alone: each makes the rest of a folder invisible.
ALONE = {}


def alone(kind, file, needle):
    def register(function):
        ALONE[kind] = (function, kind, file, needle, "error")
        return function

    return register


@alone("folder-missing", "", "absent")
def _(root):
    return root / "absent"


@alone("folder-file", "", "a.png")
def _(root):
    (root / "a.png").write_bytes(b"")
    return root / "a.png"


@alone("folder-empty", "", "")
def _(root):
    return root


@alone("no-images", "", "more")
def _(root):
    (root / "more").mkdir()
    (root / "more" / "a.png").touch()
    (root / "points.csv").write_text("image,y,x\n")
    return root


@alone("toml-broken", "dataset.toml", "line 1")
def _(root):
    Box(root).image("a.png")
    (root / "dataset.toml").write_text("channel = \n")
    return root


def expect(problems, kind, file, needle, severity):
    """The one problem that the case is about."""
    hits = [p for p in problems if p.kind == kind and file in p.file and needle in str(p)]
    assert hits, "\n".join(f"{p.kind}: {p}" for p in problems)
    assert hits[0].severity == severity
    assert hits[0].what and hits[0].todo, "every problem says what to do"
    return hits[0]


@pytest.mark.parametrize("name", CASES)
def test_each_kind_has_its_own_error(tmp_path, name):
    write, kind, file, needle, severity = CASES[name]
    box = Box(tmp_path)
    box.csv("good", "good.png,3,4")
    write(box)
    problem = expect(folder.check(tmp_path), kind, file, needle, severity)
    if severity == "error":
        with pytest.raises(DataError, match=re.escape(str(problem))):
            cellcount.data.load(tmp_path)


@pytest.mark.parametrize("name", ALONE)
def test_each_kind_that_stands_alone(tmp_path, name):
    make, kind, file, needle, severity = ALONE[name]
    root = make(tmp_path)
    problem = expect(folder.check(root), kind, file, needle, severity)
    with pytest.raises(DataError, match=re.escape(str(problem))):
        folder.load_folder(root)


def test_one_pass_finds_all_kinds(tmp_path):
    box = Box(tmp_path)
    skip = "unknown channel"  # the key "channel" would be fine to add, but a file can hold each key once
    for name, (write, *_) in CASES.items():
        if name != skip:
            write(box)
    problems = folder.check(tmp_path)
    for name, (_, *expected) in CASES.items():
        if name != skip:
            expect(problems, *expected)
    assert len({p.kind for p in problems}) >= 30
    with pytest.raises(DataError) as caught:
        folder.load_folder(tmp_path)
    count = sum(p.severity == "error" for p in problems)
    assert str(count) in str(caught.value) and str(count - 20) in str(caught.value)  # the rest


def test_a_good_folder_has_no_problem(tmp_path):
    box = Box(tmp_path)
    box.csv("good", "good.png,3,4")
    assert folder.check(tmp_path) == []


def test_every_kind_of_problem_is_used_and_says_what_to_do():
    kinds = tomllib.loads(Path(catalogue.__file__).with_suffix(".toml").read_text())
    root = Path(cellcount.__file__).parent
    sources = "".join(path.read_text() for room in ("io", "data") for path in (root / room).glob("*.py"))
    for kind, texts in kinds.items():
        assert f'"{kind}"' in sources, kind
        assert texts["what"] and texts["todo"] and set(texts) <= {"what", "todo", "severity"}
        assert texts.get("severity", "warning") == "warning"
