"""The page that counts in the browser: a folder for a server, and the same as one HTML file for a USB stick.

    python workflow/try_page.py OUT

writes the folder OUT, or one file if OUT ends in .html. The page is web/index.html; what is added to it is the network,
onnxruntime-web, and simulated fields to try. The one file has all of it in itself, and works from file://, where a page
may fetch nothing.
"""

import argparse
import base64
import gzip
import hashlib
import io
import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from cellcount.companion.runner.sources import root
from cellcount.data import phantom
from cellcount.errors import CellcountError, require
from cellcount.files import replacing

MODEL = "cellcount/weights/cellnet-thesis.onnx"
ONE = "cellcount-count.html"  # the page as one file: its name in a release
VENDOR = {"ort": "ort.wasm.min.js", "mjs": "ort-wasm-simd-threaded.mjs", "wasm": "ort-wasm-simd-threaded.wasm.gz",
          "geotiff": "geotiff.js"}  # fmt: skip
LICENSES = ("README", "onnxruntime-web.LICENSE", "onnxruntime-web.ThirdPartyNotices.txt.gz", "geotiff.LICENSES")
WORKER = ("decode", "worker")  # scripts of the worker alone
THUMBNAIL = (264, 198)  # px, twice the size that is shown
FIELDS = 3
# From file://, a page may not connect to anything, and is told so.
ALONE = (
    "default-src 'none'; script-src 'unsafe-inline' blob: 'wasm-unsafe-eval'; worker-src blob:; img-src blob: data:; "
    "style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
)


def samples():
    """Simulated fields: (facts, PNG of the field, JPEG of its thumbnail) each; facts: name, title, cells."""
    found = []
    for number, one in enumerate(phantom.load("test", fields=FIELDS), 1):
        picture = Image.fromarray(np.rint(one.image * 255).astype(np.uint8), "L")
        whole, small = io.BytesIO(), io.BytesIO()
        picture.save(whole, "PNG", optimize=True)
        width, height = THUMBNAIL
        part = picture.crop((0, 0, 2 * width, 2 * height))
        part.resize(THUMBNAIL, Image.Resampling.LANCZOS).save(small, "JPEG", quality=72, optimize=True)
        facts = {"name": f"sample-{number}", "title": f"simulated-{number}.png", "cells": len(one.points)}
        found.append((facts, whole.getvalue(), small.getvalue()))
    return found


def scripts(page):
    """The scripts of the page, in their order, without suffix."""
    return re.findall(r'<script defer src="(\w+)\.js"></script>', page)


def described(page, files):
    """The page with another description of its files."""
    text = json.dumps(files, separators=(",", ":")).replace("<", "\\u003c")
    new, n = re.subn(r'(id="files">).*?(?=</script>)', lambda match: match[1] + text, page, flags=re.DOTALL)
    require(n == 1, 'web/index.html: the script with id="files" is missing.')
    return new


def packed(content):
    """Bytes as gzip in base64; those that are gzipped stay as they are."""
    zipped = content if content[:2] == b"\x1f\x8b" else gzip.compress(content, 9, mtime=0)
    return base64.b64encode(zipped).decode()


