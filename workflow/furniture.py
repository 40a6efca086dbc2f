"""What surrounds the pages of the rendered book: a Sphinx extension, which render.py switches on.

Prose is searched, and code is not. Pages describe themselves to search engines and previews. When the site is written,
its pictures get their sizes and load late, and what no page uses is left out.
"""

import hashlib
import html
import json
import re
from itertools import pairwise
from pathlib import Path

import about
import nbformat
import tinycss2
from docutils import nodes
from fontTools import subset
from PIL import Image
from sphinx.builders.html import StandaloneHTMLBuilder

DESCRIPTION = 200  # characters
PICTURE = 150_000  # bytes of a PNG, above which WebP is tried
# Below _static: source maps, icons as a script (their font is there), translations of
# buttons, code that runs in a service elsewhere, and templates.
UNUSED = ("**/*.map", "scripts/fontawesome.js*", "locales", "sphinx-thebe.*", "*-macros.html")
HEAD = [
    r'<script defer src="[^"]*/fontawesome\.js[^"]*"></script>',
    r"<script[^>]*>const THEBE_JS_URL[^<]*</script>",
    r"<script[^>]*sphinx-thebe\.js[^>]*></script>",
    r'<script type="text/x-thebe-config">.*?</script>',
    r"<script>kernelName = '[^<]*</script>",
    r"<link[^>]*sphinx-thebe\.css[^>]*>",
    r'<link rel="preload" as="script"[^>]*>',
    r'<meta name="viewport" content="width=device-width, initial-scale=1"\s*/>',  # the third and the fourth
    r'<meta name="docsearch:version" content="" />',
]
SEARCH = [r'<script src="[^"]*(?:searchtools|language_data|searchindex)\.js[^"]*"></script>']
DESIGN = [r"<script[^>]*/design-tabs\.js[^>]*></script>"]
SCRIPT = r'<script[^>]* src="([^"]+)"[^>]*></script>'
# The scripts run in their order, after the page is drawn: to read it takes none of them.
LATER = """addEventListener("load", () => {
  for (const src of %s) document.body.append(Object.assign(document.createElement("script"), { src, async: false }));
});"""
SHEET = r'<link(?=[^>]*rel="stylesheet")[^>]*href="(?:\.\./)*_static/([^"?]+\.css)[^>]*>'
NO_PROSE = '".cell_input", "summary", ".origin", "#jb-print-toc"'  # search finds none of it, and quotes none

FIRST = (
    '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>cellcount</title>\n'
    r'<meta http-equiv="refresh" content="0; url=\1">'
    "\n</head>\n<body>\n"
    r'<p>The book begins with <a href="\1">its first page</a>.</p>'
    "\n</body>\n</html>\n"
)

# What the theme and Sphinx leave without a name or a landmark, or give a role that it must not have.
ACCESS = [
    (r'(<button class="sidebar-toggle \w+-toggle[^>]*?)title="([^"]*)"', r'\1title="\2" aria-label="\2"'),
    (r'(<button class="btn search-button-field[^>]*?) title="Search" aria-label="Search"', r"\1"),
    (r'<summary aria-label="Toggle hidden content">', "<summary>"),
    (r'<summary>(?=<span class="toctree-toggle")', '<summary aria-label="Sections">'),
    (r'(<a [^>]*class="navbar-brand logo".*?</a>)', r'<nav aria-label="First page">\1</nav>'),
    (r'<th class="head[^"]*"><p></p></th>', "<td></td>"),
    (r' role="doc-biblioentry"| role="list"(?= class="citation-list")', ""),
    (r'<i class="fa', '<i aria-hidden="true" class="fa'),
    (r"<pre>", '<pre tabindex="0">'),  # it can scroll; the theme's script takes it back where it does not
    (r'<p class="(collapsed|expanded) admonition-title">([^<]*)</p>', r'<span class="\1">\2</span>'),  # in a summary
    (r'\A<meta http-equiv="Refresh" content="0; url=([^"]*)" />\s*\Z', FIRST),
]


def index_page(self, pagename, doctree, title):
    """As in Sphinx, without the input cells and the line on the run: "tolerance" is explained in prose."""
    doctree = doctree.deepcopy()
    for node in list(doctree.findall(nodes.container)):
        if {"cell_input", "origin"} & set(node["classes"]) and node.parent:
            node.parent.remove(node)
    indexed(self, pagename, doctree, title)


indexed = StandaloneHTMLBuilder.index_page


def described(doctree):
    """The first paragraph that is a sentence, cut at a word."""
    for node in doctree.findall(nodes.paragraph):
        text = " ".join(node.astext().split())
        if len(text) > 60 and "origin" not in getattr(node.parent, "attributes", {}).get("classes", []):
            return text if len(text) <= DESCRIPTION else text[:DESCRIPTION].rsplit(" ", 1)[0] + " ..."
    return ""


