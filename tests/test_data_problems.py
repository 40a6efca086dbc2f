"""Every kind of bad input: its own clear error, and all of them found in one pass."""

import json
import os
import re
import shutil
import struct
import tomllib
import unicodedata
import zipfile
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import roifile
import test_data_large
import test_formats
import tifffile
from PIL import Image

import cellcount.data
from cellcount.cli import main
from cellcount.data import folder
from cellcount.data.convert import convert
from cellcount.errors import DataError
from cellcount.io import problems as catalogue
from cellcount.io.folders import skipped
from cellcount.io.images import decode, read_image
from cellcount.io.problems import toml

HEIGHT, WIDTH = 48, 64
PERCENT = 100 / np.array([HEIGHT, WIDTH])


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
        pixels = noise(seed=zlib.crc32(name.encode())) if pixels is None else pixels
        Image.fromarray(pixels).save(self.root / name)

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


def rows(*given):
    """Register cases that one line makes: (name, kind, file, needle, function of the box[, severity])."""
    for name, kind, file, needle, write, *severity in given:
        assert name not in CASES
        CASES[name] = (write, kind, file, needle, *(severity or ["error"]))


def png(box, name, format="PNG", **options):
    Image.fromarray(options.pop("pixels", noise())).save(box.root / name, format=format, **options)


def exif(number):
    found = Image.Exif()
    found[0x0112] = number
    return found


def pages(box, name, *sizes):
    with tifffile.TiffWriter(box.root / name) as writer:
        for size in sizes:
            writer.write(noise(*size))


def compressed(box, name, number):
    """A TIFF file that says it is compressed in another way."""
    box.tiff(name, noise(), compression="zlib")
    with tifffile.TiffFile(box.root / name, mode="r+") as tiff:
        tiff.pages[0].tags["Compression"].overwrite(number)


def turned(box, stem, *points, number=6):
    """A JPEG of 64 x 48 px that is shown with 48 x 64 px, and points (y, x)."""
    png(box, f"{stem}.jpg", "JPEG", exif=exif(number))
    box.text(f"{stem}.csv", "\n".join(["image,y,x", *(f"{stem}.jpg,{y},{x}" for y, x in points)]))


def spread(stem, *scale, count=30, size=(HEIGHT, WIDTH)):
    """Lines of a CSV with points all over an image of `size` px, their coordinates multiplied by `scale`."""
    points = np.random.default_rng(0).uniform(0, 1, (count, 2)) * (np.array(size) - 1) * scale
    return [f"{stem}.png,{y:.3f},{x:.3f}" for y, x in points]


def large(box, stem, *scale, **options):
    """An image of 160 x 120 px with points whose coordinates are multiplied."""
    box.csv(stem, *spread(stem, *scale, size=(120, 160), **options))
    box.image(f"{stem}.png", noise(120, 160, seed=zlib.crc32(stem.encode())))


def two_tasks(box, name, *places):
    tasks = [studio("x", point(x=40.0 + n), person=n) | {"data": {"img": place}} for n, place in enumerate(places)]
    box.image(name + ".png")
    box.json(name + ".json", tasks)


def coco_images(*images):
    entries = [{"id": n, "image_id": n, "category_id": 1, "keypoints": [3, 4, 2]} for n, _ in enumerate(images)]
    listed = [{"id": n, "file_name": image, "height": HEIGHT, "width": WIDTH} for n, image in enumerate(images)]
    return {"images": listed, "annotations": entries, "categories": [{"id": 1, "name": "cell"}]}


def packed(box, name, *files):
    with zipfile.ZipFile(box.root / name, "w") as archive:
        for file in files:
            archive.writestr(file, "x")


def via_file(name, size):
    region = {"shape_attributes": {"name": "point", "cx": 3, "cy": 4}, "region_attributes": {}}
    return {f"{name}{size}": {"filename": name, "size": size, "regions": [region], "file_attributes": {}}}


def tile_bomb(box, name):
    """A small TIFF whose only tile claims 65536 x 65536 px."""
    box.tiff(name, noise(), tile=(HEIGHT, WIDTH))
    with tifffile.TiffFile(box.root / name, mode="r+b") as tiff:
        for side in ("TileWidth", "TileLength"):
            tiff.pages[0].tags[side].overwrite(65536, dtype="I")


