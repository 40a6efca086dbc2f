"""The rendered book in use: valid HTML, links that lead somewhere, theme, keyboard, viewer, tables, code, and paper.

`make browser` renders it and installs what this needs.
"""

import html.parser
import json
import re
import subprocess
from urllib.parse import unquote, urlsplit

import pytest
from conftest import HERE, NEEDED, PAGES, SITE

pytestmark = NEEDED
VALIDATE = HERE / "node_modules" / ".bin" / "html-validate"
COMPARISON, CELLNET, PREFACE = (f"book/{name}.html" for name in ("07-comparison", "06-cellnet", "00-preface"))
A4 = 680  # px of text between margins of 15 mm, at 96 px per inch
# What has the focus, and whether a reader sees that: its outline, its place, and that it is there at all.
FOCUS = """() => {
  const at = document.activeElement, ringed = at.querySelector(':scope:is(summary) > .toctree-toggle') || at;
  const style = getComputedStyle(ringed), box = ringed.getBoundingClientRect();
  const named = at.closest('.cellcount-look') ? `viewer ${at.type || at.getAttribute('aria-label')}`
    : at.closest('.bd-sidebar-primary') ? `sidebar ${at.className}` : `${at.localName} ${at.className}`;
  const ring = style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2;
  const across = box.width && box.right > 0 && box.left < innerWidth;
  const inside = across && box.height && box.bottom > 0 && box.top < innerHeight;
  const seen = ring && inside && style.opacity > 0 && style.visibility === 'visible';
  return {named, seen, end: at === document.body};
}"""
DRAWN = "document.querySelector('.cellcount-look').cellcount.canvas.toDataURL()"
ROWS = "t => [...t.tBodies[0].rows].filter(row => row.getClientRects().length).map(row => row.innerText)"


class Links(html.parser.HTMLParser):
    """The names (`ids`) of an HTML text, and what it refers to (`links`)."""

    def __init__(self, text):
        super().__init__()
        self.ids, self.links = set(), set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        for name, value in attributes:
            if name == "id" or (tag == "a" and name == "name"):
                self.ids.add(value)
            elif name in ("href", "src", "data-script", "poster"):
                self.links.add(value)
            elif name == "srcset":
                self.links |= {part.split()[0] for part in value.split(",")}
            elif name == "data-source":
                self.links.add(f"{value}look.json")


def test_the_html_is_valid(tmp_path):
    if not VALIDATE.is_file():
        pytest.skip("make browser installs html-validate")
    out = tmp_path / "faults.json"
    options = ["--config", HERE / "htmlvalidate.json", "--formatter", f"json={out}"]
    subprocess.run([VALIDATE, *options, *SITE.rglob("*.html")], capture_output=True, timeout=300)
    found = [
        f"{file['filePath']}, line {fault['line']}: {fault['message']} ({fault['ruleId']})"
        for file in json.loads(out.read_text())
        for fault in file["messages"]
    ]
    assert not found, "\n".join(found[:30])


def test_every_link_leads_somewhere():
    read = {path: Links(path.read_text("utf-8")) for path in SITE.rglob("*.html")}
    broken, seen = [], 0
    for page, parsed in read.items():
        for link in parsed.links:
            scheme, host, path, _, anchor = urlsplit(link)
            if scheme or host:
                continue
            seen += 1
            target = (page.parent / unquote(path)).resolve() if path else page
            there = target.is_file() if not path.endswith("/") else (target / "index.html").is_file()
            if not there or (anchor and target in read and unquote(anchor) not in read[target].ids):
                broken.append(f"{page.relative_to(SITE)}: {link}")
    print(f"{seen} links inside of the site")
    assert seen > 1000
    assert not broken, "\n".join(sorted(broken))


def test_the_theme_is_chosen_and_kept(visit, address):
    tab = visit(PREFACE)
    ground = "getComputedStyle(document.body).backgroundColor"
    theme = "document.documentElement.dataset.theme"
    grounds = {}
    for _ in range(3):
        tab.locator(".theme-switch-button:visible").first.click()
        mode = tab.evaluate("document.documentElement.dataset.mode")
        grounds[mode] = tab.evaluate(ground)
        tab.goto(f"{address}/{CELLNET}", wait_until="networkidle")
        assert tab.evaluate("document.documentElement.dataset.mode") == mode
        assert tab.evaluate(theme) == ("light" if mode == "auto" else mode)
        assert tab.evaluate(ground) == grounds[mode]
    assert set(grounds) == {"light", "dark", "auto"}
    assert grounds["dark"] != grounds["light"]


