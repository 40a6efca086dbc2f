"""Write codecheck.yml and ro-crate-metadata.json from the claims ledger: `make crate`.

`codecheck.yml` is what the authors give to a CODECHECK (https://codecheck.org.uk/spec/config/1.0/): the files to
compute again, each with its claims and commands. Who checked, when, and the report are for the codechecker to add.
The RO-Crate (https://w3id.org/ro/crate/1.3) lists these files, the kept results and every claim with its verdict.
"""

import sys
import tempfile
from pathlib import Path

import yaml
from rocrate.model.contextentity import ContextEntity
from rocrate.model.person import Person
from rocrate.rocrate import ROCrate

from cellcount.companion.runner.sources import root
from cellcount.companion.studies import claims

DRAFT = "Localizing Cells in Phase-Contrast Microscopy Images using Sparse and Noisy Center-Point Annotations"
REPOSITORY = "https://github.com/beijn/bachelor-thesis"  # of the thesis draft: text, data and scripts
RELEASED = "2026-11-27"  # of the ledger; change it with a release
ALSO = ("book/claims.toml", "codecheck.yml", "CITATION.cff", "pyproject.toml", "constraints.txt", "environment.yml")
LICENCE = "https://spdx.org/licenses/BSD-3-Clause"


def codecheck() -> str:
    """The text of codecheck.yml."""
    manifest = []
    for page in sorted({claim.page for claim in claims.load()}):
        own = [claim for claim in claims.load() if claim.page == page]
        commands = list(dict.fromkeys(f"`{claim.command}`" for claim in own if claim.command))
        comment = f"claims {', '.join(claim.id for claim in own)}; numbers by {', '.join(commands) or 'no command'}"
        manifest.append({"file": f"book/{page}.ipynb", "comment": comment})
    cited = yaml.safe_load((root() / "CITATION.cff").read_text(encoding="utf-8"))
    authors = [{"name": f"{a['given-names']} {a['family-names']}"} for a in cited["authors"] if "family-names" in a]
    described = {
        "version": "https://codecheck.org.uk/spec/config/1.0/",
        "paper": {"title": f"{DRAFT} (draft of 1 April 2024)", "authors": authors, "reference": REPOSITORY},
        "manifest": manifest,
    }
    note = (
        "# Made by `make crate` from book/claims.toml. A codechecker adds: codechecker, report, summary, check_time.\n"
    )
    return note + yaml.safe_dump(described, sort_keys=False, allow_unicode=True, width=120)


def crate() -> str:
    """The text of ro-crate-metadata.json."""
    cited = yaml.safe_load((root() / "CITATION.cff").read_text(encoding="utf-8"))
    made = ROCrate()
    made.name, made.license, made.keywords = cited["title"], LICENCE, cited["keywords"]
    made.description = (
        "The reproducible companion of a thesis draft: code, pages, measured numbers, and verdicts on its claims."
    )
    made.root_dataset["datePublished"] = RELEASED
    author = made.add(Person(made, "#eckhardt", properties={"name": "Benjamin Eckhardt"}))
    made.root_dataset["author"] = author
    pages = sorted({claim.page for claim in claims.load()})
    kept = sorted(path.relative_to(root()).as_posix() for path in (root() / "results").glob("*.csv*"))
    kinds = {".csv": "text/csv", ".gz": "application/gzip", ".ipynb": "application/x-ipynb+json"}
    for name in [*ALSO, *(f"book/{page}.ipynb" for page in pages), *kept]:
        kind = kinds.get(Path(name).suffix, "text/plain")
        made.add_file(root() / name, name, properties={"name": name, "encodingFormat": kind})
    for claim in claims.load():
        described = {
            "@type": "ClaimReview", "name": claim.id, "claimReviewed": claim.claim,
            "reviewBody": claim.found or claim.needs,
            "reviewRating": {"@id": f"#verdict-{claims.VERDICTS.index(claim.verdict)}"}, "author": author,
            "itemReviewed": {"@id": "#draft"}, "about": {"@id": f"book/{claim.page}.ipynb"},
        }  # fmt: skip
        asked = {
            "description": f"section {claim.section}; {claim.done}",
            "text": claim.quote,
            "abstract": claim.command,
        }
        used = {
            "isBasedOn": "; ".join(text for text in (claim.versions, claim.draft and f"draft: {claim.draft}") if text)
        }
        described |= {name: text for name, text in (asked | used).items() if text}
        made.add(ContextEntity(made, f"#claim-{claim.id}", properties=described))
    for number, verdict in enumerate(claims.VERDICTS):
        rating = {"@type": "Rating", "name": verdict, "alternateName": verdict}
        made.add(ContextEntity(made, f"#verdict-{number}", properties=rating))
    draft = {"@type": "CreativeWork", "name": f"{DRAFT} (draft)", "url": REPOSITORY, "datePublished": "2024-04-01"}
    made.add(ContextEntity(made, "#draft", properties=draft | {"author": author}))
    with tempfile.TemporaryDirectory() as folder:
        made.metadata.write(folder)
        return (Path(folder) / "ro-crate-metadata.json").read_text(encoding="utf-8").rstrip("\n") + "\n"


WRITTEN = {"codecheck.yml": codecheck, "ro-crate-metadata.json": crate}

if __name__ == "__main__":
    for name, text in WRITTEN.items():
        (root() / name).write_text(text(), encoding="utf-8")
        print(name, file=sys.stderr)