SAID = "as it is stored, 64 x 48 px, "
rows(
    # images
    ("link", "image-link", "link.png", "gone.png", lambda box: (box.root / "link.png").symlink_to("gone.png")),
    ("pipe", "file-special", "pipe.csv", "not a regular file", lambda box: os.mkfifo(box.root / "pipe.csv")),
    ("device", "file-special", "zero.json", "/dev/zero", lambda box: linked(box.root / "zero.json", "/dev/zero")),
    ("pipe of another kind", "files-unused", "", "pipe.x", lambda box: os.mkfifo(box.root / "pipe.x"), "warning"),
    ("date before the name", "image-unknown", "dates.csv", "20240115-dates.png", lambda box: [
        box.image("dates.png"), box.text("dates.csv", "image,y,x\n20240115-dates.png,3,4\n")]),
    ("Git LFS", "image-other", "lfs.png", "git lfs pull", lambda box: box.text("lfs.png", "version https://git-lfs.x")),
    ("web page", "image-other", "page.jpg", "web page", lambda box: box.text("page.jpg", "<!DOCTYPE html><p>404")),
    ("PDF", "image-other", "figure.png", "PDF", lambda box: box.text("figure.png", "%PDF-1.7")),
    ("ZIP", "image-other", "deck.tif", "ZIP", lambda box: box.text("deck.tif", "PK\3\4")),
    ("HEIC", "image-other", "phone.jpg", "HEIC", lambda box: box.text("phone.jpg", "\0\0\0\x18ftypheic" + "\0" * 50)),
    ("zeros", "image-unreadable", "lost.tif", "format is unknown", lambda box: box.text("lost.tif", "\0" * 900)),
    ("WebP called PNG", "image-format", "web.png", "WEBP", lambda box: png(box, "web.png", "WEBP")),
    ("JPEG 2000 called JPEG", "image-format", "jp2.jpg", "JPEG2000", lambda box: png(box, "jp2.jpg", "JPEG2000")),
    ("TIFF called PNG", "image-suffix", "t.png", "t.tif", lambda box: png(box, "t.png", "TIFF"), "warning"),
    ("PNG called TIFF", "image-suffix", "p.tif", "p.png", lambda box: png(box, "p.tif"), "warning"),
    ("unknown compression", "image-codec", "odd.tif", "without compression",
     lambda box: compressed(box, "odd.tif", 32895)),
    ("thumbnail first", "image-thumbnail", "thumb.tif", "64 x 48",
     lambda box: pages(box, "thumb.tif", (24, 32), (48, 64))),
    ("thumbnail and stack", "image-thumbnail", "mini.tif", "32 x 24",
     lambda box: pages(box, "mini.tif", (24, 32), (48, 64), (48, 64))),
    ("thumbnail last", "image-other-pages", "last.tif", "32 x 24",
     lambda box: pages(box, "last.tif", (48, 64), (24, 32)), "warning"),
    ("time series", "image-pages", "time.tif", "5", lambda box: box.tiff(
        "time.tif", np.stack([noise(seed=n) for n in range(5)]), imagej=True, metadata={"axes": "TYX"})),
    ("OME channels and depths", "image-pages", "ome.ome.tif", "6", lambda box: box.tiff(
        "ome.ome.tif", noise(6 * HEIGHT).reshape(3, 2, HEIGHT, WIDTH), metadata={"axes": "CZYX"},
        photometric="minisblack")),
    ("channels of ImageJ", "image-pages", "channels.tif", "3", lambda box: box.tiff(
        "channels.tif", np.stack([noise(seed=n) for n in range(3)]), imagej=True, metadata={"axes": "CYX"})),
    ("overlay of ImageJ", "image-regions", "overlay.tif", "ROI Manager", lambda box: box.tiff(
        "overlay.tif", noise(), imagej=True, metadata={"Overlays": [b"Iout" + bytes(64)]}), "warning"),
    ("tile larger than memory", "image-block", "tile.tif", "4,295 MB", lambda box: tile_bomb(box, "tile.tif")),
    ("beyond float32", "image-overflow", "vast.tif", "e+302", lambda box: box.tiff("vast.tif", noise() * 1e300)),
    ("faint", "image-faint", "faint.tif", "1004", lambda box: box.tiff(
        "faint.tif", noise(high=4).astype(np.uint16) + 1000), "warning"),
    ("faint float", "image-faint", "dim.tif", "1e-06", lambda box: box.tiff(
        "dim.tif", (noise() / 255e6).astype(np.float32)), "warning"),
    ("float up to 2.5", "image-range", "over.tif", "2.5", lambda box: box.tiff(
        "over.tif", (noise() / 102).astype(np.float32)), "warning"),
    ("32-bit integers", "image-range", "long.tif", "2.55e+07", lambda box: box.tiff(
        "long.tif", noise().astype(np.uint32) * 100_000), "warning"),
    ("infinite", "image-nan", "inf.tif", "infinite", lambda box: box.tiff(
        "inf.tif", np.where(noise() > 250, np.inf, 0.5).astype(np.float32))),
    ("two values in TIFF", "image-binary", "bits.tif", "mask",
     lambda box: box.tiff("bits.tif", noise() > 99), "warning"),
    ("two channels", "image-channels", "two.tif", "2", lambda box: box.tiff(
        "two.tif", noise(channels=2), photometric="minisblack", planarconfig="contig")),
    ("three channels", "image-channels", "three.tif", "3", lambda box: box.tiff(
        "three.tif", noise(channels=3), photometric="minisblack", planarconfig="contig")),
    ("four channels", "image-channels", "four.tif", "4", lambda box: box.tiff(
        "four.tif", noise(channels=4), photometric="minisblack", planarconfig="contig")),
    ("RGB and two more", "image-channels", "rgb2.tif", "5", lambda box: box.tiff(
        "rgb2.tif", noise(channels=5), photometric="rgb")),
    ("Lab", "image-colour", "lab.tif", "CIELAB",
     lambda box: box.tiff("lab.tif", noise(channels=3), photometric="cielab")),
    ("raw Bayer mosaic", "image-colour", "bayer.tif", "CFA",
     lambda box: box.tiff("bayer.tif", noise(), photometric="cfa")),
    ("YCbCr without JPEG", "image-colour", "ycc.tif", "YCBCR", lambda box: box.tiff(
        "ycc.tif", noise(channels=3), photometric="ycbcr", subsampling=(1, 1))),
    ("EXIF", "image-exif", "exif.jpg", "orientation 8",
     lambda box: png(box, "exif.jpg", "JPEG", exif=exif(8)), "warning"),
    ("turned TIFF", "image-exif", "mirror.tif", "orientation 3", lambda box: box.tiff(
        "mirror.tif", noise(), extratags=[(274, "H", 1, 3, True)]), "warning"),
    ("16-bit colours with transparency", "image-alpha", "deep.png", "transparen",
     lambda box: (box.root / "deep.png").write_bytes(
        imagecodecs.png_encode(noise(channels=4, high=65535))), "warning"),
    # the folder
    ("microscope's other formats", "image-format", "a.lif", "PNG", lambda box: box.text("a.lif", "x")),
    ("video", "image-format", "film.avi", "PNG", lambda box: box.text("film.avi", "x")),
    ("YOLO", "annotation-format", "yolo.txt", "CSV",
     lambda box: [box.image("yolo.png"), box.text("yolo.txt", "0 .5 .5")]),
    ("JSON lines", "annotation-format", "lines.jsonl", "CSV", lambda box: box.text("lines.jsonl", "{}")),
    ("files of other kinds", "files-unused", "", "notes.txt", lambda box: box.text("notes.txt", "x"), "warning"),
    ("subfolder", "folders-skipped", "", "plateC", lambda box: Box(box.root / "plateC").image("x.png"), "warning"),
    ("subfolder of images", "folders-skipped", "", "images/deep",
     lambda box: Box(box.root / "images" / "deep").image("x.png"),
     "warning"),
    ("stems of other spelling", "stem-twice", "", "lü.png",
     lambda box: [box.image("lü.png"), box.image("lu\u0308.png")]),
    ("stem in images/", "stem-twice", "", "both.",
     lambda box: [box.image("both.png"), Box(box.root / "images").image("both.tif")]),
    ("name of other bytes", "image-name", "udcff.png", "Rename",
     lambda box: os.rename(box.image("bytes0.png") or box.root / "bytes0.png", os.fsencode(box.root) + b"/\xff.png")),
    ("masks", "masks-skipped", "", "2 (m-labels.tif, m_cp_masks.png)", lambda box: [
        box.image("m.png"), png(box, "m_cp_masks.png"), png(box, "m-labels.tif", "TIFF")], "warning"),
    ("the same file twice", "image-same", "copy", "same content", lambda box: [
        box.image("copy1.png", noise(seed=77)), box.image("copy2.png", noise(seed=77))], "warning"),
    ("files of Cellpose", "files-unused", "", "good_seg.npy", lambda box: box.text("good_seg.npy", "x"), "warning"),
    ("settings in a subfolder", "files-unused", "", "images/dataset.toml",
     lambda box: Box(box.root / "images").text("dataset.toml", ""), "warning"),
    ("packed CVAT", "zip-packed", "cvat.zip", ".xml", lambda box: packed(box, "cvat.zip", "annotations.xml")),
    ("packed YOLO", "zip-packed", "yolo.zip", "2 (labels", lambda box: packed(
        box, "yolo.zip", "labels/a.txt", "labels/b.txt")),
    # names of images
    ("two folders in CSV", "image-ambiguous", "plates.csv", "plateA/plates.png", lambda box: box.csv(
        "plates", "plateA/plates.png,3,4", "plateB/plates.png,5,6")),
    ("two folders in COCO", "image-ambiguous", "cocop.json", "B\\cocop.png", lambda box: [
        box.image("cocop.png"), box.json("cocop.json", coco_images("A/cocop.png", "B\\cocop.png"))]),
    ("two uploads", "image-ambiguous", "up.json", "c17bc20f-up.png", lambda box: two_tasks(
        box, "up", "/data/upload/1/b07bc20f-up.png", "/data/upload/1/c17bc20f-up.png")),
    ("two places in local storage", "image-ambiguous", "local.json", "B/local.png", lambda box: two_tasks(
        box, "local", "/data/local-files/?d=A/local.png", "/data/local-files/?d=B/local.png")),
    ("two buckets", "image-ambiguous", "s3.json", "two/s3.png",
     lambda box: two_tasks(box, "s3", "s3://one/s3.png", "s3://two/s3.png")),
    ("two sizes in VIA", "image-ambiguous", "bytes.json", "88 bytes", lambda box: [
        box.image("bytes.png"), box.json("bytes.json", via_file("bytes.png", 77) | via_file("bytes.png", 88))]),
    ("image in a subfolder", "image-elsewhere", "sub.csv", "plateD/sub.png", lambda box: [
        box.csv("sub", "plateD/sub.png,3,4"), Box(box.root / "plateD").image("sub.png")]),
    ("image in a folder beside", "image-above", "above.csv", "1 (../b/above.png)",
     lambda box: box.csv("above", "../b/above.png,3,4", "../b/above.png,5,6"), "warning"),
    ("a name that is another's stem", "stem-twice", "scan.tif.png", "scan.tif has",
     lambda box: [png(box, "scan.tif", "TIFF"), box.image("scan.tif.png")]),
    ("called as an overlay", "image-unused", "overlaid.csv", "overlay of", lambda box: [
        box.csv("overlaid", "overlaid-overlay.png,3,4"), box.image("overlaid-overlay.png"),
        box.text("overlaid-points.csv", "y_px,x_px\n3,4\n")]),
    ("nearly the right name", "image-unknown", "typo.csv", "Is typo.png meant?",
     lambda box: box.csv("typo", "typoo.png,3,4")),
    ("many unknown images", "images-unknown", "many.csv", "9 (n0.png", lambda box: box.csv(
        "many", *(f"n{n}.png,3,4" for n in range(9)))),
    ("file of an unknown image", "image-unknown", "RoiSet.tsv", "NAME.zip",
     lambda box: box.text("RoiSet.tsv", "x\ty\n1\t2\n")),
    # coordinates
    ("percent", "points-corner", "hundred.csv", "percent",
     lambda box: large(box, "hundred", 100 / 159, 100 / 159, count=80)),
    ("half the size", "points-corner", "half2.csv", "resized", lambda box: large(box, "half2", 0.5)),
    ("80 % of the size", "points-corner", "eighty.csv", "resized", lambda box: large(box, "eighty", 0.8, count=80)),
    ("90 % of the size", "points-resized", "ninety.csv", "resized",
     lambda box: large(box, "ninety", 0.9, count=120), "warning"),
    ("a strip", "points-corner", "strip.csv", "x = 4", lambda box: large(box, "strip", 1, 0.3)),
    ("the remedy of a corner", "points-corner", "corner.csv", '"corner" = [[0, 0, 120, 160]]',
     lambda box: large(box, "corner", 0.4)),
    ("twice the size", "points-outside", "double2.csv", "of 30 points",
     lambda box: box.csv("double2", *spread("double2", 2))),
    ("negative", "points-outside", "minus.csv", "30 of 30", lambda box: box.csv("minus", *spread("minus", -1))),
    ("one fraction", "points-fractions", "tenth.csv", "px", lambda box: box.csv("tenth", "tenth.png,.5,.25")),
    ("the same y", "points-line", "row.csv", "same y",
     lambda box: box.csv("row", *(f"row.png,7,{x}" for x in range(9, 60, 9))),
     "warning"),
    ("one column twice", "points-line", "twice.csv", "y equal to x", lambda box: box.csv(
        "twice", *(f"twice.png,{x},{x}" for x in range(9, 40, 6))), "warning"),
    ("a table pasted twice", "points-duplicate", "pasted.csv", "30 points", lambda box: box.csv(
        "pasted", *spread("pasted", 1), *spread("pasted", 1)), "warning"),
    ("COCO turned by EXIF", "image-turned", "cocot.json", SAID + "but not", lambda box: [
        png(box, "cocot.jpg", "JPEG", exif=exif(6)),
        box.json("cocot.json", coco("cocot.jpg", {"keypoints": [3, 4, 2]}))]),
    ("stored points", "image-turned", "stored.csv", SAID + "but not",
     lambda box: turned(box, "stored", (40, 60), (3, 4))),
    ("either", "image-turned", "either.csv", SAID + "and also", lambda box: turned(box, "either", (3, 4))),
    ("upside down", "image-turned", "down.csv", "orientation 3", lambda box: turned(box, "down", (3, 60), number=3)),
    # lines and marks
    ("label without a place", "csv-no-place", "bare2.csv", "line 2", lambda box: box.csv(
        "bare2", "bare2.png,,,live", header="image,y,x,label")),
    ("empty and not", "csv-no-place", "mixed.csv", "line 3",
     lambda box: box.csv("mixed", "mixed.png,3,4", "mixed.png,,")),
    ("box without a place", "csv-no-place", "boxed.csv", "line 2", lambda box: box.csv(
        "boxed", "boxed.png,,,,", header="image,y0,x0,y1,x1")),
    ("open quote", "csv-broken", "quote.csv", "line 3", lambda box: box.csv(
        "quote", 'quote.png,3,4,"live', "quote.png,5,6,live", header="image,y,x,label")),
    ("no column image", "csv-no-image", "noimage.csv", "column image", lambda box: box.csv(
        "noimage", "noimage.png,3,4", header="file,y,x")),
    ("decimal comma", "mark-number", "decimal.csv", '"3,5"', lambda box: box.csv("decimal", 'decimal.png,"3,5",4')),
    ("a measurement of ImageJ", "csv-results", "Results.csv", "ROI Manager", lambda box: box.text(
        "Results.csv", " ,Area,X,Y\n1,0,3,4\n")),
    ("a measurement of ImageJ, named like the image", "csv-results", "fiji-points.csv", "NAME.zip", lambda box: [
        box.image("fiji.png"),
        box.text("fiji-points.csv", " ,Area,Mean,X,Y,Ch,Slice\n1,0,9,3.5,4,1,1\n2,0,9,7,8,1,1\n")]),
    ("COCO ids twice", "coco-image-twice", "idtwice.json", "7", lambda box: [
        box.image("idtwice.png"),
        box.json("idtwice.json", {"images": [{"id": 7, "file_name": "idtwice.png"}] * 2, "annotations": []})]),
    ("COCO category not listed", "label-unknown", "category.json", '"category 3"', lambda box: [
        box.image("category.png"),
        box.json("category.json", coco("category.png", {"category_id": 3, "keypoints": [3, 4, 2]}))]),
    ("COCO visibility of text", "mark-number", "seen.json", "visibility", lambda box: [
        box.image("seen.png"), box.json("seen.json", coco("seen.png", {"keypoints": [3, 4, "yes"]}))]),
    ("vectors of Label Studio", "ls-type", "vector.json", "vectorlabels",
     lambda box: [box.image("vector.png"), box.json(
        "vector.json", [studio("vector.png", {"type": "vectorlabels", "value": {"vertices": [{"x": 1, "y": 2}]}})])]),
    ("ellipse", "ls-type", "ellipse.json", "ellipse", lambda box: [box.image("ellipse.png"), box.json(
        "ellipse.json", [studio("ellipse.png", {"type": "ellipselabels", "value": {"x": 1, "y": 2, "radiusX": 3}})])]),
    ("sizes that differ", "ls-no-size", "sizes.json", "both", lambda box: [box.image("sizes.png"), box.json(
        "sizes.json", [studio("sizes.png", point(), point(y=9.0, original_height=77))])]),
)  # fmt: skip


