"""What the tests of the rendered book share: where it is, its pages, a server, and a browser."""

import contextlib
import functools
import gzip
import http.server
import io
import os
import shutil
import threading
from pathlib import Path

import pytest

from cellcount.companion.runner.sources import root

try:
    from playwright import sync_api as playwright
except ImportError:
    playwright = None

HERE = Path(__file__).parent
SITE = Path(os.environ.get("BOOK_SITE", root() / "build" / "committed" / "_build" / "html"))
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
OTHERS = [SITE / name for name in ("search.html", "about-build.html") if (SITE / name).exists()]
PAGES = sorted(path.relative_to(SITE).as_posix() for path in [*SITE.glob("book/*.html"), *OTHERS])
NEEDED = [
    pytest.mark.browser,
    pytest.mark.skipif(playwright is None, reason="make browser installs playwright"),
    pytest.mark.skipif(not PAGES, reason="make html renders the book"),
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves as GitHub Pages does: text goes as gzip."""

    def log_message(self, *args):
        pass

    def send_head(self):
        path = Path(self.translate_path(self.path))
        kind = self.guess_type(str(path))
        if not (path.is_file() and kind.startswith(("text/", "application/j", "image/svg"))):
            return super().send_head()
        content = gzip.compress(path.read_bytes(), 6)
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        return io.BytesIO(content)


@contextlib.contextmanager
def served(folder):
    """The address of a folder."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture(scope="module")
def address():
    with served(SITE) as address:
        yield address


@pytest.fixture(scope="module")
def chromium():
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium, address):
    """visit(page, width, theme) opens a page, keeping what it asks for and complains about in `.asked`, `.said`."""
    contexts = []

    def opened(page, width=1280, theme="light", **options):
        context = chromium.new_context(
            viewport={"width": width, "height": 900}, reduced_motion="reduce", color_scheme=theme, **options
        )
        contexts.append(context)
        tab = context.new_page()
        tab.asked, tab.said = [], []
        tab.on("request", lambda request: tab.asked.append(request.url))
        tab.on("console", lambda message: message.type == "error" and tab.said.append(message.text))
        tab.on("pageerror", lambda error: tab.said.append(str(error)))
        tab.goto(f"{address}/{page}", wait_until="networkidle")
        return tab

    yield opened
    for context in contexts:
        context.close()