def describe(app, pagename, templatename, context, doctree):
    """Add the description of a page and its preview. Previews want absolute addresses: BOOK_URL."""
    base = app.config.html_baseurl
    about = {"og:type": "article", "og:site_name": app.config.project}
    about["og:title"] = re.sub(r"<[^>]*>", "", context.get("title", "")) or app.config.project
    text = (doctree is not None and described(doctree)) or app.config.project
    about["og:description"] = text
    if base:
        about |= {"og:url": f"{base}{pagename}.html", "og:image": f"{base}_static/readme.png"}
    tags = [f'<meta name="description" content="{html.escape(text)}" />']
    tags += [f'<meta property="{name}" content="{html.escape(value)}" />' for name, value in about.items()]
    tags.append(f'<meta name="twitter:card" content="{"summary_large_image" if base else "summary"}" />')
    context["metatags"] = context.get("metatags", "") + "\n".join(tags)


def build_page(app):
    """The page on the build, in the design of the others."""
    if body := app.config.html_context.get("about_build"):
        yield about.NAME, {"title": about.TITLE, "body": body}, "page.html"


def sized(page, images):
    """Give the pictures of a page (text) their sizes; they load when they come near."""

    def replaced(match):
        tag, name = match[0], match[1]
        if name not in images or " width=" in tag or " loading=" in tag:
            return tag
        width, height = images[name]
        return tag.replace("<img ", f'<img width="{width}" height="{height}" decoding="async" loading="lazy" ', 1)

    return re.sub(r'<img [^>]*?src="(?:\.\./)?_images/([^"]+)"[^>]*>', replaced, page)


def polish_page(page, images, options):
    """The HTML of a page (text) as it is served; `options` is the script that all others read."""
    unused = HEAD + (DESIGN if 'class="sd-' not in page else [])
    for pattern in unused + (SEARCH if 'id="search-results"' not in page else []):
        page = re.sub(pattern, "", page, flags=re.S)
    page = re.sub(r'<script src="[^"]*/documentation_options\.js[^"]*"></script>', f"<script>{options}</script>", page)
    page, scripts = re.sub(SCRIPT, "", page), re.findall(SCRIPT, page)
    page = page.replace("</body>", f"<script>{LATER % json.dumps(scripts)}</script>\n</body>")
    page = sized(page, images)
    for pattern, text in ACCESS:
        page = re.sub(pattern, text, page, flags=re.S)
    page = re.sub(r"/edit/([^\"]*)\.ipynb", r"/edit/\1.md", page)  # the notebook is computed; its text is beside it
    return page


def slim(notebook):
    """Leave out the pictures of a notebook (Path), which the page shows."""
    content = nbformat.read(notebook, as_version=4)
    for cell in content.cells:
        for output in cell.get("outputs", []):
            for kind in [kind for kind in output.get("data", {}) if kind.startswith("image/")]:
                del output["data"][kind]
    nbformat.write(content, notebook)


def pictures(folder):
    """Sizes (width, height) of the pictures in a folder by name, and new names of those that became WebP."""
    sizes, renamed = {}, {}
    for path in sorted(folder.glob("*.*")):
        if path.suffix not in (".png", ".jpg", ".jpeg"):
            continue
        with Image.open(path) as image:
            name = path.name
            if path.suffix == ".png" and path.stat().st_size > PICTURE:
                lighter = path.with_suffix(".webp")
                image.save(lighter, quality=85, method=6)
                renamed[name], name = lighter.name, lighter.name
                path.unlink()
            sizes[name] = image.size
    return sizes, renamed


def first_sentence(match):
    r"""A \caption of LaTeX whose entry in the list of figures or tables is its first sentence."""
    entry = re.split(r"(?<=[^.\d\s]{2})\. (?=[A-Z\\])", match[2])[0].rstrip(".")
    balanced = entry.count("{") == entry.count("}") and not entry.count("$") % 2
    return rf"\{match[1] or ''}caption[{{{entry}}}]{{{match[2]}}}\label" if balanced else match[0]