# These stand alone: each makes the rest of a folder invisible.
ALONE = {}


def alone(kind, file, needle, severity="error", name=None):
    def register(function):
        assert (name or kind) not in ALONE
        ALONE[name or kind] = (function, kind, file, needle, severity)
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


@alone("folder-locked", "images", "chmod")
def _(root):
    (root / "images").symlink_to("images")  # cannot be listed, also by root
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


def one_image(root, toml="", points="image,y,x\na.png,3,4\na.png,20,30\n"):
    """A good folder with an image, its points and a dataset.toml."""
    Box(root).image("a.png")
    Box(root).text("points.csv", points)
    Box(root).text("dataset.toml", toml)
    return root


def counted(root, annotation="", toml="", predictions=(("a.png", 3, 4), ("b.png", 5, 6))):
    """The folder of `cellcount count` with two images."""
    for name in ("a.png", "b.png"):
        Box(root / "images").image(name)
    for image, y, x in predictions:
        Box(root / "predictions").text(f"{image[:-4]}.csv", f"image,y,x,label,score\n{image},{y},{x},,0.5\n")
    Box(root / "annotations").text("points.csv", "image,y,x\n" + annotation) if annotation else None
    Box(root).text("dataset.toml", "predictions = true\n" + toml)
    return root


def recounted(root, change):
    """The folder of `cellcount count` with 12 points in each of two images, and an annotation of a, made of both."""
    grid = np.array([(y, x) for y in (5.25, 16.5, 31.25) for x in (4.5, 15.25, 30.5, 44.25)])
    found = {"a": grid, "b": grid * (0.9, 1.2) + (3, 2)}
    for name, places in found.items():
        Box(root / "predictions").csv(name, *(f"{name}.png,{y},{x}" for y, x in places))
        Box(root / "images").image(f"{name}.png")
        (root / "predictions" / f"{name}.png").unlink()
    Box(root / "annotations").csv("points", *(f"a.png,{y},{x}" for y, x in change(**found)))
    (root / "annotations" / "points.png").unlink()
    Box(root).text("dataset.toml", "predictions = true\npixel_size_um = 0.65\n")