def wait_for_viewer(tab):
    tab.locator(".cellcount-look").scroll_into_view_if_needed()
    loaded = "document.querySelector('.cellcount-look').cellcount"
    tab.wait_for_function(f"{loaded}?.numbers.textContent && {loaded}.viewer.world.getItemCount() === 2")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_keyboard_reaches_everything_and_shows_where_it_is(visit, theme):
    reached, unseen = set(), set()
    for page in (COMPARISON, CELLNET):
        tab = visit(page, theme=theme)
        if page == COMPARISON:
            wait_for_viewer(tab)
            tab.evaluate("scrollTo(0, 0)")
        for _ in range(600):
            tab.keyboard.press("Tab")
            focus = tab.evaluate(FOCUS)
            if focus["end"]:
                break
            reached.add(focus["named"])
            if not focus["seen"]:
                unseen.add(focus["named"])
        assert focus["end"], "the focus does not leave the page"
    wanted = [
        "search-button", "theme-switch", "sidebar ", "summary", "cellcount-sort", "cellcount-filter", "copybtn",
        "viewer select", "viewer checkbox", "viewer range", "viewer field; arrow keys",
    ]  # fmt: skip
    assert not [name for name in wanted if not any(name in one for one in reached)], reached
    assert not unseen


@pytest.fixture
def viewer(visit):
    """A tab with the viewer of chapter 7, opened."""
    tab = visit(COMPARISON)
    wait_for_viewer(tab)
    yield tab
    assert not tab.said


def test_layers_of_the_viewer_go_on_and_off(viewer):
    seen = {viewer.evaluate(DRAWN)}
    for name in ("true cells", "clicks of a simulated annotator", "found cells", "false points", "missed cells"):
        box = viewer.get_by_label(name, exact=True)
        box.click()
        drawn = viewer.evaluate(DRAWN)
        assert drawn not in seen, f"{name} changed nothing"
        seen.add(drawn)
        box.press("Space")
        assert viewer.evaluate(DRAWN) in seen
    opacities = "[0, 1].map(i => document.querySelector('.cellcount-look').cellcount.viewer.world.getItemAt(i).opacity)"
    assert viewer.evaluate(opacities) == [1, 0]
    viewer.get_by_label("image", exact=True).press("Space")
    viewer.get_by_label("outlines of the true cells").press("Space")
    assert viewer.evaluate(opacities) == [0, 1]


def test_the_line_between_two_methods_moves(viewer):
    place = viewer.locator(".cellcount-look")
    line, numbers, selects = place.locator("[type=range]"), place.locator("[role=status]"), place.locator("select")
    drawn = {viewer.evaluate(DRAWN)}
    box = line.bounding_box()
    viewer.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    viewer.mouse.down()
    viewer.mouse.move(box["x"] + box["width"] / 4, box["y"] + box["height"] / 2, steps=5)
    viewer.mouse.up()
    dragged = float(line.input_value())
    assert 15 < dragged < 35
    drawn.add(viewer.evaluate(DRAWN))
    line.press("ArrowRight")
    assert float(line.input_value()) == dragged + 1
    drawn.add(viewer.evaluate(DRAWN))
    line.press("End")
    drawn.add(viewer.evaluate(DRAWN))
    assert len(drawn) == 4
    both = numbers.inner_text()
    selects.nth(2).select_option("nothing")
    assert line.is_hidden()
    alone = numbers.inner_text()
    assert both.startswith(alone)
    assert both != alone
    selects.first.select_option(index=0)
    viewer.wait_for_function("text => document.querySelector('.cellcount-look-numbers').innerText !== text", arg=alone)


def test_the_viewer_zooms_with_the_keyboard(viewer):
    zoom = "document.querySelector('.cellcount-look').cellcount.viewer.viewport.getZoom(false)"
    before = viewer.evaluate(zoom)
    viewer.locator(".cellcount-look-view .openseadragon-canvas").focus()
    viewer.keyboard.press("+")
    viewer.wait_for_function(f"before => {zoom} > before", arg=before)