def as_folder(out, single=""):
    """Write the page for a server into the folder `out` (Path); it links to `single`, the address of the one file."""
    fields = samples()
    web = root() / "web"
    shutil.rmtree(out, ignore_errors=True)
    (out / "vendor").mkdir(parents=True)
    page = (web / "index.html").read_text("utf-8")
    light = ["index.html", "page.css", *(f"{name}.js" for name in (*scripts(page), *WORKER))]
    for name in light[1:]:
        shutil.copyfile(web / name, out / name)
    for name in (*VENDOR.values(), *LICENSES):
        shutil.copyfile(web / "vendor" / name, out / "vendor" / name)
    model = "cellnet-thesis.onnx.gz"  # 0.9 of its size; the worker unpacks it
    (out / model).write_bytes(gzip.compress((root() / MODEL).read_bytes(), 9, mtime=0))
    paths = {"model": model} | {name: f"vendor/{VENDOR[name]}" for name in ("wasm", "mjs")}
    files = {name: {"path": path, "bytes": (out / path).stat().st_size} for name, path in paths.items()}
    shown = []
    for facts, whole, small in fields:
        name = facts["name"]
        (out / f"{name}.png").write_bytes(whole)
        (out / f"{name}.jpg").write_bytes(small)
        files[name] = {"path": f"{name}.png", "bytes": len(whole)}
        shown.append(facts | {"thumbnail": f"{name}.jpg"})
    heavy = [*paths.values(), *(f"vendor/{VENDOR[name]}" for name in ("ort", "geotiff"))]
    heavy += [f"{facts['name']}.{suffix}" for facts, *_ in fields for suffix in ("png", "jpg")]
    files |= {"samples": shown, "offline": True, "single": single}
    (out / "index.html").write_text(described(page, files), "utf-8")
    worker = (web / "serviceworker.js").read_text("utf-8")
    version = hashlib.sha256(worker.encode() + b"".join((out / name).read_bytes() for name in [*light, *heavy]))
    line = 'const VERSION = "", LIGHT = [], HEAVY = [];'
    require(line in worker, f"web/serviceworker.js: the line {line!r} is missing.")
    constants = f'"{version.hexdigest()[:16]}", LIGHT = {json.dumps(light)}, HEAVY = {json.dumps(heavy)};'
    (out / "serviceworker.js").write_text(worker.replace(line, f"const VERSION = {constants}"), "utf-8")


def as_one_file(path):
    """Write the page as one HTML file (Path), which needs no other one."""
    fields = samples()
    web = root() / "web"
    page = (web / "index.html").read_text("utf-8")
    contents = {name: (web / "vendor" / file).read_bytes() for name, file in VENDOR.items()}
    contents |= {name: (web / f"{name}.js").read_bytes() for name in WORKER}
    contents["model"] = (root() / MODEL).read_bytes()
    stored = {name: packed(content) for name, content in contents.items()}
    stored |= {facts["name"]: base64.b64encode(whole).decode() for facts, whole, _ in fields}
    shown = [
        facts | {"thumbnail": f"data:image/jpeg;base64,{base64.b64encode(small).decode()}"}
        for facts, _, small in fields
    ]
    files = {name: {"bytes": len(stored[name]) * 3 // 4} for name in ("model", "wasm", "mjs")}
    page = described(page, files | {"samples": shown, "inline": True})
    # Before the page's own scripts, which read them, and which name this element in a comment.
    data = "".join(
        f'<script type="application/octet-stream" id="file-{name}">{text}</script>\n' for name, text in stored.items()
    )
    mark = '<script type="application/json" id="files">'
    page = page.replace(mark, data + mark)
    texts = {name: (web / f"{name}.js").read_text("utf-8") for name in scripts(page)}
    closing = [name for name, text in texts.items() if "</script" in text or "<!--" in text]
    require(not closing, f"web/{closing[0] if closing else ''}.js would end its script element: write it otherwise.")
    for name, text in texts.items():
        page = page.replace(f'<script defer src="{name}.js"></script>', f'<script id="script-{name}">\n{text}</script>')
    style = (web / "page.css").read_text("utf-8")
    page = page.replace('<link rel="stylesheet" href="page.css">', f"<style>\n{style}</style>")
    page = re.sub(r'(http-equiv="Content-Security-Policy" content=")[^"]*', lambda match: match[1] + ALONE, page)
    with replacing(path) as temporary:
        temporary.write_text(page, "utf-8")


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    out = parser.parse_args(argv).out
    try:
        (as_one_file if out.suffix == ".html" else as_folder)(out)
    except CellcountError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    size = sum(path.stat().st_size for path in [out, *out.rglob("*")] if path.is_file())
    print(f"{out}: {size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
