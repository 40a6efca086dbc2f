"""The page that counts (web/, workflow/try_page.py) in Chromium: counts as Python does, corrections, audit, files out.

`make browser` installs what this needs. No time is asserted; `pytest -rP` prints the measured ones.
"""

import contextlib
import importlib.util
import json
import re
import shutil
import struct
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
from conftest import HERE, NEEDED, served
from PIL import Image
from scipy.spatial import cKDTree

from cellcount.companion.runner.sources import root
from cellcount.counting import count
from cellcount.data import phantom
from cellcount.data.survey import survey
from cellcount.errors import CellcountError
from cellcount.io import points
from cellcount.metrics import audit as metric

AXE = HERE / "node_modules" / "axe-core" / "axe.min.js"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
PATIENCE = 240_000  # ms, on a busy machine
DONE = "[...cellcount.page.images.values()].every(i => i.status === 'done' || i.status === 'failed')"
pytestmark = NEEDED


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The assembled page."""
    spec = importlib.util.spec_from_file_location("try_page", root() / "workflow" / "try_page.py")
    try_page = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(try_page)
    out = tmp_path_factory.mktemp("page") / "count"
    try_page.as_folder(out)
    try_page.as_one_file(out.parent / "cellcount-count.html")
    return out


@pytest.fixture(scope="module")
def address(folder):
    with served(folder) as address:
        yield f"{address}/"


@contextlib.contextmanager
def opened(chromium, url, **options):
    """A tab with the page, which must not complain, nor ask another host."""
    options = {"viewport": {"width": 1280, "height": 900}, "reduced_motion": "reduce"} | options
    context = chromium.new_context(**options)
    context.set_default_timeout(PATIENCE / 8)
    tab = context.new_page()
    asked, said = [], []
    context.on("request", lambda request: asked.append(request.url))
    tab.on("console", lambda message: message.type in ("error", "warning") and said.append(message.text))
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.goto(url)
    tab.wait_for_selector("body[data-settled]")
    yield tab
    context.close()
    assert not said
    own = (url, "blob:", "data:") if url.startswith("http") else (url, "blob:", "data:")
    assert not [other for other in asked if not other.startswith(own)]


@pytest.fixture(scope="module")
def tab(chromium, address):
    """One tab for the tests that count: it is loaded once."""
    with opened(chromium, address) as tab:
        yield tab


@pytest.fixture
def empty(tab):
    """The tab without images."""
    tab.evaluate("document.activeElement.blur()")
    tab.once("dialog", lambda dialog: dialog.accept())
    tab.evaluate(
        "() => { for (const i of cellcount.page.images.values()) i.saved = true;"
        " const { audit } = cellcount.page; if (audit) audit.saved = audit.table();"
        " if (audit) document.getElementById('stop').click();"
        " for (const b of [...document.querySelectorAll('#rows td button')]) b.click(); }"
    )
    tab.evaluate("for (const b of document.querySelectorAll('[value=add], [value=auto]')) b.checked = true")
    return tab


def wait(tab, expression):
    """Wait until an expression is true. The page's rules forbid `eval`, which Playwright's own waiting uses."""
    end = time.monotonic() + PATIENCE / 1000
    while not tab.evaluate(expression):
        assert time.monotonic() < end, expression
        tab.wait_for_timeout(30)


def drop(tab, *files):
    """Give files to the page, and wait until all are counted."""
    tab.set_input_files("#file", [str(file) for file in files])
    wait(tab, DONE)
    wait(tab, "cellcount.page.shown.status === 'failed' || cellcount.page.viewer.picture")


def image(tab, name=None):
    """What the page holds of an image: dict."""
    return tab.evaluate(
        """name => { const i = [...cellcount.page.images.values()].find(i => !name || i.name === name);
        if (i.status === 'failed') return {error: i.error};
        const { numbers, kept, live } = i.corrections, at = (marks) => marks.map(m => [m.y, m.x]);
        return {...i.result, numbers, kept: at(kept), live: at(live), warnings: i.warnings, seconds: i.seconds,
                width: i.width, height: i.height, rule: i.rule, threshold: i.threshold}; }""",
        name,
    )


def field(path, number=0, size=(640, 640), **options):
    """Save a simulated field; returns it."""
    one = phantom.simulate(100 + number, size, **options)
    Image.fromarray(np.rint(one.image * 255).astype(np.uint8)).save(path)
    return one


def same(found, path, **options):
    """Whether the page's count is that of Python: points, interval, warnings. At most one in a thousand differs."""
    try:
        expected = count(path, device="cpu", **options)
    except CellcountError as error:
        text = str(error).removeprefix(f"{path}: ").removeprefix(f"{path.name}: ")
        assert "error" in found, f"Python says: {text}"
        return None
    assert "error" not in found, found
    ours, theirs = np.reshape(found["live"], (-1, 2)), expected.prediction.points
    assert len(ours) == pytest.approx(len(theirs), abs=len(theirs) / 1000)
    if len(ours) and len(theirs):
        apart = cKDTree(theirs).query(ours)[0]
        assert (apart > 0.05).sum() <= len(theirs) / 1000
    assert (found["interval"] is None) == (expected.interval is None)
    if expected.interval and len(ours) == len(theirs):
        assert found["interval"] == pytest.approx(expected.interval, rel=1e-5)
    assert len(found["warnings"]) == len(expected.warnings)
    return expected