def test_tables_sort_and_filter(visit):
    tab = visit(COMPARISON)
    tables = tab.locator(".bd-article table.table")
    table = tab.locator(".bd-article table:has(.cellcount-sort)", has_text="whole").first
    whole = table.evaluate(ROWS)
    heading = table.locator("th", has_text="whole").first
    column = heading.evaluate("th => th.cellIndex")
    for direction, way in (("ascending", "click"), ("descending", "key")):
        button = heading.locator("button")
        button.click() if way == "click" else button.press("Enter")
        assert heading.get_attribute("aria-sort") == direction
        cells = table.evaluate("(t, c) => [...t.tBodies[0].rows].map(r => r.cells[c].innerText)", column)
        values = [float(found[0]) for cell in cells if (found := re.match(r"[\d.]+", cell))]
        assert values == sorted(values, reverse=direction == "descending")
        assert len(values) > 10
        arrow = "b => getComputedStyle(b, '::after').content"
        assert button.evaluate(arrow) == ('"↑"' if direction == "ascending" else '"↓"')
    assert sorted(table.evaluate(ROWS)) == sorted(whole)
    field = tab.locator(".cellcount-filter").nth(1)
    field.fill("cellnet 8")
    rows = table.evaluate(ROWS)
    assert 0 < len(rows) < len(whole)
    assert all("cellnet" in row.lower() and "8" in row for row in rows)
    field.fill("")
    assert sorted(table.evaluate(ROWS)) == sorted(whole)
    assert tables.count() > 5
    assert not tab.said


def test_without_javascript_everything_is_there(visit):
    plain, lively = visit(COMPARISON, java_script_enabled=False), visit(COMPARISON)
    rows = [tab.locator(".bd-article tbody tr:visible").count() for tab in (plain, lively)]
    assert rows[0] == rows[1] > 50
    assert plain.locator(".cellcount-sort, .cellcount-filter").count() == 0
    assert "figures above" in plain.locator(".cellcount-look").inner_text()
    code = visit(CELLNET, java_script_enabled=False)
    code.locator("details.hide summary").first.click()
    assert code.locator("details.hide .cell_input").first.is_visible()


@pytest.mark.parametrize("page", [page for page in PAGES if page.startswith("book/")])
def test_paper_shows_all_and_cuts_nothing(visit, page):
    tab = visit(page, A4)
    tables = tab.locator(".bd-article tbody tr")
    tab.emulate_media(media="print")
    assert tab.locator(".cellcount-look:visible, .cellcount-filter:visible, .bd-sidebar:visible").count() == 0
    assert tables.count() == tab.locator(".bd-article tbody tr:visible").count()
    headings = "[...document.querySelectorAll('.cellcount-sort')].map(button => getComputedStyle(button).display)"
    assert set(tab.evaluate(headings)) <= {"contents"}  # else they are missing where a table goes on
    wide = tab.evaluate(
        "width => [...document.querySelectorAll('.bd-article :is(table, pre, img, .math)')]"
        ".filter(e => e.getBoundingClientRect().right > width + 1 || e.scrollWidth > e.clientWidth + 1)"
        ".map(e => `${e.localName} ${e.closest('[id]').id}`)", A4,
    )  # fmt: skip
    assert not wide
    loose = tab.evaluate(
        "[...document.querySelectorAll('.bd-article :is(figure, tr, img)')]"
        ".filter(e => getComputedStyle(e).breakInside !== 'avoid').map(e => e.outerHTML.slice(0, 100))"
    )
    assert not loose
    assert tab.pdf(format="A4", margin=dict.fromkeys(("top", "right", "bottom", "left"), "15mm")).startswith(b"%PDF")


def test_code_opens_and_closes(visit):
    tab = visit(CELLNET)
    summary, code = tab.locator("details.hide summary").first, tab.locator("details.hide .cell_input").first
    assert summary.inner_text().strip() == "Show code cell source"
    assert code.is_hidden()
    summary.click()
    assert summary.inner_text().strip() == "Hide code cell source"
    assert code.is_visible()
    summary.press("Enter")
    assert code.is_hidden()


@pytest.mark.parametrize("page", [PREFACE])
def test_the_citation_can_be_copied(visit, page):
    tab = visit(page, permissions=["clipboard-read", "clipboard-write"])
    box = tab.locator("#how-to-cite .highlight")
    box.hover()
    box.locator("button.copybtn").click()
    copied = tab.evaluate("navigator.clipboard.readText()")
    assert copied.strip() == box.locator("pre").inner_text().strip()
    assert copied.startswith("@software{")


@pytest.mark.parametrize("page", [COMPARISON, CELLNET, "book/12-detectors.html"])
def test_f1_is_in_view_on_a_phone(visit, page):
    tab = visit(page, 360)
    ends = tab.evaluate(
        "[...document.querySelectorAll('.bd-article table')].map(table => [table.caption?.innerText.slice(0, 12),"
        "[...table.tHead.rows[0].cells].find(cell => /F1/.test(cell.innerText))?.getBoundingClientRect().right])"
    )
    scored = [(name, end) for name, end in ends if end]
    assert scored
    assert not [(name, end) for name, end in scored if end > 360]