for given in (
    ("none-annotated", "", "2 images", lambda root: [Box(root).image("a.png"), Box(root).image("b.png")], "warning"),
    ("none-live", "", "1 annotated", lambda root: one_image(root, points="image,y,x\na.png,,\n"), "warning"),
    ("none-live", "", "1 annotated",
     lambda root: one_image(root, points="image,y,x,label\na,3,4,dead\n"), "warning", "dead"),
    ("split-all-test", "dataset.toml", "1 annotated", lambda root: one_image(root, '[split]\na = "test"\n'), "warning"),
    ("split-no-train", "dataset.toml", "the 2 in validation", lambda root: [
        one_image(root, '[split]\nvalidation = ["a", "b"]\n', "image,y,x\na.png,3,4\nb.png,5,6\n"),
        Box(root).image("b.png")], "warning"),
    ("images-none-live", "", "1 (b.png)", lambda root: [
        one_image(root, points="image,y,x,class\na,3,4,live\nb,5,6,dead\nb,7,8,debris\n"),
        Box(root).image("b.png")], "warning"),
    ("toml-key", "dataset.toml", "split.tests",
     lambda root: one_image(root, '[split]\na = "tests"\n'), "error", "part"),
    ("toml-value", "dataset.toml", "split", lambda root: one_image(root, "split = 7\n"), "error", "split of a number"),
    ("split-image", "dataset.toml", "z.png",
     lambda root: one_image(root, '[split]\nz.png = "test"\n'), "error", "unquoted"),
    ("toml-value", "dataset.toml", "orientation",
     lambda root: one_image(root, 'orientation = "left"\n'), "error", "turn"),
    ("toml-value", "dataset.toml", "channel", lambda root: one_image(root, 'channel = "DAPI"\n'), "error", "channel"),
    ("toml-value", "dataset.toml", "annotation",
     lambda root: one_image(root, 'annotation = "most"\n'), "error", "most"),
    ("toml-value", "dataset.toml", "regions",
     lambda root: one_image(root, "[regions]\na = [1, 2]\n"), "error", "boxes"),
    ("toml-value", "dataset.toml", "0.01 and 100",
     lambda root: one_image(root, "pixel_size_um = 0.65e-6\n"), "error", "a pixel in metres"),
    ("label-twice", "dataset.toml", "both live and dead",
     lambda root: one_image(root, '[labels]\nlive = ["A"]\ndead = ["a "]\n')),
    ("file-unreadable", "dataset.toml", "directory",
     lambda root: [Box(root).image("a.png"), (root / "dataset.toml").mkdir()] and root, "error", "its folder"),
    ("file-unreadable", "dataset.toml", "No such file",
     lambda root: [Box(root).image("a.png"), (root / "dataset.toml").symlink_to("gone")] and root, "error", "link"),
    ("toml-value", "dataset.toml", "regions",
     lambda root: one_image(root, "[regions]\na = [[0, 0, inf, inf]]\n"), "error", "endless boxes"),
    ("region-outside", "dataset.toml", "64 x 48 px", lambda root: counted(
        root, "", 'reviewed = ["a"]\n[regions]\na = [[90, 90, 99, 99]]\n'), "error", "region of predictions"),
    ("region-outside", "dataset.toml", "64 x 48 px", lambda root: one_image(root, "[regions]\na = [[0, 0, 48, 65]]\n")),
    ("points-left-out", "dataset.toml", "1 of 2",
     lambda root: one_image(root, "[regions]\na = [[0, 0, 9, 9]]\n"), "warning"),
    ("toml-value", "dataset.toml", "reviewed", lambda root: one_image(root, 'reviewed = "a"\n'), "error", "reviewed"),
    ("toml-broken", "dataset.toml", "decode",
     lambda root: (one_image(root) / "dataset.toml").write_bytes(b"\xff"), "error",
     "not UTF-8"),
    ("points-outside", "points.csv", "micrometres", lambda root: one_image(
        root, "pixel_size_um = 2", "\n".join(["image,y,x", *spread("a", 2)])), "error", "micrometres"),
    ("corrected-some", "predictions", "1 of 2", lambda root: counted(root, "a.png,3,4\na.png,9,9\n"), "warning"),
    ("corrected-others", "points.csv", "of b.png", lambda root: [one_image(
        root, "", "image,y,x,score,origin\na.png,3,4,,manual\nb.png,5,6,0.5,\n"), Box(root).image("b.png")], "warning"),
    ("corrected-none", "predictions", "reviewed", lambda root: counted(root, "a.png,3,4\n")),
    ("predictions-edited", "predictions/a.csv", "annotations/", lambda root: Box(counted(
        root, "a.png,9,9\n", predictions=(("a.png", 3, 4),))).text(
            "records.jsonl", '{"name": "a", "predictions_sha256": "0"}\n{"name'), "warning"),
    ("predictions-other", "predictions/b.csv", "of a.png", lambda root: [counted(
        root, "a.png,9,9\n", predictions=(("a.png", 3, 4),)),
        shutil.copy(root / "predictions" / "a.csv", root / "predictions" / "b.csv")]),
    ("predictions-outside", "predictions/a.csv", "1 of 1", lambda root: counted(
        root, "", 'reviewed = ["a"]\n', predictions=(("a.png", -40, 20),))),
    ("image-changed", "a.png", "another folder", lambda root: Box(counted(
        root, "a.png,9,9\n", predictions=(("a.png", 3, 4),))).text(
            "records.jsonl", '7\n{"name": "a", "image_sha256": "0"}\n{"name')),
    *[("corrected-elsewhere", "points.csv", how, lambda root, change=change: recounted(root, change), "error", how)
      for how, change in {
          "by 0.5": lambda a, b: a / 2, "in percent": lambda a, b: a[:11] * PERCENT,
          "by 0.37 (y) and 0.44 (x)": lambda a, b: a[1:] * (0.37, 0.44),
          "in micrometres": lambda a, b: 0.65 * a, "exchanged": lambda a, b: a[:, ::-1],
          "exchanged, in percent": lambda a, b: (a * PERCENT)[:, ::-1],
          "of b.png": lambda a, b: [*b[2:], (3, 3)]}.items()],
    ("points-corner", "points.csv", "a.png", lambda root: [recounted(root, lambda a, b: a / 3),
        (root / "predictions" / "a.csv").unlink()], "error", "corner of an image that was not counted"),
    ("corrected-nothing", "points.csv", "Only 3 of 12", lambda root: recounted(
        root, lambda a, b: [*a[:1], a[1] + 1, *a[2:] * (0.4, 1) + (7, 7.5)]), "warning"),
    ("predictions-missing", "", "predictions", lambda root: counted(root, "a.png,9,9\n", predictions=())),
    ("predictions-image", "", "gone.png", lambda root: counted(
        root, "a.png,9,9\n", predictions=(("a.png", 3, 4), ("gone.png", 3, 4))), "warning"),
    ("reviewed-nothing", "dataset.toml", "b.png", lambda root: counted(
        root, "a.png,9,9\n", 'reviewed = ["b"]\n', predictions=(("a.png", 3, 4),)), "warning"),
):  # fmt: skip
    kind, file, needle, make, *more = given
    alone(kind, file, needle, *more)(make)


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
    made = make(tmp_path)
    root = made if isinstance(made, Path) else tmp_path
    problem = expect(folder.check(root), kind, file, needle, severity)
    if severity == "error":
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


