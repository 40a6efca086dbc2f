"""The page "About this build": code, machines, data, seconds and energy of the pages that a book was rendered from."""

from html import escape
from pathlib import Path

from cellcount import manifest
from cellcount.companion.runner import built
from cellcount.companion.runner.sources import chapters

NAME, TITLE = "about-build", "About this build"
UNKNOWN = "not recorded"
VERIFYING = """<h2>Verifying it</h2><p><code>cellcount verify</code> with the folder of the chapters
(<code>build/runs/...</code>) or of the site (<code>build/site/...</code>) compares every file with the hashes in
<code>manifest.json</code> there, and <code>--rerun</code> computes the chapters again. This finds accidents. Who
forges a result can write a manifest for it, unless its checksum was published elsewhere.</p>"""


def table(header, rows, caption):
    """A table (HTML) of rows of texts."""
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in header)
    body = ""
    for first, *cells in rows:
        others = "".join(f"<td>{escape(str(cell))}</td>" for cell in cells)
        body += f'<tr><th scope="row">{escape(str(first))}</th>{others}</tr>'
    text = f"<caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody>"
    return f'<div class="pst-scrollable-table-container" tabindex="0"><table class="table">{text}</table></div>'


def machine(one):
    """The machine of a run in words."""
    if "cpu" not in one:
        return one.get("machine", UNKNOWN)
    words = [f"{one['cores']} x {one['cpu']}, {one['threads']} of them for each chapter", f"{one['memory_gb']} GB"]
    return ", ".join([*words, *[one["gpu"]] * bool(one["gpu"]), one["system"]])


def commit(one):
    """The commit of a run, and whether files differed from it."""
    if "commit" not in one:
        return UNKNOWN
    return f"{(one['commit'] or 'no clone')[:8]}{' with changes' if one['dirty'] else ''}"


def page(notebooks, path):
    """The body of the page (HTML), for the folder `notebooks` with the manifest `path`, or None."""
    files = [file for source in chapters() if (file := Path(notebooks, f"{source.stem}.ipynb")).is_file()]
    runs = built.records(files)
    recorded = [one for one in runs.values() if "energy" in one]
    computed = {stem: one for stem, one in runs.items() if one.get("parameters")}
    rows = []
    for stem, one in computed.items():
        given = one["parameters"]
        data = built.data_name(str(given.get("data", given.get("dataset", ""))))
        measured = (f"{one['seconds']:.0f}", f"{1e3 * one['energy']['kwh']:.3g}") if "energy" in one else ("", "")
        profile = one.get("profile") or given.get("profile", "")
        made = commit(one) if "energy" in one else ""
        rows.append((stem, data, profile, *measured, made, one.get("code_sha256", "")[:8]))
    parts = [f"<h1>{TITLE}</h1>"]
    now = commit({"commit": manifest.commit().rstrip("+"), "dirty": manifest.commit().endswith("+")})
    parts.append(f"<p>This site was rendered by the code of commit {escape(now)}.</p>")
    machines = dict.fromkeys(machine(one) for one in computed.values())
    parts.append(f"<p>Computed on: {escape('; '.join(machines) or UNKNOWN)}.</p>")
    told = "The pages were computed before this was recorded; <code>make book</code> records it."
    if recorded:
        kwh, seconds = sum(one["energy"]["kwh"] for one in recorded), sum(one["seconds"] for one in recorded)
        rule, source = (escape(recorded[0]["energy"][name]) for name in ("rule", "source"))
        spent = f"{seconds:.0f} seconds" if seconds < 100 else f"{seconds / 60:.0f} minutes"
        told = f"{spent} for {len(recorded)} chapters, one after another, and about {kwh:.3g} kWh. "
        told += f"Energy is an {rule}. Source: {source}."
        if bare := ", ".join(stem for stem, one in computed.items() if "energy" not in one):
            told += f" Computed before this was recorded: {escape(bare)}."
    parts.append(f"<h2>Time and energy</h2><p>{told}</p>")
    header = ("chapter", "data", "profile", "seconds", "Wh", "commit", "code")
    shown = [number for number in range(len(header)) if any(row[number] for row in rows)]
    cells = [[row[number] for number in shown] for row in rows]
    caption = "The run of each chapter; code: first digits of the SHA-256 of its code cells"
    parts += ["<h2>Chapters</h2>", table([header[number] for number in shown], cells, caption)]
    if recorded:
        versions = sorted({(name, version) for one in recorded for name, version in one["packages"].items()})
        pythons = ", ".join(sorted({one["python"] for one in recorded}))
        listed = escape(", ".join(" ".join(pair) for pair in versions))
        parts.append(f"<h2>Packages</h2><p>Python {pythons}; {listed}.</p>")
    parts.append(VERIFYING)
    if path:
        checksum = manifest.checksum(manifest.read(path))
        parts.append(f"<p>Checksum of the manifest of these chapters: <code>{checksum}</code></p>")
    return "\n".join(parts)