def polish(app, exception):
    """Go over the files of the site, once it is written, or over the book's LaTeX."""
    if not exception and app.builder.name == "latex":
        for path in Path(app.outdir).glob("*.tex"):
            text = re.sub(r"\\(sphinx)?caption\{([^\n]*?)\}\\label", first_sentence, path.read_text("utf-8"))
            path.write_text(text, "utf-8")
    if exception or app.builder.name != "html":
        return
    site = Path(app.outdir)
    images, renamed = pictures(site / "_images")
    options = (site / "_static" / "documentation_options.js").read_text("utf-8")
    for path in site.rglob("*.html"):
        page = path.read_text("utf-8")
        for old, new in renamed.items():
            page = page.replace(f"_images/{old}", f"_images/{new}")
        path.write_text(polish_page(page, images, options), "utf-8")
    found = site / "_static" / "searchtools.js"
    found.write_text(found.read_text("utf-8").replace('".headerlink",', f'".headerlink", {NO_PROSE},'), "utf-8")
    for notebook in (site / "_sources").rglob("*.ipynb"):
        slim(notebook)
    for pattern in UNUSED:
        for path in sorted((site / "_static").glob(pattern), reverse=True):
            for part in sorted(path.rglob("*"), reverse=True) if path.is_dir() else []:
                part.rmdir() if part.is_dir() else part.unlink()
            path.rmdir() if path.is_dir() else path.unlink()
    purge(site)
    if app.config.html_baseurl:
        addresses = [path.relative_to(site).as_posix() for path in sorted((site / "book").glob("*.html"))]
        addresses.append("count/")  # which workflow/try_page.py writes
        urls = "".join(f"<url><loc>{html.escape(app.config.html_baseurl + name)}</loc></url>" for name in addresses)
        sitemap = f'<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">{urls}</urlset>'
        (site / "sitemap.xml").write_text(f'<?xml version="1.0" encoding="utf-8"?>\n{sitemap}\n', "utf-8")


def needs(selector):
    """The classes and ids of a selector (tokens), but for those in brackets, as of `:not(.x)`."""
    classes = {name.value for dot, name in pairwise(selector) if dot == "." and name.type == "ident"}
    return classes | {token.value for token in selector if token.type == "hash"}


def styles(rules, words):
    """The rules of a style sheet (tinycss2) as text, without selectors of a class or id that is not among `words`."""
    for rule in rules:
        if rule.type == "qualified-rule":
            commas = [i for i, token in enumerate(rule.prelude) if token == ","]
            parts = [rule.prelude[i + 1 : j] for i, j in pairwise([-1, *commas, len(rule.prelude)])]
            kept = [tinycss2.serialize(part).strip() for part in parts if needs(part) <= words]
            if kept:
                yield f"{','.join(kept)}{{{tinycss2.serialize(rule.content).strip()}}}\n"
        elif rule.type == "at-rule" and rule.lower_at_keyword in ("media", "supports"):
            inside = "".join(styles(tinycss2.parse_rule_list(rule.content, True, True), words))
            if inside:
                yield f"@{rule.at_keyword}{tinycss2.serialize(rule.prelude)}{{{inside}}}\n"
        else:
            yield rule.serialize()


def purge(site):
    """One style sheet instead of ten, without what matches nothing, and a font without the icons that no page shows."""
    pages = {path: path.read_text("utf-8") for path in site.rglob("*.html")}
    static = site / "_static"
    texts = [re.sub(r">[^<]*<", "> <", page) for page in pages.values()]
    texts += [path.read_text("utf-8") for path in static.rglob("*.js")]
    words = set().union(*(re.findall(r"[\w-]+", text) for text in texts))
    names = dict.fromkeys(name for page in pages.values() for name in re.findall(SHEET, page))
    used = ""
    for name in ["basic.css", *names]:
        text = (static / name).read_text("utf-8")
        used += "".join(styles(tinycss2.parse_stylesheet(text, True, True), words)).replace("url(../", "url(")
        (static / name).unlink()
    used = re.sub(r",url\([^)]*\.ttf\) format\(\"truetype\"\)|@import [^;]*;", "", used)
    used = used.replace('fa-solid-900.woff2) format("woff2")', 'fa-solid-900.woff) format("woff")')
    (static / "site.css").write_text(used, "utf-8")
    version = hashlib.sha256(used.encode()).hexdigest()[:8]
    for path, page in pages.items():
        up = "../" * (len(path.relative_to(site).parts) - 1)
        link = f'<link rel="stylesheet" href="{up}_static/site.css?v={version}">'
        path.write_text(re.sub(SHEET, "", page).replace("<title>", f"{link}\n<title>", 1), "utf-8")
    letters = {int(code, 16) for code in re.findall(r"\\([ef][0-9a-f]{3})\b", used)}
    letters |= {ord(letter) for letter in used if "\ue000" <= letter <= "\uf8ff"}
    fonts = static / "vendor" / "fontawesome" / "webfonts"
    options = subset.Options(layout_features=[], flavor="woff", notdef_outline=True)
    font = subset.load_font(fonts / "fa-solid-900.ttf", options)  # to read WOFF2 takes one more package
    cutter = subset.Subsetter(options)
    cutter.populate(unicodes=letters)
    cutter.subset(font)
    subset.save_font(font, fonts / "fa-solid-900.woff", options)
    for path in [fonts / "fa-solid-900.woff2", *fonts.glob("*.ttf")]:
        path.unlink()


def setup(app):
    StandaloneHTMLBuilder.index_page = index_page
    app.connect("html-collect-pages", build_page)
    app.connect("html-page-context", describe, priority=900)
    app.connect("build-finished", polish, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