def linked(path, target):
    path.symlink_to(target)
    return path


# What is skipped when a folder is counted: a warning, and the images in it are counted all the same.
SKIPPED = {
    "other formats": ("images-skipped", "2 (a.czi, b.nd2)",
     lambda box: [box.text("a.czi", "x"), box.text("b.nd2", "x")]),
    "subfolders": ("folders-skipped", "2 (images/old, plateA)", lambda box: [
        Box(box.root / "plateA").image("x.png"), Box(box.root / "images" / "old").image("x.png")]),
    "dot images alone": ("dots-skipped", "1 (z_dots.png)", lambda box: box.image("z_dots.png", dotted((3, 4)))),
    "masks": ("masks-skipped", "1 (good_mask.png)", lambda box: box.image("good_mask.png")),
    "figures": ("images-skipped", "1 (figure.pdf)", lambda box: box.text("figure.pdf", "x")),
    "regions": ("regions-skipped", "2 (RoiSet.zip, a.geojson)", lambda box: [
        box.text("RoiSet.zip", "x"), box.text("a.geojson", "{}")]),
}  # fmt: skip
# Files and folders that cannot be read as an image: the words of the message.
UNREADABLE = {
    "nothing": ("image-missing", "no such file", lambda root: root / "absent.png"),
    "a name too long": ("image-missing", "no such file", lambda root: root / ("x" * 300 + ".png")),
    "a pipe": ("file-special", "not a regular file", lambda root: (root / "a.png", os.mkfifo(root / "a.png"))[0]),
    "a link to a device": ("file-special", "link to /dev/zero", lambda root: linked(root / "a.png", "/dev/zero")),
    "a folder": ("image-folder", "no image in this folder", lambda root: root),
    "a folder called as an image": ("image-folder", "no image", lambda root: Box(root / "a.png").root),
    "another suffix": ("image-format", ".czi", lambda root: (root / "a.czi", (root / "a.czi").touch())[0]),
    "no suffix": ("image-format", "suffix ''", lambda root: (root / "image", (root / "image").touch())[0]),
    "a table": ("image-format", ".csv", lambda root: (root / "a.csv", (root / "a.csv").touch())[0]),
}


