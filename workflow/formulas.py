"""Formulas of the rendered book, as MathML, which browsers draw without a script: a Sphinx extension.

    python workflow/formulas.py USED

writes book/formulas.json, from the TeX of a formula to its MathML, for the formulas that a build has listed in the file
USED: `make formulas`. To render the book takes only book/formulas.json. Temml translates, a package of npm.
"""

import json
import subprocess
import sys
from pathlib import Path

from docutils import nodes
from sphinx.util.logging import getLogger
from sphinx.util.math import get_node_equation_number

from cellcount.companion.runner.sources import root
from cellcount.files import replacing

FORMULAS = root() / "book" / "formulas.json"
TEMML = root() / "tests" / "browser" / "node_modules" / "temml" / "dist" / "temml.cjs"
TRANSLATE = """
const temml = require(process.argv[1]), known = {};
for (const key of JSON.parse(require("fs").readFileSync(0))) {
  const displayMode = key.startsWith("block "), tex = key.slice(key.indexOf(" ") + 1);
  known[key] = temml.renderToString(tex, { displayMode, throwOnError: true });
}
console.log(JSON.stringify(known, null, 0));
"""
log = getLogger(__name__)


def key(node):
    """The entry of a formula (docutils node) in book/formulas.json."""
    return ("block " if isinstance(node, nodes.math_block) else "inline ") + node.astext().strip()


def mathml(translator, node):
    known, used = translator.builder.app.formulas, translator.builder.app.used
    if key(node) not in known and key(node) not in used:
        log.warning("book/formulas.json lacks %r: `make formulas` adds it (needs npm)", key(node), location=node)
    used.add(key(node))
    return known.get(key(node), f"<code>{translator.encode(node.astext())}</code>")


def inline(translator, node):
    translator.body.append(translator.starttag(node, "span", "", CLASS="math") + mathml(translator, node) + "</span>")
    raise nodes.SkipNode


def block(translator, node):
    translator.body.append(translator.starttag(node, "div", CLASS="math"))
    if node["number"]:
        translator.body.append(f'<span class="eqno">({get_node_equation_number(translator, node)})')
        translator.add_permalink_ref(node, "Link to this equation")
        translator.body.append("</span>")
    translator.body.append(mathml(translator, node) + "</div>\n")
    raise nodes.SkipNode


def listed(app, exception):
    """List the formulas of a build beside its doctrees."""
    if app.builder.format == "html":
        Path(app.doctreedir, "formulas.json").write_text(json.dumps(sorted(app.used)), "utf-8")


def setup(app):
    app.formulas, app.used = json.loads(FORMULAS.read_text("utf-8")), set()
    app.connect("build-finished", listed)
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def main(used):
    """Write book/formulas.json for the formulas listed in the file `used` (Path)."""
    command = ["node", "-e", TRANSLATE, TEMML]
    answer = subprocess.run(command, input=used.read_text("utf-8"), stdout=subprocess.PIPE, text=True, check=True)
    known = json.loads(answer.stdout)
    with replacing(FORMULAS) as temporary:
        temporary.write_text(json.dumps(known, indent=0, ensure_ascii=False, sort_keys=True) + "\n", "utf-8")
    print(f"{FORMULAS}: {len(known)} formulas")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