def click(tab, y, x, button="left"):
    """Click at px (y, x) of the image."""
    at = tab.evaluate("([y, x]) => cellcount.page.viewer.screen({y, x})", [y, x])
    tab.click("#above", position=at, button=button)


def downloaded(tab, selector, out):
    with tab.expect_download() as waiting:
        tab.click(selector)
    path = out / waiting.value.suggested_filename
    waiting.value.save_as(path)
    return path


# ---- counting


def test_samples_count_as_in_python(empty, folder):
    for number, button in enumerate(empty.locator("#samples button").all(), 1):
        empty.evaluate("document.getElementById('start').hidden = false")
        button.click()
        wait(empty, f"cellcount.page.images.size === {number} && {DONE}")
        same(image(empty, f"simulated-{number}.png"), folder / f"sample-{number}.png")
        assert f"simulated-{number}.png" in empty.inner_text("#rows")
    assert "Total of 3 of 3 images" in empty.inner_text("#sum")


@pytest.mark.slow
def test_twenty_fields_count_as_in_python(empty, tmp_path):
    rng, files = np.random.default_rng(0), []
    for number in range(20):
        files.append(tmp_path / f"field-{number}.png")
        size = tuple(int(side) for side in rng.integers(250, 700, 2))
        field(files[-1], number, size, confluence=float(rng.uniform(0.3, 1)))
    drop(empty, *files)
    for file in files:
        same(image(empty, file.name), file)