@pytest.mark.parametrize("name", SKIPPED)
def test_what_is_skipped_in_a_folder_is_named(tmp_path, name, capsys):
    kind, needle, write = SKIPPED[name]
    box = Box(tmp_path / "mine")
    box.csv("good", "good.png,3,4")
    write(box)
    [problem] = skipped([box.root])
    assert problem.kind == kind and needle in str(problem) and problem.severity == "warning"
    assert main(["count", str(box.root), "--method", "blobs", "--out", str(tmp_path / "out")]) == 0
    assert f"warning: {problem}" in capsys.readouterr().err
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["images"][0]["image"].endswith("good.png")


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_is_no_image_says_so(tmp_path, name):
    kind, needle, make = UNREADABLE[name]
    path = make(tmp_path)
    _, [problem] = decode(path)
    assert problem.kind == kind and needle in str(problem)
    with pytest.raises(DataError, match=re.escape(str(problem))):
        read_image(path)


def all_rows():
    """(table, name, kind) of every kind of bad input that is tested in a table."""
    tables = {"CASES": CASES, "ALONE": ALONE, "SKIPPED": SKIPPED, "UNREADABLE": UNREADABLE}
    tables |= {"REFUSED": test_formats.REFUSED, "HELD": test_formats.HELD, "BAD": test_data_large.BAD}
    known = set(messages())
    for table, rows in tables.items():
        for name, row in rows.items():
            [kind] = [value for value in row if isinstance(value, str) and value in known]
            yield table, name, kind


def messages():
    return tomllib.loads(Path(catalogue.__file__).with_suffix(".toml").read_text())


def test_every_message_has_a_row():
    assert sorted(set(messages()) - {kind for _, _, kind in all_rows()}) == []


def test_there_are_more_than_120_kinds_of_bad_input():
    """Each name is another fault in what a user has; several faults may share a message."""
    names = [(table, name) for table, name, _ in all_rows()]
    assert len(names) == len(set(names)) > 240


# What is right, or becomes right by the remedy that a message names.


@pytest.mark.parametrize("kind", ["csv", "roi", "dots", "split", "convert"])
@pytest.mark.parametrize("stored, written", [("NFC", "NFD"), ("NFD", "NFC")])
def test_names_may_spell_accents_either_way(tmp_path, kind, stored, written):
    """macOS stores "ü" as two characters, and other systems as one."""
    box, name = Box(tmp_path), unicodedata.normalize(stored, "zellü")
    other = unicodedata.normalize(written, "zellü")
    box.image(f"{name}.png")
    if kind == "roi":
        region = roifile.ImagejRoi.frompoints(np.array([[4, 3]], np.float32))
        region.roitype = roifile.ROI_TYPE.POINT
        (tmp_path / f"{other}.roi").write_bytes(region.tobytes())
    elif kind == "dots":
        box.image(f"{other}_dots.png", dotted((3, 4)))
    else:
        box.text("points.csv", f"image,y,x\n{other}.png,3,4\n")
    if kind == "split":
        box.text("dataset.toml", f'[split]\n{json.dumps(other)} = "train"\n')
    if kind == "convert":
        convert(tmp_path / "points.csv", tmp_path / "boxes.json", "Label Studio")  # needs the image's size
        (tmp_path / "boxes.json").unlink()
    assert folder.check(tmp_path) == []
    [sample] = cellcount.data.load(tmp_path)
    assert sample.points.tolist() == [[3, 4]] and sample.split == ("train" if kind == "split" else "")


