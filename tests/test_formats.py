"""The annotation formats of other tools: real shapes, round trips, half pixels, refusals, and damaged files."""

import copy
import csv
import io
import json
import os
import random
import struct
import sys
import zipfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import roifile
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import cellcount
from cellcount.cli import main
from cellcount.counting import Results
from cellcount.data import folder, load
from cellcount.data.convert import convert
from cellcount.errors import CellcountError, DataError, ParameterError
from cellcount.io import labelstudio
from cellcount.io import problems as catalogue
from cellcount.io.points import READERS, WRITERS, Annotation, Mark, read
from cellcount.io.writing import write

SIZE = (1536, 2048)
LABELS = ("live", "dead", "background", "Live Cell", "Dead cell/debris", "mitotic, large", 'größer: 2 <b> & "x"')
WHOLE = ("Cell Counter", "dot image")  # formats of whole pixels


def marks(count=1700, seed=0, labels=LABELS, whole=False, scores=False):
    random = np.random.default_rng(seed)
    spots = random.choice(SIZE[0] * SIZE[1] // 64, count, replace=False)  # apart: dots do not touch
    y, x = np.divmod(spots, SIZE[1] // 8)
    places = np.stack([y * 8 + 3, x * 8 + 3], 1) + (0 if whole else random.uniform(-3.4, 4, (count, 2)))
    score = [float(np.float32(value)) if scores else None for value in random.uniform(0, 1, count)]
    return [
        Mark(tuple(map(float, np.float32(place))), labels[n % len(labels)], score=score[n])
        for n, place in enumerate(places)
    ]


def image(path, size=(40, 60), seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, compress_level=1)
    return path


def plain(found):
    """Points, scores and labels of annotations, sorted: some formats put points of one label together."""
    return sorted((*mark.position, mark.label, mark.score) for one in found for mark in one.points)


def same(before, after, scores=True, labels=True):
    before, after = plain(before), plain(after)
    assert len(before) == len(after)
    order = [sorted(range(len(rows)), key=lambda n, rows=rows: rows[n][:2]) for rows in (before, after)]
    for one, other in zip(order[0], order[1], strict=True):
        first, second = before[one], after[other]
        assert first[:2] == pytest.approx(second[:2], abs=1e-3)
        assert not labels or first[2] == second[2]
        assert not scores or first[3] == pytest.approx(second[3], abs=1e-6)


def kinds(problems):
    return [one.kind for one in problems]


def reading(path, **options):
    """Annotations of a file in which nothing is wrong."""
    found, problems = read(path, **options)
    assert not problems, problems
    return found


# ---- round trips


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("which", [0, -1])
def test_round_trip_of_1700_points(tmp_path, name, which):
    """Written and read: positions to 1e-3 px, labels, and scores where the format has them; then written the same."""
    form = WRITERS[name]
    suffix = form.suffixes[which]
    labels = ("live",) if name == "dot image" or suffix == ".roi" else LABELS
    scores = "scores" in form.keeps
    before = Annotation("", "", "a.png", SIZE, points=marks(labels=labels, whole=name in WHOLE, scores=scores))
    path = tmp_path / ("a_dots.png" if name == "dot image" else f"a{suffix}" if name != "CSV" else "b.csv")
    if form.single and name not in ("dot image", "labelme", "Cell Counter"):
        Image.new("L", SIZE[::-1]).save(tmp_path / "a.png")  # tells the name
    assert write(path, [before], name) == []
    after = reading(path, predictions=True)
    assert [one.image for one in after] == ["a" if name == "dot image" else "a.png"]
    same([before], after, scores, labels=name != "dot image")
    again = path.with_stem("again_dots" if name == "dot image" else "again-points")
    write(again, [Annotation("", "", "a.png", SIZE, points=after[0].points)], name)
    if name not in ("QuPath", "ImageJ"):  # random identifiers; times
        assert again.read_bytes() == path.read_bytes()


def test_the_readers_read_what_the_writers_write():
    assert set(WRITERS) == set(READERS)


def test_the_help_of_convert_names_every_format(capsys):
    with pytest.raises(SystemExit):
        main(["data", "convert", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert [name for name in WRITERS if name not in text] == []


@pytest.mark.parametrize("name", [name for name, form in WRITERS.items() if not form.single])
def test_several_images_in_a_file(tmp_path, name):
    images = [f"{n}.png" for n in "abc"]
    before = [Annotation("", "", n, SIZE, points=marks(9, k)[:5]) for k, n in enumerate(images)]
    assert write(tmp_path / "all.xyz", before, name) == []
    (tmp_path / "all.xyz").rename(path := tmp_path / f"all{WRITERS[name].suffixes[0]}")
    after = reading(path, predictions=True)
    assert [one.image for one in after] == images
    for one, other in zip(before, after, strict=True):
        same([one], [other])


@pytest.mark.parametrize("name", [name for name, form in WRITERS.items() if form.single])
def test_one_image_a_file_makes_a_folder_of_files(tmp_path, name):
    for n in "abc":
        image(tmp_path / "out" / f"{n}.png")
    points = [Mark((3.0, 4.0), "live"), Mark((20.0, 30.0), "live")]
    assert write(tmp_path / "out", [Annotation("", "", f"{n}.png", points=points) for n in "abc"], name) == []
    for sample in load(tmp_path / "out"):
        assert sample.points.tolist() == [[3, 4], [20, 30]]
    with pytest.raises(DataError, match="Name a folder"):
        write(tmp_path / "one.x", [Annotation("", "", n, (9, 9), points=points) for n in "ab"], name)


@pytest.mark.parametrize("name", ["CSV", "Label Studio", "COCO"])
def test_no_cell_is_kept_where_the_format_can_say_so(tmp_path, name):
    path = tmp_path / f"x{WRITERS[name].suffixes[0]}"
    assert write(path, [Annotation("", "", "a.png", (40, 60))], name) == []
    [one] = reading(path, predictions=True)
    assert one.image == "a.png" and one.points == [] and one.holds() == {"cells"}


@pytest.mark.parametrize("name", ["VIA", "CVAT", "labelme", "QuPath", "napari", "Cell Counter", "QuPath table"])
def test_no_cell_is_warned_of_elsewhere(tmp_path, name):
    """... and an image without a mark is not read as one without a cell."""
    path = tmp_path / f"x{WRITERS[name].suffixes[0]}"
    image(tmp_path / "x.png")
    assert kinds(write(path, [Annotation("", "", "x.png", (40, 60))], name)) == ["write-empty"]
    found, problems = read(path)
    assert found == [] and problems[0].kind in ("no-marks", "csv-no-rows"), problems
    assert not load(tmp_path)[0].points if name != "QuPath table" else True


# ---- half pixels: the centre of the first pixel is (0, 0) here


def test_half_pixels(tmp_path):
    """The same point, row 3.25 and column 10.5, as each tool writes it; the sources are named in the modules."""
    image(tmp_path / "a.png")
    region = roifile.ImagejRoi.frompoints(np.array([[10.5, 3.25]], np.float32), name="live")
    region.roitype = roifile.ROI_TYPE.POINT
    (tmp_path / "a.roi").write_bytes(region.tobytes())
    shape = {"original_width": 60, "original_height": 40, "id": "x", "type": "keypointlabels"}
    percent = {"x": 11 / 60 * 100, "y": 3.75 / 40 * 100, "width": 1, "keypointlabels": ["live"]}
    texts = {
        "csv/a.csv": "image,y,x,label\na.png,3.25,10.5,live\n",
        "ls/a.json": json.dumps(
            [{"data": {"image": "a.png"}, "annotations": [{"result": [shape | {"value": percent}]}]}]
        ),
        "napari/a.csv": "index,axis-0,axis-1,label\n0,3.25,10.5,live\n",
        "qupath/a.geojson": json.dumps(feature("Point", [11, 3.75], "live")),
        "px/a.tsv": "Image\tName\tClass\tROI\tCentroid X px\tCentroid Y px\na.png\t\tlive\tPoints\t11\t3.75\n",
        "um/a.tsv": "Image\tClassification\tCentroid X µm\tCentroid Y µm\na.png\tlive\t5.5\t1.875\n",
        "saved/a.tsv": "x\ty\tclass\tname\tcolor\t\n11.0\t3.75\tlive\t\t-65536\n",
        "cvat/a.xml": '<annotations><image id="0" name="a.png" width="60" height="40">'
        '<points label="live" points="11.00,3.75"/></image></annotations>',
        "coco/a.json": json.dumps(coco({"keypoints": [10.5, 3.25, 2]})),
        "via/a.json": json.dumps(via({"name": "point", "cx": 10.5, "cy": 3.25}, {"label": "live"})),
        "labelme/a.json": json.dumps(labelme({"label": "live", "points": [[11, 3.75]], "shape_type": "point"})),
    }
    for name, text in texts.items():
        path = tmp_path / name
        image(path.parent / "a.png")
        path.write_text(text, "utf-8")
    for path in [tmp_path / "a.roi", *(tmp_path / name for name in texts)]:
        [one] = reading(path, pixel_size_um=0.5)
        assert one.image == "a.png"
        assert [(mark.position, mark.label) for mark in one.points] == [(pytest.approx((3.25, 10.5)), "live")], path


def test_whole_pixels_of_cell_counter_and_dots(tmp_path):
    (tmp_path / "a.xml").write_text(COUNTER)
    [one] = reading(tmp_path / "a.xml")
    assert [mark.position for mark in one.points] == [(3, 10), (5, 6), (7, 8)]
    before = Annotation("", "", "a.png", (40, 60), points=[Mark((3.25, 10.5), "live"), Mark((7.0, 8.0), "live")])
    for name, target in (("Cell Counter", "b.xml"), ("dot image", "b_dots.png")):
        problems = write(tmp_path / target, [before], name)
        assert kinds(problems) == ["write-rounded"] and "1 points" in str(problems[0])
        [after] = reading(tmp_path / target)
        assert [mark.position for mark in after.points] == [(3, 10), (7, 8)]


# ---- real shapes


def feature(kind, places, label=None, **plane):
    properties = {"objectType": "annotation"}
    if label:
        properties["classification"] = {"name": label, "color": [200, 0, 0]}
    geometry = {"type": kind, "coordinates": places} | ({"plane": plane} if plane else {})
    return {"type": "Feature", "id": "4b2", "geometry": geometry, "properties": properties}


def coco(*entries, images=("a.png",), label="live", **more):
    listed = [{"id": n, "file_name": name, "height": 40, "width": 60} | more for n, name in enumerate(images, 1)]
    entries = [{"id": n, "image_id": 1, "category_id": 1} | entry for n, entry in enumerate(entries, 1)]
    return {"images": listed, "annotations": entries, "categories": [{"id": 1, "name": label}]}


def via(shape, attributes, name="a.png"):
    """An annotation export of VIA 2.0.12."""
    region = {"shape_attributes": shape, "region_attributes": attributes}
    return {f"{name}-1234": {"filename": name, "size": 1234, "regions": [region], "file_attributes": {}}}


def labelme(*shapes, **more):
    """A file of labelme 5.4."""
    content = {"version": "5.4.1", "flags": {}, "shapes": list(shapes), "imagePath": "a.png", "imageData": None}
    return content | {"imageHeight": 40, "imageWidth": 60} | more


COUNTER = """<?xml version="1.0" encoding="UTF-8"?>
<CellCounter_Marker_File>
 <Image_Properties>
     <Image_Filename>a.png</Image_Filename>
     <X_Calibration>0.5</X_Calibration>
 </Image_Properties>
 <Marker_Data>
     <Current_Type>1</Current_Type>
     <Marker_Type>
         <Type>1</Type>
         <Name>live</Name>
         <Marker><MarkerX>10</MarkerX><MarkerY>3</MarkerY><MarkerZ>1</MarkerZ></Marker>
         <Marker><MarkerX>6</MarkerX><MarkerY>5</MarkerY><MarkerZ>1</MarkerZ></Marker>
     </Marker_Type>
     <Marker_Type>
         <Type>2</Type>
         <Name>Type 2</Name>
         <Marker><MarkerX>8</MarkerX><MarkerY>7</MarkerY><MarkerZ>1</MarkerZ></Marker>
     </Marker_Type>
     <Marker_Type><Type>3</Type><Name>Type 3</Name></Marker_Type>
 </Marker_Data>
</CellCounter_Marker_File>
"""  # as Cell Counter 3.0 writes it (WriteXML.java)
CVAT = """<?xml version="1.0" encoding="utf-8"?>
<annotations>
  <version>1.1</version>
  <meta><task><id>4</id><mode>annotation</mode></task></meta>
  <image id="0" name="plate/a.png" width="60" height="40">
    <points label="live" source="manual" occluded="0" points="10.50,3.75;6.50,5.50" z_order="0"></points>
    <points label="dead" source="manual" occluded="0" points="8.50,7.50" z_order="0">
      <attribute name="sure">yes</attribute></points>
    <tag label="good_frame" source="manual"></tag>
    <skeleton label="pair"><points label="1" outside="0" points="1.5,2.5"/><points label="2" outside="1" points="0,0"/>
    </skeleton>
  </image>
  <image id="1" name="b.png" width="60" height="40"></image>
</annotations>
"""  # the example in the documentation of "CVAT for images 1.1", shortened


def labels_of(one):
    return [(*mark.position, mark.label) for mark in one.points]


def test_cell_counter(tmp_path):
    (tmp_path / "CellCounter_a.xml").write_text(COUNTER)
    [one] = reading(tmp_path / "CellCounter_a.xml")
    assert one.image == "a.png"
    assert labels_of(one) == [(3, 10, "live"), (5, 6, "live"), (7, 8, "Type 2")]
    older = COUNTER.replace("<Name>live</Name>", "").replace("a.png", "")
    older = older[: older.index("     <Marker_Type>\n         <Type>2")] + " </Marker_Data></CellCounter_Marker_File>"
    (tmp_path / "CellCounter_b.xml").write_text(older)  # of 2010: no names
    [one] = reading(tmp_path / "CellCounter_b.xml")
    assert one.image == "b" and {mark.label for mark in one.points} == {""}
    written = tmp_path / "CellCounter_c.xml"
    write(written, [one], "Cell Counter")
    assert "<MarkerX>10</MarkerX>" in written.read_text() and "<Name>cell</Name>" in written.read_text()


def test_cvat(tmp_path):
    (tmp_path / "annotations.xml").write_text(CVAT)
    found, problems = read(tmp_path / "annotations.xml")
    assert kinds(problems) == ["attributes-unread", "no-marks"] and "1 (sure)" in str(problems[0])
    assert "1 of 2 images" in str(problems[1]) and "b.png" in str(problems[1])
    assert found[0].image == "plate/a.png" and found[0].size == (40, 60)
    assert labels_of(found[0]) == [(3.25, 10, "live"), (5, 6, "live"), (7, 8, "dead"), (2, 1, "pair")]


def test_imagej_archive_of_roifile(tmp_path):
    """Named regions, a region with the name that ImageJ gives, and a multi-point selection with counters."""
    regions = []
    for name, xy in (("dead", [[8, 7]]), ("0003-0010", [[10.25, 3.5], [1.5, 2.25]])):
        regions.append(roifile.ImagejRoi.frompoints(np.array(xy, np.float32), name=name))
    regions.append(roifile.ImagejRoi.frompoints(np.array([[20, 30], [21, 31]]), name="0030-0020"))  # integers
    regions[2].counters, regions[2].counter_positions = np.array([0, 2], np.uint8), np.array([0, 0], np.uint32)
    for region in regions:
        region.roitype = roifile.ROI_TYPE.POINT
    roifile.roiwrite(tmp_path / "a.zip", regions)
    [one] = reading(tmp_path / "a.zip")
    expected = [(7, 8, "dead"), (3.5, 10.25, ""), (2.25, 1.5, ""), (30, 20, "counter 0"), (31, 21, "counter 2")]
    assert labels_of(one) == expected and one.image == "a"


def test_imagej_reads_our_regions_as_points(tmp_path):
    write(tmp_path / "a.zip", [Annotation("", "", "a.png", points=marks(70, labels=("", "a")))])
    regions = roifile.roiread(tmp_path / "a.zip")
    assert [(int(r.roitype), len(r.coordinates())) for r in regions] == [(10, 35), (10, 35)]
    [one] = reading(tmp_path / "a.zip")
    assert {mark.label for mark in one.points} == {"", "a"}, "a label may be called as the file"


@pytest.mark.parametrize("wrap", ["collection", "list", "feature"])
def test_qupath_geojson(tmp_path, wrap):
    """The exports of QuPath 0.2 (a list) to 0.5 (a collection), with a derived class."""
    features = [feature("MultiPoint", [[11, 4], [7, 6.5]], "live"), feature("Point", [9, 8]), feature("Point", [2, 3])]
    features[2]["properties"]["classification"] = {"names": ["Tumor", "Positive"]}
    wanted = [(3.5, 10.5, "live"), (6, 6.5, "live"), (7.5, 8.5, ""), (2.5, 1.5, "Tumor: Positive")]
    if wrap == "feature":
        features, wanted = features[:1], wanted[:2]
    shapes = {
        "collection": {"type": "FeatureCollection", "features": features},
        "list": features,
        "feature": features[0],
    }
    (tmp_path / "a.png.geojson").write_text(json.dumps(shapes[wrap]))
    image(tmp_path / "a.png")
    [one] = reading(tmp_path / "a.png.geojson")
    assert one.image == "a.png" and labels_of(one) == wanted
    assert load(tmp_path)[0].name == "a" if wrap == "feature" else True


def test_qupath_tables(tmp_path):
    """A measurement export of QuPath 0.4, of two images, with a measurement."""
    header = "Image\tObject ID\tObject type\tName\tClassification\tParent\tROI\tCentroid X px\tCentroid Y px\tArea"
    header += "\tNum points"
    rows = [
        "a.png\t1\tCell\t\tlive\tRoot\tPolygon\t11\t4\t87.5\t",
        "b.png\t2\tAnnotation\t\tdead\tRoot\tPoints\t9\t8\t\t1",
    ]
    (tmp_path / "m.tsv").write_text("\n".join([header, *rows]), "utf-8")
    found = reading(tmp_path / "m.tsv")
    assert [(one.image, labels_of(one)) for one in found] == [
        ("a.png", [(3.5, 10.5, "live")]),
        ("b.png", [(7.5, 8.5, "dead")]),
    ]
    (tmp_path / "m.tsv").write_text("\n".join([header, *rows, rows[1].replace("\t1", "\t25")]), "utf-8")
    assert kinds(read(tmp_path / "m.tsv")[1]) == ["qupath-set"]
    micro = header.replace("px", "µm")
    (tmp_path / "m.tsv").write_text("\n".join([micro, *rows]), "utf-8")
    assert kinds(read(tmp_path / "m.tsv")[1]) == ["qupath-pixel-size"]
    image(tmp_path / "a.png"), image(tmp_path / "b.png")
    (tmp_path / "dataset.toml").write_text("pixel_size_um = 0.25\n")
    assert load(tmp_path)[0].points.tolist() == [[15.5, 43.5]]


def test_napari(tmp_path):
    """The columns of napari 0.9 with the features that `cellcount` writes."""
    write(tmp_path / "a-points.csv", [Annotation("", "", "a.png", points=marks(3, scores=True))], "napari")
    assert (tmp_path / "a-points.csv").read_text().splitlines()[0] == "index,axis-0,axis-1,score,label"
    (tmp_path / "a-points.csv").write_text("index,axis-0,axis-1\n0.0,3.25,10.5\n1.0,5.0,6.0\n")
    [one] = reading(tmp_path / "a-points.csv")
    assert one.image == "a" and labels_of(one) == [(3.25, 10.5, ""), (5, 6, "")]
    (tmp_path / "a-points.csv").write_text("index,axis-0,axis-1,area\n0.0,3.25,10.5,7\n")
    found, problems = read(tmp_path / "a-points.csv")
    assert len(found[0].points) == 1 and kinds(problems) == ["csv-unread"] and "area" in str(problems[0])


@pytest.mark.slow
def test_napari_itself_reads_and_writes_the_same(tmp_path):
    pytest.importorskip("napari")
    from napari_builtins.io import _read, _write

    before = Annotation("", "", "a.png", points=marks(50, labels=("live",)))
    write(tmp_path / "a.csv", [before], "napari")
    data, header, kind = _read.read_csv(str(tmp_path / "a.csv"), require_type="points")
    assert kind == "points" and header[:3] == ["index", "axis-0", "axis-1"]
    rows = np.column_stack([np.arange(50), np.array([mark.position for mark in before.points])])
    _write.write_csv(str(tmp_path / "b.csv"), rows, ["index", "axis-0", "axis-1"])
    same([before], reading(tmp_path / "b.csv"), labels=False)


def test_via(tmp_path):
    project = {"_via_settings": {}, "_via_img_metadata": via({"name": "point", "cx": 10, "cy": 3}, {"type": "dead"})}
    project["_via_img_metadata"]["b.png-9"] = {"filename": "b.png", "size": 9, "regions": [], "file_attributes": {}}
    (tmp_path / "project.json").write_text(json.dumps(project))
    found, problems = read(tmp_path / "project.json")
    assert [(one.image, labels_of(one)) for one in found] == [("a.png", [(3, 10, "dead")])]
    assert kinds(problems) == ["no-marks"] and "1 of 2" in str(problems[0])
    ticked = via({"name": "point", "cx": 10, "cy": 3}, {"kind": {"live": False, "dead": True}})
    (tmp_path / "ticked.json").write_text(json.dumps(ticked))
    assert labels_of(reading(tmp_path / "ticked.json")[0]) == [(3, 10, "dead")]
    line = ["a.png", "1234", "{}", "1", "0", '{"name":"point","cx":10,"cy":3}', '{"label":"live","sure":"no"}']
    out = io.StringIO()
    csv.writer(out).writerows([["filename", "file_size", "file_attributes", "region_count", "region_id",
                                "region_shape_attributes", "region_attributes"], line])  # fmt: skip
    (tmp_path / "via_export_csv.csv").write_text(out.getvalue())
    found, problems = read(tmp_path / "via_export_csv.csv")
    assert labels_of(found[0]) == [(3, 10, "live")] and kinds(problems) == ["csv-unread"] and "sure" in str(problems[0])


def test_labelme(tmp_path):
    shape = {"label": "dead", "points": [[345.0, 174.0]], "group_id": None, "shape_type": "point", "flags": {}}
    (tmp_path / "a.json").write_text(json.dumps(labelme(shape, imagePath="..\\images\\a.png")))
    [one] = reading(tmp_path / "a.json")
    assert one.image == "a.png" and one.size == (40, 60) and labels_of(one) == [(173.5, 344.5, "dead")]


def test_coco_declares_and_counts(tmp_path):
    """CVAT's export lists all images of a task: without annotations they are not images without a cell."""
    path = tmp_path / "coco.json"
    path.write_text(json.dumps(coco(images=("a.png", "b.png"))))
    found, problems = read(path)
    assert found == [] and kinds(problems) == ["no-marks"] and "2 of 2 images" in str(problems[0])
    path.write_text(json.dumps(coco({"keypoints": [3, 4, 2, 0, 0, 0, 5, 6, 0]}, images=("a.png", "b.png"))))
    found, problems = read(path)
    assert [one.image for one in found] == ["a.png"] and labels_of(found[0]) == [(4, 3, "live")]
    assert kinds(problems) == ["coco-invisible", "no-marks"]
    assert "2 key points" in str(problems[0]) and "1 of 2 images have no mark (b.png)" in str(problems[1])
    for name in ("a.png", "b.png"):
        image(tmp_path / name)
    assert [sample.points is None for sample in load(tmp_path)] == [False, True]
    path.write_text(json.dumps(coco(images=("a.png", "b.png"), complete=True)))
    assert [len(sample.points) for sample in load(tmp_path)] == [0, 0]
    (tmp_path / "none.csv").write_text("image,y,x\nb.png,,\n")
    path.write_text(json.dumps(coco({"keypoints": [3, 4, 2]}, images=("a.png", "b.png"))))
    assert [len(sample.points) for sample in load(tmp_path)] == [1, 0], "the remedy works"


# ---- our CSV


def test_csv_of_count_train_and_import(tmp_path):
    image(tmp_path / "a.png")
    path = tmp_path / "points.csv"
    write(
        path, [Annotation("", "", "a.png", points=[Mark((3.25, 4.0), "dead", score=0.5)]), Annotation("", "", "b.png")]
    )
    assert path.read_text().splitlines() == ["image,y,x,label,score", "a.png,3.25,4,dead,0.5", "b.png,,,,"]
    for text in (
        "image,y,x\na.png,3,4\n",
        "score,label,x,y,image\n.5,dead,4,3,a.png\n",
        "image,y_px,x_px,score\na.png,3,4,.5\n",
    ):
        path.write_text(text)
        assert labels_of(reading(path)[0])[0][:2] == (3, 4)
    for column in ("class", "Type", "classification"):
        path.write_text(f"image,y,x,{column}\na.png,3,4,dead\na.png,5,6,dead\n")
        assert {mark.label for mark in reading(path)[0].points} == {"dead"}
        assert len(load(tmp_path)[0].points) == 0 and len(load(tmp_path)[0].dead) == 2
    path.write_text("image,y,x,area,type,label\na.png,3,4,99,dead,live\n")
    found, problems = read(path)
    assert found[0].points[0].label == "live" and kinds(problems) == ["csv-unread"] and "area, type" in str(problems[0])


def test_what_count_writes_is_read_by_train(tmp_path):
    """The points of `count` beside their images are a data set; an image in which no cell was found has none."""
    [result] = cellcount.count([np.zeros((40, 60), np.float32) + np.eye(40, 60, dtype=np.float32)], method="blobs")
    one, none = (
        replace(result.prediction, points=np.array(points).reshape(-1, 2), scores=np.full(len(points), 0.75))
        for points in ([(13.25, 23.5)], [])
    )
    found = [replace(result, image=name, prediction=p) for name, p in (("a.png", one), ("sub/b.png", none))]
    Results(found).to_csv(tmp_path / "points.csv")
    a, b = reading(tmp_path / "points.csv")
    assert a.points == [Mark((13.25, 23.5), "", "line 2", 0.75)]
    assert b.image == "sub/b.png" and b.points == [] and b.holds() == {"cells"}


def test_former_csv_of_count(tmp_path):
    image(tmp_path / "a.png")
    (tmp_path / "a-points.csv").write_text("y_px,x_px,score\n3.25,4.00,0.900\n")
    [one] = reading(tmp_path / "a-points.csv")
    assert one.image == "a.png" and one.points[0].position == (3.25, 4) and one.points[0].score == 0.9
    (tmp_path / "results.csv").write_text("y_px,x_px,score\n3.25,4.00,0.900\n")
    found, [problem] = read(tmp_path / "results.csv")
    assert found == [] and problem.kind == "csv-no-image" and "NAME-points.csv" in problem.todo


# ---- Label Studio


def region(y, x, label="live", size=(40, 60), **more):
    value = {"x": (x + 0.5) / size[1] * 100, "y": (y + 0.5) / size[0] * 100, "width": 0.4, "keypointlabels": [label]}
    result = {"id": f"{y}-{x}", "type": "keypointlabels", "original_width": size[1], "original_height": size[0]}
    return result | {"from_name": "kp-1", "to_name": "img-1", "image_rotation": 0, "value": value} | more


def task(*results, data=None, key="annotations", **more):
    return {"id": 7, "data": data or {"image": "a.png"}, key: [{"id": 9, "result": list(results)} | more]}


def saved(path, *tasks):
    path.write_text(json.dumps(tasks))
    return path


def test_predictions_are_read_when_asked_for(tmp_path):
    path = saved(tmp_path / "t.json", task(region(3, 4, score=0.75), key="predictions", model_version="m1"))
    found, [problem] = read(path)
    assert found == [] and problem.severity == "error" and "--predictions" in str(problem)
    [one] = reading(path, predictions=True)
    assert one.annotator == "m1" and one.points[0].score == 0.75 and one.points[0].position == pytest.approx((3, 4))
    path = saved(path, task(region(3, 4)))
    assert kinds(read(path, predictions=True)[1]) == ["ls-no-predictions"]


def test_the_image_beside_a_reference_is_the_one_annotated(tmp_path):
    data = {"reference": "ref.png", "image": "a.png"}
    assert reading(saved(tmp_path / "t.json", task(region(3, 4), data=data)))[0].image == "a.png"


def test_origin_says_what_a_person_did(tmp_path):
    origins = ("prediction", "prediction-changed", "manual")
    path = saved(tmp_path / "t.json", task(*[region(3, n, origin=origin) for n, origin in enumerate(origins)]))
    assert [mark.origin for mark in reading(path)[0].points] == list(origins)


def test_the_same_task_twice_counts_once(tmp_path):
    image(tmp_path / "a.png")
    one = task(region(3, 4), region(5, 6), completed_by=1)
    path = saved(tmp_path / "t.json", one, one | {"id": 8})
    found, problems = read(path)
    assert len(found) == 1 and kinds(problems) == ["ls-twice"] and problems[0].severity == "warning"
    assert len(load(tmp_path)[0].points) == 2
    saved(path, one, task(region(3, 4), completed_by=1))  # edited in between: a person has to choose
    assert "annotators" in kinds(folder.check(tmp_path))
    (tmp_path / "dataset.toml").write_text('annotators = "last"\n')
    assert len(load(tmp_path)[0].points) == 1


def crop(top, left, *results, size=(576, 576), key="annotations", **data):
    data = {"image": "data:image/jpeg;base64,AAAA", "source": "1.jpg", "top": top, "left": left} | data
    results = [region(y, x, size=size, origin=origin) for y, x, origin in results]
    return task(*results, data=data, key=key)


def test_crops_become_one_annotation_of_their_image(tmp_path):
    """Cores of 512 px with a margin of 32: left [0, 512), right [512, 1024) of an image of 1024 columns."""
    left = crop(0, 0, (100, 500, "prediction"), (100, 530, "prediction-changed"), (9, 540, "manual"), (5, 2, "manual"),
                size=(512, 544))  # fmt: skip
    right = crop(0, 480, (200, 40, "prediction"), (200, 20, "manual"), (200, 543, "manual"), (511, 100, "manual"),
                 size=(512, 544))  # fmt: skip
    path = saved(tmp_path / "t.json", left, right)
    [one], problems = read(path)
    assert one.image == "1.jpg" and one.size is None
    places = [(100, 500), (100, 530), (5, 2), (200, 520), (200, 1023), (511, 580)]
    np.testing.assert_allclose([mark.position for mark in one.points], places, atol=1e-9)
    assert kinds(problems) == ["ls-margin"] and "2 points" in str(problems[0])
    near = [crop(0, 0, (100, 500, "prediction"), (100, 514, "prediction-changed"), size=(512, 544)),
            crop(0, 480, (100, 37, "prediction"), size=(512, 544))]  # fmt: skip
    problems = read(saved(path, *near))[1]
    assert kinds(problems) == ["ls-seam"] and "1 pair of" in str(problems[0]) and "y = 100.0" in str(problems[0])


def test_crops_of_which_only_some_are_annotated_give_regions(tmp_path):
    done, open_ = crop(0, 0, (100, 500, "manual")), crop(0, 480) | {"annotations": []}
    [one], [problem] = read(saved(tmp_path / "t.json", done, open_))
    assert one.regions == [(0, 0, 576, 544)] and len(one.points) == 1
    assert problem.kind == "ls-crops" and problem.severity == "warning" and ": 1 (1.jpg: 1 crop, " in str(problem)
    [one] = reading(saved(tmp_path / "t.json", crop(0, 0, (9, 570, ""), key="predictions")), predictions=True)
    assert one.image == "1.jpg" and len(one.points) == 1, "every predicted point is kept"
    twice = crop(0, 0, (100, 500, "manual"))
    twice["annotations"] = [one | {"completed_by": n, "id": n} for n in (1, 2) for one in twice["annotations"]]
    [one], problems = read(saved(tmp_path / "t.json", twice))
    assert len(one.points) == 1 and kinds(problems) == ["ls-annotators"]


def test_crops_of_a_grid_give_each_point_once(tmp_path):
    """Every point of a field, added by hand in every crop that shows it, is kept in exactly one."""
    height, width, core, margin = 700, 1100, 512, 32
    random = np.random.default_rng(0)
    points = np.stack([random.uniform(-0.5, height - 0.5, 500), random.uniform(-0.5, width - 0.5, 500)], 1)
    tasks = []
    for top, left in ((y, x) for y in range(0, height, core) for x in range(0, width, core)):
        y0, x0 = max(0, top - margin), max(0, left - margin)
        size = min(height, top + core + margin) - y0, min(width, left + core + margin) - x0
        shown = points - (y0, x0)
        shown = shown[((shown >= -0.5) & (shown < np.array(size) - 0.5)).all(1)]
        tasks.append(crop(y0, x0, *[(y, x, "manual") for y, x in shown], size=size))
    [one], problems = read(saved(tmp_path / "t.json", *tasks))
    np.testing.assert_allclose(sorted(mark.position for mark in one.points), sorted(map(tuple, points)), atol=1e-6)


def test_our_tasks_have_the_form_that_label_studio_imports(tmp_path):
    one = Annotation("", "", "a.png", (40, 60), "thesis", points=[Mark((3.0, 4.0), "live", score=0.5)])
    [written] = json.loads((write(tmp_path / "t.json", [one], "Label Studio"), (tmp_path / "t.json").read_text())[1])
    assert set(written) == {"data", "predictions"}, "without the wrapper `data` predictions are lost"
    result = written["predictions"][0]["result"][0]
    assert result["value"] == {"x": 7.5, "y": 8.75, "width": 0.4, "keypointlabels": ["live"]}
    assert {"original_width": 60, "original_height": 40, "image_rotation": 0}.items() <= result.items()
    data = {"image": "data:...", "source": "a.png", "top": 480, "left": 0}
    assert labelstudio.task(one, data, ("cells", "image"))["data"] == data


@pytest.mark.slow
def test_label_studio_accepts_our_predictions(tmp_path):
    interface = pytest.importorskip("label_studio_sdk.label_interface")
    labels = "".join(f'<Label value="{label}"/>' for label in ("live", "dead"))
    points = f'<KeyPointLabels name="kp-1" toName="img-1">{labels}</KeyPointLabels>'
    config = f'<View><Image name="img-1" value="$image"/>{points}</View>'
    one = Annotation("", "", "a.png", SIZE, points=marks(200, labels=("live", "dead"), scores=True))
    [prediction] = labelstudio.task(one)["predictions"]
    assert interface.LabelInterface(config).validate_prediction(prediction, return_errors=True) == []


# ---- refusals: every kind of problem of the new formats

BOMB = '<!DOCTYPE lolz [<!ENTITY lol "lol"><!ENTITY lol2 "&lol;&lol;">]><annotations>&lol2;</annotations>'
OUTSIDE = '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><annotations>&x;</annotations>'
RECTANGLE = {"label": "live", "points": [[1, 1], [9, 9]], "shape_type": "rectangle"}


SEAM = [
    crop(0, 0, (100, 500, "prediction"), size=(512, 544)), crop(0, 480, (100, 22, "prediction"), size=(512, 544))
]  # fmt: skip


def point_region(**more):
    one = roifile.ImagejRoi.frompoints(np.array([[10.5, 3.25]], np.float32), name="live")
    one.roitype = roifile.ROI_TYPE.POINT
    for name, value in more.items():
        setattr(one, name, value)
    return one.tobytes()


def archive(*contents, name="{}.roi"):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made:
        for number, content in enumerate(contents):
            made.writestr(name.format(number), content)
    return out.getvalue()


def bomb(method, claimed=1000):
    """An archive with a file that is larger than it claims."""
    out, size = io.BytesIO(), 2**22
    with zipfile.ZipFile(out, "w", method) as made:
        made.writestr("a.roi", bytes(size))
    return out.getvalue().replace(struct.pack("<I", size), struct.pack("<I", claimed))


def counter(**changes):
    text = COUNTER
    for old, new in changes.values():
        text = text.replace(old, new, 1)
    return text


def jpeg_dots():
    """Dots of a pixel each, so strongly compressed that gray values around them may be dots."""
    pixels, file = np.zeros((40, 60), np.uint8), io.BytesIO()
    pixels[5, 6] = pixels[20, 30] = pixels[21, 40] = 255
    Image.fromarray(pixels).save(file, "JPEG", quality=40)
    return file.getvalue()


JPEG_DOTS = jpeg_dots()
REFUSED = {
    "entities": ("a.xml", BOMB, "xml-doctype"),
    "external entity": ("a.xml", OUTSIDE, "xml-doctype"),
    "broken XML": ("a.xml", "<annotations><image></annotations>", "xml-broken"),
    "XML of another kind": ("a.xml", "<note>hello</note>", "content-unknown"),
    "XML in UTF-16": ("a.xml", COUNTER.encode("utf-16"), "encoding-utf16"),
    "CVAT for video": ("a.xml", "<annotations><meta/><track id='0'/></annotations>", "cvat-video"),
    "CVAT boxes": ("a.xml", CVAT.replace("<tag", "<box").replace("</tag", "</box"), "not-points"),
    "CVAT without a name": ("a.xml", CVAT.replace('name="b.png"', ""), "cvat-image"),
    "CVAT with a word": ("a.xml", CVAT.replace("8.50,7.50", "8.50,left"), "mark-number"),
    "CVAT without an image": ("a.xml", "<annotations><meta/></annotations>", "no-images-annotated"),
    "Cell Counter slices": ("a.xml", counter(z=("<MarkerZ>1", "<MarkerZ>2")), "marks-slices"),
    "Cell Counter with a word": ("a.xml", counter(x=("<MarkerX>10", "<MarkerX>left")), "mark-number"),
    "Cell Counter without X": ("a.xml", counter(x=("<MarkerX>10</MarkerX>", "")), "mark-number"),
    "no archive": ("a.zip", b"PK\3\4 is not all", "content-unknown"),
    "archive of images": ("a.zip", archive(b"x", name="{}.png"), "content-unknown"),
    "archive with a broken region": ("a.zip", archive(point_region(), b"Iout"), "roi-broken"),
    "broken region": ("a.roi", b"Iout" + bytes(9), "roi-broken"),
    "region without its name": ("a.roi", point_region()[:-4], "roi-broken"),
    "no region": ("a.roi", b"hello", "roi-broken"),
    "bomb": ("a.zip", archive(bytes(2**26 + 1)), "roi-size"),
    "bomb that claims to be small": ("a.zip", bomb(zipfile.ZIP_DEFLATED), "roi-broken"),
    "bomb of bzip2": ("a.zip", bomb(zipfile.ZIP_BZIP2), "roi-broken"),
    "rectangle region": ("a.roi", point_region(roitype=roifile.ROI_TYPE.RECT), "not-points"),
    "regions on two slices": ("a.zip", archive(point_region(position=1), point_region(position=2)), "marks-slices"),
    "region of NaN": ("a.roi", point_region(subpixel_coordinates=np.array([[np.nan, 1]], np.float32)), "mark-number"),
    "GeoJSON polygon": ("a.geojson", json.dumps(feature("Polygon", [[[1, 1], [2, 2], [3, 1]]])), "not-points"),
    "GeoJSON slices": ("a.geojson", json.dumps([feature("Point", [1, 2], z=n) for n in (0, 1)]), "marks-slices"),
    "GeoJSON called dead": (
        "a.geojson", json.dumps(feature("Point", [1, 2]) | {"properties": {"name": "dead"}}), "attributes-unread"
    ),
    "GeoJSON with a word": ("a.geojson", json.dumps(feature("Point", ["a", 2])), "mark-number"),
    "GeoJSON without geometry": ("a.geojson", '{"type": "Feature"}', "json-structure"),
    "JSON as GeoJSON": ("a.geojson", "{}", "json-kind"),
    "centroids in µm": ("a.tsv", "Image\tCentroid X µm\tCentroid Y µm\na.png\t1\t2\n", "qupath-pixel-size"),
    "only X": ("a.tsv", "Image\tCentroid X px\na.png\t1\n", "csv-columns"),
    "centroid of many": ("a.tsv", "Image\tCentroid X px\tCentroid Y px\tNum points\na.png\t1\t2\t9\n", "qupath-set"),
    "QuPath slices": ("a.tsv", "x\ty\tz\n1\t2\t0\n3\t4\t1\n", "marks-slices"),
    "QuPath with a word": ("a.tsv", "x\ty\n1\ttwo\n", "mark-number"),
    "QuPath header only": ("a.tsv", "x\ty\tclass\t\n", "csv-no-rows"),
    "another TSV": ("a.tsv", "name\tvalue\na\t1\n", "content-unknown"),
    "VIA rectangle": ("a.json", json.dumps(via({"name": "rect", "x": 1, "y": 2}, {})), "not-points"),
    "VIA with a word": ("a.json", json.dumps(via({"name": "point", "cx": "a", "cy": 2}, {})), "mark-number"),
    "VIA without images": ("a.json", '{"_via_img_metadata": {}}', "no-images-annotated"),
    "VIA with broken JSON": ("a.csv", 'filename,region_shape_attributes\na.png,"{oh"\n', "json-broken"),
    "labelme rectangle": ("a.json", json.dumps(labelme(RECTANGLE)), "not-points"),
    "labelme with a word": (
        "a.json",
        json.dumps(labelme(RECTANGLE | {"shape_type": "point", "points": [["a", 1]]})),
        "mark-number",
    ),
    "labelme flags": ("a.json", json.dumps(labelme() | {"flags": {"blurred": True, "old": 0}}), "attributes-unread"),
    "labelme with two points": ("a.json", json.dumps(labelme(RECTANGLE | {"shape_type": "point"})), "json-structure"),
    "labelme without shapes": ("a.json", json.dumps(labelme()), "no-marks"),
    "napari in 3D": ("a.csv", "index,axis-0,axis-1,axis-2\n0,1,2,3\n", "napari-axes"),
    "napari with a word": ("a.csv", "index,axis-0,axis-1\n0,1,two\n", "mark-number"),
    "napari header only": ("a.csv", "index,axis-0,axis-1\n", "no-marks"),
    "CSV without an image": ("a.csv", "y,x\n1,2\n", "csv-no-image"),
    "CSV with a column twice": ("a.csv", "image,y,x,x\na.png,1,2,3\n", "csv-twice"),
    "CSV with a column unread": ("a.csv", "image,y,x,area\na.png,1,2,3\n", "csv-unread"),
    "CSV of two slices": ("a.csv", "image,y,x,z\na.png,1,2,1\na.png,3,4,2\n", "marks-slices"),
    "CSV with a worded score": ("a.csv", "image,y,x,score\na.png,1,2,high\n", "mark-number"),
    "CSV with a long row": ("a.csv", "image,y,x\na.png,1,2,3\n", "csv-row"),
    "COCO without images": ("a.json", '{"images": [], "annotations": []}', "no-images-annotated"),
    "COCO of boxes": ("a.json", json.dumps(coco({"bbox": [1, 1, 5, 5]})), "coco-no-keypoints"),
    "huge number": ("a.json", "[" + "9" * 5000 + "]", "json-broken"),
    "deep JSON": ("a.json", "[" * 200_000, "json-broken"),
    "crop at a word": ("a.json", json.dumps([crop("a", 0, (1, 2, ""))]), "mark-number"),
    "another suffix": ("a.docx", b"PK", "annotation-format"),
    "too large": ("a.json", 2**30, "annotation-size"),
    "CVAT polygon": ("a.xml", CVAT.replace("<tag", "<polygon").replace("</tag", "</polygon"), "not-points"),
    "CVAT without marks": ("a.xml", CVAT[: CVAT.index("    <points")] + "</image></annotations>", "no-marks"),
    "Cell Counter without marks": ("a.xml", "<CellCounter_Marker_File/>", "no-marks"),
    "XML of nothing": ("a.xml", b" ", "annotation-empty"),
    "GeoJSON without features": ("a.geojson", '{"type": "FeatureCollection", "features": []}', "no-marks"),
    "GeoJSON line": ("a.geojson", json.dumps(feature("LineString", [[1, 1], [2, 2]])), "not-points"),
    "GeoJSON of one number": ("a.geojson", json.dumps(feature("Point", [1])), "json-structure"),
    "VIA polygon": ("a.json", json.dumps(via({"name": "polygon", "all_points_x": [1]}, {})), "not-points"),
    "VIA regions empty": ("a.json", json.dumps({"a": {"filename": "a.png", "regions": []}}), "no-marks"),
    "VIA 3": ("a.json", '{"project": {}, "file": {}, "metadata": {}}', "json-kind"),
    "labelme polygon": ("a.json", json.dumps(labelme(RECTANGLE | {"shape_type": None})), "not-points"),
    "COCO invisible": ("a.json", json.dumps(coco({"keypoints": [3, 4, 0]})), "coco-invisible"),
    "COCO listed but not annotated": ("a.json", json.dumps(coco(images=("a.png", "b.png"))), "no-marks"),
    "COCO with null": ("a.json", json.dumps(coco({"keypoints": [None, 4, 2]})), "mark-number"),
    "COCO of text ids": ("a.json", json.dumps(coco({"image_id": "1", "keypoints": [3, 4, 2]})), "coco-image-id"),
    "napari shapes": ("a.csv", "index,shape-type,vertex-index,axis-0,axis-1\n0,ellipse,0,1,2\n", "not-points"),
    "attributes of CVAT": ("a.xml", CVAT, "attributes-unread"),
    "choices of each region": (
        "a.json", json.dumps([task(region(3, 4), {"id": "3-4", "type": "choices", "value": {"choices": ["dead"]}})]),
        "attributes-unread",
    ),
    "dots in JPEG": ("a_dots.jpg", JPEG_DOTS, "dots-jpeg"),
    "napari of tracks": ("a.csv", "index,axis-0\n0,1\n", "napari-axes"),
    "napari without a value": ("a.csv", "index,axis-0,axis-1\n0,1,\n", "mark-number"),
    "centroid not a number": ("a.tsv", "Image\tCentroid X px\tCentroid Y px\na.png\tNaN\t2\n", "mark-number"),
    "empty region": ("a.roi", b"", "annotation-empty"),
    "freehand region": ("a.roi", point_region(roitype=roifile.ROI_TYPE.FREEHAND), "not-points"),
    "Label Studio predictions": ("a.json", json.dumps([task(region(3, 4), key="predictions")]), "ls-no-annotations"),
    "the same task twice": ("a.json", json.dumps([task(region(3, 4))] * 2), "ls-twice"),
    "choices alone": (
        "a.json", json.dumps([task({"id": "x", "type": "choices", "value": {"choices": ["blurred"]}})]), "ls-no-marks"
    ),
    "several images in the data": (
        "a.json", json.dumps([task(region(3, 4), data={"before": "a.png", "after": "b.png"})]), "ls-several"
    ),
    "several images in a task": (
        "a.json", json.dumps([task(region(3, 4, item_index=0), region(5, 6, item_index=1))]), "marks-slices"
    ),
    "draft": ("a.json", json.dumps([task(region(3, 4)) | {"drafts": [{"id": 1}]}]), "ls-drafts"),
    "crops not annotated": (
        "a.json",
        json.dumps([crop(0, 0, (9, 9, "manual"), source_height=576, source_width=1024),
                    crop(0, 448, source_height=576, source_width=1024) | {"annotations": []}]),
        "ls-crops",
    ),
    "crop annotated twice": (
        "a.json",
        json.dumps([crop(0, 0, (9, 9, "manual"), source_height=576, source_width=576),
                    crop(0, 0, (9, 8, "manual"), source_height=576, source_width=576)]),
        "ls-annotators",
    ),
    "crop of no size": ("a.json", json.dumps([crop(0, 0), crop(0, 480) | {"annotations": []}]), "ls-crop-size"),
    "crop outside": (
        "a.json", json.dumps([crop(0, 9000, (9, 9, "manual"), source_height=576, source_width=1024)]), "ls-crop-place"
    ),
    "point in the margin": (
        "a.json", json.dumps([crop(0, 0, (9, 570, "manual"), source_height=576, source_width=1024)]), "ls-margin"
    ),
    "seam": ("a.json", json.dumps(SEAM), "ls-seam"),
    "rotated image": ("a.json", json.dumps([task(region(3, 4, image_rotation=90))]), "ls-image-rotated"),
    "text of one quote": ("a.csv", 'image,y,x\na.png,1,"2\n', "csv-broken"),
    "columns in words": ("a.csv", "image,row,column\na.png,1,2\n", "csv-columns"),
    "separated by bars": ("a.csv", "image|y|x\na.png|1|2\n", "csv-columns"),
    "a title above the table": ("a.csv", "Counts of May\nimage,y,x\na.png,1,2\n", "csv-columns"),
    "origin of another kind": ("a.csv", "image,y,x,origin\na.png,1,2,Mars\n", "csv-unread"),
    "UTF-32": ("a.csv", "image,y,x\na.png,1,2\n".encode("utf-32"), "encoding-utf16"),
    "image that is no dot image": ("a.png", b"PNG", "content-unknown"),
    "missing file": ("missing.csv", None, "file-unreadable"),
}  # fmt: skip
# Read with predictions=True.
ASKED = {"predictions asked for": ("a.json", json.dumps([task(region(3, 4))]), "ls-no-predictions")}
REFUSED |= ASKED


@pytest.mark.parametrize("name", REFUSED)
def test_refused_or_warned_of(tmp_path, name):
    file, content, kind = REFUSED[name]
    if isinstance(content, int):
        with open(tmp_path / file, "wb") as made:
            made.truncate(content)  # takes no room on the disk
    elif content is not None:
        (tmp_path / file).write_bytes(content if isinstance(content, bytes) else content.encode())
    options = {"predictions": name in ASKED}
    found, problems = read(tmp_path / file, **options)
    assert kind in kinds(problems), problems
    one = next(one for one in problems if one.kind == kind)
    assert one.what and one.todo and file in str(one)
    if one.severity == "error":
        with pytest.raises(CellcountError):
            convert(tmp_path / file, tmp_path / "new.csv", **options)


def test_a_name_in_an_archive_never_becomes_a_path(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.zip").write_bytes(archive(point_region(), name="../../evil{}.roi"))
    assert len(reading(tmp_path / "in" / "a.zip")[0].points) == 1
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.zip", "in"]


@pytest.mark.parametrize(
    "target, format, match",
    [
        ("x.json", None, "Label Studio, COCO, VIA, labelme"),
        ("x.xml", None, "CVAT, Cell Counter"),
        ("x.docx", None, "no format"),
        ("x.csv", "Excel", "unknown"),
    ],
)
def test_the_format_must_be_known(tmp_path, target, format, match):
    with pytest.raises(ParameterError, match=match):
        write(tmp_path / target, [Annotation("", "", "a.png")], format)


# What a format cannot hold: the format, the file, points (y, x[, label[, score]]), boxes, and the kind of problem.
HELD = {
    "Label Studio without the size": ("Label Studio", "x.json", [(3, 4)], 0, "write-size"),
    "CVAT without the size": ("CVAT", "x.xml", [(3, 4)], 0, "write-size"),
    "dots without the size": ("dot image", "x_dots.png", [(3, 4)], 0, "write-size"),
    "one region for two labels": ("ImageJ", "x.roi", [(3, 4, "live"), (5, 6, "dead")], 0, "write-one-label"),
    "no region": ("ImageJ", "x.roi", [], 0, "write-one-label"),
    "dots that touch": ("dot image", "s_dots.png", [(3, 4), (3, 5)], 0, "write-dots"),
    "dots of other labels": ("dot image", "s_dots.png", [(3, 4), (9, 9, "dead")], 0, "write-labels"),
    "dots between pixels": ("dot image", "s_dots.png", [(3, 4.25)], 0, "write-rounded"),
    "markers between pixels": ("Cell Counter", "s.xml", [(3, 4.25)], 0, "write-rounded"),
    "scores in QuPath": ("QuPath", "s.geojson", [(3, 4, "live", 0.5)], 0, "write-scores"),
    "scores in VIA": ("VIA", "s.json", [(3, 4, "live", 0.5)], 0, "write-scores"),
    "boxes in COCO": ("COCO", "s.json", [(3, 4)], 1, "write-boxes"),
    "boxes in napari": ("napari", "s.csv", [(3, 4)], 1, "write-boxes"),
    "no cell in CVAT": ("CVAT", "s.xml", [], 0, "write-empty"),
    "no cell in labelme": ("labelme", "s.json", [], 0, "write-empty"),
    "parts of an image": ("CSV", "s.csv", [(3, 4)], [(0, 0, 16, 16)], "write-regions"),
    "annotated twice": ("CSV", "s.csv", "image,y,x\na.png,1,2\n", 0, "convert-twice"),
    "a file that is there": ("napari", "new", "image,y,x\na.png,1,2\n", 0, "convert-kept"),
    "stored points": ("CSV", "new.csv", "image,y,x\na.tif,1,2\n", 0, "convert-turned"),
}


@pytest.mark.parametrize("name", HELD)
def test_what_a_format_cannot_hold_is_refused_or_warned_of(tmp_path, name):
    format, target, points, boxes, kind = HELD[name]
    if kind == "convert-kept":
        (tmp_path / "a.csv").write_text(points)
        assert convert(tmp_path / "a.csv", tmp_path / target, format) == []
        assert kinds(convert(tmp_path / "a.csv", tmp_path / target, format)) == [kind]
        return
    if kind == "convert-turned":
        pixels = np.arange(2400, dtype=np.uint8).reshape(40, 60)
        tifffile.imwrite(tmp_path / "a.tif", pixels, extratags=[(274, "H", 1, 3, True)])
        (tmp_path / "a.csv").write_text(points)
        (tmp_path / "dataset.toml").write_text('orientation = "stored"\n')
        assert kinds(convert(tmp_path / "a.csv", tmp_path / target)) == [kind]
        assert "a.tif,38,57" in (tmp_path / target).read_text()
        return
    if isinstance(points, str):  # in two files
        for file in "ab":
            (tmp_path / f"{file}.csv").write_text(points)
        with pytest.raises(DataError, match="is annotated 2 times"):
            convert(tmp_path, tmp_path / "new.csv")
        return
    marks = [Mark((y, x), *(more or ["live"])[:1], score=(more[1:] or [None])[0]) for y, x, *more in points]
    regions, boxes = ([], boxes) if isinstance(boxes, int) else (boxes, 0)
    box = [Mark((1.0, 1.0, 9.0, 9.0), "live")] * boxes
    size = (40, 60) if target.startswith("s") else None
    one = Annotation("", "", "a.png", size, points=marks, boxes=box, regions=regions)
    expected = catalogue.problem(kind, target, image="a.png", count=max(1, len(points)), stem="a", regions=regions)
    if expected.severity == "error":
        with pytest.raises(DataError, match=expected.todo):
            write(tmp_path / target, [one], format)
        assert list(tmp_path.iterdir()) == []
    else:
        assert kinds(write(tmp_path / target, [one], format)) == [kind] and (tmp_path / target).exists()


def test_targets_that_cannot_be_written(tmp_path):
    one = Annotation("", "", "a.png", points=[Mark((3, 4), "live")])
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(DataError, match="is a folder"):
        write(tmp_path / "folder.csv", [one])
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        write(tmp_path / "file" / "x.csv", [one])
    with pytest.raises(DataError, match="no annotation to write"):
        write(tmp_path / "x.csv", [])
    with pytest.raises(DataError, match="same file"):
        write(tmp_path / "out", [replace(one, image=name) for name in ("a.png", "a.tif")], "napari")
    with pytest.raises(DataError, match="cannot be written"):
        write(tmp_path / "out", [replace(one, image=name) for name in ("a\0.png", "a.tif")], "napari")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "folder.csv"]


def test_a_name_never_leaves_the_folder(tmp_path):
    points = [Mark((3, 4), "live")]
    names = ("../../a.png", "/tmp/b.png", "..\\c.png", "..")
    write(tmp_path / "in" / "out", [Annotation("", "", name, points=points) for name in names], "ImageJ")
    assert {path.parent.name for path in tmp_path.rglob("*.zip")} == {"out"}
    assert len(list((tmp_path / "in" / "out").iterdir())) == len(names)


def test_lines_may_end_as_on_any_system(tmp_path):
    for end in ("\n", "\r\n", "\r"):
        (tmp_path / "a.csv").write_bytes(f"image,y,x{end}a.png,1,2{end}".encode())
        assert labels_of(reading(tmp_path / "a.csv")[0]) == [(1, 2, "")]


def test_a_dot_image_must_hold_every_cell(tmp_path):
    for places in (
        [],
        [(3, 4), (3.2, 4.1)],
        [(3, 4), (3, 5)],
        [(y, x) for y in range(0, 40, 2) for x in range(0, 60, 2)],
    ):
        one = Annotation("", "", "a.png", (40, 60), points=[Mark(place, "live") for place in places])
        with pytest.raises(DataError, match="cannot be told apart"):
            write(tmp_path / "a_dots.png", [one])
    one = Annotation("", "", "a.png", (40, 60), points=[Mark((3, 4), "live"), Mark((9, 9), "dead")])
    assert kinds(write(tmp_path / "a_dots.png", [one])) == ["write-labels"]


def test_what_a_format_cannot_hold_is_said(tmp_path):
    one = Annotation("", "", "a.png", points=[Mark((3, 4), "live", score=0.5)], boxes=[Mark((1, 1, 9, 9), "live")])
    assert kinds(write(tmp_path / "x.geojson", [one])) == ["write-scores", "write-boxes"]
    assert write(tmp_path / "x.csv", [one]) == []
    assert reading(tmp_path / "x-boxes.csv")[0].boxes[0].position == (1, 1, 9, 9)
    assert write(tmp_path / "only.csv", [replace(one, points=[])]) == []
    assert len(reading(tmp_path / "only.csv")[0].boxes) == 1


# ---- convert


def test_convert(tmp_path, capsys):
    """Label Studio to ImageJ to napari to Label Studio: the sizes are those of the images beside the files."""
    source = tmp_path / "project"
    for name in ("a.png", "images/b.png"):
        image(source / name)
    points = [Mark((3.25, 4.5), "live"), Mark((39.0, 59.0), "dead")]
    write(source / "points.csv", [Annotation("", "", name, points=points) for name in ("a", "b.png")])
    assert main(["data", "convert", str(source / "points.csv"), str(source / "t.json"), "--format", "labelstudio"]) == 0
    assert main(["data", "convert", str(source / "t.json"), str(tmp_path / "no.csv")]) == 3
    assert "--predictions" in capsys.readouterr().err
    assert (
        main(["data", "convert", str(source / "t.json"), str(tmp_path / "rois"), "--format", "imagej", "--predictions"])
        == 0
    )
    assert sorted(path.name for path in (tmp_path / "rois").iterdir()) == ["a.zip", "b.zip"]
    assert main(["data", "convert", str(tmp_path / "rois"), str(tmp_path / "back.csv")]) == 0
    found = reading(tmp_path / "back.csv")
    assert [one.image for one in found] == ["a", "b"]
    for one in found:
        same([one], [Annotation("", "", "", points=points)])
    assert main(["data", "convert", str(tmp_path / "rois"), str(tmp_path / "back.csv")]) == 3, "never overwrites"
    assert main(["data", "convert", str(tmp_path / "rois"), str(tmp_path / "back.json")]) == 2
    assert main(["data", "convert", str(tmp_path / "rois"), str(tmp_path / "x.xml"), "--format", "cvat"]) == 3
    assert "size of the image a " in capsys.readouterr().err


@pytest.mark.parametrize("format, suffix", [("CVAT", "xml"), ("coco", "json"), ("via", "json"), ("csv", "csv")])
def test_a_folder_gets_one_file_of_formats_that_have_all_images_in_one(tmp_path, format, suffix):
    """Also if it is not there yet, as in `cellcount data convert F/predictions F/annotations`."""
    image(tmp_path / "images" / "a.png")
    source, target = tmp_path / "predictions", tmp_path / "annotations"
    source.mkdir()
    (source / "a.csv").write_text("image,y,x\na.png,1,2\n")
    convert(source, target, format)
    assert [path.name for path in target.iterdir()] == [f"points.{suffix}"]
    assert reading(target / f"points.{suffix}")[0].points[0].position == pytest.approx((1, 2), abs=0.01)
    with pytest.raises(DataError, match=rf"has files already. Name a new file in it: .*new.{suffix}"):
        convert(source, target, format)
    with pytest.raises(DataError, match="cellcount labelstudio export"):
        convert(source, target, "Label Studio")
    (tmp_path / "taken").write_text("")
    with pytest.raises(DataError, match="taken exists. Name another file.$"):
        convert(source, tmp_path / "taken", format)


def test_converting_into_a_folder_leaves_what_is_there(tmp_path):
    """An image was added after others had been corrected."""
    source, target = tmp_path / "predictions", tmp_path / "annotations"
    source.mkdir()
    (source / "a.csv").write_text("image,y,x\na.png,1,2\n")
    convert(source, target, "napari")
    (target / "a-points.csv").write_text("corrected")
    (source / "b.csv").write_text("image,y,x\nb.png,3,4\n")
    [problem] = convert(source, target, "napari")
    assert problem.kind == "convert-kept" and "1 files" in str(problem) and "a-points.csv" in str(problem)
    assert (target / "a-points.csv").read_text() == "corrected" and len(list(target.iterdir())) == 2
    with pytest.raises(DataError, match="Name another folder"):
        convert(source, source, "napari")


@pytest.mark.parametrize("text", [",image,y,x\n7,a.png,1,2\n", ",axis-0,axis-1\n7,1,2\n"])
def test_a_column_without_a_name_is_no_label(tmp_path, text):
    """pandas writes row numbers so."""
    (tmp_path / "a.csv").write_text(text)
    [one] = reading(tmp_path / "a.csv")
    assert [(mark.position, mark.label) for mark in one.points] == [((1.0, 2.0), "")]


def test_no_table_of_boxes_is_replaced(tmp_path):
    marks = {"points": [Mark((3, 4), "live")], "boxes": [Mark((1.0, 1.0, 9.0, 9.0), "live")]}
    (tmp_path / "boxes.csv").write_text("of other points")
    with pytest.raises(DataError, match="boxes.csv exists"):
        write(tmp_path / "points.csv", [Annotation("", "", "a.png", **marks)])
    assert [path.name for path in tmp_path.iterdir()] == ["boxes.csv"]
    assert (tmp_path / "boxes.csv").read_text() == "of other points"


def test_convert_refuses_what_could_be_wrong(tmp_path):
    image(tmp_path / "a.png")
    other = json.dumps(labelme({"label": "x", "points": [[1, 1]], "shape_type": "point"}, imageHeight=80))
    (tmp_path / "a.json").write_text(other)
    with pytest.raises(DataError, match="60 x 80 px, but a.png has 60 x 40"):
        convert(tmp_path / "a.json", tmp_path / "new.csv")
    (tmp_path / "a.json").unlink()
    (tmp_path / "a.csv").write_text("image,y,x\na.png,1,2\n")
    (tmp_path / "b.csv").write_text("image,y,x\na,1,2\n")
    with pytest.raises(DataError, match="a.png is annotated 2 times"):
        convert(tmp_path, tmp_path / "new" / "x.csv")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no annotation file"):
        convert(tmp_path / "empty", tmp_path / "new.csv")
    (tmp_path / "a.png.xml").write_text("<note/>")
    with pytest.raises(DataError, match="known formats"):
        convert(tmp_path / "a.png.xml", tmp_path / "new.csv")


def test_convert_dots_with_the_image_beside_them(tmp_path):
    image(tmp_path / "001cell.png")
    pixels = np.zeros((40, 60), np.uint8)
    pixels[3, 4] = pixels[20, 30] = 255
    Image.fromarray(pixels).save(tmp_path / "001dots.png")
    convert(tmp_path, tmp_path / "x.csv")
    assert (tmp_path / "x.csv").read_text().splitlines()[1:] == ["001cell.png,3,4,,", "001cell.png,20,30,,"]


def test_exif_rotation_gives_the_upright_size(tmp_path):
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(tmp_path / "a.jpg", exif=exif)
    (tmp_path / "a.csv").write_text("image,y,x\na.jpg,50,30\n")
    problems = convert(tmp_path / "a.csv", tmp_path / "t.json", "Label Studio")
    assert kinds(problems) == ["image-exif"] and "ImageJ" in problems[0].todo
    result = json.loads((tmp_path / "t.json").read_text())[0]["predictions"][0]["result"][0]
    assert (result["original_height"], result["original_width"]) == (60, 40)


# ---- damaged files


def samples():
    """{name: (file, content)}: a valid file of each format."""
    found = {}
    scratch = [Mark((3.0, 4.0), "live", score=0.5), Mark((20.0, 30.0), "dead"), Mark((9.0, 9.0), "live")]
    import tempfile

    with tempfile.TemporaryDirectory() as root:
        for name, form in WRITERS.items():
            for suffix in form.suffixes:
                path = Path(root) / ("a_dots.png" if name == "dot image" else f"a{suffix}")
                one = scratch if suffix not in (".roi", ".png") else scratch[::2]
                write(path, [Annotation("", "", "a.png", (40, 60), points=one)], name)
                found[f"{name} {suffix}"] = path.name, path.read_bytes()
    found["annotated"] = (
        "a.json",
        json.dumps([task(region(3, 4), region(5, 6)), crop(0, 480, (9, 9, "manual"))]).encode(),
    )
    found["centroids"] = "a.tsv", b"Image\tClass\tCentroid X px\tCentroid Y px\tNum points\na\tx\t1\t2\t1\n"
    found["Cell Counter"] = "a.xml", COUNTER.encode()
    found["CVAT"] = "a.xml", CVAT.encode()
    return found


SAMPLES = samples()
STRANGE = [b"", b"0", b"-1", b"1e999", b"nan", b"null", b"[]", b"{}", b'"', b",", b"\t", b"\n", b"\r", b"\0", b"<",
           b">", b"&#0;", b"\xff", b"\xc3\xa9", b"true", b"a" * 300, struct.pack(">i", -1),
           struct.pack(">i", 2**31 - 1)]  # fmt: skip


@st.composite
def damage(draw, content):
    """The content with one to four places cut, doubled or replaced."""
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(content)))
        end = min(len(content), start + draw(st.sampled_from([0, 1, 1, 2, 4, 9, 40, 10**6])))
        new = draw(st.one_of(st.sampled_from(STRANGE), st.binary(max_size=6), st.just(content[start:end] * 2)))
        content = content[:start] + new + content[end:]
    return content


VALUES = [None, "x", "", " ", -1, 0, 0.5, 1e308, 1e400, float("nan"), True, [], {}, [1], [[None]], {"a": 1}, 10**400,
          "1e5", "a\0b", "ü" * 300, "../x.png", "\u202e"]  # fmt: skip


def crooked(content, suffix, random):
    """A file that can still be parsed, in which some values are replaced, left out or doubled."""
    if suffix in (".json", ".geojson"):
        parsed = [json.loads(content)]
        for _ in range(random.randint(1, 3)):
            path = random.choice(list(places(parsed)))
            inner = parsed
            for key in path[:-1]:
                inner = inner[key]
            done = random.choice(("replace", "replace", "replace", "delete", "double"))
            if done == "replace" or len(path) == 1:
                inner[path[-1]] = copy.deepcopy(random.choice(VALUES))
            elif done == "delete":
                del inner[path[-1]]
            elif isinstance(inner, list):
                inner.insert(random.randint(0, len(inner)), copy.deepcopy(inner[path[-1]]))
            else:
                inner[path[-1]] = [inner[path[-1]]] * 2
        return json.dumps(parsed[0]).encode()
    if suffix == ".xml":
        root = ElementTree.fromstring(content)
        for _ in range(random.randint(1, 3)):
            one, value = random.choice(list(root.iter())), str(random.choice(VALUES)).replace("\0", "")
            done = random.choice(("text", "tag", "attribute", "clear", "double"))
            if done == "text":
                one.text = value
            elif done == "tag":
                one.tag = random.choice([other.tag for other in root.iter()])
            elif done == "attribute":
                one.set(random.choice([*one.keys(), "name"]), value)
            elif done == "clear":
                one.clear()
            else:
                one.extend([copy.deepcopy(random.choice(list(root.iter())))])
        return ElementTree.tostring(root, "utf-8")
    separator = "\t" if suffix == ".tsv" else ","
    table = [line.split(separator) for line in content.decode().splitlines()]
    for _ in range(random.randint(1, 3)):
        row = random.choice(table)
        column, done = random.randrange(len(row)), random.choice(("replace", "replace", "delete", "double", "move"))
        if done == "replace":
            row[column] = str(random.choice(VALUES))
        elif done == "double":
            random.choice([row, table[0]]).insert(column, row[column])
        elif done == "move":
            table.insert(random.randint(0, len(table)), list(row))
        elif len(row) > 1:
            del row[column]
    return "\n".join(separator.join(row) for row in table).encode()


def places(content, path=()):
    """The path of every value in parsed JSON."""
    if path:
        yield path
    inner = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in inner:
        yield from places(value, (*path, key))


def damaged(name, cases, path):
    """Read `cases` damaged files of a format, half of them cut anywhere: problems, but no other exception."""
    file, content = SAMPLES[name]
    image(path / ("b.png" if file.startswith("a_") else "a.png"))
    (path / "new").mkdir()
    root, path = path, path / file
    values = [st.integers(0, 2**32)] * (path.suffix not in (".zip", ".roi", ".png"))

    @settings(max_examples=cases, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.one_of(damage(content), *values))
    def run(raw):
        path.write_bytes(raw if isinstance(raw, bytes) else crooked(content, path.suffix, random.Random(raw)))
        found, problems = read(path, predictions=name.startswith("Label"))
        assert found or problems
        whole = isinstance(raw, int) and raw % 3 == 0  # a third of those that can be parsed, also in a folder
        for problem in [*problems, *(folder.check(root) if whole else [])]:
            assert str(problem)
        for one in found:
            assert isinstance(one.image, str)
            assert all(np.isfinite(mark.position).all() and isinstance(mark.label, str) for mark in one.points)
        if found and not catalogue.errors(problems):
            with suppress(CellcountError):
                write(root / "new" / "points.csv", found)

    run()


@pytest.mark.parametrize("name", SAMPLES)
def test_damaged_files_give_problems(tmp_path, name):
    damaged(name, 30, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", SAMPLES)
def test_many_damaged_files_give_problems(tmp_path, name):
    """CELLCOUNT_FUZZ_CASES=10000 tries more, in some 40 minutes for all formats."""
    damaged(name, int(os.environ.get("CELLCOUNT_FUZZ_CASES", "500")), tmp_path)


if __name__ == "__main__":  # python tests/test_formats.py 2000
    import tempfile

    for each in SAMPLES:
        with tempfile.TemporaryDirectory() as scratch_folder:
            damaged(each, int(sys.argv[1]), Path(scratch_folder))
            print(each, flush=True)