def odd_files(out):
    """Images that are unusual, or are none: {name: whether it can be counted}."""
    one = field(out / "usual.png", 1, (400, 480))
    gray = np.rint(one.image * 255).astype(np.uint8)
    deep = (one.image * 60000).astype(np.uint16)
    Image.fromarray(deep).save(out / "deep.png")
    tifffile.imwrite(out / "deep.tif", deep, compression="deflate")
    tifffile.imwrite(out / "plain.tif", gray)
    rgba = np.dstack([gray, gray, gray, np.full_like(gray, 255)])
    rgba[:40, :40, 3] = 0
    Image.fromarray(rgba).save(out / "transparent.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(gray).save(out / "turned.jpg", quality=95, exif=exif)
    Image.fromarray(np.dstack([gray * 0, gray, gray * 0])).save(out / "green.png")
    Image.fromarray(gray[:24, :30]).save(out / "small.png")
    Image.fromarray(gray[:8, :9]).save(out / "tiny.png")
    (out / "cut.png").write_bytes((out / "usual.png").read_bytes()[:20000])
    (out / "text.png").write_text("no image at all\n" * 20)
    (out / "empty.png").write_bytes(b"")
    Image.fromarray(np.full((200, 200), 90, np.uint8)).save(out / "blank.png")
    tifffile.imwrite(out / "a-tiff.png", gray)  # the first TIFF file, which the suffix does not say
    tifffile.imwrite(out / "whole.tif", gray, compression="zstd")
    (out / "cut.tif").write_bytes((out / "whole.tif").read_bytes()[:60000])
    turn = b'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/>'
    Image.fromarray(gray).save(out / "xmp.jpg", quality=95, xmp=turn)
    pixels = np.dstack([gray, gray, gray, 255 - gray])[::-1].tobytes()
    header = struct.pack(
        "<IiiHHIIiiII4I", 124, 480, 400, 1, 32, 3, len(pixels), 0, 0, 0, 0, 255 << 16, 255 << 8, 255, 255 << 24
    )
    (out / "v5.bmp").write_bytes(
        b"BM" + struct.pack("<IHHI", 138 + len(pixels), 0, 0, 138) + header + b"BGRs" + bytes(64) + pixels
    )
    bad = {"tiny.png", "cut.png", "text.png", "empty.png", "blank.png", "cut.tif"}
    return {path.name: path.name not in bad for path in sorted(out.iterdir())}


def test_a_tiff_in_jpeg_says_that_points_differ(empty, tmp_path):
    gray = np.rint(field(tmp_path / "a.png", 1, (300, 320)).image * 255).astype(np.uint8)
    Image.fromarray(gray).save(tmp_path / "jpeg.tif", compression="jpeg", quality=90)
    drop(empty, tmp_path / "jpeg.tif")
    found, expected = image(empty), count(tmp_path / "jpeg.tif", device="cpu")
    assert abs(found["count"] - expected.count) <= 0.05 * expected.count
    assert "compressed as JPEG" in empty.inner_text("#warnings")


def test_odd_files_count_as_in_python_or_say_why(empty, tmp_path):
    files = odd_files(tmp_path)
    drop(empty, *(tmp_path / name for name in files))
    for name, good in files.items():
        found = image(empty, name)
        assert ("error" not in found) == good, (name, found)
        same(found, tmp_path / name)
        if not good:
            assert name in found["error"] and len(found["error"]) > len(name) + 20
            print(found["error"])
    assert f"{sum(files.values())} of {len(files)} images" in empty.inner_text("#sum")


@pytest.mark.slow
def test_a_huge_image_counts_as_in_python(empty, tmp_path):
    one = phantom.simulate(7, (1000, 1000))
    gray = np.tile(np.rint(one.image * 255).astype(np.uint8), (6, 6))
    Image.fromarray(gray).save(tmp_path / "huge.png")
    drop(empty, tmp_path / "huge.png")
    found = image(empty)
    print(f"6000 x 6000 px: {found['seconds']:.1f} s, {found['count']} cells")
    same(found, tmp_path / "huge.png")
    assert downloaded(empty, "[data-save=picture]", tmp_path).stat().st_size > 1e6


def test_options_are_those_of_python(empty, tmp_path):
    field(tmp_path / "a.png", 2, (400, 400))
    drop(empty, tmp_path / "a.png")
    empty.select_option("#width", "px")
    empty.fill("#px", "30")
    empty.click("#again")
    wait(empty, DONE)
    same(image(empty), tmp_path / "a.png", cell_width=30.0)
    empty.fill("#px", "")
    empty.click("#again")
    assert "from 2 to 400" in empty.inner_text("#status") and "error" not in image(empty)
    empty.fill("#px", "33")
    empty.select_option("#width", "auto")
    empty.click("#again")
    wait(empty, DONE)
    expected = same(image(empty), tmp_path / "a.png")
    empty.evaluate("document.getElementById('threshold').value = 0.3")
    empty.dispatch_event("#threshold", "input")
    wait(empty, "cellcount.page.shown.threshold < 0.4")
    found, lower = image(empty), count(tmp_path / "a.png", threshold=0.3, device="cpu")
    assert found["count"] == lower.count > expected.count
    assert found["interval"] is None and "No interval" in empty.inner_text("#interval")
    empty.click("#own")
    wait(empty, "cellcount.page.shown.threshold > 0.5")
    assert image(empty)["interval"] == pytest.approx(expected.interval)


# ---- corrections


def test_clicks_and_keys_correct(empty, tmp_path):
    one = field(tmp_path / "a.png", 3)
    drop(empty, tmp_path / "a.png")
    before = image(empty)
    places = np.reshape(before["live"], (-1, 2))
    lonely = [
        (y, x) for y in range(20, 620, 12) for x in range(20, 620, 12) if np.hypot(*(places - (y, x)).T).min() > 15
    ]
    assert one.image.shape == (640, 640)
    click(empty, *lonely[0])
    click(empty, *places[5], button="right")
    now = image(empty)
    assert now["numbers"] == {"found": len(places), "added": 1, "removed": 1}
    assert now["count"] == len(places)
    assert np.abs(np.array(now["live"][-1]) - lonely[0]).max() < 1
    assert not any(np.allclose(place, places[5]) for place in now["live"])
    click(empty, *lonely[1])
    assert empty.inner_text("#number") == f"{len(places) + 1}"
    wider = image(empty)["interval"]
    assert wider[0] > before["interval"][0] and wider[1] > before["interval"][1]
    for _ in range(3):
        empty.keyboard.press("Control+z")
    assert image(empty)["live"] == before["live"] and image(empty)["interval"] == before["interval"]
    empty.keyboard.press("Control+Shift+z")
    assert image(empty)["count"] == len(places) + 1
    empty.keyboard.press("Control+z")
    # by keys alone
    empty.focus("#above")
    empty.keyboard.press("ArrowRight")
    at = empty.evaluate("cellcount.page.viewer.cursor")
    assert 200 < at["y"] < 440
    for _ in range(3):
        empty.keyboard.press("ArrowDown")
    assert empty.evaluate("cellcount.page.viewer.cursor")["y"] > at["y"] + 5
    for _ in range(40):  # to a place without a cell
        at = empty.evaluate("cellcount.page.viewer.cursor")
        if np.hypot(*(places - (at["y"], at["x"])).T).min() > 4:
            break
        empty.keyboard.press("ArrowDown")
    empty.keyboard.press("Enter")
    assert image(empty)["numbers"]["added"] == 1 and "Added" in empty.inner_text("#status")
    empty.keyboard.press("Delete")
    assert image(empty)["numbers"]["added"] == 0
    empty.keyboard.press("+")
    scale = empty.evaluate("cellcount.page.viewer.scale")
    empty.keyboard.press("0")
    assert empty.evaluate("cellcount.page.viewer.scale") < scale


def test_zoom_and_drag_move_the_view_and_add_nothing(empty, tmp_path):
    field(tmp_path / "a.png", 3)
    drop(empty, tmp_path / "a.png")
    box = empty.locator("#above").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    empty.mouse.move(x, y)
    at = "({x, y}) => cellcount.page.viewer.spot(x, y)"
    inside = {"x": box["width"] / 2, "y": box["height"] / 2}
    before = empty.evaluate(at, inside)
    empty.mouse.wheel(0, -400)
    wait(empty, "cellcount.page.viewer.scale > 1.5")
    assert empty.evaluate(at, inside) == pytest.approx(before, abs=1)
    for button, space in (("left", False), ("middle", False), ("left", True)):
        before = empty.evaluate(at, inside)
        if space:
            empty.keyboard.down(" ")
        empty.mouse.move(x, y)
        empty.mouse.down(button=button)
        empty.mouse.move(x - 40, y - 30, steps=4)
        empty.mouse.up(button=button)
        if space:
            empty.keyboard.up(" ")
        now = empty.evaluate(at, inside)
        assert now["x"] > before["x"] + 5 and now["y"] > before["y"] + 5
    assert image(empty)["numbers"]["added"] == 0
    scale = empty.evaluate("cellcount.page.viewer.scale")
    empty.click("[data-view=fit]")
    assert empty.evaluate("cellcount.page.viewer.scale") < scale


def test_doubtful_cells_are_stepped_through(empty, tmp_path):
    field(tmp_path / "a.png", 4)
    drop(empty, tmp_path / "a.png")
    doubts = empty.evaluate("cellcount.page.shown.doubts")
    assert len(doubts) > 3 and doubts[0]["doubt"] >= doubts[-1]["doubt"]
    empty.focus("#above")
    expected = {"added": 0, "removed": 0}
    for turn, one in enumerate(doubts[:4]):
        empty.keyboard.press("n") if turn == 0 else None
        place = empty.evaluate("cellcount.page.viewer.cursor")
        assert (place["y"], place["x"]) == (one["y"], one["x"])
        right = turn % 2 == 0
        expected["added"] += right and not one["counted"]
        expected["removed"] += not right and one["counted"]
        empty.keyboard.press("Enter" if right else "Delete")
    numbers = image(empty)["numbers"]
    assert {key: numbers[key] for key in expected} == expected
    empty.keyboard.press("p")
    assert "Doubtful place" in empty.inner_text("#doubt")


def test_a_long_press_and_the_modes_serve_touch(chromium, address, tmp_path):
    field(tmp_path / "a.png", 5, (300, 300))
    with opened(chromium, address, has_touch=True, viewport={"width": 360, "height": 740}) as tab:
        drop(tab, tmp_path / "a.png")
        places = image(tab)["live"]
        assert tab.evaluate("document.documentElement.scrollWidth") <= 360
        tab.check("[name=mode][value=remove]", force=True)
        at = tab.evaluate("([y, x]) => cellcount.page.viewer.screen({y, x})", places[0])
        tab.tap("#above", position=at)
        assert image(tab)["numbers"]["removed"] == 1
        tab.check("[name=mode][value=add]", force=True)
        tab.tap("#above", position=at)
        assert image(tab)["numbers"] == {"found": len(places), "added": 0, "removed": 0}
        press = {"pointerType": "touch", "pointerId": 7, "button": 0, "bubbles": True}
        box = tab.locator("#above").bounding_box()
        press |= {"clientX": box["x"] + at["x"], "clientY": box["y"] + at["y"]}
        tab.dispatch_event("#above", "pointerdown", press)
        tab.wait_for_timeout(800)
        tab.dispatch_event("#above", "pointerup", press)
        assert image(tab)["numbers"]["removed"] == 1
        small = tab.evaluate(
            "[...document.querySelectorAll('button, select, input, summary, nav a')].filter(e => e.offsetParent)"
            ".filter(e => !e.closest('label')).map(e => [e.id || e.textContent, e.getBoundingClientRect()])"
            ".filter(([, r]) => r.width < 24 || r.height < 24).map(([name]) => name)"
        )
        assert not small


@pytest.mark.slow
def test_three_hundred_corrections_and_the_time_of_a_click(empty, tmp_path):
    field(tmp_path / "large.png", 6, (1536, 2048), confluence=0.9)
    drop(empty, tmp_path / "large.png")
    found = image(empty)
    print(f"2048 x 1536 px: {found['seconds']:.1f} s, {found['count']} cells, {empty.inner_text('#ready')}")
    times = empty.evaluate(
        """async () => { const { viewer, shown } = cellcount.page, canvas = viewer.above, times = [];
        const box = canvas.getBoundingClientRect(), frame = () => new Promise(requestAnimationFrame);
        for (let i = 0; i < 300; i++) {
          const x = 30 + (i * 37) % (box.width - 60), y = 30 + (i * 53) % (box.height - 60), button = i % 3 ? 0 : 2;
          const event = { clientX: box.left + x, clientY: box.top + y, button, pointerId: 1, bubbles: true };
          await frame();
          const start = performance.now();
          canvas.dispatchEvent(new PointerEvent('pointerdown', event));
          canvas.dispatchEvent(new PointerEvent('pointerup', event));
          await frame();
          viewer._draw();
          times.push(performance.now() - start);
        }
        return times; }"""
    )
    numbers = image(empty)["numbers"]
    middle, slow = np.quantile(times, [0.5, 0.95])
    print(f"a click: median {middle:.1f} ms, 95 % {slow:.1f} ms, most {max(times):.1f} ms; {numbers}")
    assert numbers["added"] + numbers["removed"] > 200
    lines = downloaded(empty, "[data-save=points]", tmp_path).read_text("utf-8").splitlines()
    assert len(lines) == 1 + image(empty)["count"]


# ---- files out


def test_points_are_saved_as_python_writes_them(empty, tmp_path):
    names = ["a.png", 'b, "c".png']
    for number, name in enumerate(names):
        field(tmp_path / name, number, (300, 320))
    Image.fromarray((np.arange(90000).reshape(300, 300) // 400).astype(np.uint8)).save(tmp_path / "none.png")
    files = [tmp_path / name for name in [*names, "none.png"]]
    drop(empty, *files)
    saved = downloaded(empty, "[data-save=points]", tmp_path / "out").read_bytes().decode()
    expected = count(files, device="cpu").to_csv(tmp_path / "expected.csv").read_bytes().decode()
    for path in files:
        quoted = str(path).replace('"', '""')
        expected = expected.replace(f'"{quoted}"', '"' + path.name.replace('"', '""') + '"')
        expected = expected.replace(str(path), path.name)
    assert saved.splitlines()[0] == "image,y,x,label,score"
    assert sorted(saved.split("\r\n")) == sorted(expected.split("\r\n"))


@pytest.mark.parametrize("kind", ["points", "labelstudio"])
def test_training_takes_what_is_saved(empty, tmp_path, kind):
    data = tmp_path / "data"
    data.mkdir()
    field(data / "a.png", 8, (300, 320))
    field(data / "50 % b.png", 9, (300, 320))
    drop(empty, data / "a.png", data / "50 % b.png")
    empty.locator("#rows th button").first.click()
    wait(empty, "cellcount.page.viewer.picture === cellcount.page.shown")
    before = np.array(image(empty, "a.png")["live"])
    empty.focus("#above")
    click(empty, *before[3], button="right")
    lonely = next(
        (y, x) for y in range(20, 280, 9) for x in range(20, 300, 9) if np.hypot(*(before - (y, x)).T).min() > 12
    )
    click(empty, *lonely)
    downloaded(empty, f"[data-save={kind}]", data)
    assert "Nothing was corrected in 50 % b.png" in empty.inner_text("#status")
    found = survey(data)
    assert not [one for one in found.problems if one.severity == "error"], found.problems
    assert set(found.annotations) == {"a", "50 % b"}
    for stem in found.annotations:
        (own,) = found.annotations[stem]
        live = np.array(image(empty, f"{stem}.png")["live"])
        np.testing.assert_allclose(points.positions(own.points, "live", found.settings.labels), live, atol=0.006)
    origins = [mark.origin for mark in found.annotations["a"][0].points]
    assert origins.count("manual") == 1 and origins.count("prediction") == len(before) - 1
    assert {mark.origin for mark in found.annotations["50 % b"][0].points} == {""}


def test_the_picture_has_the_size_of_the_image(empty, tmp_path):
    field(tmp_path / "a.png", 8, (300, 420))
    drop(empty, tmp_path / "a.png")
    before = np.array(image(empty)["live"])
    click(empty, *next((y, x) for y in range(40, 260, 9) for x in range(40, 380, 9)
                       if np.hypot(*(before - (y, x)).T).min() > 14))  # fmt: skip
    picture = Image.open(downloaded(empty, "[data-save=picture]", tmp_path)).convert("RGB")
    assert picture.size == (420, 300)
    colours = {colour for _, colour in picture.getcolors(1 << 20)}
    assert (230, 159, 0) in colours or any(r > 200 and 120 < g < 180 and b < 60 for r, g, b in colours)
    assert any(r < 130 and g > 150 and b > 200 for r, g, b in colours)
    assert "a.png" in downloaded(empty, "[data-save=counts]", tmp_path).read_text("utf-8")


# ---- audit


def test_an_audit_finds_the_known_total(empty, tmp_path):
    truth, names = {}, []
    for number in range(2):
        names.append(f"field-{number}.png")
        truth[names[-1]] = field(tmp_path / names[-1], 20 + number, (640, 720)).points.tolist()
    drop(empty, *(tmp_path / name for name in names))
    empty.fill("#number-of", "20")
    empty.fill("#seed", "5")
    empty.click("#draw")
    wait(empty, "cellcount.page.viewer.core")
    assert "seed 5" in empty.inner_text("#window")
    assert empty.evaluate("document.getElementById('panel').scrollTop") == 0
    windows = empty.evaluate("cellcount.page.audit.all.length")
    # A person who makes each window right.
    correct = """truth => { const { audit } = cellcount.page, { image } = audit.window(), { corrections } = image;
        const inside = truth[image.name].map(([y, x]) => ({y, x})).filter(m => audit.holds(m));
        for (const mark of corrections.live.filter(m => audit.holds(m))) corrections.remove(mark);
        for (const mark of inside) corrections._do({kind: 'add', mark: {...mark, score: null}}); }"""
    core = empty.evaluate("cellcount.page.audit.window().box")
    outside = [core[2] + 10, core[3] + 10] if core[2] < 600 and core[3] < 680 else [core[0] - 10, core[1] - 10]
    click(empty, *outside)
    assert "bright part" in empty.inner_text("#status")
    for number in range(20):
        empty.evaluate(correct, truth)
        empty.click("#forth")
        wait(empty, f"cellcount.page.audit.at === {number + 1}")
        wait(empty, "cellcount.page.viewer.core && cellcount.page.viewer.picture === cellcount.page.shown")
        if number == 1:
            assert "more window" in empty.inner_text("#total")
    told = empty.inner_text("#total")
    found = empty.evaluate(
        "() => { const a = cellcount.page.audit; return {predicted: a.predicted, strata: a.strata, "
        "drawn: a.order.slice(0, a.done), counted: a.order.slice(0, a.done).map((_, i) => a.counted(i)), "
        "estimate: a.estimate}; }"
    )
    drawn = np.array(found["drawn"])
    expected = metric.estimate(found["predicted"], found["strata"], drawn, found["counted"])
    assert found["estimate"]["total"] == pytest.approx(expected.total)
    assert found["estimate"]["low"] == pytest.approx(expected.low)
    whole = sum(map(len, truth.values()))
    print(f"{told}; truth {whole}, {windows} windows")
    assert f"{expected.total:,.0f} cells in all" in told
    assert expected.low <= whole <= expected.high  # the draw is fixed by its seed
    assert "± 5 %" in empty.inner_text("#notes") or "±" in told
    table = downloaded(empty, "#windows", tmp_path).read_text("utf-8").splitlines()
    assert table[0] == "window,image,y0,x0,y1,x1,stratum,probability,predicted,counted" and len(table) == 21
    empty.keyboard.press("Control+z")  # its step was in a window before this one
    assert "outside of this window" in empty.inner_text("#status")
    assert empty.inner_text("#total") == told
    empty.evaluate("() => { const ask = confirm; window.confirm = () => ((window.confirm = ask), false); }")
    empty.evaluate("cellcount.page.audit.saved = ''")
    empty.click("#stop")
    assert empty.is_visible("#audit")
    downloaded(empty, "#windows", tmp_path)
    empty.click("#stop")
    assert "The audit gave" in empty.inner_text("#status")


# ---- everywhere


def test_it_counts_without_a_network(chromium, address, tmp_path):
    field(tmp_path / "a.png", 8, (300, 320))
    tifffile.imwrite(tmp_path / "a.tif", np.asarray(Image.open(tmp_path / "a.png")))
    with opened(chromium, address) as tab:
        wait(tab, "/without a network/.test(document.getElementById('ready').textContent)")
        tab.context.set_offline(True)
        tab.reload()
        tab.wait_for_selector("body[data-ready]")
        assert tab.evaluate("crossOriginIsolated")
        drop(tab, tmp_path / "a.png", tmp_path / "a.tif")
        same(image(tab, "a.png"), tmp_path / "a.png")
        assert image(tab, "a.tif")["count"] == image(tab, "a.png")["count"]
        tab.context.set_offline(False)


def test_without_webassembly_it_says_so(chromium, folder, tmp_path):
    field(tmp_path / "a.png", 8, (200, 220))
    other = shutil.copytree(folder, tmp_path / "other")
    (other / "worker.js").write_text("delete self.WebAssembly;" + (folder / "worker.js").read_text("utf-8"), "utf-8")
    with served(other) as address, opened(chromium, f"{address}/") as tab:
        drop(tab, tmp_path / "a.png")
        assert "WebAssembly is switched off" in tab.inner_text("#failed")


def test_the_one_file_counts(chromium, folder, tmp_path):
    (tmp_path / "stick").mkdir()
    alone = shutil.copy(folder.parent / "cellcount-count.html", tmp_path / "stick" / "page.html")
    field(tmp_path / "a.png", 8, (300, 320))
    tifffile.imwrite(tmp_path / "b.tif", np.asarray(Image.open(tmp_path / "a.png")))
    with opened(chromium, Path(alone).as_uri()) as tab:
        drop(tab, tmp_path / "a.png", tmp_path / "b.tif")
        same(image(tab, "a.png"), tmp_path / "a.png")
        assert image(tab, "b.tif")["count"] == image(tab, "a.png")["count"]
        assert downloaded(tab, "[data-save=points]", tmp_path).read_text("utf-8").startswith("image,y,x")
        tab.evaluate("document.getElementById('start').hidden = false")
        tab.locator("#samples button").first.click()
        wait(tab, f"cellcount.page.images.size === 3 && {DONE}")


def test_one_name_is_one_image(empty, tmp_path):
    (tmp_path / "other").mkdir()
    field(tmp_path / "a.png", 8, (200, 220))
    field(tmp_path / "other" / "a.png", 9, (200, 220))
    drop(empty, tmp_path / "a.png", tmp_path / "other" / "a.png")
    assert "another image of this name" in empty.inner_text("#rows")
    assert "Total of 1 of 2 images" in empty.inner_text("#sum")
    empty.locator("#rows th button").nth(1).click()
    empty.click("#again")
    assert "another image of this name" in empty.inner_text("#status")
    assert "Total of 1 of 2 images" in empty.inner_text("#sum")


def test_a_bad_file_that_is_removed_does_not_stop_the_others(empty, tmp_path):
    field(tmp_path / "good.png", 8, (200, 220))
    content = list((tmp_path / "good.png").read_bytes())
    empty.evaluate(
        """content => { const file = (name, end) => new File([new Uint8Array(content).slice(0, end)], name);
        cellcount.page.take([file("bad.png", 900), file("good.png")]);
        document.querySelector("[aria-label='Remove bad.png']").click(); }""",
        content,
    )
    wait(empty, f"cellcount.page.images.size === 1 && {DONE}")
    same(image(empty), tmp_path / "good.png")


def test_a_dropped_folder_gives_its_images(empty, tmp_path):
    (tmp_path / "flask" / "day 2").mkdir(parents=True)
    field(tmp_path / "flask" / "a.png", 8, (200, 220))
    field(tmp_path / "flask" / "day 2" / "b.png", 9, (200, 220))
    (tmp_path / "flask" / "notes.txt").write_text("no image")
    data = {"items": [], "files": [str(tmp_path / "flask")], "dragOperationsMask": 1}
    devtools = empty.context.new_cdp_session(empty)
    for kind in ("dragEnter", "dragOver", "drop"):
        devtools.send("Input.dispatchDragEvent", {"type": kind, "x": 300, "y": 300, "data": data})
    wait(empty, f"cellcount.page.images.size === 2 && {DONE}")
    assert [row.split()[0] for row in empty.inner_text("#rows").splitlines() if ".png" in row] == ["a.png", "b.png"]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing(chromium, address, tmp_path, theme):
    if not AXE.is_file():
        pytest.skip("make browser installs axe-core")
    field(tmp_path / "a.png", 8, (300, 320))
    (tmp_path / "text.png").write_text("no image")
    with opened(chromium, address, color_scheme=theme, bypass_csp=True) as tab:
        for step in ("start", "counted", "audit"):
            if step == "counted":
                drop(tab, tmp_path / "a.png", tmp_path / "text.png")
            if step == "audit":
                tab.click("#draw")
                wait(tab, "cellcount.page.viewer.core")
            tab.evaluate("document.getElementById('keys').open = true")
            tab.add_script_tag(path=AXE)
            found = tab.evaluate("tags => axe.run({runOnly: tags})", RULES)["violations"]
            assert not found, f"{step}\n" + "\n".join(
                f"{rule['id']} ({rule['impact']}): {node['html'][:200]} {node['failureSummary'][:300]}"
                for rule in found
                for node in rule["nodes"][:3]
            )


def test_the_first_view_is_light(chromium, address):
    with opened(chromium, address) as tab:
        tab.reload()
        weight = tab.evaluate(
            "performance.getEntriesByType('resource').concat(performance.getEntriesByType('navigation'))"
            ".reduce((sum, entry) => sum + entry.decodedBodySize, 0)"
        )
        ready = tab.evaluate("performance.timing.domContentLoadedEventEnd - performance.timing.navigationStart")
    print(f"{weight / 1e3:.0f} kB, there after {ready} ms")
    assert weight < 300e3


def test_the_sources_are_plain_and_short(folder):
    page = (folder / "index.html").read_text("utf-8")
    assert not re.search(r"https?://(?!www\.w3\.org)", page)
    for path in sorted((root() / "web").glob("*.js")):
        text = path.read_text("utf-8")
        assert text.startswith('"use strict";') and len(text.splitlines()) <= 600, path.name
    assert json.loads(re.search(r'id="files">(.*?)</script>', page)[1])["samples"][0]["cells"] > 100