def test_names_with_unusual_characters_are_quoted_as_toml_wants(tmp_path):
    names = ["\U0001f600", 'a"b', "c\nd", "e\\f", "g\x7fh", "ü"]
    for name in names:
        Box(tmp_path / "in").image(f"{name}.png")
    text = "\n".join(f"{toml(name)} = [[0, 0, 40, 40]]" for name in names)
    Box(tmp_path / "in").text("dataset.toml", f"split.train = {toml(names)}\n[regions]\n{text}\n")
    rows = "".join('"' + name.replace('"', '""') + '.png",3,4\n' for name in names)
    Box(tmp_path / "in").text("points.csv", "image,y,x\n" + rows)
    folder.import_folder(tmp_path / "in", tmp_path / "out")
    samples = cellcount.data.load(tmp_path / "out")
    assert {one.name: one.split for one in samples} == dict.fromkeys(names, "train")
    assert all(one.meta["limited"] for one in samples)


def test_a_commented_file_with_all_settings_is_accepted(tmp_path):
    """As chapter 90 shows one."""
    box = Box(tmp_path)
    for name in ("field-7", "field-8"):
        box.image(f"{name}.png")
    box.text("points.csv", "image,y,x\nfield-7.png,3,4\nfield-8.png,3,4\n")
    box.text(
        "dataset.toml",
        """
channel = "green"            # of colour images; green is the sharpest of most microscopes
pixel_size_um = 0.65         # for scale bars
annotation = "sparse"        # not every cell is clicked: train and score only where clicks can be trusted
[split]                      # image by image; without it, each image is tested once
field-7 = "test"
""",
    )
    assert folder.check(tmp_path) == []
    assert [sample.split for sample in cellcount.data.load(tmp_path)] == ["test", ""]


@pytest.mark.parametrize(
    "table", ['a = "train"\nb.png = "test"', '"a.png" = "train"\n"b" = "test"', 'train = ["a"]\ntest = ["b.png"]']
)
def test_a_split_may_be_written_by_image_or_by_part(tmp_path, table):
    one_image(tmp_path, f"[split]\n{table}\n")
    Box(tmp_path).image("b.png")
    assert {sample.name: sample.split for sample in cellcount.data.load(tmp_path)} == {"a": "train", "b": "test"}


@pytest.mark.parametrize("number", range(2, 9))
def test_stored_positions_are_turned_as_the_image_is(tmp_path, number):
    """A bright pixel on each annotated place of the stored image."""
    stored = np.zeros((HEIGHT, WIDTH), np.uint8)
    points = [(5, 9), (40, 60)]
    for y, x in points:
        stored[y, x] = 255
    Box(tmp_path).tiff("a.tif", stored, extratags=[(274, "H", 1, number, True)])
    box = "image,y0,x0,y1,x1\na.tif,1,2,10,30\n"
    Box(tmp_path).text("points.csv", "image,y,x\n" + "".join(f"a.tif,{y},{x}\n" for y, x in points))
    Box(tmp_path).text("boxes.csv", box)
    assert "image-turned" in {problem.kind for problem in folder.check(tmp_path)}
    Box(tmp_path).text("dataset.toml", 'orientation = "stored"\n')
    [sample] = cellcount.data.load(tmp_path)
    assert [sample.image[int(y), int(x)] for y, x in sample.points] == [1, 1]
    y0, x0, y1, x1 = sample.boxes[0]
    assert {y1 - y0, x1 - x0} == {9, 28} and sample.image[int(y0) : int(y1), int(x0) : int(x1)].sum() == 1
    folder.import_folder(tmp_path, tmp_path / "plain")
    [again] = cellcount.data.load(tmp_path / "plain")
    np.testing.assert_array_equal(again.points, sample.points)


@pytest.mark.parametrize("number", range(2, 9))
def test_conversion_asks_for_the_orientation_as_the_check_does(tmp_path, number):
    box = Box(tmp_path / "annotations")
    Box(tmp_path).tiff("a.tif", noise(), extratags=[(274, "H", 1, number, True)])
    box.text("a.csv", "image,y,x\na.tif,5,9\na.tif,40,45\n")
    with pytest.raises(DataError, match="State in dataset.toml"):
        convert(box.root, tmp_path / "new.csv")
    for said in ("upright", "stored"):
        Box(tmp_path).text("dataset.toml", f'orientation = "{said}"\n')
        convert(box.root, tmp_path / "new" / f"{said}.csv")
    [sample] = cellcount.data.load(tmp_path)
    rows = (tmp_path / "new" / "stored.csv").read_text().splitlines()[1:]
    assert [[float(one) for one in row.split(",")[1:3]] for row in rows] == sample.points.tolist()
    assert "a.tif,5,9" in (tmp_path / "new" / "upright.csv").read_text()


def test_points_that_fit_only_the_image_as_it_is_shown_are_of_that(tmp_path):
    turned(Box(tmp_path), "a", (60, 40), (3, 4))
    assert [problem.kind for problem in folder.check(tmp_path)] == ["image-exif"]


def test_the_original_of_an_exported_image_or_table_is_no_error(tmp_path):
    """... so that the remedy "export it" is all that has to be done."""
    box = Box(tmp_path)
    box.text("a.czi", "x"), box.text("points.xlsx", "x")
    assert {problem.kind for problem in folder.check(tmp_path)} >= {"image-format", "annotation-format"}
    one_image(tmp_path)
    [problem] = folder.check(tmp_path)
    assert problem.kind == "files-unused" and "2 (a.czi, points.xlsx)" in str(problem)


def test_points_in_a_corner_are_accepted_if_stated(tmp_path):
    large(Box(tmp_path), "corner", 0.4)
    [problem] = folder.check(tmp_path)
    [line] = re.findall(r'"corner" = \S+ \S+ \S+ \S+\]\]', problem.todo)
    Box(tmp_path).text("dataset.toml", f"[regions]\n{line}\n")
    assert folder.check(tmp_path) == []
    [sample] = cellcount.data.load(tmp_path)
    assert len(sample.points) == 30 and sample.valid.all()


def test_cells_that_lie_on_one_side_are_no_error(tmp_path):
    """A few clicks, or cells in more than half of the image."""
    box = Box(tmp_path)
    large(box, "few", 0.1, count=3)
    large(box, "most", 0.95, 0.6, count=200)
    assert folder.check(tmp_path) == []


def test_a_folder_of_one_plate_matches_the_names_that_hold_the_plate(tmp_path):
    box = Box(tmp_path)
    box.csv("a", "plate/A/a.png,3,4", "a.png,5,6", "A\\a.png,7,8")
    Box(tmp_path / "images").image("b.png")
    box.text("b.csv", "image,y,x\nimages/b.png,3,4\n")
    kinds = [problem.kind for problem in folder.check(tmp_path)]
    assert kinds == ["annotators"], "one image under three names: only the file can say whether that is meant"
    box.csv("a", "plate/A/a.png,3,4", "plate/A/a.png,5,6")
    assert folder.check(tmp_path) == []


def test_a_path_back_into_the_folder_and_a_backslash_in_a_name_are_no_problem(tmp_path):
    box = Box(tmp_path / "plate")
    Box(box.root / "images").image("b.png")
    for name in ("a.png", "l\\a.png"):
        box.image(name)
    Box(box.root / "annotations").text("points.csv", "image,y,x\n../images/b.png,3,4\n../a.png,5,6\nl\\a.png,7,8\n")
    assert folder.check(box.root) == []
    assert {one.name: one.points.tolist() for one in cellcount.data.load(box.root)} == {
        "a": [[5, 6]], "b": [[3, 4]], "l\\a": [[7, 8]]
    }  # fmt: skip


def test_an_image_called_overlay_beside_points_of_napari_is_an_image(tmp_path):
    box = Box(tmp_path)
    box.image("a.png"), box.image("a-overlay.png")
    box.text("a-points.csv", "index,axis-0,axis-1\n0,3,4\n")
    box.text("points.csv", "image,y,x\na-overlay.png,5,6\n")
    assert folder.check(tmp_path) == []
    assert [one.points.tolist() for one in cellcount.data.load(tmp_path)] == [[[3, 4]], [[5, 6]]]


def test_hidden_and_system_files_are_no_part_of_a_folder(tmp_path):
    one_image(tmp_path)
    for name in ("._a.png", ".DS_Store", "Thumbs.db", "desktop.ini", "~$points.xlsx", ".hidden.csv"):
        (tmp_path / name).write_text("x")
    (tmp_path / "__MACOSX").mkdir()
    (tmp_path / "__MACOSX" / "a.png").write_text("x")
    (tmp_path / "empty").mkdir()
    assert folder.check(tmp_path) == [] and skipped([tmp_path]) == []


def test_a_field_called_as_a_dot_image_is_an_image(tmp_path):
    Box(tmp_path).csv("polkadots", "polkadots.png,3,4")
    assert folder.check(tmp_path) == [] and skipped([tmp_path]) == []


@pytest.mark.parametrize("points", [0, 1])
def test_folds_need_two_cells(tmp_path, points):
    one_image(tmp_path, points="image,y,x\n" + ("a.png,3,4\n" if points else "a.png,,\n"))
    with pytest.raises(DataError, match="two annotated cells"):
        cellcount.data.folds(cellcount.data.load(tmp_path))


def test_many_problems_of_one_kind_are_counted(tmp_path, capsys):
    one_image(tmp_path, points="image,y,x\n" + "a.png,3,5,4,5\n" * 1700)
    assert main(["data", "check", str(tmp_path)]) == 3
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) < 30 and "error: points.csv: ... and 1680 more of this kind" in lines
    assert lines[-1].startswith(f"{tmp_path}: 1700 errors")


def test_python_warns_of_what_is_skipped_in_a_folder(tmp_path):
    Box(tmp_path).image("a.png")
    (tmp_path / "b.czi").touch()
    with pytest.warns(UserWarning, match=r"1 \(b.czi\)"):
        assert len(cellcount.count([tmp_path], method="blobs", progress=False)) == 1


def test_a_linked_folder_of_images_is_searched_once(tmp_path):
    Box(tmp_path / "real").image("a.png")
    (tmp_path / "images").symlink_to("real")
    Box(tmp_path).text("points.csv", "image,y,x\na.png,3,4\n")
    assert folder.check(tmp_path) == []


@pytest.mark.parametrize("line", ["channel = ['green']", "pixel_size_um = 'two'", "channel = 7"])
def test_count_refuses_settings_that_are_not_possible(tmp_path, line, capsys):
    one_image(tmp_path / "mine", line + "\n")
    assert main(["count", str(tmp_path / "mine"), "--method", "blobs", "--out", str(tmp_path / "out")]) == 3
    assert "is not possible" in capsys.readouterr().err


def test_regions_beside_the_images_do_not_limit_the_count_in_silence(tmp_path, capsys):
    for name in ("a.png", "b.png"):
        Box(tmp_path).image(name)
    for name in ("a.roi", "b.png.geojson", "RoiSet.zip", "c.roi", "a.csv"):
        (tmp_path / name).write_text("x")
    images = [str(tmp_path / "a.png"), str(tmp_path / "b.png")]
    assert main(["count", *images, "--method", "blobs", "--out", str(tmp_path / "out")]) == 0
    assert "3 (a.roi, RoiSet.zip, b.png.geojson)" in capsys.readouterr().err
    with pytest.warns(UserWarning, match="a.roi"):
        cellcount.count(images[0], method="blobs", progress=False)


@pytest.mark.parametrize("name", [" a.png", "\xa0a.png"])
def test_outer_blanks_of_a_name_do_not_matter(tmp_path, name):
    box = Box(tmp_path)
    box.image(name)
    box.text("points.csv", f"image,y,x\n{name},3,4\n")
    assert folder.check(tmp_path) == []
